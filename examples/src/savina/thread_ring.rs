//! Thread Ring: actors named 1 to A stand in a ring and pass a token N times. Who has it then?
//!
//! Bound: there is one token.

use warpring::prelude::*;

use super::finish::{Finish, Finished};

/// Whom to pass the token to, and whom to tell who has it in the end.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Join {
    /// The neighbour.
    pub next: Address<Node>,
    /// Who wants to know.
    pub finish: Address<Finish>,
}

/// The token.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Token {
    /// How often it is still to be passed on.
    pub hops: u32,
}

#[derive(Clone, Copy, Debug, Default, State)]
struct Links {
    next: Address<Node>,
    finish: Address<Finish>,
}

/// One of the ring.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/thread-ring-node")]
pub struct Node {
    name: u32,
    links: Resident<Links>,
}

impl Node {
    /// Not in a ring yet.
    pub fn new(name: u32) -> Self {
        Self { name, links: Resident::new(Links::default()) }
    }
}

impl RingKernelHandler<Join, ()> for Node {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Join) -> Result<()> {
        ctx.update(&self.links, |links| *links = Links { next: msg.next, finish: msg.finish });
        Ok(())
    }
}

impl RingKernelHandler<Token, ()> for Node {
    async fn handle(&self, ctx: &mut RingContext<'_>, token: Token) -> Result<()> {
        let Links { next, finish } = *ctx.read(&self.links);
        match token.hops.checked_sub(1) {
            Some(hops) => ctx.tell(next, Token { hops }).await,
            None => ctx.tell(finish, Finished { value: self.name.into() }).await,
        }
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// How many stand in the ring.
    pub actors: u32,
    /// N: how often the token is passed on.
    pub hops: u32,
}

impl Params {
    /// The suite's hops, around the ring of 503 that the older Computer Language Benchmarks Game has.
    pub const SAVINA: Self = Self { actors: 503, hops: 100_000 };
    /// The suite's own ring.
    pub const RING_OF_100: Self = Self { actors: 100, hops: 100_000 };
    /// For slow backends.
    pub const SMALL: Self = Self { actors: 503, hops: 1_000 };

    /// The name of the actor that the token ends at: (N mod A) + 1.
    pub const fn answer(self) -> i64 {
        (self.hops % self.actors) as i64 + 1
    }
}

/// Runs it: neighbours on different workers, where there are several.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let finish = warpring::block_on(runtime.launch(super::finish::Finish::new(), LaunchOptions::default()))?;
    let ring = warpring::block_on(runtime.launch_many(params.actors, LaunchOptions::default(), |i| Node::new(i + 1)))?;
    let node = |i: u32| ring.get(i % params.actors);
    let links = (0..params.actors).filter_map(|i| Some((node(i)?.address(), node(i + 1)?.address())));
    super::suite::ask_each(runtime, links.map(|(node, next)| (node, Join { next, finish: finish.address() })))?;
    let start = std::time::Instant::now();
    node(0).ok_or("a ring without actors")?.tell(Token { hops: params.hops }).wait()?;
    let reports = super::finish::wait(&finish, 1)?;
    Ok(super::Outcome { answer: reports.sum, messages: u64::from(params.hops) + 1, time: start.elapsed() })
}
