//! Ping Pong: two actors exchange a ping and a pong N times. The ping is an ask, the pong its reply.

use warpring::prelude::*;

/// Play so many rounds.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Play {
    /// How many.
    pub rounds: u32,
}

/// How it went.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Score {
    /// Pongs received.
    pub pongs: u32,
}

/// The ball: a ping on the way there, a pong on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Ball {
    /// There: pongs received so far. Back: pings received so far.
    pub count: u32,
}

/// The code of the refusal when a ball is lost or came twice.
pub const MISCOUNT: u32 = 1;

/// Sends the pings.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/ping-pong-player")]
pub struct Player {
    wall: Address<Wall>,
}

impl Player {
    /// Plays against `wall`.
    pub fn new(wall: Address<Wall>) -> Self {
        Self { wall }
    }
}

impl RingKernelHandler<Play, Score> for Player {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Play) -> Result<Score> {
        let mut pongs = 0;
        while pongs < msg.rounds {
            let pong = ctx.ask(self.wall, Ball { count: pongs }).await?;
            pongs += 1;
            if pong.count != pongs {
                return Err(KernelError::rejected(MISCOUNT));
            }
        }
        Ok(Score { pongs })
    }
}

/// Sends the pongs.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/ping-pong-wall")]
pub struct Wall {
    pings: Resident<u32>,
}

impl Wall {
    /// Has not seen a ball yet.
    pub fn new() -> Self {
        Self { pings: Resident::new(0) }
    }
}

impl Default for Wall {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Ball, Ball> for Wall {
    async fn handle(&self, ctx: &mut RingContext<'_>, ping: Ball) -> Result<Ball> {
        ctx.update(&self.pings, |pings| {
            if ping.count != *pings {
                return Err(KernelError::rejected(MISCOUNT));
            }
            *pings += 1;
            Ok(Ball { count: *pings })
        })
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: rounds.
    pub rounds: u32,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { rounds: 40_000 };
    /// For slow backends.
    pub const SMALL: Self = Self { rounds: 200 };

    /// Pongs received.
    pub const fn answer(self) -> i64 {
        self.rounds as i64
    }
}

/// Runs it: the two actors on the first and the last worker.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let far = LaunchOptions::default().on_worker(runtime.workers() - 1);
    let wall = warpring::block_on(runtime.launch(Wall::new(), far))?;
    let player = warpring::block_on(runtime.launch(Player::new(wall.address()), LaunchOptions::default().on_worker(0)))?;
    let start = std::time::Instant::now();
    let score = player.ask(Play { rounds: params.rounds }).within(super::suite::LIMIT).wait()?;
    Ok(super::Outcome { answer: score.pongs.into(), messages: 2 * u64::from(params.rounds), time: start.elapsed() })
}
