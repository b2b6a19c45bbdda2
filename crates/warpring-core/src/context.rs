//! `RingContext`: what a handler may do. Each method does what it says on every backend.
//!
//! Methods that take `&mut self` are collectives: on a team of several lanes, all lanes call them in the same order (plain code
//! that does not branch on the lane does so by itself). On the CPU a team is one lane, and they are plain calls and loops.

mod actors;
mod directory;

pub use actors::SPAWNED_MAILBOX;
pub use actors::SpawnOn;
pub use directory::PublishError;

use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use crate::address::{ActorId, Address};
use crate::error::{KernelError, Result};
use crate::frame::{Frame, Waiting};
use crate::message::{FROM_HOST, Kind, NO_SENDER, RingMessage, TICK_SHIFT, deadline_within, encode, lines_for};
use crate::module::Handles;
use crate::resident::{Resident, State};
use crate::ring::Lines;
use crate::team::{AnyTeam, Site, Team, with_team};
use crate::worker::{Sent, Timer, Worker};

/// Order of a message in its target's mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// First come, first served.
    #[default]
    Normal,
    /// Before messages of normal priority that wait; after 16 in a row a normal one goes first.
    High,
}

/// Why [`RingContext::try_tell`] did not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryTellError<M> {
    /// The ring to the target's worker is full now.
    Full(M),
    /// The target does not take it.
    Refused(KernelError, M),
}

/// What the actor and its worker have done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Messages that this actor has handled, the current one not included.
    pub handled: u32,
    /// Messages that wait in this actor's mailbox.
    pub waiting: u32,
    /// Messages that all actors of this worker have handled.
    pub worker_handled: u64,
}

/// The context of one handler call.
pub struct RingContext<'a> {
    worker: *mut Worker,
    frame: *mut Frame,
    team: AnyTeam,
    borrow: PhantomData<&'a mut ()>,
}

impl<'a> RingContext<'a> {
    pub(crate) fn new(worker: *mut Worker, frame: *mut Frame, team: AnyTeam) -> Self {
        Self { worker, frame, team, borrow: PhantomData }
    }

    #[inline(always)]
    fn frame(&self) -> &Frame {
        // SAFETY: a context is only reachable while its frame runs, and the leader writes frames only inside collectives.
        unsafe { &*self.frame }
    }

    #[inline(always)]
    fn worker(&self) -> &Worker {
        // SAFETY: as for `frame`.
        unsafe { &*self.worker }
    }

    /// The id of this actor.
    pub fn actor(&self) -> ActorId {
        let slot = self.frame().actor;
        // SAFETY: the frame's actor is the worker's.
        let generation = unsafe { (*self.worker().actor(slot)).generation };
        ActorId { slot, generation, worker: self.worker().index as u16 }
    }

    /// The address of this actor, to be sent to others. `K` is its own type.
    pub fn address<K>(&self, _this: &K) -> Address<K> {
        Address::new(self.actor())
    }

    /// The worker that runs this actor.
    #[inline(always)]
    pub fn worker_index(&self) -> u32 {
        self.worker().index
    }

    /// How many workers there are.
    #[inline(always)]
    pub fn workers(&self) -> u32 {
        self.worker().workers
    }

    /// This lane's number in the team, from 0.
    #[inline(always)]
    pub fn lane(&self) -> u32 {
        with_team!(self.team, |team, _F| team.rank())
    }

    /// How many lanes execute this handler together: 1 on the CPU, 32 in a warp.
    #[inline(always)]
    pub fn team_size(&self) -> u32 {
        with_team!(self.team, |team, _F| team.size())
    }

    /// Nanoseconds since the runtime was built, the same for all lanes.
    #[inline(always)]
    #[track_caller]
    pub fn now(&mut self) -> u64 {
        let worker = self.worker;
        // SAFETY: only the leader is inside `lead`.
        with_team!(self.team, |team, _F| team.lead(|| unsafe { (*worker).clock() }))
    }

