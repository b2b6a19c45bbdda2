//! One side of a book: levels in price order in a circular buffer.
//!
//! Nearly all changes happen close to the best price, and a full book loses its worst level whenever it gains one. So
//! levels lie from worst to best, a change moves only the levels on its shorter side, and dropping the worst is one
//! step of the buffer's start. No copy of a run-time length is used: on the GPU that would go byte by byte.

use super::book::{BOOK_FULL, Level, MAX_DEPTH};
use core::cmp::Ordering;
use warpring::State;

/// Room for the deepest book and for what one update may add before the book is cut back to its depth.
pub(super) const CAPACITY: u32 = MAX_DEPTH + 128;

/// Which of two prices is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Best {
    Lowest,
    Highest,
}

/// Levels from worst to best. All zeros is an empty side.
#[derive(Clone, Copy, Debug, State)]
#[repr(C)]
pub(super) struct Side {
    /// Where in the buffer the worst level lies.
    start: u32,
    count: u32,
    levels: [Level; CAPACITY as usize],
}

impl Side {
    pub(super) const fn new() -> Self {
        Self { start: 0, count: 0, levels: [Level::EMPTY; CAPACITY as usize] }
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) const fn clear(&mut self) {
        self.start = 0;
        self.count = 0;
    }

    /// The level at a distance from the best, which has rank 0. The rank must be below `count`.
    pub(super) const fn best(&self, rank: u32) -> Level {
        self.levels[self.place(self.count - 1 - rank)]
    }

    /// Where the level with this position (0 is the worst) lies in the buffer.
    const fn place(&self, position: u32) -> usize {
        let place = self.start + position;
        (if place >= CAPACITY { place - CAPACITY } else { place }) as usize
    }

    /// Sets the volume at a price, a volume of zero deleting the level; deleting what is not there does nothing,
    /// because an exchange may delete what we had dropped as too deep.
    pub(super) fn set(&mut self, order: Best, level: Level) -> Result<(), u32> {
        let (position, found) = self.find(order, level);
        match (found, level.volume.is_zero()) {
            // The price is replaced too: the exchange may write the same price in another way.
            (true, false) => self.levels[self.place(position)] = level,
            (true, true) => self.remove(position),
            (false, true) => {}
            (false, false) => return self.insert(position, level),
        }
        Ok(())
    }

    /// Drops the worst levels beyond the depth.
    pub(super) const fn cut_to(&mut self, depth: u32) {
        if self.count > depth {
            self.start = self.place(self.count - depth) as u32;
            self.count = depth;
        }
    }

    /// The position of the price, and whether it is there; otherwise where it would have to stand.
    fn find(&self, order: Best, level: Level) -> (u32, bool) {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let from_worst = self.levels[self.place(middle)].price.compare(level.price);
            let from_worst = if order == Best::Lowest { from_worst.reverse() } else { from_worst };
            match from_worst {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return (middle, true),
                Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    fn insert(&mut self, position: u32, level: Level) -> Result<(), u32> {
        if self.count == CAPACITY {
            return Err(BOOK_FULL);
        }
        self.count += 1;
        if position < self.count / 2 {
            // Make room at the worst end.
            self.start = if self.start == 0 { CAPACITY - 1 } else { self.start - 1 };
            for i in 0..position {
                self.levels[self.place(i)] = self.levels[self.place(i + 1)];
            }
        } else {
            for i in (position + 1..self.count).rev() {
                self.levels[self.place(i)] = self.levels[self.place(i - 1)];
            }
        }
        self.levels[self.place(position)] = level;
        Ok(())
    }

    fn remove(&mut self, position: u32) {
        if position < self.count / 2 {
            for i in (1..=position).rev() {
                self.levels[self.place(i)] = self.levels[self.place(i - 1)];
            }
            self.start = self.place(1) as u32;
        } else {
            for i in position..self.count - 1 {
                self.levels[self.place(i)] = self.levels[self.place(i + 1)];
            }
        }
        self.count -= 1;
    }
}
