//! The simulator as a backend: all workers, with all their lanes, on the thread of whoever waits.
//!
//! There is no thread of its own, so that a run repeats exactly: the machine moves only while somebody waits for a reply (or for
//! room, a launch, the end), and one thread at a time runs it. Its clock is virtual and jumps when all workers wait for a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};

use warpring_core::module::ModuleTable;

use warpring_core::team::sim::{Machine, Progress, SimClock};
use warpring_core::worker::Hooks;

use super::Engine;
use crate::dead_letter::DeadLetters;
use crate::error::ShutdownError;
use crate::runtime::Settings;
use crate::shared::{PanicSite, Shared, hook_dead_letter, hook_wake_cell};

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
}

impl Default for SimOptions {
    fn default() -> Self {
        Self { lanes: 32, seed: 0, check_writes: true }
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
    violations: Mutex<Vec<String>>,
    /// Violations seen so far by `violations`.
    seen: AtomicU64,
}

/// The clock of the machine that is being built: the workers' hook reads it through the `Shared` they are given.
pub(crate) fn clock_of(shared: &Shared) -> u64 {
    match shared.engine.get() {
        Some(Engine::Sim(sim)) => sim.clock.now_ns(),
        _ => 0,
    }
}

fn hooks(data: *const ()) -> Hooks {
    Hooks { data, now, idle, wake_worker, wake_cell: hook_wake_cell, dead_letter: hook_dead_letter }
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
pub(crate) fn start(module: &'static ModuleTable, settings: Settings, dead: DeadLetters, options: SimOptions) -> Arc<Shared> {
    let shared = Shared::new(module, settings, dead, options.lanes, hooks);
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
    let machine = unsafe { Machine::new(module, workers, core_options) };
    let engine = SimEngine { machine: Mutex::new(machine), clock, violations: Mutex::default(), seen: AtomicU64::new(0) };
    let once: &OnceLock<Engine> = &shared.engine;
    let _ = once.set(Engine::Sim(Box::new(engine)));
    shared
}

impl SimEngine {
    pub(crate) fn now(&self) -> u64 {
        self.clock.now_ns()
    }

    /// A turn of the machine, for a waiter who waits until `until` on the machine's clock: time does not jump beyond it.
    pub(crate) fn pump(&self, shared: &Shared, until: u64) {
        let mut machine = match self.machine.try_lock() {
            Ok(machine) => machine,
            // A handler asked the host to wait: the machine is below us on this stack, or another thread runs it.
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        if let Progress::Idle { next_wake_ns } = machine.run(TURN)
            && next_wake_ns != u64::MAX
            && next_wake_ns <= until
        {
            machine.advance_to(next_wake_ns);
        }
        self.collect(shared, &mut machine);
    }

    /// Runs the machine until all workers have stopped.
    pub(crate) fn run_to_end(&self, shared: &Shared) -> Result<(), ShutdownError> {
        let mut machine = self.machine.lock().unwrap_or_else(|e| e.into_inner());
        let mut idle = 0;
        loop {
            match machine.run(TURN) {
                Progress::Exited => break,
                Progress::Busy => idle = 0,
                Progress::Idle { next_wake_ns } if next_wake_ns != u64::MAX => machine.advance_to(next_wake_ns),
                // `shutdown` hooks that wait for what will not come.
                Progress::Idle { .. } => {
                    idle += 1;
                    if idle > 1000 {
                        break;
                    }
                }
            }
        }
        self.collect(shared, &mut machine);
        let violations = std::mem::take(&mut *self.violations.lock().unwrap_or_else(|e| e.into_inner()));
        if violations.is_empty() { Ok(()) } else { Err(ShutdownError::Violations(violations)) }
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
            let mut kept = self.violations.lock().unwrap_or_else(|e| e.into_inner());
            kept.extend(all[seen..].iter().map(ToString::to_string));
        }
    }

    /// The rules that handlers broke so far.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}
