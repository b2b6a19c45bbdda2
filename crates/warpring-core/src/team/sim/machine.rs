//! The machine: all workers of a simulated device, and the choice of which lane runs next.

use core::any::Any;
use core::mem;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Once;

use corosensei::{Coroutine, CoroutineResult};

use super::stack::LaneStack;
use super::violation::{Failure, MAX_KEPT, Place, Violation};
use super::warp::{LaneRecord, Reason, Running, Shared, Warp, current};
use super::{Sim, SimClock, SimWarp};
use crate::frame::Waiting;
use crate::module::ModuleTable;
use crate::team::Team;
use crate::worker::{Launch, Worker};

/// By how much the virtual clock moves when a lane is switched to: about what it costs, so that virtual time is near real time.
const SWITCH_NS: u64 = 20;

/// How to simulate.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Lanes of each worker: a power of two, at most 32.
    pub lanes: u32,
    /// Decides every choice: the same seed and the same calls give the same run.
    pub seed: u64,
    /// Stack of each lane. Only what is used costs memory.
    pub stack_bytes: usize,
    /// Whether writes to an actor's state outside `update` and `update_each` are looked for: costs a comparison of the state at
    /// every collective of every lane.
    pub check_writes: bool,
    /// States of more bytes are not checked for writes.
    pub check_limit: usize,
    /// The time; give a clone of it to the host's `now` hook.
    pub clock: SimClock,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self { lanes: 32, seed: 0, stack_bytes: 256 << 10, check_writes: true, check_limit: 64 << 10, clock: SimClock::default() }
    }
}

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do now.
    Busy,
    /// No worker has anything to do before this time, unless the host sends something; `u64::MAX` if nothing waits for a time.
    Idle {
        /// In nanoseconds on the machine's clock.
        next_wake_ns: u64,
    },
    /// All workers have stopped, or left their loops until the next launch.
    Exited,
}

type Fiber = Coroutine<(), Reason, std::thread::Result<()>, LaneStack>;

/// The workers of a simulated device. One thread at a time runs it, and any thread may.
pub struct Machine {
    /// By worker and lane. `None` only while a warp is being rebuilt.
    fibers: Vec<Vec<Option<Fiber>>>,
    warps: Vec<Rc<Warp>>,
    /// Lanes of each worker that have not stopped.
    live: Vec<u32>,
    shared: Rc<Shared>,
    module: &'static ModuleTable,
    clock: SimClock,
    /// The worker that ran last, if it should go on before others.
    stay: Option<usize>,
    switches: u64,
    digest: u64,
    violations: Vec<Violation>,
    failures: Vec<Failure>,
}

// SAFETY: everything inside is reached through `&mut self` (or read-only), so by one thread at a time, with what makes the
// machine change hands (a lock) between them: that orders the `Rc`s, the cells, and the values on the lanes' stacks. The stacks
// hold the locals of handlers, which need not be `Send`: a handler on a CPU worker may go on in another thread, too, when its
// worker is taken over, and a kernel's own data is `State`, which is plain. What breaks is a local that is bound to its thread by
// the operating system or by a thread-local and is held across a collective; the documentation of `run` says so.
unsafe impl Send for Machine {}