    /// The actor that sent this message; `None` if the host did.
    pub fn sender(&self) -> Option<ActorId> {
        let request = &self.frame().request;
        let from_actor = request.kind() != Kind::Control as u8 && request.origin() != FROM_HOST && request.sender() != NO_SENDER;
        from_actor.then(|| ActorId {
            slot: request.sender(),
            generation: request.sender_generation(),
            worker: (request.origin() >> 16) as u16,
        })
    }

    /// Until when the sender wants this message handled, in nanoseconds on the clock of [`now`](Self::now), to within 65,536 ns;
    /// `None` if it named no deadline.
    pub fn deadline(&self) -> Option<u64> {
        let ticks = self.frame().request.deadline();
        if ticks == 0 {
            return None;
        }
        // The field holds the low 32 bits of the tick count; the deadline is within 2^31 ticks (39 hours) of now.
        let now = self.worker().now >> TICK_SHIFT;
        let ahead = ticks.wrapping_sub(now as u32) as i32;
        Some((now.wrapping_add_signed(i64::from(ahead))) << TICK_SHIFT)
    }

    /// What this actor and its worker have done so far.
    pub fn counts(&self) -> Counts {
        // SAFETY: the frame's actor is the worker's.
        let actor = unsafe { &*self.worker().actor(self.frame().actor) };
        Counts { handled: actor.handled, waiting: u32::from(actor.waiting), worker_handled: self.worker().counters.handled }
    }

    /// Panics unless the state belongs to the actor whose message this is: otherwise two workers could open it at once.
    #[inline(always)]
    #[track_caller]
    fn own<T: State>(&self, state: &Resident<T>) -> *mut T {
        let at = state.get();
        let frame = self.frame();
        let offset = (at as usize).wrapping_sub(frame.state as usize);
        if offset > frame.state_bytes as usize || offset + size_of::<T>() > frame.state_bytes as usize {
            panic!("this state belongs to another actor: a handler can open only the state of its own `self`");
        }
        at
    }

    /// Looks at a piece of this actor's state. The borrow ends before the next await.
    #[inline(always)]
    #[track_caller]
    pub fn read<'s, T: State>(&'s self, state: &'s Resident<T>) -> &'s T {
        // SAFETY: the state is this actor's (`own`), the actor runs on this worker alone, and every change needs `&mut self`.
        unsafe { &*self.own(state) }
    }

    /// Changes a piece of this actor's state. The closure runs once, on the leader; its result goes to all lanes.
    #[inline(always)]
    #[track_caller]
    pub fn update<T: State, R: Copy>(&mut self, state: &Resident<T>, change: impl FnOnce(&mut T) -> R) -> R {
        let at = self.own(state);
        with_team!(self.team, |team, _F| {
            team.note(|| at as u64);
            // SAFETY: as in `read`; `&mut self` excludes every other borrow of this actor's state, and only the leader is inside,
            // after all lanes have arrived.
            team.lead(|| unsafe { change(&mut *at) })
        })
    }

    /// Changes every element of an array of state, each on exactly one lane: `change(index, element)`.
    #[inline(always)]
    #[track_caller]
    pub fn update_each<T: State, const N: usize>(&mut self, state: &Resident<[T; N]>, change: impl Fn(u32, &mut T)) {
        let at = self.own(state).cast::<T>();
        with_team!(self.team, |team, _F| {
            // A lane that is behind may still be reading what this one is about to change.
            team.note(|| at as u64);
            team.sync();
            team.owns(at.cast(), size_of::<T>(), N);
            let mut i = team.rank();
            while (i as usize) < N {
                // SAFETY: as in `update`, and element `i` is this lane's alone.
                change(i, unsafe { &mut *at.add(i as usize) });
                i += team.size();
            }
            team.sync();
        });
    }

    /// Calls `f(i)` for each `i` below `n`, spread over the lanes. Each lane has its own copy of the locals that `f` changes.
    #[inline(always)]
    #[track_caller]
    pub fn for_each(&mut self, n: u32, mut f: impl FnMut(u32)) {
        with_team!(self.team, |team, _F| {
            let mut i = team.rank();
            while i < n {
                f(i);
                i += team.size();
            }
            team.note(|| u64::from(n));
            team.sync();
        });
    }

