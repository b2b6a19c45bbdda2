//! `Runtime`: builds the workers, launches actors on them, and shuts them down.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warpring_core::layout::round_up;
use warpring_core::message::Kind;
use warpring_core::module::{Exported, ModuleTable};
use warpring_core::worker::{Adopt, CONTROL_ADOPT, CONTROL_PROBE, CONTROL_STOP, Report};
use warpring_core::{ActorId, GroupAddress, KernelError, RingMessage};

use crate::actor_ref::{ActorRef, Group};
use crate::backend::{Backend, Engine, IdlePolicy, cpu};
#[cfg(feature = "cuda")]
use crate::backend::{CudaError, CudaOptions, cuda};
use crate::dead_letter::{DeadLetter, DeadLetterHook, DeadLetters};
use crate::error::{BuildError, LaunchError, PortError, Refusal, ShutdownError};
use crate::memory::Block;
use crate::port::Port;
use crate::reply::{Pending, Reply};
use crate::shared::Shared;
use crate::staging::Area;

/// The limits and choices of a runtime; see [`RuntimeBuilder`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) workers: u32,
    /// There are more workers than cores. Not a choice: `build` looks.
    pub(crate) crowded: bool,
    pub(crate) idle: IdlePolicy,
    pub(crate) pin: bool,
    pub(crate) max_actors: u32,
    pub(crate) ring_lines: u32,
    pub(crate) waiting_messages: u32,
    pub(crate) suspended_handlers: u32,
    pub(crate) outstanding_asks: u32,
    pub(crate) ask_limit: Duration,
    pub(crate) drain_limit: Duration,
    pub(crate) given: Given,
}

/// Settings that were not left to the backend.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given {
    ring_lines: bool,
    waiting_messages: bool,
    suspended_handlers: bool,
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
    }
}

/// Sets up a [`Runtime`].
#[must_use = "a builder does nothing until `build`"]
pub struct RuntimeBuilder {
    module: Option<&'static ModuleTable>,
    backend: Backend,
    workers: Option<u32>,
    settings: Settings,
    dead_letters: Option<DeadLetterHook>,
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
                ring_lines: 4096,
                waiting_messages: 1 << 16,
                suspended_handlers: 1024,
                outstanding_asks: 4096,
                ask_limit: Duration::from_secs(5),
                drain_limit: Duration::from_secs(10),
                given: Given::default(),
            },
            #[cfg(feature = "cuda")]
            ptx: None,
            dead_letters: None,
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

    /// Called for each message that wanted no reply and was not handled, on the worker's thread: be quick, and do not wait. A panic in
    /// it is printed and changes nothing.
    pub fn on_dead_letter(mut self, hook: impl Fn(&DeadLetter) + Send + Sync + 'static) -> Self {
        self.dead_letters = Some(Box::new(hook));
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
                        let dead = DeadLetters::new(self.dead_letters.take());
                        let (shared, thread) = cuda::start(gpu, module, self.settings, self.workers, dead, &options)?;
                        return Ok(Runtime::new(shared, vec![thread]));
                    }
                    Err(error) if auto && error.is_absence() => why_not_gpu = Some(error),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.settings.workers = self.workers.unwrap_or_else(|| cores.saturating_sub(1).clamp(1, MAX_WORKERS));
        self.settings.crowded = self.settings.workers > cores;
        check(&self.settings, MAX_WORKERS, "1 to 256")?;
        let dead = DeadLetters::new(self.dead_letters.take());
        match self.backend {
            #[cfg(feature = "sim")]
            Backend::Sim(options) => {
                if !options.lanes.is_power_of_two() || options.lanes > 32 {
                    let given = options.lanes.into();
                    return Err(BuildError::Setting { name: "lanes", given, allowed: "1, 2, 4, 8, 16 or 32" });
                }
                Ok(Runtime::new(crate::backend::sim::start(module, self.settings, dead, options)?, Vec::new()))
            }
            _ => {
                let shared = Shared::on_heap(module, self.settings, dead, 1, 0, cpu::hooks)?;
                let _ = shared.engine.set(Engine::Cpu);
                let threads = cpu::start(&shared)?;
                #[cfg_attr(not(feature = "cuda"), allow(unused_mut))]
                let mut runtime = Runtime::new(shared, threads);
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
    range("waiting_messages", s.waiting_messages.into(), 1, 1 << 24, "1 to 16,777,216")?;
    range("suspended_handlers", s.suspended_handlers.into(), 1, 65_535, "1 to 65,535")?;
    range("outstanding_asks", s.outstanding_asks.into(), 1, 1 << 20, "1 to 1,048,576")?;
    Ok(())
}

/// Where and how an actor is launched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LaunchOptions {
    /// The worker that runs it; `None` deals actors out in turn. A group is always spread over all workers.
    pub worker: Option<u32>,
    /// Messages that its mailbox holds while it is busy.
    pub mailbox: u16,
}

