//! Messages in and out of a worker: rings to mailboxes, sends, replies, refusals.

use super::{MAX_PORTS, SCAN, Step, Worker};
use crate::address::ActorId;
use crate::error::KernelError;
use crate::frame::{Frame, NONE, OP_HANDLE, Outcome, Waiting};
use crate::mailbox::Status;
use crate::message::{FROM_HOST, HIGH_PRIORITY, Header, Kind, Packed, Parcel, deadline_passed};
use crate::ring::{Consumer, Lines, publish_cell};
use crate::scoped::{Device, Scope};
use crate::team::Fabric;

/// What became of a message that a handler sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is in a ring or a mailbox.
    Yes,
    /// The ring to that worker is full.
    NoRoom,
    /// It was not accepted, for this reason.
    Refused(KernelError),
}

impl Worker {
    /// Takes everything from the reply rings. A reply only ever completes a frame, so this needs no room anywhere.
    #[inline(always)]
    pub(super) fn take_replies<F: Fabric>(&mut self) {
        if F::GRID {
            while let Some(peer) = self.heard.next_reply() {
                self.take_replies_of::<F>(peer);
            }
            return;
        }
        self.take_all_replies::<F>();
    }

    /// The same, from all rings, whether or not they were looked at.
    #[inline(always)]
    pub(super) fn take_all_replies<F: Fabric>(&mut self) {
        for peer in 0..self.workers {
            if peer != self.index {
                self.take_replies_of::<F>(peer);
            }
        }
    }

    #[cfg_attr(target_arch = "nvptx64", inline(never))]
    #[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
    fn take_replies_of<F: Fabric>(&mut self, peer: u32) {
        // SAFETY: there is a peer for each worker (contract of `init`).
        let ring = unsafe { &mut (*self.peers.add(peer as usize)).replies_in };
        let ring: *mut Consumer = ring;
        // SAFETY: the ring is in the peer table, which `answer` does not touch.
        while let Some(lines) = unsafe { (*ring).peek::<F::Mesh>() } {
            // SAFETY: `peek` acquired the lines.
            let header = unsafe { lines.packed() };
            self.answer(header.slot(), header.correlation(), |to| {
                // SAFETY: the frame's buffer holds the largest message; `lines` is acquired.
                unsafe { to.copy_from(&lines, header.lines()) }
            });
            // SAFETY: as above.
            unsafe { (*ring).advance(header.lines()) }
        }
    }

    /// The next request, wherever this backend's workers look for it.
    #[inline(always)]
    pub(super) fn take<F: Fabric>(&mut self) -> Step {
        if F::GRID { self.take_heard::<F>() } else { self.take_request::<F>() }
    }

    /// Gives a reply to the frame that waits for it, if it still does.
    #[inline(always)]
    fn answer(&mut self, frame: u32, correlation: u32, copy: impl FnOnce(Lines)) {
        let index = frame;
        if index >= self.frame_count {
            self.counters.late += 1;
            return;
        }
        let frame = self.frame(index);
        // SAFETY: the frame is this worker's.
        unsafe {
            if (*frame).waiting != Waiting::Reply || (*frame).asks != correlation {
                self.counters.late += 1;
                return;
            }
            copy(Lines::flat((*frame).buffer));
            (*frame).waiting = Waiting::Nothing;
            (*frame).answered = true;
        }
        self.push_resumable(index);
    }

