//! Section 10: snapshots.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use warpring::module::Exported;
use warpring::prelude::*;
use warpring::snapshot::{LayoutDifference, OpenError, RestoreError, Snapshot, SnapshotError};
use warpring::{RuntimeBuilder, block_on};

use crate::kernels::cell::{Cell, Mix, mixed};
use crate::kernels::mortal::{Life, Mortal, ReadLife, Start};
use crate::kernels::subject::{Add, Get, Subject};
use crate::kernels::twin::{Both, Grow, OtherSides, Sides, Twin};
use crate::setup::{Held, Named, Setup, end, eventually, launch, launch_on, same};

/// A file that is gone in the end.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("warpring-conformance-{}-{number}.snap", std::process::id())))
    }

    fn open(&self) -> Result<Snapshot, String> {
        Snapshot::open(&self.0).named("opening a snapshot")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A case that failed may not have written it.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn save<K: Exported>(runtime: &Runtime, actor: &ActorRef<K>, path: &Path) -> Result<(), String> {
    block_on(runtime.snapshot().actor("actor", actor).write(path)).named("saving an actor").map(drop)
}

fn restored<K: Exported>(runtime: &Runtime, snapshot: &Snapshot) -> Result<ActorRef<K>, String> {
    block_on(runtime.restore(snapshot).actor("actor", LaunchOptions::default())).named("restoring an actor")
}

pub(super) fn between_messages(setup: &Setup) -> Result<(), String> {
    let (file, runtime) = (Scratch::new(), setup.runtime()?);
    let launched = runtime.launch_many(8, LaunchOptions::default(), |i| Twin::new(u64::from(i), Address::default()));
    let group = block_on(launched).named("launching a group")?;
    for _ in 0..setup.scale(100, 20) {
        for index in 0..8 {
            let twin = group.get(index).ok_or("the group is too small")?;
            twin.tell(Grow { ns: 50_000, n: 100 }).wait().named("telling")?;
        }
    }
    for _ in 0..3 {
        block_on(runtime.snapshot().group("group", &group).write(&file.0)).named("saving a group")?;
        let (snapshot, again) = (file.open()?, setup.runtime()?);
        let twins = block_on(again.restore(&snapshot).group::<Twin>("group", LaunchOptions::default()));
        let twins = twins.named("restoring a group")?;
        for index in 0..8 {
            let twin = twins.get(index).ok_or("the group is too small")?;
            let Both { left, right } = twin.ask(Sides).wait().named("asking")?;
            same("the sides of a twin", left, right)?;
            same("the twin that it is", left % 100, index.into())?;
        }
        end(again)?;
    }
    end(runtime)
}

pub(super) fn others_go_on(setup: &Setup) -> Result<(), String> {
    let (file, runtime) = (Scratch::new(), setup.runtime()?);
    let far = launch_on(&runtime, 1, Subject::default())?;
    let held = Held::new(&runtime)?;
    {
        let builder = runtime.snapshot().actor("held", &held.subject).actor("near", &held.neighbour).actor("far", &far);
        let mut write = pin!(builder.write(&file.0));
        // It has begun, and waits for the actor that is held.
        same("a snapshot of a held actor ends", write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready(), false)?;
        for n in 1..=20 {
            same("a neighbour", held.neighbour.ask(Add { n: 1 }).wait(), Ok(n))?;
            same("an actor of another worker", far.ask(Add { n: 1 }).wait(), Ok(n))?;
        }
        launch(&runtime, Subject::default())?;
        held.release()?;
        same("actors saved", block_on(write).named("saving")?.actors, 3)?;
    }
    held.open()?;
    end(runtime)
}

pub(super) fn a_busy_actor_is_named(setup: &Setup) -> Result<(), String> {
    let (file, runtime) = (Scratch::new(), setup.builder().ask_limit(Duration::from_millis(300)).build());
    let runtime = runtime.named("building the runtime")?;
    let held = Held::new(&runtime)?;
    std::fs::write(&file.0, b"as before").named("writing a file")?;
    let snapshot = runtime.snapshot().actor("free", &held.neighbour).actor("held", &held.subject);
    match block_on(snapshot.write(&file.0)) {
        Err(SnapshotError::Busy { entry, actor, .. }) if entry == "held" && actor == held.subject.id() => {}
        other => return Err(format!("a snapshot of a held actor: {other:?}")),
    }
    same("the file", std::fs::read(&file.0).named("reading a file")?, b"as before".to_vec())?;
    held.release()?;
    end(runtime)
}

pub(super) fn states_come_back(setup: &Setup) -> Result<(), String> {
    let (file, runtime) = (Scratch::new(), setup.runtime()?);
    let count = setup.scale(1001, 101);
    let launched = runtime.launch_many(count, LaunchOptions::default(), |i| Cell::new(u64::from(i)));
    let group = block_on(launched).named("launching a group")?;
    let last = group.get(count - 1).ok_or("the group is too small")?;
    let state = mixed(u64::from(count - 1), 3);
    same("the last actor", last.ask(Mix { n: 3 }).wait(), Ok(state))?;
    block_on(runtime.snapshot().group("group", &group).actor("last", &last).write(&file.0)).named("saving")?;
    // What comes later is not in it.
    last.ask(Mix { n: 4 }).wait().named("asking")?;
    let snapshot = file.open()?;
    for workers in [1, 2, 3] {
        let again = setup.builder().workers(workers).build().named("building the runtime")?;
        let restore = again.restore(&snapshot);
        let group = block_on(restore.group::<Cell>("group", LaunchOptions::default())).named("restoring a group")?;
        same("the size of the group", group.len(), count)?;
        let one = block_on(restore.actor::<Cell>("last", LaunchOptions::default())).named("restoring an actor")?;
        same("the actor", one.ask(Mix { n: 5 }).wait(), Ok(mixed(state, 5)))?;
        for index in (0..count - 1).step_by(7) {
            let actor = group.get(index).ok_or("the group is too small")?;
            same(format_args!("actor {index}"), actor.ask(Mix { n: 1 }).wait(), Ok(mixed(index.into(), 1)))?;
        }
        let actor = group.get(count - 1).ok_or("the group is too small")?;
        same("the last actor", actor.ask(Mix { n: 5 }).wait(), Ok(mixed(state, 5)))?;
        end(again)?;
    }
    end(runtime)
}

/// The states of an entry.
fn states(snapshot: &Snapshot) -> Result<Vec<Vec<u8>>, String> {
    let entry = snapshot.entries().first().ok_or("the snapshot has no entry")?;
    let state = |number| snapshot.actor(entry, number).named("reading a state").map(|actor| actor.state);
    (0..entry.actors).map(state).collect()
}

pub(super) fn the_same_everywhere(setup: &Setup) -> Result<(), String> {
    let cpu = || Setup::new(Backend::Cpu).runtime();
    let launched = |runtime: &Runtime| {
        let launched = runtime.launch_many(100, LaunchOptions::default(), |i| Twin::new(u64::from(i), Address::default()));
        let group = block_on(launched).named("launching a group")?;
        for index in 0..100 {
            let twin = group.get(index).ok_or("the group is too small")?;
            twin.ask(Grow { ns: 0, n: u64::from(index) << 20 }).wait().named("asking")?;
        }
        Ok::<_, String>(group)
    };
    for (from, to) in [(cpu()?, setup.runtime()?), (setup.runtime()?, cpu()?)] {
        let (first, second) = (Scratch::new(), Scratch::new());
        let group = launched(&from)?;
        block_on(from.snapshot().group("group", &group).write(&first.0)).named("saving a group")?;
        let snapshot = first.open()?;
        let group = block_on(to.restore(&snapshot).group::<Twin>("group", LaunchOptions::default()));
        let group = group.named("restoring a group")?;
        block_on(to.snapshot().group("group", &group).write(&second.0)).named("saving it again")?;
        same("the states", states(&second.open()?)?, states(&snapshot)?)?;
        let (n, twin) = (99 + (99 << 20), group.get(99).ok_or("the group is too small")?);
        same("the last twin", twin.ask(Sides).wait(), Ok(Both { left: n, right: n }))?;
        end(from)?;
        end(to)?;
    }
    Ok(())
}

pub(super) fn initialize_does_not_run(setup: &Setup) -> Result<(), String> {
    let (file, runtime) = (Scratch::new(), setup.runtime()?);
    let mortal = launch(&runtime, Mortal::new(Start::Plain, Address::default()))?;
    same("before", mortal.ask(Add { n: 5 }).wait(), Ok(5))?;
    save(&runtime, &mortal, &file.0)?;
    let (snapshot, again) = (file.open()?, setup.runtime()?);
    let mortal: ActorRef<Mortal> = restored(&again, &snapshot)?;
    same("after", mortal.ask(Add { n: 2 }).wait(), Ok(7))?;
    let expected = Life { initialized: 1, handled: 2, total: 7, wrong: 0 };
    same("the life", mortal.ask(ReadLife).wait(), Ok(expected))?;
    end(again)?;
    end(runtime)
}

pub(super) fn no_mail(setup: &Setup) -> Result<(), String> {
    let (file, runtime) = (Scratch::new(), setup.runtime()?);
    let held = Held::new(&runtime)?;
    for _ in 0..10 {
        held.subject.tell(Add { n: 1 }).wait().named("telling")?;
    }
    held.settle()?;
    {
        // It begins while ten messages wait, and ends when the handler before them does.
        let mut write = pin!(runtime.snapshot().actor("actor", &held.subject).write(&file.0));
        same("a snapshot of a held actor ends", write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready(), false)?;
        held.release()?;
        block_on(write).named("saving")?;
    }
    let total = || held.subject.ask(Get).wait().named("asking");
    eventually("the messages that waited", || Ok(total()? == 10))?;
    let (snapshot, again) = (file.open()?, setup.runtime()?);
    let saved = states(&snapshot)?;
    let subject: ActorRef<Subject> = restored(&again, &snapshot)?;
    let first = subject.ask(Get).wait().named("asking")?;
    for _ in 0..10 {
        same("the total of the restored actor", subject.ask(Get).wait(), Ok(first))?;
    }
    let copy = Scratch::new();
    save(&again, &subject, &copy.0)?;
    same("its state", states(&copy.open()?)?, saved)?;
    end(again)?;
    held.open()?;
    end(runtime)
}

pub(super) fn a_whole_runtime(setup: &Setup) -> Result<(), String> {
    let (file, runtime) = (Scratch::new(), setup.runtime()?);
    let far = launch_on(&runtime, 1, Twin::new(1, Address::default()))?;
    let near = launch_on(&runtime, 0, Twin::new(2, far.address()))?;
    let launched = runtime.launch_many(50, LaunchOptions::default(), |i| Twin::new(u64::from(i), near.address()));
    let group = block_on(launched).named("launching a group")?.address();
    let cell = launch(&runtime, Cell::new(9))?;
    far.ask(Grow { ns: 0, n: 10 }).wait().named("asking")?;
    same("actors saved", block_on(runtime.snapshot_all(&file.0)).named("saving all")?.actors, 53)?;
    let (snapshot, again) = (file.open()?, setup.runtime()?);
    same("actors restored", block_on(again.restore(&snapshot).all()).named("restoring all")?, 53)?;
    let mut port = again.port(8).named("opening a port")?;
    let mut ask = |to: Address<Twin>| {
        let ticket = port.send(to, OtherSides).named("asking")?;
        port.wait(ticket).named("an answer")
    };
    same("far, by way of near", ask(near.address())?, Both { left: 11, right: 11 })?;
    let last = group.get(49).ok_or("the group is too small")?;
    same("near, by way of the last", ask(last)?, Both { left: 2, right: 2 })?;
    let ticket = port.send(cell.address(), Mix { n: 1 }).named("asking")?;
    same("the cell", port.wait(ticket), Ok(mixed(9, 1)))?;
    let beside = launch(&again, Cell::new(4))?;
    same("a new actor", beside.ask(Mix { n: 0 }).wait(), Ok(mixed(4, 0)))?;
    drop(port);
    end(again)?;
    end(runtime)
}

/// The same kernel in a later version of the program.
#[allow(missing_docs, reason = "nobody outside sees it")]
mod later {
    use warpring::prelude::*;

    #[derive(Debug, RingKernel)]
    #[ring_kernel(id = "conformance/twin")]
    #[allow(dead_code, reason = "is compared and not read")]
    pub struct Twin {
        other: Address<Twin>,
        left: Resident<u64>,
        /// Was a `u64`.
        right: Resident<i64>,
    }
    impl RingKernelHandler<(), ()> for Twin {
        async fn handle(&self, _: &mut RingContext<'_>, (): ()) -> Result<()> {
            Ok(())
        }
    }
    warpring::export! { Twin { () => () } }
}

pub(super) fn another_layout(setup: &Setup) -> Result<(), String> {
    let (file, runtime) = (Scratch::new(), setup.runtime()?);
    let twin = launch(&runtime, Twin::new(1, Address::default()))?;
    save(&runtime, &twin, &file.0)?;
    let snapshot = file.open()?;
    let builder: RuntimeBuilder = Runtime::builder().module(&later::MODULE).backend(Backend::Cpu).workers(1).pin(false);
    let other = builder.build().named("building another program")?;
    let refused = block_on(other.restore(&snapshot).actor::<later::Twin>("actor", LaunchOptions::default()));
    let Err(RestoreError::Layout(error)) = refused else {
        return Err(format!("restored with another layout: {refused:?}"));
    };
    match &error.difference {
        LayoutDifference::FieldRetyped { field, .. } if field == "right" && error.to_string().contains("`right`") => {}
        other => return Err(format!("the difference: {other:?}, which says: {error}")),
    }
    same("actors of the other program", block_on(other.stats()).named("asking for the counters")?.actors, 0)?;
    end(other)?;
    end(runtime)
}

pub(super) fn a_damaged_file(setup: &Setup) -> Result<(), String> {
    let (file, runtime) = (Scratch::new(), setup.runtime()?);
    let twin = launch(&runtime, Twin::new(1, Address::default()))?;
    save(&runtime, &twin, &file.0)?;
    let whole = std::fs::read(&file.0).named("reading a file")?;
    let mut changed = whole.clone();
    let middle = whole.len() * 3 / 4;
    changed[middle] ^= 1;
    for (what, bytes) in [("cut short", &whole[..middle]), ("changed", &changed)] {
        std::fs::write(&file.0, bytes).named("writing a file")?;
        match Snapshot::open(&file.0) {
            Err(OpenError::Damaged { .. }) => {}
            other => return Err(format!("a file that was {what}: {other:?}")),
        }
    }
    std::fs::write(&file.0, &whole).named("writing a file")?;
    restored::<Twin>(&runtime, &file.open()?)?;
    end(runtime)
}
