//! A worker's scheduler: what to run next. Sequential code that only the leader executes, over memory that outlives the
//! thread (or block) which executes it, so that a worker that died can be taken over by another.
//!
//! `worker/mail.rs` moves messages, `worker/listen.rs` finds them in a grid, `worker/life.rs` starts and ends actors,
//! `worker/link.rs` is what a worker of a grid has to do with the host, `worker/copy.rs` copies actors' states,
//! `worker/cycle.rs` finds asks that can never be answered,
//! `worker/timer.rs` sends messages when their time has come, `worker/topics.rs` keeps names and publishes on topics.

mod copy;
mod cycle;
mod end;
mod life;
mod link;
mod listen;
mod mail;
mod notice;
mod spawn;
mod timer;
mod topics;

pub use copy::{ANY_KIND, CONTROL_COPY, CopyRows, ROW_BYTES, Row, Tenant, Used};
pub use end::{CONTROL_END, CONTROL_REST, CONTROL_RESTART, CONTROL_WATCH, End, How};
pub use life::{
    ADOPT_RESTORED, ADOPT_SPAWNED, ADOPT_SUPERVISED, Adopt, CONTROL_ADOPT, CONTROL_DRAIN, CONTROL_PROBE, CONTROL_STOP, Report,
};
pub use link::{LETTER_WHOLE, Launch, LinkMemory};
pub(crate) use mail::{Send, Sent};
pub use notice::Notice;
pub use spawn::SpawnMemory;
pub(crate) use spawn::Spawning;
pub use timer::{Due, Timer, TimerMemory, TimerSlot};
pub use topics::{CONTROL_CHANGE, CONTROL_COUNTS, CONTROL_PUBLISH, Published};
pub(crate) use topics::{Outlet, Publication};

use core::ptr;

use crate::address::ActorId;
use crate::context::RingContext;
use crate::directory::Directory;
use crate::error::KernelError;
use crate::frame::{Frame, NONE, OP_END, OP_HANDLE, OP_INITIALIZE, OP_SHUTDOWN, OP_START, Outcome, Waiting};
use crate::layout;
use crate::mailbox::{Actor, Nodes, Status};
#[cfg(not(target_arch = "nvptx64"))]
use crate::message::Header;
use crate::message::{Kind, Packed, deadline_passed};
use crate::module::{Lane, ModuleTable, Op};
use crate::ring::{Consumer, Line, Lines, Producer};
use crate::scoped::Word32;
use crate::shown::Shown;
use crate::team::{AnyTeam, Fabric};

/// Exclusive connections that host threads may open, besides the ingress ring that all share.
pub const MAX_PORTS: usize = 32;
/// Most workers.
pub const MAX_WORKERS: u32 = 512;
/// Ready actors and resumable frames served before the rings are looked at again.
const LOCAL_BUDGET: u32 = 32;
/// Messages looked over for priority at once.
const SCAN: u32 = 16;
/// A worker that waits for room in a ring looks again after this time.
const LOOK_FOR_ROOM_NS: u64 = 50_000;
/// An actor that is on no worker.
const NOBODY: ActorId = ActorId { slot: u32::MAX, generation: 0, worker: u16::MAX };
/// Steps between two looks at the clock while busy; a power of two.
const TICK_STEPS: u32 = 64;

/// What the leader decided; the same value goes to all lanes. Two words, so that it stays in registers; the request of a `Begin`
/// is in `Worker::request`.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// Start the handler or hook of this frame.
    Begin(u32),
    /// Go on with this frame.
    Resume(u32),
    /// Drop this suspended frame: the worker stops.
    Cancel(u32),
    /// Something was done; ask again.
    Again,
    /// All lanes look at the rings.
    Listen,
    /// All lanes copy the states that `Worker::copy` names.
    Copy,
    /// Nothing to do.
    Idle,
    /// The worker has stopped, or leaves its loop for a while.
    Exit,
}

