//! The steps, and what a step may find.

use super::{actors, conformance, figures, gpu, jobs};
use serde_json::Value;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;
use warpring::{Backend, Runtime, RuntimeBuilder};
use warpring_conformance::Setup;

/// One step of the run.
pub struct Step {
    /// Its name, as `--step` takes it.
    pub name: &'static str,
    /// When it is killed.
    pub limit: Duration,
    /// Does it, in a process of its own.
    pub run: fn(&On) -> Answer,
}

/// What a step found, or why it failed.
pub type Answer = Result<Outcome, String>;

/// What a step found that did not fail.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Everything that it looked at was as it must be.
    Passed {
        /// What it looked at, in a line.
        found: String,
        /// All figures, for the report.
        details: Value,
    },
    /// Something was not as it must be, and what was found is worth keeping all the same.
    Missed {
        /// What, in a line.
        found: String,
        /// All figures, for the report.
        details: Value,
    },
    /// It looked at nothing.
    NotRun {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// It looked and all was well.
    pub fn passed(found: impl Into<String>, details: Value) -> Answer {
        Ok(Self::Passed { found: found.into(), details })
    }

    /// It looked, and something was not as it must be.
    pub fn missed(found: impl Into<String>, details: Value) -> Answer {
        Ok(Self::Missed { found: found.into(), details })
    }

    /// It did not look.
    pub fn not_run(reason: impl Into<String>) -> Answer {
        Ok(Self::NotRun { reason: reason.into() })
    }
}

const fn step(name: &'static str, seconds: u64, run: fn(&On) -> Answer) -> Step {
    Step { name, limit: Duration::from_secs(seconds), run }
}

/// In the order in which they run.
pub const STEPS: &[Step] = &[
    step("conformance", 90, conformance::run),
    step("block-teams", 25, conformance::block_teams),
    step("fraud-features", 35, jobs::fraud_features),
    step("published-features", 25, jobs::published_features),
    step("market-book", 15, jobs::market_book),
    step("many-actors", 30, actors::many_actors),
    step("cycles", 10, actors::cycles),
    step("full-rings", 10, actors::full_rings),
    step("panic", 10, actors::panic),
    step("stop-under-load", 10, actors::stop_under_load),
    step("hibernate", 15, gpu::hibernate),
    step("beside", 10, gpu::beside),
    step("copies", 10, gpu::copies),
    step("figures", 60, figures::run),
];

/// What the steps run on.
pub struct On {
    backend: Backend,
    /// Where published data lies, if it was named.
    pub data: Option<PathBuf>,
}

impl On {
    /// This backend, with this data.
    pub const fn new(backend: Backend, data: Option<PathBuf>) -> Self {
        Self { backend, data }
    }

    /// The backend.
    pub const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// What the cases of the conformance suite run on.
    pub fn setup(&self) -> Setup {
        Setup::new(self.backend.clone())
    }

    /// Whether it is this backend.
    pub fn is(&self, name: &str) -> bool {
        self.backend.to_string() == name
    }

    /// `full`, or `simulated` in the simulator, where each message runs on 32 lanes one after the other.
    pub fn scale<T>(&self, full: T, simulated: T) -> T {
        if self.is("sim") { simulated } else { full }
    }

    /// Sets up a runtime of the suite's kernels, with the default limits.
    pub fn builder(&self) -> RuntimeBuilder {
        Runtime::builder().module(&warpring_conformance::MODULE).backend(self.backend.clone())
    }
}

/// Says to whoever watches, and to the report of a step that is killed, what the step is about to do.
pub fn about_to(what: impl Display) {
    eprintln!("{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_limits_together_are_within_the_budget() {
        let longest: Duration = STEPS.iter().map(|step| step.limit).sum();
        assert!(longest <= super::super::BUDGET, "{longest:?}");
    }

    #[test]
    fn every_step_has_its_own_name() {
        let names: std::collections::HashSet<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
    }
}
