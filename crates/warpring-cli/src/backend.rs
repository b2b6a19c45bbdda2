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

/// Why the kernels cannot run there.
#[derive(Debug)]
pub enum BackendError {
    /// This build has no CUDA backend.
    NoCuda,
    /// The runtime could not be started.
    Build(BuildError),
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCuda => f.write_str("this build has no CUDA backend"),
            Self::Build(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BackendError {}

impl BackendError {
    /// What to do about it, where something can be done.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoCuda => Some("use `--backend auto` or `--backend cpu`; the answers are the same"),
            Self::Build(_) => None,
        }
    }
}

impl Choice {
    /// The backend, with its default options.
    ///
    /// # Errors
    /// [`BackendError::NoCuda`].
    pub fn backend(self) -> Result<Backend, BackendError> {
        match self {
            Self::Auto => Ok(Backend::Auto),
            Self::Cpu => Ok(Backend::Cpu),
            #[cfg(feature = "sim")]
            Self::Sim => Ok(Backend::Sim(Default::default())),
            Self::Cuda => Err(BackendError::NoCuda),
        }
    }
}

impl BackendArgs {
    /// Starts a runtime of the ready-made kernels.
    ///
    /// # Errors
    /// [`BackendError`].
    pub fn start(&self) -> Result<Runtime, BackendError> {
        start(self.backend.backend()?, self.workers)
    }
}

/// Starts a runtime of the ready-made kernels, with so many workers or as many as are good.
///
/// # Errors
/// [`BackendError::Build`].
pub fn start(backend: Backend, workers: Option<u32>) -> Result<Runtime, BackendError> {
    let builder = Runtime::builder().module(&warpring_kernels::MODULE).backend(backend);
    let builder = match workers {
        Some(workers) => builder.workers(workers),
        None => builder,
    };
    builder.build().map_err(BackendError::Build)
}
