//! The actors of the test: a scribe keeps a digest of all that it was sent, in order, and does as its messages say.

use std::time::Duration;

use warpring::prelude::*;
use warpring::{Down, How};

use crate::ledger::{self, Event, Known, Page, Way};

/// What a scribe does, in steps.
pub mod op {
    /// Nothing more.
    pub const END: u8 = 0;
    /// Sleeps for `nap_ns`.
    pub const NAP: u8 = 1;
    pub const YIELD: u8 = 2;
    /// Asks the next target, which does the rest of the program.
    pub const ASK: u8 = 3;
    /// The same, with high priority and a limit of `nap_ns`.
    pub const ASK_WITHIN: u8 = 4;
    /// Tells the next target, which does the rest of the program; waits for room.
    pub const TELL: u8 = 5;
    /// Tells the next target now or not at all, and goes on.
    pub const TRY_TELL: u8 = 6;
    pub const PANIC: u8 = 7;
    /// Panics in the middle of a change of its state.
    pub const SMUDGE: u8 = 8;
    pub const FAIL: u8 = 9;
    /// Stops itself.
    pub const STOP: u8 = 10;
    /// Spawns a scribe on its own worker, and tells it something.
    pub const SPAWN: u8 = 11;
    /// The same on the next worker.
    pub const SPAWN_ON: u8 = 12;
    pub const STOP_OTHER: u8 = 13;
    pub const DRAIN_OTHER: u8 = 14;
    pub const KILL_OTHER: u8 = 15;
    pub const MONITOR: u8 = 16;
    pub const LINK: u8 = 17;
    /// Asks the next target and does not wait for the answer.
    pub const DROP_ASK: u8 = 18;
    pub const COUNT: u8 = 19;
}

pub const STEPS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Do {
    pub number: u64,
    pub nap_ns: u64,
    pub program: [u8; STEPS],
    pub targets: [ActorId; 3],
}

/// As much as a ring has to hold for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Long {
    pub what: Do,
    pub weight: [u64; 30],
}

impl Long {
    pub fn new(what: Do) -> Self {
        Self { what, weight: std::array::from_fn(|i| what.number.wrapping_mul(i as u64 + 1)) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, State)]
pub struct Diary {
    pub digest: u64,
    pub count: u64,
    /// How often it was started.
    pub starts: u64,
}

impl Diary {
    const EMPTY: Self = Self { digest: EMPTY.digest, count: 0, starts: 0 };

    pub fn page(&self) -> Page {
        Page { digest: self.digest, count: self.count }
    }
}

/// The page of a new scribe.
pub const EMPTY: Page = Page { digest: 0xcbf2_9ce4_8422_2325, count: 0 };

impl Page {
    /// With this message written down.
    #[must_use]
    pub fn after(self, number: u64) -> Self {
        Self { digest: (self.digest ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17), count: self.count + 1 }
    }

    /// After a change that was not finished.
    #[must_use]
    pub fn smudged(self) -> Self {
        Self { digest: !self.digest, ..self }
    }
}

/// What `initialize` and `shutdown` do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, State)]
pub struct Hooks {
    pub start_nap_ns: u64,
    pub end_nap_ns: u64,
    /// Every so manieth start fails; 0: none.
    pub fails: u64,
}

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "chaos/scribe")]
pub struct Scribe {
    pub hooks: Hooks,
    pub diary: Resident<Diary>,
}

impl Scribe {
    pub fn new(hooks: Hooks) -> Self {
        Self { hooks, diary: Resident::new(Diary::EMPTY) }
    }

    /// A message of this scribe's is about to be sent.
    fn number(&self, ctx: &mut RingContext<'_>, to: ActorId, high: bool) -> u64 {
        let way = Way::Actor(ctx.actor());
        ctx.update(&self.diary, |_| ledger::send(way, to, high))
    }

    fn know(&self, ctx: &mut RingContext<'_>, number: u64, known: Known) {
        ctx.update(&self.diary, |_| ledger::know(number, known));
    }

    async fn ask(&self, ctx: &mut RingContext<'_>, what: Do, to: ActorId, within: Option<u64>) {
        let number = self.number(ctx, to, within.is_some());
        // Until the answer is there, which may be never: this handler can be dropped meanwhile.
        self.know(ctx, number, Known::Unknown);
        let message = Do { number, ..what };
        let to = Address::<Self>::new(to);
        let answer = match within {
            Some(ns) => ctx.ask(to, message).priority(Priority::High).within(Duration::from_nanos(ns)).await,
            None => ctx.ask(to, message).await,
        };
        self.know(ctx, number, known(answer));
    }

    async fn tell(&self, ctx: &mut RingContext<'_>, what: Do, to: ActorId) {
        let number = self.number(ctx, to, false);
        let told = ctx.tell(Address::<Self>::new(to), Do { number, ..what }).await;
        self.know(ctx, number, if told.is_ok() { Known::Told } else { Known::Returned });
    }

