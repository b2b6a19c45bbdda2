//! Actors come and go: adoption with `initialize`, `shutdown`, probes, and what is left after a panic.

use super::copy::Turn;
use super::{
    CONTROL_CHANGE, CONTROL_COPY, CONTROL_COUNTS, CONTROL_END, CONTROL_PUBLISH, CONTROL_REST, CONTROL_RESTART, CONTROL_WATCH,
    CopyRows, Counters, List, Step, Worker,
};
use crate::address::ActorId;
use crate::error::KernelError;
use crate::exit::ExitReason;
use crate::frame::{Frame, NONE, OP_HANDLE, OP_INITIALIZE, OP_SHUTDOWN, Outcome, Waiting};
use crate::mailbox::{Actor, HELD, Status, mark};
use crate::message::{Header, Kind, Malformed, Packed, RingMessage, encode, lines_for};
use crate::module::KindTable;
use crate::post::Left;
use crate::ring::{Consumer, Lines, publish_cell};
use crate::scoped::System;
use crate::team::Fabric;

/// Control operation: take in actors.
pub const CONTROL_ADOPT: u16 = 1;
/// Control operation: say what is going on.
pub const CONTROL_PROBE: u16 = 2;
/// Control operation: as [`CONTROL_PROBE`], and from now on no timer fires: the runtime shuts down.
pub const CONTROL_DRAIN: u16 = 16;
/// Control operation: from now on no handler begins; what waits in mailboxes is refused, suspended handlers are dropped and
/// whoever asked them gets [`KernelError::Stopped`]; then every `shutdown` runs, then the worker ends. To let actors finish
/// their work, wait until probes report none before.
pub const CONTROL_STOP: u16 = 3;

/// The request of a hook: from nobody, for no handler.
pub(super) const HOOK: Packed = Packed { what: Kind::Control as u64 | 1 << 8, to: 0, reply: 0, from: 0 };

/// Slots that one step fills, so that a large launch does not hold up messages for long.
const ADOPT_CHUNK: u32 = 1024;
/// How often `finish` looks for room for the answers to asks of other workers, over all of them.
const PATIENCE: u32 = if cfg!(miri) { 64 } else { 1 << 16 };
/// Slots that one step of a stop looks through.
const STOP_CHUNK: u32 = 4096;

/// `Adopt::flags`: when one of the actors has ended it is held, until the host says what becomes of it.
pub const ADOPT_SUPERVISED: u16 = mark::SUPERVISED as u16;
/// `Adopt::flags`: handlers had spawned them. Of several such launches those with the highest slots come first.
pub const ADOPT_SPAWNED: u16 = mark::SPAWNED as u16;
/// `Adopt::flags`: the values are those of actors whose `initialize` has run.
pub const ADOPT_RESTORED: u16 = 8;

/// A launch, as a worker sees it: `count` actors from slot `slot` on, their values side by side in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopt {
    /// First slot.
    pub slot: u32,
    /// How many.
    pub count: u32,
    /// Address of the first value.
    pub state: u64,
    /// Bytes from one value to the next.
    pub stride: u32,
    /// Kind, as in the module.
    pub kind: u16,
    /// Messages that each mailbox holds.
    pub capacity: u16,
    /// Generation of the slots.
    pub generation: u16,
    /// [`ADOPT_SUPERVISED`], [`ADOPT_SPAWNED`] and [`ADOPT_RESTORED`], or 0.
    pub flags: u16,
}

impl RingMessage for Adopt {
    const SIZE: usize = 32;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 1;
    fn encode(&self, out: &mut [u8]) {
        [
            u64::from(self.slot) | u64::from(self.count) << 32,
            self.state,
            u64::from(self.stride),
            u64::from(self.kind)
                | u64::from(self.capacity) << 16
                | u64::from(self.generation) << 32
                | u64::from(self.flags) << 48,
        ]
        .encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let w = <[u64; 4]>::decode(bytes)?;
        Ok(Self {
            slot: w[0] as u32,
            count: (w[0] >> 32) as u32,
            state: w[1],
            stride: w[2] as u32,
            kind: w[3] as u16,
            capacity: (w[3] >> 16) as u16,
            generation: (w[3] >> 32) as u16,
            flags: (w[3] >> 48) as u16,
        })
    }
}

