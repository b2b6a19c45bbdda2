//! The floors by name, and the stage that runs them.

use std::cell::RefCell;
use std::time::Duration;

use crate::memory::Memory;
use crate::round_trip::{Trip, Trips, round_trips};
use crate::{Clock, Compared, Interleaved, Slice, TooFewCpus, TwoCpus, ring};

/// The least that a machine allows for an exchange, measured on it with two threads on two cpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// 32 bytes and their sequence in one line each way, both sides spin without a pause hint: what an ask is
    /// compared with. Times.
    CacheLineRoundTrip,
    /// The same with the pause hint. Times.
    CacheLineRoundTripPause,
    /// A bare counter that two cpus store to in turn. Times.
    CounterRoundTrip,
    /// A ring of 64-byte slots that carry their own sequence, one producer and one consumer, the best of several ways
    /// to wait for a message. A rate.
    SlotFlagRing,
    /// Two such rings as request and reply, 64 requests under way, the best likewise. A rate.
    SlotFlagRing64Outstanding,
    /// A large copy on both cpus, bytes read and written over 64. A rate.
    MemoryBandwidth,
}

impl Floor {
    /// All of them.
    pub const ALL: [Floor; 6] = [
        Floor::CacheLineRoundTrip,
        Floor::CacheLineRoundTripPause,
        Floor::CounterRoundTrip,
        Floor::SlotFlagRing,
        Floor::SlotFlagRing64Outstanding,
        Floor::MemoryBandwidth,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Floor::CacheLineRoundTrip => "cache-line-round-trip",
            Floor::CacheLineRoundTripPause => "cache-line-round-trip-pause",
            Floor::CounterRoundTrip => "counter-round-trip",
            Floor::SlotFlagRing => "slot-flag-ring",
            Floor::SlotFlagRing64Outstanding => "slot-flag-ring-64-outstanding",
            Floor::MemoryBandwidth => "memory-bandwidth",
        }
    }
}

/// How long a measurement takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Subject slices per figure; there is one floor slice more.
    pub slices: usize,
    /// About how long a subject slice lasts.
    pub slice: Duration,
    floor: FloorEffort,
}

/// Floors count exchanges instead of time: neither side looks at a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FloorEffort {
    trips: Trips,
    messages: u64,
    requests: u64,
    copied_bytes: usize,
}

impl Effort {
    /// For figures to keep: about a second per figure.
    pub fn full() -> Effort {
        Effort {
            slices: 5,
            slice: Duration::from_millis(150),
            floor: FloorEffort {
                trips: Trips { warm_up: 5_000, singles: 50_000, batches: 30 },
                messages: 500_000,
                requests: 150_000,
                copied_bytes: 128 << 20,
            },
        }
    }

    /// For a smoke test: the exchanges take place and are checked, the figures are not worth keeping.
    pub fn quick() -> Effort {
        Effort {
            slices: 2,
            slice: Duration::from_millis(10),
            floor: FloorEffort {
                trips: Trips { warm_up: 500, singles: 2_000, batches: 2 },
                messages: 20_000,
                requests: 5_000,
                copied_bytes: 8 << 20,
            },
        }
    }
}

/// What all figures of a run share: the clock, the cpus, the effort.
pub struct Stage {
    /// The calibrated clock.
    pub clock: Clock,
    /// The two cpus of the floors.
    pub cpus: TwoCpus,
    /// How long to measure.
    pub effort: Effort,
    // Made on first use: a run that needs no bandwidth does without its buffers.
    memory: RefCell<Option<Memory>>,
}

impl Stage {
    /// Calibrates the clock and picks the cpus.
    ///
    /// # Errors
    /// [`TooFewCpus`], see [`TwoCpus::discover`].
    pub fn new(effort: Effort) -> Result<Stage, TooFewCpus> {
        let cpus = TwoCpus::discover()?;
        Ok(Stage { clock: Clock::calibrate(), cpus, effort, memory: RefCell::new(None) })
    }

    /// One slice of a floor.
    ///
    /// # Panics
    /// Where the exchange itself went wrong (a lost message, a wrong answer): a floor that did not do its work is no
    /// floor.
    pub fn floor(&self, floor: Floor) -> Slice {
        let (clock, cpus, effort) = (self.clock, self.cpus, self.effort.floor);
        match floor {
            Floor::CacheLineRoundTrip => round_trips(clock, cpus, Trip::Line, effort.trips),
            Floor::CacheLineRoundTripPause => round_trips(clock, cpus, Trip::LinePause, effort.trips),
            Floor::CounterRoundTrip => round_trips(clock, cpus, Trip::Counter, effort.trips),
            Floor::SlotFlagRing => ring::one_way(clock, cpus, effort.messages),
            Floor::SlotFlagRing64Outstanding => ring::outstanding(clock, cpus, effort.requests),
            Floor::MemoryBandwidth => {
                let mut memory = self.memory.borrow_mut();
                memory.get_or_insert_with(|| Memory::new(effort.copied_bytes)).slice(clock, cpus)
            }
        }
    }

    /// A floor for itself: the merged slices of this stage's effort.
    pub fn floor_alone(&self, floor: Floor) -> Slice {
        let mut all = self.floor(floor);
        for _ in 1..self.effort.slices {
            all.merge(&self.floor(floor));
        }
        all
    }

    /// A subject between slices of its floor. The subject does its own warm-up, and leaves both cpus idle.
    pub fn against(&self, floor: Floor, subject: impl FnMut() -> Slice) -> Compared {
        Interleaved::run(self.effort.slices, || self.floor(floor), subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_floor_runs_and_has_its_own_name() {
        let Ok(stage) = Stage::new(Effort::quick()) else {
            return;
        };
        let mut names = std::collections::HashSet::new();
        for floor in Floor::ALL {
            assert!(names.insert(floor.name()));
            assert!(stage.floor(floor).value() > 0.0, "{}", floor.name());
        }
    }
}
