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

/// Starts the program of an actor that holds the end of a tree.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Grow {
    /// How large the tree is.
    pub size: u32,
}

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

warpring::export! {
    skynet::Skynet { Grow => (), Look => Harvest, Sum => () }
    skynet::Node { Sum => () }
    fibonacci::Fibonacci { Grow => (), Look => Harvest, Sum => () }
    fibonacci::Number { Sum => () }
    creation::Creator { Grow => (), Look => Harvest, Sum => () }
    creation::Created { creation::Work => () }
}

/// A runtime for trees of up to 2,097,152 actors, spread over the workers.
#[cfg(not(target_arch = "nvptx64"))]
pub fn builder() -> warpring::RuntimeBuilder {
    Runtime::builder().module(&MODULE).max_actors(1 << 22).spawned_actors(1 << 21).waiting_messages(1 << 21)
}

/// Lets a tree grow and waits for its one result, which an actor cannot send to the host: so the host has to look.
///
/// # Errors
/// What failed, or that it took longer than two minutes.
#[cfg(not(target_arch = "nvptx64"))]
fn harvest<K>(runtime: &Runtime, root: K, size: u32, results: u32) -> Result<Harvest, Box<dyn std::error::Error + Send + Sync>>
where
    K: warpring::module::Handles<Grow, Reply = ()> + warpring::module::Handles<Look, Reply = Harvest>,
{
    let root = warpring::block_on(runtime.launch(root, LaunchOptions::default()))?;
    root.ask(Grow { size }).wait()?;
    let start = std::time::Instant::now();
    loop {
        let harvest = root.ask(Look).wait()?;
        if harvest.results >= results {
            warpring::block_on(root.stop())?;
            return Ok(harvest);
        }
        if start.elapsed() > std::time::Duration::from_secs(120) {
            return Err(format!("{} of {results} results after two minutes", harvest.results).into());
        }
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
}
