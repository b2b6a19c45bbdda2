//! The floor of an ask: one cache line there, one cache line back.
//!
//! | field | client | server |
//! |---|---|---|
//! | `request.payload` | writes before it stores `request.sequence` | reads after it saw that sequence |
//! | `request.sequence` | stores the trip's number | loads |
//! | `reply.payload` | reads after it saw that sequence | writes before it stores `reply.sequence` |
//! | `reply.sequence` | loads | stores the trip's number |
//!
//! The client writes a request only after it has read the reply to the one before, so each payload has one user at a
//! time.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::slice::BATCH;
use crate::{Clock, Slice, Times, TwoCpus, step};

/// 32 bytes: what a small message carries.
pub(crate) type Payload = [u64; 4];

/// Which round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trip {
    /// A payload with its sequence, both sides spin without a pause hint.
    Line,
    /// The same with the hint.
    LinePause,
    /// A bare counter.
    Counter,
}

/// How many round trips one slice makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trips {
    pub warm_up: u32,
    pub singles: u32,
    pub batches: u32,
}

impl Trips {
    fn total(self) -> u32 {
        self.warm_up + self.singles + self.batches * BATCH
    }
}

/// The payload and its sequence lie in one line of 64 bytes; 128 keep the next line out of the adjacent-line
/// prefetcher's reach.
#[repr(C, align(128))]
struct Line {
    payload: UnsafeCell<Payload>,
    sequence: AtomicU32,
}

// SAFETY: `payload` is the only field that is not atomic. The table above gives each of its accesses one owner at a
// time: the writer writes before its release store of `sequence`, the reader reads after the acquire load that saw that
// number, and the writer writes again only after a message that the reader sent after its reading.
unsafe impl Sync for Line {}

impl Line {
    fn new() -> Line {
        Line { payload: UnsafeCell::new([0; 4]), sequence: AtomicU32::new(0) }
    }

    #[inline(always)]
    fn post(&self, payload: Payload, trip: u32) {
        // SAFETY: the other side reads this payload only between the store below and its own answer, which this side
        // has awaited before (or the line is still unused).
        unsafe { self.payload.get().write(payload) };
        // SYNC: line-payload, makes the payload visible to whoever sees this number.
        self.sequence.store(trip, Ordering::Release);
    }

    #[inline(always)]
    fn wait<const PAUSE: bool>(&self, trip: u32) -> Payload {
        // SYNC: line-payload, seeing the number makes its payload visible.
        while self.sequence.load(Ordering::Acquire) != trip {
            if PAUSE {
                std::hint::spin_loop();
            }
        }
        // SAFETY: the number was seen, so the writer has finished, and it does not write again before it has this
        // side's next message.
        unsafe { self.payload.get().read() }
    }
}

/// What the server does: the answer depends on its state and on the request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Server {
    state: u64,
}

impl Server {
    #[inline(always)]
    pub(crate) fn answer(&mut self, request: Payload) -> Payload {
        self.state = step(self.state, request[0]);
        [self.state, self.state ^ request[1], request[2], request[3]]
    }
}

#[inline(always)]
pub(crate) fn request(number: u64) -> Payload {
    [number, !number, number ^ 0x5555, 7]
}

/// One slice of round trips between two cpus.
///
/// # Panics
/// Where an answer is wrong.
pub(crate) fn round_trips(clock: Clock, cpus: TwoCpus, trip: Trip, trips: Trips) -> Slice {
    match trip {
        Trip::Line => line::<false>(clock, cpus, trips),
        Trip::LinePause => line::<true>(clock, cpus, trips),
        Trip::Counter => counter(clock, cpus, trips),
    }
}

fn line<const PAUSE: bool>(clock: Clock, cpus: TwoCpus, trips: Trips) -> Slice {
    let (there, back) = (Line::new(), Line::new());
    let client = || {
        // The client mirrors the server, so that it knows each answer.
        let mut mirror = Server::default();
        let mut number = 0u32;
        drive(clock, trips, || {
            number += 1;
            let asked = request(number as u64);
            there.post(asked, number);
            back.wait::<PAUSE>(number) == mirror.answer(asked)
        })
    };
    let server = || {
        let mut server = Server::default();
        for number in 1..=trips.total() {
            back.post(server.answer(there.wait::<PAUSE>(number)), number);
        }
    };
    cpus.run(client, server).0.finish()
}

