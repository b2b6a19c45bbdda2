//! A gate that other handlers wait at, so that a case decides when they go on.

use core::time::Duration;

use warpring::prelude::*;

/// A handler has come to the gate; the reply counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Arrive;
/// How many handlers have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Arrived;
/// Whether handlers may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct IsOpen;
/// Handlers may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Open;

/// A gate, closed at first.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "conformance/gate")]
pub struct Gate {
    open: Resident<bool>,
    arrived: Resident<u32>,
}

impl RingKernelHandler<Arrive, u32> for Gate {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Arrive) -> Result<u32> {
        Ok(ctx.update(&self.arrived, |arrived| {
            *arrived += 1;
            *arrived
        }))
    }
}
impl RingKernelHandler<Arrived, u32> for Gate {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Arrived) -> Result<u32> {
        Ok(*ctx.read(&self.arrived))
    }
}
impl RingKernelHandler<IsOpen, bool> for Gate {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: IsOpen) -> Result<bool> {
        Ok(*ctx.read(&self.open))
    }
}
impl RingKernelHandler<Open, ()> for Gate {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Open) -> Result<()> {
        ctx.update(&self.open, |open| *open = true);
        Ok(())
    }
}

/// Waits until the gate is open, without keeping the worker.
///
/// # Errors
/// That of an ask of the gate.
pub async fn pass(ctx: &mut RingContext<'_>, gate: Address<Gate>) -> Result<()> {
    ctx.ask(gate, Arrive).await?;
    while !ctx.ask(gate, IsOpen).await? {
        ctx.sleep(Duration::from_micros(20)).await;
    }
    Ok(())
}
