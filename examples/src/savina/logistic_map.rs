//! Logistic Map Series: each of S series asks its own rate computer N times for the next term of x := r x (1 - x).
//!
//! Bound: each series has one ask under way.

use warpring::prelude::*;

use super::finish::{Finish, Finished};

/// Go so many terms on.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// How many.
    pub terms: u32,
    /// Who wants to know when it is done.
    pub finish: Address<Finish>,
}

/// What comes after this term?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Compute {
    /// The term.
    pub term: f64,
}

/// A term.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Term {
    /// Its value.
    pub value: f64,
}

/// Which term is it?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct GetTerm;

/// Knows the rate of a series.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/logistic-map-computer")]
pub struct Computer {
    rate: f64,
}

impl RingKernelHandler<Compute, Term> for Computer {
    async fn handle(&self, _: &mut RingContext<'_>, msg: Compute) -> Result<Term> {
        Ok(Term { value: next(self.rate, msg.term) })
    }
}

const fn next(rate: f64, term: f64) -> f64 {
    rate * term * (1.0 - term)
}

/// Holds the term that a series is at.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/logistic-map-series")]
pub struct Series {
    computer: Address<Computer>,
    term: Resident<f64>,
}

impl RingKernelHandler<Begin, ()> for Series {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        for _ in 0..msg.terms {
            let term = *ctx.read(&self.term);
            let Term { value } = ctx.ask(self.computer, Compute { term }).await?;
            ctx.update(&self.term, |term| *term = value);
        }
        ctx.tell(msg.finish, Finished { value: 1 }).await
    }
}

impl RingKernelHandler<GetTerm, Term> for Series {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: GetTerm) -> Result<Term> {
        Ok(Term { value: *ctx.read(&self.term) })
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// S: series.
    pub series: u32,
    /// N: terms of each.
    pub terms: u32,
    /// The sum of the last terms in millionths, rounded: a fact of these parameters.
    pub sum: i64,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { series: 10, terms: 25_000, sum: 6_387_835 };
    /// Twice as many series, for which the suite names the sum as well.
    pub const TWENTY: Self = Self { series: 20, terms: 25_000, sum: 11_022_424 };
    /// For slow backends. The suite names no sum; this is what a plain loop gives.
    pub const SMALL: Self = Self { series: 4, terms: 200, sum: SMALL_SUM };

    /// The sum of the last terms in millionths, rounded.
    pub const fn answer(self) -> i64 {
        self.sum
    }

    /// Rate and first term of a series.
    const fn start(i: u32) -> (f64, f64) {
        const INCREMENT: f64 = 0.0025;
        (3.46 + i as f64 * INCREMENT, i as f64 * INCREMENT)
    }
}

const SMALL_SUM: i64 = {
    let (mut sum, mut i) = (0.0, 0);
    while i < 4 {
        let (rate, mut term) = Params::start(i);
        let mut step = 0;
        while step < 200 {
            term = next(rate, term);
            step += 1;
        }
        sum += term;
        i += 1;
    }
    (sum * 1e6 + 0.5) as i64
};

/// Runs it: series and computers spread over all workers.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let options = LaunchOptions::default;
    let finish = warpring::block_on(runtime.launch(Finish::new(), options()))?;
    let computer = |i| Computer { rate: Params::start(i).0 };
    let computers = warpring::block_on(runtime.launch_many(params.series, options(), computer))?.address();
    let series = |i: u32| Series { computer: computers.get(i).unwrap_or_default(), term: Resident::new(Params::start(i).1) };
    let series = warpring::block_on(runtime.launch_many(params.series, options(), series))?.address();
    let all = || (0..params.series).filter_map(|i| series.get(i));
    let start = std::time::Instant::now();
    let mut port = runtime.port(1)?;
    for one in all() {
        port.tell(one, Begin { terms: params.terms, finish: finish.address() })?;
    }
    super::finish::wait(&finish, params.series)?;
    let terms = super::suite::ask_each(runtime, all().map(|one| (one, GetTerm)))?;
    let sum: f64 = terms.iter().map(|term| term.value).sum();
    // A compute and its term, each time; a begin, a finish, a question and its answer for each series.
    let messages = u64::from(params.series) * (2 * u64::from(params.terms) + 4);
    Ok(super::Outcome { answer: (sum * 1e6).round() as i64, messages, time: start.elapsed() })
}