/// The rings to and from one other worker.
#[repr(C, align(64))]
pub struct Peer {
    /// Our messages to it.
    pub requests_out: Producer,
    /// Our replies to it. A ring of its own: replies are always taken, so full request rings can never block them.
    pub replies_out: Producer,
    /// Its messages to us.
    pub requests_in: Consumer,
    /// Its replies to us.
    pub replies_in: Consumer,
    /// Not 0 while it sleeps.
    pub parked: *const Word32,
}

/// What a worker needs from the host it runs beside.
#[cfg(not(target_arch = "nvptx64"))]
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Passed to each function.
    pub data: *const (),
    /// Nanoseconds since the runtime was built.
    pub now: unsafe fn(*const ()) -> u64,
    /// Nothing to do, for the `n`th time in a row on this worker: spin, or sleep until something comes, but not beyond
    /// `next_wake`.
    pub idle: unsafe fn(*const (), worker: u32, rounds: u32, next_wake: u64),
    /// A worker sleeps and has a message.
    pub wake_worker: unsafe fn(*const (), worker: u32),
    /// Somebody sleeps who waits for the reply in this cell.
    pub wake_cell: unsafe fn(*const (), cell: u32),
    /// A message that wanted no reply was not handled to its end. `header.lines` is 0 if a handler had taken it: then its payload
    /// is gone, and the lines hold nothing.
    pub dead_letter: unsafe fn(*const (), worker: u32, header: &Header, message: Lines, reason: KernelError),
    /// Something happened that the host has to know.
    pub notice: unsafe fn(*const (), &Notice),
}

/// On the device there is no host beside it, but a worker is as large there as here.
#[cfg(target_arch = "nvptx64")]
#[derive(Clone, Copy, Default)]
pub struct Hooks {
    _unused: [usize; 7],
}

/// A pool or list of frames, by index.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

/// What has happened on a worker since it was started.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Counters {
    /// Messages taken from rings or sent locally that a handler ended.
    pub handled: u64,
    /// Requests pushed to other workers.
    pub sent: u64,
    /// Requests taken from other workers.
    pub received: u64,
    /// Replies that came too late for whoever asked.
    pub late: u64,
    /// Messages refused.
    pub refused: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Handlers that were suspended.
    pub suspended: u64,
}

/// Everything a worker knows.
#[repr(C)]
pub struct Worker {
    pub(crate) index: u32,
    pub(crate) workers: u32,
    pub(crate) lanes: u32,
    pub(crate) steps: Shown,

    /// The message of the step that begins now.
    pub(crate) request: Lines,
    pub(crate) resumable: List,
    pub(crate) ready: List,
    pub(crate) flushing: List,
    pub(crate) local_run: u32,
    /// Frames resumed since an actor was begun.
    pub(crate) resumed: u32,
    pub(crate) idle_rounds: u32,
    /// A message could not be refused yet, because the reply ring was full.
    pub(crate) blocked: bool,

    pub(crate) actors: *mut Actor,
    pub(crate) actor_capacity: u32,
    pub(crate) actors_used: u32,

    pub(crate) nodes: Nodes,
    pub(crate) frames: *mut Frame,
    pub(crate) frame_count: u32,
    pub(crate) frame_free: u32,
    pub(crate) frames_used: u32,
    pub(crate) lane_memory: *mut u8,
    pub(crate) lane_bytes: u32,

    pub(crate) peers: *mut Peer,
    pub(crate) inlets: *mut Consumer,
    pub(crate) open_ports: *const Word32,
    pub(crate) poll_next: u32,
    /// Messages taken in a row from the ring at `poll_next`.
    pub(crate) stay: u32,

    pub(crate) cells: *mut Line,
    pub(crate) cell_lines: u32,
    pub(crate) cell_parked: *const Word32,

