//! A rig whose workers the simulator runs.

use warpring_core::module::ModuleTable;
use warpring_core::team::sim::{Machine, Progress, SimOptions};
use warpring_core::{ActorId, KernelError, RingMessage};

use super::{Limits, Pending, Rig};

/// Switches after which a test gives up.
const PATIENCE: u32 = 200_000_000;

pub struct Simulated {
    /// Before the rig: its lanes are unwound over the rig's memory.
    pub machine: Machine,
    pub rig: Rig,
}

impl Simulated {
    pub fn new(module: &'static ModuleTable, workers: u32, options: SimOptions) -> Self {
        Self::with(module, Limits { workers, ..Limits::default() }, options)
    }

    pub fn with(module: &'static ModuleTable, limits: Limits, options: SimOptions) -> Self {
        let clock = options.clock.clone();
        let rig = Rig::new(module, Limits { lanes: options.lanes, now: Box::new(move || clock.now_ns()), ..limits });
        // SAFETY: the rig's workers live as long as the machine (field order), and nobody else runs them.
        let machine = unsafe { Machine::new(module, rig.workers.clone(), options) };
        Self { machine, rig }
    }

    /// Runs until a request is answered; the clock jumps when nobody has anything to do.
    pub fn wait<R: RingMessage>(&mut self, pending: &Pending) -> Result<R, KernelError> {
        let mut switches = 0;
        loop {
            if let Some(reply) = self.rig.reply(pending) {
                return reply;
            }
            let progress = self.machine.run(10_000);
            if let Some(reply) = self.rig.reply(pending) {
                return reply;
            }
            match progress {
                Progress::Busy => switches += 10_000,
                Progress::Idle { next_wake_ns: u64::MAX } => panic!("all workers are idle, and nothing will ever come"),
                Progress::Idle { next_wake_ns } => self.machine.advance_to(next_wake_ns),
                Progress::Exited => panic!("all workers have stopped without a reply"),
            }
            assert!(switches < PATIENCE, "no reply after {switches} switches");
        }
    }

    pub fn launch<K>(&mut self, worker: u32, kind: u16, value: K) -> ActorId {
        let (id, pending) = self.rig.launch(worker, kind, value);
        assert_eq!(self.wait(&pending), Ok(()));
        id
    }

    /// Runs until no worker has anything to do.
    pub fn settle(&mut self) {
        let mut rounds = 0;
        while self.machine.run(10_000) == Progress::Busy {
            rounds += 1;
            assert!(rounds < PATIENCE / 10_000, "never idle");
        }
    }

    pub fn ask<M: RingMessage, R: RingMessage>(&mut self, to: ActorId, tag: u16, message: M) -> Result<R, KernelError> {
        let pending = self.rig.ask(to, tag, message);
        self.wait(&pending)
    }
}