    /// The next request from a ring: started at once if its actor is free, else into the mailbox.
    #[inline(always)]
    pub(super) fn take_request<F: Fabric>(&mut self) -> Step {
        // In the count: the shared ring, then the peers, then the ports; the start moves on, so that no ring starves the others.
        // SAFETY: the word is live (contract of `init`).
        let ports = unsafe { (*self.open_ports).acquire::<F::Host>() };
        let rings = 1 + self.workers + (32 - ports.leading_zeros());
        debug_assert!(32 - ports.leading_zeros() <= MAX_PORTS as u32);
        for _ in 0..rings {
            let at = self.poll_next;
            self.poll_next = if at + 1 >= rings { 0 } else { at + 1 };
            // SAFETY: as many inlets and peers as `init` was promised.
            let step = unsafe {
                if at <= self.workers {
                    if at == 0 {
                        let ring = self.inlets;
                        self.take_from::<F, F::Host>(ring, NONE, false)
                    } else if at - 1 == self.index {
                        None
                    } else {
                        let ring = &raw mut (*self.peers.add(at as usize - 1)).requests_in;
                        self.take_from::<F, F::Mesh>(ring, at - 1, false)
                    }
                } else {
                    let port = at - 1 - self.workers;
                    let ring = self.inlets.add(1 + port as usize);
                    if ports & 1 << port == 0 { None } else { self.take_from::<F, F::Host>(ring, NONE, false) }
                }
            };
            if let Some(step) = step {
                // Stay with a ring that has more: its next lines are on their way into the cache.
                self.poll_next = at;
                self.stay += 1;
                if self.stay >= SCAN {
                    self.stay = 0;
                    self.poll_next = if at + 1 >= rings { 0 } else { at + 1 };
                }
                self.idle_rounds = 0;
                return step;
            }
        }
        Step::Idle
    }

    /// # Safety
    /// `ring` is one of this worker's rings and nothing else refers to it now. `seen`: a glance has shown its next message.
    #[inline(always)]
    pub(super) unsafe fn take_from<F: Fabric, S: Scope>(&mut self, ring: *mut Consumer, peer: u32, seen: bool) -> Option<Step> {
        // SAFETY: contract.
        let ring = unsafe { &mut *ring };
        let lines = if seen { ring.peek_seen::<S>() } else { ring.peek::<S>()? };
        // SAFETY: the lines are acquired.
        let header = unsafe { lines.packed() };
        if header.kind() >= Kind::Control as u8 {
            return self.control::<F>(ring, lines);
        }
        if let Some(batch) = ring.urgent_batch::<S>(SCAN) {
            // A message of high priority is among those that are there: put them all into mailboxes, where priority counts.
            for _ in 0..batch {
                let Some(lines) = ring.peek::<S>() else { break };
                // SAFETY: as above.
                let header = unsafe { lines.packed() };
                if header.kind() >= Kind::Control as u8 || !self.deliver::<F>(lines) {
                    // The rest has to be looked at again, or its priority would be lost.
                    ring.rescan();
                    break;
                }
                ring.advance(header.lines());
                if peer != NONE {
                    self.counters.received += 1;
                }
            }
            return Some(Step::Again);
        }
        // The common case: the actor is free, so the message goes to its handler straight from the ring.
        if self.frame_free != NONE && self.accepts(&header).is_ok() {
            let actor = self.actor(header.slot());
            // SAFETY: `accepts` checked the slot.
            if unsafe { (*actor).frame == NONE && (*actor).waiting == 0 } {
                ring.advance(header.lines());
                if peer != NONE {
                    self.counters.received += 1;
                }
                return Some(self.begin(header.slot(), OP_HANDLE, header, lines));
            }
        }
        if !self.deliver::<F>(lines) {
            self.blocked = true;
            return None;
        }
        ring.advance(header.lines());
        if peer != NONE {
            self.counters.received += 1;
        }
        Some(Step::Again)
    }

    /// Whether the target of a message takes messages, and the message may still be handled.
    #[inline(always)]
    pub(super) fn accepts(&self, header: &Packed) -> Result<(), KernelError> {
        if header.slot() >= self.actor_capacity {
            return Err(KernelError::Stopped);
        }
        // SAFETY: the slot is in range; of zeroed memory it is free.
        let actor = unsafe { &*self.actor(header.slot()) };
        if actor.generation != header.generation() || !matches!(actor.status, Status::Running | Status::Starting | Status::Held) {
            return Err(KernelError::Stopped);
        }
        if deadline_passed(header.deadline(), self.now) {
            return Err(KernelError::Deadline);
        }
        Ok(())
    }