impl Default for LaunchOptions {
    fn default() -> Self {
        Self { worker: None, mailbox: 1024 }
    }
}

impl LaunchOptions {
    /// On this worker.
    pub fn on_worker(mut self, worker: u32) -> Self {
        self.worker = Some(worker);
        self
    }

    /// With a mailbox of this many messages, at least 1.
    pub fn mailbox(mut self, messages: u16) -> Self {
        self.mailbox = messages;
        self
    }
}

/// What the workers have done, and what they have still to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// One report per worker.
    pub workers: Vec<Report>,
    /// Actors launched.
    pub actors: u64,
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

/// The generation that launched actors have.
pub(crate) const GENERATION: u16 = 1;

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

    fn new(shared: Arc<Shared>, threads: Vec<JoinHandle<()>>) -> Self {
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

    /// Launches an actor and waits until its `initialize` has ended.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub async fn launch<K: Exported>(&self, kernel: K, options: LaunchOptions) -> Result<ActorRef<K>, LaunchError> {
        self.check_launch::<K>(&options)?;
        kernel.validate().map_err(LaunchError::Invalid)?;
        let (worker, slot) = self.reserve_one(&options)?;
        let values = Values::of::<K>(1);
        values.put(0, kernel);
        let pending = self.adopt::<K>(worker, slot, 1, values, &options).await;
        adopted(pending?).await?;
        let id = ActorId { slot, generation: GENERATION, worker: worker as u16 };
        Ok(ActorRef::new(Arc::clone(&self.shared), id))
    }

    /// Launches `count` actors, spread over all workers, and waits until every `initialize` has ended. `kernel(i)` gives the
    /// value of number `i`.
    ///
    /// # Errors
    /// See [`LaunchError`]. [`LaunchError::Initialize`] is the first error; the other actors run.
    pub async fn launch_many<K: Exported>(
        &self,
        count: u32,
        options: LaunchOptions,
        mut kernel: impl FnMut(u32) -> K,
    ) -> Result<Group<K>, LaunchError> {
        self.check_group_launch::<K>(&options)?;
        let workers = self.workers();
        let rows = |worker: u32| count / workers + u32::from(worker < count % workers);
        self.check_rows(rows(0), count)?;
        // All values before any slot is taken: a kernel that is not valid, or a panic in `kernel`, costs no slots.
        let values: Vec<Values> = (0..workers).map(|w| Values::of::<K>(rows(w))).collect();
        for index in 0..count {
            let kernel = kernel(index);
            kernel.validate().map_err(LaunchError::Invalid)?;
            values[(index % workers) as usize].put(index / workers, kernel);
        }
        let base = self.reserve_rows(rows(0), count)?;
        let mut pending = Vec::with_capacity(workers as usize);
        for (worker, values) in values.into_iter().enumerate() {
            let rows = rows(worker as u32);
            if rows > 0 {
                pending.push(self.adopt::<K>(worker as u32, base, rows, values, &options).await?);
            }
        }
        let mut result = Ok(());
        for launch in pending {
            result = result.and(adopted(launch).await);
        }
        result?;
        Ok(Group::new(Arc::clone(&self.shared), GroupAddress::new(base, count, workers as u16, GENERATION)))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn per_worker(&self) -> u32 {
        self.shared.settings.max_actors.div_ceil(self.workers())
    }

    pub(crate) fn check_launch<K: Exported>(&self, options: &LaunchOptions) -> Result<(), LaunchError> {
        let (kernel, runtime) = (K::module(), self.shared.module);
        if !std::ptr::eq(kernel, runtime) {
            return Err(LaunchError::WrongModule { kernel: kernel.name, runtime: runtime.name });
        }
        if K::METADATA.requires_gpu_native && self.backend() != "cuda" {
            return Err(LaunchError::NeedsGpu { kernel: K::METADATA.id, backend: self.backend() });
        }
        if let Some(worker) = options.worker
            && worker >= self.workers()
        {
            return Err(LaunchError::NoSuchWorker { worker, workers: self.workers() });
        }
        if options.mailbox == 0 {
            return Err(LaunchError::Option { name: "mailbox", allowed: "1 to 65,535 messages" });
        }
        Ok(())
    }

    /// As `check_launch`, for a group.
    pub(crate) fn check_group_launch<K: Exported>(&self, options: &LaunchOptions) -> Result<(), LaunchError> {
        self.check_launch::<K>(options)?;
        if options.worker.is_some() {
            return Err(LaunchError::Option { name: "worker", allowed: "nothing for a group, which is spread over all workers" });
        }
        Ok(())
    }

    /// Whether a group with so many rows on the first worker has room in an empty runtime.
    pub(crate) fn check_rows(&self, rows: u32, count: u32) -> Result<(), LaunchError> {
        if rows > self.per_worker() { Err(self.too_many(count.into())) } else { Ok(()) }
    }

    fn too_many(&self, wanted: u64) -> LaunchError {
        LaunchError::TooManyActors { wanted, limit: u64::from(self.per_worker()) * u64::from(self.workers()) }
    }

    /// A slot for an actor: its worker and number.
    pub(crate) fn reserve_one(&self, options: &LaunchOptions) -> Result<(u32, u32), LaunchError> {
        let mut slots = self.shared.slots.lock().unwrap_or_else(|e| e.into_inner());
        let worker = options.worker.unwrap_or_else(|| slots.turn % self.workers());
        if slots.next[worker as usize] >= self.per_worker() {
            return Err(self.too_many(slots.launched + 1));
        }
        slots.turn = slots.turn.wrapping_add(u32::from(options.worker.is_none()));
        slots.next[worker as usize] += 1;
        slots.launched += 1;
        Ok((worker, slots.next[worker as usize] - 1))
    }

    /// The same rows on every worker, so that an index is enough to find an actor: the first.
    pub(crate) fn reserve_rows(&self, rows: u32, count: u32) -> Result<u32, LaunchError> {
        let mut slots = self.shared.slots.lock().unwrap_or_else(|e| e.into_inner());
        let base = slots.next.iter().copied().max().unwrap_or(0);
        if u64::from(base) + u64::from(rows) > u64::from(self.per_worker()) {
            return Err(self.too_many(u64::from(base) * u64::from(self.workers()) + u64::from(count)));
        }
        slots.next.iter_mut().for_each(|next| *next = base + rows);
        slots.launched += u64::from(count);
        Ok(base)
    }

    /// All slots up to these ends, of a runtime in which nobody was launched; else says how many were.
    pub(crate) fn reserve_all(&self, ends: &[u32], actors: u64) -> Result<Result<(), u64>, LaunchError> {
        let mut slots = self.shared.slots.lock().unwrap_or_else(|e| e.into_inner());
        if slots.launched > 0 {
            return Ok(Err(slots.launched));
        }
        if let Some(end) = ends.iter().find(|end| **end > self.per_worker()) {
            return Err(self.too_many(u64::from(*end) * u64::from(self.workers())));
        }
        slots.next.copy_from_slice(ends);
        slots.launched = actors;
        Ok(Ok(()))
    }

    /// Sends a launch to a worker; the answer comes when every `initialize` there has ended.
    async fn adopt<K: Exported>(
        &self,
        worker: u32,
        slot: u32,
        count: u32,
        values: Values,
        options: &LaunchOptions,
    ) -> Result<Pending, LaunchError> {
        let stride = values.stride as u32;
        let adopt = Adopt {
            slot,
            count,
            state: self.place(values, count)?,
            stride,
            kind: K::KIND,
            capacity: options.mailbox,
            generation: GENERATION,
            flags: 0,
        };
        self.adopt_at(worker, &adopt).await
    }

    /// Puts the first so many values where the workers find them: the address of the first.
    pub(crate) fn place(&self, values: Values, count: u32) -> Result<u64, LaunchError> {
        let _ = count;
        match self.shared.engine.get() {
            #[cfg(feature = "cuda")]
            Some(Engine::Cuda(cuda)) => cuda.place(values.bytes(count)).map_err(|error| match error {
                cuda::PlaceError::Full { wanted, left } => LaunchError::StateFull { wanted, left },
                cuda::PlaceError::Lost(message) => LaunchError::BackendLost { message },
            }),
            _ => {
                let state = values.block.address();
                // Kept until the workers have ended, whatever becomes of the launch.
                self.shared.states.lock().unwrap_or_else(|e| e.into_inner()).push(values.block);
                Ok(state)
            }
        }
    }

    pub(crate) async fn adopt_at(&self, worker: u32, adopt: &Adopt) -> Result<Pending, LaunchError> {
        // It runs the user's `initialize` as often as there are actors: it has no deadline of its own.
        control(&self.shared, worker, CONTROL_ADOPT, adopt, Duration::MAX).await.map_err(|_| LaunchError::Stopped)
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
        let workers = probe(&self.shared, Duration::MAX).await.map_err(|_| LaunchError::Stopped)?;
        self.shared.take_letters();
        let states = self.shared.states.lock().unwrap_or_else(|e| e.into_inner());
        Ok(Stats {
            workers,
            actors: self.shared.slots.lock().unwrap_or_else(|e| e.into_inner()).launched,
            state_bytes: match self.shared.engine.get() {
                #[cfg(feature = "cuda")]
                Some(Engine::Cuda(cuda)) => cuda.state_bytes(),
                _ => states.iter().map(|block| block.bytes() as u64).sum(),
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

    /// The last 1,024 messages without a reply that were not handled, oldest first.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.shared.take_letters();
        self.shared.dead.list()
    }

    /// Takes no more messages from the host, waits until all that was accepted is handled (at most `drain_limit`), runs
    /// `shutdown` of each actor, and ends the workers.
    ///
    /// # Errors
    /// See [`ShutdownError`]; the runtime is down all the same.
    pub async fn shutdown(mut self) -> Result<(), ShutdownError> {
        self.down = true;
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(|e| e.into_inner()));
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
            let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(|e| e.into_inner()));
            // Nobody is left to hear of it.
            let _ = end(&self.shared, threads, Duration::ZERO);
        }
    }
}

