//! What one slice of a measurement yields.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Clock;

/// Round trips per batch of the cross check.
pub const BATCH: u32 = 1_000;

/// Single times kept per slice at most; a slice ends when they are full.
const MAX_SAMPLES: usize = 1 << 18;

/// What one slice measured.
#[derive(Clone, Debug)]
pub enum Slice {
    /// Times of single round trips.
    Times(Times),
    /// A number of messages in a time.
    Rate(Rate),
}

/// Times of single round trips, and the means of whole batches as a cross check.
#[derive(Clone, Debug)]
pub struct Times {
    // In picoseconds: whole nanoseconds would round a trip of 50 ns by 2 %.
    histogram: Histogram<u64>,
    batch_means_ns: Vec<f64>,
}

/// Messages per second.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// All messages counted.
    pub count: u64,
    per_second: Vec<f64>,
}

impl Slice {
    /// What ratios are taken of: the median time in nanoseconds, or the rate per second.
    pub fn value(&self) -> f64 {
        match self {
            Slice::Times(times) => times.percentile_ns(50.0),
            Slice::Rate(rate) => rate.per_second(),
        }
    }

    /// A slice of `count` messages in `ticks` of `clock`.
    pub fn rate(clock: &Clock, count: u64, ticks: u64) -> Slice {
        Slice::Rate(Rate::new(count, clock.nanoseconds(ticks) / 1e9))
    }

    /// Adds what another slice of the same subject measured.
    ///
    /// # Panics
    /// Where one is of times and the other a rate.
    pub fn merge(&mut self, other: &Slice) {
        match (self, other) {
            (Slice::Times(times), Slice::Times(other)) => {
                times.histogram.add(&other.histogram).expect("both grow by themselves and have the same precision");
                times.batch_means_ns.extend(&other.batch_means_ns);
            }
            (Slice::Rate(rate), Slice::Rate(other)) => {
                rate.count += other.count;
                rate.per_second.extend(&other.per_second);
            }
            _ => panic!("a slice of times and a rate cannot be merged"),
        }
    }
}

impl Rate {
    /// `count` messages in `seconds`.
    pub fn new(count: u64, seconds: f64) -> Rate {
        Rate { count, per_second: vec![count as f64 / seconds] }
    }

    /// The median rate of the merged slices.
    pub fn per_second(&self) -> f64 {
        median(&self.per_second)
    }
}

impl Times {
    /// No times yet.
    pub fn new() -> Times {
        Times { histogram: Histogram::new(3).expect("three digits are in range"), batch_means_ns: Vec::new() }
    }

    /// Adds one time.
    pub fn record_ns(&mut self, nanoseconds: f64) {
        self.histogram.record((nanoseconds * 1e3).round().max(0.0) as u64).expect("the histogram grows by itself");
    }

    /// Adds a block of `trips` round trips that was timed as a whole.
    pub fn record_batch(&mut self, nanoseconds: f64, trips: u64) {
        self.batch_means_ns.push(nanoseconds / trips as f64);
    }

    /// Times recorded singly.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The time that `percent` of the trips did not exceed, to three digits.
    pub fn percentile_ns(&self, percent: f64) -> f64 {
        self.histogram.value_at_quantile(percent / 100.0) as f64 / 1e3
    }

    /// The mean of a batch, in which no single trip is timed, as the median over batches: one batch during which a
    /// thread lost its cpu would move a mean over all by as much as it likes. `None` without a batch.
    pub fn batch_mean_ns(&self) -> Option<f64> {
        (!self.batch_means_ns.is_empty()).then(|| median(&self.batch_means_ns))
    }

    /// The raw histogram: each value in nanoseconds with its count, in ascending order.
    pub fn histogram(&self) -> Vec<(f64, u64)> {
        self.histogram.iter_recorded().map(|value| (value.value_iterated_to() as f64 / 1e3, value.count_at_value())).collect()
    }
}

impl Default for Times {
    fn default() -> Times {
        Times::new()
    }
}

/// Records the round trips of one slice: single times first, then batches. It owns all that it needs, so that it can
/// live in a task on another thread.
#[derive(Debug)]
pub struct Recorder {
    clock: Clock,
    singles_until: u64,
    batches_until: u64,
    ticks: Vec<u64>,
    last: u64,
    times: Times,
}

impl Recorder {
    /// A slice that lasts about `lasting`: four fifths for single times, one fifth for batches of [`BATCH`], of which
    /// there is at least one.
    pub fn new(clock: Clock, lasting: Duration) -> Recorder {
        let mut ticks = vec![1; MAX_SAMPLES];
        // Filled and cleared: its pages are mapped now and not while trips are timed.
        ticks.clear();
        let start = clock.now();
        Recorder {
            clock,
            singles_until: start + clock.ticks(lasting * 4 / 5),
            batches_until: start + clock.ticks(lasting),
            ticks,
            last: start,
            times: Times::new(),
        }
    }

