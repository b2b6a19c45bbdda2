//! The actor that most cases look at: it adds, waits, fails, and keeps a log of what came in which order.

use core::time::Duration;

use warpring::prelude::*;

use super::gate::{Gate, pass};

/// Adds `n`; the reply is the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Add {
    /// How much.
    pub n: u64,
}
/// The total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Get;
/// Waits, suspended, until the gate is open, then adds `n`.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Hold {
    /// The gate.
    pub gate: Address<Gate>,
    /// How much.
    pub n: u64,
}
/// Keeps the worker for so long, without awaiting anything; the reply says for how long. Not for the simulator, where time stands
/// still while a handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Busy {
    /// How long.
    pub ns: u64,
}
/// Sleeps, then adds `n`; the reply is the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Nap {
    /// How long.
    pub ns: u64,
    /// How much.
    pub n: u64,
}
/// Adds `n`, sleeps, asks `gate`, and tells what it then finds.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Carry {
    /// An actor to ask.
    pub gate: Address<Gate>,
    /// How much.
    pub n: u64,
}
/// What a handler found after its awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Carried {
    /// The total before the awaits, kept in a local.
    pub local: u64,
    /// The total in the state after them.
    pub state: u64,
}
/// The handler returns this code as its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Fail {
    /// The code.
    pub code: u32,
}
/// The handler panics, after a pause if it is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Crash {
    /// How long it sleeps before.
    pub pause_ns: u64,
}
/// Number `seq` of sender `from`; the numbers of a sender count up from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Note {
    /// Which sender, below 16.
    pub from: u32,
    /// Which of its messages.
    pub seq: u32,
}
/// What notes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct ReadLog;
/// Notes, as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Log {
    /// How many.
    pub count: u32,
    /// How many did not have the number after the one before of the same sender.
    pub out_of_order: u32,
    /// The sum of their numbers.
    pub sum: u64,
    /// The numbers of the first 40, in the order in which they came.
    pub seen: [u16; 40],
}

/// A number that must be even: bytes of an odd one are not a value of this type. Written by hand, because the derived messages
/// cannot be made with bytes that are none of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Even(pub u32);

impl RingMessage for Even {
    const SIZE: usize = 4;
    const ALIGN: usize = 4;
    const FINGERPRINT: u64 = 0xe7e4;
    fn encode(&self, out: &mut [u8]) {
        self.0.encode(out);
    }
    fn decode(bytes: &[u8]) -> core::result::Result<Self, warpring::Malformed> {
        let number = u32::decode(bytes)?;
        if number.is_multiple_of(2) { Ok(Self(number)) } else { Err(warpring::Malformed) }
    }
}

/// Adds, waits, fails and keeps a log.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "conformance/subject")]
pub struct Subject {
    total: Resident<u64>,
    last: Resident<[u32; 16]>,
    log: Resident<Kept>,
}

/// The log, as it is kept.
#[derive(Clone, Copy, Debug, State)]
struct Kept {
    count: u32,
    out_of_order: u32,
    sum: u64,
    seen: [u16; 40],
}

impl Default for Subject {
    fn default() -> Self {
        let log = Kept { count: 0, out_of_order: 0, sum: 0, seen: [0; 40] };
        Self { total: Resident::new(0), last: Resident::new([0; 16]), log: Resident::new(log) }
    }
}

impl Subject {
    fn add(&self, ctx: &mut RingContext<'_>, n: u64) -> u64 {
        ctx.update(&self.total, |total| {
            *total = total.wrapping_add(n);
            *total
        })
    }
}

impl RingKernelHandler<Add, u64> for Subject {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: Add) -> Result<u64> {
        Ok(self.add(ctx, add.n))
    }
}
impl RingKernelHandler<Get, u64> for Subject {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Get) -> Result<u64> {
        Ok(*ctx.read(&self.total))
    }
}
impl RingKernelHandler<Hold, u64> for Subject {
    async fn handle(&self, ctx: &mut RingContext<'_>, hold: Hold) -> Result<u64> {
        pass(ctx, hold.gate).await?;
        Ok(self.add(ctx, hold.n))
    }
}
impl RingKernelHandler<Busy, u64> for Subject {
    async fn handle(&self, ctx: &mut RingContext<'_>, busy: Busy) -> Result<u64> {
        let start = ctx.now();
        loop {
            let passed = ctx.now().wrapping_sub(start);
            if passed >= busy.ns {
                return Ok(passed);
            }
        }
    }
}
impl RingKernelHandler<Nap, u64> for Subject {
    async fn handle(&self, ctx: &mut RingContext<'_>, nap: Nap) -> Result<u64> {
        ctx.sleep(Duration::from_nanos(nap.ns)).await;
        Ok(self.add(ctx, nap.n))
    }
}
impl RingKernelHandler<Carry, Carried> for Subject {
    async fn handle(&self, ctx: &mut RingContext<'_>, carry: Carry) -> Result<Carried> {
        let local = self.add(ctx, carry.n);
        ctx.sleep(Duration::from_micros(10)).await;
        ctx.ask(carry.gate, super::gate::Arrive).await?;
        ctx.yield_now().await;
        Ok(Carried { local, state: *ctx.read(&self.total) })
    }
}
impl RingKernelHandler<Fail, ()> for Subject {
    async fn handle(&self, _: &mut RingContext<'_>, fail: Fail) -> Result<()> {
        Err(KernelError::rejected(fail.code))
    }
}
/// Where [`Crash`] panics: the file, and the line below as the cases want to hear it.
pub const CRASH_FILE: &str = file!();
/// See [`CRASH_FILE`].
pub const CRASH_LINE: u32 = line!() + 6;
impl RingKernelHandler<Crash, ()> for Subject {
    async fn handle(&self, ctx: &mut RingContext<'_>, crash: Crash) -> Result<()> {
        if crash.pause_ns > 0 {
            ctx.sleep(Duration::from_nanos(crash.pause_ns)).await;
        }
        panic!("as asked");
    }
}
impl RingKernelHandler<Note, ()> for Subject {
    async fn handle(&self, ctx: &mut RingContext<'_>, note: Note) -> Result<()> {
        let from = note.from as usize % 16;
        let in_order = ctx.update(&self.last, |last| {
            let in_order = note.seq == last[from].wrapping_add(1);
            last[from] = note.seq;
            in_order
        });
        ctx.update(&self.log, |log| {
            if let Some(seen) = log.seen.get_mut(log.count as usize) {
                *seen = note.seq as u16;
            }
            log.count += 1;
            log.out_of_order += u32::from(!in_order);
            log.sum += u64::from(note.seq);
        });
        Ok(())
    }
}
impl RingKernelHandler<ReadLog, Log> for Subject {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ReadLog) -> Result<Log> {
        let Kept { count, out_of_order, sum, seen } = *ctx.read(&self.log);
        Ok(Log { count, out_of_order, sum, seen })
    }
}
impl RingKernelHandler<Even, u32> for Subject {
    async fn handle(&self, _: &mut RingContext<'_>, even: Even) -> Result<u32> {
        Ok(even.0 + 2)
    }
}