impl Machine {
    /// Builds a machine of these workers. Nothing runs yet.
    ///
    /// # Panics
    /// If `options.lanes` is no power of two from 1 to 32 or not what the workers were initialised with, or if there is no memory
    /// for the stacks.
    ///
    /// # Safety
    /// Each worker is initialised for `module` and stays so, with all its memory, until the machine is dropped; nobody else
    /// touches it, other than through its rings and cells, while the machine runs, and nobody else runs it at all. The hooks
    /// return at once; `now` gives `options.clock`.
    pub unsafe fn new(module: &'static ModuleTable, workers: Vec<*mut Worker>, options: SimOptions) -> Self {
        let lanes = options.lanes;
        assert!(lanes.is_power_of_two() && lanes <= 32, "a warp has 1, 2, 4, 8, 16 or 32 lanes, not {lanes}");
        note_where_panics_begin();
        let shared = Rc::new(Shared::new(options.seed, if options.check_writes { options.check_limit } else { 0 }));
        let warps: Vec<_> = workers.iter().map(|&worker| Warp::new(Rc::as_ptr(&shared), worker, lanes)).collect();
        for &worker in &workers {
            // SAFETY: the worker is initialised and nobody runs it (contract).
            unsafe {
                assert!((*worker).lanes == lanes, "the worker's memory is for {} lanes, not {lanes}", (*worker).lanes);
                // Its contexts, if it has any, name another team.
                (*worker).prepared = false;
            }
        }
        let stack = |lane: &LaneRecord| {
            LaneStack::new(options.stack_bytes, lane.rank as usize).expect("memory for the stack of a simulated lane")
        };
        let fibers =
            warps.iter().map(|warp| warp.lanes.iter().map(|lane| Some(fiber(stack(lane), module, lane))).collect()).collect();
        Self {
            fibers,
            live: vec![lanes; warps.len()],
            warps,
            shared,
            module,
            clock: options.clock,
            stay: None,
            switches: 0,
            digest: crate::layout::EMPTY,
            violations: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Lets lanes run, switching at most this many times; comes back earlier when there is nothing to do, or after a handler
    /// failed, so that the host can see to it. Whatever the host has put into the workers' rings before this call is seen: so
    /// every worker is asked again, and a call with fewer than some 200 switches for each worker never gets to `Idle`.
    ///
    /// Handlers run on this thread, and may go on in the thread that calls next: they must not hold anything that is bound to a
    /// thread (a guard of a lock, a reference from a thread-local) across a collective or an await.
    ///
    /// # Panics
    /// If a panic is not a handler's but the scheduler's own, which is a bug in Warpring; or if a handler calls this.
    pub fn run(&mut self, max_switches: u32) -> Progress {
        let shared = Rc::clone(&self.shared);
        let _running = Running::new(&shared);
        self.shared.host_panics.set(std::thread::panicking());
        self.shared.touch();
        for _ in 0..max_switches {
            let draw = self.shared.draw();
            let Some(worker) = self.choose(draw) else {
                if self.exited() {
                    return Progress::Exited;
                }
                let next_wake_ns = self.next_wake();
                if next_wake_ns > self.clock.now_ns() {
                    return Progress::Idle { next_wake_ns };
                }
                // It became due while others ran.
                self.shared.touch();
                continue;
            };
            if !self.step(worker, draw) {
                break;
            }
        }
        Progress::Busy
    }

    /// Lets workers that have left their loops enter them again, for this launch.
    pub fn launch(&mut self, launch: &Launch) {
        for worker in 0..self.warps.len() {
            self.warps[worker].launch.set(Some(*launch));
            if self.live[worker] == 0 {
                self.rebuild(worker);
            }
        }
    }

    /// Whether all workers have left their loops.
    pub fn exited(&self) -> bool {
        self.live.iter().all(|&lanes| lanes == 0)
    }

    /// The virtual clock.
    pub fn clock(&self) -> SimClock {
        self.clock.clone()
    }

    /// Moves the virtual clock on to this time; never back.
    pub fn advance_to(&mut self, ns: u64) {
        self.clock.set(self.clock.now_ns().max(ns));
        self.shared.touch();
    }

    /// The rules that handlers broke, oldest first, at most [`MAX_KEPT`].
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The handlers that panicked or broke a rule since the last call, oldest first, at most [`MAX_KEPT`].
    pub fn take_failures(&mut self) -> Vec<Failure> {
        mem::take(&mut self.failures)
    }

    /// How often lanes were switched to since the machine was built.
    pub fn switches(&self) -> u64 {
        self.switches
    }

    /// A digest of every choice made so far: two runs were the same if theirs is.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Who runs next. A worker that has something to do mostly goes on, until it gives way.
    #[inline]
    fn choose(&self, draw: u64) -> Option<usize> {
        let activity = self.shared.activity.get();
        let ready = |worker: &usize| self.live[*worker] > 0 && self.warps[*worker].quiet_at.get() != activity;
        if let Some(worker) = self.stay.filter(|_| draw & 7 != 0).filter(ready) {
            return Some(worker);
        }
        let workers = self.warps.len();
        let start = (((draw >> 32) * workers as u64) >> 32) as usize;
        (start..workers).chain(0..start).find(ready)
    }

    /// Switches to a lane of this worker until it gives way. False: a handler failed.
    #[inline]
    fn step(&mut self, worker: usize, draw: u64) -> bool {
        let warp = &self.warps[worker];
        let turn = (draw >> 8) as u32 & 31;
        let rank = (warp.runnable.get().rotate_right(turn).trailing_zeros() + turn) & 31;
        self.switches += 1;
        self.digest = (self.digest ^ ((worker as u64) << 32 | u64::from(rank))).wrapping_mul(0x0000_0100_0000_01b3);
        self.clock.set(self.clock.now_ns() + SWITCH_NS);
        let lane = &warp.lanes[rank as usize];
        let Some(fiber) = &mut self.fibers[worker][rank as usize] else { unreachable!("every lane has a coroutine") };
        self.shared.lane.set(lane);
        let result = fiber.resume(());
        self.shared.lane.set(core::ptr::null());
        match result {
            CoroutineResult::Yield(Reason::Meet) => self.stay = Some(worker),
            CoroutineResult::Yield(Reason::Point) => self.stay = None,
            CoroutineResult::Yield(Reason::Failed) => {
                self.broken(worker);
                return false;
            }
            CoroutineResult::Return(Ok(())) => {
                warp.runnable.set(warp.runnable.get() & !(1 << rank));
                self.live[worker] -= 1;
                // Whoever waits for this worker's rings may look again.
                self.shared.touch();
            }
            CoroutineResult::Return(Err(payload)) => {
                self.panicked(worker, rank, payload);
                return false;
            }
        }
        true
    }

    /// The earliest time that a suspended handler waits for, that a timer is due, or that a worker looks for cycles.
    fn next_wake(&self) -> u64 {
        let mut earliest = u64::MAX;
        for (warp, _) in self.warps.iter().zip(&self.live).filter(|(_, live)| **live > 0) {
            // SAFETY: the worker and its frames live, and no lane runs now.
            unsafe {
                let worker = &*warp.worker;
                earliest = earliest.min(worker.next_timer).min(worker.next_probe);
                for index in 0..worker.frame_count {
                    let frame = worker.frame(index);
                    if (*frame).in_use && matches!((*frame).waiting, Waiting::Reply | Waiting::Time | Waiting::Room) {
                        earliest = earliest.min((*frame).wake_at);
                    }
                }
            }
        }
        earliest
    }

    /// A lane broke a rule.
    #[cold]
    fn broken(&mut self, worker: usize) {
        let violation = self.warps[worker].violation.take();
        let Some(violation) = violation else { unreachable!("a lane that fails says why") };
        let Some(actor) = violation.actor else {
            // The worker loop itself is team code; its own lanes never differ.
            self.take_down(worker);
            panic!("{violation}");
        };
        self.failed(Failure {
            worker: violation.worker,
            actor,
            lane: violation.lane,
            message: violation.to_string(),
            location: violation.place().cloned(),
            violation: true,
        });
        if self.violations.len() < MAX_KEPT {
            self.violations.push(violation);
        }
        self.rebuild(worker);
    }

    /// A lane's stack was unwound to its root.
    #[cold]
    fn panicked(&mut self, worker: usize, rank: u32, payload: Box<dyn Any + Send>) {
        let warp = &self.warps[worker];
        let location = warp.lanes[rank as usize].panicked_at.take();
        let Some(actor) = warp.actor() else {
            self.take_down(worker);
            panic::resume_unwind(payload);
        };
        let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => (*text).to_owned(),
            (_, Some(text)) => text.clone(),
            _ => "a panic whose payload is no text".to_owned(),
        };
        self.failed(Failure { worker: worker as u32, actor, lane: rank, message, location, violation: false });
        self.rebuild(worker);
    }

    fn failed(&mut self, failure: Failure) {
        let warp = &self.warps[failure.worker as usize];
        warp.fallen.set(Some(failure.location.as_ref().map_or(0, |place| place.line)));
        if self.failures.len() < MAX_KEPT {
            self.failures.push(failure);
        }
    }

    /// Unwinds every lane of a warp that has not ended, so that what is on their stacks is dropped. Their stacks.
    fn take_down(&mut self, worker: usize) -> Vec<LaneStack> {
        self.live[worker] = 0;
        self.warps[worker].lanes.iter().for_each(|lane| lane.doomed.set(true));
        let fibers = self.fibers[worker].iter_mut().filter_map(Option::take);
        fibers
            .map(|mut fiber| {
                fiber.force_unwind();
                fiber.into_stack()
            })
            .collect()
    }

    /// Lets a warp begin again; its first act is to clean up after the handler that fell.
    fn rebuild(&mut self, worker: usize) {
        let stacks = self.take_down(worker);
        let warp = &self.warps[worker];
        warp.reset();
        self.live[worker] = warp.size;
        self.fibers[worker] =
            stacks.into_iter().zip(&warp.lanes).map(|(stack, lane)| Some(fiber(stack, self.module, lane))).collect();
        self.shared.touch();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for worker in 0..self.warps.len() {
            self.take_down(worker);
        }
    }
}

impl core::fmt::Debug for Machine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Machine")
            .field("workers", &self.warps.len())
            .field("switches", &self.switches)
            .field("now_ns", &self.clock.now_ns())
            .finish_non_exhaustive()
    }
}