    pub(crate) now: u64,
    /// When the first suspended handler waits no longer.
    pub(crate) next_wake: u64,
    /// When the first timer is due.
    pub(crate) next_timer: u64,
    /// When the worker looks for cycles of asks.
    pub(crate) next_probe: u64,
    pub(crate) ask_limit: u64,
    pub(crate) hooks: Hooks,
    pub(crate) module: *const ModuleTable,

    pub(crate) life: life::Life,
    pub(crate) timers: timer::Timers,
    pub(crate) cycles: cycle::Cycles,
    pub(crate) counters: Counters,
    /// The frame that runs now; what a panic takes down.
    pub(crate) current: Shown,
    pub(crate) prepared: bool,
    /// The step that runs now began its frame, so the lines of its message are still there.
    pub(crate) began: bool,
    /// What is copied now.
    pub(crate) copy: Option<copy::Copying>,
    /// Rings that hold something, in a grid.
    pub(crate) heard: listen::Heard,
    /// The way to the host, in a grid.
    pub(crate) link: link::Link,
    /// Actors that handlers have spawned.
    pub(crate) spawned: spawn::Spawned,
    /// Names and topics.
    pub(crate) directory: Directory,
}

/// The memory and the limits of a worker; the backend allocates it all before the worker starts.
#[derive(Clone, Copy)]
pub struct WorkerMemory {
    /// This worker's number.
    pub index: u32,
    /// How many there are.
    pub workers: u32,
    /// Lanes of its team.
    pub lanes: u32,
    /// Bytes of one lane of a frame: [`lane_bytes`] of the module's futures, as the compiler of whoever runs the worker lays them out.
    pub lane_bytes: u32,
    /// `actor_capacity` zeroed slots.
    pub actors: *mut Actor,
    /// Most actors on this worker.
    pub actor_capacity: u32,
    /// `node_count` nodes of `max_lines` lines.
    pub nodes: *mut Line,
    /// Messages that may wait in mailboxes.
    pub node_count: u32,
    /// `frame_count` frames.
    pub frames: *mut Frame,
    /// Handlers that may be suspended; from 1 to 65,535.
    pub frame_count: u32,
    /// `frame_count * max_lines` lines.
    pub frame_lines: *mut Line,
    /// The timers.
    pub timers: TimerMemory,
    /// `frame_count * lanes * lane_bytes` bytes, aligned to 64.
    pub lane_memory: *mut u8,
    /// One per worker; the entry for this worker itself is not used.
    pub peers: *mut Peer,
    /// `1 + MAX_PORTS` consumers: the shared ingress ring, then the ports.
    pub inlets: *mut Consumer,
    /// A bit for each port that was ever opened.
    pub open_ports: *const Word32,
    /// Reply cells of the host, `max_lines` lines each.
    pub cells: *mut Line,
    /// One word per cell: not 0 while somebody sleeps on it.
    pub cell_parked: *const Word32,
    /// Deadline of an ask that names none, in nanoseconds.
    pub ask_limit: u64,
    /// The host.
    pub hooks: Hooks,
    /// The module whose actors it runs.
    pub module: *const ModuleTable,
    /// The way to the host, in a grid; else [`LinkMemory::NONE`].
    pub link: LinkMemory,
    /// For actors that handlers spawn.
    pub spawn: SpawnMemory,
    /// Names and topics, empty at first.
    pub directory: Directory,
}

/// Bytes of one lane of a frame: context and future.
pub const fn lane_bytes(future_bytes: usize) -> usize {
    layout::round_up(CONTEXT_BYTES + future_bytes, 64)
}
const CONTEXT_BYTES: usize = layout::round_up(size_of::<RingContext<'static>>(), 16);

impl List {
    const EMPTY: Self = Self { head: NONE, tail: NONE };
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }
    pub(crate) fn first(&self) -> u32 {
        self.head
    }
}