    /// `combine` over `f(0) .. f(n - 1)`, from `identity`, the same on all lanes. `combine` must be associative and commutative:
    /// the order depends on the number of lanes (so a sum of floats may differ in the last bits between backends).
    #[inline(always)]
    #[track_caller]
    pub fn reduce<V: Copy>(&mut self, n: u32, identity: V, f: impl Fn(u32) -> V, combine: impl Fn(V, V) -> V) -> V {
        with_team!(self.team, |team, _F| {
            let mut value = identity;
            let mut i = team.rank();
            while i < n {
                value = combine(value, f(i));
                i += team.size();
            }
            // Hillis and Steele (1986): after the last step the highest lane has combined all.
            let mut distance = 1;
            while distance < team.size() {
                team.note(|| u64::from(n));
                let below = team.shift_up(value, distance);
                if team.rank() >= distance {
                    value = combine(below, value);
                }
                distance *= 2;
            }
            team.broadcast(value, team.size() - 1)
        })
    }

    /// Inclusive prefixes: calls `visit(i, f(0) combined with .. f(i))` for each `i` below `n`, on one lane each, and returns the
    /// whole. `combine` must be associative.
    #[inline(always)]
    #[track_caller]
    pub fn scan<V: Copy>(
        &mut self,
        n: u32,
        identity: V,
        f: impl Fn(u32) -> V,
        combine: impl Fn(V, V) -> V,
        mut visit: impl FnMut(u32, V),
    ) -> V {
        with_team!(self.team, |team, _F| {
            let mut carry = identity;
            let mut base = 0;
            while base < n {
                let i = base + team.rank();
                let mut value = if i < n { f(i) } else { identity };
                let mut distance = 1;
                while distance < team.size() {
                    team.note(|| u64::from(n));
                    let below = team.shift_up(value, distance);
                    if team.rank() >= distance {
                        value = combine(below, value);
                    }
                    distance *= 2;
                }
                let prefix = combine(carry, value);
                if i < n {
                    visit(i, prefix);
                }
                carry = team.broadcast(prefix, team.size() - 1);
                base += team.size();
            }
            carry
        })
    }

    /// A bit for each lane whose `predicate` is true, lane 0 lowest. Of a team with more than 32 lanes (a block), for the first 32.
    #[inline(always)]
    #[track_caller]
    pub fn ballot(&mut self, predicate: bool) -> u32 {
        with_team!(self.team, |team, _F| team.ballot(predicate))
    }

    /// Lane `from`'s value, on all lanes.
    #[inline(always)]
    #[track_caller]
    pub fn broadcast<V: Copy>(&mut self, value: V, from: u32) -> V {
        with_team!(self.team, |team, _F| team.broadcast(value, from))
    }