/// Set in the counter while it holds an answer.
const ANSWER: u64 = 1 << 63;

fn counter(clock: Clock, cpus: TwoCpus, trips: Trips) -> Slice {
    #[repr(align(128))]
    struct Counter(AtomicU64);
    let word = Counter(AtomicU64::new(ANSWER));
    let client = || {
        let (mut number, mut state) = (0u64, 0u64);
        drive(clock, trips, || {
            number += 1;
            // Relaxed throughout: the word itself is all that is exchanged.
            word.0.store(number, Ordering::Relaxed);
            state = step(state, number) & !ANSWER;
            loop {
                let seen = word.0.load(Ordering::Relaxed);
                if seen & ANSWER != 0 {
                    break seen == state | ANSWER;
                }
            }
        })
    };
    let server = || {
        let mut state = 0u64;
        for _ in 0..trips.total() {
            let asked = loop {
                let seen = word.0.load(Ordering::Relaxed);
                if seen & ANSWER == 0 {
                    break seen;
                }
            };
            state = step(state, asked) & !ANSWER;
            word.0.store(state | ANSWER, Ordering::Relaxed);
        }
    };
    cpus.run(client, server).0.finish()
}

/// Times and wrong answers. A client that panicked would leave its server spinning, so wrong answers are counted first
/// and asserted after both have ended.
struct Driven {
    clock: Clock,
    ticks: Vec<u64>,
    times: Times,
    wrong: u64,
}

/// Makes all trips of a slice: warm-up, single times, batches. `trip` tells whether its answer was right.
#[inline(always)]
fn drive(clock: Clock, trips: Trips, mut trip: impl FnMut() -> bool) -> Driven {
    let mut wrong = 0u64;
    let mut ticks = vec![1u64; trips.singles as usize];
    for _ in 0..trips.warm_up {
        wrong += u64::from(!trip());
    }
    for time in &mut ticks {
        let started = clock.now();
        let right = trip();
        *time = clock.now() - started;
        wrong += u64::from(!right);
    }
    let mut times = Times::new();
    for _ in 0..trips.batches {
        let started = clock.now();
        for _ in 0..BATCH {
            wrong += u64::from(!trip());
        }
        times.record_batch(clock.nanoseconds(clock.now() - started), BATCH as u64);
    }
    Driven { clock, ticks, times, wrong }
}

impl Driven {
    fn finish(mut self) -> Slice {
        assert_eq!(self.wrong, 0, "wrong answers in the floor's round trip");
        for &ticks in &self.ticks {
            self.times.record_ns(self.clock.nanoseconds(ticks));
        }
        Slice::Times(self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_not_its_request_and_has_a_history() {
        let mut server = Server::default();
        let first = server.answer(request(5));
        let second = server.answer(request(5));
        assert_ne!(first, request(5));
        assert_ne!(first, second);
    }

    #[test]
    fn every_kind_of_trip_is_made_and_counted() {
        let Ok(cpus) = TwoCpus::discover() else {
            return;
        };
        let trips = Trips { warm_up: 10, singles: 100, batches: 1 };
        for trip in [Trip::Line, Trip::LinePause, Trip::Counter] {
            let Slice::Times(times) = round_trips(Clock::calibrate(), cpus, trip, trips) else { panic!("times") };
            assert_eq!(times.count(), 100, "{trip:?}");
            assert!(times.batch_mean_ns().is_some(), "{trip:?}");
        }
    }

    #[test]
    #[should_panic(expected = "wrong answers")]
    fn a_wrong_answer_fails_the_slice() {
        let trips = Trips { warm_up: 0, singles: 3, batches: 0 };
        let mut number = 0;
        drive(Clock::calibrate(), trips, || {
            number += 1;
            number != 2
        })
        .finish();
    }
}