impl Worker {
    /// Builds a worker in `at`.
    ///
    /// # Panics
    /// With no frame, or more frames or workers than 65,535, or a module whose cells do not hold a report.
    ///
    /// # Safety
    /// All pointers of `memory` are live, exclusive to this worker where it writes, of the stated sizes, and stay so until the
    /// worker has ended.
    pub unsafe fn init(at: *mut Self, memory: &WorkerMemory) {
        // SAFETY: the module outlives the worker (contract).
        let module = unsafe { &*memory.module };
        // A reply finds its way by 16 bits of worker and 16 of frame, and a report takes two lines.
        assert!(memory.workers <= MAX_WORKERS && (1..1 << 16).contains(&memory.frame_count) && module.max_lines >= 2);
        for index in 0..memory.frame_count {
            // SAFETY: `frame_count` frames and `frame_count * max_lines` lines (contract).
            unsafe {
                memory.frames.add(index as usize).write(Frame {
                    state: ptr::null_mut(),
                    state_bytes: 0,
                    actor: NONE,
                    request: Packed::default(),
                    asks: 0,
                    suspected: 0,
                    asked: ActorId::default(),
                    probe_at: 0,
                    probes: 0,
                    wake_at: u64::MAX,
                    next: if index + 1 < memory.frame_count { index + 1 } else { NONE },
                    peer: 0,
                    kind: 0,
                    op: OP_HANDLE,
                    waiting: Waiting::Nothing,
                    answered: false,
                    timed_out: false,
                    in_use: false,
                    index,
                    outcome: Outcome::failed(KernelError::Stopped),
                    buffer: memory.frame_lines.add(index as usize * module.max_lines),
                });
            }
        }
        // SAFETY: `at` is the caller's; the nodes are as many as stated (contract).
        unsafe {
            at.write(Self {
                index: memory.index,
                workers: memory.workers,
                lanes: memory.lanes,
                steps: Shown::new(0),
                request: Lines::flat(memory.nodes),
                resumable: List::EMPTY,
                ready: List::EMPTY,
                flushing: List::EMPTY,
                local_run: 0,
                resumed: 0,
                idle_rounds: 0,
                blocked: false,
                actors: memory.actors,
                actor_capacity: memory.actor_capacity,
                actors_used: 0,
                nodes: Nodes::new(memory.nodes, module.max_lines as u32, memory.node_count),
                frames: memory.frames,
                frame_count: memory.frame_count,
                frame_free: if memory.frame_count == 0 { NONE } else { 0 },
                frames_used: 0,
                lane_memory: memory.lane_memory,
                lane_bytes: memory.lane_bytes,
                peers: memory.peers,
                inlets: memory.inlets,
                open_ports: memory.open_ports,
                poll_next: 0,
                stay: 0,
                cells: memory.cells,
                cell_lines: module.max_lines as u32,
                cell_parked: memory.cell_parked,
                now: 0,
                next_wake: u64::MAX,
                next_timer: u64::MAX,
                next_probe: u64::MAX,
                ask_limit: memory.ask_limit,
                hooks: memory.hooks,
                module: memory.module,
                life: life::Life::default(),
                timers: timer::Timers::new(memory.timers, module.max_lines as u32),
                cycles: cycle::Cycles::default(),
                counters: Counters::default(),
                current: Shown::new(NONE),
                prepared: false,
                began: false,
                copy: None,
                heard: listen::Heard::NOTHING,
                link: link::Link::new(&memory.link),
                spawned: spawn::Spawned::new(&memory.spawn, memory.actor_capacity),
                directory: memory.directory,
            });
        }
    }

    /// Gives each lane of each frame its context. Once, before the first step.
    ///
    /// # Safety
    /// `worker` is initialised, and each lane of its team calls this with its own rank.
    pub(crate) unsafe fn prepare(worker: *mut Self, rank: u32, team: AnyTeam) {
        // SAFETY: the lane's memory is the lane's own (contract of `init`).
        unsafe {
            for index in 0..(*worker).frame_count {
                let frame = (*worker).frames.add(index as usize);
                let lane = Self::lane(worker, frame, rank);
                lane.ctx.write(RingContext::new(worker, frame, team));
            }
        }
    }

