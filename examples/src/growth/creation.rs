//! Fork Join (actor creation): N actors are created, each handles one message and ends.
//!
//! Bound: at most [`BATCH`] of them live at a time. The suite's actors compute a sine; these give their number, which leaves the
//! creation to be measured.

use warpring::prelude::*;

use super::{Harvest, Look, Sum};

/// Actors that live at a time.
pub const BATCH: u32 = 512;

/// Starts the program.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Create {
    /// How many.
    pub actors: u32,
}

/// Creates actors.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/fork-join-creator")]
pub struct Creator {
    wanted: Resident<u32>,
    created: Resident<u32>,
    harvest: Resident<Harvest>,
}

impl Creator {
    /// Nobody was created.
    pub fn new() -> Self {
        Self { wanted: Resident::new(0), created: Resident::new(0), harvest: Resident::new(Harvest::default()) }
    }

    /// Creates the next one, if there is one.
    async fn create(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let (created, wanted) = (*ctx.read(&self.created), *ctx.read(&self.wanted));
        if created == wanted {
            return Ok(());
        }
        ctx.update(&self.created, |created| *created += 1);
        let me = ctx.address(self);
        let worker = created % ctx.workers();
        let new = ctx.spawn_on(worker, Created { creator: me }).await?;
        ctx.tell(new, Work { number: created }).await
    }
}

impl Default for Creator {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Create, ()> for Creator {
    async fn handle(&self, ctx: &mut RingContext<'_>, create: Create) -> Result<()> {
        ctx.update(&self.wanted, |wanted| *wanted = create.actors);
        for _ in 0..BATCH {
            self.create(ctx).await?;
        }
        Ok(())
    }
}
impl RingKernelHandler<Sum, ()> for Creator {
    async fn handle(&self, ctx: &mut RingContext<'_>, sum: Sum) -> Result<()> {
        ctx.update(&self.harvest, |harvest| harvest.add(sum));
        self.create(ctx).await
    }
}
impl RingKernelHandler<Look, Harvest> for Creator {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Look) -> Result<Harvest> {
        Ok(*ctx.read(&self.harvest))
    }
}

/// Something to do.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Work {
    /// Its number.
    pub number: u32,
}

/// Handles one message.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/fork-join-created")]
pub struct Created {
    creator: Address<Creator>,
}

impl RingKernelHandler<Work, ()> for Created {
    async fn handle(&self, ctx: &mut RingContext<'_>, work: Work) -> Result<()> {
        ctx.stop();
        ctx.tell(self.creator, Sum { value: i64::from(work.number), actors: 1 }).await
    }
}

/// The sum of the numbers of so many actors.
pub const fn answer(actors: u32) -> i64 {
    actors as i64 * (actors as i64 - 1) / 2
}

/// Creates so many actors; the sum of what they said, and how many said something.
///
/// # Errors
/// What failed.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, actors: u32) -> super::Outcome<(i64, u32)> {
    let creator = warpring::block_on(runtime.launch(Creator::new(), LaunchOptions::default()))?;
    creator.ask(Create { actors }).wait()?;
    let harvest = super::results(&creator, actors)?;
    Ok((harvest.value, harvest.actors))
}
