//! An actor that sends to others.

use core::time::Duration;

use warpring::GroupAddress;
use warpring::prelude::*;

use super::mortal::Mortal;
use super::subject::{Add, Crash, Fail, Nap, Note, Subject};

/// Tells `to` the notes 1 to `count` of sender `from`; the reply is the count.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Spread {
    /// Whom.
    pub to: Address<Subject>,
    /// As which sender.
    pub from: u32,
    /// How many.
    pub count: u32,
}
/// Asks `to` to add `n`; the reply is its reply.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Forward {
    /// Whom.
    pub to: Address<Subject>,
    /// How much.
    pub n: u64,
    /// How long it waits for the reply; 0: as long as the runtime says.
    pub within_ns: u64,
}
/// Asks `to`, which asks `then`, which asks `to` again, and so on: so many asks in all. The reply counts them.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Through {
    /// Whom.
    pub to: Address<Relay>,
    /// Whom that one asks.
    pub then: Address<Relay>,
    /// How many asks.
    pub depth: u32,
}
/// Asks along a path through a group; the reply counts the actors from here on.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Walk {
    /// The group.
    pub group: GroupAddress<Relay>,
    /// Numbers in the group.
    pub path: [u16; 16],
    /// How many of them.
    pub length: u32,
    /// Which one this is.
    pub at: u32,
    /// How long each ask may take.
    pub within_ns: u64,
    /// How long each handler sleeps before it asks.
    pub pause_ns: u64,
}
/// Asks `to` with a [`Passed`], which makes that one do the same in turn, after its reply: the ball goes to and fro without end, and
/// nobody ever waits for an actor that cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Serve {
    /// Whom.
    pub to: Address<Relay>,
    /// How often it still goes over.
    pub left: u32,
    /// How long each ask may take.
    pub within_ns: u64,
}
/// The ball is passed on to this actor.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Passed {
    /// By whom.
    pub by: Address<Relay>,
    /// How often it still goes over.
    pub left: u32,
    /// How long each ask may take.
    pub within_ns: u64,
}
/// How often an actor got an answer to its [`Passed`], and how often not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct ReadRally;
/// Asks itself; the reply says whether that was refused as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct AskSelf;
/// Asks on through `rows` further rows of a group of `width` actors a row; the reply counts the actors on the way.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Travel {
    /// The group.
    pub group: GroupAddress<Relay>,
    /// Where it is.
    pub index: u32,
    /// Actors in a row.
    pub width: u32,
    /// Rows to go.
    pub rows: u32,
}
/// What a relay is to tell another actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
#[repr(u8)]
pub enum What {
    /// [`Add`] 1.
    Add,
    /// [`Fail`].
    Fail,
    /// [`Crash`].
    Crash,
    /// [`Nap`], then add 1.
    Nap,
}
/// Tells `to` something.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct TellOn {
    /// Whom.
    pub to: Address<Subject>,
    /// What.
    pub what: What,
}
/// Says what the handler sees of its call; with `via`, asks that one to say it.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Look {
    /// Whom to ask.
    pub via: Address<Relay>,
}
/// What a handler sees of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Seen {
    /// Nobody is named as the sender.
    pub from_host: bool,
    /// Who sent.
    pub sender: ActorId,
    /// Who handles.
    pub own: ActorId,
    /// When.
    pub now: u64,
    /// Until when; 0 if none is named.
    pub deadline: u64,
    /// How many lanes.
    pub lanes: u32,
    /// How many workers.
    pub workers: u32,
}
/// Asks `to` to panic; the reply is the line that the error names.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Provoke {
    /// Whom.
    pub to: Address<Subject>,
}
/// Tells and asks `who` to add 1 each, at once; the reply is what the ask gave.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Greet {
    /// Whom.
    pub who: Address<Mortal>,
}

/// Sends to other actors.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "conformance/relay")]
pub struct Relay {
    passed: Resident<u64>,
    rally: Resident<[u32; 2]>,
}