    /// One lane's part of a frame.
    ///
    /// # Safety
    /// `frame` is one of the worker's, `rank` below its lanes.
    #[inline(always)]
    pub(crate) unsafe fn lane(worker: *mut Self, frame: *mut Frame, rank: u32) -> Lane {
        // SAFETY: contract.
        unsafe {
            let number = (*frame).index * (*worker).lanes + rank;
            let at = (*worker).lane_memory.add(number as usize * (*worker).lane_bytes as usize);
            Lane { state: (*frame).state, ctx: at.cast(), future: at.add(CONTEXT_BYTES), rest: (*frame).buffer.cast() }
        }
    }

    /// The clock, in nanoseconds since the runtime was built.
    #[inline(always)]
    pub(crate) fn clock(&self) -> u64 {
        #[cfg(target_arch = "nvptx64")]
        {
            crate::team::nv::clock_ns().wrapping_sub(self.link.epoch)
        }
        #[cfg(not(target_arch = "nvptx64"))]
        {
            // SAFETY: the hooks outlive the worker (contract of `init`).
            unsafe { (self.hooks.now)(self.hooks.data) }
        }
    }

    #[inline(always)]
    pub(crate) fn actor(&self, slot: u32) -> *mut Actor {
        debug_assert!(slot < self.actor_capacity);
        self.actors.wrapping_add(slot as usize)
    }

    #[inline(always)]
    pub(crate) fn frame(&self, index: u32) -> *mut Frame {
        debug_assert!(index < self.frame_count);
        self.frames.wrapping_add(index as usize)
    }

    /// What to do next.
    #[inline(always)]
    pub(crate) fn next<F: Fabric>(&mut self) -> Step {
        let steps = self.steps.get().wrapping_add(1);
        self.steps.set(steps);
        if steps & (TICK_STEPS - 1) == 0 {
            self.tick::<F>();
            if F::GRID {
                self.report();
            }
        }
        if F::GRID && self.link.leaves() {
            return self.leave::<F>();
        }
        let local = self.local_run < LOCAL_BUDGET;
        if local {
            self.local_run += 1;
            if let Some(step) = self.next_local::<F>() {
                return step;
            }
        }
        if F::GRID && self.wants_to_listen() {
            return Step::Listen;
        }
        self.take_replies::<F>();
        if !self.flushing.is_empty() {
            self.flush::<F>();
        }
        if local && let Some(step) = self.next_local::<F>() {
            return step;
        }
        // Only here: replies that keep coming use up the budget too, so they cannot keep requests out.
        self.local_run = 0;
        let step = if self.life.busy() { self.live::<F>() } else { self.take::<F>() };
        // With the budget spent there may be local work that was not looked at.
        if !local && matches!(step, Step::Idle) { Step::Again } else { step }
    }

    /// A suspended frame that can go on, or an actor that has mail.
    #[inline(always)]
    fn next_local<F: Fabric>(&mut self) -> Option<Step> {
        let begins = !self.ready.is_empty() && self.frame_free != NONE;
        // A handler that yields can go on again at once: after so many in a row an actor that has mail comes first.
        if !(begins && self.resumed >= LOCAL_BUDGET)
            && let Some(frame) = self.pop_frame_resumable()
        {
            self.resumed = self.resumed.wrapping_add(1);
            return Some(self.resume(frame));
        }
        self.resumed = 0;
        if !begins {
            return None;
        }
        let slot = self.ready.head;
        let actor = self.actor(slot);
        // SAFETY: the actor is this worker's, and only the leader is here.
        unsafe {
            self.ready.head = (*actor).next;
            (*actor).ready = false;
            if (*actor).status != Status::Running {
                return Some(self.change::<F>(slot));
            }
            let request = (*actor).pop(&mut self.nodes)?;
            let header = request.packed();
            if deadline_passed(header.deadline(), self.now) {
                return Some(self.turn_away::<F>(slot, request, KernelError::Deadline));
            }
            Some(self.begin(slot, OP_HANDLE, header, request))
        }
    }

