//! Figures with their floors.
//!
//! A figure alone says little: the same round trip between two threads takes 50 ns where two cores share a cache and
//! 500 ns where they do not. So each figure here is a ratio to a *floor*, the least that this machine allows for the
//! same exchange, measured in the same run and in slices that alternate with the subject's.
//!
//! ```
//! use warpring_bench::{Effort, Figure, Floor, Report, Stage, round_trips};
//!
//! let stage = Stage::new(Effort::quick()).expect("two cpus");
//! let mut report = Report::new(&stage.clock);
//! let mut state = 0u64;
//! let compared = stage.against(Floor::CacheLineRoundTrip, || {
//!     round_trips(stage.clock, stage.effort.slice, || state = warpring_bench::step(state, 1))
//! });
//! report.push(Figure::compared("a-call", Floor::CacheLineRoundTrip.name(), &compared).backend("cpu"));
//! report.print(&mut std::io::stdout()).unwrap();
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`clock`](Clock) | the time stamp counter, its rate and its cost |
//! | [`slice`](Slice) | what one slice measured: times of round trips, or a rate |
//! | [`interleaved`](Interleaved) | floor, subject, floor, subject, floor: and the median ratio |
//! | [`floor`](Floor) | the floors and the stage that runs them |
//! | [`figure`](Figure) | figures, the report, its table and its JSON |
//! | [`gpu`] | the floors of a GPU, and the figures of the framework on it |

mod clock;
mod cpus;
mod figure;
mod floor;
pub mod gpu;
mod interleaved;
mod memory;
pub mod ours;
mod ring;
mod round_trip;
mod slice;

pub use clock::Clock;
pub use cpus::{TooFewCpus, TwoCpus};
pub use figure::{Figure, Machine, Report};
pub use floor::{Effort, Floor, Stage};
pub use interleaved::{Compared, Interleaved};
pub use slice::{BATCH, Rate, Recorder, Slice, Times, round_trips};

/// What every measured actor does with a message, and what its asker checks: the new state, which is the answer too.
///
/// It depends on the state, on the message and on the order of messages, so that a bare echo, a lost message, a
/// repeated one and two that changed places all give a wrong answer. It costs two instructions.
#[inline]
pub fn step(state: u64, message: u64) -> u64 {
    state.rotate_left(7).wrapping_add(message)
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn an_answer_depends_on_state_message_and_order() {
        assert_ne!(step(1, 5), step(2, 5));
        assert_ne!(step(1, 5), step(1, 6));
        assert_ne!(step(step(0, 5), 6), step(step(0, 6), 5));
        assert_ne!(step(3, 5), 5);
    }
}
