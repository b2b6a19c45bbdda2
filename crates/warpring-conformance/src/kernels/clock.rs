//! An actor that sets timers and notes when they fire.

use core::time::Duration;

use warpring::prelude::*;

use super::subject::{Note, Subject};

/// Sets `count` timers, each of which tells this actor an [`Alarm`]; the reply is how many it could set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Wind {
    /// After how long.
    pub delay_ns: u64,
    /// How many.
    pub count: u32,
    /// Again and again.
    pub again: bool,
}
/// Sets timers that tell `to` the notes 1 to `count` of sender 0.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Remind {
    /// Whom.
    pub to: Address<Subject>,
    /// After how long.
    pub delay_ns: u64,
    /// How many.
    pub count: u32,
    /// What is added to the delay of each next one.
    pub apart_ns: u64,
}
/// Cancels the last timer that was set; the reply is what `cancel` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Unwind;
/// Cancels a timer, whosever it is; the reply is what `cancel` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct UnwindThis {
    /// The timer.
    pub timer: Timer,
}
/// The last timer that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct LastTimer;
/// What a timer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Alarm {
    /// Which of those that were set at once, from 0.
    pub n: u32,
}
/// What alarms have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct ReadAlarms;
/// Alarms, as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RingMessage, State)]
pub struct Alarms {
    /// How many.
    pub count: u32,
    /// How many named another sender than this actor.
    pub strangers: u32,
    /// When the timers were set.
    pub set_at: u64,
    /// When the first 16 came.
    pub at: [u64; 16],
    /// Which they were.
    pub which: [u32; 16],
}
/// Sleeps; the reply is for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Doze {
    /// How long.
    pub ns: u64,
}
/// Sets a timer and panics.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct LastWish {
    /// Whom the timer tells note 1 of sender 0.
    pub to: Address<Subject>,
    /// After how long.
    pub delay_ns: u64,
}

/// Sets timers.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "conformance/clock")]
pub struct Clock {
    alarms: Resident<Alarms>,
    last: Resident<Timer>,
}

impl RingKernelHandler<Wind, u32> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, wind: Wind) -> Result<u32> {
        let (me, now) = (ctx.address(self), ctx.now());
        ctx.update(&self.alarms, |alarms| *alarms = Alarms { set_at: now, ..Alarms::default() });
        let delay = Duration::from_nanos(wind.delay_ns);
        for n in 0..wind.count {
            let set = if wind.again { ctx.every(delay, me, Alarm { n }) } else { ctx.after(delay, me, Alarm { n }) };
            let timer = set?;
            ctx.update(&self.last, |last| *last = timer);
        }
        Ok(wind.count)
    }
}
impl RingKernelHandler<Remind, ()> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, remind: Remind) -> Result<()> {
        for seq in 1..=remind.count {
            let delay = Duration::from_nanos(remind.delay_ns + u64::from(seq) * remind.apart_ns);
            let timer = ctx.after(delay, remind.to, Note { from: 0, seq })?;
            ctx.update(&self.last, |last| *last = timer);
        }
        Ok(())
    }
}
impl RingKernelHandler<Unwind, bool> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Unwind) -> Result<bool> {
        let timer = *ctx.read(&self.last);
        Ok(ctx.cancel(timer))
    }
}
impl RingKernelHandler<UnwindThis, bool> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, unwind: UnwindThis) -> Result<bool> {
        Ok(ctx.cancel(unwind.timer))
    }
}
impl RingKernelHandler<LastTimer, Timer> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: LastTimer) -> Result<Timer> {
        Ok(*ctx.read(&self.last))
    }
}
impl RingKernelHandler<Alarm, ()> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, alarm: Alarm) -> Result<()> {
        let (now, own) = (ctx.now(), ctx.sender() == Some(ctx.actor()));
        ctx.update(&self.alarms, |alarms| {
            if let (Some(at), Some(which)) =
                (alarms.at.get_mut(alarms.count as usize), alarms.which.get_mut(alarms.count as usize))
            {
                *at = now;
                *which = alarm.n;
            }
            alarms.count += 1;
            alarms.strangers += u32::from(!own);
        });
        Ok(())
    }
}
impl RingKernelHandler<ReadAlarms, Alarms> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ReadAlarms) -> Result<Alarms> {
        Ok(*ctx.read(&self.alarms))
    }
}
impl RingKernelHandler<Doze, u64> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, doze: Doze) -> Result<u64> {
        let start = ctx.now();
        ctx.sleep(Duration::from_nanos(doze.ns)).await;
        Ok(ctx.now() - start)
    }
}
impl RingKernelHandler<LastWish, ()> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, wish: LastWish) -> Result<()> {
        ctx.after(Duration::from_nanos(wish.delay_ns), wish.to, Note { from: 0, seq: 1 })?;
        panic!("a clock that breaks")
    }
}
