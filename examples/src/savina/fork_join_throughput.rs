//! Fork Join (throughput): the host sends N messages to each of A actors, through one port.
//!
//! Bound: every 256th message to an actor is an ask, so at most 256 are under way to it. The suite's actors compute a sine for each
//! message; these count, which leaves the message path to be measured.

use warpring::prelude::*;

/// Something to do.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Work {
    /// How many were sent to this actor before.
    pub number: u32,
}

/// What an actor has done.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Done {
    /// Messages handled, this one included.
    pub messages: u32,
}

/// The code of the refusal of a message out of order.
pub const OUT_OF_ORDER: u32 = 1;

/// Counts what it is sent.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/fork-join-worker")]
pub struct Worker {
    messages: Resident<u32>,
}

impl Worker {
    /// Has done nothing yet.
    pub fn new() -> Self {
        Self { messages: Resident::new(0) }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Work, Done> for Worker {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Work) -> Result<Done> {
        ctx.update(&self.messages, |messages| {
            if msg.number != *messages {
                return Err(KernelError::rejected(OUT_OF_ORDER));
            }
            *messages += 1;
            Ok(Done { messages: *messages })
        })
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: messages to each actor.
    pub messages: u32,
    /// A: actors.
    pub actors: u32,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { messages: 10_000, actors: 60 };
    /// For slow backends.
    pub const SMALL: Self = Self { messages: 300, actors: 6 };

    /// Messages that all actors together have processed: N each.
    pub const fn answer(self) -> i64 {
        self.messages as i64 * self.actors as i64
    }
}

/// Runs it: the actors spread over all workers.
///
/// # Errors
/// What failed, or which actor did not process N messages.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    /// Messages under way to one actor at most.
    const WINDOW: u32 = 256;
    let group = warpring::block_on(runtime.launch_many(params.actors, LaunchOptions::default(), |_| Worker::new()))?;
    let workers: Vec<_> = (0..params.actors).filter_map(|i| group.address().get(i)).collect();
    let mut port = runtime.port(params.actors)?;
    let mut asked = Vec::with_capacity(workers.len());
    let start = std::time::Instant::now();
    for number in 0..params.messages {
        let last = number + 1 == params.messages;
        if !last && !(number + 1).is_multiple_of(WINDOW) {
            for worker in &workers {
                port.tell(*worker, Work { number })?;
            }
            continue;
        }
        for worker in &workers {
            asked.push(port.send(*worker, Work { number })?);
        }
        for (actor, ticket) in asked.drain(..).enumerate() {
            let done = port.wait(ticket)?;
            if done.messages != number + 1 {
                return Err(format!("actor {actor} processed {} of {} messages", done.messages, number + 1).into());
            }
        }
    }
    let answer = i64::from(params.messages) * workers.len() as i64;
    Ok(super::Outcome { answer, messages: answer as u64, time: start.elapsed() })
}
