//! Ends of actors at inconvenient times: while the runtime drains, while a worker is busy, and where a supervisor cannot go on.

#![allow(missing_docs, reason = "the kernels are public for the export alone")]

#[allow(dead_code, reason = "each test file uses a part")]
#[path = "support/folder.rs"]
mod folder;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use warpring::prelude::*;
use warpring::{Backend, ChildSpec, Down, LaunchError, RestartFrom, Runtime, Strategy, Supervision, block_on};

#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Watch {
    pub actor: ActorId,
}
/// Sleeps, then stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Quit {
    pub pause_ns: u64,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Crash;
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Get;
/// Keeps the worker for so long, without awaiting anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Block {
    pub ns: u64,
}

/// Counts the ends that it hears of under its number.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/mayfly", validate = Mayfly::check)]
pub struct Mayfly {
    number: u32,
    seen: Resident<u32>,
}

impl Mayfly {
    fn new(number: u32) -> Self {
        Self { number, seen: Resident::new(0) }
    }

    fn check(&self) -> Result<()> {
        assert!(self.number != BROKEN || !BREAKS.load(Ordering::SeqCst), "a check that panics");
        Ok(())
    }
}

/// The number of an actor whose state is not accepted later.
const BROKEN: u32 = 13;
static BREAKS: AtomicBool = AtomicBool::new(false);
static HEARD: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

impl RingKernelHandler<Watch, ()> for Mayfly {
    async fn handle(&self, ctx: &mut RingContext<'_>, watch: Watch) -> Result<()> {
        ctx.monitor(self, watch.actor)
    }
}
impl RingKernelHandler<Down, ()> for Mayfly {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Down) -> Result<()> {
        ctx.update(&self.seen, |_| _ = HEARD[self.number as usize].fetch_add(1, Ordering::SeqCst));
        Ok(())
    }
}
impl RingKernelHandler<Quit, ()> for Mayfly {
    async fn handle(&self, ctx: &mut RingContext<'_>, quit: Quit) -> Result<()> {
        ctx.sleep(Duration::from_nanos(quit.pause_ns)).await;
        ctx.stop();
        Ok(())
    }
}
impl RingKernelHandler<Crash, ()> for Mayfly {
    async fn handle(&self, _: &mut RingContext<'_>, _: Crash) -> Result<()> {
        panic!("as asked")
    }
}
impl RingKernelHandler<Get, u32> for Mayfly {
    async fn handle(&self, _: &mut RingContext<'_>, _: Get) -> Result<u32> {
        Ok(self.number)
    }
}
impl RingKernelHandler<Block, ()> for Mayfly {
    async fn handle(&self, _: &mut RingContext<'_>, block: Block) -> Result<()> {
        std::thread::sleep(Duration::from_nanos(block.ns));
        Ok(())
    }
}

warpring::export! {
    Mayfly { Watch => (), Down => (), Quit => (), Crash => (), Get => u32, Block => () }
}

fn builder(on: Backend) -> warpring::RuntimeBuilder {
    Runtime::builder().module(&MODULE).backend(on).workers(2).pin(false).max_actors(1 << 10)
}

fn launch(runtime: &Runtime, worker: u32, number: u32) -> ActorRef<Mayfly> {
    block_on(runtime.launch(Mayfly::new(number), LaunchOptions::default().on_worker(worker))).expect("launched")
}

fn backends() -> Vec<Backend> {
    vec![
        Backend::Cpu,
        #[cfg(feature = "sim")]
        Backend::Sim(Default::default()),
        #[cfg(all(feature = "sim", feature = "cuda"))]
        Backend::Cuda(warpring::CudaOptions::default().on_threads()),
    ]
}

#[test]
fn an_end_while_the_runtime_drains_is_heard_of() {
    for (number, on) in backends().into_iter().enumerate() {
        let runtime = builder(on).build().expect("built");
        let (watcher, actor) = (launch(&runtime, 1, number as u32), launch(&runtime, 0, 15));
        watcher.ask(Watch { actor: actor.id() }).wait().expect("it watches");
        actor.tell(Quit { pause_ns: 20_000_000 }).wait().expect("accepted");
        assert_eq!(block_on(runtime.shutdown()), Ok(()));
        assert_eq!(HEARD[number].load(Ordering::SeqCst), 1, "backend {number}");
    }
}