    /// Asks another actor and awaits its reply; the worker goes on with other actors meanwhile. The deadline is the runtime's
    /// default.
    ///
    /// # Errors
    /// What the other handler returned, or [`KernelError::Deadline`], `Stopped`, `MailboxFull`, `Overloaded`, `Panicked`,
    /// `Interrupted`, `Malformed`, `AskedItself`, `AskCycle`.
    #[inline(always)]
    #[track_caller]
    pub fn ask<'c, K: Handles<M>, M: RingMessage>(&'c mut self, to: Address<K>, message: M) -> Ask<'c, 'a, K, M> {
        let limit = self.worker().ask_limit;
        Ask {
            ctx: self,
            to,
            message,
            priority: Priority::Normal,
            limit,
            until: 0,
            deadline: 0,
            stated: false,
            state: AskState::New,
            site: Site::caller(),
        }
    }

    /// Sends a message that wants no reply; waits while the ring to the target's worker is full, for as long as an ask may last
    /// by default.
    ///
    /// # Errors
    /// [`KernelError::Deadline`] if there was no room for so long: the message was not sent.
    /// [`KernelError::Stopped`], `MailboxFull` or `Overloaded` where the target is on the same worker and does not take it. On
    /// another worker what is refused becomes a dead letter.
    #[inline(always)]
    #[track_caller]
    pub fn tell<K: Handles<M>, M: RingMessage>(&mut self, to: Address<K>, message: M) -> impl Future<Output = Result<()>> {
        // Not an `async fn`, which would not know its caller.
        let site = Site::caller();
        async move {
            let mut until = 0;
            loop {
                self.at(site);
                match self.try_tell(to, message) {
                    Ok(()) => return Ok(()),
                    Err(TryTellError::Refused(error, _)) => return Err(error),
                    Err(TryTellError::Full(_)) => {
                        if until == 0 {
                            until = self.worker().now.saturating_add(self.worker().ask_limit);
                        }
                        WaitForRoom { ctx: self, peer: to.id().worker, until, waited: false, site }.await?
                    }
                }
            }
        }
    }

    /// Sends a message that wants no reply, now or not at all.
    ///
    /// # Errors
    /// The message comes back: [`TryTellError::Full`] while the ring to the target's worker is full.
    #[inline(always)]
    #[track_caller]
    pub fn try_tell<K: Handles<M>, M: RingMessage>(
        &mut self,
        to: Address<K>,
        message: M,
    ) -> core::result::Result<(), TryTellError<M>> {
        let what = crate::worker::Send {
            ask: false,
            high: false,
            tag: K::TAG,
            lines: const { lines_for(M::SIZE) as u8 },
            deadline: 0,
            wake_at: u64::MAX,
        };
        match self.send(to.id(), what, &message) {
            Sent::Yes => Ok(()),
            Sent::NoRoom => Err(TryTellError::Full(message)),
            Sent::Refused(error) => Err(TryTellError::Refused(error, message)),
        }
    }

    /// Suspends the handler for a time; the worker goes on with other actors.
    #[track_caller]
    pub fn sleep<'c>(&'c mut self, time: Duration) -> Sleep<'c, 'a> {
        Sleep { ctx: self, time: nanoseconds(time), started: false, site: Site::caller() }
    }

    /// Tells `to` the message after a time, in this actor's name. The timer can be kept in state, and
    /// [cancelled](Self::cancel).
    ///
    /// It fires at the first look at the clock after its time: a busy worker looks once in 64 steps. A target that does not take the
    /// message then makes a dead letter of it; while the ring to the target's worker is full, the message waits. A timer ends with
    /// this actor, and no timer fires once the runtime shuts down. Timers are kept by the worker, on the device, and a grid that
    /// hibernates wakes for them.
    ///
    /// # Errors
    /// [`KernelError::NoTimer`] if all timers of the worker are in use, [`KernelError::Stopped`] once the runtime shuts down.
    #[track_caller]
    pub fn after<K: Handles<M>, M: RingMessage>(&mut self, delay: Duration, to: Address<K>, message: M) -> Result<Timer> {
        self.timer(delay, 0, to.id(), K::TAG, &message)
    }

    /// Tells `to` the message again and again, one period after another from now on, until it is [cancelled](Self::cancel) or this
    /// actor ends. As [`after`](Self::after) otherwise.
    ///
    /// It fires at whole periods from its start. Those that have passed unseen, because the worker was busy or the grid slept, are
    /// left out. A period of 0 counts as a nanosecond: it fires at each look at the clock.
    ///
    /// # Errors
    /// As for [`after`](Self::after).
    #[track_caller]
    pub fn every<K: Handles<M>, M: RingMessage>(&mut self, period: Duration, to: Address<K>, message: M) -> Result<Timer> {
        self.timer(period, nanoseconds(period).max(1), to.id(), K::TAG, &message)
    }

    /// Ends a timer of this actor. True if it was still to fire, which it then does not; false if it has fired for the last time, or
    /// is not this actor's.
    #[track_caller]
    pub fn cancel(&mut self, timer: Timer) -> bool {
        self.lead(|worker, frame| worker.cancel_timer(frame, timer))
    }

    #[track_caller]
    fn timer<M: RingMessage>(&mut self, delay: Duration, period: u64, to: ActorId, tag: u16, message: &M) -> Result<Timer> {
        let delay = nanoseconds(delay);
        let what = (tag, const { lines_for(M::SIZE) as u8 });
        let (worker, frame) = (self.worker, self.frame);
        let (timer, code, detail) = with_team!(self.team, |team, _F| {
            team.note(|| digest(to.to_bits(), message).wrapping_add(delay));
            team.lead(|| {
                // SAFETY: only the leader is inside `lead`, and the scheduler is not running while a handler does.
                encode(message, |parcel| unsafe { (*worker).set_timer(frame, to, what, (delay, period), parcel) })
            })
        });
        if code == 0 { Ok(timer) } else { Err(KernelError::from_parts(code as u16, detail)) }
    }

    /// Lets other actors of this worker run, then goes on.
    #[track_caller]
    pub fn yield_now<'c>(&'c mut self) -> Sleep<'c, 'a> {
        self.sleep(Duration::ZERO)
    }

    #[inline(always)]
    #[track_caller]
    fn send<M: RingMessage>(&mut self, to: ActorId, what: crate::worker::Send, message: &M) -> Sent {
        let (worker, frame) = (self.worker, self.frame);
        with_team!(self.team, |team, F| {
            team.note(|| digest(to.to_bits(), message));
            team.lead(|| {
                // SAFETY: only the leader is inside `lead`, and the scheduler is not running while a handler does.
                encode(message, |parcel| unsafe { (*worker).send::<F>(frame, to, what, parcel) })
            })
        })
    }

    /// The next collective belongs to this call of the user's.
    #[inline(always)]
    fn at(&self, site: Site) {
        with_team!(self.team, |team, _F| team.at(site))
    }

    /// Runs `f` on the leader, with the worker and this frame to itself.
    #[inline(always)]
    #[track_caller]
    fn lead<R: Copy>(&mut self, f: impl FnOnce(&mut Worker, &mut Frame) -> R) -> R {
        let (worker, frame) = (self.worker, self.frame);
        // SAFETY: only the leader is inside `lead`, and the scheduler is not running while a handler does. Worker and frame are
        // different objects.
        with_team!(self.team, |team, _F| team.lead(|| unsafe { f(&mut *worker, &mut *frame) }))
    }
}

