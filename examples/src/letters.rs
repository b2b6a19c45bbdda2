//! A tally of one letter. A group of 26 of them counts a text.

use warpring::prelude::*;

/// The letter was seen once more.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Letter;

/// Counts how often its letter is seen.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "letters/tally")]
pub struct Tally {
    seen: Resident<u32>,
}

impl Tally {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { seen: Resident::new(0) }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Letter, u32> for Tally {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Letter) -> Result<u32> {
        Ok(ctx.update(&self.seen, |seen| {
            *seen += 1;
            *seen
        }))
    }
}
