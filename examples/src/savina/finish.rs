//! Where actors report that they have finished, so that the host can look whether all have.

use warpring::prelude::*;

/// The sender has finished.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Finished {
    /// Its result.
    pub value: i64,
}

/// How many have finished?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct HowMany;

/// Who has finished so far.
#[derive(Clone, Copy, Debug, Default, RingMessage, State)]
pub struct Reports {
    /// How many.
    pub count: u32,
    /// The sum of their results.
    pub sum: i64,
}

/// Counts actors that have finished, and adds up their results.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/finish")]
pub struct Finish {
    reports: Resident<Reports>,
}

impl Finish {
    /// Nobody has finished.
    pub fn new() -> Self {
        Self { reports: Resident::new(Reports::default()) }
    }
}

impl Default for Finish {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Finished, ()> for Finish {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Finished) -> Result<()> {
        ctx.update(&self.reports, |reports| {
            reports.count += 1;
            reports.sum += msg.value;
        });
        Ok(())
    }
}

impl RingKernelHandler<HowMany, Reports> for Finish {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: HowMany) -> Result<Reports> {
        Ok(*ctx.read(&self.reports))
    }
}

/// Waits until `count` actors have reported, and gives what they said.
#[cfg(not(target_arch = "nvptx64"))]
pub(super) fn wait(finish: &ActorRef<Finish>, count: u32) -> core::result::Result<Reports, super::Failure> {
    super::suite::until(|| Ok(Some(finish.ask(HowMany).wait()?).filter(|reports| reports.count >= count)))
}
