//! An actor that watches its own life: that `initialize` came first and once, and `shutdown` last and once.
//!
//! Nobody can ask an actor once the runtime stops. So what there is to say, `shutdown` says by a *last word*: it tells an actor that
//! is not there, whose address holds the count of messages handled, and the dead-letter hook of the host sees that address.

use core::time::Duration;

use warpring::prelude::*;

use super::relay::{Greet, Relay};
use super::subject::{Add, Nap};

/// How a life has gone so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct ReadLife;
/// How a life has gone so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Life {
    /// How often `initialize` ended.
    pub initialized: u32,
    /// Messages to add, handled so far.
    pub handled: u32,
    /// What they added up to.
    pub total: u64,
    /// Messages handled before `initialize` had ended or after `shutdown` had begun.
    pub wrong: u32,
}

/// What `initialize` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, State)]
#[repr(u8)]
pub enum Start {
    /// Nothing more.
    Plain,
    /// It gives its address to a relay, which sends at once, and then sleeps.
    Slow,
    /// It fails with code 17.
    Fail,
    /// It panics.
    Panic,
}

/// The generation that the address of a last word has; no actor has it.
pub const WORD_GENERATION: u16 = 0xd1ed;
/// Set in the slot of a last word.
const WORD: u32 = 1 << 30;
/// Set where something came before `initialize`, after `shutdown`, or `shutdown` came twice.
const WRONG: u32 = 1 << 29;

/// What an actor says last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastWord {
    /// Messages to add that it has handled.
    pub handled: u32,
    /// Something came before `initialize`, after `shutdown`, or `shutdown` came twice.
    pub wrong: bool,
}

impl LastWord {
    /// Where it is told, on this worker.
    fn address(self, worker: u32) -> Address<Mortal> {
        let slot = WORD | if self.wrong { WRONG } else { 0 } | (self.handled & (WRONG - 1));
        Address::new(ActorId { slot, generation: WORD_GENERATION, worker: worker as u16 })
    }

    /// The word that was told to this address, if it is one.
    #[must_use]
    pub const fn heard(to: ActorId) -> Option<Self> {
        if to.generation != WORD_GENERATION || to.slot & WORD == 0 {
            return None;
        }
        Some(Self { handled: to.slot & (WRONG - 1), wrong: to.slot & WRONG != 0 })
    }
}

/// Watches its own life.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "conformance/mortal")]
pub struct Mortal {
    start: Start,
    relay: Address<Relay>,
    initialized: Resident<u32>,
    shut: Resident<u32>,
    handled: Resident<u32>,
    total: Resident<u64>,
    wrong: Resident<u32>,
}

impl Mortal {
    /// One that starts so; `relay` hears of it if the start is slow.
    #[must_use]
    pub const fn new(start: Start, relay: Address<Relay>) -> Self {
        Self {
            start,
            relay,
            initialized: Resident::new(0),
            shut: Resident::new(0),
            handled: Resident::new(0),
            total: Resident::new(0),
            wrong: Resident::new(0),
        }
    }

    fn add(&self, ctx: &mut RingContext<'_>, n: u64) -> u64 {
        let alive = *ctx.read(&self.initialized) == 1 && *ctx.read(&self.shut) == 0;
        ctx.update(&self.wrong, |wrong| *wrong += u32::from(!alive));
        ctx.update(&self.handled, |handled| *handled += 1);
        ctx.update(&self.total, |total| {
            *total += n;
            *total
        })
    }
}

impl RingKernelHandler<Add, u64> for Mortal {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: Add) -> Result<u64> {
        Ok(self.add(ctx, add.n))
    }

    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        match self.start {
            Start::Plain => {}
            Start::Slow => {
                let me = ctx.address(self);
                ctx.tell(self.relay, Greet { who: me }).await?;
                ctx.sleep(Duration::from_millis(1)).await;
            }
            Start::Fail => return Err(KernelError::rejected(17)),
            Start::Panic => panic!("it cannot start"),
        }
        ctx.update(&self.initialized, |count| *count += 1);
        Ok(())
    }

    async fn shutdown(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let times = ctx.update(&self.shut, |shut| {
            *shut += 1;
            *shut
        });
        let wrong = times != 1 || *ctx.read(&self.wrong) > 0 || *ctx.read(&self.initialized) != 1;
        let word = LastWord { handled: *ctx.read(&self.handled), wrong };
        // On its own worker the sender itself would hear that nobody is there.
        let worker = (ctx.worker_index() + 1) % ctx.workers();
        ctx.tell(word.address(worker), Add { n: 0 }).await
    }
}
impl RingKernelHandler<Nap, u64> for Mortal {
    async fn handle(&self, ctx: &mut RingContext<'_>, nap: Nap) -> Result<u64> {
        ctx.sleep(Duration::from_nanos(nap.ns)).await;
        Ok(self.add(ctx, nap.n))
    }
}
impl RingKernelHandler<ReadLife, Life> for Mortal {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ReadLife) -> Result<Life> {
        Ok(Life {
            initialized: *ctx.read(&self.initialized),
            handled: *ctx.read(&self.handled),
            total: *ctx.read(&self.total),
            wrong: *ctx.read(&self.wrong),
        })
    }
}