    /// Puts a message into its actor's mailbox, or refuses it. False: a refusal could not be sent yet, so leave it where it is.
    ///
    /// It reads the header anew: were the caller's handed in by reference, it would live in memory on the fast path as well.
    #[inline(never)]
    fn deliver<F: Fabric>(&mut self, lines: Lines) -> bool {
        // SAFETY: the caller's `peek` acquired the lines.
        let header = unsafe { lines.packed() };
        let accepted = self.accepts(&header).and_then(|()| {
            // SAFETY: the node holds the largest message; `lines` is acquired.
            self.enqueue(&header, |to| unsafe { to.copy_from(&lines, header.lines()) })
        });
        match accepted {
            Ok(()) => true,
            Err(error) => self.refuse::<F>(&header, lines, error),
        }
    }

    /// Puts a message at the end of a mailbox.
    pub(super) fn enqueue(&mut self, header: &Packed, fill: impl FnOnce(Lines)) -> Result<(), KernelError> {
        let actor = self.actor(header.slot());
        // SAFETY: `accepts` checked the slot; only the leader is here.
        unsafe {
            if (*actor).waiting >= (*actor).capacity {
                return Err(KernelError::MailboxFull { capacity: u32::from((*actor).capacity) });
            }
            let queue = if header.is_high() { &mut (*actor).high } else { &mut (*actor).normal };
            if !self.nodes.append(queue, fill) {
                return Err(KernelError::Overloaded);
            }
            (*actor).waiting += 1;
            if (*actor).frame == NONE {
                self.push_ready(header.slot());
            } else if header.kind() == Kind::Ask as u8 && header.origin() != FROM_HOST {
                self.suspect();
            }
        }
        Ok(())
    }

    /// Says no to a message: to whoever asked, or as a dead letter. False: the ring for it is full, try again later.
    pub(super) fn refuse<F: Fabric>(&mut self, header: &Packed, lines: Lines, error: KernelError) -> bool {
        let said = match header.kind() {
            kind if kind == Kind::Ask as u8 || kind == Kind::Spawn as u8 => {
                self.reply::<F>(header, &Outcome::refused(error), core::ptr::null())
            }
            // What was to end has ended, and what was to be found out is of no more use.
            kind if kind == Kind::End as u8 || kind == Kind::Probe as u8 => return true,
            // A publication that was left in a ring; it counts what it refuses.
            kind if kind == Kind::Control as u8 => return self.fan_out::<F>(lines, Some(error)),
            _ => self.bury::<F>(header, Some(lines), error),
        };
        self.counters.refused += u64::from(said);
        said
    }

    /// Makes a dead letter of a message that wanted no reply; without lines if a handler had taken it. False: the ring for dead
    /// letters is full, try again later.
    #[cold]
    pub(super) fn bury<F: Fabric>(&mut self, header: &Packed, lines: Option<Lines>, error: KernelError) -> bool {
        // Threads in place of blocks run handlers as CPU workers do, and post; when all have ended, the host itself is here.
        if self.link.has_letters() && (F::GRID || !self.link.at_last) {
            return self.post_letter::<F>(header, lines, error);
        }
        #[cfg(not(target_arch = "nvptx64"))]
        {
            let header = Header { lines: if lines.is_some() { header.lines() } else { 0 }, ..header.unpack() };
            // SAFETY: the hooks outlive the worker (contract of `init`); the lines are acquired or owned.
            unsafe { (self.hooks.dead_letter)(self.hooks.data, self.index, &header, lines.unwrap_or(self.nothing()), error) }
        }
        true
    }