/// The answer to a probe: a worker's counters, and what it still has to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Since the start.
    pub counters: Counters,
    /// Frames in use: handlers that run or are suspended, and replies that wait for room.
    pub frames: u32,
    /// Messages in mailboxes, and ports with messages that were not looked at yet.
    pub waiting: u32,
}

impl RingMessage for Report {
    const SIZE: usize = 64;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 2;
    fn encode(&self, out: &mut [u8]) {
        let c = &self.counters;
        [
            c.handled,
            c.sent,
            c.received,
            c.late,
            c.refused,
            c.panics,
            c.suspended,
            u64::from(self.frames) | u64::from(self.waiting) << 32,
        ]
        .encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let [handled, sent, received, late, refused, panics, suspended, now] = <[u64; 8]>::decode(bytes)?;
        let counters = Counters { handled, sent, received, late, refused, panics, suspended };
        Ok(Self { counters, frames: now as u32, waiting: (now >> 32) as u32 })
    }
}

/// A launch or a stop in progress.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Life {
    phase: Phase,
    /// There is a [`Worker::copy`].
    copying: bool,
    /// One of both: what is asked between two messages.
    busy: bool,
    adopt: Adopt,
    /// Slots done, in an adoption; slots looked at, in a stop.
    next: u32,
    /// Hooks that run now.
    pending: u32,
    error: Option<KernelError>,
    request: Header,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    #[default]
    Normal,
    Adopting,
    /// Actors are told that no message begins any more.
    Stopping,
    /// Suspended handlers are dropped.
    Cancelling,
    /// `shutdown` runs.
    Closing,
    Stopped,
}

impl Life {
    #[inline(always)]
    pub(super) fn busy(&self) -> bool {
        self.busy
    }

    pub(super) fn copies(&mut self, copying: bool) {
        self.copying = copying;
        self.enter(self.phase);
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.busy = phase != Phase::Normal || self.copying;
    }

    /// The worker stops, or has stopped.
    pub(super) fn stops(&self) -> bool {
        !matches!(self.phase, Phase::Normal | Phase::Adopting)
    }
}

