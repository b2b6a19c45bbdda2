//! An actor without state: a function that many may call at once.

use warpring::prelude::*;

/// Squares numbers.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "squares/square")]
pub struct Square;

/// The code of the refusal of a number whose square is 2^64 or more.
pub const TOO_LARGE: u32 = 1;

impl RingKernelHandler<u64, u64> for Square {
    async fn handle(&self, _: &mut RingContext<'_>, n: u64) -> Result<u64> {
        n.checked_mul(n).ok_or(KernelError::rejected(TOO_LARGE))
    }
}
