//! Threads that stand for the blocks of a grid, in tests of the host's side: they run the worker loop that the device runs, with
//! real concurrency, over the heap. A panic ends a thread as it ends a block's lanes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warpring_core::KernelError;
use warpring_core::device::{ALL, Grid, Layout, announce_fall, record_fall};
use warpring_core::message::Header;
use warpring_core::module::ModuleTable;
use warpring_core::ring::Lines;
use warpring_core::team::ThreadGrid;
use warpring_core::worker::{Hooks, Notice, Worker, lane_bytes};

use super::gpu::{Entry, Gpu};
use super::{ABI, CudaError};
use crate::backend::cpu;
use crate::backend::grid::Fault;
use crate::lock::lock;
use crate::memory::Block;

pub(super) struct Threads {
    module: &'static ModuleTable,
    /// Before the blocks: the hooks of all workers point to it.
    epoch: Box<Instant>,
    blocks: Mutex<Vec<Block>>,
    running: Mutex<Vec<JoinHandle<()>>>,
    fails_after: Option<Duration>,
}

impl Threads {
    pub(super) fn new(module: &'static ModuleTable, fails_after: Option<Duration>) -> Self {
        Self { module, epoch: Box::new(Instant::now()), blocks: Mutex::default(), running: Mutex::default(), fails_after }
    }

    fn area(&self, bytes: u64) -> Result<u64, CudaError> {
        let block = Block::try_new(bytes as usize, 1).ok_or(CudaError::Memory { bytes, free: 0 })?;
        let at = block.address();
        lock(&self.blocks).push(block);
        Ok(at)
    }

    fn hooks(&self) -> Hooks {
        let data = (&raw const *self.epoch).cast();
        Hooks { data, now, idle, wake_worker, wake_cell, dead_letter, notice }
    }

    fn spawn(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
        let spawned = std::thread::Builder::new().name("warpring-block".into()).spawn(work);
        let thread = spawned.map_err(|error| Fault(error.to_string()))?;
        lock(&self.running).push(thread);
        Ok(())
    }
}

/// # Safety
/// `data` is the epoch.
unsafe fn now(data: *const ()) -> u64 {
    // SAFETY: contract. Never 0, as on a device.
    unsafe { &*data.cast::<Instant>() }.elapsed().as_nanos() as u64 + 1
}
/// Blocks have a device for themselves; threads share cores with the rest of the tests.
///
/// # Safety
/// None.
unsafe fn idle(_: *const (), _: u32, rounds: u32, _: u64) {
    if rounds < 64 { std::thread::yield_now() } else { std::thread::park_timeout(std::time::Duration::from_micros(100)) }
}
/// # Safety
/// None.
unsafe fn wake_worker(_: *const (), _: u32) {}
/// # Safety
/// None. The engine's thread wakes who waits.
unsafe fn wake_cell(_: *const (), _: u32) {}
/// # Safety
/// None. Workers of a grid post dead letters.
unsafe fn dead_letter(_: *const (), _: u32, _: &Header, _: Lines, _: KernelError) {}
/// # Safety
/// None. Workers of a grid post notices.
unsafe fn notice(_: *const (), _: &Notice) {}

/// One block: the worker's loop, and what a block does when a lane panics.
fn block(module: &'static ModuleTable, grid: Grid, worker: u32) {
    let Grid { plan, launch, .. } = grid;
    cpu::as_worker(|site| {
        // SAFETY: the worker is built, and this thread alone runs it.
        let end = catch_unwind(AssertUnwindSafe(|| unsafe { (module.run_thread_grid)(plan.worker(worker), &launch) }));
        if let Err(payload) = end {
            let (file, line) = site.take();
            // SAFETY: the loop has unwound, so nobody runs the worker.
            unsafe {
                record_fall(&plan, worker, 0, &file, line, &cpu::text(payload.as_ref()));
                announce_fall(&plan, worker);
            }
        }
    });
}

impl Gpu for Threads {
    fn name(&self) -> String {
        "threads in place of a GPU".into()
    }
    fn layout(&self) -> Layout {
        Layout {
            abi: ABI,
            fingerprint: self.module.fingerprint,
            lane_bytes: lane_bytes(self.module.future_bytes) as u64,
            max_lines: self.module.max_lines as u64,
            team: 0,
        }
    }
    fn lanes(&self, _: u32) -> u32 {
        1
    }
    fn most_blocks(&self, _: u32) -> Result<u32, CudaError> {
        Ok(16)
    }
    fn default_blocks(&self) -> u32 {
        2
    }
    fn has_time_limit(&self) -> bool {
        false
    }
    fn free_bytes(&self) -> u64 {
        1 << 26
    }
    fn device_area(&self, bytes: u64) -> Result<u64, CudaError> {
        self.area(bytes)
    }
    fn shared_area(&self, bytes: u64) -> Result<u64, CudaError> {
        self.area(bytes)
    }

    fn start(&self, entry: Entry, grid: *const Grid) -> Result<(), Fault> {
        let (module, hooks) = (self.module, self.hooks());
        // SAFETY: the engine has written the grid.
        let grid = unsafe { grid.read() };
        match entry {
            Entry::Build => {
                for worker in 0..grid.plan.limits.workers {
                    // SAFETY: the areas are fresh, and the worker is built once.
                    unsafe { grid.plan.build(worker, module, hooks) }
                }
                Ok(())
            }
            Entry::Run | Entry::Replace => {
                let workers = 0..grid.plan.limits.workers;
                workers.filter(|worker| grid.only == ALL || grid.only == *worker).try_for_each(|worker| {
                    let grid = Sendable(grid);
                    self.spawn(move || {
                        let whole = grid;
                        block(module, whole.0, worker);
                    })
                })
            }
            Entry::Finish => {
                let grid = Sendable(grid);
                self.spawn(move || {
                    let whole = grid;
                    let plan = whole.0.plan;
                    for index in 0..plan.limits.workers {
                        let worker: *mut Worker = plan.worker(index);
                        // SAFETY: all workers have ended, and the shared rings are closed.
                        unsafe {
                            (*worker).finish::<ThreadGrid>();
                            (*worker).refuse_inlets::<ThreadGrid>(plan.closed(index).read_volatile());
                        }
                    }
                })
            }
        }
    }

    fn running(&self) -> Result<bool, Fault> {
        if self.fails_after.is_some_and(|after| self.epoch.elapsed() > after) {
            return Err(Fault("the grid: CUDA_ERROR_ILLEGAL_ADDRESS".into()));
        }
        let mut running = lock(&self.running);
        running.retain(|thread| !thread.is_finished());
        Ok(!running.is_empty())
    }

    fn copy_in(&self, to: u64, bytes: &[u8]) -> Result<(), Fault> {
        let to: *mut u8 = std::ptr::with_exposed_provenance_mut(to as usize);
        // SAFETY: memory of `device_area` that the engine has given out for these bytes.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
        Ok(())
    }

    fn read_word(&self, at: u64) -> Result<u32, Fault> {
        let at: *const AtomicU32 = std::ptr::with_exposed_provenance(at as usize);
        // SAFETY: a word of `device_area`; a block may write it meanwhile, as a whole.
        Ok(unsafe { (*at).load(Ordering::Relaxed) })
    }

    fn abandon(&self) {
        std::mem::take(&mut *lock(&self.blocks)).into_iter().for_each(std::mem::forget);
    }
}

/// A grid names memory by address; whoever runs a block may have it.
struct Sendable(Grid);
// SAFETY: the areas live until the engine is dropped, after its threads; who touches what is core's protocol.
unsafe impl Send for Sendable {}
