//! Snapshots: what comes back is what was there, whatever was going on.
#![cfg(all(feature = "sim", feature = "cuda"))]

use std::path::PathBuf;
use std::time::Duration;

use warpring::prelude::*;
use warpring::snapshot::{EntryScope, LayoutDifference, OpenError, RestoreError, Snapshot, SnapshotError};
use warpring::{CudaOptions, RuntimeBuilder, SimOptions, block_on, export};

/// Adds to both numbers; the reply is the actor's own.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Put(u64);
/// The second number.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Get;
/// Sleeps between two changes, so long.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Both(u64);
/// Panics.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Crash;

/// Spawns a cell with this number.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Bear(u64);

/// 64 bytes.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/cell")]
pub struct Cell {
    number: u64,
    first: Resident<u64>,
    second: Resident<u64>,
    rest: Resident<[u32; 10]>,
}

impl Cell {
    fn new(number: u64) -> Self {
        Self { number, first: 0.into(), second: 0.into(), rest: [number as u32; 10].into() }
    }
}

impl RingKernelHandler<Put, u64> for Cell {
    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        ctx.update(&self.first, |first| *first += 1000);
        ctx.update(&self.second, |second| *second += 1000);
        Ok(())
    }
    async fn handle(&self, ctx: &mut RingContext<'_>, put: Put) -> Result<u64> {
        ctx.update(&self.first, |first| *first += put.0);
        ctx.update(&self.second, |second| *second += put.0);
        Ok(self.number)
    }
}
impl RingKernelHandler<Get, u64> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Get) -> Result<u64> {
        Ok(*ctx.read(&self.second))
    }
}
impl RingKernelHandler<Both, u64> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, both: Both) -> Result<u64> {
        ctx.update(&self.first, |first| *first += 1);
        ctx.sleep(Duration::from_nanos(both.0)).await;
        Ok(ctx.update(&self.second, |second| {
            *second += 1;
            *second
        }))
    }
}
impl RingKernelHandler<Bear, ActorId> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, bear: Bear) -> Result<ActorId> {
        ctx.spawn(Cell::new(bear.0)).map(|cell| cell.id())
    }
}
impl RingKernelHandler<Crash, ()> for Cell {
    async fn handle(&self, _: &mut RingContext<'_>, _: Crash) -> Result<()> {
        panic!("as asked")
    }
}

/// Twelve bytes: no whole words.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/odd", validate = |odd: &Odd| if odd.limit == 7 { Err(KernelError::rejected(7)) } else { Ok(()) })]
pub struct Odd {
    limit: u32,
    on: bool,
    value: Resident<i32>,
}
impl RingKernelHandler<Get, i32> for Odd {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Get) -> Result<i32> {
        Ok(*ctx.read(&self.value))
    }
}

export! {
    Cell { Put => u64, Get => u64, Both => u64, Bear => ActorId, Crash => () }
    Odd { Get => i32 }
}

fn builder(backend: Backend, workers: u32) -> RuntimeBuilder {
    Runtime::builder().module(&MODULE).backend(backend).workers(workers).pin(false).max_actors(1 << 17)
}
fn cpu(workers: u32) -> Runtime {
    builder(Backend::Cpu, workers).build().expect("a runtime")
}
fn backends() -> [Backend; 3] {
    [Backend::Cpu, Backend::Sim(SimOptions::default()), Backend::Cuda(CudaOptions::default().on_threads())]
}

/// Asks an address, of which the runtime may never have given a reference.
macro_rules! ask {
    ($runtime:expr, $to:expr, $message:expr) => {{
        let mut port = $runtime.port(4).expect("a port");
        let ticket = port.send($to, $message).map_err(|e| e.to_string()).expect("sent");
        port.wait(ticket)
    }};
}

