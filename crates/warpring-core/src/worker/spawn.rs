//! Actors that handlers spawn. Their slots are at the high end of the worker's table and their values in a slab of equal places, both
//! there from the start; a slot is given out again with the next generation, and never once its generations are used up.

use super::{End, Sent, Step, Worker};
use crate::address::ActorId;
use crate::error::KernelError;
use crate::exit::ExitReason;
use crate::frame::{Frame, NONE, Outcome, Waiting};
use crate::mailbox::{Actor, HELD, Status, mark};
use crate::message::{Header, Kind, MAX_PAYLOAD, Packed, Parcel, RingMessage, encode, lines_for};
use crate::ring::Lines;
use crate::team::Fabric;

/// The memory of spawned actors of one worker.
#[derive(Clone, Copy)]
pub struct SpawnMemory {
    /// `count` places.
    pub states: *mut u8,
    /// Bytes of a place: as many as the largest kernel of the module has, and a multiple of every kernel's alignment.
    pub stride: u64,
    /// Most spawned actors at a time; at most as many as the worker has slots.
    pub count: u32,
}

/// What a worker knows of its spawned actors.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Spawned {
    states: *mut u8,
    stride: u64,
    /// Slots from here on may be spawned into.
    least: u32,
    /// Slots from here on were spawned into.
    pub(super) low: u32,
    /// The first free one of those.
    free: u32,
}

impl Spawned {
    pub(super) fn new(memory: &SpawnMemory, capacity: u32) -> Self {
        let least = capacity - memory.count.min(capacity);
        Self { states: memory.states, stride: memory.stride, least, low: capacity, free: NONE }
    }

    /// Actors come back that were spawned before; `fits` checked that their slots are free and below all others. Slots between, in which
    /// there were others, are not given out again: an address of these never reaches another actor.
    pub(super) fn restore(&mut self, adopt: &super::Adopt) {
        self.low = adopt.slot;
    }
}

impl Worker {
    /// Makes an actor of kind `kind` on this worker, whose value `fill` writes. Its `initialize` runs when its turn comes, before its
    /// first message.
    pub(crate) fn spawn(&mut self, kind: u16, mailbox: u16, fill: impl FnOnce(*mut u8)) -> Result<ActorId, KernelError> {
        if self.life.stops() {
            // Its `initialize` and its `shutdown` would find nobody to run them.
            return Err(KernelError::Stopped);
        }
        let bytes = self.kind_table(kind).bytes;
        let slot = if self.spawned.free != NONE {
            let slot = self.spawned.free;
            // SAFETY: a free slot is this worker's.
            self.spawned.free = unsafe { (*self.actor(slot)).next };
            slot
        } else if self.spawned.low > self.spawned.least.max(self.actors_used) {
            self.spawned.low -= 1;
            self.spawned.low
        } else {
            return Err(KernelError::TooManyActors);
        };
        let place = (self.actor_capacity - 1 - slot) as usize * self.spawned.stride as usize;
        let state = self.spawned.states.wrapping_add(place);
        fill(state);
        let actor = self.actor(slot);
        // SAFETY: the slot is free, and only the leader is here. Of zeroed memory the generation is 0, which is no actor's.
        let generation = unsafe {
            let generation = (*actor).generation + 1;
            let tenant = Actor::new(state, kind, generation, bytes, mailbox.max(1), mark::SPAWNED);
            actor.write(Actor { frame: HELD, status: Status::Starting, ..tenant });
            generation
        };
        self.push_ready(slot);
        Ok(ActorId { slot, generation, worker: self.index as u16 })
    }

    /// Takes back the slot of a spawned actor that has ended.
    pub(super) fn free_spawned(&mut self, slot: u32) {
        let actor = self.actor(slot);
        // SAFETY: the slot is this worker's, and nobody runs in it.
        unsafe {
            (*actor).status = Status::Free;
            // After the last generation nobody comes: a stale address never reaches another actor.
            if (*actor).generation < u16::MAX {
                (*actor).next = self.spawned.free;
                self.spawned.free = slot;
            }
        }
    }

    /// The first slot from `slot` on that was ever used.
    pub(super) fn used_from(&self, slot: u32) -> u32 {
        if slot < self.actors_used { slot } else { slot.max(self.spawned.low) }
    }

