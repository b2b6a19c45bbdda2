//! The files of snapshots: one is whole or not there, whatever kills its writer; and whatever the bytes are, reading them ends with a
//! snapshot or an error.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use proptest::prelude::*;
use warpring::prelude::{
    ActorRef, Backend, Group, LaunchOptions, Resident, RingContext, RingKernel, RingKernelHandler, RingMessage, Runtime,
};
use warpring::snapshot::{OpenError, RestoreError, Snapshot, is_partial};
use warpring::{block_on, export};

/// The next round; the reply is its number.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Next;

/// Counts rounds.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/round")]
pub struct Round {
    on: bool,
    round: Resident<u64>,
    rest: Resident<[u16; 20]>,
}
impl RingKernelHandler<Next, u64> for Round {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Next) -> warpring::Result<u64> {
        Ok(ctx.update(&self.round, |round| {
            *round += 1;
            *round
        }))
    }
}
export! { Round { Next => u64 } }

fn launched(actors: u32) -> (Runtime, ActorRef<Round>, Group<Round>) {
    let runtime = Runtime::builder().module(&MODULE).backend(Backend::Cpu).workers(2).pin(false).build().expect("a runtime");
    let value = |i: u32| Round { on: true, round: 0.into(), rest: [i as u16; 20].into() };
    let one = block_on(runtime.launch(value(0), LaunchOptions::default())).expect("launched");
    let group = block_on(runtime.launch_many(actors, LaunchOptions::default(), value)).expect("launched");
    (runtime, one, group)
}

fn write(runtime: &Runtime, one: &ActorRef<Round>, group: &Group<Round>, path: &Path) {
    block_on(runtime.snapshot().actor("one", one).group("group", group).write(path)).expect("written");
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("warpring-files-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

const TARGET: &str = "WARPRING_TEST_SNAPSHOT";
const KILLS: u32 = 120;

/// What the child does: snapshots of the same file without end, and after each the number of its round on standard output.
#[test]
fn child_writes_without_end() {
    let Some(path) = std::env::var_os(TARGET).map(PathBuf::from) else { return };
    let (runtime, one, group) = launched(20_000);
    loop {
        let round = block_on(one.ask(Next)).expect("an answer");
        write(&runtime, &one, &group, &path);
        println!("round {round}");
    }
}

#[test]
fn a_killed_writer_leaves_the_last_good_snapshot() {
    let folder = folder("killed");
    let path = folder.join("a.snap");
    let own = std::env::current_exe().expect("this test");
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let (mut killed_at_work, mut written) = (0, 0);
    for kill in 0..KILLS {
        let mut child = Command::new(&own)
            .args(["--exact", "child_writes_without_end", "--nocapture"])
            .env(TARGET, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut last = 0;
        let mut see = |line: &str| {
            if let Some(round) = line.rsplit("round ").next().and_then(|round| round.trim().parse::<u64>().ok()) {
                last = last.max(round);
            }
        };
        // The first rounds are waited for, so that there is something to lose; then it is killed anywhere in a later one.
        let mut line = String::new();
        while !line.ends_with("round 2\n") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).expect("a line"), 0, "the child ended by itself");
            see(&line);
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros(random >> 32 & 0x3fff));
        child.kill().expect("SIGKILL");
        child.wait().expect("its end");
        let mut rest = String::new();
        lines.read_to_string(&mut rest).expect("the rest of its words");
        rest.lines().for_each(&mut see);
        let left = |entry: &std::fs::DirEntry| is_partial(&entry.path());
        killed_at_work += std::fs::read_dir(&folder).expect("a folder").flatten().filter(left).count();
        let snapshot = Snapshot::open(&path).unwrap_or_else(|error| panic!("after kill {kill}: {error}"));
        assert_eq!(snapshot.actors(), 20_001);
        let one = snapshot.actor(&snapshot.entries()[0], 0).expect("there");
        let field = snapshot.kinds()[0].fields.iter().find(|field| field.name == "round").expect("a field");
        let round = u64::from_ne_bytes(one.state[field.offset as usize..][..8].try_into().expect("eight bytes"));
        assert!(round == last || round == last + 1, "after kill {kill}: round {round} on the disk, and {last} was done");
        written += round;
    }
    assert!(
        killed_at_work > KILLS as usize / 4,
        "only {killed_at_work} of {KILLS} were killed while they wrote, in {written} rounds"
    );
    // Each writer has removed what the one before left; one more removes the last.
    let (runtime, one, group) = launched(10);
    write(&runtime, &one, &group, &path);
    let names: Vec<_> = std::fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["a.snap"]);
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn two_writers_of_one_file_disturb_each_other_in_nothing() {
    let folder = folder("two");
    let path = folder.join("a.snap");
    std::thread::scope(|scope| {
        for actors in [100, 3000] {
            let path = &path;
            scope.spawn(move || {
                let (runtime, one, group) = launched(actors);
                for _ in 0..40 {
                    write(&runtime, &one, &group, path);
                    let actors = Snapshot::open(path).expect("whole").actors();
                    assert!(actors == 101 || actors == 3001, "{actors}");
                }
            });
        }
    });
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1);
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// The bytes of a good snapshot, of 39 actors in several chunks.
fn good() -> &'static [u8] {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let folder = folder("good");
        let path = folder.join("a.snap");
        let (runtime, one, group) = launched(38);
        write(&runtime, &one, &group, &path);
        let bytes = std::fs::read(&path).expect("there");
        std::fs::remove_dir_all(&folder).expect("removed");
        bytes
    })
}