/// A file of its own for each test, in a folder that is gone in the end.
struct Folder(PathBuf);
impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("warpring-snapshot-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn an_actor_and_a_group_come_back_on_every_backend() {
    let folder = Folder::new("come-back");
    for (from, backend) in backends().into_iter().enumerate() {
        let runtime = builder(backend, 2).build().expect("a runtime");
        let one = block_on(runtime.launch(Cell::new(7), LaunchOptions::default())).expect("launched");
        let many = block_on(runtime.launch_many(1001, LaunchOptions::default(), |i| Cell::new(i.into()))).expect("launched");
        let odd = block_on(runtime.launch_many(37, LaunchOptions::default(), |i| Odd {
            limit: i << 8,
            on: i % 2 == 0,
            value: (-(i as i32)).into(),
        }))
        .expect("launched");
        block_on(one.ask(Put(5))).expect("an answer");
        block_on(many.get(1000).expect("there").ask(Put(9))).expect("an answer");
        let path = folder.file("a.snap");
        let snapshot = runtime.snapshot().actor("one", &one).group("many", &many).group("odd", &odd);
        let summary = block_on(snapshot.write(&path)).expect("written");
        assert_eq!((summary.actors, summary.state_bytes), (1039, 1002 * 64 + 37 * 12));
        assert_eq!(summary.file_bytes, std::fs::metadata(&path).expect("there").len());
        let snapshot = Snapshot::open(&path).expect("whole");
        assert_eq!((snapshot.actors(), snapshot.entries().len(), snapshot.workers()), (1039, 3, 2));
        for (to, backend) in backends().into_iter().enumerate() {
            for workers in [1, 2, 3] {
                let runtime = builder(backend.clone(), workers).build().expect("a runtime");
                let restore = runtime.restore(&snapshot);
                let one = block_on(restore.actor::<Cell>("one", LaunchOptions::default())).expect("restored");
                let many = block_on(restore.group::<Cell>("many", LaunchOptions::default())).expect("restored");
                let odd = block_on(restore.group::<Odd>("odd", LaunchOptions::default())).expect("restored");
                let why = format!("{from} to {to} with {workers}");
                // `initialize` has run once, in the first runtime.
                assert_eq!(block_on(one.ask(Get)), Ok(1005), "{why}");
                assert_eq!(many.len(), 1001);
                for index in [0, 1, 2, 500, 999, 1000] {
                    let actor = many.get(index).expect("there");
                    assert_eq!(block_on(actor.ask(Put(0))), Ok(index.into()), "{why}");
                    let expected = if index == 1000 { 1009 } else { 1000 };
                    assert_eq!(block_on(actor.ask(Get)), Ok(expected), "{why}");
                }
                for index in 0..37 {
                    assert_eq!(block_on(odd.get(index).expect("there").ask(Get)), Ok(-(index as i32)), "{why}");
                }
            }
        }
        block_on(runtime.shutdown()).expect("down");
    }
}

#[test]
fn states_go_into_running_actors() {
    let folder = Folder::new("into");
    let path = folder.file("a.snap");
    let runtime = cpu(2);
    let one = block_on(runtime.launch(Cell::new(7), LaunchOptions::default())).expect("launched");
    let many = block_on(runtime.launch_many(101, LaunchOptions::default(), |i| Cell::new(i.into()))).expect("launched");
    block_on(runtime.snapshot().actor("one", &one).group("many", &many).write(&path)).expect("written");
    let snapshot = Snapshot::open(&path).expect("whole");
    for workers in [2, 3] {
        let other = cpu(workers);
        let restore = other.restore(&snapshot);
        let actor = block_on(other.launch(Cell::new(1), LaunchOptions::default())).expect("launched");
        let group = block_on(other.launch_many(101, LaunchOptions::default(), |_| Cell::new(0))).expect("launched");
        let busy = group.get(50).expect("there");
        let asked = busy.ask(Both(50_000_000)).send().map_err(|e| e.to_string()).expect("sent");
        block_on(restore.into_actor("one", &actor)).expect("restored");
        block_on(restore.into_group("many", &group)).expect("restored");
        assert_eq!(block_on(asked), Ok(1001), "the handler that was at work ended before");
        assert_eq!(block_on(actor.ask(Put(0))), Ok(7));
        for index in 0..101 {
            assert_eq!(block_on(group.get(index).expect("there").ask(Put(0))), Ok(index.into()));
        }
        assert_eq!(block_on(busy.ask(Get)), Ok(1000));
        let few = block_on(other.launch_many(3, LaunchOptions::default(), |_| Cell::new(0))).expect("launched");
        let refused = block_on(restore.into_group("many", &few));
        assert!(matches!(refused, Err(RestoreError::GroupSize { saved: 101, here: 3, .. })), "{refused:?}");
    }
}