impl Worker {
    /// A control message, or a probe of another worker's, at the head of `ring`. `None`: it has to wait, because another one is being
    /// carried out. A probe never waits, and a stop does not wait for an `initialize` that may not end.
    #[cold]
    #[inline(never)]
    pub(super) fn control<F: Fabric>(&mut self, ring: &mut Consumer, lines: Lines) -> Option<Step> {
        // SAFETY: `peek` acquired the lines.
        let header = unsafe { lines.header() };
        if header.kind() != Kind::Control as u8 {
            if header.kind() == Kind::Probe as u8 {
                self.probed::<F>(ring, &header.pack(), lines);
                return Some(Step::Again);
            }
            // SAFETY: `peek` acquired the lines.
            let step = unsafe { self.serve_peer::<F>(&header, lines) }?;
            ring.advance(header.lines);
            return Some(step);
        }
        if matches!(header.tag, CONTROL_CHANGE | CONTROL_PUBLISH | CONTROL_COUNTS) {
            return self.directory_control::<F>(ring, lines);
        }
        let at_once = match header.tag {
            CONTROL_PROBE | CONTROL_DRAIN | CONTROL_END | CONTROL_RESTART | CONTROL_REST | CONTROL_WATCH => true,
            CONTROL_STOP => self.life.phase == Phase::Adopting,
            CONTROL_COPY => self.copy.is_none(),
            _ => false,
        };
        let waits = self.life.phase != Phase::Normal || header.tag == CONTROL_COPY;
        if waits && !at_once {
            return None;
        }
        match header.tag {
            CONTROL_ADOPT => {
                // SAFETY: `peek` acquired the lines.
                let adopt = unsafe { lines.decode::<Adopt>(header.lines) };
                match adopt.map_err(|Malformed| KernelError::Malformed).and_then(|adopt| self.fits(adopt)) {
                    Ok(adopt) => {
                        let copying = self.life.copying;
                        self.life = Life {
                            phase: Phase::Adopting,
                            copying,
                            busy: true,
                            adopt,
                            next: 0,
                            pending: 0,
                            error: None,
                            request: header,
                        };
                        if adopt.flags & ADOPT_SPAWNED != 0 {
                            self.spawned.restore(&adopt);
                        } else {
                            self.actors_used = self.actors_used.max(adopt.slot + adopt.count);
                        }
                    }
                    Err(error) => self.answer_control(&header, Outcome::refused(error), &()),
                }
            }
            CONTROL_PROBE | CONTROL_DRAIN => {
                if header.tag == CONTROL_DRAIN {
                    self.stop_timers();
                }
                let report =
                    Report { counters: self.counters, frames: self.frames_used, waiting: self.nodes.used + self.unread::<F>() };
                self.answer_control(&header, Outcome::failed(KernelError::Malformed), &report);
            }
            CONTROL_COPY => {
                // SAFETY: `peek` acquired the lines.
                let what = unsafe { lines.decode::<CopyRows>(header.lines) };
                ring.advance(header.lines);
                return Some(self.begin_copy(&header, what));
            }
            CONTROL_END | CONTROL_RESTART | CONTROL_REST | CONTROL_WATCH => {
                // SAFETY: `peek` acquired the lines.
                let what = unsafe { lines.decode::<super::End>(header.lines) };
                ring.advance(header.lines);
                return Some(self.control_one(&header, what));
            }
            CONTROL_STOP => {
                if self.life.phase == Phase::Adopting {
                    let launch = self.life.request;
                    self.answer_control(&launch, Outcome::refused(KernelError::Stopped), &());
                }
                let (copying, adopt) = (self.life.copying, Adopt::default());
                self.life = Life {
                    phase: Phase::Stopping,
                    copying,
                    busy: true,
                    next: 0,
                    pending: 0,
                    error: None,
                    request: header,
                    adopt,
                };
            }
            _ => self.answer_control(&header, Outcome::refused(KernelError::Malformed), &()),
        }
        ring.advance(header.lines);
        Some(Step::Again)
    }

    /// Rings of the host that hold a message which was not looked at yet.
    pub(super) fn unread<F: Fabric>(&mut self) -> u32 {
        // SAFETY: `1 + MAX_PORTS` inlets (contract of `init`), and nothing else refers to the ports' rings now.
        unsafe {
            let open = (*self.open_ports).acquire::<F::Host>();
            let ports = (0..super::MAX_PORTS).filter(|port| open & 1 << port != 0);
            ports.filter(|port| (*self.inlets.add(1 + port)).peek::<F::Host>().is_some()).count() as u32
        }
    }

    fn fits(&self, adopt: Adopt) -> Result<Adopt, KernelError> {
        // SAFETY: the module outlives the worker.
        let kinds = unsafe { (&*self.module).kinds.len() };
        let end = adopt.slot.checked_add(adopt.count).filter(|end| *end <= self.actor_capacity);
        match end {
            Some(end) if usize::from(adopt.kind) < kinds => {
                // From there on live actors that handlers have spawned.
                if end <= self.spawned.low { Ok(adopt) } else { Err(KernelError::TooManyActors) }
            }
            _ => Err(KernelError::Malformed),
        }
    }

    /// Answers a control message with a value (if `outcome` is no refusal), and wakes whoever waits.
    pub(super) fn answer_control<R: RingMessage>(&mut self, request: &Header, outcome: Outcome, value: &R) {
        encode(value, |parcel| {
            let refused = outcome.kind() == Kind::Refused;
            let header = Header {
                kind: if refused { Kind::Refused as u8 } else { Kind::Reply as u8 },
                lines: lines_for(R::SIZE) as u8,
                tag: outcome.code,
                sender: outcome.detail,
                correlation: request.correlation,
                ..Header::default()
            };
            // SAFETY: the host holds the cell for this request until it is answered; its lines hold the largest message of the
            // module, and a report (see `ModuleTable::max_lines`).
            unsafe {
                let cell = self.cells.add(request.correlation as usize * self.cell_lines as usize);
                publish_cell::<System>(cell, request.sender, &header, parcel);
                #[cfg(not(target_arch = "nvptx64"))]
                (self.hooks.wake_cell)(self.hooks.data, request.correlation);
            }
        });
    }

