//! Timers: messages that a worker sends when their time has come. A bounded pool, and a binary heap of what is due first.
//!
//! ```text
//!          after, every             due                    sent, or dead
//!   free ───────────────► pending ───────► outgoing ───────────────────────► free
//!    ▲                      │  ▲               │ no room: tried again later     (`after`)
//!    │        cancel        │  │               │
//!    ├──────────────────────┘  └───────────────┤ sent (`every`)
//!    └─────────────────────────────────────────┘ cancel, the owner has ended
//! ```
//! Only the leader touches any of this. Memory that was never used is never written.

use super::{LOOK_FOR_ROOM_NS, MAX_WORKERS, Worker};
use crate::address::ActorId;
use crate::error::KernelError;
use crate::frame::{Frame, NONE};
use crate::layout;
use crate::mailbox::Status;
use crate::message::{Header, Kind, Malformed, Parcel, RingMessage};
use crate::resident::State;
use crate::ring::{Line, Lines};
use crate::scoped::Device;
use crate::team::Fabric;

/// Timers that one look at the clock fires; the others follow at the next one.
const AT_ONCE: u32 = 256;

/// A timer that was set with `ctx.after` or `ctx.every`. Plain data, to be kept in state; the default is no timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Timer {
    index: u32,
    /// Of the place in the pool; 0 is no timer's.
    generation: u32,
    worker: u32,
}

// SAFETY: three integers in C layout without padding.
unsafe impl State for Timer {
    const FINGERPRINT: u64 = layout::mix_bytes(layout::EMPTY, b"Timer 4 4 4");
}

impl RingMessage for Timer {
    const SIZE: usize = 12;
    const ALIGN: usize = 4;
    const FINGERPRINT: u64 = <Self as State>::FINGERPRINT;
    #[inline(always)]
    fn encode(&self, out: &mut [u8]) {
        [self.index, self.generation, self.worker].encode(out)
    }
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let [index, generation, worker] = <[u32; 3]>::decode(bytes)?;
        Ok(Self { index, generation, worker })
    }
}

/// Where a timer is; plain numbers, because zeroed memory says `FREE`.
const FREE: u32 = 0;
const PENDING: u32 = 1;
const OUTGOING: u32 = 2;
/// In the list of outgoing ones, and not to be sent any more.
const CANCELLED: u32 = 3;

/// A place in the pool: 64 bytes.
#[repr(C, align(64))]
pub struct TimerSlot {
    due: u64,
    /// 0: it fires once.
    period: u64,
    state: u32,
    generation: u32,
    owner: u32,
    owner_generation: u32,
    /// Where it is in the heap, while it is pending.
    at: u32,
    /// Next in the list of free or of outgoing ones.
    next: u32,
}

/// An entry of the heap.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Due {
    due: u64,
    /// Of those that are due at the same time, the one that was set first goes first.
    order: u32,
    slot: u32,
}

impl Due {
    fn before(&self, other: &Self) -> bool {
        self.due < other.due || (self.due == other.due && (self.order.wrapping_sub(other.order) as i32) < 0)
    }
}

/// The memory of a worker's timers.
#[derive(Clone, Copy)]
pub struct TimerMemory {
    /// `count` zeroed places.
    pub slots: *mut TimerSlot,
    /// `count` entries.
    pub heap: *mut Due,
    /// `count` times as many lines as the largest message of the module has.
    pub lines: *mut Line,
    /// Most timers.
    pub count: u32,
}

/// A worker's timers.
#[repr(C)]
pub(crate) struct Timers {
    memory: TimerMemory,
    /// Lines of a message.
    lines: u32,
    free: u32,
    /// Places from here on were never used.
    fresh: u32,
    /// Entries of the heap.
    pending: u32,
    order: u32,
    /// Those whose time has come and that are not sent yet, in their order.
    outgoing: super::List,
    /// The runtime shuts down: no timer fires any more.
    off: bool,
}

impl Timers {
    pub(super) fn new(memory: TimerMemory, lines: u32) -> Self {
        Self { memory, lines, free: NONE, fresh: 0, pending: 0, order: 0, outgoing: super::List::EMPTY, off: false }
    }

