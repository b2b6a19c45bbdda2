//! Cigarette Smokers: an arbiter has one of S smokers at a time smoke, R times; who begins says so, and the next one is chosen.
//!
//! Bound: one message is under way between arbiter and smokers.

use warpring::prelude::*;

use super::random::Random;

/// Let so many rounds be smoked.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// How many.
    pub rounds: u32,
    /// By these.
    pub smokers: GroupAddress<Smoker>,
}

/// Smoke for so long.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Smoke {
    /// Steps of a computation.
    pub steps: u32,
}

/// I have begun.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Started;

/// How far is it?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct HowFar;

/// How far it is.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Progress {
    /// Rounds that have begun.
    pub rounds: u32,
    /// The pseudo-random number that comes next.
    pub next: u32,
}

#[derive(Clone, Copy, Debug, State)]
struct Game {
    smokers: GroupAddress<Smoker>,
    random: Random,
    left: u32,
    started: u32,
}

/// Chooses who smokes.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/smokers-arbiter")]
pub struct Arbiter {
    game: Resident<Game>,
}

impl Arbiter {
    async fn choose(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let (smoker, steps) = ctx.update(&self.game, |game| {
            let Some(left) = game.left.checked_sub(1) else { return (Address::default(), 0) };
            game.left = left;
            let smoker = game.random.draw() % game.smokers.len().max(1);
            (game.smokers.get(smoker).unwrap_or_default(), game.random.draw() % 1000 + 10)
        });
        if steps == 0 { Ok(()) } else { ctx.tell(smoker, Smoke { steps }).await }
    }
}

impl RingKernelHandler<Begin, ()> for Arbiter {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        ctx.update(&self.game, |game| (game.smokers, game.left) = (msg.smokers, msg.rounds));
        self.choose(ctx).await
    }
}

impl RingKernelHandler<Started, ()> for Arbiter {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Started) -> Result<()> {
        ctx.update(&self.game, |game| game.started += 1);
        self.choose(ctx).await
    }
}

impl RingKernelHandler<HowFar, Progress> for Arbiter {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: HowFar) -> Result<Progress> {
        let mut game = *ctx.read(&self.game);
        Ok(Progress { rounds: game.started, next: game.random.draw() })
    }
}

/// Smokes.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/smoker")]
pub struct Smoker {
    arbiter: Address<Arbiter>,
    smoke: Resident<u32>,
}

impl RingKernelHandler<Smoke, ()> for Smoker {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Smoke) -> Result<()> {
        ctx.tell(self.arbiter, Started).await?;
        ctx.update(&self.smoke, |smoke| {
            for _ in 0..msg.steps {
                *smoke = smoke.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            }
        });
        Ok(())
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// R: rounds.
    pub rounds: u32,
    /// S: smokers.
    pub smokers: u32,
    /// The pseudo-random number after the two of each round: a fact of the suite.
    pub next: i64,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { rounds: 1000, smokers: 200, next: 50_272 };
    /// Ten times as many rounds, for which the suite names the number as well.
    pub const LONG: Self = Self { rounds: 10_000, smokers: 200, next: 53_968 };
    /// The suite names no number for fewer rounds.
    pub const SMALL: Self = Self::SAVINA;

    /// The pseudo-random number after the last round.
    pub const fn answer(self) -> i64 {
        self.next
    }
}

/// Runs it: the smokers spread over all workers, the arbiter on the first.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let game = Game { smokers: GroupAddress::default(), random: Random::SEED, left: 0, started: 0 };
    let options = LaunchOptions::default().on_worker(0);
    let arbiter = warpring::block_on(runtime.launch(Arbiter { game: Resident::new(game) }, options))?;
    let address = arbiter.address();
    let smoker = |_| Smoker { arbiter: address, smoke: Resident::new(0) };
    let smokers = warpring::block_on(runtime.launch_many(params.smokers, LaunchOptions::default(), smoker))?.address();
    let start = std::time::Instant::now();
    arbiter.tell(Begin { rounds: params.rounds, smokers }).wait()?;
    let all = |progress: &Progress| progress.rounds == params.rounds;
    let progress = super::suite::until(|| Ok(Some(arbiter.ask(HowFar).wait()?).filter(all)))?;
    Ok(super::Outcome { answer: progress.next.into(), messages: 2 * u64::from(params.rounds) + 1, time: start.elapsed() })
}
