//! `Runtime`: asks its workers what they do, and shuts them down. `runtime/builder.rs` sets it up, `launch.rs` launches actors on it.

mod builder;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warpring_core::message::Kind;
use warpring_core::worker::{CONTROL_DRAIN, CONTROL_PROBE, CONTROL_STOP, Report};
use warpring_core::{ActorId, KernelError, RingMessage};

use crate::ask_cycle::AskCycle;
#[cfg(feature = "cuda")]
use crate::backend::CudaError;
use crate::backend::Engine;
use crate::dead_letter::DeadLetter;
use crate::error::{LaunchError, PortError, Refusal, ShutdownError};
use crate::lock::lock;
use crate::port::Port;
use crate::reply::{NoReply, Pending, Reply};
use crate::shared::Shared;
use crate::staging::Area;
use crate::stuck::{StuckHandler, StuckHook};
pub use builder::RuntimeBuilder;
pub(crate) use builder::Settings;
#[cfg(feature = "cuda")]
pub(crate) use builder::check;

/// What the workers have done, and what they have still to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// One report per worker.
    pub workers: Vec<Report>,
    /// Actors launched, those that have ended included; not those that handlers spawned.
    pub actors: u64,
    /// Of these, how many have ended.
    pub ended: u64,
    /// Bytes of actors' values, which is their resident state.
    pub state_bytes: u64,
    /// Bytes that the driver has copied to and from the device: the values of launched actors. Messages and states are not copied.
    pub copied_bytes: u64,
    /// Messages without a reply that were not handled.
    pub dead_letters: u64,
}

/// How often the workers of a runtime were launched. CPU workers are launched once; a grid again after each hibernation, and after
/// each launch that ran for as long as it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Launches {
    /// Launches of all workers.
    pub count: u64,
    /// How often the grid hibernated.
    pub hibernations: u64,
    /// It hibernates now.
    pub asleep: bool,
}

impl Stats {
    /// Messages handled by all workers.
    pub fn handled(&self) -> u64 {
        self.workers.iter().map(|w| w.counters.handled).sum()
    }
}

/// Running workers and their actors.
///
/// Dropped without [`shutdown`](Self::shutdown), it stops at once: `shutdown` of each actor runs, messages that wait are refused.
pub struct Runtime {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    down: bool,
    #[cfg(feature = "cuda")]
    why_not_gpu: Option<CudaError>,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runtime({}, {} workers)", self.backend(), self.workers())
    }
}

