//! What every case needs: runtimes with small limits on the backend under test, and waits that end.

use std::fmt::{Debug, Display};
use std::time::{Duration, Instant};

use warpring::module::Exported;
use warpring::prelude::*;
use warpring::{Reply, RuntimeBuilder, block_on};

use crate::kernels::gate::{Arrived, Gate, Open};
use crate::kernels::subject::{Get, Hold, Subject};

/// How long a case waits for what is certain to come, before it calls the backend broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A backend under test.
#[derive(Clone, Debug)]
pub struct Setup {
    backend: Backend,
    block_teams: bool,
}

impl Setup {
    /// For this backend.
    #[must_use]
    pub const fn new(backend: Backend) -> Self {
        Self { backend, block_teams: false }
    }

    /// With teams of a whole block, on a GPU: the module that was compiled for them.
    #[must_use]
    pub const fn with_block_teams(mut self) -> Self {
        self.block_teams = true;
        self
    }

    /// The backend.
    #[must_use]
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Two workers and small limits. Workers are not pinned, because cases may run beside each other.
    pub fn builder(&self) -> RuntimeBuilder {
        let builder = Runtime::builder().module(&crate::MODULE).backend(self.backend.clone());
        let builder = if self.block_teams { builder.ptx(crate::BLOCK_PTX) } else { builder };
        builder
            .workers(2)
            .pin(false)
            .max_actors(1 << 14)
            .ring_lines(1024)
            .waiting_messages(1 << 13)
            .suspended_handlers(256)
            .outstanding_asks(1024)
            .ask_limit(PATIENCE)
            .drain_limit(PATIENCE)
    }

    /// What [`builder`](Self::builder) builds.
    ///
    /// # Errors
    /// Why it could not be built.
    pub fn runtime(&self) -> Result<Runtime, String> {
        self.builder().build().named("building the runtime")
    }

    /// Whether the backend is the simulator: nothing runs unless the host waits, and every lane costs time.
    #[must_use]
    pub fn simulated(&self) -> bool {
        self.backend.to_string() == "sim"
    }

    /// How often: `full`, or `simulated` in the simulator.
    #[must_use]
    pub fn scale(&self, full: u32, simulated: u32) -> u32 {
        if self.simulated() { simulated } else { full }
    }

    /// The backend, hibernating after so long with nothing to do; `None` if it is no grid.
    #[must_use]
    pub fn hibernating(&self, idle: Duration) -> Option<Self> {
        let backend = match &self.backend {
            #[cfg(feature = "sim")]
            Backend::Sim(options) => Backend::Sim(options.clone().hibernate_after(idle)),
            Backend::Cuda(options) => Backend::Cuda(options.clone().hibernate_after(idle)),
            _ => return None,
        };
        Some(Self { backend, ..self.clone() })
    }

    /// The backend with every size of team that it offers: six in the simulator, one elsewhere.
    #[must_use]
    pub fn teams(&self) -> Vec<Self> {
        #[cfg(feature = "sim")]
        if let Backend::Sim(options) = &self.backend {
            return (0..6).map(|log| Self::new(Backend::Sim(options.clone().lanes(1 << log)))).collect();
        }
        vec![self.clone()]
    }
}

/// Says what was done when something failed.
pub trait Named<T> {
    /// The value, or the error with `what` in front of it.
    ///
    /// # Errors
    /// The error as text.
    fn named(self, what: impl Display) -> Result<T, String>;
}

impl<T, E: Display> Named<T> for Result<T, E> {
    fn named(self, what: impl Display) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// Compares what was found with what must be.
///
/// # Errors
/// Both, where they differ.
pub fn same<T: PartialEq + Debug>(what: impl Display, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}

/// Looks again until `reached`, for ten seconds at most.
///
/// # Errors
/// That of `reached`, or that it was not reached.
pub fn eventually(what: impl Display, mut reached: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let start = Instant::now();
    while !reached()? {
        if start.elapsed() > PATIENCE {
            return Err(format!("not reached within {PATIENCE:?}: {what}"));
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Launches an actor on the next worker in turn.
///
/// # Errors
/// Why it could not be launched.
pub fn launch<K: Exported>(runtime: &Runtime, kernel: K) -> Result<ActorRef<K>, String> {
    block_on(runtime.launch(kernel, LaunchOptions::default())).named("launching an actor")
}

/// Launches an actor on this worker.
///
/// # Errors
/// Why it could not be launched.
pub fn launch_on<K: Exported>(runtime: &Runtime, worker: u32, kernel: K) -> Result<ActorRef<K>, String> {
    block_on(runtime.launch(kernel, LaunchOptions::default().on_worker(worker))).named("launching an actor")
}

/// An actor on worker 0 whose handler waits at a gate, so that whatever comes next waits in its mailbox.
pub(crate) struct Held {
    /// The actor.
    pub(crate) subject: ActorRef<Subject>,
    /// Another one on the same worker.
    pub(crate) neighbour: ActorRef<Subject>,
    gate: ActorRef<Gate>,
    first: Reply<Hold, u64>,
}

impl Held {
    pub(crate) fn new(runtime: &Runtime) -> Result<Self, String> {
        Self::with(runtime, LaunchOptions::default())
    }

    pub(crate) fn with(runtime: &Runtime, options: LaunchOptions) -> Result<Self, String> {
        // Off the worker under test, where there is another.
        let gate = launch_on(runtime, runtime.workers() - 1, Gate::default())?;
        let subject =
            block_on(runtime.launch(Subject::default(), options.on_worker(0))).named("launching the actor that is held")?;
        let neighbour = launch_on(runtime, 0, Subject::default())?;
        let first = subject.ask(Hold { gate: gate.address(), n: 0 }).send().named("asking an actor to wait")?;
        eventually("the handler waits at its gate", || Ok(gate.ask(Arrived).wait().named("asking the gate")? == 1))?;
        Ok(Self { subject, neighbour, gate, first })
    }

    /// Everything that was sent before through handles is in the mailboxes: this takes the same way, and is answered.
    pub(crate) fn settle(&self) -> Result<(), String> {
        self.neighbour.ask(Get).wait().named("asking the neighbour of a held actor").map(drop)
    }

    /// Lets the handler go on and waits for its end.
    pub(crate) fn open(self) -> Result<(), String> {
        self.gate.ask(Open).wait().named("opening the gate")?;
        self.first.wait().named("the handler that was held").map(drop)
    }

    /// Lets the handler go on.
    pub(crate) fn release(&self) -> Result<(), String> {
        self.gate.ask(Open).wait().named("opening the gate")
    }

    /// The answer of the handler that is held.
    pub(crate) fn first(self) -> Reply<Hold, u64> {
        self.first
    }
}

/// Shuts a runtime down, which must go well.
pub(crate) fn end(runtime: Runtime) -> Result<(), String> {
    block_on(runtime.shutdown()).named("shutting down")
}