#[test]
fn a_whole_runtime_goes_back_where_it_was() {
    let folder = Folder::new("whole");
    let path = folder.file("all.snap");
    for backend in backends() {
        let runtime = builder(backend.clone(), 2).build().expect("a runtime");
        let many = block_on(runtime.launch_many(501, LaunchOptions::default(), |i| Cell::new(i.into()))).expect("launched");
        let launch_bad = || block_on(runtime.launch(Cell::new(0), LaunchOptions::default().on_worker(0))).expect("launched");
        let bad = [launch_bad(), launch_bad()];
        let odd = Odd { limit: 1, on: true, value: 5.into() };
        let odd = block_on(runtime.launch(odd, LaunchOptions::default().on_worker(1).mailbox(3))).expect("launched");
        block_on(many.get(77).expect("there").ask(Put(1))).expect("an answer");
        assert!(bad.iter().all(|bad| block_on(bad.ask(Crash)).is_err()));
        let summary = block_on(runtime.snapshot_all(&path)).expect("written");
        assert_eq!((summary.actors, summary.left_out), (502, 2));
        let snapshot = Snapshot::open(&path).expect("whole");
        let scopes: Vec<_> = snapshot.entries().iter().map(|entry| (entry.scope, entry.actors)).collect();
        assert_eq!(scopes, [(EntryScope::Kind, 501), (EntryScope::Kind, 1)]);

        let again = builder(backend.clone(), 2).build().expect("a runtime");
        assert_eq!(block_on(again.restore(&snapshot).all()).expect("restored"), 502);
        for (index, expected) in [(0, 1000), (77, 1001), (500, 1000)] {
            assert_eq!(ask!(again, many.address().get(index).expect("there"), Get), Ok(expected));
        }
        assert_eq!(ask!(again, odd.address(), Get), Ok(5));
        assert!(ask!(again, bad[1].address(), Get).is_err(), "who had failed is not there");
        // A second launch goes beside them.
        let new = block_on(again.launch_many(10, LaunchOptions::default(), |i| Cell::new(i.into()))).expect("launched");
        assert_eq!(block_on(new.get(9).expect("there").ask(Put(0))), Ok(9));
        let refused = block_on(again.restore(&snapshot).all());
        assert!(matches!(refused, Err(RestoreError::NotFresh { .. })), "{refused:?}");
        let other = builder(backend, 3).build().expect("a runtime");
        let refused = block_on(other.restore(&snapshot).all());
        assert!(matches!(refused, Err(RestoreError::Workers { saved: 2, here: 3 })), "{refused:?}");
        block_on(again.shutdown()).expect("down");
    }
}

#[test]
fn spawned_actors_come_back_as_such() {
    let folder = Folder::new("spawned");
    let path = folder.file("all.snap");
    for backend in backends() {
        let runtime = builder(backend.clone(), 2).build().expect("a runtime");
        let parents = block_on(runtime.launch_many(2, LaunchOptions::default(), |i| Cell::new(i.into()))).expect("launched");
        let bear = |runtime: &Runtime, number: u64| {
            ask!(runtime, parents.address().get(number as u32 % 2).expect("there"), Bear(number)).expect("spawned")
        };
        let number = |runtime: &Runtime, id: ActorId| ask!(runtime, Address::<Cell>::new(id), Put(0)).expect("an answer");
        let born: Vec<_> = (10..20).map(|number| bear(&runtime, number)).collect();
        for (n, id) in (10..).zip(&born) {
            assert_eq!(number(&runtime, *id), n);
        }
        assert_eq!(block_on(runtime.snapshot_all(&path)).expect("written").actors, 12);
        let snapshot = Snapshot::open(&path).expect("whole");
        let again = builder(backend, 2).build().expect("a runtime");
        assert_eq!(block_on(again.restore(&snapshot).all()).expect("restored"), 12);
        let new: Vec<_> = (20..24).map(|number| bear(&again, number)).collect();
        assert!(new.iter().all(|id| !born.contains(id)), "{new:?} and {born:?}");
        for (n, id) in (10..).zip(born.iter().chain(&new)) {
            assert_eq!(number(&again, *id), n, "{id}");
        }
        let more = block_on(again.launch_many(100, LaunchOptions::default(), |i| Cell::new(i.into()))).expect("launched");
        assert_eq!(block_on(more.get(99).expect("there").ask(Put(0))), Ok(99));
        block_on(again.shutdown()).expect("down");
    }
}

#[test]
fn no_message_is_half_handled_and_nobody_starves() {
    let folder = Folder::new("half");
    let path = folder.file("a.snap");
    for backend in backends() {
        let runtime = builder(backend, 2).build().expect("a runtime");
        let group = block_on(runtime.launch_many(20, LaunchOptions::default(), |i| Cell::new(i.into()))).expect("launched");
        // Each of some actors has a handler at work nearly all the time.
        for _ in 0..200 {
            for index in 0..10 {
                block_on(group.get(index).expect("there").tell(Both(100_000))).map_err(|e| e.to_string()).expect("sent");
            }
        }
        let mut seen = 0;
        for _ in 0..5 {
            block_on(runtime.snapshot().group("g", &group).write(&path)).expect("written");
            let snapshot = Snapshot::open(&path).expect("whole");
            for number in 0..20 {
                let state = snapshot.actor(&snapshot.entries()[0], number).expect("there").state;
                let fields = &snapshot.kinds()[0].fields;
                let value = |name: &str| {
                    let field = fields.iter().find(|field| field.name == name).expect("a field");
                    u64::from_ne_bytes(state[field.offset as usize..][..8].try_into().expect("eight bytes"))
                };
                assert_eq!(value("number"), number);
                assert_eq!(value("first"), value("second"), "of actor {number}");
                seen += value("first");
            }
        }
        assert!(seen > 100 * 1000, "messages were handled: {seen}");
    }
}

