//! Steps that ask for a GPU, and what this machine has of one.

use super::step::{Answer, On, Outcome};
use warpring::Runtime;

/// The device that a runtime runs on, where that is not the processor of the host.
pub const fn device(runtime: &Runtime) -> Option<String> {
    // No backend of this build runs elsewhere.
    let _ = runtime;
    None
}

/// Step `hibernate`: the grid ends when there is nothing to do, and the next message starts it again with its state as it was.
///
/// # Errors
/// None yet: no backend of this build hibernates.
pub fn hibernate(on: &On) -> Answer {
    Outcome::not_run(if on.is("cpu") { "CPU workers sleep by the idle policy" } else { "this backend does not hibernate" })
}

/// Step `beside`: another thread loads a module, copies and frees while the grid runs, and neither waits for the other.
///
/// # Errors
/// None yet: this build has no CUDA backend.
pub fn beside(on: &On) -> Answer {
    Outcome::not_run(format!("it looks at other work on a GPU beside the grid, and backend {} has none", on.backend()))
}

/// Step `copies`: no byte of actors' state is copied between host and device while messages flow.
///
/// # Errors
/// None yet: this build has no CUDA backend.
pub fn copies(on: &On) -> Answer {
    Outcome::not_run(format!("it counts copies between host and GPU, and backend {} makes none", on.backend()))
}
