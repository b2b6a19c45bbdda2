//! The CUDA backend: the workers are the blocks of one persistent cooperative launch.
//!
//! Everything is allocated and loaded before the launch; beside it the host only loads and stores mapped memory, queries streams,
//! and copies through a stream of its own. One host thread (`run`) looks after the grid and wakes who waits for replies.
//!
//! `cuda/gpu.rs` is what the engine needs of a device, `cuda/driver.rs` is the CUDA driver, `cuda/threads.rs` stands for it in tests.

mod driver;
mod error;
mod gpu;
#[cfg(feature = "sim")]
mod threads;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use warpring_core::device::{ABI, ALL, Grid};
use warpring_core::module::ModuleTable;
use warpring_core::plan::Plan;
use warpring_core::worker::Launch;

pub use driver::{DeviceInfo, devices};
pub use error::CudaError;
use gpu::{Entry, Gpu};

use super::grid::{self, Device, Fault, Pulse, Watch};
use crate::barrier;
use crate::dead_letter::DeadLetters;
use crate::error::{BuildError, ShutdownError};
use crate::lock::lock;
use crate::runtime::Settings;
use crate::shared::{Memory, Shared, plan};
use crate::stuck::Looks;

/// Ports of a grid: each has a ring to each worker in pinned memory.
const PORTS: u32 = 8;
/// A launch runs at most so long by default; then the next one goes on.
const RESIDENCY: Duration = Duration::from_secs(10);
/// The same on a device that ends kernels which run for long, because it draws a screen.
const SHORT_RESIDENCY: Duration = Duration::from_millis(250);
/// The host looks after the grid so often while it spins for replies.
const TEND_EVERY: Duration = Duration::from_micros(50);
/// The engine's thread spins for so long after the last awaited reply before it sleeps.
const SPIN_FOR: Duration = Duration::from_micros(500);
/// So long it sleeps between two looks at a grid for whose replies nobody waits.
const REST: Duration = Duration::from_millis(1);
/// A worker that was told to stop, and says nothing for so long, is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// What runs a grid, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CudaOptions {
    /// Number of the device, as the driver counts them. Default: 0.
    pub device: u32,
    /// Lanes of each worker, where the module was compiled for teams of a block: a multiple of 32, at most 512. Default: 128. A
    /// module for teams of a warp takes 32 only.
    pub lanes: Option<u32>,
    /// Bytes for the values of actors. Default: a quarter of what is free on the device, at most 4 GiB.
    pub state_bytes: Option<u64>,
    /// The grid hibernates when nothing was to be done for so long: no block runs, the state stays, and the next message launches it
    /// again. Default: never.
    pub hibernate_after: Option<Duration>,
    /// A launch runs at most so long; then the next one goes on. Default: 10 s, or 250 ms on a device that ends long kernels.
    pub residency: Option<Duration>,
    /// A worker handles at most about so many messages in a launch, for profilers and sanitizers. Default: no limit.
    pub messages_per_launch: Option<u64>,
    /// An idle worker pauses for about so long between two looks at its rings, which saves power and adds latency. Default: never.
    pub pause: Duration,
    #[cfg(feature = "sim")]
    threads: bool,
    #[cfg(feature = "sim")]
    fails_after: Option<Duration>,
}

impl Default for CudaOptions {
    fn default() -> Self {
        Self {
            device: 0,
            lanes: None,
            state_bytes: None,
            hibernate_after: None,
            residency: None,
            messages_per_launch: None,
            pause: Duration::ZERO,
            #[cfg(feature = "sim")]
            threads: false,
            #[cfg(feature = "sim")]
            fails_after: None,
        }
    }
}

impl CudaOptions {
    /// On this device.
    pub fn device(mut self, device: u32) -> Self {
        self.device = device;
        self
    }

    /// With so many lanes for each worker.
    pub fn lanes(mut self, lanes: u32) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// With so many bytes for the values of actors.
    pub fn state_bytes(mut self, bytes: u64) -> Self {
        self.state_bytes = Some(bytes);
        self
    }

    /// Hibernates after so long with nothing to do.
    pub fn hibernate_after(mut self, idle: Duration) -> Self {
        self.hibernate_after = Some(idle);
        self
    }

    /// With launches of at most so long.
    pub fn residency(mut self, time: Duration) -> Self {
        self.residency = Some(time);
        self
    }

    /// With launches in which a worker handles about so many messages.
    pub fn messages_per_launch(mut self, messages: u64) -> Self {
        self.messages_per_launch = Some(messages);
        self
    }