#[test]
fn what_cannot_be_saved_is_named() {
    let folder = Folder::new("named");
    let path = folder.file("a.snap");
    let runtime = builder(Backend::Cpu, 1).ask_limit(Duration::from_millis(200)).build().expect("a runtime");
    let launch = || block_on(runtime.launch(Cell::new(0), LaunchOptions::default())).expect("launched");
    let (failed, slow) = (launch(), launch());
    assert!(block_on(failed.ask(Crash)).is_err());
    let save = |name: &str, actor: &ActorRef<Cell>| block_on(runtime.snapshot().actor(name, actor).write(&path));
    let error = save("failed", &failed).expect_err("it has failed");
    assert!(
        matches!(&error, SnapshotError::NoSuchActor { entry, actor } if entry == "failed" && *actor == failed.id()),
        "{error}"
    );
    block_on(slow.tell(Both(u64::MAX / 4))).map_err(|e| e.to_string()).expect("sent");
    let error = save("slow", &slow).expect_err("it is at work");
    assert!(matches!(&error, SnapshotError::Busy { entry, .. } if entry == "slow"), "{error}");
    assert!(matches!(block_on(runtime.snapshot().write(&path)), Err(SnapshotError::NoEntries)));
    let twice = block_on(runtime.snapshot().actor("a", &slow).actor("a", &failed).write(&path));
    assert!(matches!(twice, Err(SnapshotError::NameTaken { .. })));
    let other = cpu(1);
    let foreign = block_on(other.snapshot().actor("a", &slow).write(&path));
    assert!(matches!(foreign, Err(SnapshotError::WrongRuntime { .. })));
    let nowhere = block_on(runtime.snapshot().actor("f", &launch()).write(folder.file("no/such/folder.snap")));
    assert!(matches!(nowhere, Err(SnapshotError::Io { .. })), "{nowhere:?}");
    assert_eq!(std::fs::read_dir(&folder.0).expect("a folder").count(), 0, "nothing was left");
}

