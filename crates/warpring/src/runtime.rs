//! `Runtime`: builds the workers, launches actors on them, and shuts them down.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warpring_core::directory::DirectorySize;
use warpring_core::message::Kind;
use warpring_core::module::ModuleTable;
use warpring_core::worker::{CONTROL_DRAIN, CONTROL_PROBE, CONTROL_STOP, Report};
use warpring_core::{ActorId, KernelError, RingMessage};

use crate::ask_cycle::AskCycle;
use crate::backend::{Backend, Engine, IdlePolicy, cpu};
#[cfg(feature = "cuda")]
use crate::backend::{CudaError, CudaOptions, cuda};
use crate::dead_letter::{Choices, DeadLetter, DeadLetters};
use crate::error::{BuildError, LaunchError, PortError, Refusal, ShutdownError};
use crate::lock::lock;
use crate::port::Port;
use crate::reply::{NoReply, Pending, Reply};
use crate::shared::Shared;
use crate::staging::Area;
use crate::stuck::{StuckHandler, StuckHook};

/// The limits and choices of a runtime; see [`RuntimeBuilder`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: u32,
    /// There are more workers than cores. Not a choice: `build` looks.
    pub(crate) crowded: bool,
    pub(crate) idle: IdlePolicy,
    pub(crate) pin: bool,
    pub(crate) max_actors: u32,
    /// Of all workers; `None`: as many as is cheap.
    pub(crate) spawned_actors: Option<u32>,
    /// Memory for them, where that setting does not say.
    pub(crate) spawn_bytes: u64,
    pub(crate) ring_lines: u32,
    pub(crate) waiting_messages: u32,
    pub(crate) suspended_handlers: u32,
    pub(crate) timers: u32,
    pub(crate) outstanding_asks: u32,
    pub(crate) ask_limit: Duration,
    pub(crate) drain_limit: Duration,
    pub(crate) directory: DirectorySize,
    pub(crate) handler_budget: Duration,
    pub(crate) given: Given,
}

/// Memory for spawned actors. Where pages cost nothing until they are touched, there is plenty.
const SPAWN_BYTES: u64 = if cfg!(all(target_os = "linux", not(miri))) { 4 << 30 } else { 1 << 20 };

/// Settings that were not left to the backend.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    ring_lines: bool,
    waiting_messages: bool,
    suspended_handlers: bool,
    timers: bool,
}

#[cfg(feature = "cuda")]
impl Settings {
    /// A grid has many workers, and all that they might need is there from the start.
    pub(crate) fn resolve_for_grid(&mut self) {
        if !self.given.ring_lines {
            self.ring_lines = 256;
        }
        if !self.given.waiting_messages {
            self.waiting_messages = 4096;
        }
        if !self.given.suspended_handlers {
            self.suspended_handlers = 128;
        }
        if !self.given.timers {
            self.timers = 1024;
        }
        self.spawn_bytes = 64 << 20;
    }
}

/// Sets up a [`Runtime`].
#[must_use = "a builder does nothing until `build`"]
pub struct RuntimeBuilder {
    module: Option<&'static ModuleTable>,
    backend: Backend,
    workers: Option<u32>,
    settings: Settings,
    dead_letters: Choices,
    stuck_handlers: Option<StuckHook>,
    #[cfg(feature = "cuda")]
    ptx: Option<std::borrow::Cow<'static, str>>,
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder").field("backend", &self.backend).field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl RuntimeBuilder {
    fn new() -> Self {
        Self {
            module: None,
            backend: Backend::Auto,
            workers: None,
            settings: Settings {
                workers: 1,
                crowded: false,
                idle: IdlePolicy::default(),
                pin: true,
                max_actors: 1 << 21,
                spawned_actors: None,
                spawn_bytes: SPAWN_BYTES,
                ring_lines: 4096,
                waiting_messages: 1 << 16,
                suspended_handlers: 1024,
                timers: 1 << 16,
                outstanding_asks: 4096,
                ask_limit: Duration::from_secs(5),
                drain_limit: Duration::from_secs(10),
                directory: DirectorySize { names: 1024, topics: 64, subscribers: 64 },
                handler_budget: Duration::from_secs(1),
                given: Given::default(),
            },
            #[cfg(feature = "cuda")]
            ptx: None,
            dead_letters: Choices::default(),
            stuck_handlers: None,
        }
    }

    /// The module whose actors it runs: what `export!` made.
    pub fn module(mut self, module: &'static ModuleTable) -> Self {
        self.module = Some(module);
        self
    }

    /// What runs the workers. Default: [`Backend::Auto`].
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The PTX module that was made from the module's crate, instead of what its `export!` names.
    #[cfg(feature = "cuda")]
    pub fn ptx(mut self, text: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        self.ptx = Some(text.into());
        self
    }