    /// Refuses a message that was accepted into a mailbox and may not be handled any more. It takes a frame as a handler would,
    /// which keeps the refusal until there is room for it. There is a free frame.
    #[cold]
    #[inline(never)]
    pub(crate) fn turn_away<F: Fabric>(&mut self, slot: u32, request: Lines, error: KernelError) -> Step {
        // SAFETY: a mailbox node that was just taken out; its content stays.
        let header = unsafe { request.packed() };
        if let Step::Begin(index) = self.begin(slot, OP_HANDLE, header, request) {
            self.settle::<F>(self.frame(index), Some(Outcome::refused(error)));
        }
        Step::Again
    }

    #[inline(always)]
    fn resume(&mut self, frame: u32) -> Step {
        self.current.set(frame);
        self.began = false;
        Step::Resume(frame)
    }

    /// Gives `slot` a frame and starts it. There is a free frame.
    #[inline(always)]
    pub(crate) fn begin(&mut self, slot: u32, op: u8, header: Packed, request: Lines) -> Step {
        let index = self.frame_free;
        let (frame, actor) = (self.frame(index), self.actor(slot));
        // SAFETY: a free frame is the scheduler's, the actor is this worker's.
        unsafe {
            self.frame_free = (*frame).next;
            self.frames_used += 1;
            (*frame).state = (*actor).state;
            (*frame).state_bytes = (*actor).state_bytes;
            (*frame).actor = slot;
            (*frame).kind = (*actor).kind;
            (*frame).request = header;
            (*frame).op = op;
            (*frame).waiting = Waiting::Nothing;
            (*frame).answered = false;
            (*frame).timed_out = false;
            (*frame).in_use = true;
            (*actor).frame = index;
        }
        self.current.set(index);
        self.began = true;
        self.request = request;
        Step::Begin(index)
    }

    /// Books the result of a step on a frame.
    #[cfg_attr(target_arch = "nvptx64", inline(never))]
    #[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
    pub(crate) fn settle<F: Fabric>(&mut self, frame: *mut Frame, ended: Option<Outcome>) {
        self.current.set(NONE);
        self.idle_rounds = 0;
        match ended {
            Some(outcome) => self.complete::<F>(frame, outcome, false),
            None => self.suspend(frame),
        }
    }

    /// A handler awaits something: put its frame where it will be found.
    fn suspend(&mut self, frame: *mut Frame) {
        // SAFETY: the frame is this worker's.
        unsafe {
            let index = (*frame).index;
            self.counters.suspended += 1;
            match (*frame).waiting {
                // It awaits something that is none of ours (`yield`), or what it waited for came while it ran.
                Waiting::Nothing => self.push_resumable(index),
                Waiting::Room => {
                    self.next_wake = self.next_wake.min((*frame).wake_at);
                    self.push_flushing(index);
                }
                Waiting::Flush => self.push_flushing(index),
                Waiting::Reply | Waiting::Time => self.next_wake = self.next_wake.min((*frame).wake_at),
            }
        }
    }

