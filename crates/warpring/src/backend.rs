//! Backends: what runs the workers. Each supplies threads (or coroutines), a clock and a way to sleep; the loop, the rings and the
//! scheduler are core's.

pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(any(feature = "sim", feature = "cuda"))]
pub(crate) mod grid;
#[cfg(feature = "sim")]
pub(crate) mod sim;
#[cfg(feature = "cuda")]
pub use cuda::{CudaError, CudaOptions, DeviceInfo, devices};
#[cfg(feature = "sim")]
pub use sim::SimOptions;

use std::fmt;
use std::time::Duration;

use crate::runtime::Launches;
use crate::shared::Shared;

/// What runs the workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// A GPU where there is one and the module was compiled for it, else CPU threads; [`Runtime::why_not_gpu`](crate::Runtime::why_not_gpu)
    /// says why it is not a GPU.
    #[default]
    Auto,
    /// CPU threads.
    Cpu,
    /// One persistent kernel on an NVIDIA GPU. Needs feature `cuda`, which is on by default, and the driver.
    #[cfg(feature = "cuda")]
    Cuda(cuda::CudaOptions),
    /// The warp simulator: every lane runs and is checked; one thread, repeatable. Needs feature `sim`.
    #[cfg(feature = "sim")]
    Sim(sim::SimOptions),
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => "cuda",
            #[cfg(feature = "sim")]
            Self::Sim(_) => "sim",
        })
    }
}

/// What a CPU worker does when it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdlePolicy {
    /// Looks for messages without end: the lowest latency, a whole core.
    Spin,
    /// Looks for messages for this long, then sleeps until one comes. The default, with 200 microseconds.
    Adaptive {
        /// How long it looks.
        spin: Duration,
    },
    /// Sleeps at once.
    Park,
}

impl Default for IdlePolicy {
    fn default() -> Self {
        Self::Adaptive { spin: Duration::from_micros(200) }
    }
}

/// The running side of a backend.
pub(crate) enum Engine {
    Cpu,
    #[cfg(feature = "cuda")]
    Cuda(Box<cuda::CudaEngine>),
    #[cfg(feature = "sim")]
    Sim(Box<sim::SimEngine>),
}

impl Engine {
    /// The host waits for something, until `done`, or at most until `until` on the workers' clock: let a backend without threads work.
    #[inline]
    pub(crate) fn pump(&self, shared: &Shared, until: u64, done: &dyn Fn() -> bool) {
        let _ = (shared, until, done);
        match self {
            Self::Cpu => {}
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => {}
            #[cfg(feature = "sim")]
            Self::Sim(sim) => sim.pump(shared, until, done),
        }
    }

    pub(crate) fn now(&self, shared: &Shared) -> u64 {
        match self {
            Self::Cpu => shared.epoch.elapsed().as_nanos() as u64,
            #[cfg(feature = "cuda")]
            Self::Cuda(cuda) => cuda.now(shared),
            #[cfg(feature = "sim")]
            Self::Sim(sim) => sim.now(),
        }
    }

    /// A message has come for workers that do not run now.
    pub(crate) fn rouse(&self) {
        match self {
            Self::Cpu => {}
            #[cfg(feature = "cuda")]
            Self::Cuda(cuda) => cuda.rouse(),
            #[cfg(feature = "sim")]
            Self::Sim(sim) => sim.watch().rouse(),
        }
    }

    pub(crate) fn launches(&self) -> Launches {
        match self {
            Self::Cpu => Launches { count: 1, ..Launches::default() },
            #[cfg(feature = "cuda")]
            Self::Cuda(cuda) => cuda.watch().launches(),
            #[cfg(feature = "sim")]
            Self::Sim(sim) => sim.watch().launches(),
        }
    }

    /// Whether a waiting host thread can sleep until it is woken; else it has to run the workers itself.
    pub(crate) fn wakes(&self) -> bool {
        match self {
            Self::Cpu => true,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => true,
            #[cfg(feature = "sim")]
            Self::Sim(_) => false,
        }
    }

    /// Somebody is about to sleep until the reply in this cell is there. A CPU worker sees that by itself.
    #[inline]
    pub(crate) fn await_cell(&self, cell: u32) {
        let _ = cell;
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(cuda) => cuda.await_cell(cell),
            _ => {}
        }
    }

    /// Nobody waits for it any more.
    #[inline]
    pub(crate) fn forget_cell(&self, cell: u32) {
        let _ = cell;
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(cuda) => cuda.forget_cell(cell),
            _ => {}
        }
    }

    /// Why the device was lost, if it was.
    pub(crate) fn fault(&self) -> Option<&str> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(cuda) => cuda.fault(),
            _ => None,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => "cuda",
            #[cfg(feature = "sim")]
            Self::Sim(_) => "sim",
        }
    }
}
