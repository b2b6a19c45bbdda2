//! The kernel ABI: what the host writes before a launch, what the blocks of the grid read, and the functions behind the entries of
//! the generated kernel crate. Everything that host and device both see by address is declared here.
//!
//! The PTX module exports two kernels, `warpring_build` and `warpring_run`, each with one parameter, the address of a [`Grid`],
//! and one variable, `WARPRING_LAYOUT`, which holds a [`Layout`].

use crate::module::Module;
use crate::worker::{Worker, lane_bytes};

/// What a PTX module says about itself. The host reads it before anything is launched, and refuses what does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Layout {
    /// [`ABI`].
    pub abi: u64,
    /// The module's fingerprint: kinds, messages, and the framework's own layouts.
    pub fingerprint: u64,
    /// Bytes of one lane of a frame, as the device's compiler lays futures out.
    pub lane_bytes: u64,
    /// Most lines of a message.
    pub max_lines: u64,
}

/// Number of this ABI: changes with the meaning of anything in this file.
pub const ABI: u64 = 1;

impl Layout {
    /// What module `M`, compiled for this target, says about itself.
    pub const fn of<M: Module>() -> Self {
        Self {
            abi: ABI,
            fingerprint: M::FINGERPRINT,
            lane_bytes: lane_bytes(M::FUTURE_BYTES) as u64,
            max_lines: M::MAX_LINES as u64,
        }
    }
}

/// A launch, as its blocks see it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Grid {
    /// The workers, one per block, side by side.
    pub workers: *mut Worker,
    /// How many there are.
    pub count: u32,
}

#[cfg(target_arch = "nvptx64")]
pub use entry::{build, panicked, run};

#[cfg(target_arch = "nvptx64")]
mod entry {
    use core::arch::nvptx::_block_idx_x;
    use core::panic::PanicInfo;

    use super::Grid;
    use crate::module::Module;
    use crate::team::nv::{Cuda, NvWarp};

    /// The kernel `warpring_build`: each block builds its worker.
    ///
    /// # Safety
    /// `grid` is what the host has written for this launch.
    #[inline(always)]
    pub unsafe fn build<M: Module>(grid: *const Grid) {
        let _ = grid;
    }

    /// The kernel `warpring_run`: each block runs its worker until it is told to leave.
    ///
    /// # Safety
    /// `grid` is what the host has written for this launch, and the workers are built.
    #[inline(always)]
    pub unsafe fn run<M: Module>(grid: *const Grid) {
        // SAFETY: contract: as many workers as blocks, each run by its block alone.
        unsafe { crate::run::run::<M, Cuda>((*grid).workers.add(_block_idx_x() as usize), NvWarp::current()) }
    }

    /// What the panic handler of the kernel crate does.
    pub fn panicked(_: &PanicInfo<'_>) -> ! {
        crate::scoped::exit()
    }
}
