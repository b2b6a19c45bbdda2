//! Dead letters: messages that wanted no reply and were not handled.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use warpring_core::{ActorId, KernelError};

use crate::backend::cpu;

/// A message that wanted no reply and was not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Whom it was for.
    pub to: ActorId,
    /// Who sent it; `None` for the host.
    pub from: Option<ActorId>,
    /// Which handler it was for: the third part of an entry of `KindTable::handlers`.
    pub handler: u16,
    /// Why it was not handled.
    pub reason: KernelError,
}

impl DeadLetter {
    pub(crate) fn new(to: ActorId, from: Option<ActorId>, handler: u16, reason: KernelError) -> Self {
        Self { to, from, handler, reason }
    }
}

/// Called for each dead letter, on the worker's thread: it must be quick and must not wait for an actor.
pub(crate) type DeadLetterHook = Box<dyn Fn(&DeadLetter) + Send + Sync>;

/// The last [`LOG`] dead letters, and a count of all.
pub(crate) struct DeadLetters {
    hook: Option<DeadLetterHook>,
    log: Mutex<VecDeque<DeadLetter>>,
    count: AtomicU64,
}

/// Dead letters kept for [`Runtime::dead_letters`](crate::Runtime::dead_letters).
const LOG: usize = 1024;

impl DeadLetters {
    pub(crate) fn new(hook: Option<DeadLetterHook>) -> Self {
        Self { hook, log: Mutex::new(VecDeque::with_capacity(LOG)), count: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, letter: DeadLetter) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if let Some(hook) = &self.hook {
            // It is the user's, and the scheduler calls it: its panic is printed like any other, and ends nothing.
            let _ = cpu::outside_worker(|| catch_unwind(AssertUnwindSafe(|| hook(&letter))));
        }
        let mut log = self.log.lock().unwrap_or_else(|e| e.into_inner());
        if log.len() == LOG {
            log.pop_front();
        }
        log.push_back(letter);
    }

    pub(crate) fn list(&self) -> Vec<DeadLetter> {
        self.log.lock().unwrap_or_else(|e| e.into_inner()).iter().copied().collect()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
