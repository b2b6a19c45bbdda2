//! NQueens: a master deals out boards on which some queens stand; a worker sends back the boards with one queen more, or, from the
//! threshold on, the number of ways to place the rest.
//!
//! Bound: at most N (N - 1) (N - 2) (N - 3) boards and as many answers are under way, and the mailboxes have room for them.

use warpring::prelude::*;

/// Most queens.
pub const MOST: usize = 16;
/// With so many queens a board is no longer dealt out anew.
const THRESHOLD: u32 = 4;
/// Messages that a mailbox holds.
const ROOM: u16 = 30_000;

/// Find all solutions.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// N: queens.
    pub size: u32,
    /// By these.
    pub workers: GroupAddress<Worker>,
}

/// A board on which queens stand in the first rows.
#[derive(Clone, Copy, Debug, Default, RingMessage)]
pub struct Board {
    /// The column of each row's queen.
    pub columns: [u8; MOST],
    /// How many queens stand.
    pub placed: u32,
    /// How many are to stand.
    pub size: u32,
}

/// A board was dealt with; boards that came of it were sent before.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Done {
    /// Solutions that were counted on it.
    pub solutions: u64,
}

/// How far is it?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct HowFar;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, RingMessage, State)]
pub struct Progress {
    /// Boards dealt out.
    pub boards: u32,
    /// Of those, the ones that are done.
    pub done: u32,
    /// Solutions so far.
    pub solutions: u64,
}

#[derive(Clone, Copy, Debug, State)]
struct Deal {
    workers: GroupAddress<Worker>,
    progress: Progress,
}

/// Deals out boards, to one worker after the other.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/nqueens-master")]
pub struct Master {
    deal: Resident<Deal>,
}

impl Master {
    async fn hand_out(&self, ctx: &mut RingContext<'_>, board: Board) -> Result<()> {
        let worker = ctx.update(&self.deal, |deal| {
            let turn = deal.progress.boards % deal.workers.len().max(1);
            deal.progress.boards += 1;
            deal.workers.get(turn).unwrap_or_default()
        });
        ctx.tell(worker, board).await
    }
}

impl RingKernelHandler<Begin, ()> for Master {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        ctx.update(&self.deal, |deal| deal.workers = msg.workers);
        self.hand_out(ctx, Board { size: msg.size.min(MOST as u32), ..Board::default() }).await
    }
}

impl RingKernelHandler<Board, ()> for Master {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Board) -> Result<()> {
        self.hand_out(ctx, msg).await
    }
}

impl RingKernelHandler<Done, ()> for Master {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Done) -> Result<()> {
        ctx.update(&self.deal, |deal| {
            deal.progress.done += 1;
            deal.progress.solutions += msg.solutions;
        });
        Ok(())
    }
}

impl RingKernelHandler<HowFar, Progress> for Master {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: HowFar) -> Result<Progress> {
        Ok(ctx.read(&self.deal).progress)
    }
}

impl Board {
    /// With one queen more, unless another one attacks it.
    fn with(mut self, column: u32) -> Option<Self> {
        let row = self.placed as usize;
        for (above, other) in self.columns[..row].iter().enumerate() {
            let (down, across) = ((row - above) as u32, column.abs_diff(u32::from(*other)));
            if across == 0 || across == down {
                return None;
            }
        }
        self.columns[row] = column as u8;
        self.placed += 1;
        Some(self)
    }

    /// In how many ways the rest can stand: row by row, and back where a row has no place left.
    fn solutions(self) -> u64 {
        let (size, first) = (self.size, self.placed as usize);
        if self.placed == size {
            return 1;
        }
        let mut board = self;
        // The column that each row tries next.
        let mut tries = [0u32; MOST];
        let (mut row, mut found) = (first, 0);
        loop {
            board.placed = row as u32;
            let next = (tries[row]..size).find_map(|column| Some((column, board.with(column)?)));
            match next {
                Some((column, placed)) => {
                    tries[row] = column + 1;
                    if placed.placed == size {
                        found += 1;
                    } else {
                        board = placed;
                        row += 1;
                        tries[row] = 0;
                    }
                }
                None if row == first => return found,
                None => row -= 1,
            }
        }
    }
}

/// Places queens.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/nqueens-worker")]
pub struct Worker {
    master: Address<Master>,
    counted: Resident<u64>,
}

impl RingKernelHandler<Board, ()> for Worker {
    async fn handle(&self, ctx: &mut RingContext<'_>, board: Board) -> Result<()> {
        if board.placed >= THRESHOLD.min(board.size) {
            // By one lane: the others would only do the same.
            let solutions = ctx.update(&self.counted, |counted| {
                let solutions = board.solutions();
                *counted += solutions;
                solutions
            });
            return ctx.tell(self.master, Done { solutions }).await;
        }
        for column in 0..board.size {
            if let Some(next) = board.with(column) {
                ctx.tell(self.master, next).await?;
            }
        }
        ctx.tell(self.master, Done { solutions: 0 }).await
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: queens, at most 12, because of the mailboxes.
    pub size: u32,
    /// W: workers.
    pub workers: u32,
    /// Solutions.
    pub solutions: i64,
}

impl Params {
    /// The suite's; its limit of solutions is above what there are.
    pub const SAVINA: Self = Self { size: 12, workers: 20, solutions: 14_200 };
    /// For slow backends.
    pub const SMALL: Self = Self { size: 6, workers: 4, solutions: 4 };

    /// How many solutions there are.
    pub const fn answer(self) -> i64 {
        self.solutions
    }
}

/// Runs it: the workers spread over all workers of the runtime, the master on the first.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let options = LaunchOptions::default().mailbox(ROOM);
    let deal = Deal { workers: GroupAddress::default(), progress: Progress::default() };
    let master = warpring::block_on(runtime.launch(Master { deal: Resident::new(deal) }, options.clone().on_worker(0)))?;
    let address = master.address();
    let worker = |_| Worker { master: address, counted: Resident::new(0) };
    let workers = warpring::block_on(runtime.launch_many(params.workers, options, worker))?.address();
    let start = std::time::Instant::now();
    master.ask(Begin { size: params.size, workers }).wait()?;
    let all = |progress: &Progress| progress.boards > 0 && progress.done == progress.boards;
    let progress = super::suite::until(|| Ok(Some(master.ask(HowFar).wait()?).filter(all)))?;
    // A board to the master and to a worker, and its end.
    Ok(super::Outcome { answer: progress.solutions as i64, messages: 3 * u64::from(progress.boards), time: start.elapsed() })
}