/// A time in nanoseconds, at most 292 years.
fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().min(u128::from(u64::MAX / 2)) as u64
}

/// What all lanes must send alike: FNV-1a over the words of a message and its target.
fn digest<M: RingMessage>(target: u64, message: &M) -> u64 {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    encode(message, |parcel| {
        parcel.first.iter().chain(parcel.rest).fold(step(crate::layout::EMPTY, target), |hash, word| step(hash, *word))
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AskState {
    New,
    Waiting,
    Done,
}

/// An ask by a handler; await it.
#[must_use = "an ask does nothing until it is awaited"]
pub struct Ask<'c, 'a, K, M> {
    ctx: &'c mut RingContext<'a>,
    to: Address<K>,
    message: M,
    priority: Priority,
    limit: u64,
    /// When it stops waiting, and the field that says so in the message; 0 before the first poll.
    until: u64,
    deadline: u32,
    stated: bool,
    state: AskState,
    site: Site,
}

impl<K: Handles<M>, M: RingMessage> Ask<'_, '_, K, M> {
    /// Waits at most this long. The message is not handled after the deadline.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit.as_nanos().min(u128::from(u64::MAX / 2)) as u64;
        self.stated = true;
        self
    }

    /// Order in the target's mailbox.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

impl<K: Handles<M>, M: RingMessage> Future for Ask<'_, '_, K, M> {
    type Output = Result<K::Reply>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing in an Ask is pinned by address.
        let this = unsafe { self.get_unchecked_mut() };
        if this.state == AskState::New {
            if this.until == 0 {
                // A stated limit is counted from now; the default one from the last look at the clock, which is at most 64 steps
                // old (a step that takes long is made up for, see `Worker::look`).
                this.ctx.at(this.site);
                let now = if this.stated { this.ctx.now() } else { this.ctx.worker().now };
                this.until = now.saturating_add(this.limit).max(1);
                this.deadline = if this.stated { deadline_within(now, this.limit) } else { 0 };
            } else if this.ctx.frame().timed_out {
                this.state = AskState::Done;
                return Poll::Ready(Err(KernelError::Deadline));
            }
            let what = crate::worker::Send {
                ask: true,
                high: this.priority == Priority::High,
                tag: K::TAG,
                lines: const { lines_for(M::SIZE) as u8 },
                deadline: this.deadline,
                wake_at: this.until,
            };
            this.ctx.at(this.site);
            match this.ctx.send(this.to.id(), what, &this.message) {
                Sent::Yes => this.state = AskState::Waiting,
                Sent::NoRoom => {
                    let (peer, until) = (u32::from(this.to.id().worker), this.until);
                    this.ctx.at(this.site);
                    this.ctx.lead(|_, frame| frame.wait_for_room(peer, until));
                }
                Sent::Refused(error) => {
                    this.state = AskState::Done;
                    return Poll::Ready(Err(error));
                }
            }
            return Poll::Pending;
        }
        let reply = poll_reply::<K::Reply>(this.ctx, this.site);
        if reply.is_ready() {
            this.state = AskState::Done;
        }
        reply
    }
}

/// The reply that a frame waits for, or that it waits no longer.
#[inline(always)]
fn poll_reply<R: RingMessage>(ctx: &mut RingContext<'_>, site: Site) -> Poll<Result<R>> {
    let frame = ctx.frame();
    if frame.answered {
        // SAFETY: `answered` says that a reply is in the buffer; it stays until all lanes have read it (the sync below).
        let reply = unsafe {
            let lines = Lines::flat(frame.buffer);
            let header = lines.header();
            if header.kind() == Kind::Reply as u8 {
                lines.decode::<R>(header.lines).map_err(|_| KernelError::Malformed)
            } else {
                Err(KernelError::from_parts(header.tag, header.sender))
            }
        };
        // A lane that goes on may end the handler, and a long reply of its own goes to the same buffer.
        ctx.at(site);
        with_team!(ctx.team, |team, _F| team.sync());
        return Poll::Ready(reply);
    }
    if frame.timed_out {
        return Poll::Ready(Err(KernelError::Deadline));
    }
    Poll::Pending
}

impl<K, M> Drop for Ask<'_, '_, K, M> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.state == AskState::Waiting || (self.state == AskState::New && self.until != 0) {
            // Nobody waits any more: neither for room, nor for the reply, which is late when it comes.
            self.ctx.at(self.site);
            self.ctx.lead(|_, frame| {
                frame.waiting = Waiting::Nothing;
                frame.asks = frame.asks.wrapping_add(1);
            });
        }
    }
}

