//! The end of one actor while its worker goes on, and its restart.
//!
//! ```text
//!             restart                    a message ends, nothing suspended
//!            ┌────────► Starting ─────► Running ◄──────────────────────────┐
//!            │              │ error        │ panic, stop, drain, kill      │
//!            │              ▼              ▼                               │
//!       ┌── Held ◄──── supervised? ◄── Draining / Ending: what waits is handled / refused, `shutdown` runs
//!  rest │    │              │ no
//!       ▼    │ end          ▼
//!  Resting ──┴─────────► Stopped, or the slot is free again (spawned)
//! ```
//! A resting actor can start again too, once it has refused what waited for it.
//!
//! An actor that changes is put into the list of ready actors, whatever it does; [`Worker::change`] takes it one step on when its turn
//! comes. So nothing on the way of an ordinary message asks about it.

use super::life::HOOK;
use super::{List, Step, Worker};
use crate::address::ActorId;
use crate::error::KernelError;
use crate::exit::ExitReason;
use crate::frame::{NONE, OP_END, OP_HANDLE, OP_INITIALIZE, OP_SHUTDOWN, OP_START, Outcome, Waiting};
use crate::mailbox::{HELD, Status, mark};
use crate::message::{Header, Malformed, RingMessage, deadline_passed};
use crate::team::Fabric;

/// Control operation: an actor ends. Answered at once; the end itself is a [`Notice`](super::Notice).
pub const CONTROL_END: u16 = 5;
/// Control operation: a held actor starts again, with the state it has: `initialize` runs, then what waits is handled.
pub const CONTROL_RESTART: u16 = 6;
/// Control operation: a held actor rests: what waits is refused, and it can start again. When nothing waits any more, the host is told
/// once more that it is held.
pub const CONTROL_REST: u16 = 8;
/// Control operation: the host hears of the actor's end, whoever launched it.
pub const CONTROL_WATCH: u16 = 7;

/// How an actor ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum How {
    /// What waits is handled first; what comes is refused.
    Drain = 0,
    /// What waits is refused; a suspended handler goes on to its end.
    Stop = 1,
    /// As `Stop`, but a suspended handler is dropped and `shutdown` does not run.
    Kill = 2,
}

/// Which actor ends, starts again or is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Slot of the actor.
    pub slot: u32,
    /// Generation of the slot.
    pub generation: u16,
    /// How it ends.
    pub how: How,
    /// Also if it is supervised: it is not held.
    pub for_good: bool,
}

impl RingMessage for End {
    const SIZE: usize = 8;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 5;
    fn encode(&self, out: &mut [u8]) {
        let how = u64::from(self.how as u8) | u64::from(self.for_good) << 8;
        (u64::from(self.slot) | u64::from(self.generation) << 32 | how << 48).encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let word = u64::decode(bytes)?;
        let how = match word >> 48 & 0xff {
            0 => How::Drain,
            1 => How::Stop,
            2 => How::Kill,
            _ => return Err(Malformed),
        };
        Ok(Self { slot: word as u32, generation: (word >> 32) as u16, how, for_good: word >> 56 & 1 == 1 })
    }
}

impl Worker {
    /// Carries out [`CONTROL_END`], [`CONTROL_RESTART`], [`CONTROL_REST`] or [`CONTROL_WATCH`] and answers it.
    #[cold]
    #[inline(never)]
    pub(super) fn control_one(&mut self, header: &Header, what: Result<End, Malformed>) -> Step {
        let Ok(what) = what else {
            self.answer_control(header, Outcome::refused(KernelError::Malformed), &());
            return Step::Again;
        };
        let id = ActorId { slot: what.slot, generation: what.generation, worker: self.index as u16 };
        let done = match header.tag {
            CONTROL_END => self.end(id, &what, ExitReason::Shutdown),
            CONTROL_RESTART => self.restart(id),
            CONTROL_REST => self.let_rest(id),
            _ => self.watch(id),
        };
        let outcome = match done {
            Ok(()) => Outcome::failed(KernelError::Malformed),
            Err(error) => Outcome::refused(error),
        };
        self.answer_control(header, outcome, &());
        // SAFETY: `end` checked the slot.
        let frame = unsafe { if done.is_ok() { (*self.actor(what.slot)).frame } else { NONE } };
        // At once, also if no frame is free: then this frees one.
        if header.tag == CONTROL_END && what.how == How::Kill && frame < HELD { self.cancel_one(frame) } else { Step::Again }
    }

