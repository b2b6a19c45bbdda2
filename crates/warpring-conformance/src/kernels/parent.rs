//! An actor that spawns others, ends them, hears of their end, and ends itself.

use core::time::Duration;

use warpring::prelude::*;
use warpring::{Down, How};

use super::subject::{Add, Crash, Fail, Get, Hold, Subject};

/// Spawns a subject; the reply is its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Bear {
    /// On which worker; its own, if there is none with this number.
    pub worker: u32,
}
/// Stops the actor that gets it, after a pause if that is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Quit {
    /// How long it sleeps before.
    pub pause_ns: u64,
}
/// Ends another actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Finish {
    /// Which.
    pub actor: ActorId,
    /// It is killed, else stopped.
    pub kill: bool,
}
/// Monitors another actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Watch {
    /// Which.
    pub actor: ActorId,
}
/// Links with another actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Tie {
    /// Which.
    pub actor: ActorId,
}
/// How the actor has fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct ReadParent;
/// How an actor has fared.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Fared {
    /// The total.
    pub total: u64,
    /// How often `initialize` ended.
    pub initialized: u32,
    /// Ends that it has heard of.
    pub downs: u32,
    /// The last of them.
    pub last: Down,
}

/// Where `initialize` fails: the total is at least this.
pub const TOO_MUCH: u64 = 1000;
/// With this code.
pub const TOO_MUCH_CODE: u32 = 18;

/// Spawns others and hears of their end.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "conformance/parent")]
pub struct Parent {
    total: Resident<u64>,
    initialized: Resident<u32>,
    downs: Resident<u32>,
    last: Resident<[u64; 2]>,
}

impl Parent {
    /// With this total.
    #[must_use]
    pub const fn new(total: u64) -> Self {
        Self { total: Resident::new(total), initialized: Resident::new(0), downs: Resident::new(0), last: Resident::new([0; 2]) }
    }
}

impl RingKernelHandler<Bear, ActorId> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, bear: Bear) -> Result<ActorId> {
        if bear.worker < ctx.workers() {
            Ok(ctx.spawn_on(bear.worker, Subject::default()).await?.id())
        } else {
            Ok(ctx.spawn(Subject::default())?.id())
        }
    }
    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        if *ctx.read(&self.total) >= TOO_MUCH {
            return Err(KernelError::rejected(TOO_MUCH_CODE));
        }
        ctx.update(&self.initialized, |times| *times += 1);
        Ok(())
    }
}
impl RingKernelHandler<Quit, ()> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, quit: Quit) -> Result<()> {
        if quit.pause_ns > 0 {
            ctx.sleep(Duration::from_nanos(quit.pause_ns)).await;
        }
        ctx.stop();
        Ok(())
    }
}
impl RingKernelHandler<Finish, ()> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, finish: Finish) -> Result<()> {
        ctx.end(finish.actor, if finish.kill { How::Kill } else { How::Stop })
    }
}
impl RingKernelHandler<Watch, ()> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, watch: Watch) -> Result<()> {
        ctx.monitor(self, watch.actor)
    }
}
impl RingKernelHandler<Tie, ()> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, tie: Tie) -> Result<()> {
        ctx.link(tie.actor)
    }
}
impl RingKernelHandler<Down, ()> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, down: Down) -> Result<()> {
        ctx.update(&self.downs, |downs| *downs += 1);
        let (code, detail) = down.reason.to_parts();
        ctx.update(&self.last, |last| *last = [down.actor.to_bits(), u64::from(code) | u64::from(detail) << 32]);
        Ok(())
    }
}
impl RingKernelHandler<ReadParent, Fared> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ReadParent) -> Result<Fared> {
        let [who, why] = *ctx.read(&self.last);
        let reason = warpring::ExitReason::from_parts(why as u16, (why >> 32) as u32).unwrap_or(warpring::ExitReason::Gone);
        Ok(Fared {
            total: *ctx.read(&self.total),
            initialized: *ctx.read(&self.initialized),
            downs: *ctx.read(&self.downs),
            last: Down { actor: ActorId::from_bits(who), reason },
        })
    }
}
impl RingKernelHandler<Add, u64> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: Add) -> Result<u64> {
        Ok(ctx.update(&self.total, |total| {
            *total += add.n;
            *total
        }))
    }
}
impl RingKernelHandler<Get, u64> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Get) -> Result<u64> {
        Ok(*ctx.read(&self.total))
    }
}
impl RingKernelHandler<Hold, u64> for Parent {
    async fn handle(&self, ctx: &mut RingContext<'_>, hold: Hold) -> Result<u64> {
        super::gate::pass(ctx, hold.gate).await?;
        Ok(hold.n)
    }
}
impl RingKernelHandler<Crash, ()> for Parent {
    async fn handle(&self, _: &mut RingContext<'_>, _: Crash) -> Result<()> {
        panic!("as asked");
    }
}
impl RingKernelHandler<Fail, ()> for Parent {
    async fn handle(&self, _: &mut RingContext<'_>, fail: Fail) -> Result<()> {
        Err(KernelError::rejected(fail.code))
    }
}
