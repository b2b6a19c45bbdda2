//! Sieve of Eratosthenes: odd numbers up to N go through a chain of filters, each of which keeps the first M primes that reach it
//! and stops their multiples.
//!
//! Bound: every 256th number that a filter passes on is an ask, so at most 256 are under way to the next one. The chain is there from
//! the start, as long as it has to be; the suite's grows by a filter when one is full.

use warpring::prelude::*;

/// Most primes that a filter keeps.
pub const MOST: usize = 1000;
/// Numbers under way between two filters at most.
const WINDOW: u32 = 256;

/// Send all odd numbers up to this one.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// The limit.
    pub limit: u32,
}

/// A number that no filter before has stopped.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Candidate {
    /// The number.
    pub number: u32,
}

/// No more numbers come: how many primes are kept from here on?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct End;

/// How many primes were found.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Primes {
    /// How many.
    pub count: u32,
}

/// The code of the refusal of a number behind a chain that is too short.
pub const CHAIN_TOO_SHORT: u32 = 1;

/// Sends the numbers.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/sieve-producer")]
pub struct Producer {
    first: Address<Filter>,
}

impl RingKernelHandler<Begin, Primes> for Producer {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<Primes> {
        let mut sent = 0;
        let mut number = 3;
        while number <= msg.limit {
            sent += 1;
            pass(ctx, self.first, sent, number).await?;
            number += 2;
        }
        ctx.ask(self.first, End).await
    }
}

async fn pass(ctx: &mut RingContext<'_>, to: Address<Filter>, sent: u32, number: u32) -> Result<()> {
    if sent.is_multiple_of(WINDOW) { ctx.ask(to, Candidate { number }).await } else { ctx.tell(to, Candidate { number }).await }
}

#[derive(Clone, Copy, Debug, State)]
struct Kept {
    primes: [u32; MOST],
    count: u32,
    passed: u32,
}

/// Keeps primes.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/sieve-filter")]
pub struct Filter {
    /// The next one; the last has none.
    next: Address<Filter>,
    room: u32,
    kept: Resident<Kept>,
}

impl Filter {
    /// With room for so many primes, at most [`MOST`].
    pub fn new(next: Address<Filter>, room: u32) -> Self {
        Self { next, room: room.min(MOST as u32), kept: Resident::new(Kept { primes: [0; MOST], count: 0, passed: 0 }) }
    }

    /// With a prime to begin with.
    fn with(self, prime: u32) -> Self {
        let mut primes = [0; MOST];
        primes[0] = prime;
        Self { kept: Resident::new(Kept { primes, count: 1, passed: 0 }), ..self }
    }
}

impl RingKernelHandler<Candidate, ()> for Filter {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Candidate) -> Result<()> {
        let (number, room) = (msg.number, self.room);
        // The number of this one among those that are passed on; 0 if it is not.
        let sent = ctx.update(&self.kept, |kept| {
            if kept.primes[..kept.count as usize].iter().any(|prime| number.is_multiple_of(*prime)) {
                return 0;
            }
            if kept.count < room {
                kept.primes[kept.count as usize] = number;
                kept.count += 1;
                return 0;
            }
            kept.passed += 1;
            kept.passed
        });
        if sent == 0 {
            return Ok(());
        }
        if self.next == Address::default() {
            return Err(KernelError::rejected(CHAIN_TOO_SHORT));
        }
        pass(ctx, self.next, sent, number).await
    }
}

impl RingKernelHandler<End, Primes> for Filter {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: End) -> Result<Primes> {
        let Kept { count, passed, .. } = *ctx.read(&self.kept);
        let behind = match (self.next == Address::default(), passed) {
            (false, _) => ctx.ask(self.next, End).await?.count,
            (true, 0) => 0,
            (true, _) => return Err(KernelError::rejected(CHAIN_TOO_SHORT)),
        };
        Ok(Primes { count: count + behind })
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: the limit.
    pub limit: u32,
    /// M: primes that a filter keeps.
    pub local: u32,
    /// Primes up to the limit.
    pub primes: u32,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { limit: 100_000, local: 1000, primes: 9592 };
    /// For slow backends.
    pub const SMALL: Self = Self { limit: 1000, local: 50, primes: 168 };

    /// How many primes there are up to the limit.
    pub const fn answer(self) -> i64 {
        self.primes as i64
    }
}

/// Runs it: neighbours in the chain on different workers, where there are several.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let filters = params.primes.div_ceil(params.local);
    let mut first = Address::default();
    // From the last on.
    for i in (0..filters).rev() {
        let filter = Filter::new(first, params.local);
        let filter = if i == 0 { filter.with(2) } else { filter };
        first = warpring::block_on(runtime.launch(filter, LaunchOptions::default()))?.address();
    }
    let producer = warpring::block_on(runtime.launch(Producer { first }, LaunchOptions::default().on_worker(0)))?;
    let start = std::time::Instant::now();
    let count = producer.ask(Begin { limit: params.limit }).within(super::suite::LIMIT).wait()?.count;
    // Those that the producer sends; what filters pass on depends on the primes.
    Ok(super::Outcome { answer: count.into(), messages: u64::from(params.limit / 2), time: start.elapsed() })
}
