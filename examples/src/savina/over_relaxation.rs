//! Successive Over-Relaxation: a square of cells, coloured like a chessboard, each an actor. In turn all red ones and all black ones send
//! their values to their neighbours, and a cell that has those of all its neighbours takes a new value between theirs and its own.
//!
//! Bound: a cell sends its next value when it has those of all its neighbours, who send theirs when they have its: so each neighbour has
//! one value under way to it. All cells finish at about the same time, and the mailbox of who counts them has room for all, and for the
//! host's question.

use warpring::prelude::*;

use super::finish::{Finish, Finished};
use super::random::JavaRandom;

/// The suite's seed.
pub const SEED: u64 = 10_101_010;
const OMEGA: f64 = 1.25;
/// Right, below, left, above.
const DIRECTIONS: u32 = 4;

/// Where the others are.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// The cells, row by row.
    pub cells: GroupAddress<Cell>,
    /// How often a cell sends its value.
    pub iterations: u32,
    /// Who wants to know when it is done.
    pub finish: Address<Finish>,
}

/// A neighbour's value.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Value {
    /// The value.
    pub value: f64,
    /// In which direction the neighbour is.
    pub from: u32,
}

/// What value has the cell?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct GetValue;

#[derive(Clone, Copy, Debug, Default, State)]
struct Relaxed {
    cells: GroupAddress<Cell>,
    finish: Address<Finish>,
    value: f64,
    around: [f64; DIRECTIONS as usize],
    /// How many of these have come.
    came: u32,
    /// How often the value is still to change.
    left: u32,
}

/// A cell.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/over-relaxation-cell")]
pub struct Cell {
    row: u32,
    column: u32,
    size: u32,
    relaxed: Resident<Relaxed>,
}

const fn relax(value: f64, around: [f64; DIRECTIONS as usize]) -> f64 {
    0.25 * OMEGA * (around[0] + around[1] + around[2] + around[3]) + (1.0 - OMEGA) * value
}

impl Cell {
    /// Red cells send first.
    fn is_red(&self) -> bool {
        (self.row + self.column).is_multiple_of(2)
    }

    /// The number of the neighbour in this direction; none beyond the border.
    fn neighbour(&self, direction: u32) -> Option<u32> {
        let (row, column) = match direction {
            0 => (self.row, self.column + 1),
            1 => (self.row + 1, self.column),
            2 => (self.row, self.column.checked_sub(1)?),
            _ => (self.row.checked_sub(1)?, self.column),
        };
        (row < self.size && column < self.size).then_some(row * self.size + column)
    }

    async fn send(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let Relaxed { cells, value, .. } = *ctx.read(&self.relaxed);
        for direction in 0..DIRECTIONS {
            if let Some(neighbour) = self.neighbour(direction).and_then(|place| cells.get(place)) {
                ctx.tell(neighbour, Value { value, from: (direction + 2) % DIRECTIONS }).await?;
            }
        }
        Ok(())
    }

    async fn finish_if_done(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let Relaxed { finish, left, .. } = *ctx.read(&self.relaxed);
        if left == 0 { ctx.tell(finish, Finished { value: 1 }).await } else { Ok(()) }
    }

    /// Takes the next value if all neighbours have sent theirs.
    async fn go_on(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let neighbours = (0..DIRECTIONS).filter(|direction| self.neighbour(*direction).is_some()).count() as u32;
        let last = ctx.update(&self.relaxed, |relaxed| {
            if relaxed.cells.is_empty() || relaxed.came < neighbours {
                return None;
            }
            relaxed.value = relax(relaxed.value, relaxed.around);
            relaxed.came = 0;
            relaxed.left -= 1;
            Some(relaxed.left == 0)
        });
        let Some(last) = last else { return Ok(()) };
        // The last change is that of the black ones: nobody needs it.
        if self.is_red() || !last {
            self.send(ctx).await?;
        }
        self.finish_if_done(ctx).await
    }
}

