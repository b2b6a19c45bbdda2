//! Figures of a GPU: the least that it needs for each exchange, and what the framework takes.
//!
//! | file | what it holds |
//! |---|---|
//! | `gpu/figures.rs` | the framework's figures, by its public API alone: they run on every backend with threads of its own |
//! | `gpu/floors.ptx` | the floors' kernels, by hand |
//! | `gpu/floors.rs` | the floors: who launches those kernels and checks what they leave |
//! | `gpu/device.rs` | the driver, as the floors need it |
//! | `gpu/beside.rs` | other work on the same device, beside a grid |

pub mod figures;

#[cfg(feature = "cuda")]
mod beside;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod floors;

#[cfg(feature = "cuda")]
pub use beside::{Beside, beside};
#[cfg(feature = "cuda")]
pub use device::{Device, GpuError};
#[cfg(feature = "cuda")]
pub use floors::{Floors, floors};

use serde::Serialize;

use crate::Figure;

/// A figure of hops between pairs, with what each pair took.
#[derive(Clone, Debug, Serialize)]
pub struct Hops {
    /// All batches of all pairs.
    pub figure: Figure,
    /// The median over pairs of a pair's median: what the figure says of a pair that is neither near nor far.
    pub median_pair_ns: f64,
    /// The nearest pair's median.
    pub least_pair_ns: f64,
    /// The farthest pair's median.
    pub most_pair_ns: f64,
    /// Each pair.
    pub pairs: Vec<Pair>,
}

/// What one pair took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The first: of a floor its multiprocessor, of the framework its worker.
    pub a: u32,
    /// The second.
    pub b: u32,
    /// Median of a hop over the pair's batches.
    pub p50_ns: f64,
    /// The pair's fastest batch.
    pub min_ns: f64,
    /// The pair's slowest batch.
    pub max_ns: f64,
}

impl Pair {
    /// A pair whose batches took so long, in nanoseconds a hop; at least one batch.
    fn of(a: u32, b: u32, hops_ns: &[f64]) -> Self {
        let fold = |f: fn(f64, f64) -> f64| hops_ns.iter().copied().reduce(f).unwrap_or(f64::NAN);
        Self { a, b, p50_ns: crate::slice::median(hops_ns), min_ns: fold(f64::min), max_ns: fold(f64::max) }
    }
}

impl Hops {
    /// Of these pairs, and the times of all their batches.
    fn of(name: &str, times: crate::Times, pairs: Vec<Pair>) -> Self {
        let medians: Vec<f64> = pairs.iter().map(|pair| pair.p50_ns).collect();
        let fold = |f: fn(f64, f64) -> f64| medians.iter().copied().reduce(f).unwrap_or(f64::NAN);
        Self {
            figure: Figure::alone(name, &crate::Slice::Times(times)),
            median_pair_ns: crate::slice::median(&medians),
            least_pair_ns: fold(f64::min),
            most_pair_ns: fold(f64::max),
            pairs,
        }
    }
}

/// Numbers that look like chance and are the same in every run.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    /// A number below `n`, which is at least 1. Xorshift (Marsaglia 2003).
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) % u64::from(n)) as u32
    }

    /// Two different numbers below `n`, which is at least 2.
    fn two_below(&mut self, n: u32) -> (u32, u32) {
        let a = self.below(n);
        (a, (a + 1 + self.below(n - 1)) % n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_never_one_and_all_are_in_range() {
        let mut dice = Dice(7);
        for n in [2, 3, 132] {
            let mut seen = std::collections::HashSet::new();
            for _ in 0..2000 {
                let (a, b) = dice.two_below(n);
                assert!(a < n && b < n && a != b, "{a} {b} of {n}");
                seen.insert((a, b));
            }
            assert!(seen.len() > 1, "{n}");
        }
    }

    #[test]
    fn the_median_is_over_pairs_and_not_over_batches() {
        let mut times = crate::Times::new();
        let mut pairs = Vec::new();
        for (b, hops) in [(1, vec![100.0]), (2, vec![300.0, 320.0, 340.0]), (3, vec![900.0])] {
            hops.iter().for_each(|hop| times.record_ns(*hop));
            pairs.push(Pair::of(0, b, &hops));
        }
        let hops = Hops::of("x", times, pairs);
        assert_eq!((hops.median_pair_ns, hops.least_pair_ns, hops.most_pair_ns), (320.0, 100.0, 900.0));
        assert_eq!((hops.figure.n, hops.pairs[1].min_ns, hops.pairs[1].max_ns), (5, 300.0, 340.0));
    }
}