/// The values of a launch, side by side.
pub(crate) struct Values {
    block: Block,
    stride: usize,
}

const fn kernel_stride<K>() -> usize {
    const { assert!(align_of::<K>() <= 128, "a kernel is aligned to at most 128 bytes") };
    let stride = round_up(size_of::<K>(), align_of::<K>());
    if stride == 0 { 1 } else { stride }
}

impl Values {
    pub(crate) fn new(count: u32, stride: usize) -> Self {
        Self { block: Block::new(stride, count as usize), stride }
    }

    /// Room for so many of a kernel.
    pub(crate) fn of<K>(count: u32) -> Self {
        Self::new(count, kernel_stride::<K>())
    }

    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The bytes of values, one after the other, from a row on.
    pub(crate) fn put_bytes(&self, row: u32, values: &[u8]) {
        let at = row as usize * self.stride;
        assert!(at + values.len() <= self.block.bytes(), "values have a place");
        // SAFETY: there are so many bytes, as was just checked, and nobody else has the block yet.
        unsafe { self.block.ptr::<u8>().add(at).copy_from_nonoverlapping(values.as_ptr(), values.len()) }
    }

    /// The first so many values, as they go to the device; padding is whatever was there.
    #[cfg(feature = "cuda")]
    fn bytes(&self, count: u32) -> &[u8] {
        // SAFETY: the block was zeroed and then written; it is read as bytes, of which padding may be any.
        unsafe { std::slice::from_raw_parts(self.block.ptr::<u8>(), self.stride * count as usize) }
    }