    /// The actor, if it is one that has not ended.
    fn living(&self, id: ActorId) -> Result<*mut crate::mailbox::Actor, KernelError> {
        if id.slot >= self.actor_capacity {
            return Err(KernelError::Stopped);
        }
        let actor = self.actor(id.slot);
        // SAFETY: the slot is in range, and only the leader is here.
        let (generation, status) = unsafe { ((*actor).generation, (*actor).status) };
        let starts = matches!(status, Status::Starting | Status::StartingLast);
        let lives =
            starts || matches!(status, Status::Running | Status::Held | Status::Resting | Status::Draining | Status::Ending);
        if generation == id.generation && lives { Ok(actor) } else { Err(KernelError::Stopped) }
    }

    /// Begins the end of an actor. `reason`, unless it is killed.
    pub(crate) fn end(&mut self, id: ActorId, what: &End, reason: ExitReason) -> Result<(), KernelError> {
        let actor = self.living(id)?;
        // SAFETY: the actor is this worker's, and only the leader is here.
        unsafe {
            if what.for_good {
                (*actor).marks &= !mark::SUPERVISED;
            }
            let ending = matches!((*actor).status, Status::Ending | Status::Draining | Status::StartingLast);
            let gone = matches!((*actor).status, Status::Held | Status::Resting);
            if gone && !what.for_good {
                // It has ended already, and its supervisor says what becomes of it: whoever waited for an end now might wait for good.
                return Err(KernelError::Stopped);
            }
            let starts = matches!((*actor).status, Status::Starting | Status::StartingLast);
            let initialises = starts && (*actor).frame != HELD && what.how != How::Kill;
            if what.how == How::Kill {
                (*actor).marks |= mark::KILL | mark::NO_SHUTDOWN;
            }
            // The first reason stays, but nothing outlives a kill; a held one has its reason.
            if what.how == How::Kill && !gone {
                ((*actor).reason, (*actor).detail) = ExitReason::Killed.to_parts();
            } else if !ending && !gone {
                ((*actor).reason, (*actor).detail) = reason.to_parts();
            }
            if starts && what.how == How::Drain {
                // What waits is handled, and no message is handled before `initialize` has ended.
                (*actor).status = Status::StartingLast;
                return Ok(());
            }
            if initialises {
                (*actor).marks |= mark::STOP;
                return Ok(());
            }
            if gone {
                (*actor).marks |= mark::NO_SHUTDOWN;
                // A planted bug, which the chaos test must find: what waits for a held actor that is let go is forgotten.
                #[cfg(warpring_canary)]
                while (*actor).pop(&mut self.nodes).is_some() {}
            }
            if (*actor).frame == HELD {
                // It has not begun, or has ended: there is nothing to clean up.
                (*actor).marks |= mark::NO_SHUTDOWN;
                (*actor).frame = NONE;
            }
            if what.how != How::Drain {
                (*actor).status = Status::Ending;
            } else if !ending {
                (*actor).status = Status::Draining;
            }
            self.push_ready(id.slot);
        }
        Ok(())
    }

    /// A handler ends its own actor, after this message.
    pub(crate) fn end_self(&mut self, slot: u32) {
        let actor = self.actor(slot);
        // SAFETY: a running frame's actor is this worker's.
        unsafe {
            match (*actor).status {
                Status::Running => {
                    ((*actor).reason, (*actor).detail) = ExitReason::Normal.to_parts();
                    (*actor).status = Status::Ending;
                }
                Status::Starting => {
                    ((*actor).reason, (*actor).detail) = ExitReason::Normal.to_parts();
                    (*actor).marks |= mark::STOP;
                }
                Status::StartingLast => (*actor).marks |= mark::STOP,
                // It ends already, after what waits: now without that.
                Status::Draining => (*actor).status = Status::Ending,
                _ => {}
            }
        }
    }

    fn restart(&mut self, id: ActorId) -> Result<(), KernelError> {
        let actor = self.living(id)?;
        // SAFETY: as in `end`.
        unsafe {
            if !matches!((*actor).status, Status::Held | Status::Resting) || (*actor).frame != HELD {
                return Err(KernelError::Overloaded);
            }
            (*actor).marks &= mark::SUPERVISED | mark::WATCHED | mark::SPAWNED;
            (*actor).status = Status::Starting;
        }
        self.end_timers_of(id.slot);
        self.push_ready(id.slot);
        Ok(())
    }