/// The coroutine of one lane.
fn fiber(stack: LaneStack, module: &'static ModuleTable, lane: &LaneRecord) -> Fiber {
    let lane: *const LaneRecord = lane;
    Coroutine::with_stack(stack, move |yielder, ()| {
        // SAFETY: the machine drops its coroutines before its lane records.
        let lane = unsafe { &*lane };
        lane.yielder.set(yielder);
        // Also ends the unwinding of a coroutine that is dropped: the machine does not look at what it returns then.
        panic::catch_unwind(AssertUnwindSafe(|| {
            let (warp, team) = (lane.warp(), SimWarp::new(lane));
            let worker = warp.worker;
            if let Some(line) = warp.fallen.get() {
                // Here, not in the machine: a refusal may have to wait until another worker makes room.
                team.lead(|| {
                    warp.fallen.set(None);
                    // SAFETY: all lanes are in this collective, so nobody runs the worker.
                    unsafe { (*worker).recover::<Sim>(line) };
                });
            }
            if let Some(launch) = warp.launch.get() {
                team.lead(|| {
                    warp.launch.set(None);
                    // SAFETY: as above.
                    unsafe { (*worker).enter::<Sim>(&launch) };
                });
            }
            // SAFETY: the worker is initialised for this module, and the lanes of this team, and nobody else, run it.
            unsafe { (module.run_sim)(worker, team) }
        }))
    })
}

/// Installs, once, a panic hook that notes where the panic of a lane began, and then calls the hook that was there.
fn note_where_panics_begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // SAFETY: only a running lane is current, and its record lives.
            if let Some(lane) = unsafe { current().as_ref() } {
                lane.panicked_at.replace(info.location().map(Place::from));
                let host_panics = lane.warp().shared().host_panics.get();
                lane.doomed.set(host_panics);
            }
            previous(info);
        }));
    });
}