#[test]
fn another_layout_is_refused_by_the_name_of_the_field() {
    let folder = Folder::new("layout");
    let path = folder.file("a.snap");
    let runtime = cpu(1);
    let actor = block_on(runtime.launch(Cell::new(1), LaunchOptions::default())).expect("launched");
    block_on(runtime.snapshot().actor("a", &actor).write(&path)).expect("written");
    let snapshot = Snapshot::open(&path).expect("whole");
    let other = Runtime::builder().module(&later::MODULE).backend(Backend::Cpu).workers(1).pin(false).build().expect("a runtime");
    let refused = block_on(other.restore(&snapshot).actor::<later::Cell>("a", LaunchOptions::default()));
    let Err(RestoreError::Layout(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind, "test/cell");
    let LayoutDifference::FieldRetyped { field, saved, here } = &error.difference else { panic!("{error}") };
    assert_eq!((&**field, &**saved, &**here), ("rest", "Resident<[u32; 10]>", "Resident<[u16; 20]>"));
    assert!(error.to_string().contains("`rest`"), "{error}");
    let refused = block_on(other.restore(&snapshot).actor::<later::Odd>("a", LaunchOptions::default()));
    assert!(matches!(refused, Err(RestoreError::WrongEntry { .. })), "{refused:?}");
    let refused = block_on(other.restore(&snapshot).actor::<later::Cell>("b", LaunchOptions::default()));
    assert!(matches!(refused, Err(RestoreError::NoSuchEntry { .. })), "{refused:?}");
    // Another module, but the same layout.
    let odd = block_on(runtime.launch(Odd { limit: 1, on: true, value: 3.into() }, LaunchOptions::default())).expect("launched");
    block_on(runtime.snapshot().actor("odd", &odd).write(&path)).expect("written");
    let snapshot = Snapshot::open(&path).expect("whole");
    let odd = block_on(other.restore(&snapshot).actor::<later::Odd>("odd", LaunchOptions::default())).expect("restored");
    assert_eq!(block_on(odd.ask(later::Get)), Ok(3));
}

/// The kernels of a later version of the program.
mod later {
    use warpring::prelude::*;

    #[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
    pub struct Get;

    #[derive(Debug, RingKernel)]
    #[ring_kernel(id = "test/cell")]
    #[allow(dead_code, reason = "is compared and not read")]
    pub struct Cell {
        number: u64,
        first: Resident<u64>,
        second: Resident<u64>,
        rest: Resident<[u16; 20]>,
    }
    impl RingKernelHandler<Get, ()> for Cell {
        async fn handle(&self, _: &mut RingContext<'_>, _: Get) -> Result<()> {
            Ok(())
        }
    }
    #[derive(Debug, RingKernel)]
    #[ring_kernel(id = "test/odd", version = 2)]
    #[allow(dead_code, reason = "is compared and not read")]
    pub struct Odd {
        limit: u32,
        on: bool,
        value: Resident<i32>,
    }
    impl RingKernelHandler<Get, i32> for Odd {
        async fn handle(&self, ctx: &mut RingContext<'_>, _: Get) -> Result<i32> {
            Ok(*ctx.read(&self.value))
        }
    }
    warpring::export! {
        Cell { Get => () }
        Odd { Get => i32 }
    }
}

#[test]
fn a_million_small_states_are_little_more_on_the_disk() {
    let folder = Folder::new("million");
    let path = folder.file("a.snap");
    let runtime = builder(Backend::Cpu, 2).max_actors(1 << 20).build().expect("a runtime");
    let group = block_on(runtime.launch_many(1_000_000, LaunchOptions::default(), |i| Cell::new(i.into()))).expect("launched");
    let summary = block_on(runtime.snapshot().group("g", &group).write(&path)).expect("written");
    assert_eq!((summary.actors, summary.state_bytes), (1_000_000, 64_000_000));
    assert!(summary.file_bytes * 10 <= summary.state_bytes * 11, "{summary:?}");
    let snapshot = Snapshot::open(&path).expect("whole");
    let again = builder(Backend::Cpu, 2).max_actors(1 << 20).build().expect("a runtime");
    let group = block_on(again.restore(&snapshot).group::<Cell>("g", LaunchOptions::default())).expect("restored");
    assert_eq!(block_on(group.get(999_999).expect("there").ask(Put(0))), Ok(999_999));
    let summary = block_on(again.snapshot_all(&path)).expect("written");
    assert!(summary.actors == 1_000_000 && summary.file_bytes * 10 <= summary.state_bytes * 11, "{summary:?}");
}

#[test]
fn snapshots_may_be_made_by_tasks_that_move() {
    fn sends<T: Send>(_: &T) {}
    let folder = Folder::new("moves");
    let (runtime, path) = (cpu(1), folder.file("a.snap"));
    let actor = block_on(runtime.launch(Cell::new(1), LaunchOptions::default())).expect("launched");
    let write = runtime.snapshot().actor("a", &actor).write(&path);
    sends(&write);
    block_on(write).expect("written");
    let snapshot = Snapshot::open(&path).expect("whole");
    let restore = runtime.restore(&snapshot);
    sends(&restore.actor::<Cell>("a", LaunchOptions::default()));
    sends(&restore.group::<Cell>("a", LaunchOptions::default()));
    sends(&restore.into_actor("a", &actor));
    sends(&restore.all());
    sends(&runtime.snapshot_all(&path));
}

#[test]
fn a_snapshot_that_is_given_up_leaves_nothing_behind() {
    let folder = Folder::new("given-up");
    let path = folder.file("a.snap");
    let runtime = cpu(2);
    let group = block_on(runtime.launch_many(50_000, LaunchOptions::default(), |i| Cell::new(i.into()))).expect("launched");
    for polls in 0..30 {
        let mut write = Box::pin(runtime.snapshot().group("g", &group).write(&path));
        let waker = std::task::Waker::noop();
        for _ in 0..polls {
            let _ = write.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready();
            std::thread::yield_now();
            if path.exists() {
                break;
            }
        }
        drop(write);
        // The next one has the staging area, and takes away what is left.
        block_on(runtime.snapshot().group("g", &group).write(&path)).expect("written");
        assert_eq!(Snapshot::open(&path).expect("whole").actors(), 50_000);
        std::fs::remove_file(&path).expect("there");
    }
    let missing = Snapshot::open(&path);
    assert!(matches!(missing, Err(OpenError::Io { .. })), "{missing:?}");
}