    /// Before the outcome of a frame waits for room: a message that its handler could not read comes along, to be buried whole.
    ///
    /// # Safety
    /// The frame is this worker's, and ends in this step.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn keep_unread(&mut self, frame: *mut Frame, refused: bool) {
        // SAFETY: contract; the buffer holds the largest message, and the lines of a frame that this step began are still there.
        unsafe {
            let request = (*frame).request;
            if self.began && refused && request.kind() != Kind::Ask as u8 {
                Lines::flat((*frame).buffer).copy_from(&self.request, request.lines());
            }
        }
    }

    /// Buries the message of a frame whose outcome waited for room.
    ///
    /// # Safety
    /// The frame is this worker's, and [`keep_unread`](Self::keep_unread) was called for this outcome.
    #[cold]
    pub(super) unsafe fn bury_kept<F: Fabric>(&mut self, frame: *mut Frame, outcome: &Outcome) -> bool {
        // SAFETY: contract.
        let (request, lines) = unsafe { ((*frame).request, Lines::flat((*frame).buffer)) };
        let unread = (outcome.kind() == Kind::Refused).then_some(lines);
        self.bury::<F>(&request, unread, KernelError::from_parts(outcome.code, outcome.detail))
    }

    /// Sends a reply to where the request came from. False: the ring to that worker is full.
    #[inline(always)]
    pub(super) fn reply<F: Fabric>(&mut self, request: &Packed, outcome: &Outcome, rest: *const u64) -> bool {
        let mut header = Header {
            kind: outcome.kind() as u8,
            lines: outcome.lines,
            tag: outcome.code,
            slot: 0,
            generation: 0,
            sender_generation: 0,
            origin: 0,
            correlation: request.correlation(),
            sender: outcome.detail,
            deadline: 0,
        };
        // SAFETY: `rest` is the buffer that the handler's reply was written to.
        let parcel = unsafe { outcome.parcel(rest) };
        if request.origin() == FROM_HOST {
            let cell = request.correlation();
            // SAFETY: the host gave out this cell for this ask and does not reuse it before the reply is there.
            unsafe {
                publish_cell::<F::Host>(
                    self.cells.add(cell as usize * self.cell_lines as usize),
                    request.sender(),
                    &header,
                    parcel,
                );
                // SYNC: sleep: whoever goes to sleep on the cell executes the barrier for both sides.
                crate::scoped::light_barrier();
                #[cfg(not(target_arch = "nvptx64"))]
                if request.wakes() || (*self.cell_parked.add(cell as usize)).relaxed::<F::Host>() != 0 {
                    (self.hooks.wake_cell)(self.hooks.data, cell);
                }
            }
            return true;
        }
        let worker = request.origin() >> 16;
        header.slot = request.origin() & 0xffff;
        if worker == self.index {
            self.answer(header.slot, header.correlation, |to| {
                // SAFETY: the frame's buffer holds the largest message.
                unsafe { to.store::<Device>(&header, parcel) }
            });
            return true;
        }
        if worker >= self.workers {
            self.counters.late += 1;
            return true;
        }
        // One field of the peer, not the whole: `take_from` may hold a consumer of the same peer.
        // SAFETY: the worker's number is in range.
        let ring = unsafe { &mut (*self.peers.add(worker as usize)).replies_out };
        if !ring.push::<F::Mesh>(&header, parcel) {
            return false;
        }
        // SYNC: sleep, as above.
        crate::scoped::light_barrier();
        self.wake_peer::<F>(worker);
        true
    }

    /// Wakes a worker that sleeps; on the device nobody does.
    #[inline(always)]
    pub(super) fn wake_peer<F: Fabric>(&self, worker: u32) {
        #[cfg(not(target_arch = "nvptx64"))]
        // SAFETY: the word and the hooks outlive the worker (contract of `init`).
        unsafe {
            if !F::GRID && (*(*self.peers.add(worker as usize)).parked).relaxed::<F::Mesh>() != 0 {
                (self.hooks.wake_worker)(self.hooks.data, worker)
            }
        }
        #[cfg(target_arch = "nvptx64")]
        let _ = worker;
    }

    /// Pushes a request to another worker, whose number is in range. False: the ring is full.
    #[inline(always)]
    pub(super) fn push_to_peer<F: Fabric>(&mut self, worker: u32, header: &Header, parcel: Parcel<'_>) -> bool {
        // SAFETY: the worker's number is in range.
        let ring = unsafe { &mut (*self.peers.add(worker as usize)).requests_out };
        if !ring.push::<F::Mesh>(header, parcel) {
            return false;
        }
        self.counters.sent += 1;
        // SYNC: sleep: the other worker executes the barrier for both before it sleeps.
        crate::scoped::light_barrier();
        self.wake_peer::<F>(worker);
        true
    }

    /// Sends a message from a handler that runs in `frame`.
    #[cfg_attr(target_arch = "nvptx64", inline(never))]
    #[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
    pub(crate) fn send<F: Fabric>(&mut self, frame: *mut Frame, to: ActorId, what: Send, parcel: Parcel<'_>) -> Sent {
        // SAFETY: the frame runs on this worker.
        let (own, asks, index) = unsafe { ((*frame).actor, (*frame).asks, (*frame).index) };
        // SAFETY: the frame's actor is this worker's.
        let own_generation = unsafe { (*self.actor(own)).generation };
        let ask = what.ask;
        let header = Header {
            kind: if ask { Kind::Ask as u8 } else { Kind::Tell as u8 } | if what.high { HIGH_PRIORITY } else { 0 },
            lines: what.lines,
            tag: what.tag,
            slot: to.slot,
            generation: to.generation,
            sender_generation: own_generation,
            origin: self.index << 16 | index,
            correlation: if ask { asks.wrapping_add(1) } else { 0 },
            sender: own,
            deadline: what.deadline,
        };
        let worker = u32::from(to.worker);
        let packed = header.pack();
        if worker == self.index {
            if ask && to.slot == own && to.generation == own_generation {
                return Sent::Refused(KernelError::AskedItself);
            }
            let accepted = self.accepts(&packed).and_then(|()| {
                // SAFETY: the node holds the largest message of the module.
                self.enqueue(&packed, |to| unsafe { to.store::<Device>(&header, parcel) })
            });
            if let Err(error) = accepted {
                return Sent::Refused(error);
            }
        } else {
            if worker >= self.workers {
                return Sent::Refused(KernelError::Stopped);
            }
            if !self.push_to_peer::<F>(worker, &header, parcel) {
                return Sent::NoRoom;
            }
        }
        if ask {
            // SAFETY: the frame runs on this worker.
            unsafe {
                (*frame).asks = asks.wrapping_add(1);
                (*frame).waiting = Waiting::Reply;
                (*frame).answered = false;
                (*frame).timed_out = false;
                (*frame).wake_at = what.wake_at;
                (*frame).asked = to;
            }
        }
        Sent::Yes
    }

    /// Frames that wait for room in a ring: send what can be sent, resume what can go on.
    #[cfg_attr(target_arch = "nvptx64", inline(never))]
    pub(super) fn flush<F: Fabric>(&mut self) {
        let mut index = self.flushing.head;
        self.flushing = super::List::EMPTY;
        while index != NONE {
            let frame = self.frame(index);
            // SAFETY: a listed frame is this worker's.
            unsafe {
                let next = (*frame).next;
                if (*frame).waiting == Waiting::Flush {
                    let (request, outcome) = ((*frame).request, (*frame).outcome);
                    let said = if request.kind() == Kind::Ask as u8 {
                        self.reply::<F>(&request, &outcome, (*frame).buffer.cast())
                    } else {
                        self.bury_kept::<F>(frame, &outcome)
                    };
                    if said {
                        self.free_frame(index);
                    } else if (*frame).wake_at <= self.now {
                        // That worker has not taken a reply for as long as an ask may last: it has ended, and so has whoever asked.
                        self.counters.late += 1;
                        self.free_frame(index);
                    } else {
                        self.push_flushing(index);
                    }
                } else {
                    let ring = &mut (*self.peers.add((*frame).peer as usize)).requests_out;
                    if ring.has_room::<F::Mesh>(crate::message::MAX_LINES as u8) {
                        (*frame).waiting = Waiting::Nothing;
                        self.push_resumable(index);
                    } else if (*frame).wake_at <= self.now {
                        (*frame).waiting = Waiting::Nothing;
                        (*frame).timed_out = true;
                        self.push_resumable(index);
                    } else {
                        self.push_flushing(index);
                    }
                }
                index = next;
            }
        }
    }
}

/// What a handler sends, besides the payload.
#[derive(Clone, Copy)]
pub(crate) struct Send {
    pub(crate) ask: bool,
    pub(crate) high: bool,
    pub(crate) tag: u16,
    pub(crate) lines: u8,
    /// In the header; 0 for none.
    pub(crate) deadline: u32,
    /// When the asking frame stops waiting.
    pub(crate) wake_at: u64,
}