    /// One step of a copy, a launch or a stop; other work goes on between the steps.
    #[cold]
    #[inline(never)]
    pub(super) fn live<F: Fabric>(&mut self) -> Step {
        let turn = if self.life.copying { self.copy_turn() } else { Turn::Waits };
        if matches!(turn, Turn::Copies) {
            return Step::Copy;
        }
        let step = match self.life.phase {
            Phase::Normal => Step::Idle,
            Phase::Adopting => self.adopt_some(),
            Phase::Stopping => self.mark_some(),
            Phase::Cancelling => self.cancel_next(),
            Phase::Closing => self.shut_some(),
            Phase::Stopped => Step::Exit,
        };
        match step {
            Step::Exit => {
                if F::GRID {
                    self.post_exit::<F>(Left::Stopped);
                }
                Step::Exit
            }
            // Waiting for hooks that are suspended: serve the rings meanwhile.
            Step::Idle => match self.take::<F>() {
                // There is something to do: the next turn is the copy's.
                Step::Idle if matches!(turn, Turn::GivesWay) => Step::Again,
                step => step,
            },
            step => step,
        }
    }

    pub(super) fn kind_table(&self, kind: u16) -> &KindTable {
        // SAFETY: the module outlives the worker; `fits` checked the kind.
        unsafe {
            let module = &*self.module;
            &module.kinds[usize::from(kind)]
        }
    }

    fn adopt_some(&mut self) -> Step {
        let Adopt { slot, count, state, stride, kind, capacity, generation, flags } = self.life.adopt;
        let table = self.kind_table(kind);
        let (bytes, has_initialize) = (table.bytes, table.has_initialize && flags & ADOPT_RESTORED == 0);
        let marks = flags as u8 & (mark::SUPERVISED | mark::SPAWNED);
        let mut filled = 0;
        while self.life.next < count && filled < ADOPT_CHUNK {
            if has_initialize && self.frame_free == NONE {
                break;
            }
            let number = self.life.next;
            let at = slot + number;
            // SAFETY: `fits` checked the slots.
            let tenant = unsafe { &*self.actor(at) };
            match tenant.status {
                Status::Free => {}
                // What waits for the one before is refused first, and it leaves the list of ready actors.
                Status::Failed | Status::Stopped if tenant.ready || tenant.waiting > 0 || tenant.frame != NONE => break,
                Status::Failed | Status::Stopped => {}
                _ => {
                    self.life.error = self.life.error.or(Some(KernelError::Malformed));
                    self.life.next += 1;
                    filled += 1;
                    continue;
                }
            }
            let state = (state as usize + number as usize * stride as usize) as *mut u8;
            let actor = Actor {
                status: if has_initialize { Status::Starting } else { Status::Running },
                ..Actor::new(state, kind, generation, bytes, capacity, marks)
            };
            // SAFETY: `fits` checked the slots, and nobody lives there any more.
            unsafe { self.actor(at).write(actor) }
            self.life.next += 1;
            filled += 1;
            if has_initialize {
                self.life.pending += 1;
                return self.begin(at, OP_INITIALIZE, HOOK, self.nothing());
            }
        }
        if self.life.next == count && self.life.pending == 0 {
            let request = self.life.request;
            let outcome = match self.life.error {
                None => Outcome::failed(KernelError::Malformed),
                Some(error) => Outcome::refused(error),
            };
            self.life.enter(Phase::Normal);
            self.answer_control(&request, outcome, &());
            return Step::Again;
        }
        if filled > 0 { Step::Again } else { Step::Idle }
    }

    /// The request of a hook: hooks have none, and nothing reads it.
    pub(super) fn nothing(&self) -> Lines {
        // SAFETY: any live line will do; hooks read no request.
        unsafe { Lines::flat((*self.frame(0)).buffer) }
    }

