//! Sets up a runtime: its limits and choices, and which backend runs it.

use std::fmt;
use std::time::Duration;

use warpring_core::directory::DirectorySize;
use warpring_core::module::ModuleTable;

use super::Runtime;
use crate::backend::{Backend, Engine, IdlePolicy, cpu};
#[cfg(feature = "cuda")]
use crate::backend::{CudaOptions, cuda};
use crate::dead_letter::{Choices, DeadLetter, DeadLetters};
use crate::error::BuildError;
use crate::shared::Shared;
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
    pub(super) fn new() -> Self {
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

    /// Called for each message that wanted no reply and was not handled, on the thread that hears of it: the worker's, on a GPU one of the
    /// runtime's, and for what the host itself could not publish the publisher's. Be quick, do not wait, and do not ask the runtime for
    /// its dead letters or figures, which takes letters in. A panic in it is printed and changes nothing.
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
