//! Fibonacci: an actor for each number, which spawns two for the two before it.

use warpring::prelude::*;

use super::{Grow, Harvest, Look, Sum};

/// Holds the end of the tree.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/fibonacci-end")]
pub struct Fibonacci {
    harvest: Resident<Harvest>,
}

impl Fibonacci {
    /// Nothing has grown.
    pub fn new() -> Self {
        Self { harvest: Resident::new(Harvest::default()) }
    }
}

impl Default for Fibonacci {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Grow, ()> for Fibonacci {
    async fn handle(&self, ctx: &mut RingContext<'_>, grow: Grow) -> Result<()> {
        let end = ctx.address(self);
        ctx.spawn(Number::new(Address::default(), end, grow.size)).map(drop)
    }
}
impl RingKernelHandler<Sum, ()> for Fibonacci {
    async fn handle(&self, ctx: &mut RingContext<'_>, sum: Sum) -> Result<()> {
        ctx.update(&self.harvest, |harvest| {
            harvest.results += 1;
            harvest.actors += sum.actors;
            harvest.value += sum.value;
        });
        Ok(())
    }
}
impl RingKernelHandler<Look, Harvest> for Fibonacci {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Look) -> Result<Harvest> {
        Ok(*ctx.read(&self.harvest))
    }
}

/// The actor of one number.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/fibonacci")]
pub struct Number {
    parent: Address<Number>,
    end: Address<Fibonacci>,
    n: u32,
    total: Resident<Sum2>,
}

/// What the two have said.
#[derive(Clone, Copy, Debug, State)]
struct Sum2 {
    value: i64,
    said: u32,
    actors: u32,
}

impl Number {
    fn new(parent: Address<Self>, end: Address<Fibonacci>, n: u32) -> Self {
        Self { parent, end, n, total: Resident::new(Sum2 { value: 0, said: 0, actors: 1 }) }
    }

    async fn give(&self, ctx: &mut RingContext<'_>, sum: Sum) -> Result<()> {
        ctx.stop();
        if self.parent == Address::default() { ctx.tell(self.end, sum).await } else { ctx.tell(self.parent, sum).await }
    }
}

impl RingKernelHandler<Sum, ()> for Number {
    async fn handle(&self, ctx: &mut RingContext<'_>, sum: Sum) -> Result<()> {
        let total = ctx.update(&self.total, |total| {
            total.value += sum.value;
            total.actors += sum.actors;
            total.said += 1;
            *total
        });
        if total.said < 2 {
            return Ok(());
        }
        self.give(ctx, Sum { value: total.value, actors: total.actors }).await
    }

    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        if self.n <= 2 {
            return self.give(ctx, Sum { value: 1, actors: 1 }).await;
        }
        let me = ctx.address(self);
        for before in [self.n - 1, self.n - 2] {
            ctx.spawn(Self::new(me, self.end, before))?;
        }
        Ok(())
    }
}

/// The number, counted by a loop.
pub const fn answer(n: u32) -> i64 {
    let (mut a, mut b) = (0, 1);
    let mut i = 0;
    while i < n {
        (a, b) = (b, a + b);
        i += 1;
    }
    a
}

/// Number `n` by actors, and how many there were.
///
/// # Errors
/// What failed.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, n: u32) -> core::result::Result<(i64, u32), Box<dyn std::error::Error + Send + Sync>> {
    let harvest = super::harvest(runtime, Fibonacci::new(), n, 1)?;
    Ok((harvest.value, harvest.actors))
}
