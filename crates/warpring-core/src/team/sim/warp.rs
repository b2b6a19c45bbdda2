//! A warp: what its lanes share, how they meet, and what is checked when they do.
//!
//! Everything here is reached through shared references by one thread at a time, so it is cells. Values never rest in the warp:
//! a lane that waits leaves pointers to its value and to its result, both on its own stack, and the lane that arrives last (or
//! the leader, after leading) moves them all at once.

use core::cell::{Cell, RefCell, UnsafeCell};
use core::panic::Location;
use core::ptr;
use std::rc::Rc;
use std::thread::panicking;

use corosensei::Yielder;

use super::violation::{Place, Violation, What};
use crate::address::ActorId;
use crate::frame::{NONE, Outcome};
use crate::message::NEXT_WORDS;
use crate::worker::{Launch, Worker};

/// Why a lane gave way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It waits for other lanes, or lets them go first.
    Meet,
    /// It lets other workers go first.
    Point,
    /// Its warp's violation says why; it must not go on.
    Failed,
}

/// What a lane does when it has arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrived {
    /// Nothing: it is on its own.
    Unwinding,
    /// Give way.
    Wait,
    /// Go on.
    GoOn,
}

/// The methods of `Team`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Sync,
    Lead,
    Ballot,
    Broadcast,
    ShiftUp,
    /// The end of a handler's step; the argument says whether the handler has ended.
    Ended,
}

/// A collective, as a lane calls it. All lanes must agree on all of it.
#[derive(Clone, Copy)]
pub(super) struct Meeting {
    pub(super) method: Method,
    pub(super) bytes: usize,
    pub(super) argument: u32,
    pub(super) note: u64,
    pub(super) at: &'static Location<'static>,
}

/// Elements of which each lane may change its own.
#[derive(Clone, Copy)]
pub(super) struct Elements {
    pub(super) base: *const u8,
    pub(super) stride: usize,
    pub(super) count: usize,
}

/// What all warps of a machine share.
pub(super) struct Shared {
    random: Cell<u64>,
    /// The lane that runs, or null.
    pub(super) lane: Cell<*const LaneRecord>,
    /// Grows with every store that another worker could see, and whenever the host may have done something.
    pub(super) activity: Cell<u64>,
    /// The thread that runs the machine was panicking when it called.
    pub(super) host_panics: Cell<bool>,
    /// Largest state whose writes are checked; 0 for none.
    pub(super) check_limit: usize,
}

impl Shared {
    pub(super) fn new(seed: u64, check_limit: usize) -> Self {
        Self {
            random: Cell::new(seed),
            lane: Cell::new(ptr::null()),
            activity: Cell::new(0),
            host_panics: Cell::new(false),
            check_limit,
        }
    }

