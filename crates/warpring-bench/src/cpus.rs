//! Two threads on two different cpus.

use std::sync::atomic::{AtomicU32, Ordering};

use core_affinity::CoreId;

/// Two different cpus that this process may run on.
#[derive(Clone, Copy, Debug)]
pub struct TwoCpus {
    first: CoreId,
    second: CoreId,
}

/// This process may run on fewer than two cpus, so that no floor between two threads exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewCpus;

impl std::fmt::Display for TooFewCpus {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("fewer than two cpus: run where the process may use two (see `taskset -p $$` and the cpuset)")
    }
}

impl std::error::Error for TooFewCpus {}

impl TwoCpus {
    /// The first and the last cpu that the calling thread may run on.
    ///
    /// # Errors
    /// [`TooFewCpus`] where the thread may run on one cpu only, or the system does not tell.
    pub fn discover() -> Result<TwoCpus, TooFewCpus> {
        let cpus = core_affinity::get_core_ids().unwrap_or_default();
        match (cpus.first(), cpus.last()) {
            (Some(&first), Some(&second)) if first != second => Ok(TwoCpus { first, second }),
            _ => Err(TooFewCpus),
        }
    }

    /// Runs both closures at the same time, each on its own cpu, and returns what they return.
    ///
    /// The threads are fresh, so the caller's own affinity stays as it was. Both have arrived on their cpus before
    /// either closure starts.
    ///
    /// # Panics
    /// Where a thread cannot be pinned, or with the panic of a closure. A closure must not panic while the other
    /// waits for it: count what is wrong and assert after the return.
    pub fn run<A: Send, B: Send>(&self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        let arrived = AtomicU32::new(0);
        let start = |cpu: CoreId| {
            let pinned = core_affinity::set_for_current(cpu);
            // Relaxed: the count carries no data, the spawn of the threads has published all that they read.
            arrived.fetch_add(1, Ordering::Relaxed);
            while arrived.load(Ordering::Relaxed) != 2 {
                std::hint::spin_loop();
            }
            assert!(pinned, "this thread cannot be pinned to cpu {}", cpu.id);
        };
        std::thread::scope(|scope| {
            let a = scope.spawn(|| {
                start(self.first);
                a()
            });
            let b = scope.spawn(|| {
                start(self.second);
                b()
            });
            (join(a), join(b))
        })
    }
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