impl Runtime {
    /// Sets up a runtime.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    fn new(shared: Arc<Shared>, threads: Vec<JoinHandle<()>>, stuck: Option<StuckHook>) -> Self {
        if let Some(hook) = stuck {
            // No actor is there yet that could be stuck.
            let _ = shared.stuck.hook.set(hook);
        }
        shared.dead.attach(Arc::downgrade(&shared));
        Self {
            shared,
            threads: Mutex::new(threads),
            down: false,
            #[cfg(feature = "cuda")]
            why_not_gpu: None,
        }
    }

    /// Why [`Backend::Auto`](crate::Backend::Auto) chose CPU threads; `None` if it did not, or nobody asked it.
    #[cfg(feature = "cuda")]
    pub fn why_not_gpu(&self) -> Option<&CudaError> {
        self.why_not_gpu.as_ref()
    }

    /// What the workers run on, as it calls itself: the device's name, for a GPU.
    pub fn device(&self) -> String {
        match self.shared.engine.get() {
            #[cfg(feature = "cuda")]
            Some(Engine::Cuda(cuda)) => cuda.device_name(),
            Some(engine) => engine.name().to_owned(),
            None => "none".to_owned(),
        }
    }

    /// The backend that runs, by name: `cpu`, `cuda` or `sim`.
    pub fn backend(&self) -> &'static str {
        self.shared.engine.get().map_or("none", Engine::name)
    }

    /// How many workers there are.
    pub fn workers(&self) -> u32 {
        self.shared.settings.workers
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Opens a port: a host thread's own rings to the workers, with room for `window` asks under way.
    ///
    /// # Errors
    /// See [`PortError`].
    pub fn port(&self, window: u32) -> Result<Port, PortError> {
        Port::open(Arc::clone(&self.shared), window)
    }

    /// Asks each worker what it has done.
    ///
    /// # Errors
    /// [`LaunchError::Stopped`] once the runtime is stopping.
    pub async fn stats(&self) -> Result<Stats, LaunchError> {
        let workers = probe(&self.shared, CONTROL_PROBE, Duration::MAX).await.map_err(|_| LaunchError::Stopped)?;
        self.shared.take_letters();
        let states = lock(&self.shared.states);
        let slots = lock(&self.shared.slots);
        Ok(Stats {
            workers,
            actors: slots.launched,
            ended: slots.ended,
            state_bytes: match self.shared.engine.get() {
                #[cfg(feature = "cuda")]
                Some(Engine::Cuda(cuda)) => cuda.state_bytes(),
                _ => states.iter().map(|block| block.bytes() as u64).sum::<u64>() + slots.bytes(),
            },
            copied_bytes: match self.shared.engine.get() {
                #[cfg(feature = "cuda")]
                Some(Engine::Cuda(cuda)) => cuda.copied_bytes(),
                _ => 0,
            },
            dead_letters: self.shared.dead.count(),
        })
    }

    /// How often the workers were launched, and whether they run now. Asks nobody, so it wakes nobody.
    pub fn launches(&self) -> Launches {
        self.shared.engine.get().map_or_else(Launches::default, Engine::launches)
    }

    /// The rules of team code that handlers broke so far, with file, line and column; `shutdown` gives them too.
    #[cfg(feature = "sim")]
    pub fn violations(&self) -> Vec<String> {
        match self.shared.engine.get() {
            Some(Engine::Sim(sim)) => sim.violations(),
            _ => Vec::new(),
        }
    }

    /// The last 1,024 messages without a reply that were not handled, oldest first; a log has more.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.shared.take_letters();
        self.shared.dead.list()
    }

    /// The last 1,024 handlers that were over their [budget](RuntimeBuilder::handler_budget), oldest first.
    pub fn stuck_handlers(&self) -> Vec<StuckHandler> {
        self.shared.stuck.list()
    }

    /// The last 1,024 cycles of asks that were found and broken, oldest first.
    pub fn ask_cycles(&self) -> Vec<AskCycle> {
        self.shared.take_letters();
        self.shared.cycles.list()
    }

    /// Takes no more messages from the host, waits until all that was accepted is handled (at most `drain_limit`), runs
    /// `shutdown` of each actor, and ends the workers.
    ///
    /// # Errors
    /// See [`ShutdownError`]; the runtime is down all the same.
    pub async fn shutdown(mut self) -> Result<(), ShutdownError> {
        self.down = true;
        let threads = std::mem::take(&mut *lock(&self.threads));
        let shared = Arc::clone(&self.shared);
        if !shared.engine.get().is_some_and(Engine::wakes) {
            // Nothing runs but what this thread runs.
            return end(&shared, threads, shared.settings.drain_limit);
        }
        let limit = shared.settings.drain_limit;
        // Joining blocks, which a task must not do.
        let done = Arc::new(Done::default());
        let signal = Arc::clone(&done);
        let threads = Arc::new(Mutex::new(threads));
        let spawned = std::thread::Builder::new().name("warpring-shutdown".into()).spawn({
            let (shared, threads) = (Arc::clone(&shared), Arc::clone(&threads));
            move || signal.set(end(&shared, std::mem::take(&mut *lock(&threads)), limit))
        });
        match spawned {
            Ok(_) => Done::wait(&done).await,
            // Without a thread for it, it is still better that this one blocks than that the workers go on for good.
            Err(_) => end(&shared, std::mem::take(&mut *lock(&threads)), limit),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.down {
            let threads = std::mem::take(&mut *lock(&self.threads));
            // Nobody is left to hear of it.
            let _ = end(&self.shared, threads, Duration::ZERO);
        }
    }
}