    /// Whether there is time and room for another single trip.
    #[inline]
    pub fn more(&self) -> bool {
        self.last < self.singles_until && self.ticks.len() < MAX_SAMPLES
    }

    /// Call before a trip.
    #[inline]
    pub fn start(&self) -> u64 {
        self.clock.now()
    }

    /// Call after the trip, and check its answer after that.
    #[inline]
    pub fn stop(&mut self, started: u64) {
        self.last = self.clock.now();
        self.ticks.push(self.last - started);
    }

    /// Whether there is time for another batch; true at least once.
    pub fn more_batches(&self) -> bool {
        self.times.batch_means_ns.is_empty() || self.last < self.batches_until
    }

    /// Call after a batch of [`BATCH`] trips.
    pub fn stop_batch(&mut self, started: u64) {
        self.last = self.clock.now();
        self.times.record_batch(self.clock.nanoseconds(self.last - started), BATCH as u64);
    }

    /// The slice.
    pub fn finish(mut self) -> Slice {
        for &ticks in &self.ticks {
            self.times.record_ns(self.clock.nanoseconds(ticks));
        }
        Slice::Times(self.times)
    }
}

/// One slice of a blocking round trip, without warm-up: `trip` asks and checks the answer.
pub fn round_trips(clock: Clock, lasting: Duration, mut trip: impl FnMut()) -> Slice {
    let mut recorder = Recorder::new(clock, lasting);
    while recorder.more() {
        let started = recorder.start();
        trip();
        recorder.stop(started);
    }
    while recorder.more_batches() {
        let started = recorder.start();
        for _ in 0..BATCH {
            trip();
        }
        recorder.stop_batch(started);
    }
    recorder.finish()
}

/// The middle value, or the mean of the two middle ones; not a number without any.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_recorded_times() {
        let mut times = Times::new();
        for nanoseconds in 1..=1_000 {
            times.record_ns(nanoseconds as f64);
        }
        let near = |percent: f64, expected: f64| {
            let got = times.percentile_ns(percent);
            assert!((got - expected).abs() <= expected * 0.002, "p{percent} is {got}, not {expected}");
        };
        near(50.0, 500.0);
        near(99.0, 990.0);
        near(99.9, 999.0);
        near(100.0, 1_000.0);
        assert_eq!(times.count(), 1_000);
    }

    #[test]
    fn a_short_time_keeps_three_digits() {
        let mut times = Times::new();
        times.record_ns(50.4);
        assert!((times.percentile_ns(50.0) - 50.4).abs() < 0.06, "{}", times.percentile_ns(50.0));
    }

    #[test]
    fn merging_adds_times_and_batches() {
        let mut a = Times::new();
        a.record_ns(10.0);
        a.record_batch(1_000.0, 100);
        a.record_batch(2_000.0, 100);
        let mut b = Times::new();
        b.record_ns(30.0);
        b.record_ns(30.0);
        b.record_batch(5_000.0, 100);
        let mut merged = Slice::Times(a);
        merged.merge(&Slice::Times(b));
        let Slice::Times(merged) = merged else { unreachable!() };
        assert_eq!(merged.count(), 3);
        assert!((merged.percentile_ns(50.0) - 30.0).abs() < 0.1);
        assert_eq!(merged.batch_mean_ns(), Some(20.0));
        let histogram = merged.histogram();
        assert_eq!(histogram.iter().map(|&(_, count)| count).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_merged_rate_is_the_median_of_its_slices() {
        let mut rate = Slice::Rate(Rate::new(100, 1.0));
        rate.merge(&Slice::Rate(Rate::new(300, 1.0)));
        rate.merge(&Slice::Rate(Rate::new(1, 1.0)));
        assert_eq!(rate.value(), 100.0);
        let Slice::Rate(rate) = rate else { unreachable!() };
        assert_eq!(rate.count, 401);
    }

    #[test]
    #[should_panic(expected = "cannot be merged")]
    fn times_and_rates_do_not_mix() {
        Slice::Rate(Rate::new(1, 1.0)).merge(&Slice::Times(Times::new()));
    }

    #[test]
    fn every_trip_is_counted_once() {
        let mut trips = 0u64;
        let slice = round_trips(Clock::calibrate(), Duration::from_millis(1), || trips += 1);
        let Slice::Times(times) = slice else { unreachable!() };
        let batches = times.batch_means_ns.len() as u64;
        assert_eq!(trips, times.count() + batches * BATCH as u64);
        assert!(batches >= 1);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert!(median(&[]).is_nan());
    }
}