    /// From here on no message begins: what waits in mailboxes is refused when its turn comes.
    fn mark_some(&mut self) -> Step {
        for _ in 0..STOP_CHUNK {
            let slot = self.used_from(self.life.next);
            if slot >= self.actor_capacity {
                break;
            }
            self.life.next = slot + 1;
            self.mark(slot);
        }
        if self.used_from(self.life.next) >= self.actor_capacity {
            self.freeze();
            self.life.next = 0;
            self.life.enter(Phase::Cancelling);
        }
        Step::Again
    }

    /// What waits for one actor is refused from here on.
    fn mark(&mut self, slot: u32) {
        let actor = self.actor(slot);
        // SAFETY: the slot is in range.
        unsafe {
            let hook = self.kind_table((*actor).kind).has_shutdown && (*actor).marks & mark::NO_SHUTDOWN == 0;
            match (*actor).status {
                Status::Running | Status::Draining | Status::Ending if hook => (*actor).status = Status::Stopping,
                // It has not begun, or has ended already.
                Status::Starting | Status::StartingLast | Status::Held | Status::Resting if (*actor).frame == HELD => {
                    (*actor).frame = NONE;
                    (*actor).status = Status::Stopped;
                }
                Status::Running | Status::Resting | Status::Draining | Status::Ending => (*actor).status = Status::Stopped,
                _ => return,
            }
            if (*actor).waiting > 0 && (*actor).frame == NONE {
                self.push_ready(slot);
            }
        }
    }

    /// Takes every frame that waits for something out of all lists, so that nothing wakes it; only replies that wait for room
    /// stay.
    fn freeze(&mut self) {
        self.life.pending = self.adopt_ends();
        let mut at = core::mem::replace(&mut self.resumable, List::EMPTY).first();
        while at != NONE {
            let frame = self.frame(at);
            // SAFETY: a listed frame is this worker's.
            unsafe {
                let next = (*frame).next;
                if (*frame).op == OP_SHUTDOWN {
                    self.push_resumable(at);
                }
                at = next;
            }
        }
        self.flushing = List::EMPTY;
        for index in 0..self.frame_count {
            let frame = self.frame(index);
            // SAFETY: the frame is this worker's.
            unsafe {
                if (*frame).in_use {
                    if (*frame).waiting == Waiting::Flush || (*frame).op == OP_SHUTDOWN && (*frame).waiting == Waiting::Room {
                        self.push_flushing(index);
                    } else if (*frame).op != OP_SHUTDOWN {
                        (*frame).waiting = Waiting::Nothing;
                    }
                }
            }
        }
    }

    /// Drops suspended handlers, one at a step.
    fn cancel_next(&mut self) -> Step {
        while self.life.next < self.frame_count {
            let index = self.life.next;
            self.life.next += 1;
            let frame = self.frame(index);
            // SAFETY: the frame is this worker's.
            if unsafe { (*frame).in_use && (*frame).waiting != Waiting::Flush && (*frame).op != OP_SHUTDOWN } {
                self.current.set(index);
                return Step::Cancel(index);
            }
        }
        self.life.next = 0;
        self.life.enter(Phase::Closing);
        Step::Again
    }

    /// A suspended handler was dropped.
    #[cold]
    #[inline(never)]
    pub(crate) fn cancelled<F: Fabric>(&mut self, frame: *mut Frame) {
        // SAFETY: `freeze` took the frame out of all lists, and `cancel_next` chose it.
        unsafe { self.give_up::<F>(frame, KernelError::Interrupted) }
    }

    fn shut_some(&mut self) -> Step {
        let mut looked = 0;
        while looked < STOP_CHUNK {
            let slot = self.used_from(self.life.next);
            self.life.next = slot;
            if slot >= self.actor_capacity {
                break;
            }
            let actor = self.actor(slot);
            // SAFETY: the slot is in range.
            unsafe {
                if (*actor).status == Status::Stopping {
                    if (*actor).waiting > 0 {
                        // It is in the list of ready actors; its messages are refused first.
                        return if self.frame_free == NONE { Step::Idle } else { Step::Again };
                    }
                    if self.frame_free == NONE {
                        break;
                    }
                    (*actor).status = Status::Stopped;
                    self.life.next += 1;
                    self.life.pending += 1;
                    return self.begin(slot, OP_SHUTDOWN, HOOK, self.nothing());
                }
            }
            self.life.next += 1;
            looked += 1;
        }
        if self.used_from(self.life.next) >= self.actor_capacity && self.life.pending == 0 {
            self.life.enter(Phase::Stopped);
            return Step::Exit;
        }
        if looked > 0 { Step::Again } else { Step::Idle }
    }