/// Sends a control message, waiting while the ring is full.
pub(crate) async fn control<A: RingMessage>(
    shared: &Arc<Shared>,
    worker: u32,
    tag: u16,
    message: &A,
    limit: Duration,
) -> Result<Pending, Refusal> {
    loop {
        match shared.control(worker, tag, message) {
            Ok(held) => return Ok(Pending::new(Arc::clone(shared), held, limit)),
            Err(Refusal::RingFull { .. } | Refusal::TooManyAsks { .. })
                if !shared.seats[worker as usize].lost.load(Ordering::Acquire) =>
            {
                shared.pump();
                yield_once().await;
            }
            Err(reason) => return Err(reason),
        }
    }
}

/// The end of a question to a worker that has no value for an answer: whether it did it.
pub(crate) async fn answered(mut question: Pending) -> Result<Result<(), KernelError>, NoReply> {
    let header = std::future::poll_fn(|cx| {
        question.poll_lines(cx).map_ok(|lines| {
            // SAFETY: the answer was seen, and `question` holds the cell.
            unsafe { lines.header() }
        })
    })
    .await?;
    question.done();
    let refusal = KernelError::from_parts(header.tag, header.sender);
    Ok(if header.kind() == Kind::Reply as u8 { Ok(()) } else { Err(refusal) })
}

pub(crate) async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await
}

async fn probe(shared: &Arc<Shared>, tag: u16, limit: Duration) -> Result<Vec<Report>, Refusal> {
    let mut pending = Vec::with_capacity(shared.seats.len());
    for worker in 0..shared.seats.len() as u32 {
        let id = ActorId { slot: u32::MAX, generation: 0, worker: worker as u16 };
        pending.push(Reply::<(), Report>::new(control(shared, worker, tag, &(), limit).await?, id, ()));
    }
    let mut reports = Vec::with_capacity(pending.len());
    for answer in pending {
        reports.push(answer.await.map_err(|_| Refusal::RuntimeStopped)?);
    }
    Ok(reports)
}

/// Drains, stops and joins; blocks.
fn end(shared: &Arc<Shared>, threads: Vec<JoinHandle<()>>, limit: Duration) -> Result<(), ShutdownError> {
    // SeqCst is not needed: a message that slips in after this is refused below.
    shared.closing.store(true, Ordering::Release);
    let lost = |shared: &Shared| lock(&shared.lost).clone();
    let mut result = if lost(shared).is_none() { drain(shared, limit) } else { Ok(()) };
    let mut stops = Vec::new();
    for (worker, seat) in shared.seats.iter().enumerate() {
        // It fails for a worker that was lost, and for no other: the rest take control messages, and their threads are joined below.
        if !seat.lost.load(Ordering::Acquire)
            && let Ok(stop) = pollster::block_on(control(shared, worker as u32, CONTROL_STOP, &(), Duration::MAX))
        {
            stops.push(stop);
        }
    }
    match shared.engine.get() {
        #[cfg(feature = "sim")]
        Some(Engine::Sim(sim)) => {
            let ended = sim.run_to_end(shared);
            result = result.and(ended);
        }
        engine => {
            #[cfg(feature = "cuda")]
            if let Some(Engine::Cuda(cuda)) = engine {
                cuda.stop_asked();
            }
            let _ = engine;
            for thread in threads {
                if thread.join().is_err() {
                    result = Err(ShutdownError::WorkerLost { message: "the worker's thread panicked".into() });
                }
            }
        }
    }
    // No worker runs any more: answer what they left. Replies to other workers go nowhere, and nobody waits for them.
    let rest = shared.refuse_rest();
    shared.areas.iter().for_each(Area::end);
    shared.keeper.stop();
    shared.ends.stop();
    shared.deadlines.stop();
    shared.stuck.stop();
    for cell in 0..shared.cells.total() {
        shared.cells.waker(cell).wake();
    }
    drop(stops);
    let logged = shared.dead.close();
    // A device that failed says so first.
    rest?;
    match lost(shared) {
        Some(message) => Err(ShutdownError::WorkerLost { message }),
        None => result.and(logged.map_err(ShutdownError::DeadLetterLog)),
    }
}

