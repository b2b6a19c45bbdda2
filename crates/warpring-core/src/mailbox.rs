//! Actors and their mailboxes, as a worker keeps them: one 64-byte slot per actor, and messages that have to wait in nodes
//! of a pool that all actors of the worker share.
//!
//! Only the worker's leader touches any of this, so nothing here is atomic.

use crate::frame::NONE;
use crate::ring::{Line, Lines, link};
use crate::scoped::Device;

/// Where an actor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    /// Nobody lives here: what the zeroed memory of a new table says.
    #[allow(dead_code)]
    Free = 0,
    /// Launched or restarted; `initialize` has not ended. Messages wait.
    Starting,
    /// As `Starting`, but it drains as soon as `initialize` has ended: what waits is handled, every further message is refused.
    StartingLast,
    /// Takes messages.
    Running,
    /// It has ended, and its supervisor has to say what becomes of it. Messages wait.
    Held,
    /// It has ended, and its supervisor keeps its place: with others it may start again. Every message is refused, also those that wait.
    Resting,
    /// It ends after the messages that wait; every further message is refused.
    Draining,
    /// It ends: every message is refused, also those that wait.
    Ending,
    /// `initialize` failed when it was launched: every message is refused.
    Failed,
    /// The worker stops and `shutdown` is still to run: every message is refused.
    Stopping,
    /// It has ended, or the worker's stop runs its `shutdown`: every message is refused.
    Stopped,
}

impl Status {
    /// What an actor is once its `initialize` has ended well.
    #[cold]
    pub(crate) fn started(self) -> Self {
        if self == Self::StartingLast { Self::Draining } else { Self::Running }
    }
}

/// `Actor::frame` of an actor that runs nothing and may begin nothing: it is held, or its `initialize` is still to begin.
pub(crate) const HELD: u32 = NONE - 1;

/// Bits of `Actor::marks`.
pub(crate) mod mark {
    /// When it has ended it is held, until the host says what becomes of it.
    pub const SUPERVISED: u8 = 1;
    /// The host hears of its end.
    pub const WATCHED: u8 = 2;
    /// A handler spawned it: its slot is the worker's to give out again.
    pub const SPAWNED: u8 = 4;
    /// Its state may be half changed, or nobody waits for it: it ends without `shutdown`.
    pub const NO_SHUTDOWN: u8 = 8;
    /// The handler that is suspended is dropped.
    pub const KILL: u8 = 16;
    /// It ends once `initialize` has.
    pub const STOP: u8 = 32;
    /// The host has not heard yet that it is held.
    pub const NEWS: u8 = 64;
}

/// A list of mailbox nodes.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Queue {
    head: u32,
    tail: u32,
}

impl Queue {
    pub(crate) const EMPTY: Self = Self { head: NONE, tail: NONE };
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }
}

/// An actor on its worker: 64 bytes.
#[repr(C, align(64))]
pub struct Actor {
    pub(crate) state: *mut u8,
    pub(crate) high: Queue,
    pub(crate) normal: Queue,
    pub(crate) kind: u16,
    pub(crate) generation: u16,
    /// The frame that runs it now, or `NONE`.
    pub(crate) frame: u32,
    /// Next in the ready list.
    pub(crate) next: u32,
    pub(crate) waiting: u16,
    pub(crate) capacity: u16,
    pub(crate) handled: u32,
    pub(crate) state_bytes: u32,
    pub(crate) status: Status,
    pub(crate) ready: bool,
    /// High messages taken in a row while a normal one waited.
    pub(crate) streak: u8,
    /// Bits of [`mark`].
    pub(crate) marks: u8,
    /// Why it ended, as in [`ExitReason::to_parts`](crate::ExitReason::to_parts).
    pub(crate) reason: u16,
    pub(crate) detail: u32,
}

const _: () = assert!(size_of::<Actor>() == 64);

