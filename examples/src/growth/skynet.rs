//! Skynet: the root spawns ten actors, each of which spawns ten, down to a million leaves. Leaf k gives k, and every actor its
//! children's sum: 1,111,111 actors, and 499,999,500,000.

use warpring::prelude::*;

use super::{Harvester, Sum};

/// Children of an actor that is no leaf.
const CHILDREN: u32 = 10;

/// An actor of the tree.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "skynet/node")]
pub struct Node {
    parent: Address<Node>,
    /// Where the root's sum goes.
    end: Address<Harvester>,
    /// Of its first leaf.
    number: u32,
    /// Leaves below it, or 1.
    size: u32,
    total: Resident<Total>,
}

/// What the children have said.
#[derive(Clone, Copy, Debug, State)]
struct Total {
    value: i64,
    children: u32,
    actors: u32,
}

impl Node {
    fn new(parent: Address<Self>, end: Address<Harvester>, number: u32, size: u32) -> Self {
        Self { parent, end, number, size, total: Resident::new(Total { value: 0, children: 0, actors: 1 }) }
    }

    /// Its part is done.
    async fn give(&self, ctx: &mut RingContext<'_>, sum: Sum) -> Result<()> {
        ctx.stop();
        if self.parent == Address::default() { ctx.tell(self.end, sum).await } else { ctx.tell(self.parent, sum).await }
    }
}

impl RingKernelHandler<Sum, ()> for Node {
    async fn handle(&self, ctx: &mut RingContext<'_>, sum: Sum) -> Result<()> {
        let total = ctx.update(&self.total, |total| {
            total.value += sum.value;
            total.actors += sum.actors;
            total.children += 1;
            *total
        });
        if total.children < CHILDREN {
            return Ok(());
        }
        self.give(ctx, Sum { value: total.value, actors: total.actors }).await
    }

    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        if self.size == 1 {
            return self.give(ctx, Sum { value: i64::from(self.number), actors: 1 }).await;
        }
        let (me, size) = (ctx.address(self), self.size / CHILDREN);
        for child in 0..CHILDREN {
            let node = Self::new(me, self.end, self.number + child * size, size);
            // The root's children go to all workers, and stay there with all below them.
            if self.parent == Address::default() {
                let worker = child % ctx.workers();
                ctx.spawn_on(worker, node).await?;
            } else {
                ctx.spawn(node)?;
            }
        }
        Ok(())
    }
}

/// The sum and the number of actors of a tree with so many leaves, a power of ten.
pub const fn answer(leaves: u32) -> (i64, u32) {
    let mut actors = 1;
    let mut row = 1;
    while row < leaves {
        row *= CHILDREN;
        actors += row;
    }
    (leaves as i64 * (leaves as i64 - 1) / 2, actors)
}

/// Grows a tree with so many leaves, a power of ten: its sum, and how many actors it had.
///
/// # Errors
/// What failed.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, leaves: u32) -> super::Outcome<(i64, u32)> {
    let harvest = super::grow(runtime, |end| Node::new(Address::default(), end, 0, leaves))?;
    Ok((harvest.value, harvest.actors))
}
