//! The suite's pseudo-random numbers.

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