    fn let_rest(&mut self, id: ActorId) -> Result<(), KernelError> {
        let actor = self.living(id)?;
        // SAFETY: as in `end`.
        unsafe {
            if (*actor).status != Status::Held {
                return Err(KernelError::Overloaded);
            }
            ((*actor).status, (*actor).frame) = (Status::Resting, NONE);
        }
        self.push_ready(id.slot);
        Ok(())
    }

    fn watch(&mut self, id: ActorId) -> Result<(), KernelError> {
        let actor = self.living(id)?;
        // SAFETY: as in `end`.
        unsafe {
            if (*actor).status == Status::Resting {
                return Err(KernelError::Stopped);
            }
            (*actor).marks |= mark::WATCHED;
        }
        Ok(())
    }

    /// The next step of an actor that is not simply running. It was just taken from the list of ready actors, and there is a free
    /// frame.
    #[cold]
    #[inline(never)]
    pub(super) fn change<F: Fabric>(&mut self, slot: u32) -> Step {
        let actor = self.actor(slot);
        // SAFETY: the actor is this worker's, and only the leader is here.
        unsafe {
            if (*actor).frame != NONE && (*actor).frame != HELD {
                // Its handler is suspended; it comes here again when that has ended.
                if (*actor).marks & mark::KILL == 0 {
                    return Step::Again;
                }
                return self.cancel_one((*actor).frame);
            }
            match (*actor).status {
                Status::Starting | Status::StartingLast => self.start(slot),
                Status::Held => {
                    if (*actor).marks & mark::NEWS != 0 {
                        if self.notify_end::<F>(slot, true) {
                            (*actor).marks &= !mark::NEWS;
                        } else {
                            self.push_ready(slot);
                        }
                    }
                    Step::Again
                }
                Status::Resting if (*actor).waiting == 0 && (*actor).frame == NONE => {
                    if self.notify_end::<F>(slot, true) {
                        (*actor).frame = HELD;
                    } else {
                        self.push_ready(slot);
                    }
                    Step::Again
                }
                Status::Draining if (*actor).waiting > 0 => {
                    let Some(request) = (*actor).pop(&mut self.nodes) else { return Step::Again };
                    let header = request.packed();
                    if deadline_passed(header.deadline(), self.now) {
                        return self.turn_away::<F>(slot, request, KernelError::Deadline);
                    }
                    self.begin(slot, OP_HANDLE, header, request)
                }
                _ if (*actor).waiting > 0 => {
                    let Some(request) = (*actor).pop(&mut self.nodes) else { return Step::Again };
                    self.turn_away::<F>(slot, request, KernelError::Stopped)
                }
                Status::Draining | Status::Ending => {
                    let hook = self.kind_table((*actor).kind).has_shutdown && (*actor).marks & mark::NO_SHUTDOWN == 0;
                    if hook {
                        // Once.
                        (*actor).marks |= mark::NO_SHUTDOWN;
                        (*actor).status = Status::Ending;
                        return self.begin(slot, OP_END, HOOK, self.nothing());
                    }
                    self.ended::<F>(slot);
                    Step::Again
                }
                _ => Step::Again,
            }
        }
    }

    /// `initialize` of an actor that was spawned or restarted begins, if it has one.
    fn start(&mut self, slot: u32) -> Step {
        let actor = self.actor(slot);
        // SAFETY: as in `change`.
        unsafe {
            if (*actor).frame != HELD {
                // It runs already.
                return Step::Again;
            }
            (*actor).frame = NONE;
            if self.kind_table((*actor).kind).has_initialize {
                return self.begin(slot, OP_START, HOOK, self.nothing());
            }
            (*actor).status = (*actor).status.started();
            if (*actor).waiting > 0 || (*actor).status != Status::Running {
                self.push_ready(slot);
            }
        }
        Step::Again
    }

    /// Drops the suspended handler of an actor that is killed.
    fn cancel_one(&mut self, index: u32) -> Step {
        let frame = self.frame(index);
        // SAFETY: the frame is this worker's.
        unsafe {
            if (*frame).op == OP_SHUTDOWN || (*frame).op == OP_INITIALIZE {
                // Somebody waits for these; they end by themselves.
                return Step::Again;
            }
            self.resumable = self.without(self.resumable, index);
            self.flushing = self.without(self.flushing, index);
            (*frame).waiting = Waiting::Nothing;
        }
        self.current.set(index);
        Step::Cancel(index)
    }

    /// A list of frames, without this one.
    fn without(&mut self, list: List, index: u32) -> List {
        let mut rest = List::EMPTY;
        let mut at = list.head;
        while at != NONE {
            // SAFETY: listed frames are this worker's.
            let next = unsafe { (*self.frame(at)).next };
            if at != index {
                self.push_frame(&mut rest, at);
            }
            at = next;
        }
        rest
    }