    /// A handler or hook ended: reply, free the actor, free the frame. `fell`: it did not end by itself.
    #[inline(always)]
    pub(crate) fn complete<F: Fabric>(&mut self, frame: *mut Frame, outcome: Outcome, fell: bool) {
        // SAFETY: the frame and its actor are this worker's.
        unsafe {
            let slot = (*frame).actor;
            let actor = self.actor(slot);
            (*actor).frame = NONE;
            if (*frame).op != OP_HANDLE {
                // By value: a reference would keep the outcome in memory on the way of every message.
                self.hook_ended((*frame).op, slot, outcome.failure());
                return self.free_frame((*frame).index);
            }
            if outcome.kind() == Kind::Refused {
                self.counters.refused += 1;
            } else {
                (*actor).handled = (*actor).handled.wrapping_add(1);
                self.counters.handled += 1;
            }
            if (*actor).waiting > 0 || (*actor).status != Status::Running {
                self.push_ready(slot);
            }
            let said = if (*frame).request.kind() == Kind::Ask as u8 {
                self.reply::<F>(&(*frame).request, &outcome, (*frame).buffer.cast())
            } else if fell || outcome.kind() == Kind::Refused {
                let error = KernelError::from_parts(outcome.code, outcome.detail);
                self.bury::<F>(&(*frame).request, self.began.then_some(self.request), error)
            } else {
                true
            };
            if !said {
                self.keep_unread(frame, outcome.kind() == Kind::Refused);
                (*frame).outcome = outcome;
                (*frame).waiting = Waiting::Flush;
                (*frame).wake_at = self.now.saturating_add(self.ask_limit);
                self.push_flushing((*frame).index);
                return;
            }
            self.free_frame((*frame).index);
        }
    }

    #[inline(always)]
    pub(crate) fn free_frame(&mut self, index: u32) {
        let frame = self.frame(index);
        // SAFETY: the frame is this worker's and nobody runs it.
        unsafe {
            (*frame).in_use = false;
            (*frame).waiting = Waiting::Nothing;
            (*frame).next = self.frame_free;
        }
        self.frame_free = index;
        self.frames_used -= 1;
    }

    /// Looks at the clock after a step, wakes frames whose time has come, fires timers, and looks for cycles of asks.
    #[cfg_attr(target_arch = "nvptx64", inline(never))]
    pub(crate) fn tick<F: Fabric>(&mut self) {
        self.look();
        self.wake_due();
        self.keep_time::<F>();
    }

    /// Does what is due beside the frames.
    #[inline(always)]
    fn keep_time<F: Fabric>(&mut self) {
        if self.now >= self.next_timer {
            self.fire::<F>();
        }
        if self.now >= self.next_probe {
            self.look_for_cycles::<F>();
        }
    }

    /// Looks at the clock. Asks of default limit count from the last look, so where a step took long, those that were made in it
    /// get that time back.
    #[inline(always)]
    pub(crate) fn look(&mut self) {
        let before = self.now;
        self.now = self.clock();
        if self.now.saturating_sub(before) > self.ask_limit >> 4 {
            self.extend_asks(before);
        }
    }

    #[cold]
    fn extend_asks(&mut self, before: u64) {
        for index in 0..self.frame_count {
            let frame = self.frame(index);
            // SAFETY: the frame is this worker's.
            unsafe {
                let asks = (*frame).in_use && matches!((*frame).waiting, Waiting::Reply | Waiting::Room);
                if asks && (*frame).wake_at == before.saturating_add(self.ask_limit) {
                    (*frame).wake_at = self.now.saturating_add(self.ask_limit);
                }
            }
        }
    }

    /// Wakes frames whose time has come.
    fn wake_due(&mut self) {
        if self.now < self.next_wake {
            return;
        }
        self.next_wake = u64::MAX;
        for index in 0..self.frame_count {
            let frame = self.frame(index);
            // SAFETY: the frame is this worker's.
            unsafe {
                if !(*frame).in_use || !matches!((*frame).waiting, Waiting::Reply | Waiting::Time | Waiting::Room) {
                    continue;
                }
                if (*frame).wake_at <= self.now {
                    if (*frame).waiting == Waiting::Room {
                        // `flush` wakes it: it is in that list.
                        continue;
                    }
                    (*frame).waiting = Waiting::Nothing;
                    (*frame).timed_out = true;
                    self.push_resumable(index);
                } else {
                    self.next_wake = self.next_wake.min((*frame).wake_at);
                }
            }
        }
    }

