//! Programs that grow trees of actors: Skynet (A. Temerev), and two of the Savina suite (S. Imam and V. Sarkar, "Savina: an actor
//! benchmark suite", AGERE! 2014).
//!
//! They have a module of their own, because all spawned actors have places of one size, that of the largest kernel of their module. A
//! tree grows in breadth, since actors begin in the order in which they were spawned: so up to all of its leaves live at a time, and
//! as many results are under way. [`builder`] states the limits.

pub mod creation;
pub mod fibonacci;
pub mod skynet;

use warpring::prelude::*;

/// The result of a subtree, for whoever spawned its root.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Sum {
    /// Its value.
    pub value: i64,
    /// Actors of the subtree.
    pub actors: u32,
}

/// The result, if it is there.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Look;

/// What has come so far.
#[derive(Clone, Copy, Debug, Default, RingMessage, State)]
pub struct Harvest {
    /// Results that have come.
    pub results: u32,
    /// Actors that have lived.
    pub actors: u32,
    /// The sum of the results.
    pub value: i64,
}

impl Harvest {
    fn add(&mut self, sum: Sum) {
        self.results += 1;
        self.actors += sum.actors;
        self.value += sum.value;
    }
}

/// Takes what the root of a tree has to say.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "growth/harvester")]
pub struct Harvester {
    harvest: Resident<Harvest>,
}

impl Harvester {
    /// Nothing has come.
    pub fn new() -> Self {
        Self { harvest: Resident::new(Harvest::default()) }
    }
}

impl Default for Harvester {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Sum, ()> for Harvester {
    async fn handle(&self, ctx: &mut RingContext<'_>, sum: Sum) -> Result<()> {
        ctx.update(&self.harvest, |harvest| harvest.add(sum));
        Ok(())
    }
}
impl RingKernelHandler<Look, Harvest> for Harvester {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Look) -> Result<Harvest> {
        Ok(*ctx.read(&self.harvest))
    }
}

warpring::export! {
    Harvester { Sum => (), Look => Harvest }
    skynet::Node { Sum => () }
    fibonacci::Number { Sum => () }
    creation::Creator { creation::Create => (), Sum => (), Look => Harvest }
    creation::Created { creation::Work => () }
}

/// A runtime for trees of up to 2,097,152 actors, spread over the workers.
#[cfg(not(target_arch = "nvptx64"))]
pub fn builder() -> warpring::RuntimeBuilder {
    Runtime::builder().module(&MODULE).max_actors(1 << 22).spawned_actors(1 << 21).waiting_messages(1 << 21)
}

/// What running a program gives, unless something fails.
#[cfg(not(target_arch = "nvptx64"))]
type Outcome<T> = core::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Launches the root of a tree, which gets the address that its sum goes to, and waits for that.
#[cfg(not(target_arch = "nvptx64"))]
fn grow<K: warpring::module::Exported>(runtime: &Runtime, root: impl FnOnce(Address<Harvester>) -> K) -> Outcome<Harvest> {
    let harvester = warpring::block_on(runtime.launch(Harvester::new(), LaunchOptions::default()))?;
    warpring::block_on(runtime.launch(root(harvester.address()), LaunchOptions::default()))?;
    results(&harvester, 1)
}

/// Waits for so many results and ends whoever has them. An actor cannot tell the host something, so the host has to look; for two
/// minutes at most.
#[cfg(not(target_arch = "nvptx64"))]
fn results<K: warpring::module::Handles<Look, Reply = Harvest>>(end: &ActorRef<K>, results: u32) -> Outcome<Harvest> {
    let start = std::time::Instant::now();
    loop {
        let harvest = end.ask(Look).wait()?;
        if harvest.results >= results {
            warpring::block_on(end.stop())?;
            return Ok(harvest);
        }
        if start.elapsed() > std::time::Duration::from_secs(120) {
            return Err(format!("{} of {results} results after two minutes", harvest.results).into());
        }
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
}