    fn slot(&self, index: u32) -> *mut TimerSlot {
        debug_assert!(index < self.memory.count);
        self.memory.slots.wrapping_add(index as usize)
    }

    fn entry(&self, at: u32) -> *mut Due {
        debug_assert!(at < self.memory.count);
        self.memory.heap.wrapping_add(at as usize)
    }

    /// The message of a timer.
    fn message(&self, index: u32) -> Lines {
        // SAFETY: each place has the lines of the largest message (contract of `Worker::init`).
        unsafe { Lines::flat(self.memory.lines.wrapping_add(index as usize * self.lines as usize)) }
    }

    fn take(&mut self) -> Option<u32> {
        let index = if self.free != NONE {
            let index = self.free;
            // SAFETY: a free place is the pool's alone.
            self.free = unsafe { (*self.slot(index)).next };
            index
        } else if self.fresh < self.memory.count {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        // SAFETY: as above. A place that was never used is zeroed.
        unsafe {
            let slot = self.slot(index);
            (*slot).generation = (*slot).generation.wrapping_add(1).max(1);
        }
        Some(index)
    }

    fn give_back(&mut self, index: u32) {
        // SAFETY: the place is in no list and not in the heap (callers).
        unsafe {
            let slot = self.slot(index);
            (*slot).state = FREE;
            (*slot).next = self.free;
        }
        self.free = index;
    }

    /// Puts an entry where `at` is a hole, and says so to its timer.
    ///
    /// # Safety
    /// `at` is below `pending`.
    unsafe fn place(&self, at: u32, entry: Due) {
        // SAFETY: contract; an entry names a place in use.
        unsafe {
            self.entry(at).write(entry);
            (*self.slot(entry.slot)).at = at;
        }
    }

    /// Moves the entry for the hole `at` up to where it belongs.
    ///
    /// # Safety
    /// As for `place`.
    unsafe fn rise(&self, mut at: u32, entry: Due) {
        // SAFETY: contract; a parent is below its child.
        unsafe {
            while at > 0 {
                let parent = (at - 1) / 2;
                let above = *self.entry(parent);
                if !entry.before(&above) {
                    break;
                }
                self.place(at, above);
                at = parent;
            }
            self.place(at, entry);
        }
    }

    /// Moves the entry for the hole `at` down to where it belongs.
    ///
    /// # Safety
    /// As for `place`.
    unsafe fn sink(&self, mut at: u32, entry: Due) {
        // SAFETY: contract; a child is looked at only below `pending`.
        unsafe {
            loop {
                let mut child = 2 * at + 1;
                if child >= self.pending {
                    break;
                }
                if child + 1 < self.pending && (*self.entry(child + 1)).before(&*self.entry(child)) {
                    child += 1;
                }
                let below = *self.entry(child);
                if !below.before(&entry) {
                    break;
                }
                self.place(at, below);
                at = child;
            }
            self.place(at, entry);
        }
    }

    /// Puts a timer into the heap.
    fn add(&mut self, index: u32, due: u64) {
        self.order = self.order.wrapping_add(1);
        self.pending += 1;
        // SAFETY: a timer is in the heap once, so there are as many entries as places.
        unsafe {
            (*self.slot(index)).state = PENDING;
            (*self.slot(index)).due = due;
            self.rise(self.pending - 1, Due { due, order: self.order, slot: index });
        }
    }

    /// Takes the entry at `at` out of the heap.
    fn remove(&mut self, at: u32) {
        self.pending -= 1;
        if at == self.pending {
            return;
        }
        // SAFETY: `at` was an entry, and the last one fills its place.
        unsafe {
            let last = *self.entry(self.pending);
            if at > 0 && last.before(&*self.entry((at - 1) / 2)) { self.rise(at, last) } else { self.sink(at, last) }
        }
    }

    /// The first that is due.
    fn first(&self) -> Option<Due> {
        // SAFETY: the heap has an entry.
        (self.pending > 0).then(|| unsafe { *self.entry(0) })
    }

    /// When the worker has to look again: the first timer, or a little later for those that found no room.
    fn next(&self, now: u64) -> u64 {
        if self.off {
            return u64::MAX;
        }
        let first = self.first().map_or(u64::MAX, |due| due.due);
        if self.outgoing.is_empty() { first } else { first.min(now.saturating_add(LOOK_FOR_ROOM_NS)) }
    }

    /// Puts a timer at the end of the list of outgoing ones.
    fn push_outgoing(&mut self, index: u32) {
        // SAFETY: the timer is in no list.
        unsafe {
            (*self.slot(index)).next = NONE;
            if self.outgoing.is_empty() {
                self.outgoing.head = index;
            } else {
                (*self.slot(self.outgoing.tail)).next = index;
            }
        }
        self.outgoing.tail = index;
    }
}

/// What became of a timer's message.
#[derive(PartialEq, Eq)]
enum Fate {
    Gone,
    /// The ring to the target's worker is full, or that for dead letters.
    Kept,
}

impl Worker {
    /// Sets a timer for the actor of `frame`; `period` 0 fires once. The timer, and the two words of an error, or 0.
    #[cold]
    #[inline(never)]
    pub(crate) fn set_timer(
        &mut self,
        frame: *const Frame,
        to: ActorId,
        (tag, lines): (u16, u8),
        (delay, period): (u64, u64),
        parcel: Parcel<'_>,
    ) -> (Timer, u32, u32) {
        let refused = |error: KernelError| (Timer::default(), u32::from(error.to_parts().0), error.to_parts().1);
        if self.timers.off {
            return refused(KernelError::Stopped);
        }
        let due = self.clock().saturating_add(delay);
        let Some(index) = self.timers.take() else {
            return refused(KernelError::NoTimer { limit: self.timers.memory.count });
        };
        // SAFETY: the frame runs on this worker, and its actor is this worker's; the place is the caller's now.
        unsafe {
            let owner = (*frame).actor;
            let owner_generation = (*self.actor(owner)).generation;
            let header = Header {
                kind: Kind::Tell as u8,
                lines,
                tag,
                slot: to.slot,
                generation: to.generation,
                sender_generation: owner_generation,
                origin: self.index << 16,
                correlation: u32::from(to.worker),
                sender: owner,
                deadline: 0,
            };
            self.timers.message(index).store::<Device>(&header, parcel);
            let slot = self.timers.slot(index);
            (*slot).period = period;
            (*slot).owner = owner;
            (*slot).owner_generation = owner_generation.into();
            let generation = (*slot).generation;
            self.timers.add(index, due);
            self.next_timer = self.next_timer.min(due);
            (Timer { index, generation, worker: self.index }, 0, 0)
        }
    }