impl RingKernelHandler<Spread, u64> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, spread: Spread) -> Result<u64> {
        let mut seq = 1;
        while seq <= spread.count {
            match ctx.tell(spread.to, Note { from: spread.from, seq }).await {
                Ok(()) => seq += 1,
                // The mailbox of an actor of the same worker is no ring: it refuses, and the sender waits by itself.
                Err(KernelError::MailboxFull { .. } | KernelError::Overloaded) => ctx.yield_now().await,
                Err(error) => return Err(error),
            }
        }
        Ok(u64::from(spread.count))
    }
}
impl RingKernelHandler<Forward, u64> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, forward: Forward) -> Result<u64> {
        let ask = ctx.ask(forward.to, Add { n: forward.n });
        if forward.within_ns > 0 { ask.within(Duration::from_nanos(forward.within_ns)).await } else { ask.await }
    }
}
impl RingKernelHandler<Through, u32> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, through: Through) -> Result<u32> {
        if through.depth == 0 {
            return Ok(0);
        }
        let next = Through { to: through.then, then: through.to, depth: through.depth - 1 };
        Ok(1 + ctx.ask(through.to, next).await?)
    }
}
impl RingKernelHandler<Walk, u32> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, walk: Walk) -> Result<u32> {
        if walk.pause_ns > 0 {
            ctx.sleep(Duration::from_nanos(walk.pause_ns)).await;
        }
        let at = walk.at + 1;
        if at >= walk.length {
            return Ok(1);
        }
        let index = walk.path.get(at as usize).copied().unwrap_or_default();
        let to = walk.group.get(index.into()).ok_or(KernelError::rejected(at))?;
        Ok(1 + ctx.ask(to, Walk { at, ..walk }).within(Duration::from_nanos(walk.within_ns)).await?)
    }
}
impl RingKernelHandler<Serve, ()> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, serve: Serve) -> Result<()> {
        let passed = Passed { by: ctx.address(self), left: serve.left, within_ns: serve.within_ns };
        let answer = ctx.ask(serve.to, passed).within(Duration::from_nanos(serve.within_ns)).await;
        ctx.update(&self.rally, |rally| rally[usize::from(answer.is_err())] += 1);
        answer
    }
}
impl RingKernelHandler<Passed, ()> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, passed: Passed) -> Result<()> {
        if passed.left == 0 {
            return Ok(());
        }
        let me = ctx.address(self);
        ctx.tell(me, Serve { to: passed.by, left: passed.left - 1, within_ns: passed.within_ns }).await
    }
}
impl RingKernelHandler<ReadRally, [u32; 2]> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ReadRally) -> Result<[u32; 2]> {
        Ok(*ctx.read(&self.rally))
    }
}
impl RingKernelHandler<AskSelf, bool> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: AskSelf) -> Result<bool> {
        let me = ctx.address(self);
        Ok(ctx.ask(me, AskSelf).await == Err(KernelError::AskedItself))
    }
}
impl RingKernelHandler<Travel, u32> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, travel: Travel) -> Result<u32> {
        ctx.update(&self.passed, |passed| *passed += 1);
        if travel.rows == 0 {
            return Ok(1);
        }
        let row = travel.index / travel.width;
        let column = (travel.index * 7 + 3) % travel.width;
        let index = (row + 1) * travel.width + column;
        let to = travel.group.get(index).ok_or(KernelError::rejected(index))?;
        Ok(1 + ctx.ask(to, Travel { index, rows: travel.rows - 1, ..travel }).await?)
    }
}
impl RingKernelHandler<TellOn, ()> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, tell: TellOn) -> Result<()> {
        match tell.what {
            What::Add => ctx.tell(tell.to, Add { n: 1 }).await,
            What::Fail => ctx.tell(tell.to, Fail { code: 3 }).await,
            What::Crash => ctx.tell(tell.to, Crash { pause_ns: 0 }).await,
            What::Nap => ctx.tell(tell.to, Nap { ns: 20_000, n: 1 }).await,
        }
    }
}
impl RingKernelHandler<Look, Seen> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, look: Look) -> Result<Seen> {
        if look.via != Address::default() {
            return ctx.ask(look.via, Look { via: Address::default() }).await;
        }
        Ok(Seen {
            from_host: ctx.sender().is_none(),
            sender: ctx.sender().unwrap_or_default(),
            own: ctx.actor(),
            now: ctx.now(),
            deadline: ctx.deadline().unwrap_or_default(),
            lanes: ctx.team_size(),
            workers: ctx.workers(),
        })
    }
}
impl RingKernelHandler<Provoke, u32> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, provoke: Provoke) -> Result<u32> {
        match ctx.ask(provoke.to, Crash { pause_ns: 0 }).await {
            Err(KernelError::Panicked { line }) => Ok(line),
            Ok(()) => Ok(0),
            Err(error) => Err(error),
        }
    }
}
impl RingKernelHandler<Greet, u64> for Relay {
    async fn handle(&self, ctx: &mut RingContext<'_>, greet: Greet) -> Result<u64> {
        ctx.tell(greet.who, Add { n: 1 }).await?;
        ctx.ask(greet.who, Add { n: 1 }).await
    }
}