#[test]
fn a_supervisor_waits_for_a_worker_that_a_handler_keeps() {
    let runtime = builder(Backend::Cpu).ask_limit(Duration::from_millis(30)).build().expect("built");
    let supervisor = runtime.supervise(Supervision::new(Strategy::OneForOne));
    let neighbour = launch(&runtime, 0, 15);
    let on_worker = ChildSpec::permanent().launch(LaunchOptions::default().on_worker(0));
    let child = block_on(supervisor.launch(Mayfly::new(7), on_worker)).expect("launched");
    // It falls between two handlers that keep the worker for twice as long as an answer may take.
    child.tell(Crash).wait().expect("accepted");
    for _ in 0..6 {
        neighbour.tell(Block { ns: 60_000_000 }).wait().expect("accepted");
    }
    assert_eq!(child.ask(Get).within(Duration::from_secs(30)).wait(), Ok(7));
    assert_eq!(supervisor.restarts(), 1);
    block_on(runtime.shutdown()).expect("clean");
}

#[test]
fn a_snapshot_that_cannot_be_used_is_said_by_the_supervisor_above() {
    let folder = folder::Folder::new();
    std::fs::write(folder.file("states"), "no snapshot").expect("written");
    for on in backends() {
        let runtime = builder(on).build().expect("built");
        let top = runtime.supervise(Supervision::new(Strategy::OneForOne));
        let below = top.supervise(Supervision::new(Strategy::OneForOne).stop_limit(Duration::from_millis(10)));
        let from = RestartFrom::Snapshot { path: folder.file("states"), entry: "mayfly".into() };
        let child = block_on(below.launch(Mayfly::new(15), ChildSpec::permanent().from(from))).expect("launched");
        assert!(child.ask(Crash).wait().is_err());
        let escalation = block_on(top.failed()).expect("it gives up");
        assert_eq!(escalation.actor, child.id());
        assert!(escalation.error.is_some_and(|error| error.contains("states")), "it names the file");
        block_on(runtime.shutdown()).expect("clean");
    }
}

#[test]
fn a_check_that_panics_ends_its_own_supervisor_and_no_other() {
    let folder = folder::Folder::new();
    let runtime = builder(Backend::Cpu).build().expect("built");
    let (one, other) =
        (runtime.supervise(Supervision::new(Strategy::OneForOne)), runtime.supervise(Supervision::new(Strategy::OneForOne)));
    let from = RestartFrom::Snapshot { path: folder.file("states"), entry: "mayfly".into() };
    let child = block_on(one.launch(Mayfly::new(BROKEN), ChildSpec::permanent().from(from))).expect("launched");
    let beside = block_on(other.launch(Mayfly::new(6), ChildSpec::permanent())).expect("launched");
    block_on(runtime.snapshot().actor("mayfly", &child).write(folder.file("states"))).expect("written");
    BREAKS.store(true, Ordering::SeqCst);
    assert!(child.ask(Crash).wait().is_err());
    let escalation = block_on(one.failed()).expect("it gives up");
    assert!(escalation.error.is_some_and(|error| error.contains("test/mayfly")), "it names the kernel");
    assert!(beside.ask(Crash).wait().is_err());
    assert_eq!(beside.ask(Get).within(Duration::from_secs(30)).wait(), Ok(6));
    block_on(runtime.shutdown()).expect("clean");
}

#[test]
fn a_supervisor_that_was_shut_down_is_no_child_any_more() {
    let runtime = builder(Backend::Cpu).build().expect("built");
    let top = runtime.supervise(Supervision::new(Strategy::OneForAll));
    let below = top.supervise(Supervision::new(Strategy::OneForOne));
    assert_eq!(format!("{top:?}"), "Supervisor(OneForAll, 1 children)");
    block_on(below.shutdown());
    assert_eq!(format!("{top:?}"), "Supervisor(OneForAll, 0 children)");
    block_on(runtime.shutdown()).expect("clean");
}

#[test]
fn a_supervised_group_that_is_too_large_is_refused() {
    let runtime = builder(Backend::Cpu).build().expect("built");
    let supervisor = runtime.supervise(Supervision::new(Strategy::OneForOne));
    let launched = block_on(supervisor.launch_many(u32::MAX, ChildSpec::permanent(), Mayfly::new));
    assert!(matches!(launched.err(), Some(LaunchError::TooManyActors { .. })));
    block_on(runtime.shutdown()).expect("clean");
}