/// After so many messages of high priority in a row, a waiting one of normal priority goes first.
pub(crate) const MAX_STREAK: u8 = 16;

/// A pool of nodes, each as many lines as the largest message of the module.
#[repr(C)]
pub(crate) struct Nodes {
    base: *mut Line,
    lines: u32,
    count: u32,
    free: u32,
    /// Nodes from here on were never used: they need no link yet.
    fresh: u32,
    pub(crate) used: u32,
}

impl Nodes {
    /// # Safety
    /// `base` points to `lines * count` lines that are the pool's for good.
    pub(crate) unsafe fn new(base: *mut Line, lines: u32, count: u32) -> Self {
        Self { base, lines, count, free: NONE, fresh: 0, used: 0 }
    }

    #[inline(always)]
    fn node(&self, index: u32) -> *mut Line {
        debug_assert!(index < self.count);
        self.base.wrapping_add(index as usize * self.lines as usize)
    }

    #[inline(always)]
    fn take(&mut self) -> Option<u32> {
        let index = if self.free != NONE {
            let index = self.free;
            // SAFETY: a free node is the pool's alone.
            self.free = unsafe { link::<Device>(self.node(index)).get() };
            index
        } else if self.fresh < self.count {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        self.used += 1;
        Some(index)
    }

    /// Puts a node with the message that `fill` writes at the end of `queue`; false when the pool is empty.
    #[inline(always)]
    pub(crate) fn append(&mut self, queue: &mut Queue, fill: impl FnOnce(Lines)) -> bool {
        let Some(index) = self.take() else { return false };
        // SAFETY: the node is ours, of as many lines as any message has.
        fill(unsafe { Lines::flat(self.node(index)) });
        if queue.head == NONE {
            queue.head = index;
        } else {
            // SAFETY: a queued node is the pool's alone.
            unsafe { link::<Device>(self.node(queue.tail)).set(index) }
        }
        queue.tail = index;
        true
    }

    /// Takes the first message of `queue`. Its lines stay valid until the next `append`.
    #[inline(always)]
    pub(crate) fn pop(&mut self, queue: &mut Queue) -> Option<Lines> {
        if queue.head == NONE {
            return None;
        }
        let index = queue.head;
        let node = self.node(index);
        // SAFETY: a queued node is the pool's alone. The link is only valid when there is a next node.
        unsafe {
            queue.head = if index == queue.tail { NONE } else { link::<Device>(node).get() };
            link::<Device>(node).set(self.free);
        }
        self.free = index;
        self.used -= 1;
        // SAFETY: the content stays until the node is handed out again.
        Some(unsafe { Lines::flat(node) })
    }
}

impl Actor {
    /// A new tenant of a slot, who runs nothing yet.
    pub(crate) fn new(state: *mut u8, kind: u16, generation: u16, bytes: u32, capacity: u16, marks: u8) -> Self {
        Self {
            state,
            high: Queue::EMPTY,
            normal: Queue::EMPTY,
            kind,
            generation,
            frame: NONE,
            next: NONE,
            waiting: 0,
            capacity,
            handled: 0,
            state_bytes: bytes,
            status: Status::Running,
            ready: false,
            streak: 0,
            marks,
            reason: 0,
            detail: 0,
        }
    }

    /// The next message by priority: high before normal, but never more than [`MAX_STREAK`] in a row while a normal one waits.
    #[inline(always)]
    pub(crate) fn pop(&mut self, nodes: &mut Nodes) -> Option<Lines> {
        let starving = self.streak >= MAX_STREAK && !self.normal.is_empty();
        let lines = if !starving && !self.high.is_empty() {
            self.streak = if self.normal.is_empty() { 0 } else { self.streak + 1 };
            nodes.pop(&mut self.high)
        } else {
            self.streak = 0;
            nodes.pop(&mut self.normal)
        };
        if lines.is_some() {
            self.waiting -= 1;
        }
        lines
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
