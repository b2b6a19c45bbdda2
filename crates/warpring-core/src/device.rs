//! The kernel ABI: what the host writes before a launch, what the blocks of the grid read, and the functions behind the entries of
//! the generated kernel crate. Everything that host and device both see by address is declared here, in `plan.rs` and in `post.rs`.
//!
//! The PTX module exports three kernels, each with one parameter, the address of a [`Grid`], and one variable, `WARPRING_LAYOUT`,
//! which holds a [`Layout`]:
//!
//! | kernel | blocks | what it does |
//! |---|---|---|
//! | `warpring_build` | one, of a warp | builds all workers in zeroed memory |
//! | `warpring_run` | one per worker | runs the workers, or the one that [`Grid::only`] names |
//! | `warpring_finish` | one, of a warp | answers what the workers have left, after all have ended |

#[cfg(any(test, target_arch = "nvptx64"))]
mod memcmp;

use crate::module::Module;
use crate::plan::Plan;
use crate::post::FALLEN_LANES;
use crate::scoped::System;
use crate::worker::{Launch, lane_bytes};

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
    /// 0: a worker's team is a warp; 1: it is a whole block.
    pub team: u64,
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
            team: cfg!(warpring_team = "block") as u64,
        }
    }
}

/// A launch, as its blocks see it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Grid {
    /// Where everything lies.
    pub plan: Plan,
    /// How long it may last.
    pub launch: Launch,
    /// The one worker that runs, in place of one whose lanes fell; or [`ALL`].
    pub only: u32,
}

/// All workers run.
pub const ALL: u32 = u32::MAX;

/// Records that a lane of a worker's team fell.
///
/// # Safety
/// The plan's areas live; the lane's record is the caller's alone, and so is, as far as it matters, the worker's last line.
pub unsafe fn record_fall(plan: &Plan, worker: u32, lane: u32, file: &str, line: u32, text: &str) {
    // SAFETY: contract.
    unsafe {
        let at = plan.worker(worker);
        let actor = (*at).running().map(|actor| (actor.slot, actor.generation));
        let record = &(*plan.post(worker)).lanes[lane as usize % FALLEN_LANES];
        record.write::<System>(actor, file, line, text);
        (*at).link.fallen_line = line;
    }
}

/// Tells the host that a worker's team has fallen and runs nothing any more.
///
/// # Safety
/// The plan's areas live, and only the worker's leader calls this.
pub unsafe fn announce_fall(plan: &Plan, worker: u32) {
    // SAFETY: contract.
    unsafe {
        let fallen = &(*plan.post(worker)).fallen;
        // SYNC: fallen (release): the records of all lanes, which met before, and all that the worker did.
        fallen.release::<System>(fallen.relaxed::<System>().wrapping_add(1));
    }
}

#[cfg(target_arch = "nvptx64")]
pub(crate) use entry::fell;
#[cfg(target_arch = "nvptx64")]
pub use entry::{build, finish, panicked, run};

#[cfg(target_arch = "nvptx64")]
mod entry {
    use core::arch::nvptx::{_block_idx_x, _thread_idx_x};
    use core::cell::UnsafeCell;
    use core::panic::PanicInfo;

    use super::{ALL, Grid};
    use crate::module::Module;
    use crate::team::Team;
    use crate::team::nv::{Cuda, NvTeam, NvWarp, clock_ns};

    /// The launch that runs, for the panic handler, which is given nothing.
    struct Running(UnsafeCell<*const Grid>);
    // SAFETY: the leaders of all blocks write the same value, before anything can panic.
    unsafe impl Sync for Running {}
    static RUNNING: Running = Running(UnsafeCell::new(core::ptr::null()));

    /// The kernel `warpring_build`.
    ///
    /// # Safety
    /// `grid` is what the host has written for this launch; the areas of its plan are zeroed, and nobody else runs.
    #[inline(always)]
    pub unsafe fn build<M: Module>(grid: *const Grid) {
        let warp = NvWarp::current();
        let epoch = warp.broadcast(clock_ns(), 0);
        // SAFETY: contract; each lane builds workers of its own.
        unsafe {
            let plan = &(*grid).plan;
            let mut worker = warp.rank();
            while worker < plan.limits.workers {
                plan.build(worker, M::table(), crate::worker::Hooks::default());
                (*plan.worker(worker)).link.epoch = epoch;
                worker += warp.size();
            }
        }
    }

    /// The kernel `warpring_run`: each block runs its worker until it leaves.
    ///
    /// # Safety
    /// `grid` is what the host has written for this launch, and lives until the last launch is over; the workers are built.
    #[inline(always)]
    pub unsafe fn run<M: Module>(grid: *const Grid) {
        // SAFETY: contract: as many workers as blocks, each run by its block alone.
        unsafe {
            let index = _block_idx_x() as u32;
            let Grid { plan, launch, only } = &*grid;
            if *only != ALL && *only != index {
                return;
            }
            let (worker, team) = (plan.worker(index), NvTeam::current());
            team.lead(|| RUNNING.0.get().write_volatile(grid));
            team.lead(|| (*worker).enter::<Cuda>(launch));
            crate::run::run::<M, Cuda>(worker, team);
        }
    }

    /// The kernel `warpring_finish`.
    ///
    /// # Safety
    /// As for `run`, and no worker runs any more; the host has closed the shared rings and written where.
    #[inline(always)]
    pub unsafe fn finish(grid: *const Grid) {
        // SAFETY: contract; one lane does it all.
        unsafe {
            if _thread_idx_x() != 0 {
                return;
            }
            let plan = &(*grid).plan;
            for worker in 0..plan.limits.workers {
                (*plan.worker(worker)).finish::<Cuda>();
                (*plan.worker(worker)).refuse_inlets::<Cuda>(plan.closed(worker).read_volatile());
            }
        }
    }

    /// What the panic handler of the kernel crate does: the lane records where it fell, meets the other lanes, and all of them end.
    pub fn panicked(info: &PanicInfo<'_>) -> ! {
        let team = NvTeam::current();
        // SAFETY: `run` wrote it before anything could panic. The launch lives while its blocks run. The record is this lane's (in a
        // block of many warps, that of the lanes of one number, of which one is as good as another).
        unsafe {
            let grid = RUNNING.0.get().read_volatile();
            if !grid.is_null() {
                let (file, line) = info.location().map_or(("", 0), |at| (at.file(), at.line()));
                let text = info.message().as_str().unwrap_or("");
                super::record_fall(&(*grid).plan, _block_idx_x() as u32, team.rank(), file, line, text);
            }
        }
        team.fall()
    }

    /// All lanes of this block's team are here because one of them fell; the leader tells the host, and they end.
    pub(crate) fn fell(team: NvTeam) -> ! {
        // SAFETY: as in `panicked`.
        unsafe {
            let grid = RUNNING.0.get().read_volatile();
            if team.rank() == 0 && !grid.is_null() {
                super::announce_fall(&(*grid).plan, _block_idx_x() as u32);
            }
        }
        crate::scoped::exit()
    }
}