    /// Nothing to do: every now and then let the backend rest, and look at the clock.
    #[inline(always)]
    pub(crate) fn idle<F: Fabric>(&mut self) {
        self.idle_rounds = self.idle_rounds.wrapping_add(1);
        // Leaves a producer time to finish its line, which makes a round trip between workers shorter.
        core::hint::spin_loop();
        if self.idle_rounds & (F::IDLE_ROUNDS - 1) == 0 {
            #[cfg(not(target_arch = "nvptx64"))]
            let fires = self.next_timer;
            self.tick::<F>();
            if F::GRID {
                self.report();
            }
            // The device has no host to ask: it looks again.
            #[cfg(not(target_arch = "nvptx64"))]
            {
                // A timer may have given an actor something to do.
                if !self.resumable.is_empty() || self.now >= fires {
                    return;
                }
                let mut wake = self.next_wake.min(self.next_timer).min(self.next_probe);
                if core::mem::take(&mut self.blocked) || !self.flushing.is_empty() {
                    // It waits for room in a ring, and whoever makes room wakes nobody.
                    wake = wake.min(self.now.saturating_add(LOOK_FOR_ROOM_NS));
                }
                F::idle(self, wake);
                // Not `tick`: no step took this time.
                self.now = self.clock();
                self.wake_due();
                self.keep_time::<F>();
            }
            #[cfg(target_arch = "nvptx64")]
            {
                self.blocked = false;
                self.link.pause();
            }
        }
    }

    /// Lets the host decide whether to spin or sleep, at most until `wake`.
    #[cfg(not(target_arch = "nvptx64"))]
    #[inline(always)]
    pub(crate) fn rest(&self, wake: u64) {
        // SAFETY: the hooks outlive the worker (contract of `init`).
        unsafe { (self.hooks.idle)(self.hooks.data, self.index, self.idle_rounds, wake) }
    }

    #[inline(always)]
    pub(crate) fn push_ready(&mut self, slot: u32) {
        let actor = self.actor(slot);
        // SAFETY: the actor is this worker's.
        unsafe {
            if (*actor).ready {
                return;
            }
            (*actor).ready = true;
            (*actor).next = NONE;
            if self.ready.head == NONE {
                self.ready.head = slot;
            } else {
                (*self.actor(self.ready.tail)).next = slot;
            }
        }
        self.ready.tail = slot;
    }

    #[inline(always)]
    pub(crate) fn push_resumable(&mut self, index: u32) {
        let mut list = self.resumable;
        self.push_frame(&mut list, index);
        self.resumable = list;
    }

    pub(crate) fn push_flushing(&mut self, index: u32) {
        let mut list = self.flushing;
        self.push_frame(&mut list, index);
        self.flushing = list;
    }

    #[inline(always)]
    pub(crate) fn push_frame(&mut self, list: &mut List, index: u32) {
        // SAFETY: frames are this worker's, and a frame is in one list at most.
        unsafe {
            (*self.frame(index)).next = NONE;
            if list.head == NONE {
                list.head = index;
            } else {
                (*self.frame(list.tail)).next = index;
            }
        }
        list.tail = index;
    }

    #[inline(always)]
    fn pop_frame_resumable(&mut self) -> Option<u32> {
        let index = self.resumable.head;
        if index == NONE {
            return None;
        }
        // SAFETY: a listed frame is this worker's.
        self.resumable.head = unsafe { (*self.frame(index)).next };
        Some(index)
    }

    /// The op of a frame, as a module wants it.
    ///
    /// # Safety
    /// `frame` is one of the worker's.
    #[inline(always)]
    pub(crate) unsafe fn op(frame: *const Frame) -> Op {
        // SAFETY: contract.
        unsafe {
            match (*frame).op {
                OP_INITIALIZE | OP_START => Op::Initialize,
                OP_SHUTDOWN | OP_END => Op::Shutdown,
                _ => Op::Handle((*frame).request.tag()),
            }
        }
    }
}
