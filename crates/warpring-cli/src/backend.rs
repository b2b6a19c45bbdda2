//! `--backend` and `--workers`: what the kernels run on.

use std::fmt;
use warpring::{Backend, BuildError, Runtime};

/// What the kernels run on.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BackendArgs {
    /// What runs the actors
    #[arg(long, value_enum, default_value_t)]
    backend: Choice,
    /// How many workers; one per core, and one core left for reading and writing, unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: Option<u32>,
}

/// The backends by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// The best that this build and this machine have
    #[default]
    Auto,
    /// CPU threads
    Cpu,
    /// The warp simulator: every lane runs and is checked; slow, one thread, repeatable
    #[cfg(feature = "sim")]
    Sim,
    /// An NVIDIA GPU
    Cuda,
}

/// Why the kernels cannot run there: the runtime could not be started.
#[derive(Debug)]
pub struct BackendError(BuildError);

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for BackendError {}

impl From<BuildError> for BackendError {
    fn from(error: BuildError) -> Self {
        Self(error)
    }
}

impl BackendError {
    /// What to do about it, where something can be done.
    pub const fn hint(&self) -> Option<&'static str> {
        match self.0 {
            BuildError::Cuda(_) => Some("use `--backend auto` or `--backend cpu`; the answers are the same"),
            _ => None,
        }
    }
}

impl Choice {
    /// The backend, with its default options.
    pub fn backend(self) -> Backend {
        match self {
            Self::Auto => Backend::Auto,
            Self::Cpu => Backend::Cpu,
            #[cfg(feature = "sim")]
            Self::Sim => Backend::Sim(Default::default()),
            Self::Cuda => Backend::Cuda(Default::default()),
        }
    }
}

impl BackendArgs {
    /// Starts a runtime of the ready-made kernels.
    ///
    /// # Errors
    /// [`BackendError`].
    pub fn start(&self) -> Result<Runtime, BackendError> {
        start(self.backend.backend(), self.workers)
    }
}

/// Starts a runtime of the ready-made kernels, with so many workers or as many as are good.
///
/// # Errors
/// [`BackendError`].
pub fn start(backend: Backend, workers: Option<u32>) -> Result<Runtime, BackendError> {
    let builder = Runtime::builder().module(&warpring_kernels::MODULE).backend(backend);
    let builder = match workers {
        Some(workers) => builder.workers(workers),
        None => builder,
    };
    builder.build().map_err(BackendError)
}
