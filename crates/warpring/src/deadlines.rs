//! Deadlines of asks that are awaited: a future sleeps until it is woken, and a worker that never replies wakes nobody.
//!
//! One thread, started by the first awaited ask, looks through the cells' deadlines a hundred times a second while there are
//! any, and wakes the futures whose time has come; the future itself then sees that it is late. It sleeps while there are none.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};
use std::thread::Thread;
use std::time::Duration;

use crate::barrier;
use crate::shared::Shared;

const LOOK: Duration = Duration::from_millis(10);

pub(crate) struct Deadlines {
    /// Per cell: nanoseconds since `Shared::epoch`, 0 for none.
    at: Box<[AtomicU64]>,
    thread: OnceLock<Option<Thread>>,
    asleep: AtomicBool,
}

impl Deadlines {
    pub(crate) fn new(cells: u32) -> Self {
        Self { at: (0..cells).map(|_| AtomicU64::new(0)).collect(), thread: OnceLock::new(), asleep: AtomicBool::new(false) }
    }

    /// From now on, wakes the cell's future at `at`.
    pub(crate) fn set(&self, cell: u32, at: u64, shared: &std::sync::Arc<Shared>) {
        self.at[cell as usize].store(at.max(1), Ordering::Relaxed);
        // SYNC: sleep: the watcher executes the barrier for both sides before it sleeps.
        barrier::light();
        match self.thread.get() {
            None => self.start(std::sync::Arc::downgrade(shared)),
            Some(Some(thread)) if self.asleep.load(Ordering::Relaxed) => thread.unpark(),
            Some(_) => {}
        }
    }

    /// The cell waits no more.
    pub(crate) fn clear(&self, cell: u32) {
        self.at[cell as usize].store(0, Ordering::Relaxed);
    }

    #[cold]
    fn start(&self, shared: Weak<Shared>) {
        self.thread.get_or_init(|| {
            let started = std::thread::Builder::new().name("warpring-deadlines".into()).spawn(move || watch(&shared));
            // Without the thread an awaited ask has no deadline of its own; its reply still comes.
            started.ok().map(|handle| handle.thread().clone())
        });
    }

    /// Wakes the thread for good.
    pub(crate) fn stop(&self) {
        if let Some(Some(thread)) = self.thread.get() {
            thread.unpark();
        }
    }
}

fn watch(shared: &Weak<Shared>) {
    loop {
        let none = {
            let Some(shared) = shared.upgrade() else { return };
            if shared.ended.load(Ordering::Acquire) {
                return;
            }
            let now = shared.epoch.elapsed().as_nanos() as u64;
            let mut none = true;
            for (cell, at) in shared.deadlines.at.iter().enumerate() {
                let due = at.load(Ordering::Relaxed);
                none &= due == 0;
                if due != 0 && due <= now {
                    shared.cells.waker(cell as u32).wake();
                }
            }
            if none {
                let asleep = shared.deadlines.asleep.swap(true, Ordering::AcqRel);
                barrier::heavy();
                // Twice, so that a deadline set before the flag was seen is not missed.
                none = asleep;
            } else {
                shared.deadlines.asleep.store(false, Ordering::Relaxed);
            }
            none
        };
        std::thread::park_timeout(if none { Duration::from_secs(1) } else { LOOK });
    }
}
