//! Reply cells: where the replies to the host's asks are written. Each cell is used by one ask at a time.
//!
//! | word | writer | when |
//! |---|---|---|
//! | the cell's lines, then its sequence | the worker that answers | once per ask (SYNC: cell, in core's ring.rs) |
//! | `sequence` | the holder | before it asks |
//! | `parked` | the holder | while it sleeps |
//! | the free list | any host thread | compare-and-swap |
//! | the runtime's own cells | any host thread | under a lock |
//!
//! The runtime asks its workers too (launches, probes, stops). It has cells of its own for that, so that a runtime whose cells are
//! all in use can still be looked at and stopped.
//!
//! An ask that is given up leaves its cell with the worker: it is free again only after the late reply has come (`orphans`).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use atomic_waker::AtomicWaker;
use warpring_core::ring::{Line, Lines, read_cell};
use warpring_core::scoped::{System, Word32};

use crate::lock::lock;

const NONE: u32 = u32::MAX;

pub(crate) struct Cells {
    lines: *const Line,
    per_cell: usize,
    parked: *const Word32,
    sequences: Box<[AtomicU32]>,
    wakers: Box<[AtomicWaker]>,
    next: Box<[AtomicU32]>,
    /// Tag in the high half (against ABA), first free cell in the low half.
    free: AtomicU64,
    orphans: Mutex<Vec<Held>>,
    /// Cells for asks; those from here on are the runtime's own.
    asks: u32,
    own: Mutex<Vec<u32>>,
}

// SAFETY: the pointers name memory that outlives the cells (`new`); a cell is used by who holds it.
unsafe impl Send for Cells {}
// SAFETY: as above.
unsafe impl Sync for Cells {}

/// A cell that somebody holds, with the sequence that its reply will have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) cell: u32,
    pub(crate) sequence: u32,
}

impl Cells {
    /// # Safety
    /// There are `asks + own` cells of `per_cell` zeroed lines, and a word for each, and they outlive this.
    pub(crate) unsafe fn new(asks: u32, own: u32, per_cell: usize, lines: *const Line, parked: *const Word32) -> Self {
        let n = (asks + own) as usize;
        Self {
            lines,
            per_cell,
            parked,
            sequences: (0..n).map(|_| AtomicU32::new(0)).collect(),
            wakers: (0..n).map(|_| AtomicWaker::new()).collect(),
            next: (0..asks + own).map(|i| AtomicU32::new(if i + 1 < asks { i + 1 } else { NONE })).collect(),
            free: AtomicU64::new(if asks == 0 { u64::from(NONE) } else { 0 }),
            orphans: Mutex::new(Vec::new()),
            asks,
            own: Mutex::new((asks..asks + own).collect()),
        }
    }

    /// Cells for asks.
    pub(crate) fn count(&self) -> u32 {
        self.asks
    }

    /// All cells, the runtime's own included.
    pub(crate) fn total(&self) -> u32 {
        self.next.len() as u32
    }

    /// Takes one of the runtime's own cells.
    pub(crate) fn take_own(&self) -> Option<Held> {
        let mut cell = lock(&self.own).pop();
        if cell.is_none() && self.sweep() {
            cell = lock(&self.own).pop();
        }
        cell.map(|cell| self.renew(cell))
    }

    /// Gives a cell back of either kind.
    pub(crate) fn release(&self, cell: u32) {
        if cell < self.asks {
            self.give(cell);
        } else {
            lock(&self.own).push(cell);
        }
    }

    /// Takes a free cell.
    #[inline]
    pub(crate) fn take(&self) -> Option<Held> {
        let mut head = self.free.load(Ordering::Acquire);
        loop {
            let cell = head as u32;
            if cell == NONE {
                return if self.sweep() { self.take() } else { None };
            }
            let next = self.next[cell as usize].load(Ordering::Relaxed);
            let new = (head & !0xffff_ffff).wrapping_add(1 << 32) | u64::from(next);
            match self.free.compare_exchange_weak(head, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(self.renew(cell)),
                Err(now) => head = now,
            }
        }
    }

    /// The next ask of a cell that the caller holds.
    #[inline]
    pub(crate) fn renew(&self, cell: u32) -> Held {
        let word = &self.sequences[cell as usize];
        // Never 0, which is what a cell that nobody answered holds.
        let sequence = word.load(Ordering::Relaxed).wrapping_add(1).max(1);
        word.store(sequence, Ordering::Relaxed);
        Held { cell, sequence }
    }

    /// The ask that a cell was last used for.
    pub(crate) fn current(&self, cell: u32) -> Held {
        Held { cell, sequence: self.sequences[cell as usize].load(Ordering::Relaxed) }
    }

    /// Gives a cell for asks back whose reply was read.
    #[inline]
    pub(crate) fn give(&self, cell: u32) {
        let mut head = self.free.load(Ordering::Relaxed);
        loop {
            self.next[cell as usize].store(head as u32, Ordering::Relaxed);
            let new = (head & !0xffff_ffff).wrapping_add(1 << 32) | u64::from(cell);
            match self.free.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Gives up on a reply: the cell is free again when it comes.
    pub(crate) fn abandon(&self, held: Held) {
        self.wakers[held.cell as usize].take();
        if self.reply(held).is_some() {
            self.release(held.cell);
        } else {
            lock(&self.orphans).push(held);
        }
    }

    /// Frees the cells of given-up asks whose replies have come; whether there was one.
    fn sweep(&self) -> bool {
        let mut orphans = lock(&self.orphans);
        let before = orphans.len();
        orphans.retain(|held| {
            let late = self.reply(*held).is_some();
            if late {
                self.release(held.cell);
            }
            !late
        });
        orphans.len() < before
    }

    /// The reply, if it is there.
    #[inline(always)]
    pub(crate) fn reply(&self, held: Held) -> Option<Lines> {
        // SAFETY: the cell is in range, and the caller holds it.
        unsafe { read_cell::<System>(self.line(held.cell), held.sequence) }
    }

    #[inline(always)]
    fn line(&self, cell: u32) -> *const Line {
        self.lines.wrapping_add(cell as usize * self.per_cell)
    }

    pub(crate) fn waker(&self, cell: u32) -> &AtomicWaker {
        &self.wakers[cell as usize]
    }

    /// Says that the holder sleeps, or not.
    pub(crate) fn park(&self, cell: u32, parked: bool) {
        // SAFETY: there is a word for each cell.
        unsafe { (*self.parked.add(cell as usize)).set_relaxed::<System>(u32::from(parked)) }
    }
}
