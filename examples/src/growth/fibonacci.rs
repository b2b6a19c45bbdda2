//! Fibonacci: an actor for each number, which spawns two for the two before it.

use warpring::prelude::*;

use super::{Harvester, Sum};

/// The actor of one number.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/fibonacci")]
pub struct Number {
    parent: Address<Number>,
    /// Where the root's sum goes.
    end: Address<Harvester>,
    n: u32,
    total: Resident<Total>,
}

/// What the two have said.
#[derive(Clone, Copy, Debug, State)]
struct Total {
    value: i64,
    said: u32,
    actors: u32,
}

impl Number {
    fn new(parent: Address<Self>, end: Address<Harvester>, n: u32) -> Self {
        Self { parent, end, n, total: Resident::new(Total { value: 0, said: 0, actors: 1 }) }
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
pub fn run(runtime: &Runtime, n: u32) -> super::Outcome<(i64, u32)> {
    let harvest = super::grow(runtime, |end| Number::new(Address::default(), end, n))?;
    Ok((harvest.value, harvest.actors))
}