    /// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    #[inline]
    pub(super) fn draw(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    #[inline]
    pub(super) fn touch(&self) {
        self.activity.set(self.activity.get() + 1);
    }
}

/// The running actor's state as the leader left it.
struct Shadow {
    state: *const u8,
    bytes: Vec<u8>,
}

/// How the first lane ended its part of a handler.
struct Reply {
    outcome: Option<Outcome>,
    rest: Vec<u64>,
}

/// One warp: the lanes of one worker.
pub(super) struct Warp {
    pub(super) shared: *const Shared,
    pub(super) worker: *mut Worker,
    pub(super) size: u32,
    /// A bit for each lane.
    pub(super) all: u32,
    pub(super) lanes: Box<[LaneRecord]>,
    /// Lanes that have arrived in `meeting`.
    arrived: Cell<u32>,
    meeting: Cell<Option<Meeting>>,
    /// Lanes that can go on.
    pub(super) runnable: Cell<u32>,
    shadow: UnsafeCell<Shadow>,
    reply: UnsafeCell<Reply>,
    pub(super) violation: RefCell<Option<Violation>>,
    /// The line of the panic that the lanes, when they start, have to clean up after.
    pub(super) fallen: Cell<Option<u32>>,
    /// The launch that its lanes have still to enter.
    pub(super) launch: Cell<Option<Launch>>,
    /// Worker step and activity at the last idle round.
    last_idle: Cell<(u32, u64)>,
    /// The worker has nothing to do as long as the activity is this.
    pub(super) quiet_at: Cell<u64>,
}

/// One lane. `RingContext`s hold its address, so it outlives the coroutine that runs it.
pub(super) struct LaneRecord {
    warp: Cell<*const Warp>,
    pub(super) rank: u32,
    pub(super) yielder: Cell<*const Yielder<(), Reason>>,
    value: Cell<*const u8>,
    out: Cell<*mut u8>,
    /// The last collective of this handler's step.
    last: Cell<Option<&'static Location<'static>>>,
    /// See `Team::at`.
    pub(super) site: Cell<Option<&'static Location<'static>>>,
    /// See `Team::note`.
    pub(super) note: Cell<u64>,
    /// See `Team::owns`.
    pub(super) own: Cell<Option<Elements>>,
    /// Its coroutine is being dropped, or it panics on a thread that was panicking before.
    pub(super) doomed: Cell<bool>,
    /// Where a panic began, from the panic hook.
    pub(super) panicked_at: RefCell<Option<Place>>,
}

std::thread_local! {
    /// The machine that runs on this thread.
    static CURRENT: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// The lane that runs on this thread, or null. Never inlined: a lane may go on on another thread than it stopped on, and the
/// address of a thread-local must not be kept over that.
#[inline(never)]
pub(super) fn current() -> *const LaneRecord {
    // SAFETY: a machine is only noted while it runs (`Running`).
    unsafe { CURRENT.get().as_ref() }.map_or(ptr::null(), |shared| shared.lane.get())
}

/// Notes that this thread runs a machine, until it is dropped.
pub(super) struct Running;

impl Running {
    /// # Panics
    /// If the thread runs a machine already.
    pub(super) fn new(shared: &Shared) -> Self {
        let before = CURRENT.replace(shared);
        if !before.is_null() {
            CURRENT.set(before);
            panic!("a handler cannot run a simulator");
        }
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
    }
}

/// A scoped access: one in eight lets another worker go first. Outside a lane, as on a host thread, nothing.
#[inline]
pub(super) fn point() {
    let lane = current();
    // SAFETY: only a running lane is current, and its record lives.
    let Some(lane) = (unsafe { lane.as_ref() }) else { return };
    if lane.warp().shared().draw() & 7 == 0 && !lane.unwinds() {
        lane.suspend(Reason::Point);
    }
}

/// A scoped store by a lane.
#[inline]
pub(super) fn changed() {
    let lane = current();
    // SAFETY: as in `point`.
    if let Some(lane) = unsafe { lane.as_ref() } {
        lane.warp().shared().touch();
    }
}

/// Steps of an idle round: all lanes look at the rings, and the leader finds nothing.
const STEPS_OF_A_ROUND: u32 = 2;

/// An idle round of the current lane's worker, after that many steps. Quiet is who has found nothing in a whole step (from its
/// last idle round to this one) during which nobody stored anything that others see, and whom the clock gave nothing to do: it
/// will find nothing again.
pub(super) fn idle(steps: u32, nothing_due: bool) {
    let lane = current();
    // SAFETY: as in `point`; only the worker loop calls this, in a lane.
    let lane = unsafe { &*lane };
    let warp = lane.warp();
    let activity = warp.shared().activity.get();
    let (last_steps, last_activity) = warp.last_idle.replace((steps, activity));
    if nothing_due && activity == last_activity && steps == last_steps.wrapping_add(STEPS_OF_A_ROUND) {
        warp.quiet_at.set(activity);
    }
    lane.suspend(Reason::Point);
}

impl Warp {
    /// A warp at an address of its own, so that its lanes can point to it.
    pub(super) fn new(shared: *const Shared, worker: *mut Worker, size: u32) -> Rc<Self> {
        let lanes = (0..size).map(LaneRecord::new).collect();
        let all = u32::MAX >> (32 - size);
        let warp = Rc::new(Self {
            shared,
            worker,
            size,
            all,
            lanes,
            arrived: Cell::new(0),
            meeting: Cell::new(None),
            runnable: Cell::new(all),
            shadow: UnsafeCell::new(Shadow { state: ptr::null(), bytes: Vec::new() }),
            reply: UnsafeCell::new(Reply { outcome: None, rest: Vec::new() }),
            violation: RefCell::new(None),
            fallen: Cell::new(None),
            launch: Cell::new(None),
            last_idle: Cell::new((0, u64::MAX)),
            quiet_at: Cell::new(u64::MAX),
        });
        for lane in &warp.lanes {
            lane.warp.set(Rc::as_ptr(&warp));
        }
        warp
    }

    /// Back to the start, for new coroutines.
    pub(super) fn reset(&self) {
        self.arrived.set(0);
        self.meeting.set(None);
        self.runnable.set(self.all);
        // SAFETY: nobody else holds the shadow: no method that opens it calls out.
        unsafe { (*self.shadow.get()).bytes.clear() }
        self.quiet_at.set(u64::MAX);
        for lane in &self.lanes {
            lane.last.set(None);
            lane.site.set(None);
            lane.note.set(0);
            lane.own.set(None);
            lane.doomed.set(false);
        }
    }

    #[inline]
    pub(super) fn shared(&self) -> &Shared {
        // SAFETY: the machine keeps it for as long as its warps.
        unsafe { &*self.shared }
    }

    /// The frame that the worker runs now, or `NONE`.
    #[inline]
    pub(super) fn running(&self) -> u32 {
        // SAFETY: the worker lives (contract of `Machine::new`), and this thread alone runs it.
        unsafe { (*self.worker).current.get() }
    }

    /// The actor whose handler runs now.
    pub(super) fn actor(&self) -> Option<ActorId> {
        // SAFETY: as in `running`.
        unsafe { (*self.worker).running() }
    }

    /// Keeps a copy of the running actor's state.
    #[inline]
    fn remember(&self) {
        // SAFETY: nobody else holds the shadow: no method that opens it calls out.
        let shadow = unsafe { &mut *self.shadow.get() };
        shadow.bytes.clear();
        let index = self.running();
        if index == NONE {
            return;
        }
        // SAFETY: as in `running`. The state is that many bytes of memory that was written as bytes when the actor was launched;
        // this thread alone runs lanes, so nobody writes it now.
        unsafe {
            let frame = (*self.worker).frame(index);
            let (state, bytes) = ((*frame).state, (*frame).state_bytes as usize);
            if bytes <= self.shared().check_limit {
                shadow.state = state;
                shadow.bytes.extend_from_slice(core::slice::from_raw_parts(state, bytes));
            }
        }
    }

    /// All lanes go on.
    #[inline]
    fn open(&self) {
        self.arrived.set(0);
        self.runnable.set(self.all);
    }

    /// Moves the values of a collective in which all lanes have arrived.
    fn exchange(&self, meeting: &Meeting) {
        let Meeting { method, bytes, argument, .. } = *meeting;
        let size = self.size as usize;
        // SAFETY: every lane waits in the same collective, with pointers to a value and to a result of this many bytes on its
        // stack; a result is never a value.
        let copy = |from: usize, to: usize| unsafe {
            ptr::copy_nonoverlapping(self.lanes[from].value.get(), self.lanes[to].out.get(), bytes)
        };
        match method {
            Method::Broadcast => (0..size).for_each(|lane| copy(argument as usize % size, lane)),
            Method::ShiftUp => (0..size).for_each(|lane| copy(lane.checked_sub(argument as usize).unwrap_or(lane), lane)),
            Method::Ballot => {
                // SAFETY: as above; value and result are `u32`.
                unsafe {
                    let votes = self.lanes.iter().fold(0, |votes, lane| votes | *lane.value.get().cast::<u32>());
                    self.lanes.iter().for_each(|lane| *lane.out.get().cast::<u32>() = votes);
                }
            }
            Method::Sync | Method::Lead | Method::Ended => {}
        }
    }
}

impl LaneRecord {
    fn new(rank: u32) -> Self {
        Self {
            warp: Cell::new(ptr::null()),
            rank,
            yielder: Cell::new(ptr::null()),
            value: Cell::new(ptr::null()),
            out: Cell::new(ptr::null_mut()),
            last: Cell::new(None),
            site: Cell::new(None),
            note: Cell::new(0),
            own: Cell::new(None),
            doomed: Cell::new(false),
            panicked_at: RefCell::new(None),
        }
    }

    /// This lane's stack is being unwound, so it must not give way.
    #[inline]
    fn unwinds(&self) -> bool {
        self.doomed.get() || (panicking() && !self.warp().shared().host_panics.get())
    }

    #[inline]
    pub(super) fn warp(&self) -> &Warp {
        // SAFETY: `Warp::new` set it, and the warp owns this record.
        unsafe { &*self.warp.get() }
    }

    /// Gives way. Only from the coroutine of this lane. Unwinds when the machine drops the coroutine.
    ///
    /// Inlined, as is all that leads to it: the processor predicts returns by the calls it saw last, so each return that follows
    /// a switch of stacks is predicted wrongly, at several times the cost of the switch itself.
    #[inline(always)]
    fn suspend(&self, reason: Reason) {
        // SAFETY: the lane's coroutine set it when it started, and it lives as long as the coroutine runs.
        unsafe { (*self.yielder.get()).suspend(reason) }
    }

    /// Arrives in a collective and waits for the others. After `Lead` the leader has to lead; the others were led. False: this
    /// lane unwinds (its destructors run), so it is a team of its own and there is nobody to wait for.
    #[inline(always)]
    pub(super) fn meet(&self, meeting: Meeting, value: *const u8, out: *mut u8) -> bool {
        match self.arrive(meeting, value, out) {
            Arrived::Unwinding => return false,
            Arrived::Wait => self.suspend(Reason::Meet),
            Arrived::GoOn => {}
        }
        true
    }

    #[inline(never)]
    fn arrive(&self, mut meeting: Meeting, value: *const u8, out: *mut u8) -> Arrived {
        if self.unwinds() {
            return Arrived::Unwinding;
        }
        let warp = self.warp();
        meeting.note = self.note.replace(0);
        if let Some(site) = self.site.take() {
            meeting.at = site;
        }
        self.check_writes((meeting.method != Method::Ended).then_some(meeting.at));
        let arrived = warp.arrived.get();
        if arrived == 0 {
            warp.meeting.set(Some(meeting));
        } else if let Some(other) = warp.meeting.get() {
            let same = meeting.method == other.method
                && (ptr::eq(meeting.at, other.at) || meeting.at == other.at)
                && (meeting.bytes, meeting.argument, meeting.note) == (other.bytes, other.argument, other.note);
            if !same {
                self.differ(&meeting, &other);
            }
        }
        if meeting.method != Method::Ended {
            self.last.set(Some(meeting.at));
        }
        self.value.set(value);
        self.out.set(out);
        let bit = 1 << self.rank;
        let arrived = arrived | bit;
        warp.arrived.set(arrived);
        if arrived != warp.all {
            warp.runnable.set(warp.runnable.get() & !bit);
            Arrived::Wait
        } else if meeting.method == Method::Lead {
            warp.runnable.set(1);
            if self.rank == 0 { Arrived::GoOn } else { Arrived::Wait }
        } else {
            warp.exchange(&meeting);
            warp.open();
            self.first_out()
        }
    }

    /// The leader has led: gives the result to the others and lets them go on. `before`: the frame that ran before.
    ///
    /// # Safety
    /// The lane is the leader, all others wait in the same `lead`, and `value` and their results are of this many bytes.
    #[inline(always)]
    pub(super) unsafe fn led(&self, value: *const u8, bytes: usize, before: u32) {
        // SAFETY: contract.
        if unsafe { self.release(value, bytes, before) } == Arrived::Wait {
            self.suspend(Reason::Meet);
        }
    }

    /// # Safety
    /// As for `led`.
    #[inline(never)]
    unsafe fn release(&self, value: *const u8, bytes: usize, before: u32) -> Arrived {
        let warp = self.warp();
        for lane in &warp.lanes[1..] {
            // SAFETY: contract.
            unsafe { ptr::copy_nonoverlapping(value, lane.out.get(), bytes) }
        }
        if before == NONE && warp.running() != NONE {
            warp.lanes.iter().for_each(|lane| lane.last.set(None));
        }
        warp.remember();
        warp.open();
        self.first_out()
    }

    /// Whoever opens a collective would always be first out of it; half of the time it is not.
    #[inline]
    fn first_out(&self) -> Arrived {
        let warp = self.warp();
        if warp.size > 1 && warp.shared().draw() & 1 == 0 { Arrived::Wait } else { Arrived::GoOn }
    }

    /// This lane's part of a handler's step has ended: all must have ended it in the same way.
    #[inline(always)]
    pub(super) fn ended(&self, outcome: Option<&Outcome>, rest: *const u64) {
        self.compare(outcome, rest);
        let meeting =
            Meeting { method: Method::Ended, bytes: 0, argument: u32::from(outcome.is_some()), note: 0, at: Location::caller() };
        self.meet(meeting, ptr::null(), ptr::null_mut());
    }

    #[inline(never)]
    fn compare(&self, outcome: Option<&Outcome>, rest: *const u64) {
        let warp = self.warp();
        let at = self.site.take();
        if at.is_some() {
            self.last.set(at);
        }
        // Between a handler's last word into `rest` and here a lane does not give way, so they are this lane's.
        let words = outcome.map_or(0, |outcome| (usize::from(outcome.lines) - 1) * NEXT_WORDS);
        // SAFETY: the frame's buffer holds the words of `outcome`; nobody else holds the warp's reply.
        let (rest, first) =
            unsafe { (if words == 0 { &[][..] } else { core::slice::from_raw_parts(rest, words) }, &mut *warp.reply.get()) };
        let arrived = warp.arrived.get();
        if arrived == 0 {
            first.outcome = outcome.copied();
            first.rest.clear();
            first.rest.extend_from_slice(rest);
        } else if let (Some(Meeting { method: Method::Ended, .. }), Some(mine), Some(other)) =
            (warp.meeting.get(), outcome, first.outcome.as_ref())
        {
            let parts = |outcome: &Outcome| (outcome.kind(), outcome.lines, outcome.code, outcome.detail, outcome.first);
            if parts(mine) != parts(other) || rest != first.rest {
                let other = &warp.lanes[arrived.trailing_zeros() as usize];
                self.fail(What::Replies, self.rank, self.last.get(), other.last.get());
            }
        }
        self.note.set(0);
    }

    /// Reports that this lane came to another collective than the others.
    #[cold]
    fn differ(&self, mine: &Meeting, other: &Meeting) -> ! {
        let others = &self.warp().lanes[self.warp().arrived.get().trailing_zeros() as usize];
        match (mine.method == Method::Ended, other.method == Method::Ended) {
            (true, true) => self.fail(What::Suspended, self.rank, self.last.get(), others.last.get()),
            (true, false) => self.fail(What::Left, self.rank, Some(other.at), self.last.get()),
            (false, true) => self.fail(What::Left, others.rank, Some(mine.at), others.last.get()),
            (false, false) if mine.method == other.method && mine.at == other.at => {
                self.fail(What::Arguments, self.rank, Some(mine.at), Some(other.at))
            }
            (false, false) => self.fail(What::Divergent, self.rank, Some(mine.at), Some(other.at)),
        }
    }

    /// Reports a write to the running actor's state since this lane's last collective, other than to elements that it owns.
    #[inline]
    fn check_writes(&self, at: Option<&'static Location<'static>>) {
        // SAFETY: nobody else holds the shadow: no method that opens it calls out before it is done with it.
        let shadow = unsafe { &mut *self.warp().shadow.get() };
        let own = self.own.take();
        if shadow.bytes.is_empty() {
            return;
        }
        // SAFETY: as in `Warp::remember`; the actor is still the one that was remembered, for nobody has led since.
        let state = unsafe { core::slice::from_raw_parts(shadow.state, shadow.bytes.len()) };
        if let Some(Elements { base, stride, count }) = own {
            let start = base as usize - shadow.state as usize;
            for i in (self.rank as usize..count).step_by(self.warp().size as usize) {
                let element = start + i * stride..start + (i + 1) * stride;
                shadow.bytes[element.clone()].copy_from_slice(&state[element]);
            }
        }
        if state != shadow.bytes {
            let offset = state.iter().zip(&shadow.bytes).position(|(now, then)| now != then).unwrap_or(0) as u32;
            self.fail(What::Write { offset }, self.rank, at, self.last.get());
        }
    }

    /// Ends the handler of the whole warp: the machine takes it from here, and this lane never goes on.
    #[cold]
    fn fail(
        &self,
        what: What,
        lane: u32,
        location: Option<&'static Location<'static>>,
        other_location: Option<&'static Location<'static>>,
    ) -> ! {
        let warp = self.warp();
        // SAFETY: as in `Warp::running`.
        let worker = unsafe { (*warp.worker).index };
        let (location, other_location) = (location.map(Place::from), other_location.map(Place::from));
        warp.violation.replace(Some(Violation { what, worker, actor: warp.actor(), lane, location, other_location }));
        loop {
            self.suspend(Reason::Failed);
        }
    }
}