/// The beginning of a wait that counts what has passed on the host's clock or on the workers', which is the simulator's own where
/// there is one.
pub(crate) struct Since {
    real: Instant,
    workers: u64,
}

impl Since {
    pub(crate) fn now(shared: &Shared) -> Self {
        Self { real: Instant::now(), workers: shared.now() }
    }

    pub(crate) fn elapsed(&self, shared: &Shared) -> Duration {
        self.real.elapsed().max(Duration::from_nanos(shared.now().saturating_sub(self.workers)))
    }

    /// Lets a machine that moves only while somebody waits go on until something is due, at most until `limit` has passed: a look at
    /// it, which is answered at once, lets no time pass.
    pub(crate) fn pass(&self, shared: &Shared, limit: Duration) {
        let limit = limit.as_nanos().min(u128::from(u64::MAX)) as u64;
        shared.pump_until(self.workers.saturating_add(limit), &|| false);
    }
}

/// So long a busy worker has to answer a probe, also when there is no time to drain.
const SHORTEST_PROBE: Duration = Duration::from_millis(100);

/// Waits until nothing is under way: every worker idle, and every message that one worker sent taken by another, twice in a row
/// with the same counts (Mattern's four-counter test for distributed termination).
fn drain(shared: &Arc<Shared>, limit: Duration) -> Result<(), ShutdownError> {
    let since = Since::now(shared);
    let mut before = None;
    let mut pause = Duration::from_micros(20);
    loop {
        // A worker that does not answer is in a handler that does not return.
        let patience = limit.saturating_sub(since.elapsed(shared)).max(SHORTEST_PROBE);
        let Ok(reports) = pollster::block_on(probe(shared, CONTROL_DRAIN, patience)) else {
            return Err(ShutdownError::NotDrained { handlers: 1, waiting: 0, limit });
        };
        // What they told the host before they answered: who monitors an actor that has ended hears of it before the next probe.
        shared.take_letters();
        let frames: u32 = reports.iter().map(|r| r.frames).sum();
        let waiting: u32 = reports.iter().map(|r| r.waiting).sum();
        let sent: u64 = reports.iter().map(|r| r.counters.sent).sum();
        let received: u64 = reports.iter().map(|r| r.counters.received).sum();
        let handled: u64 = reports.iter().map(|r| r.counters.handled).sum();
        let quiet = frames == 0 && waiting == 0 && sent == received;
        let now = quiet.then_some((sent, received, handled));
        if now.is_some() && now == before {
            return Ok(());
        }
        before = now;
        if since.elapsed(shared) >= limit {
            return if quiet { Ok(()) } else { Err(ShutdownError::NotDrained { handlers: frames, waiting, limit }) };
        }
        if quiet {
            continue;
        }
        if shared.engine.get().is_some_and(Engine::wakes) {
            // The workers need the cores more than this poll does.
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        } else {
            since.pass(shared, limit);
        }
    }
}

/// A result that one thread sets and one future awaits.
#[derive(Default)]
struct Done {
    result: Mutex<Option<Result<(), ShutdownError>>>,
    waker: atomic_waker::AtomicWaker,
}

impl Done {
    fn set(&self, result: Result<(), ShutdownError>) {
        *lock(&self.result) = Some(result);
        self.waker.wake();
    }

    async fn wait(this: &Arc<Self>) -> Result<(), ShutdownError> {
        std::future::poll_fn(|cx| {
            this.waker.register(cx.waker());
            match lock(&this.result).take() {
                Some(result) => std::task::Poll::Ready(result),
                None => std::task::Poll::Pending,
            }
        })
        .await
    }
}
