//! The simulator as a backend: all workers, with all their lanes, on the thread of whoever waits.
//!
//! There is no thread of its own, so that a run repeats exactly: the machine moves only while somebody waits for a reply (or for
//! room, a launch, the end), and one thread at a time runs it. Its clock is virtual and jumps when all workers wait for a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::time::Duration;

use warpring_core::module::ModuleTable;

use warpring_core::team::sim::{Machine, Progress, SimClock};
use warpring_core::worker::{Hooks, Launch};

use super::Engine;
use super::grid::{self, Device, Fault, Pulse, Watch};
use crate::dead_letter::DeadLetters;
use crate::error::{BuildError, ShutdownError};
use crate::lock::lock;
use crate::runtime::Settings;
use crate::shared::{PanicSite, Shared, hook_dead_letter, hook_notice, hook_wake_cell};

/// Lane switches of one turn of whoever waits.
const TURN: u32 = 20_000;

/// How the simulator runs and what it checks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimOptions {
    /// Lanes of each worker: a power of two, at most 32, which is the default.
    pub lanes: u32,
    /// Decides every choice of the simulator: the same seed and the same calls give the same run.
    pub seed: u64,
    /// Whether writes to an actor's state outside `ctx.update` and `ctx.update_each` are looked for, at every collective.
    pub check_writes: bool,
    /// The grid hibernates when nothing was to be done for so long, in virtual time. Default: never.
    pub hibernate_after: Option<Duration>,
    /// A launch of the grid runs at most for so long, in virtual time; then the next one goes on. Default: no limit.
    pub residency: Option<Duration>,
    /// A worker handles at most about so many messages in a launch; then the next one goes on. Default: no limit.
    pub messages_per_launch: Option<u64>,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self { lanes: 32, seed: 0, check_writes: true, hibernate_after: None, residency: None, messages_per_launch: None }
    }
}

impl SimOptions {
    /// With so many lanes.
    pub fn lanes(mut self, lanes: u32) -> Self {
        self.lanes = lanes;
        self
    }

    /// With this seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Hibernates after so much virtual time with nothing to do.
    pub fn hibernate_after(mut self, idle: Duration) -> Self {
        self.hibernate_after = Some(idle);
        self
    }

    /// With launches of at most so much virtual time.
    pub fn residency(mut self, time: Duration) -> Self {
        self.residency = Some(time);
        self
    }

    /// With launches in which a worker handles about so many messages.
    pub fn messages_per_launch(mut self, messages: u64) -> Self {
        self.messages_per_launch = Some(messages);
        self
    }

    /// Whether writes by lanes that may not are looked for.
    pub fn check_writes(mut self, check: bool) -> Self {
        self.check_writes = check;
        self
    }
}

/// The running simulator.
pub(crate) struct SimEngine {
    machine: Mutex<Machine>,
    clock: SimClock,
    watch: Watch,
    /// How long nothing must be to do before the grid hibernates.
    hibernate_after: Option<u64>,
    violations: Mutex<Vec<String>>,
    /// Violations seen so far by `violations`.
    seen: AtomicU64,
}

/// The machine as a device: a launch is at once, and runs when the machine is run.
impl Device for Machine {
    fn launch(&mut self, launch: &Launch, _only: Option<u32>) -> Result<(), Fault> {
        Machine::launch(self, launch);
        Ok(())
    }

    fn running(&mut self) -> Result<bool, Fault> {
        Ok(!self.exited())
    }
}

/// The clock of the machine that is being built: the workers' hook reads it through the `Shared` they are given.
pub(crate) fn clock_of(shared: &Shared) -> u64 {
    match shared.engine.get() {
        Some(Engine::Sim(sim)) => sim.clock.now_ns(),
        _ => 0,
    }
}

fn hooks(data: *const ()) -> Hooks {
    Hooks { data, now, idle, wake_worker, wake_cell: hook_wake_cell, dead_letter: hook_dead_letter, notice: hook_notice }
}

/// # Safety
/// `data` is a live `Shared`.
unsafe fn now(data: *const ()) -> u64 {
    // SAFETY: contract.
    clock_of(unsafe { &*data.cast::<Shared>() })
}

/// The machine knows by itself when all workers are idle.
///
/// # Safety
/// None.
unsafe fn idle(_: *const (), _: u32, _: u32, _: u64) {}

/// Workers do not sleep here.
///
/// # Safety
/// None.
unsafe fn wake_worker(_: *const (), _: u32) {}