/// Waits until the ring to a worker has room.
struct WaitForRoom<'c, 'a> {
    ctx: &'c mut RingContext<'a>,
    peer: u16,
    until: u64,
    waited: bool,
    site: Site,
}

impl Future for WaitForRoom<'_, '_> {
    type Output = Result<()>;
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        if self.waited {
            return Poll::Ready(if self.ctx.frame().timed_out { Err(KernelError::Deadline) } else { Ok(()) });
        }
        self.waited = true;
        let (peer, until) = (u32::from(self.peer), self.until);
        self.ctx.at(self.site);
        self.ctx.lead(|_, frame| frame.wait_for_room(peer, until));
        Poll::Pending
    }
}

impl Drop for WaitForRoom<'_, '_> {
    fn drop(&mut self) {
        if self.waited {
            self.ctx.lead(|_, frame| frame.waiting = Waiting::Nothing);
        }
    }
}

/// A pause of a handler; await it.
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep<'c, 'a> {
    ctx: &'c mut RingContext<'a>,
    time: u64,
    started: bool,
    site: Site,
}

impl Future for Sleep<'_, '_> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.started {
            return if self.time == 0 || self.ctx.frame().timed_out { Poll::Ready(()) } else { Poll::Pending };
        }
        self.started = true;
        let time = self.time;
        self.ctx.at(self.site);
        if time > 0 {
            with_team!(self.ctx.team, |team, _F| team.note(|| time));
            self.ctx.lead(|worker, frame| {
                frame.waiting = Waiting::Time;
                frame.timed_out = false;
                frame.wake_at = worker.clock().saturating_add(time);
            });
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_, '_> {
    fn drop(&mut self) {
        if self.started && self.time > 0 {
            self.ctx.at(self.site);
            self.ctx.lead(|_, frame| frame.waiting = Waiting::Nothing);
        }
    }
}