    /// With idle workers that pause.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// On threads that stand for the blocks of a grid: the tests of the host's side run without a GPU. Not a GPU, and not for use.
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    pub fn on_threads(mut self) -> Self {
        self.threads = true;
        self
    }

    /// As [`on_threads`](Self::on_threads), with a device that reports a fault after so long.
    #[cfg(feature = "sim")]
    #[doc(hidden)]
    pub fn on_threads_that_fail(mut self, after: Duration) -> Self {
        self.threads = true;
        self.fails_after = Some(after);
        self
    }
}

/// The running grid, as the host sees it.
pub(crate) struct CudaEngine {
    gpu: Box<dyn Gpu>,
    watch: Watch,
    states: Mutex<Heap>,
    /// Bytes copied to the device, and from it; messages are not copied.
    copied: AtomicU64,
    /// The workers' clock minus the host's, in nanoseconds.
    offset: AtomicI64,
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
    stop_asked: OnceLock<Instant>,
    fault: OnceLock<String>,
    /// A bit for each reply cell that somebody sleeps on.
    awaited: Box<[AtomicU64]>,
}

impl fmt::Debug for CudaEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaEngine({})", self.gpu.name())
    }
}

/// Memory for the values of actors: handed out, never taken back.
struct Heap {
    at: u64,
    end: u64,
    used: u64,
    /// Places that are not used any more, by their size.
    free: HashMap<u64, Vec<u64>>,
}

/// The grid as the watch sees it.
struct Launcher<'a> {
    gpu: &'a dyn Gpu,
    plan: &'a Plan,
    launches: &'a mut u32,
}

impl Launcher<'_> {
    fn grid(&mut self, launch: &Launch, only: u32) -> *const Grid {
        let slot = self.plan.grid(*self.launches);
        *self.launches = self.launches.wrapping_add(1);
        // SAFETY: the slot is in the shared area, and the launch that had it before has ended long ago.
        unsafe { slot.write(Grid { plan: *self.plan, launch: *launch, only }) }
        slot
    }
}

impl Device for Launcher<'_> {
    fn launch(&mut self, launch: &Launch, only: Option<u32>) -> Result<(), Fault> {
        let grid = self.grid(launch, only.unwrap_or(ALL));
        let entry = if only.is_some() { Entry::Replace } else { Entry::Run };
        self.gpu.start(entry, grid)
    }

    fn running(&mut self) -> Result<bool, Fault> {
        self.gpu.running()
    }
}