/// Builds the workers and the machine that runs them.
pub(crate) fn start(
    module: &'static ModuleTable,
    settings: Settings,
    dead: DeadLetters,
    options: SimOptions,
) -> Result<Arc<Shared>, BuildError> {
    let shared = Shared::on_heap(module, settings, dead, options.lanes, grid::LETTER_LINES, hooks)?;
    let clock = SimClock::default();
    let core_options = warpring_core::team::sim::SimOptions {
        lanes: options.lanes,
        seed: options.seed,
        check_writes: options.check_writes,
        clock: clock.clone(),
        ..Default::default()
    };
    let workers = shared.seats.iter().map(|seat| seat.worker).collect();
    // SAFETY: the workers were initialised for this module with these lanes; the engine, and with it the machine, is part of
    // `shared`, and is dropped before its memory (`stop`); the hooks return at once, and `now` reads this clock.
    let mut machine = unsafe { Machine::new(module, workers, core_options) };
    let nanoseconds = |time: Duration| time.as_nanos().min(u128::from(u64::MAX)) as u64;
    let hibernate_after = options.hibernate_after.map(nanoseconds);
    let limits = grid::Limits {
        hibernate_after,
        residency: options.residency.map_or(u64::MAX, nanoseconds),
        messages: options.messages_per_launch.unwrap_or(u64::MAX),
    };
    // SAFETY: the one watch of these workers.
    let watch = unsafe { Watch::new(&shared, limits) };
    watch.start(&shared, &mut machine).map_err(|fault| BuildError::Thread(fault.0))?;
    let machine = Mutex::new(machine);
    let engine = SimEngine { machine, clock, watch, hibernate_after, violations: Mutex::default(), seen: AtomicU64::new(0) };
    let once: &OnceLock<Engine> = &shared.engine;
    let _ = once.set(Engine::Sim(Box::new(engine)));
    Ok(shared)
}

impl SimEngine {
    pub(crate) fn now(&self) -> u64 {
        self.clock.now_ns()
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// A turn of the machine, for a waiter who waits until `done`, or until `until` on the machine's clock: time does not jump beyond
    /// either.
    pub(crate) fn pump(&self, shared: &Shared, until: u64, done: &dyn Fn() -> bool) {
        let mut machine = match self.machine.try_lock() {
            Ok(machine) => machine,
            // A handler asked the host to wait: the machine is below us on this stack, or another thread runs it.
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        self.turn(shared, &mut machine, until, done);
        self.collect(shared, &mut machine);
    }

    /// Lets the machine run for a while, and looks after the grid. False: there is nothing to do, and there will not be.
    fn turn(&self, shared: &Shared, machine: &mut Machine, until: u64, done: &dyn Fn() -> bool) -> bool {
        shared.keeper.tend(shared);
        let progress = machine.run(TURN);
        // A simulated device has no faults of its own.
        let pulse = self.watch.tend(shared, machine, self.clock.now_ns()).unwrap_or(Pulse::Ended);
        let next = match (pulse, progress) {
            (Pulse::Ended, _) => return false,
            (Pulse::Asleep { until }, _) => until,
            (Pulse::Running, Progress::Idle { next_wake_ns }) => {
                let sleeps = self.hibernate_after.filter(|_| grid::idle_for(shared, u64::MAX) > 0);
                next_wake_ns.min(sleeps.map_or(u64::MAX, |limit| self.clock.now_ns().saturating_add(limit)))
            }
            (Pulse::Running, _) => return true,
        };
        // Time stands still while somebody has something to do, the waiter included.
        if shared.keeper.is_due(self.clock.now_ns()) || done() {
            return true;
        }
        let next = next.min(shared.keeper.next());
        if next != u64::MAX && next <= until {
            machine.advance_to(next);
            return true;
        }
        false
    }

    /// Runs the machine until all workers have stopped.
    pub(crate) fn run_to_end(&self, shared: &Shared) -> Result<(), ShutdownError> {
        let mut machine = lock(&self.machine);
        let mut idle = 0;
        // `shutdown` hooks that wait for what will not come are idle for ever.
        while idle < 1000 && !self.ended(&mut machine) {
            idle = if self.turn(shared, &mut machine, u64::MAX, &|| false) { 0 } else { idle + 1 };
        }
        self.collect(shared, &mut machine);
        let violations = std::mem::take(&mut *lock(&self.violations));
        if violations.is_empty() { Ok(()) } else { Err(ShutdownError::Violations(violations)) }
    }

    fn ended(&self, machine: &mut Machine) -> bool {
        machine.exited() && self.watch.has_ended()
    }

    /// Keeps what went wrong in the last turn, for whoever asks.
    fn collect(&self, shared: &Shared, machine: &mut Machine) {
        for failure in machine.take_failures() {
            let (file, line) = failure.location.map_or_else(|| ("unknown".into(), 0), |at| (at.file.to_string(), at.line));
            super::cpu::record(shared, failure.actor, &PanicSite { file, line, message: failure.message });
        }
        let all = machine.violations();
        let seen = self.seen.swap(all.len() as u64, Ordering::Relaxed) as usize;
        if all.len() > seen {
            let mut kept = lock(&self.violations);
            kept.extend(all[seen..].iter().map(ToString::to_string));
        }
    }

    /// The rules that handlers broke so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }
}
