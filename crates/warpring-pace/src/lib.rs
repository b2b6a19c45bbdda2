//! Actors that are measured: one asks, streams and visits, others take what it sends and add it up. They read the workers' clock, and
//! every message and reply is checked.
//!
//! They are a module of their own, as small as a program's: the worker loop is compiled together with a module's handlers, so figures
//! that are taken with a large module are those of a large module, and the driver takes long to compile it.
#![no_std]

use core::time::Duration;

use warpring::GroupAddress;
use warpring::prelude::*;

/// Mixes `n` into the state; the reply is the new state, see [`mixed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Mix {
    /// Anything.
    pub n: u64,
}

/// The state after a message. It depends on the state before, on the message and on the order of messages, so that a lost message, a
/// repeated one and two that changed places all give another answer.
#[inline]
#[must_use]
pub const fn mixed(state: u64, n: u64) -> u64 {
    state.rotate_left(7).wrapping_add(n)
}

/// Eight bytes of state and nothing else.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "pace/cell")]
pub struct Cell {
    state: Resident<u64>,
}

impl Cell {
    /// A cell with this state.
    #[must_use]
    pub const fn new(state: u64) -> Self {
        Self { state: Resident::new(state) }
    }
}

impl RingKernelHandler<Mix, u64> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, mix: Mix) -> Result<u64> {
        Ok(ctx.update(&self.state, |state| {
            *state = mixed(*state, mix.n);
            *state
        }))
    }
}

/// Asks `to` to mix in 0, 1, 2 and so on, one ask after the other; a wrong reply is refusal [`WRONG`].
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct TimeAsks {
    /// Whom.
    pub to: Address<Cell>,
    /// Its state before.
    pub state: u64,
    /// How many asks.
    pub asks: u32,
}
/// Tells `to` the parcels `seed`, `seed + 1` and so on, of `W` words, then asks it what it has taken.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Pour<const W: usize> {
    /// Whom.
    pub to: Address<Sink>,
    /// The first parcel's number.
    pub seed: u64,
    /// How many parcels.
    pub count: u32,
}
/// Tells each `stride`th member of a group, from `first` on, to mix in `n`, and asks the last of them.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Visit {
    /// The group.
    pub group: GroupAddress<Cell>,
    /// The first member.
    pub first: u32,
    /// From one to the next.
    pub stride: u32,
    /// How many members, at least one.
    pub count: u32,
    /// What they mix in.
    pub n: u64,
}
/// When something began and ended on the workers' clock, and what the last reply was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Timed {
    /// Nanoseconds.
    pub from_ns: u64,
    /// Nanoseconds.
    pub until_ns: u64,
    /// The last reply: of a cell its state, of a sink its count.
    pub last: u64,
    /// Of a sink, what it has added up.
    pub sum: u64,
}
/// `W` words that depend on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Parcel<const W: usize> {
    /// The words.
    pub words: [u64; W],
}
/// Asks a sink what it has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Taken;
/// What a sink has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RingMessage, State)]
pub struct Tally {
    /// Parcels.
    pub count: u64,
    /// Their digests, mixed in the order in which they came.
    pub sum: u64,
}

/// The code of a refusal: a reply was not what it must be.
pub const WRONG: u32 = 0x0bad;

impl<const W: usize> Parcel<W> {
    /// The parcel of this number.
    #[inline]
    #[must_use]
    pub fn numbered(n: u64) -> Self {
        let mut words = [0; W];
        let mut at = 0;
        while at < W {
            words[at] = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(at as u64);
            at += 1;
        }
        Self { words }
    }

    /// Depends on every word, and on their order.
    #[inline]
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.words.iter().fold(0, |digest: u64, word| digest.rotate_left(5).wrapping_add(*word))
    }
}

impl Tally {
    /// With a parcel of this digest: depends on the order of parcels.
    #[inline]
    #[must_use]
    pub const fn with(self, digest: u64) -> Self {
        Self { count: self.count + 1, sum: mixed(self.sum, digest) }
    }
}

/// Sends to others and says when it began and ended.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "pace/pacer")]
pub struct Pacer {
    done: Resident<u32>,
}