/// Allocates everything, builds the workers and launches them.
pub(crate) fn start(
    gpu: Box<dyn Gpu>,
    module: &'static ModuleTable,
    mut settings: Settings,
    workers: Option<u32>,
    dead: DeadLetters,
    options: &CudaOptions,
) -> Result<(Arc<Shared>, JoinHandle<()>), BuildError> {
    let layout = gpu.layout();
    check_layout(module, &layout)?;
    let lanes = match (layout.team, options.lanes) {
        (0, None | Some(32)) => 32,
        (0, Some(given)) => {
            return Err(BuildError::Setting {
                name: "lanes",
                given: given.into(),
                allowed: "32, because the module is for teams of a warp",
            });
        }
        (_, lanes) => lanes.unwrap_or(128),
    };
    if !lanes.is_multiple_of(32) || !(32..=512).contains(&lanes) {
        return Err(BuildError::Setting { name: "lanes", given: lanes.into(), allowed: "a multiple of 32, at most 512" });
    }
    let lanes = gpu.lanes(lanes);
    let most = gpu.most_blocks(lanes)?;
    settings.workers = workers.unwrap_or_else(|| gpu.default_blocks().min(most));
    if settings.workers > most {
        return Err(CudaError::TooManyWorkers { wanted: settings.workers, most }.into());
    }
    settings.resolve_for_grid();
    crate::runtime::check(&settings, most, "as many as blocks run at once")?;
    let mut plan = plan(module, &settings, lanes, layout.lane_bytes as u32, PORTS, grid::LETTER_LINES);
    plan.limits.pause_ns = options.pause.as_nanos().min(1_000_000) as u32;
    plan.device = gpu.device_area(plan.device_bytes())?;
    plan.shared = gpu.shared_area(plan.shared_bytes())?;
    let state_bytes = options.state_bytes.unwrap_or_else(|| (gpu.free_bytes() / 4).min(4 << 30)).max(1 << 16);
    let states = gpu.device_area(state_bytes)?;
    // SAFETY: the areas are as large as the plan says, zeroed, and live as long as the engine, which `Shared` owns.
    let shared = unsafe { Shared::new(module, settings, dead, plan, Memory::Device) };
    let nanoseconds = |time: Duration| time.as_nanos().min(u128::from(u64::MAX)) as u64;
    let residency = options.residency.unwrap_or(if gpu.has_time_limit() { SHORT_RESIDENCY } else { RESIDENCY });
    let limits = grid::Limits {
        hibernate_after: options.hibernate_after.map(nanoseconds),
        residency: nanoseconds(residency),
        messages: options.messages_per_launch.unwrap_or(u64::MAX),
    };
    let engine = CudaEngine {
        gpu,
        // SAFETY: the one watch of these workers.
        watch: unsafe { Watch::new(&shared, limits) },
        states: Mutex::new(Heap { at: states, end: states + state_bytes, used: 0, free: HashMap::new() }),
        copied: AtomicU64::new(0),
        offset: AtomicI64::new(0),
        thread: OnceLock::new(),
        asleep: AtomicBool::new(false),
        stop_asked: OnceLock::new(),
        fault: OnceLock::new(),
        awaited: (0..shared.cells.total().div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
    };
    let mut launches = 0;
    let before = shared.epoch.elapsed().as_nanos() as i64;
    let broken = |fault: Fault| BuildError::from(CudaError::Launch { why: fault.0 });
    engine.complete(&shared, Entry::Build, &mut launches).map_err(broken)?;
    // The workers' clock began somewhere in between; their posts say it better from now on.
    engine.offset.store(-(before + (shared.epoch.elapsed().as_nanos() as i64 - before) / 2), Ordering::Relaxed);
    engine
        .watch
        .start(&shared, &mut Launcher { gpu: &*engine.gpu, plan: &shared.plan, launches: &mut launches })
        .map_err(broken)?;
    let _ = shared.engine.set(super::Engine::Cuda(Box::new(engine)));
    let weak = Arc::downgrade(&shared);
    let thread = std::thread::Builder::new()
        .name("warpring-gpu".into())
        .spawn(move || run(&weak, launches))
        .map_err(|e| BuildError::Thread(e.to_string()))?;
    if let Some(super::Engine::Cuda(engine)) = shared.engine.get() {
        let _ = engine.thread.set(thread.thread().clone());
    }
    Ok((shared, thread))
}

/// Opens the device and loads the module.
pub(crate) fn open(module: &'static ModuleTable, ptx: Option<&str>, options: &CudaOptions) -> Result<Box<dyn Gpu>, CudaError> {
    #[cfg(feature = "sim")]
    if options.threads {
        return Ok(Box::new(threads::Threads::new(module, options.fails_after)));
    }
    let Some(ptx) = ptx.or(module.ptx) else { return Err(CudaError::NoPtx { module: module.name }) };
    Ok(Box::new(driver::Driver::open(options.device, ptx)?))
}

fn check_layout(module: &ModuleTable, layout: &warpring_core::device::Layout) -> Result<(), CudaError> {
    let differs = |what, host, device| Err(CudaError::Layout { what, host, device });
    if layout.abi != ABI {
        return differs("the kernel ABI", ABI, layout.abi);
    }
    if layout.max_lines != module.max_lines as u64 {
        return differs("the lines of the largest message", module.max_lines as u64, layout.max_lines);
    }
    if layout.fingerprint != module.fingerprint {
        return differs("the fingerprint of kernels and messages", module.fingerprint, layout.fingerprint);
    }
    Ok(())
}

/// The thread beside the grid.
fn run(weak: &Weak<Shared>, mut launches: u32) {
    let mut last_awaited = Instant::now();
    let mut last_tended = Instant::now();
    let mut window = Window::default();
    let mut looks = weak.upgrade().and_then(|shared| Looks::new(shared.settings.handler_budget, shared.settings.workers));
    loop {
        let rest = {
            let Some(shared) = weak.upgrade() else { return };
            let Some(super::Engine::Cuda(engine)) = shared.engine.get() else { return };
            let waits = engine.wake_answered(&shared);
            let now = Instant::now();
            if waits {
                last_awaited = now;
            }
            let spin = now - last_awaited < SPIN_FOR;
            if !spin || now - last_tended >= TEND_EVERY {
                last_tended = now;
                engine.set_clock(&shared, &mut window);
                let mut device = Launcher { gpu: &*engine.gpu, plan: &shared.plan, launches: &mut launches };
                let pulse = engine.watch.tend(&shared, &mut device, engine.now(&shared));
                if let Some(looks) = &mut looks
                    && matches!(pulse, Ok(Pulse::Running))
                    && looks.due()
                {
                    engine.look(&shared, looks);
                }
                match pulse.and_then(|pulse| engine.check_stuck(&shared, pulse)) {
                    Ok(Pulse::Ended) => return,
                    Ok(_) => {}
                    Err(fault) => return engine.fail(&shared, fault),
                }
            }
            if spin {
                std::hint::spin_loop();
                if shared.settings.crowded {
                    std::thread::yield_now();
                }
                None
            } else if engine.asleep.swap(true, Ordering::AcqRel) {
                Some(REST)
            } else {
                // SYNC: sleep (pairs with the light barrier of who starts to wait): look once more before sleeping.
                barrier::heavy();
                None
            }
        };
        if let Some(rest) = rest {
            std::thread::park_timeout(rest);
            if let Some(shared) = weak.upgrade()
                && let Some(super::Engine::Cuda(engine)) = shared.engine.get()
            {
                engine.asleep.store(false, Ordering::Relaxed);
            }
        }
    }
}

/// The largest offset of the workers' clock that was seen lately: what they post is never ahead of them.
struct Window {
    since: Instant,
    largest: i64,
}

impl Default for Window {
    fn default() -> Self {
        Self { since: Instant::now(), largest: i64::MIN }
    }
}

impl CudaEngine {
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// What the device calls itself.
    pub(crate) fn device_name(&self) -> String {
        self.gpu.name()
    }

    /// Bytes copied to and from the device since the start.
    pub(crate) fn copied_bytes(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// Bytes of actors' values on the device.
    pub(crate) fn state_bytes(&self) -> u64 {
        lock(&self.states).used
    }

    /// The workers' clock, as well as the host knows it.
    pub(crate) fn now(&self, shared: &Shared) -> u64 {
        let host = shared.epoch.elapsed().as_nanos() as i64;
        host.saturating_add(self.offset.load(Ordering::Relaxed)).max(0) as u64
    }

    fn set_clock(&self, shared: &Shared, window: &mut Window) {
        // SAFETY: the post is in the shared area; the word is read as a whole.
        let posted = unsafe { (*shared.plan.post(0)).clock.get() };
        let host = shared.epoch.elapsed().as_nanos() as i64;
        if posted == 0 || self.watch.launches().asleep {
            return;
        }
        window.largest = window.largest.max((posted as i64).saturating_sub(host));
        if window.largest > self.offset.load(Ordering::Relaxed) {
            self.offset.store(window.largest, Ordering::Relaxed);
        }
        if window.since.elapsed() > Duration::from_secs(1) {
            self.offset.store(window.largest, Ordering::Relaxed);
            *window = Window::default();
        }
    }

    /// Somebody waits for the reply in a cell and is about to sleep.
    pub(crate) fn await_cell(&self, cell: u32) {
        self.awaited[cell as usize / 64].fetch_or(1 << (cell % 64), Ordering::AcqRel);
        // SYNC: sleep: the engine's thread executes the barrier for both sides.
        barrier::light();
        if self.asleep.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Nobody waits for that reply any more.
    pub(crate) fn forget_cell(&self, cell: u32) {
        self.awaited[cell as usize / 64].fetch_and(!(1 << (cell % 64)), Ordering::AcqRel);
    }

    /// Wakes those whose reply has come; whether somebody still waits.
    fn wake_answered(&self, shared: &Shared) -> bool {
        let mut waits = false;
        for (word, bits) in self.awaited.iter().enumerate() {
            let mut rest = bits.load(Ordering::Acquire);
            while rest != 0 {
                let cell = word as u32 * 64 + rest.trailing_zeros();
                rest &= rest - 1;
                if shared.cells.reply(shared.cells.current(cell)).is_some() {
                    self.forget_cell(cell);
                    shared.cells.waker(cell).wake();
                } else {
                    waits = true;
                }
            }
        }
        waits
    }

    pub(crate) fn rouse(&self) {
        self.watch.rouse();
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Puts the values of actors into device memory: their address.
    pub(crate) fn place(&self, values: &[u8]) -> Result<u64, PlaceError> {
        let at = {
            let heap = &mut *lock(&self.states);
            let bytes = rounded(values.len() as u64);
            heap.used += values.len() as u64;
            if let Some(at) = heap.free.get_mut(&bytes).and_then(Vec::pop) {
                at
            } else {
                let left = heap.end - heap.at;
                if bytes > left {
                    heap.used -= values.len() as u64;
                    return Err(PlaceError::Full { wanted: values.len() as u64, left });
                }
                heap.at += bytes;
                heap.at - bytes
            }
        };
        self.gpu.copy_in(at, values).map_err(|fault| PlaceError::Lost(fault.0))?;
        self.copied.fetch_add(values.len() as u64, Ordering::Relaxed);
        Ok(at)
    }

    /// The place of a value that is not used any more; the next one of its size goes there.
    pub(crate) fn give_back(&self, at: u64, bytes: u64) {
        let heap = &mut *lock(&self.states);
        heap.used -= bytes;
        heap.free.entry(rounded(bytes)).or_default().push(at);
    }

    /// Why the device was lost, if it was.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// The host has told all workers to stop.
    pub(crate) fn stop_asked(&self) {
        let _ = self.stop_asked.set(Instant::now());
        self.rouse();
    }

    fn check_stuck(&self, shared: &Shared, pulse: Pulse) -> Result<Pulse, Fault> {
        match (pulse, self.stop_asked.get()) {
            (Pulse::Running, Some(since)) if since.elapsed() > STUCK_AFTER + shared.settings.drain_limit => {
                Err(Fault(format!("a worker has not stopped {STUCK_AFTER:?} after the drain limit: a handler does not return")))
            }
            _ => Ok(pulse),
        }
    }

    /// Looks whether handlers are stuck. A worker that posts its clock is not, and a fault of the device is seen elsewhere.
    fn look(&self, shared: &Shared, looks: &mut Looks) {
        for worker in 0..shared.settings.workers {
            // SAFETY: the post is in the shared area; the word is read as a whole.
            let clock = unsafe { (*shared.plan.post(worker)).clock.get() };
            let doing =
                if looks.posts(worker, clock) { None } else { shared.plan.look(worker, |at| self.gpu.read_word(at).ok()) };
            looks.saw(shared, worker, doing);
        }
    }

    /// The device is lost: nothing that was sent will be answered any more.
    fn fail(&self, shared: &Shared, fault: Fault) {
        self.gpu.abandon();
        let _ = self.fault.set(fault.0.clone());
        *lock(&shared.lost) = Some(fault.0);
        for seat in &shared.seats {
            seat.lost.store(true, Ordering::Release);
            seat.ingress.close();
        }
        shared.closing.store(true, Ordering::Release);
        shared.ended.store(true, Ordering::Release);
        for cell in 0..shared.cells.total() {
            shared.cells.waker(cell).wake();
        }
    }

    /// Starts a kernel of one block and waits for its end.
    fn complete(&self, shared: &Shared, entry: Entry, launches: &mut u32) -> Result<(), Fault> {
        let mut launcher = Launcher { gpu: &*self.gpu, plan: &shared.plan, launches };
        let grid = launcher.grid(&Launch { number: 0, residency_ns: 0, messages: 0 }, ALL);
        self.gpu.start(entry, grid)?;
        let start = Instant::now();
        while self.gpu.running()? {
            // The ring for dead letters may be full.
            self.watch.take_letters(shared);
            if start.elapsed() > Duration::from_secs(30) {
                return Err(Fault(format!("the kernel {entry:?} has not ended after 30 s")));
            }
            std::thread::yield_now();
        }
        self.watch.take_letters(shared);
        Ok(())
    }

    /// All workers have ended: answers what they have left. The shared rings are closed.
    pub(crate) fn finish(&self, shared: &Shared) -> Result<(), ShutdownError> {
        if let Some(fault) = self.fault() {
            return Err(ShutdownError::BackendLost { message: fault.to_owned() });
        }
        for (worker, seat) in shared.seats.iter().enumerate() {
            // SAFETY: a word of the shared area that only this thread writes, and the device reads in the kernel that starts below.
            unsafe { shared.plan.closed(worker as u32).write_volatile(seat.ingress.close()) }
        }
        // The grids of earlier launches are not read any more.
        self.complete(shared, Entry::Finish, &mut 0).map_err(|fault| ShutdownError::BackendLost { message: fault.0 })
    }
}

/// Bytes that a place of so many takes.
fn rounded(bytes: u64) -> u64 {
    bytes.next_multiple_of(128)
}

/// Why the values of actors have no place on the device.
pub(crate) enum PlaceError {
    Full { wanted: u64, left: u64 },
    Lost(String),
}