    fn put<K>(&self, row: u32, kernel: K) {
        // SAFETY: the block has a row of `size_of::<K>()` bytes for it, aligned to the stride; kernels are plain data, so nothing
        // needs to be dropped later.
        unsafe { self.block.ptr::<u8>().add(row as usize * self.stride).cast::<K>().write(kernel) }
    }
}

/// Waits for the end of a launch: of every `initialize` on one worker.
pub(crate) async fn adopted(mut launch: Pending) -> Result<(), LaunchError> {
    let lines = std::future::poll_fn(|cx| launch.poll_lines(cx)).await;
    // A launch has no deadline, so only the end of the runtime keeps the answer away.
    let Ok(lines) = lines else { return Err(LaunchError::Stopped) };
    // SAFETY: the answer was seen, and `launch` holds the cell.
    let header = unsafe { lines.header() };
    launch.done();
    if header.kind() == Kind::Reply as u8 {
        return Ok(());
    }
    match KernelError::from_parts(header.tag, header.sender) {
        KernelError::Stopped if launch.shared.closing.load(Ordering::Acquire) => Err(LaunchError::Stopped),
        error => Err(LaunchError::Initialize(error)),
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

async fn probe(shared: &Arc<Shared>, limit: Duration) -> Result<Vec<Report>, Refusal> {
    let mut pending = Vec::with_capacity(shared.seats.len());
    for worker in 0..shared.seats.len() as u32 {
        let id = ActorId { slot: u32::MAX, generation: 0, worker: worker as u16 };
        pending.push(Reply::<(), Report>::new(control(shared, worker, CONTROL_PROBE, &(), limit).await?, id, ()));
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
    let lost = |shared: &Shared| shared.lost.lock().unwrap_or_else(|e| e.into_inner()).clone();
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
    shared.deadlines.stop();
    for cell in 0..shared.cells.total() {
        shared.cells.waker(cell).wake();
    }
    drop(stops);
    // A device that failed says so first.
    rest?;
    match lost(shared) {
        Some(message) => Err(ShutdownError::WorkerLost { message }),
        None => result,
    }
}

/// So long a busy worker has to answer a probe, also when there is no time to drain.
const SHORTEST_PROBE: Duration = Duration::from_millis(100);

/// Waits until nothing is under way: every worker idle, and every message that one worker sent taken by another, twice in a row
/// with the same counts (Mattern's four-counter test for distributed termination).
fn drain(shared: &Arc<Shared>, limit: Duration) -> Result<(), ShutdownError> {
    let start = Instant::now();
    let mut before = None;
    let mut pause = Duration::from_micros(20);
    loop {
        // A worker that does not answer is in a handler that does not return.
        let patience = limit.saturating_sub(start.elapsed()).max(SHORTEST_PROBE);
        let Ok(reports) = pollster::block_on(probe(shared, patience)) else {
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
        if start.elapsed() >= limit {
            return if quiet { Ok(()) } else { Err(ShutdownError::NotDrained { handlers: frames, waiting, limit }) };
        }
        if !quiet {
            // The workers need the cores more than this poll does.
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
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
        *self.result.lock().unwrap_or_else(|e| e.into_inner()) = Some(result);
        self.waker.wake();
    }

    async fn wait(this: &Arc<Self>) -> Result<(), ShutdownError> {
        std::future::poll_fn(|cx| {
            this.waker.register(cx.waker());
            match this.result.lock().unwrap_or_else(|e| e.into_inner()).take() {
                Some(result) => std::task::Poll::Ready(result),
                None => std::task::Poll::Pending,
            }
        })
        .await
    }
}
