//! Big: each of W actors sends N pings to random others and awaits the pong each time. Many to many.
//!
//! Bound: each actor has one ping or pong under way, so no mailbox holds more than W messages.

use warpring::prelude::*;

use super::finish::{Finish, Finished};

/// Start to send pings.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// To these.
    pub peers: GroupAddress<Peer>,
    /// So many.
    pub pings: u32,
    /// Whom to tell when the last pong is there.
    pub finish: Address<Finish>,
}

/// A ping.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Ping;

/// The answer to a ping.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Pong;

/// How many pings has it answered?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct HowMany;

/// Pings answered.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Pings {
    /// How many.
    pub answered: u32,
}

#[derive(Clone, Copy, Debug, Default, State)]
struct Round {
    peers: GroupAddress<Peer>,
    finish: Address<Finish>,
    random: u32,
    left: u32,
    sent: u32,
    answered: u32,
}

/// Sends pings and answers those of others.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/big-peer")]
pub struct Peer {
    index: u32,
    round: Resident<Round>,
}

impl Peer {
    /// Number `index` of its group.
    pub fn new(index: u32) -> Self {
        Self { index, round: Resident::new(Round::default()) }
    }

    /// The next ping, or the report if there was the last.
    async fn go_on(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let index = self.index;
        let peer = ctx.update(&self.round, |round| {
            round.left = round.left.checked_sub(1)?;
            round.sent += 1;
            // Marsaglia (2003): xorshift.
            round.random ^= round.random << 13;
            round.random ^= round.random >> 17;
            round.random ^= round.random << 5;
            let others = round.peers.len() - 1;
            let other = round.random % others;
            round.peers.get(if other < index { other } else { other + 1 })
        });
        match peer {
            Some(peer) => ctx.tell(peer, Ping).await,
            None => {
                let Round { finish, sent, .. } = *ctx.read(&self.round);
                ctx.tell(finish, Finished { value: sent.into() }).await
            }
        }
    }
}

impl RingKernelHandler<Begin, ()> for Peer {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        let index = self.index;
        ctx.update(&self.round, |round| {
            (round.peers, round.finish, round.left) = (msg.peers, msg.finish, msg.pings);
            round.random = 0x9E37_79B9 ^ (index + 1);
        });
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<Ping, ()> for Peer {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Ping) -> Result<()> {
        let sender = Address::<Self>::new(ctx.sender().ok_or(KernelError::Stopped)?);
        ctx.update(&self.round, |round| round.answered += 1);
        ctx.tell(sender, Pong).await
    }
}

impl RingKernelHandler<Pong, ()> for Peer {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Pong) -> Result<()> {
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<HowMany, Pings> for Peer {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: HowMany) -> Result<Pings> {
        Ok(Pings { answered: ctx.read(&self.round).answered })
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: pings of each actor.
    pub pings: u32,
    /// W: actors, at least 2.
    pub actors: u32,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { pings: 20_000, actors: 120 };
    /// For slow backends.
    pub const SMALL: Self = Self { pings: 20, actors: 12 };

    /// Pings in all.
    pub const fn answer(self) -> i64 {
        self.pings as i64 * self.actors as i64
    }
}

/// Runs it: the actors spread over all workers.
///
/// # Errors
/// What failed, or how many pings were answered if not all that were sent.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let finish = warpring::block_on(runtime.launch(Finish::new(), LaunchOptions::default()))?;
    let peers = warpring::block_on(runtime.launch_many(params.actors, LaunchOptions::default(), Peer::new))?;
    let begin = Begin { peers: peers.address(), pings: params.pings, finish: finish.address() };
    let start = std::time::Instant::now();
    for peer in (0..params.actors).filter_map(|i| peers.get(i)) {
        peer.tell(begin).wait()?;
    }
    let reports = super::finish::wait(&finish, params.actors)?;
    let time = start.elapsed();
    let all = (0..params.actors).filter_map(|i| peers.address().get(i));
    let counts = super::suite::ask_each(runtime, all.map(|peer| (peer, HowMany)))?;
    let answered: i64 = counts.iter().map(|pings| i64::from(pings.answered)).sum();
    if answered != reports.sum {
        return Err(format!("{} pings sent, but {answered} answered", reports.sum).into());
    }
    Ok(super::Outcome { answer: answered, messages: 2 * answered as u64 + 2 * u64::from(params.actors), time })
}