    /// How many workers. Default on the CPU: one per core, one core left for the host; on a GPU: one per multiprocessor.
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = Some(workers);
        self
    }

    /// What a CPU worker does when it has nothing to do.
    pub fn idle(mut self, idle: IdlePolicy) -> Self {
        self.settings.idle = idle;
        self
    }

    /// Whether CPU workers are pinned to cores, from the last core down. Default: yes, if there are as many cores as workers.
    pub fn pin(mut self, pin: bool) -> Self {
        self.settings.pin = pin;
        self
    }

    /// Most actors, over all launches. Default: 2,097,152. An actor takes 64 bytes besides its value.
    pub fn max_actors(mut self, actors: u32) -> Self {
        self.settings.max_actors = actors;
        self
    }

    /// Most actors that handlers have spawned at a time, over all workers, equally shared; they count as `max_actors` too. Each has a
    /// place as large as the largest kernel of the module. Default: what fits into 4 GiB of memory that is only used where an actor is, on
    /// a GPU into 64 MiB.
    pub fn spawned_actors(mut self, actors: u32) -> Self {
        self.settings.spawned_actors = Some(actors);
        self
    }

    /// Lines of 64 bytes of each ring; a power of two. Default: 4,096, on a GPU 256; a stream from the host is slower
    /// through shorter rings. Two workers share four rings; memory that is not used costs nothing.
    pub fn ring_lines(mut self, lines: u32) -> Self {
        self.settings.ring_lines = lines;
        self.settings.given.ring_lines = true;
        self
    }

    /// Messages that may wait in the mailboxes of a worker's actors together. Default: 65,536, on a GPU 4,096.
    pub fn waiting_messages(mut self, messages: u32) -> Self {
        self.settings.waiting_messages = messages;
        self.settings.given.waiting_messages = true;
        self
    }

    /// Handlers that may be suspended on a worker at a time. Default: 1,024, on a GPU 128.
    pub fn suspended_handlers(mut self, handlers: u32) -> Self {
        self.settings.suspended_handlers = handlers;
        self.settings.given.suspended_handlers = true;
        self
    }

    /// Timers that the actors of a worker may have set at a time. Default: 65,536, on a GPU 1,024. Memory that is not used costs nothing
    /// on the CPU.
    pub fn timers(mut self, timers: u32) -> Self {
        self.settings.timers = timers;
        self.settings.given.timers = true;
        self
    }

    /// Asks by the host that may be under way at a time, ports included. Default: 4,096.
    pub fn outstanding_asks(mut self, asks: u32) -> Self {
        self.settings.outstanding_asks = asks;
        self
    }

    /// How long an ask waits that states no limit, by the host or by an actor. Default: 5 s.
    pub fn ask_limit(mut self, limit: Duration) -> Self {
        self.settings.ask_limit = limit;
        self
    }

    /// How long `shutdown` waits for actors to finish what was accepted. Default: 10 s.
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.settings.drain_limit = limit;
        self
    }

    /// Most names that are registered at a time. Default: 1,024. A name takes 48 to 96 bytes on each worker.
    pub fn max_names(mut self, names: u32) -> Self {
        self.settings.directory.names = names;
        self
    }

    /// Most topics. Default: 64. A topic is there until the runtime ends.
    pub fn max_topics(mut self, topics: u32) -> Self {
        self.settings.directory.topics = topics;
        self
    }

    /// Most subscribers of each topic. Default: 64. Each takes 16 bytes on each worker.
    pub fn max_subscribers(mut self, subscribers: u32) -> Self {
        self.settings.directory.subscribers = subscribers;
        self
    }

    /// Called for each message that wanted no reply and was not handled, on the worker's thread (for one that the host published, on
    /// that thread if the ring to the worker was full): be quick, and do not wait. A panic in
    /// it is printed and changes nothing.
    pub fn on_dead_letter(mut self, hook: impl Fn(&DeadLetter) + Send + Sync + 'static) -> Self {
        self.dead_letters.hook = Some(Box::new(hook));
        self
    }

    /// Writes dead letters to this file as well, on a thread of its own; see [`DeadLetterLog`](crate::DeadLetterLog). A log that is
    /// there is gone on with. Where letters come faster than they are written, the log says how many it lacks; the shutdown waits
    /// until it is written. Default: no log.
    pub fn dead_letter_log(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.dead_letters.log = Some(path.into());
        self
    }

    /// Most bytes of the log of dead letters, at least 1 MiB; when it has so many, the older half goes. Default: 64 MiB.
    pub fn dead_letter_log_bytes(mut self, bytes: u64) -> Self {
        self.dead_letters.log_bytes = bytes;
        self
    }

    /// How long a handler may keep its worker without awaiting anything before it is reported as stuck: once, within another half of this
    /// time. Default: 1 s; zero: nobody looks. Without effect in the simulator, where time stands still while a handler runs.
    pub fn handler_budget(mut self, budget: Duration) -> Self {
        self.settings.handler_budget = budget;
        self
    }

    /// Called for each handler that is over its [budget](Self::handler_budget), on a thread of the runtime: do not wait for actors in it.
    /// A panic in it is printed and changes nothing.
    pub fn on_stuck_handler(mut self, hook: impl Fn(&StuckHandler) + Send + Sync + 'static) -> Self {
        self.stuck_handlers = Some(Box::new(hook));
        self
    }

    /// Allocates everything and starts the workers.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(mut self) -> Result<Runtime, BuildError> {
        let module = self.module.ok_or(BuildError::NoModule)?;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        #[cfg(feature = "cuda")]
        let mut why_not_gpu = None;
        #[cfg(feature = "cuda")]
        {
            let auto = matches!(self.backend, Backend::Auto);
            let options = match &self.backend {
                Backend::Auto => Some(CudaOptions::default()),
                Backend::Cuda(options) => Some(options.clone()),
                _ => None,
            };
            if let Some(options) = options {
                match cuda::open(module, self.ptx.as_deref(), &options) {
                    Ok(gpu) => {
                        let dead = DeadLetters::new(module, self.dead_letters)?;
                        let (shared, thread) = cuda::start(gpu, module, self.settings, self.workers, dead, &options)?;
                        return Ok(Runtime::new(shared, vec![thread], self.stuck_handlers));
                    }
                    Err(error) if auto && error.is_absence() => why_not_gpu = Some(error),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.settings.workers = self.workers.unwrap_or_else(|| cores.saturating_sub(1).clamp(1, MAX_WORKERS));
        self.settings.crowded = self.settings.workers > cores;
        check(&self.settings, MAX_WORKERS, "1 to 256")?;
        let dead = DeadLetters::new(module, self.dead_letters)?;
        match self.backend {
            #[cfg(feature = "sim")]
            Backend::Sim(options) => {
                if !options.lanes.is_power_of_two() || options.lanes > 32 {
                    let given = options.lanes.into();
                    return Err(BuildError::Setting { name: "lanes", given, allowed: "1, 2, 4, 8, 16 or 32" });
                }
                Ok(Runtime::new(crate::backend::sim::start(module, self.settings, dead, options)?, Vec::new(), None))
            }
            _ => {
                let shared = Shared::on_heap(module, self.settings, dead, 1, 0, cpu::hooks)?;
                let _ = shared.engine.set(Engine::Cpu);
                crate::stuck::start(&shared)?;
                let threads = cpu::start(&shared)?;
                #[cfg_attr(not(feature = "cuda"), allow(unused_mut))]
                let mut runtime = Runtime::new(shared, threads, self.stuck_handlers);
                #[cfg(feature = "cuda")]
                {
                    runtime.why_not_gpu = why_not_gpu;
                }
                Ok(runtime)
            }
        }
    }
}

/// Most workers of a host backend.
const MAX_WORKERS: u32 = 256;

pub(crate) fn check(s: &Settings, most_workers: u32, allowed_workers: &'static str) -> Result<(), BuildError> {
    let range = |name, given: u64, least: u64, most: u64, allowed| {
        if given < least || given > most { Err(BuildError::Setting { name, given, allowed }) } else { Ok(()) }
    };
    range("workers", s.workers.into(), 1, most_workers.into(), allowed_workers)?;
    range("max_actors", s.max_actors.into(), 1, 1 << 28, "1 to 268,435,456")?;
    range("ring_lines", s.ring_lines.into(), 16, 1 << 20, "a power of two, 16 to 1,048,576")?;
    if !s.ring_lines.is_power_of_two() {
        return Err(BuildError::Setting {
            name: "ring_lines",
            given: s.ring_lines.into(),
            allowed: "a power of two, 16 to 1,048,576",
        });
    }
    if let Some(spawned) = s.spawned_actors {
        range("spawned_actors", spawned.into(), 0, s.max_actors.into(), "at most `max_actors`")?;
    }
    range("waiting_messages", s.waiting_messages.into(), 1, 1 << 24, "1 to 16,777,216")?;
    range("suspended_handlers", s.suspended_handlers.into(), 1, 65_535, "1 to 65,535")?;
    range("timers", s.timers.into(), 0, 1 << 24, "at most 16,777,216")?;
    range("outstanding_asks", s.outstanding_asks.into(), 1, 1 << 20, "1 to 1,048,576")?;
    range("max_names", s.directory.names.into(), 1, 1 << 20, "1 to 1,048,576")?;
    range("max_topics", s.directory.topics.into(), 1, 1 << 12, "1 to 4,096")?;
    range("max_subscribers", s.directory.subscribers.into(), 1, 1 << 12, "1 to 4,096")?;
    Ok(())
}

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

    /// Why [`Backend::Auto`] chose CPU threads; `None` if it did not, or nobody asked it.
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
        let spawned = std::thread::Builder::new().name("warpring-shutdown".into()).spawn({
            let shared = Arc::clone(&shared);
            move || signal.set(end(&shared, threads, limit))
        });
        match spawned {
            Ok(_) => Done::wait(&done).await,
            Err(error) => Err(ShutdownError::WorkerLost { message: error.to_string() }),
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