impl RingKernelHandler<Begin, ()> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        let red = self.is_red();
        ctx.update(&self.relaxed, |relaxed| {
            (relaxed.cells, relaxed.finish) = (msg.cells, msg.finish);
            relaxed.left = msg.iterations - u32::from(red);
        });
        if red {
            self.send(ctx).await?;
            return self.finish_if_done(ctx).await;
        }
        // Values may have come before.
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<Value, ()> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Value) -> Result<()> {
        ctx.update(&self.relaxed, |relaxed| {
            relaxed.around[(msg.from % DIRECTIONS) as usize] = msg.value;
            relaxed.came += 1;
        });
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<GetValue, f64> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: GetValue) -> Result<f64> {
        Ok(ctx.read(&self.relaxed).value)
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Cells in a row.
    pub size: u32,
    /// How often a cell sends its value, at least once.
    pub iterations: u32,
    /// The sum of all values in units of 1e-12, rounded: a fact of these parameters.
    pub total: i64,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { size: 20, iterations: 100, total: 3_189_420 };
    /// The next larger square, for which the suite names the sum as well.
    pub const EIGHTY: Self = Self { size: 80, iterations: 100, total: 1_846_644_603 };
    /// For slow backends. The suite names no sum; this is what plain loops give.
    pub const SMALL: Self = Self { size: 6, iterations: 10, total: rounded(plain::<6>(10)) };

    /// The sum of all values in units of 1e-12, rounded.
    pub const fn answer(self) -> i64 {
        self.total
    }
}

/// The suite allows an error of 1e-12.
const fn rounded(sum: f64) -> i64 {
    (sum * 1e12 + 0.5) as i64
}

/// The value that the next cell has in the beginning, row by row.
const fn first(random: &mut JavaRandom) -> f64 {
    random.fraction() * 1e-6
}

/// The sum of all values, by plain loops.
const fn plain<const SIZE: usize>(iterations: u32) -> f64 {
    let (mut random, mut values) = (JavaRandom::new(SEED), [[0.0; SIZE]; SIZE]);
    // First the cells get their values; then black, red, black and so on change; and at last the values are added up.
    let (mut pass, mut sum) = (0, 0.0);
    while pass <= 2 * iterations {
        let mut place = 0;
        while place < SIZE * SIZE {
            let (i, j) = (place / SIZE, place % SIZE);
            if pass == 0 {
                values[i][j] = first(&mut random);
            } else if pass == 2 * iterations {
                sum += values[i][j];
            } else if (i + j) as u32 % 2 == pass % 2 {
                let right = if j + 1 < SIZE { values[i][j + 1] } else { 0.0 };
                let below = if i + 1 < SIZE { values[i + 1][j] } else { 0.0 };
                let left = if j > 0 { values[i][j - 1] } else { 0.0 };
                let above = if i > 0 { values[i - 1][j] } else { 0.0 };
                values[i][j] = relax(values[i][j], [right, below, left, above]);
            }
            place += 1;
        }
        pass += 1;
    }
    sum
}

/// Runs it: neighbours on different workers, where there are several.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let options = LaunchOptions::default;
    let (size, iterations) = (params.size, params.iterations);
    let count = size * size;
    let room = u16::try_from(count + 1)?;
    let finish = warpring::block_on(runtime.launch(Finish::new(), options().mailbox(room)))?;
    let mut random = JavaRandom::new(SEED);
    let cell = |place| {
        let relaxed = Relaxed { value: first(&mut random), ..Relaxed::default() };
        Cell { row: place / size, column: place % size, size, relaxed: Resident::new(relaxed) }
    };
    let cells = warpring::block_on(runtime.launch_many(count, options(), cell))?.address();
    let all = || (0..count).filter_map(|i| cells.get(i));
    let start = std::time::Instant::now();
    let mut port = runtime.port(1)?;
    for cell in all() {
        port.tell(cell, Begin { cells, iterations, finish: finish.address() })?;
    }
    super::finish::wait(&finish, count)?;
    let time = start.elapsed();
    let sum: f64 = super::suite::ask_each(runtime, all().map(|cell| (cell, GetValue)))?.iter().sum();
    // Over each edge the red cell sends its value so often, and the black one once less; each cell begins and finishes.
    let edges = 2 * u64::from(size) * u64::from(size - 1);
    Ok(super::Outcome { answer: rounded(sum), messages: edges * u64::from(2 * iterations - 1) + 2 * u64::from(count), time })
}
