//! Two numbers that are the same between any two messages, and not while one is handled.

use core::time::Duration;

use warpring::prelude::*;

/// Adds `n` to the left number, sleeps, and adds it to the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Grow {
    /// How long.
    pub ns: u64,
    /// How much.
    pub n: u64,
}
/// The numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Sides;
/// Asks the other twin for its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct OtherSides;
/// Both numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Both {
    /// The one that is changed first.
    pub left: u64,
    /// The other.
    pub right: u64,
}

/// Has two numbers, and knows another.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "conformance/twin")]
pub struct Twin {
    other: Address<Twin>,
    left: Resident<u64>,
    right: Resident<u64>,
}

impl Twin {
    /// One that begins with this number and knows another.
    #[must_use]
    pub const fn new(number: u64, other: Address<Twin>) -> Self {
        Self { other, left: Resident::new(number), right: Resident::new(number) }
    }
}

impl RingKernelHandler<Grow, u64> for Twin {
    async fn handle(&self, ctx: &mut RingContext<'_>, grow: Grow) -> Result<u64> {
        ctx.update(&self.left, |left| *left += grow.n);
        ctx.sleep(Duration::from_nanos(grow.ns)).await;
        Ok(ctx.update(&self.right, |right| {
            *right += grow.n;
            *right
        }))
    }
}
impl RingKernelHandler<Sides, Both> for Twin {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Sides) -> Result<Both> {
        Ok(Both { left: *ctx.read(&self.left), right: *ctx.read(&self.right) })
    }
}
impl RingKernelHandler<OtherSides, Both> for Twin {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: OtherSides) -> Result<Both> {
        ctx.ask(self.other, Sides).await
    }
}