    /// A hook has ended.
    #[cold]
    #[inline(never)]
    pub(super) fn hook_ended(&mut self, op: u8, slot: u32, failure: Option<KernelError>) {
        match op {
            OP_INITIALIZE => self.initialized(slot, failure),
            OP_SHUTDOWN => self.shut_down(),
            OP_START => self.started(slot, failure),
            // `OP_END`: what its `shutdown` says changes nothing any more, as in a worker's stop.
            _ => {}
        }
        let actor = self.actor(slot);
        // SAFETY: the actor is this worker's.
        if unsafe { (*actor).waiting > 0 || (*actor).status != Status::Running } {
            self.push_ready(slot);
        }
    }

    /// `initialize` of a spawned or restarted actor ended.
    fn started(&mut self, slot: u32, failure: Option<KernelError>) {
        let actor = self.actor(slot);
        // SAFETY: the actor is this worker's.
        unsafe {
            if !matches!((*actor).status, Status::Starting | Status::StartingLast) {
                // It was killed, or the worker stops.
                return;
            }
            let Some(error) = failure else {
                (*actor).status = if (*actor).marks & mark::STOP == 0 { (*actor).status.started() } else { Status::Ending };
                return;
            };
            let reason = match error {
                KernelError::Panicked { line } => ExitReason::Panicked { line },
                error => ExitReason::Initialize(error),
            };
            self.crashed(slot, reason);
        }
    }

    /// An actor has crashed, and its frame is free: it is held for its supervisor, or it ends without `shutdown`.
    pub(super) fn crashed(&mut self, slot: u32, reason: ExitReason) {
        let actor = self.actor(slot);
        // SAFETY: the actor is this worker's, and only the leader is here.
        unsafe {
            if matches!((*actor).status, Status::Stopping | Status::Stopped | Status::Free) {
                return;
            }
            ((*actor).reason, (*actor).detail) = reason.to_parts();
            if (*actor).marks & mark::SUPERVISED != 0 {
                self.hold(slot);
            } else {
                (*actor).marks |= mark::NO_SHUTDOWN;
                (*actor).status = Status::Ending;
            }
            self.push_ready(slot);
        }
    }

    /// A supervised actor has ended: its messages wait, and the host is told.
    fn hold(&mut self, slot: u32) {
        let actor = self.actor(slot);
        // SAFETY: as in `crashed`.
        unsafe {
            (*actor).status = Status::Held;
            (*actor).frame = HELD;
            (*actor).marks |= mark::NEWS;
        }
    }

    /// Nothing of the actor is left to do.
    fn ended<F: Fabric>(&mut self, slot: u32) {
        let actor = self.actor(slot);
        // SAFETY: as in `crashed`.
        unsafe {
            if (*actor).marks & mark::SUPERVISED != 0 {
                self.hold(slot);
                return self.push_ready(slot);
            }
            let spawned = (*actor).marks & mark::SPAWNED != 0;
            if (!spawned || (*actor).marks & mark::WATCHED != 0) && !self.notify_end::<F>(slot, false) {
                // The host takes what it is told all the while; what comes meanwhile is refused.
                return self.push_ready(slot);
            }
            (*actor).status = Status::Stopped;
            if spawned {
                self.free_spawned(slot);
            }
        }
    }

    /// Tells the host how an actor ended, and whether it is held. False: later.
    fn notify_end<F: Fabric>(&mut self, slot: u32, held: bool) -> bool {
        let actor = self.actor(slot);
        // SAFETY: as in `crashed`.
        let (generation, code, detail) = unsafe { ((*actor).generation, (*actor).reason, (*actor).detail) };
        let Some(reason) = ExitReason::from_parts(code, detail) else { return true };
        let actor = ActorId { slot, generation, worker: self.index as u16 };
        self.notify::<F>(&super::Notice::Ended { actor, reason, held })
    }

    /// A worker that stops: actors that change have nothing more to come, and their own `shutdown` is one that the stop waits for.
    /// Returns how many such run.
    pub(super) fn adopt_ends(&mut self) -> u32 {
        let mut running = 0;
        for index in 0..self.frame_count {
            let frame = self.frame(index);
            // SAFETY: the frame is this worker's.
            unsafe {
                if (*frame).in_use && (*frame).op == OP_END {
                    (*frame).op = OP_SHUTDOWN;
                    running += 1;
                }
            }
        }
        running
    }
}
