//! An actor that uses the lanes of its team together.

use warpring::prelude::*;

/// Counts its calls in the state, three times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Bump;
/// What the state was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Bumped {
    /// What the last change gave.
    pub changed: u64,
    /// What reading gave after it.
    pub read: u64,
    /// How many lanes gave a reading that differs from the leader's.
    pub others: u32,
}
/// Sets cell `i` to `i * by`, each on one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Fill {
    /// The factor.
    pub by: u64,
}
/// What the cells add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Filled {
    /// By a plain loop over what `read` gives.
    pub by_reading: u64,
    /// By `reduce`.
    pub by_reduce: u64,
    /// The largest, by `reduce`.
    pub largest: u64,
}
/// `for_each`, `reduce` and `scan` over so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Together {
    /// How many.
    pub n: u32,
}
/// What they gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Sums {
    /// The sum of squares that the lanes formed in `for_each`, put together.
    pub each: u64,
    /// How often the lanes were called in it, put together.
    pub calls: u32,
    /// The sum of squares by `reduce`.
    pub reduced: u64,
    /// What `scan` gave as the whole.
    pub scanned: u64,
    /// The sum of `(i + 1) * prefix(i)` over what `scan` gave to the lanes.
    pub prefixes: u64,
    /// The lanes of the team.
    pub lanes: u32,
}
/// `ballot` and `broadcast`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Vote;
/// What they gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Votes {
    /// All lanes said yes.
    pub all: u32,
    /// Those of an odd number did.
    pub odd: u32,
    /// None did.
    pub none: u32,
    /// 100 more than the number of the lane that was asked for, which was the last.
    pub last: u32,
    /// The lanes of the team.
    pub lanes: u32,
}

/// Uses every collective.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "conformance/team")]
pub struct Team {
    count: Resident<u64>,
    cells: Resident<[u64; 100]>,
}

impl Default for Team {
    fn default() -> Self {
        Self { count: Resident::new(0), cells: Resident::new([0; 100]) }
    }
}

impl RingKernelHandler<Bump, Bumped> for Team {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Bump) -> Result<Bumped> {
        ctx.update(&self.count, |count| *count += 1);
        ctx.update(&self.count, |count| *count += 1);
        let changed = ctx.update(&self.count, |count| {
            *count += 1;
            *count
        });
        let read = *ctx.read(&self.count);
        let leader = ctx.broadcast(read, 0);
        let others = ctx.ballot(read != leader || changed != leader).count_ones();
        Ok(Bumped { changed, read: leader, others })
    }
}
impl RingKernelHandler<Fill, Filled> for Team {
    async fn handle(&self, ctx: &mut RingContext<'_>, fill: Fill) -> Result<Filled> {
        ctx.update_each(&self.cells, |i, cell| *cell = u64::from(i) * fill.by);
        let cells = *ctx.read(&self.cells);
        let by_reduce = ctx.reduce(100, 0, |i| cells[i as usize], |a, b| a + b);
        let largest = ctx.reduce(100, 0, |i| cells[i as usize], |a: u64, b| a.max(b));
        Ok(Filled { by_reading: cells.iter().sum(), by_reduce, largest })
    }
}
impl RingKernelHandler<Together, Sums> for Team {
    async fn handle(&self, ctx: &mut RingContext<'_>, together: Together) -> Result<Sums> {
        let (n, lane, lanes) = (together.n, ctx.lane(), ctx.team_size());
        let square = |i: u32| u64::from(i) * u64::from(i);
        // Each lane's share in its own locals, then put together.
        let (mut share, mut called) = (0, 0);
        ctx.for_each(n, |i| {
            share += square(i);
            called += 1;
        });
        let each = ctx.reduce(lanes, 0, |i| if i == lane { share } else { 0 }, |a, b| a + b);
        let calls = ctx.reduce(lanes, 0, |i| if i == lane { called } else { 0 }, |a, b| a + b);
        let reduced = ctx.reduce(n, 0, square, |a, b| a + b);
        let mut weighted = 0;
        let scanned = ctx.scan(n, 0, square, |a, b| a + b, |i, prefix| weighted += prefix * u64::from(i + 1));
        let prefixes = ctx.reduce(lanes, 0, |i| if i == lane { weighted } else { 0 }, |a, b| a + b);
        Ok(Sums { each, calls, reduced, scanned, prefixes, lanes })
    }
}
impl RingKernelHandler<Vote, Votes> for Team {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Vote) -> Result<Votes> {
        let (lane, lanes) = (ctx.lane(), ctx.team_size());
        let all = ctx.ballot(true);
        let odd = ctx.ballot(lane % 2 == 1);
        let none = ctx.ballot(false);
        let last = ctx.broadcast(lane + 100, lanes - 1);
        Ok(Votes { all, odd, none, last, lanes })
    }
}