    /// What an actor of another worker wants of this worker itself. `None`: its answer has to wait for room.
    ///
    /// # Safety
    /// The lines are acquired.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn serve_peer<F: Fabric>(&mut self, header: &Header, lines: Lines) -> Option<Step> {
        // SAFETY: contract.
        let request = unsafe { lines.packed() };
        self.counters.received += 1;
        if header.kind() == Kind::End as u8 {
            // SAFETY: contract.
            if let Ok(what) = unsafe { lines.decode::<End>(header.lines) } {
                let id = ActorId { slot: what.slot, generation: what.generation, worker: self.index as u16 };
                // One that has ended has ended.
                let _ = self.end(id, &what, ExitReason::Shutdown);
            }
            return Some(Step::Again);
        }
        // SAFETY: contract.
        let outcome = match unsafe { self.spawn_sent(&request, lines) } {
            // SAFETY: an id fits the first line.
            Ok(id) => unsafe { Outcome::reply(&id, core::ptr::null_mut()) },
            Err(error) => Outcome::refused(error),
        };
        if !self.reply::<F>(&request, &outcome, core::ptr::null()) {
            if let Ok(id) = crate::address::ActorId::decode(zerocopy::IntoBytes::as_bytes(&outcome.first[..1]))
                && outcome.kind() == Kind::Reply
            {
                self.unspawn(id.slot);
            }
            self.counters.received -= 1;
            self.blocked = true;
            return None;
        }
        Some(Step::Again)
    }

    /// # Safety
    /// The lines are acquired.
    unsafe fn spawn_sent(&mut self, request: &Packed, lines: Lines) -> Result<ActorId, KernelError> {
        // SAFETY: the module outlives the worker.
        let kinds = unsafe { (*self.module).kinds }.len();
        let kind = request.tag();
        if usize::from(kind) >= kinds {
            return Err(KernelError::Malformed);
        }
        let bytes = self.kind_table(kind).bytes as usize;
        if bytes > MAX_PAYLOAD || lines_for(bytes) != usize::from(request.lines()) {
            return Err(KernelError::Malformed);
        }
        let fill = |parcel: Parcel<'_>, at: *mut u8| {
            for (i, word) in parcel.first.iter().chain(parcel.rest).take(bytes.div_ceil(8)).enumerate() {
                // SAFETY: a place holds whole words, at least as many bytes as the kernel has.
                unsafe { at.cast::<u64>().add(i).write(*word) }
            }
        };
        // SAFETY: contract; the request has as many lines as the kernel needs.
        unsafe { lines.with_parcel(request.lines(), |parcel| self.spawn(kind, request.generation(), |at| fill(parcel, at))) }
    }

    /// Takes back an actor that has just been spawned, and of which nobody knows.
    fn unspawn(&mut self, slot: u32) {
        // SAFETY: the slot is this worker's. Its turn comes, and then it is free.
        unsafe {
            (*self.actor(slot)).frame = NONE;
            (*self.actor(slot)).marks |= mark::NO_SHUTDOWN;
            (*self.actor(slot)).status = Status::Ending;
        }
    }

    /// Asks another worker to spawn an actor, whose value is in `parcel`; the answer comes to `frame` as a reply does.
    pub(crate) fn send_spawn<F: Fabric>(&mut self, frame: *mut Frame, worker: u32, what: &Spawning, parcel: Parcel<'_>) -> Sent {
        if worker >= self.workers {
            return Sent::Refused(KernelError::Stopped);
        }
        // SAFETY: the frame runs on this worker.
        let (asks, index, actor) = unsafe { ((*frame).asks, (*frame).index, (*frame).actor) };
        let header = Header {
            kind: Kind::Spawn as u8,
            lines: what.lines,
            tag: what.kind,
            generation: what.mailbox,
            origin: self.index << 16 | index,
            correlation: asks.wrapping_add(1),
            sender: actor,
            ..Header::default()
        };
        if !self.push_to_peer::<F>(worker, &header, parcel) {
            return Sent::NoRoom;
        }
        // SAFETY: the frame runs on this worker.
        unsafe {
            (*frame).asks = asks.wrapping_add(1);
            (*frame).waiting = Waiting::Reply;
            (*frame).answered = false;
            (*frame).timed_out = false;
            (*frame).wake_at = what.wake_at;
            // No actor: a worker always answers.
            (*frame).asked = super::NOBODY;
        }
        Sent::Yes
    }

    /// Ends an actor, of whatever worker. False: the ring to its worker is full now.
    pub(crate) fn send_end<F: Fabric>(&mut self, id: ActorId, what: &End) -> bool {
        let worker = u32::from(id.worker);
        if worker == self.index || worker >= self.workers {
            // One that has ended has ended; its suspended handler is dropped when its turn comes.
            let _ = self.end(id, what, ExitReason::Shutdown);
            return true;
        }
        let header = Header { kind: Kind::End as u8, lines: 1, ..Header::default() };
        encode(what, |parcel| self.push_to_peer::<F>(worker, &header, parcel))
    }
}

/// What goes with the value of an actor that is spawned on another worker.
#[derive(Clone, Copy)]
pub(crate) struct Spawning {
    pub(crate) kind: u16,
    pub(crate) mailbox: u16,
    pub(crate) lines: u8,
    pub(crate) wake_at: u64,
}
