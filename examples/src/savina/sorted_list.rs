//! Concurrent Sorted Linked List: W workers add numbers to one sorted list, look for some, and ask for its size.
//!
//! Bound: each worker has one ask under way. The list is an array with a fixed room, in which a number is found by halves.

use warpring::prelude::*;

use super::finish::{Finish, Finished};
use super::random::Random;

/// Most numbers in the list.
pub const MOST: usize = 4096;

/// Send so many requests.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// How many.
    pub requests: u32,
    /// Who wants to know when it is done.
    pub finish: Address<Finish>,
}

/// A number that goes into the list, also if it is there already.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Add {
    /// The number, of 16 bits.
    pub value: u32,
}

/// Is this number in the list?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Contains {
    /// The number.
    pub value: u32,
}

/// How many are in the list?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Size;

/// The code of the refusal of a number for which there is no room.
pub const LIST_FULL: u32 = 1;

#[derive(Clone, Copy, Debug, State)]
struct Values {
    values: [u16; MOST],
    count: u32,
}

impl Values {
    /// Where a number is, or would be.
    fn place(&self, value: u32) -> (usize, bool) {
        let values = &self.values[..self.count as usize];
        let at = values.partition_point(|there| u32::from(*there) < value);
        (at, values.get(at).is_some_and(|there| u32::from(*there) == value))
    }
}

/// The list.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/sorted-list")]
pub struct List {
    values: Resident<Values>,
}

impl List {
    /// Nothing is in it.
    pub fn new() -> Self {
        Self { values: Resident::new(Values { values: [0; MOST], count: 0 }) }
    }
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Add, ()> for List {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Add) -> Result<()> {
        ctx.update(&self.values, |list| {
            let count = list.count as usize;
            if count == MOST {
                return Err(KernelError::rejected(LIST_FULL));
            }
            let (at, _) = list.place(msg.value);
            list.values.copy_within(at..count, at + 1);
            list.values[at] = msg.value as u16;
            list.count += 1;
            Ok(())
        })
    }
}

impl RingKernelHandler<Contains, bool> for List {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Contains) -> Result<bool> {
        Ok(ctx.read(&self.values).place(msg.value).1)
    }
}

impl RingKernelHandler<Size, u32> for List {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Size) -> Result<u32> {
        Ok(ctx.read(&self.values).count)
    }
}

/// The code of the end of a worker that did not find what it had added.
pub const LOST: u32 = 2;

/// Sends requests: in percent, 10 adds, 1 for the size, and otherwise looks.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/sorted-list-worker")]
pub struct Worker {
    list: Address<List>,
    random: Resident<Random>,
}

impl RingKernelHandler<Begin, ()> for Worker {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        let mut added = 0;
        for _ in 0..msg.requests {
            let kind = ctx.update(&self.random, Random::draw) % 100;
            if kind < SIZE_PERCENT {
                ctx.ask(self.list, Size).await?;
                continue;
            }
            let value = ctx.update(&self.random, Random::draw);
            if kind >= SIZE_PERCENT + WRITE_PERCENT {
                ctx.ask(self.list, Contains { value }).await?;
                continue;
            }
            ctx.ask(self.list, Add { value }).await?;
            added += 1;
            if !ctx.ask(self.list, Contains { value }).await? {
                return Err(KernelError::rejected(LOST));
            }
        }
        ctx.tell(msg.finish, Finished { value: added }).await
    }
}

const WRITE_PERCENT: u32 = 10;
const SIZE_PERCENT: u32 = 1;

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// W: workers.
    pub workers: u32,
    /// N: requests of each worker.
    pub requests: u32,
    /// Numbers in the list at the end: a fact of these parameters and the suite's random numbers.
    pub size: u32,
}

impl Params {
    /// Fewer requests than the suite's own 8,000, for which it names no size.
    pub const SAVINA: Self = Self { workers: 20, requests: 2000, size: 3956 };
    /// For slow backends.
    pub const SMALL: Self = Self { workers: 10, requests: 20, size: 18 };

    /// How many numbers are in the list at the end.
    pub const fn answer(self) -> i64 {
        self.size as i64
    }
}

/// Runs it: the workers spread over all workers of the runtime, the list on the first.
///
/// # Errors
/// What failed, or that the list lacks numbers.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let finish = warpring::block_on(runtime.launch(Finish::new(), LaunchOptions::default()))?;
    let list = warpring::block_on(runtime.launch(List::new(), LaunchOptions::default().on_worker(0)))?;
    let address = list.address();
    // Each has a seed of its own: its number, from 1 on, and the other parameters.
    let seed = |i| Random::new(i + 1 + params.requests + WRITE_PERCENT + SIZE_PERCENT);
    let worker = |i| Worker { list: address, random: Resident::new(seed(i)) };
    let workers = warpring::block_on(runtime.launch_many(params.workers, LaunchOptions::default(), worker))?.address();
    let start = std::time::Instant::now();
    let mut port = runtime.port(1)?;
    for worker in (0..params.workers).filter_map(|i| workers.get(i)) {
        port.tell(worker, Begin { requests: params.requests, finish: finish.address() })?;
    }
    let added = super::finish::wait(&finish, params.workers)?.sum;
    let time = start.elapsed();
    let size = i64::from(list.ask(Size).wait()?);
    if size != added {
        return Err(format!("{added} numbers were added, and {size} are in the list").into());
    }
    // A request and its reply each, and another two to look for what was added.
    let messages = 2 * (u64::from(params.workers) * u64::from(params.requests) + added as u64);
    Ok(super::Outcome { answer: size, messages, time })
}
