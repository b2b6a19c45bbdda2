//! All-Pairs Shortest Path: Floyd and Warshall's algorithm on a matrix of N nodes, cut into blocks of B by B distances, each an actor.
//! Step k needs row k and column k of the matrix: the blocks that have a part of them send it to the other blocks of their column and
//! row. The lanes of a block's team share its rows.
//!
//! Bound: a block gets a part of N rows and of N columns at most, and a mailbox has room for these 2 N messages. What comes too early is
//! kept, because the block that sent it waits for others.

use warpring::prelude::*;

use super::finish::{Finish, Finished};

/// Most nodes.
pub const NODES: usize = 300;
/// Most rows and columns of a block.
pub const SIDE: usize = 50;

/// A block's part of a row or a column. In a row or column that a block has not, the numbers mean nothing.
type Line = [u16; SIDE];

/// Where the others are.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// The blocks, row by row.
    pub blocks: GroupAddress<Block>,
    /// Who wants the sum of the distances.
    pub finish: Address<Finish>,
}

/// Part of a row of the matrix, for the blocks of a column.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Row {
    /// Its number.
    pub step: u32,
    /// Its distances.
    pub line: [u16; SIDE],
}

/// Part of a column of the matrix, for the blocks of a row.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Column {
    /// Its number.
    pub step: u32,
    /// Its distances.
    pub line: [u16; SIDE],
}

/// What does this row of a block say?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct GetRow {
    /// Which, of the block.
    pub row: u32,
}

/// A row of a block.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Distances {
    /// Its distances.
    pub line: [u16; SIDE],
}

/// The code of the refusal of a row that is none.
pub const NO_SUCH_ROW: u32 = 1;

/// The lines that have come, by step.
#[derive(Clone, Copy, Debug, State)]
struct Lines {
    lines: [Line; NODES],
    came: [bool; NODES],
}

impl Lines {
    const NONE: Self = Self { lines: [[0; SIDE]; NODES], came: [false; NODES] };

    fn put(&mut self, step: u32, line: &Line) {
        if let (Some(place), Some(came)) = (self.lines.get_mut(step as usize), self.came.get_mut(step as usize)) {
            (*place, *came) = (*line, true);
        }
    }

    fn get(&self, step: u32) -> Option<Line> {
        self.came[step as usize].then(|| self.lines[step as usize])
    }
}

#[derive(Clone, Copy, Debug, Default, State)]
struct Progress {
    blocks: GroupAddress<Block>,
    finish: Address<Finish>,
    step: u32,
    /// What this block has of the step's row and column is sent.
    sent: bool,
}

/// A block of the matrix.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/shortest-path-block")]
pub struct Block {
    /// Which row and column of blocks it is in.
    row: u32,
    column: u32,
    /// Blocks in a row, and distances in a row of a block.
    across: u32,
    side: u32,
    distances: Resident<[Line; SIDE]>,
    rows: Resident<Lines>,
    columns: Resident<Lines>,
    progress: Resident<Progress>,
}

impl Block {
    /// Number `index`, of a matrix of weights.
    #[cfg(not(target_arch = "nvptx64"))]
    fn new(index: u32, params: Params, weights: &[Vec<u16>]) -> Self {
        let (across, side) = (params.across(), params.side);
        let (row, column) = (index / across, index % across);
        let mut distances = [[0; SIDE]; SIDE];
        for (line, weights) in distances.iter_mut().zip(&weights[(row * side) as usize..][..side as usize]) {
            line[..side as usize].copy_from_slice(&weights[(column * side) as usize..][..side as usize]);
        }
        let lines = || Resident::new(Lines::NONE);
        let progress = Resident::new(Progress::default());
        Self { row, column, across, side, distances: Resident::new(distances), rows: lines(), columns: lines(), progress }
    }

    /// Its part of this row of the matrix, if it has one.
    fn own_row(&self, ctx: &RingContext<'_>, step: u32) -> Option<Line> {
        (self.row == step / self.side).then(|| ctx.read(&self.distances)[(step % self.side) as usize])
    }

    /// Its part of this column of the matrix, if it has one.
    fn own_column(&self, ctx: &RingContext<'_>, step: u32) -> Option<Line> {
        let distances = ctx.read(&self.distances);
        (self.column == step / self.side).then(|| core::array::from_fn(|i| distances[i][(step % self.side) as usize]))
    }

    /// Sends its parts of the step's row and column to those who lack them. No line is kept while it waits: frames are small.
    async fn send(&self, ctx: &mut RingContext<'_>, step: u32) -> Result<()> {
        let blocks = ctx.read(&self.progress).blocks;
        for other in 0..self.across {
            if other != self.row
                && let Some(line) = self.own_row(ctx, step)
            {
                let below = blocks.get(other * self.across + self.column).unwrap_or_default();
                ctx.tell(below, Row { step, line }).await?;
            }
            if other != self.column
                && let Some(line) = self.own_column(ctx, step)
            {
                let beside = blocks.get(self.row * self.across + other).unwrap_or_default();
                ctx.tell(beside, Column { step, line }).await?;
            }
        }
        Ok(())
    }

