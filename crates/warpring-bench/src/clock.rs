//! The clock that single round trips are timed with.

use std::time::{Duration, Instant};

/// A tick counter with its measured rate: the time stamp counter on x86-64, [`Instant`] elsewhere.
///
/// A round trip of 100 ns is short against a system call's clock, so single trips are timed with the counter itself.
/// The cost of one reading is part of every time and is not subtracted: it is in the floor as well as in the subject.
/// [`Clock::reading_ns`] reports it.
///
/// The counter must tick at a constant rate and alike on all cores (`constant_tsc`, which all x86-64 machines of the
/// last decade have); times are differences taken on one thread, or on two threads where that is said.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    nanoseconds_per_tick: f64,
    reading_ns: f64,
}

impl Clock {
    /// Measures the counter's rate against [`Instant`] for 50 ms, and the cost of one reading.
    pub fn calibrate() -> Clock {
        let (instant, ticks) = (Instant::now(), read());
        while instant.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        let (elapsed, end) = (instant.elapsed(), read());
        let nanoseconds_per_tick = elapsed.as_nanos() as f64 / (end - ticks) as f64;
        let mut costs: Vec<u64> = (0..10_001)
            .map(|_| {
                let start = read();
                read() - start
            })
            .collect();
        costs.sort_unstable();
        Clock { nanoseconds_per_tick, reading_ns: costs[costs.len() / 2] as f64 * nanoseconds_per_tick }
    }

    /// The counter now, in ticks. All earlier loads of this thread have completed.
    #[inline]
    pub fn now(&self) -> u64 {
        read()
    }

    /// A number of ticks in nanoseconds.
    #[inline]
    pub fn nanoseconds(&self, ticks: u64) -> f64 {
        ticks as f64 * self.nanoseconds_per_tick
    }

    /// A duration in ticks, rounded down.
    pub fn ticks(&self, duration: Duration) -> u64 {
        (duration.as_nanos() as f64 / self.nanoseconds_per_tick) as u64
    }

    /// The median cost of one reading; every timed round trip contains it once.
    pub fn reading_ns(&self) -> f64 {
        self.reading_ns
    }

    /// One line for a report: which counter, its rate, the cost of a reading.
    pub fn note(&self) -> String {
        format!("{} at {:.3} GHz, a reading costs {:.1} ns", SOURCE, 1.0 / self.nanoseconds_per_tick, self.reading_ns)
    }
}

#[cfg(target_arch = "x86_64")]
const SOURCE: &str = "time stamp counter";
#[cfg(not(target_arch = "x86_64"))]
const SOURCE: &str = "system clock";

#[cfg(target_arch = "x86_64")]
#[inline]
fn read() -> u64 {
    // SAFETY: lfence and rdtsc are part of every x86-64 processor and touch no memory.
    unsafe {
        // Without the fence the counter could be read before the awaited answer has arrived.
        std::arch::x86_64::_mm_lfence();
        std::arch::x86_64::_rdtsc()
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn read() -> u64 {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_nanoseconds_are_inverse() {
        let clock = Clock { nanoseconds_per_tick: 0.5, reading_ns: 10.0 };
        assert_eq!(clock.ticks(Duration::from_micros(3)), 6_000);
        assert_eq!(clock.nanoseconds(6_000), 3_000.0);
        assert_eq!(clock.note().split(" at ").nth(1), Some("2.000 GHz, a reading costs 10.0 ns"));
    }

    #[test]
    fn the_counter_never_goes_back_on_a_thread() {
        let clock = Clock::calibrate();
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