    /// `initialize` of an actor ended.
    pub(super) fn initialized(&mut self, slot: u32, error: Option<KernelError>) {
        let actor = self.actor(slot);
        // SAFETY: the slot is this worker's.
        unsafe {
            let ends = (*actor).marks & (mark::STOP | mark::KILL) != 0;
            (*actor).status = match error {
                Some(_) => Status::Failed,
                None if self.life.phase == Phase::Adopting && ends => Status::Ending,
                None if self.life.phase == Phase::Adopting => (*actor).status.started(),
                // A stop has come meanwhile.
                None if self.kind_table((*actor).kind).has_shutdown => Status::Stopping,
                None => Status::Stopped,
            }
        }
        if self.life.phase != Phase::Adopting {
            return;
        }
        self.life.pending -= 1;
        if self.life.error.is_none() {
            self.life.error = error;
        }
    }

    /// `shutdown` of an actor ended.
    pub(super) fn shut_down(&mut self) {
        self.life.pending -= 1;
    }

    /// The actor whose handler or hook runs now.
    pub fn running(&self) -> Option<ActorId> {
        let current = self.current.get();
        if current == NONE {
            return None;
        }
        // SAFETY: a running frame and its actor are this worker's.
        unsafe {
            let slot = (*self.frame(current)).actor;
            Some(ActorId { slot, generation: (*self.actor(slot)).generation, worker: self.index as u16 })
        }
    }

    /// Takes over after a panic: the actor whose handler ran is failed, its message is answered. What waits for it is refused when
    /// the worker runs again.
    /// Returns the actor's slot, or `None` if no handler ran, in which case the panic is the scheduler's own.
    ///
    /// # Safety
    /// Nobody runs the worker.
    pub unsafe fn recover<F: Fabric>(&mut self, line: u32) -> Option<u32> {
        let index = self.current.get();
        self.current.set(NONE);
        if index == NONE {
            return None;
        }
        let frame: *mut Frame = self.frame(index);
        self.counters.panics += 1;
        // SAFETY: the frame and its actor are this worker's, and nobody runs it. The future is not dropped: its values were, by
        // the unwinding.
        unsafe {
            let (slot, handled) = ((*frame).actor, (*frame).op == OP_HANDLE);
            self.give_up::<F>(frame, KernelError::Panicked { line });
            if handled {
                self.crashed(slot, ExitReason::Panicked { line });
            }
            Some(slot)
        }
    }

    /// Ends a frame whose handler or hook will not: whoever asked gets the error, a tell becomes a dead letter.
    ///
    /// # Safety
    /// The frame is in use, its future is gone, and it is in no list.
    unsafe fn give_up<F: Fabric>(&mut self, frame: *mut Frame, error: KernelError) {
        self.current.set(NONE);
        self.idle_rounds = 0;
        self.began = false;
        self.complete::<F>(frame, Outcome::failed(error), true);
    }

    /// Refuses a message of a worker that has ended. A worker that has ended too takes no replies, so the wait for room is bounded;
    /// its asks are answered by its own `finish`.
    fn refuse_at_last<F: Fabric>(&mut self, header: &Packed, lines: Lines, patience: &mut u32) {
        while !self.refuse::<F>(header, lines, KernelError::Stopped) {
            if *patience == 0 {
                self.counters.late += 1;
                return;
            }
            *patience -= 1;
            self.take_all_replies::<F>();
            core::hint::spin_loop();
        }
    }

