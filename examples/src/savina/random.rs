//! The suite's pseudo-random numbers, and those of Java, which some of its programs draw.

use warpring::prelude::*;

/// Numbers of 16 bits, each from the one before.
#[derive(Clone, Copy, Debug, State)]
pub struct Random {
    x: u32,
}

impl Random {
    /// The suite's seed, where a program names none.
    pub const SEED: Self = Self::new(74_755);

    /// From this seed.
    pub const fn new(seed: u32) -> Self {
        Self { x: seed & 0x1_ffff }
    }

    /// The next number, below 65,536.
    pub const fn draw(&mut self) -> u32 {
        self.x = (self.x * 1309 + 13_849) & 65_535;
        self.x
    }
}

/// Java's: a linear congruential generator of 48 bits (D. Knuth, "The Art of Computer Programming", volume 2, section 3.2.1), as the
/// documentation of `java.util.Random` states it.
#[derive(Clone, Copy, Debug)]
pub struct JavaRandom {
    x: u64,
}

impl JavaRandom {
    const FACTOR: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;

    /// From this seed.
    pub const fn new(seed: u64) -> Self {
        Self { x: (seed ^ Self::FACTOR) & Self::MASK }
    }

    /// The next number, of so many bits.
    const fn bits(&mut self, bits: u32) -> u64 {
        self.x = self.x.wrapping_mul(Self::FACTOR).wrapping_add(11) & Self::MASK;
        self.x >> (48 - bits)
    }

    /// The next fraction: at least 0, below 1.
    pub const fn fraction(&mut self) -> f64 {
        let high = self.bits(26) << 27;
        (high + self.bits(27)) as f64 / (1u64 << 53) as f64
    }
}
