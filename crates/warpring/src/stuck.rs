//! Handlers that keep their worker for longer than the budget: found, reported once each, and logged.
//!
//! Workers do nothing for it: who watches looks a few times per budget at what they show (`core/shown.rs`). On the CPU that is a thread
//! of its own, on a GPU the engine's thread, which reads device memory only of a worker that has stopped to post its clock.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use warpring_core::{ActorId, Doing};

use crate::error::BuildError;
use crate::lock::lock;
use crate::shared::Shared;

/// A handler, or hook, that has kept its worker for longer than [`RuntimeBuilder::handler_budget`](crate::RuntimeBuilder::handler_budget)
/// without awaiting anything. Other actors of the worker wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StuckHandler {
    /// Whose.
    pub actor: ActorId,
    /// Its worker.
    pub worker: u32,
    /// For how long, at least, when it was seen.
    pub running_for: Duration,
}

impl fmt::Display for StuckHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { actor, worker, running_for } = self;
        write!(
            f,
            "the handler of actor {actor} keeps worker {worker} for {running_for:?}: let it await now and then, or raise `RuntimeBuilder::handler_budget`"
        )
    }
}

/// Called for each stuck handler, on the thread that watches: it must not wait for an actor.
pub(crate) type StuckHook = Box<dyn Fn(&StuckHandler) + Send + Sync>;

/// Handlers kept for [`Runtime::stuck_handlers`](crate::Runtime::stuck_handlers).
const LOG: usize = 1024;
/// Looks per budget.
const LOOKS: u32 = 4;
/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(1);

/// The last [`LOG`] stuck handlers, and who watches.
#[derive(Default)]
pub(crate) struct Stuck {
    pub(crate) hook: OnceLock<StuckHook>,
    log: Mutex<VecDeque<StuckHandler>>,
    thread: OnceLock<Thread>,
}

impl Stuck {
    fn add(&self, handler: StuckHandler) {
        if let Some(hook) = self.hook.get() {
            // It is the user's: its panic is printed like any other, and ends nothing.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(&handler)));
        }
        let mut log = lock(&self.log);
        if log.len() == LOG {
            log.pop_front();
        }
        log.push_back(handler);
    }

    pub(crate) fn list(&self) -> Vec<StuckHandler> {
        lock(&self.log).iter().copied().collect()
    }

    /// Wakes the thread for good.
    pub(crate) fn stop(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// What is known of each worker.
pub(crate) struct Looks {
    budget: Duration,
    #[cfg(feature = "cuda")]
    last: Instant,
    workers: Vec<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    /// What it does, and since when it was seen to.
    doing: Option<(Doing, Instant)>,
    reported: bool,
    /// What it had posted as its clock.
    #[cfg(feature = "cuda")]
    clock: u64,
}

impl Looks {
    /// `None` without a budget: nobody looks.
    pub(crate) fn new(budget: Duration, workers: u32) -> Option<Self> {
        let none = Seen {
            doing: None,
            reported: false,
            #[cfg(feature = "cuda")]
            clock: 0,
        };
        (budget > Duration::ZERO).then(|| Self {
            budget,
            #[cfg(feature = "cuda")]
            last: Instant::now(),
            workers: vec![none; workers as usize],
        })
    }

    /// From one look to the next.
    fn pause(&self) -> Duration {
        (self.budget / LOOKS).max(SHORTEST)
    }

    /// Whether it is time for a look.
    #[cfg(feature = "cuda")]
    pub(crate) fn due(&mut self) -> bool {
        let due = self.last.elapsed() >= self.pause();
        if due {
            self.last = Instant::now();
        }
        due
    }

    /// Whether a worker of a grid has posted another clock since the last look: then it is not stuck.
    #[cfg(feature = "cuda")]
    pub(crate) fn posts(&mut self, worker: u32, clock: u64) -> bool {
        let seen = &mut self.workers[worker as usize];
        std::mem::replace(&mut seen.clock, clock) != clock
    }

    /// Takes note of what a worker does.
    pub(crate) fn saw(&mut self, shared: &Shared, worker: u32, doing: Option<Doing>) {
        let (budget, seen) = (self.budget, &mut self.workers[worker as usize]);
        let Some(now) = doing else {
            seen.doing = None;
            return;
        };
        match seen.doing {
            Some((before, since)) if before == now => {
                let running_for = since.elapsed();
                if running_for >= budget && !seen.reported {
                    seen.reported = true;
                    shared.stuck.add(StuckHandler { actor: now.actor, worker, running_for });
                }
            }
            _ => {
                seen.doing = Some((now, Instant::now()));
                seen.reported = false;
            }
        }
    }
}

/// Starts the thread that watches CPU workers, if there is a budget.
pub(crate) fn start(shared: &Arc<Shared>) -> Result<(), BuildError> {
    let Some(looks) = Looks::new(shared.settings.handler_budget, shared.settings.workers) else { return Ok(()) };
    let weak = Arc::downgrade(shared);
    let thread = std::thread::Builder::new().name("warpring-watch".into()).spawn(move || watch(&weak, looks));
    let _ = shared.stuck.thread.set(thread.map_err(|e| BuildError::Thread(e.to_string()))?.thread().clone());
    Ok(())
}

fn watch(weak: &Weak<Shared>, mut looks: Looks) {
    loop {
        std::thread::park_timeout(looks.pause());
        let Some(shared) = weak.upgrade() else { return };
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        for worker in 0..shared.settings.workers {
            let doing = shared.plan.look(worker, |at| {
                let at: *const AtomicU32 = std::ptr::with_exposed_provenance(at as usize);
                // SAFETY: a word of the device area, which `shared` owns. The step and the frame are atomic in the worker, too. What they
                // lead to is written only when a handler begins or ends; if that is just now, the word is some old one or the new
                // one, and the next look shows another step.
                Some(unsafe { (*at).load(Ordering::Relaxed) })
            });
            looks.saw(&shared, worker, doing);
        }
    }
}