    /// After the end: refuses everything that was accepted and will not be handled any more, and answers the stop. May be called
    /// again; the last call, after all workers have ended, leaves nothing between them.
    ///
    /// # Safety
    /// Nobody runs this worker; the other workers have ended too or still take replies.
    pub unsafe fn finish<F: Fabric>(&mut self) {
        self.link.at_last = true;
        let mut patience = PATIENCE;
        let mut slot = self.used_from(0);
        while slot < self.actor_capacity {
            let actor = self.actor(slot);
            slot = self.used_from(slot + 1);
            // SAFETY: the slot is in range and this worker's.
            unsafe {
                while (*actor).waiting > 0 {
                    let Some(lines) = (*actor).pop(&mut self.nodes) else { break };
                    let header = lines.packed();
                    self.refuse_at_last::<F>(&header, lines, &mut patience);
                }
            }
        }
        for index in 0..self.frame_count {
            let frame = self.frame(index);
            // SAFETY: the frame is this worker's.
            unsafe {
                if !(*frame).in_use {
                    continue;
                }
                if (*frame).op == OP_HANDLE {
                    let request = (*frame).request;
                    // A handler that ended has its own outcome, which waited for room.
                    let ended = (*frame).waiting == Waiting::Flush;
                    let outcome = if ended { (*frame).outcome } else { Outcome::failed(KernelError::Interrupted) };
                    loop {
                        let said = if request.kind() == Kind::Ask as u8 {
                            self.reply::<F>(&request, &outcome, (*frame).buffer.cast())
                        } else {
                            self.bury_kept::<F>(frame, &outcome)
                        };
                        if said {
                            break;
                        }
                        if patience == 0 {
                            self.counters.late += 1;
                            break;
                        }
                        patience -= 1;
                        self.take_all_replies::<F>();
                        core::hint::spin_loop();
                    }
                }
                self.free_frame(index);
            }
        }
        self.resumable = List::EMPTY;
        self.flushing = List::EMPTY;
        for peer in 0..self.workers {
            if peer == self.index {
                continue;
            }
            // SAFETY: there is a peer for each worker, and nothing else refers to its ring now.
            unsafe {
                let ring = &raw mut (*self.peers.add(peer as usize)).requests_in;
                while let Some(lines) = (*ring).peek::<F::Mesh>() {
                    let header = lines.packed();
                    self.refuse_at_last::<F>(&header, lines, &mut patience);
                    (*ring).advance(header.lines());
                }
            }
        }
        self.end_copy(Outcome::refused(KernelError::Stopped));
        let outcome = match core::mem::replace(&mut self.life.phase, Phase::Stopped) {
            Phase::Normal => {
                self.life.request = Header::default();
                return;
            }
            Phase::Stopped => Outcome::failed(KernelError::Malformed),
            // It was lost in the middle of a launch or a stop.
            _ => Outcome::refused(KernelError::Stopped),
        };
        if self.life.request.kind() == Kind::Control as u8 {
            let request = core::mem::take(&mut self.life.request);
            self.answer_control(&request, outcome, &());
        }
    }

    /// Refuses what is still in the host's rings. `until` is the position that the shared ring was closed at.
    ///
    /// # Safety
    /// Nobody runs this worker, and the shared ring is closed.
    pub unsafe fn refuse_inlets<F: Fabric>(&mut self, until: u32) {
        self.link.at_last = true;
        // SAFETY: `1 + MAX_PORTS` inlets (contract of `init`).
        unsafe {
            let ports = (*self.open_ports).acquire::<F::Host>();
            for at in 0..=super::MAX_PORTS as u32 {
                if at > 0 && ports & 1 << (at - 1) == 0 {
                    continue;
                }
                let ring = self.inlets.add(at as usize);
                loop {
                    let Some(lines) = (*ring).peek::<F::Host>() else {
                        if at == 0 && (*ring).position() != until {
                            // A host thread has claimed a line and not yet filled it.
                            core::hint::spin_loop();
                            continue;
                        }
                        break;
                    };
                    let header = lines.packed();
                    if header.kind() == Kind::Control as u8 && header.tag() != CONTROL_PUBLISH {
                        self.answer_control(&header.unpack(), Outcome::refused(KernelError::Stopped), &());
                    } else {
                        let said = self.refuse::<F>(&header, lines, KernelError::Stopped);
                        // The host's asks have cells, and its letters wait for room.
                        self.counters.late += u64::from(!said);
                    }
                    (*ring).advance(header.lines());
                }
            }
        }
    }
}
