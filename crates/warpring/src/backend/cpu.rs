//! The CPU backend: one thread per worker.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Once};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use warpring_core::ActorId;
use warpring_core::team::Cpu;
use warpring_core::worker::Hooks;

use super::IdlePolicy;
use crate::barrier;
use crate::error::BuildError;
use crate::lock::lock;
use crate::shared::{PanicSite, Shared, hook_dead_letter, hook_notice, hook_wake_cell, hook_wake_worker};

/// The hooks of a CPU worker; `data` is its `Shared`.
pub(crate) fn hooks(data: *const ()) -> Hooks {
    Hooks {
        data,
        now,
        idle,
        wake_worker: hook_wake_worker,
        wake_cell: hook_wake_cell,
        dead_letter: hook_dead_letter,
        notice: hook_notice,
    }
}

/// # Safety
/// `data` is a live `Shared`.
unsafe fn now(data: *const ()) -> u64 {
    // SAFETY: contract.
    unsafe { &*data.cast::<Shared>() }.epoch.elapsed().as_nanos() as u64
}

/// Spins, yields, or sleeps.
///
/// The first call after work starts the clock. When the spin time is over, one call says that the worker sleeps (so that
/// senders wake it) and lets it look through all rings once more; the next call sleeps.
///
/// # Safety
/// `data` is a live `Shared`; called by the worker's own thread.
unsafe fn idle(data: *const (), worker: u32, rounds: u32, next_wake: u64) {
    // SAFETY: contract.
    let shared = unsafe { &*data.cast::<Shared>() };
    let seat = &shared.seats[worker as usize];
    let spin = match shared.settings.idle {
        IdlePolicy::Spin => return,
        IdlePolicy::Adaptive { spin } => spin.as_nanos() as u64,
        IdlePolicy::Park => 0,
    };
    let now = shared.epoch.elapsed().as_nanos() as u64;
    if rounds <= 256 {
        seat.idle_since.store(now, Ordering::Relaxed);
        if seat.parked().load(Ordering::Relaxed) != 0 {
            seat.parked().store(0, Ordering::Relaxed);
        }
    }
    let idle = now.saturating_sub(seat.idle_since.load(Ordering::Relaxed));
    if idle < spin {
        // Another thread may need this core more; alone on it, the call costs under a microsecond. With more workers than cores, one
        // that has work surely does.
        if idle > spin / 4 || shared.settings.crowded {
            thread::yield_now();
        }
        return;
    }
    if seat.parked().swap(1, Ordering::AcqRel) == 0 {
        // SYNC: sleep (pairs with the light barrier after each send).
        barrier::heavy();
        return;
    }
    let limit = Duration::from_nanos(next_wake.saturating_sub(now)).min(barrier::longest_sleep());
    thread::park_timeout(limit);
    seat.parked().store(0, Ordering::Relaxed);
}

/// Starts the worker threads.
pub(crate) fn start(shared: &Arc<Shared>) -> Result<Vec<JoinHandle<()>>, BuildError> {
    catch_panic_sites();
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let workers = shared.seats.len();
    // Pinned from the last core down, so that the host's threads find the first ones free. Not where cores are short.
    let pin = shared.settings.pin && workers <= cores.len();
    let mut threads = Vec::with_capacity(workers);
    for worker in 0..workers {
        let core = pin.then(|| cores[cores.len() - 1 - worker]);
        let for_thread = Arc::clone(shared);
        let handle = thread::Builder::new()
            .name(format!("warpring-worker-{worker}"))
            .spawn(move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                run(&for_thread, worker);
            })
            .map_err(|e| BuildError::Thread(e.to_string()))?;
        let _ = shared.seats[worker].thread.set(handle.thread().clone());
        threads.push(handle);
    }
    Ok(threads)
}

/// One worker's thread: the loop, entered again after each panic of a handler.
fn run(shared: &Shared, index: usize) {
    let worker = shared.seats[index].worker;
    IN_WORKER.with_borrow_mut(|site| *site = Some(None));
    loop {
        // SAFETY: this thread alone runs this worker.
        let Err(payload) = catch_unwind(AssertUnwindSafe(|| unsafe { (shared.module.run_cpu)(worker) })) else { return };
        let site = IN_WORKER.with_borrow_mut(|site| site.as_mut().and_then(Option::take));
        let (file, line) = site.unwrap_or_else(|| ("unknown".into(), 0));
        let site = PanicSite { file, line, message: text(payload.as_ref()) };
        // SAFETY: the loop has unwound, so nobody runs the worker. The record is there before the reply that sends the asker to it.
        let failed = unsafe {
            if let Some(actor) = (*worker).running() {
                record(shared, actor, &site);
            }
            (*worker).recover::<Cpu>(line)
        };
        if failed.is_none() {
            *lock(&shared.lost) = Some(format!("{}:{}: {}", site.file, site.line, site.message));
            shared.seats[index].lost.store(true, Ordering::Release);
            return;
        }
    }
}

/// Remembers where an actor panicked, for whoever asks what happened.
pub(crate) fn record(shared: &Shared, actor: ActorId, site: &PanicSite) {
    lock(&shared.panics).insert(actor, site.clone());
}

pub(crate) fn text(payload: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a value that is no text".to_owned()
    }
}

thread_local! {
    /// `Some` on a worker's thread; then the site of the last panic.
    static IN_WORKER: RefCell<Option<Option<(String, u32)>>> = const { RefCell::new(None) };
}

/// Where the last panic of this thread began.
#[cfg(all(feature = "sim", feature = "cuda"))]
pub(crate) struct Site;

#[cfg(all(feature = "sim", feature = "cuda"))]
impl Site {
    pub(crate) fn take(&self) -> (String, u32) {
        IN_WORKER.with_borrow_mut(|site| site.as_mut().and_then(Option::take)).unwrap_or_else(|| ("unknown".into(), 0))
    }
}

/// Runs `f` as a worker's thread runs handlers: its panics are kept, not printed.
#[cfg(all(feature = "sim", feature = "cuda"))]
pub(crate) fn as_worker(f: impl FnOnce(&Site)) {
    catch_panic_sites();
    IN_WORKER.with_borrow_mut(|site| *site = Some(None));
    f(&Site);
    IN_WORKER.with_borrow_mut(|site| *site = None);
}

/// Runs `f`, which is no handler: its panics go to the hook that everybody else's go to.
pub(crate) fn outside_worker<R>(f: impl FnOnce() -> R) -> R {
    let site = IN_WORKER.with_borrow_mut(Option::take);
    let result = f();
    IN_WORKER.with_borrow_mut(|now| *now = site);
    result
}

/// A panic's location is only known to the hook. On worker threads it is kept and nothing is printed, because the asker gets it
/// as an error; everywhere else the former hook runs.
fn catch_panic_sites() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = IN_WORKER.with_borrow_mut(|site| match site {
                Some(site) => {
                    *site = info.location().map(|at| (at.file().to_owned(), at.line()));
                    true
                }
                None => false,
            });
            if !ours {
                former(info);
            }
        }));
    });
}