impl RingKernelHandler<TimeAsks, Timed> for Pacer {
    async fn handle(&self, ctx: &mut RingContext<'_>, time: TimeAsks) -> Result<Timed> {
        let mut last = time.state;
        let mut n = 0;
        let from_ns = ctx.now();
        while n < u64::from(time.asks) {
            last = mixed(last, n);
            if ctx.ask(time.to, Mix { n }).await? != last {
                return Err(KernelError::rejected(WRONG));
            }
            n += 1;
        }
        let until_ns = ctx.now();
        ctx.update(&self.done, |done| *done += 1);
        Ok(Timed { from_ns, until_ns, last, sum: 0 })
    }
}

impl RingKernelHandler<Visit, Timed> for Pacer {
    async fn handle(&self, ctx: &mut RingContext<'_>, visit: Visit) -> Result<Timed> {
        let from_ns = ctx.now();
        let mut at = 0;
        let mut last = 0;
        while at < visit.count {
            let index = visit.first + at * visit.stride;
            let to = visit.group.get(index).ok_or(KernelError::rejected(index))?;
            if at + 1 == visit.count {
                // Behind all the others on the same way, so its reply says that they are handled.
                last = ctx.ask(to, Mix { n: visit.n }).await?;
            } else {
                match ctx.tell(to, Mix { n: visit.n }).await {
                    Ok(()) => {}
                    Err(KernelError::MailboxFull { .. } | KernelError::Overloaded) => {
                        ctx.sleep(Duration::from_micros(1)).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            at += 1;
        }
        let until_ns = ctx.now();
        Ok(Timed { from_ns, until_ns, last, sum: 0 })
    }
}

/// The parcels are words of 8 bytes: 8, 32, 88 and 424 bytes.
macro_rules! parcels {
    ($($words:literal)*) => {$(
        impl RingKernelHandler<Pour<$words>, Timed> for Pacer {
            async fn handle(&self, ctx: &mut RingContext<'_>, pour: Pour<$words>) -> Result<Timed> {
                let from_ns = ctx.now();
                let mut n = 0;
                while n < pour.count {
                    match ctx.tell(pour.to, Parcel::<$words>::numbered(pour.seed.wrapping_add(u64::from(n)))).await {
                        Ok(()) => n += 1,
                        // On the same worker there is no ring that would hold the sender back.
                        Err(KernelError::MailboxFull { .. } | KernelError::Overloaded) => ctx.sleep(Duration::from_micros(1)).await,
                        Err(error) => return Err(error),
                    }
                }
                // Behind all parcels on the same way.
                let taken = loop {
                    match ctx.ask(pour.to, Taken).await {
                        Err(KernelError::MailboxFull { .. } | KernelError::Overloaded) => ctx.sleep(Duration::from_micros(1)).await,
                        answer => break answer?,
                    }
                };
                let until_ns = ctx.now();
                Ok(Timed { from_ns, until_ns, last: taken.count, sum: taken.sum })
            }
        }

        impl RingKernelHandler<Parcel<$words>, ()> for Sink {
            // A block uses a large message where it is; an async fn moves it first.
            fn handle(&self, ctx: &mut RingContext<'_>, parcel: Parcel<$words>) -> impl Future<Output = Result<()>> {
                async move {
                    ctx.update(&self.tally, |tally| *tally = tally.with(parcel.digest()));
                    Ok(())
                }
            }
        }
    )*};
}
parcels!(1 4 11 53);

/// Adds up what it is told.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "pace/sink")]
pub struct Sink {
    tally: Resident<Tally>,
}

impl RingKernelHandler<Taken, Tally> for Sink {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Taken) -> Result<Tally> {
        Ok(*ctx.read(&self.tally))
    }
}

warpring::export! {
    ptx = include_str!("../ptx/kernels.ptx");
    Cell { Mix => u64 }
    Pacer { TimeAsks => Timed, Visit => Timed, Pour<1> => Timed, Pour<4> => Timed, Pour<11> => Timed, Pour<53> => Timed }
    Sink { Parcel<1> => (), Parcel<4> => (), Parcel<11> => (), Parcel<53> => (), Taken => Tally }
}