    /// Ends a timer of the actor of `frame`; whether it was still to fire.
    #[cold]
    #[inline(never)]
    pub(crate) fn cancel_timer(&mut self, frame: *const Frame, timer: Timer) -> bool {
        if timer.worker != self.index || timer.index >= self.timers.fresh || self.timers.off {
            return false;
        }
        let slot = self.timers.slot(timer.index);
        // SAFETY: the place was used, and the frame runs on this worker.
        unsafe {
            let owner = (*frame).actor;
            let own = (*slot).owner == owner && (*slot).owner_generation == u32::from((*self.actor(owner)).generation);
            if (*slot).generation != timer.generation || !own {
                return false;
            }
            match (*slot).state {
                PENDING => {
                    self.timers.remove((*slot).at);
                    self.timers.give_back(timer.index);
                    self.next_timer = self.timers.next(self.now);
                    true
                }
                OUTGOING => {
                    // `fire` takes it out of its list.
                    (*slot).state = CANCELLED;
                    true
                }
                _ => false,
            }
        }
    }

    /// An actor begins anew under its old name: what it set before ends. All others' timers see at their time that it has gone.
    #[cold]
    #[inline(never)]
    pub(super) fn end_timers_of(&mut self, owner: u32) {
        if self.timers.pending == 0 && self.timers.outgoing.is_empty() {
            return;
        }
        for index in 0..self.timers.fresh {
            let slot = self.timers.slot(index);
            // SAFETY: the place was used.
            unsafe {
                if (*slot).owner != owner {
                    continue;
                }
                if (*slot).state == PENDING {
                    self.timers.remove((*slot).at);
                    self.timers.give_back(index);
                } else if (*slot).state == OUTGOING {
                    (*slot).state = CANCELLED;
                }
            }
        }
        self.next_timer = self.timers.next(self.now);
    }