    /// Does all steps for which row and column are there.
    async fn go_on(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let Progress { blocks, finish, mut step, mut sent } = *ctx.read(&self.progress);
        if blocks.is_empty() {
            return Ok(());
        }
        while step < self.across * self.side {
            if !sent {
                self.send(ctx, step).await?;
            }
            let row = self.own_row(ctx, step).or_else(|| ctx.read(&self.rows).get(step));
            let column = self.own_column(ctx, step).or_else(|| ctx.read(&self.columns).get(step));
            let (Some(row), Some(column)) = (row, column) else {
                ctx.update(&self.progress, |progress| (progress.step, progress.sent) = (step, true));
                return Ok(());
            };
            ctx.update_each(&self.distances, |i, line| {
                let to = column[i as usize];
                line.iter_mut().zip(&row).for_each(|(distance, from)| *distance = (*distance).min(to + from));
            });
            (step, sent) = (step + 1, false);
        }
        let side = self.side as usize;
        let sum = ctx.update(&self.distances, |lines| {
            lines[..side].iter().flat_map(|line| &line[..side]).map(|distance| i64::from(*distance)).sum::<i64>()
        });
        ctx.tell(finish, Finished { value: sum }).await
    }
}

impl RingKernelHandler<Begin, ()> for Block {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        ctx.update(&self.progress, |progress| (progress.blocks, progress.finish) = (msg.blocks, msg.finish));
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<Row, ()> for Block {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Row) -> Result<()> {
        ctx.update(&self.rows, |rows| rows.put(msg.step, &msg.line));
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<Column, ()> for Block {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Column) -> Result<()> {
        ctx.update(&self.columns, |columns| columns.put(msg.step, &msg.line));
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<GetRow, Distances> for Block {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: GetRow) -> Result<Distances> {
        let line = ctx.read(&self.distances).get(msg.row as usize).ok_or(KernelError::rejected(NO_SUCH_ROW))?;
        Ok(Distances { line: *line })
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: nodes, at most [`NODES`].
    pub nodes: u32,
    /// B: rows and columns of a block, at most [`SIDE`]; it divides N.
    pub side: u32,
    /// W: edges are 1 to so long; at most 32,767.
    pub longest: u32,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { nodes: 300, side: 50, longest: 100 };
    /// For slow backends.
    pub const SMALL: Self = Self { nodes: 24, side: 8, longest: 100 };

    const fn across(self) -> u32 {
        self.nodes / self.side
    }

    /// The suite's graph: an edge between any two nodes, as long in both directions.
    #[cfg(not(target_arch = "nvptx64"))]
    fn weights(self) -> Vec<Vec<u16>> {
        let nodes = self.nodes as usize;
        let (mut random, mut weights) = (super::random::Random::new(self.nodes), vec![vec![0; nodes]; nodes]);
        for (i, j) in (0..nodes).flat_map(|i| (i + 1..nodes).map(move |j| (i, j))) {
            let weight = (random.draw() % self.longest + 1) as u16;
            (weights[i][j], weights[j][i]) = (weight, weight);
        }
        weights
    }

    /// All distances, by three plain loops.
    #[cfg(not(target_arch = "nvptx64"))]
    fn distances(self) -> Vec<Vec<u16>> {
        let mut distances = self.weights();
        for k in 0..distances.len() {
            let row = distances[k].clone();
            for line in &mut distances {
                let to = line[k];
                line.iter_mut().zip(&row).for_each(|(distance, from)| *distance = (*distance).min(to + from));
            }
        }
        distances
    }

    /// The sum of all distances.
    #[cfg(not(target_arch = "nvptx64"))]
    pub fn answer(self) -> i64 {
        self.distances().iter().flatten().map(|distance| i64::from(*distance)).sum()
    }
}

/// Runs it: the blocks spread over all workers.
///
/// # Errors
/// What failed, or that a distance is not that of the plain loops.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let options = LaunchOptions::default;
    let (side, across, weights) = (params.side, params.across(), params.weights());
    let finish = warpring::block_on(runtime.launch(Finish::new(), options()))?;
    let block = |index| Block::new(index, params, &weights);
    let blocks = warpring::block_on(runtime.launch_many(across * across, options(), block))?.address();
    let start = std::time::Instant::now();
    let mut port = runtime.port(1)?;
    for block in (0..blocks.len()).filter_map(|i| blocks.get(i)) {
        port.tell(block, Begin { blocks, finish: finish.address() })?;
    }
    let sum = super::finish::wait(&finish, blocks.len())?.sum;
    let time = start.elapsed();
    // In the order of the matrix: a row of it goes through the blocks of a row.
    let places = (0..params.nodes).flat_map(|row| (0..across).map(move |column| (row / side * across + column, row % side)));
    let rows = super::suite::ask_each(runtime, places.filter_map(|(block, row)| Some((blocks.get(block)?, GetRow { row }))))?;
    let found = rows.iter().flat_map(|row| &row.line[..side as usize]);
    if !found.eq(params.distances().iter().flatten()) {
        return Err("the distances are not those of the plain loops".into());
    }
    // Each step all blocks of a row send to those below and above, and all of a column to those beside; each block begins and finishes.
    let messages = u64::from(params.nodes * 2 * across * (across - 1) + 2 * blocks.len());
    Ok(super::Outcome { answer: sum, messages, time })
}