    async fn act(&self, ctx: &mut RingContext<'_>, what: Do) -> Result<u64> {
        let (me, number) = (ctx.actor(), what.number);
        let written = ctx.update(&self.diary, |diary| {
            let page = diary.page();
            ledger::write(Event::Began { actor: me, number, page });
            let page = page.after(number);
            (diary.digest, diary.count) = (page.digest, page.count);
            page.digest
        });
        let mut targets = what.targets;
        let mut failed = false;
        for step in 0..STEPS {
            let (to, rest) = (targets[0], what.rest(step, targets));
            match what.program[step] {
                op::NAP => ctx.sleep(Duration::from_nanos(what.nap_ns)).await,
                op::YIELD => ctx.yield_now().await,
                op::ASK => {
                    self.ask(ctx, rest, to, None).await;
                    break;
                }
                op::ASK_WITHIN => {
                    self.ask(ctx, rest, to, Some(what.nap_ns)).await;
                    break;
                }
                op::TELL => {
                    self.tell(ctx, rest, to).await;
                    break;
                }
                op::TRY_TELL => {
                    let number = self.number(ctx, to, false);
                    let told = ctx.try_tell(Address::<Self>::new(to), Do { number, ..rest.only() });
                    self.know(ctx, number, if told.is_ok() { Known::Told } else { Known::Returned });
                }
                op::DROP_ASK => {
                    let number = self.number(ctx, to, false);
                    self.know(ctx, number, Known::Unknown);
                    once(ctx.ask(Address::<Self>::new(to), Do { number, ..rest.only() })).await;
                }
                op::PANIC => panic!("as asked"),
                op::SMUDGE => ctx.update(&self.diary, |diary| {
                    diary.digest = diary.page().smudged().digest;
                    ledger::write(Event::Smudged { actor: me });
                    panic!("as asked");
                }),
                op::FAIL => {
                    failed = true;
                    break;
                }
                op::STOP => ctx.stop(),
                op::SPAWN | op::SPAWN_ON => {
                    let child = Self::new(Hooks { start_nap_ns: what.nap_ns & 1 << 10, ..self.hooks });
                    let spawned = if what.program[step] == op::SPAWN {
                        ctx.spawn_with_mailbox(child, 3)
                    } else {
                        let next = (ctx.worker_index() + 1) % ctx.workers();
                        ctx.spawn_on(next, child).await
                    };
                    if let Ok(child) = spawned {
                        ctx.update(&self.diary, |_| ledger::born(child.id()));
                        self.tell(ctx, rest.only(), child.id()).await;
                    }
                }
                op::STOP_OTHER => _ = ctx.end(to, How::Stop),
                op::DRAIN_OTHER => _ = ctx.end(to, How::Drain),
                op::KILL_OTHER => _ = ctx.end(to, How::Kill),
                op::MONITOR => _ = ctx.monitor(self, to),
                op::LINK => _ = ctx.link(to),
                _ => break,
            }
            targets.rotate_left(1);
        }
        ctx.update(&self.diary, |_| ledger::write(Event::Ended { number }));
        if failed { Err(KernelError::rejected(7)) } else { Ok(written) }
    }
}

impl Do {
    /// The program from behind this step on, for the next target.
    fn rest(&self, step: usize, mut targets: [ActorId; 3]) -> Self {
        let mut program = [op::END; STEPS];
        program[..STEPS - 1 - step].copy_from_slice(&self.program[step + 1..]);
        targets.rotate_left(1);
        Self { program, targets, ..*self }
    }

    /// The first step alone.
    fn only(&self) -> Self {
        let mut program = [op::END; STEPS];
        program[0] = self.program[0];
        Self { program, ..*self }
    }
}

/// What a sender knows from the answer to its ask.
fn known(answer: Result<u64>) -> Known {
    match answer {
        Ok(_) | Err(KernelError::Rejected { .. }) => Known::Answered,
        Err(KernelError::Panicked { .. } | KernelError::Interrupted) => Known::Fell,
        // The asker gives up: what it asked may be handled all the same.
        Err(KernelError::Deadline | KernelError::AskCycle { .. }) => Known::Unknown,
        Err(_) => Known::Returned,
    }
}

/// Polls once and drops.
async fn once(future: impl Future) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        std::task::Poll::Ready(())
    })
    .await;
}

impl RingKernelHandler<Do, u64> for Scribe {
    async fn handle(&self, ctx: &mut RingContext<'_>, what: Do) -> Result<u64> {
        self.act(ctx, what).await
    }

    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let actor = ctx.actor();
        let starts = ctx.update(&self.diary, |diary| {
            ledger::write(Event::Started { actor, page: diary.page() });
            diary.starts += 1;
            diary.starts
        });
        if self.hooks.start_nap_ns > 0 {
            ctx.sleep(Duration::from_nanos(self.hooks.start_nap_ns)).await;
        }
        if self.hooks.fails > 0 && starts.is_multiple_of(self.hooks.fails) {
            return Err(KernelError::rejected(8));
        }
        ctx.update(&self.diary, |_| ledger::write(Event::Ready { actor }));
        Ok(())
    }

    async fn shutdown(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let actor = ctx.actor();
        ctx.update(&self.diary, |_| ledger::write(Event::ShutDown { actor }));
        if self.hooks.end_nap_ns > 0 {
            ctx.sleep(Duration::from_nanos(self.hooks.end_nap_ns)).await;
        }
        Ok(())
    }
}

impl RingKernelHandler<Long, u64> for Scribe {
    async fn handle(&self, ctx: &mut RingContext<'_>, long: Long) -> Result<u64> {
        assert_eq!(long, Long::new(long.what), "a message came through unchanged");
        self.act(ctx, long.what).await
    }
}

impl RingKernelHandler<Down, ()> for Scribe {
    async fn handle(&self, _: &mut RingContext<'_>, _: Down) -> Result<()> {
        Ok(())
    }
}

/// Lets virtual time pass for the host.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "chaos/clock")]
pub struct Clock;

#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Rest {
    pub ns: u64,
}

impl RingKernelHandler<Rest, u64> for Clock {
    async fn handle(&self, ctx: &mut RingContext<'_>, rest: Rest) -> Result<u64> {
        ctx.sleep(Duration::from_nanos(rest.ns)).await;
        Ok(ctx.now())
    }
}

warpring::export! {
    Scribe { Do => u64, Long => u64, Down => () }
    Clock { Rest => u64 }
}