    /// The runtime shuts down: timers fire no more.
    pub(super) fn stop_timers(&mut self) {
        self.timers.off = true;
        self.next_timer = u64::MAX;
    }

    /// Sends what is due. Called when `next_timer` has come.
    #[cold]
    #[inline(never)]
    pub(super) fn fire<F: Fabric>(&mut self) {
        let mut budget = AT_ONCE;
        while budget > 0
            && let Some(due) = self.timers.first()
            && due.due <= self.now
        {
            budget -= 1;
            self.timers.remove(0);
            // SAFETY: an entry names a place in use.
            unsafe { (*self.timers.slot(due.slot)).state = OUTGOING }
            self.timers.push_outgoing(due.slot);
        }
        let mut full = [0u32; MAX_WORKERS as usize / 32];
        let mut index = core::mem::replace(&mut self.timers.outgoing, super::List::EMPTY).head;
        while index != NONE {
            let slot = self.timers.slot(index);
            // SAFETY: a listed place is in use.
            let (next, period, lives) = unsafe {
                let lives = (*slot).state == OUTGOING && self.owns_timer((*slot).owner, (*slot).owner_generation);
                ((*slot).next, (*slot).period, lives)
            };
            if lives && self.send_timer::<F>(index, &mut full) == Fate::Kept {
                self.timers.push_outgoing(index);
            } else if lives && period > 0 {
                // Always at its start and so many periods: those that have passed meanwhile are left out.
                // SAFETY: as above.
                let due = unsafe { (*slot).due };
                let passed = self.now.saturating_sub(due) / period;
                self.timers.add(index, due.saturating_add(period.saturating_mul(passed + 1)));
            } else {
                self.timers.give_back(index);
            }
            index = next;
        }
        self.next_timer = self.timers.next(self.now);
    }

    /// Whether the actor that set a timer is still there.
    fn owns_timer(&self, owner: u32, generation: u32) -> bool {
        // SAFETY: it was an actor of this worker.
        let actor = unsafe { &*self.actor(owner) };
        u32::from(actor.generation) == generation && matches!(actor.status, Status::Running | Status::Starting)
    }

    fn send_timer<F: Fabric>(&mut self, index: u32, full: &mut [u32; MAX_WORKERS as usize / 32]) -> Fate {
        let lines = self.timers.message(index);
        // SAFETY: the message of a place in use.
        let packed = unsafe { lines.packed() };
        let worker = packed.correlation();
        let header = Header { correlation: 0, ..packed.unpack() };
        let packed = header.pack();
        let refused = if worker == self.index {
            let accepted = self.accepts(&packed).and_then(|()| {
                // SAFETY: the node holds the largest message of the module.
                self.enqueue(&packed, |to| unsafe { to.copy_from(&lines, packed.lines()) })
            });
            accepted.err()
        } else if worker >= self.workers {
            Some(KernelError::Stopped)
        } else {
            let (word, bit) = (worker as usize / 32, 1 << (worker % 32));
            // What is due first goes first, also where a shorter message would find room.
            if full[word] & bit != 0 {
                return Fate::Kept;
            }
            // SAFETY: as above, of as many lines as the header says.
            let pushed = unsafe { lines.with_parcel(header.lines, |parcel| self.push_to_peer::<F>(worker, &header, parcel)) };
            if !pushed {
                full[word] |= bit;
                return Fate::Kept;
            }
            None
        };
        match refused {
            Some(error) if !self.refuse::<F>(&packed, lines, error) => Fate::Kept,
            _ => Fate::Gone,
        }
    }
}
