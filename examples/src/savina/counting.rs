//! Counting Actor: a producer sends N increments and then asks for the count.
//!
//! Bound: every 256th increment is an ask, so at most 256 are under way to the counter.

use warpring::prelude::*;

/// Send so many increments.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Produce {
    /// How many.
    pub increments: u32,
}

/// One more.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Increment;

/// What is the count?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Retrieve;

/// The count.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Count {
    /// How many increments there were.
    pub count: u32,
}

/// Increments under way at most.
const WINDOW: u32 = 256;

/// Sends the increments.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/counting-producer")]
pub struct Producer {
    counter: Address<Counter>,
}

impl Producer {
    /// Sends to `counter`.
    pub fn new(counter: Address<Counter>) -> Self {
        Self { counter }
    }
}

impl RingKernelHandler<Produce, Count> for Producer {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Produce) -> Result<Count> {
        for sent in 1..=msg.increments {
            if sent % WINDOW == 0 {
                ctx.ask(self.counter, Increment).await?;
            } else {
                ctx.tell(self.counter, Increment).await?;
            }
        }
        ctx.ask(self.counter, Retrieve).await
    }
}

/// Counts.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/counting-counter")]
pub struct Counter {
    count: Resident<u32>,
}

impl Counter {
    /// Starts at 0.
    pub fn new() -> Self {
        Self { count: Resident::new(0) }
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Increment, ()> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Increment) -> Result<()> {
        ctx.update(&self.count, |count| *count += 1);
        Ok(())
    }
}

impl RingKernelHandler<Retrieve, Count> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Retrieve) -> Result<Count> {
        Ok(Count { count: *ctx.read(&self.count) })
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: increments.
    pub increments: u32,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { increments: 1_000_000 };
    /// For slow backends.
    pub const SMALL: Self = Self { increments: 1_000 };

    /// The count.
    pub const fn answer(self) -> i64 {
        self.increments as i64
    }
}

/// Runs it: the two actors on the first and the last worker.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let far = LaunchOptions::default().on_worker(runtime.workers() - 1);
    let counter = warpring::block_on(runtime.launch(Counter::new(), far))?;
    let producer = warpring::block_on(runtime.launch(Producer::new(counter.address()), LaunchOptions::default().on_worker(0)))?;
    let start = std::time::Instant::now();
    let count = producer.ask(Produce { increments: params.increments }).within(super::suite::LIMIT).wait()?.count;
    Ok(super::Outcome { answer: count.into(), messages: u64::from(params.increments) + 1, time: start.elapsed() })
}
