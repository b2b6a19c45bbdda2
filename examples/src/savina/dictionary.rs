//! Concurrent Dictionary: W workers read and write the entries of one dictionary.
//!
//! Bound: each worker has one ask under way. The dictionary is full from the start, as the suite's is, so a write changes an entry; it
//! has fewer entries than the suite's half million, which is a parameter of its.

use warpring::prelude::*;

use super::finish::{Finish, Finished};
use super::random::Random;

/// Entries: keys are the numbers below.
pub const ENTRIES: usize = 4096;

/// Send so many requests.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// How many.
    pub requests: u32,
    /// Who wants to know when it is done.
    pub finish: Address<Finish>,
}

/// Sets an entry; the reply is what it was.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Write {
    /// Which.
    pub key: u32,
    /// To what.
    pub value: u32,
}

/// What does this entry say?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Read {
    /// Which.
    pub key: u32,
}

/// How is the dictionary?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct GetState;

/// How the dictionary is.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Summary {
    /// Entries.
    pub size: u32,
    /// Writes so far.
    pub writes: u32,
    /// Reads so far.
    pub reads: u32,
}

/// The code of the refusal of a key that is none.
pub const NO_SUCH_KEY: u32 = 1;

#[derive(Clone, Copy, Debug, State)]
struct Entries {
    values: [u32; ENTRIES],
    writes: u32,
    reads: u32,
}

/// The dictionary.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/dictionary")]
pub struct Dictionary {
    entries: Resident<Entries>,
}

impl Dictionary {
    /// Each key's value is the key.
    pub fn new() -> Self {
        Self { entries: Resident::new(Entries { values: core::array::from_fn(|key| key as u32), writes: 0, reads: 0 }) }
    }
}

impl Default for Dictionary {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Write, u32> for Dictionary {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Write) -> Result<u32> {
        ctx.update(&self.entries, |entries| {
            let value = entries.values.get_mut(msg.key as usize).ok_or(KernelError::rejected(NO_SUCH_KEY))?;
            entries.writes += 1;
            Ok(core::mem::replace(value, msg.value))
        })
    }
}

impl RingKernelHandler<Read, u32> for Dictionary {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Read) -> Result<u32> {
        ctx.update(&self.entries, |entries| {
            entries.reads += 1;
            entries.values.get(msg.key as usize).copied().ok_or(KernelError::rejected(NO_SUCH_KEY))
        })
    }
}

impl RingKernelHandler<GetState, Summary> for Dictionary {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: GetState) -> Result<Summary> {
        let Entries { values, writes, reads } = ctx.read(&self.entries);
        Ok(Summary { size: values.len() as u32, writes: *writes, reads: *reads })
    }
}

const WRITE_PERCENT: u32 = 10;

/// Sends requests: in percent, 10 writes, and otherwise reads.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/dictionary-worker")]
pub struct Worker {
    dictionary: Address<Dictionary>,
    random: Resident<Random>,
}

impl RingKernelHandler<Begin, ()> for Worker {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        let mut writes = 0;
        for _ in 0..msg.requests {
            let kind = ctx.update(&self.random, Random::draw) % 100;
            let value = ctx.update(&self.random, Random::draw);
            let key = value % ENTRIES as u32;
            if kind < WRITE_PERCENT {
                ctx.ask(self.dictionary, Write { key, value }).await?;
                writes += 1;
            } else {
                ctx.ask(self.dictionary, Read { key }).await?;
            }
        }
        ctx.tell(msg.finish, Finished { value: writes }).await
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// W: workers.
    pub workers: u32,
    /// N: requests of each worker.
    pub requests: u32,
}

impl Params {
    /// The suite's, but for the entries.
    pub const SAVINA: Self = Self { workers: 20, requests: 10_000 };
    /// For slow backends.
    pub const SMALL: Self = Self { workers: 10, requests: 40 };

    /// The size of the dictionary, which does not change.
    pub const fn answer(self) -> i64 {
        ENTRIES as i64
    }
}

/// Runs it: the workers spread over all workers of the runtime, the dictionary on the first.
///
/// # Errors
/// What failed, or that the dictionary has seen other requests than were sent.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let finish = warpring::block_on(runtime.launch(Finish::new(), LaunchOptions::default()))?;
    let dictionary = warpring::block_on(runtime.launch(Dictionary::new(), LaunchOptions::default().on_worker(0)))?;
    let address = dictionary.address();
    let worker = |i| Worker { dictionary: address, random: Resident::new(Random::new(i + 1 + params.requests + WRITE_PERCENT)) };
    let workers = warpring::block_on(runtime.launch_many(params.workers, LaunchOptions::default(), worker))?.address();
    let start = std::time::Instant::now();
    let mut port = runtime.port(1)?;
    for worker in (0..params.workers).filter_map(|i| workers.get(i)) {
        port.tell(worker, Begin { requests: params.requests, finish: finish.address() })?;
    }
    let writes = super::finish::wait(&finish, params.workers)?.sum;
    let time = start.elapsed();
    let all = u64::from(params.workers) * u64::from(params.requests);
    let found = dictionary.ask(GetState).wait()?;
    if i64::from(found.writes) != writes || u64::from(found.writes) + u64::from(found.reads) != all {
        return Err(format!("{writes} writes of {all} requests were sent, and the dictionary saw {found:?}").into());
    }
    Ok(super::Outcome { answer: found.size.into(), messages: 2 * all, time })
}