fn open(name: &str, bytes: &[u8]) -> Result<Snapshot, OpenError> {
    let path = std::env::temp_dir().join(format!("warpring-open-{name}-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("written");
    let opened = Snapshot::open(&path);
    std::fs::remove_file(&path).expect("removed");
    opened
}

#[test]
fn every_shorter_file_is_refused_and_so_is_every_longer_one() {
    assert_eq!(open("whole", good()).expect("whole").actors(), 39);
    for length in 0..good().len() {
        let error = open("shorter", &good()[..length]).expect_err("it ends early");
        assert!(matches!(error, OpenError::Damaged { .. } | OpenError::NotASnapshot { .. }), "{length}: {error}");
    }
    let longer = [good(), &[0]].concat();
    assert!(open("longer", &longer).is_err());
}

#[test]
fn every_flipped_bit_is_seen() {
    for at in 0..good().len() {
        let mut bytes = good().to_vec();
        bytes[at] ^= 1 << (at % 8);
        assert!(open("flipped", &bytes).is_err(), "byte {at}");
    }
}

/// Makes the checksums right again, as somebody would who wants to be read.
fn seal(bytes: &mut [u8]) {
    use xxhash_rust::xxh3::{Xxh3, xxh3_64};
    let u32_at =
        |bytes: &[u8], at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes(b.try_into().expect("four")) as usize);
    let mut sums = Xxh3::new();
    let Some(header) = u32_at(bytes, 12).filter(|header| header + 8 <= bytes.len()) else { return };
    let sum = xxh3_64(&bytes[..header]).to_le_bytes();
    bytes[header..header + 8].copy_from_slice(&sum);
    sums.update(&sum);
    let mut at = header + 8;
    while bytes.get(at..at + 4) == Some(b"CHNK") {
        let (Some(runs), Some(states)) = (u32_at(bytes, at + 12), u32_at(bytes, at + 20)) else { return };
        let end = at + 32 + runs.saturating_mul(12).saturating_add(states);
        if end > bytes.len() {
            return;
        }
        let mut sum = Xxh3::new();
        sum.update(&bytes[at..at + 24]);
        sum.update(&bytes[at + 32..end]);
        let sum = sum.digest().to_le_bytes();
        bytes[at + 24..at + 32].copy_from_slice(&sum);
        sums.update(&sum);
        at = end;
    }
    if at + 56 <= bytes.len() {
        bytes[at + 40..at + 48].copy_from_slice(&sums.digest().to_le_bytes());
        let sum = xxh3_64(&bytes[at..at + 48]).to_le_bytes();
        bytes[at + 48..at + 56].copy_from_slice(&sum);
    }
}

#[test]
fn sealed_bytes_that_are_no_value_reach_no_actor() {
    let snapshot = open("bool", good()).expect("whole");
    let field = snapshot.kinds()[0].fields.iter().find(|field| field.name == "on").expect("a field");
    let mut bytes = good().to_vec();
    // The first state lies behind the header, the head of the chunk and its run.
    let header = u32::from_le_bytes(bytes[12..16].try_into().expect("four")) as usize;
    bytes[header + 8 + 32 + 12 + field.offset as usize] = 2;
    seal(&mut bytes);
    let path = std::env::temp_dir().join(format!("warpring-bool-{}", std::process::id()));
    std::fs::write(&path, &bytes).expect("written");
    let snapshot = Snapshot::open(&path).expect("its checksums are right");
    let (runtime, ..) = launched(1);
    let refused = block_on(runtime.restore(&snapshot).actor::<Round>("one", LaunchOptions::default()));
    assert!(matches!(&refused, Err(RestoreError::Invalid { entry, .. }) if entry == "one"), "{refused:?}");
    std::fs::remove_file(&path).expect("removed");
}

#[test]
fn a_file_that_is_changed_after_it_was_opened_is_refused() {
    let folder = folder("changed");
    let path = folder.join("a.snap");
    let (runtime, one, group) = launched(100_000);
    write(&runtime, &one, &group, &path);
    let snapshot = Snapshot::open(&path).expect("whole");
    // In place, as no writer of snapshots would do it: in the last states.
    let at = snapshot.file_bytes() - 1000;
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("there");
    file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(&[0xff; 8])).expect("written");
    let (other, ..) = launched(1);
    let before = block_on(other.stats()).expect("stats");
    let refused = block_on(other.restore(&snapshot).group::<Round>("group", LaunchOptions::default()));
    assert!(matches!(&refused, Err(RestoreError::File(OpenError::Damaged { .. }))), "{refused:?}");
    assert_eq!(block_on(other.stats()).expect("stats").actors, before.actors, "nothing was launched");
    // Parts that were not changed are as good as before.
    assert!(block_on(other.restore(&snapshot).actor::<Round>("one", LaunchOptions::default())).is_ok());
    std::fs::remove_dir_all(&folder).expect("removed");
}

proptest! {
    #[test]
    fn any_bytes_end_in_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(open("any", &bytes).is_err());
        let mut led = b"WARPSNAP\x02\0\0\0".to_vec();
        led.extend(&bytes);
        seal(&mut led);
        prop_assert!(open("any", &led).is_err());
    }

    /// Changed bytes under right checksums: a snapshot or an error, and what is read of the snapshot ends too.
    #[test]
    fn sealed_changes_are_read_or_refused(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = good().to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        seal(&mut bytes);
        if let Ok(snapshot) = open("sealed", &bytes) {
            for entry in snapshot.entries() {
                let _ = snapshot.actor(entry, 0).is_ok();
                let _ = snapshot.actor(entry, entry.actors).is_ok();
            }
        }
    }
}
