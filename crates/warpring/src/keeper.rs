//! The keeper: what the runtime itself has to wait for (a restart after a back-off, a kill that has to get through a full ring), as
//! futures that one thread polls. In the simulator, which has no threads, whoever lets the machine run polls them.
//!
//! There are few of them, one for each supervisor and each request under way, so a wake-up polls them all.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use crate::backend::Engine;
use crate::lock::lock;
use crate::shared::Shared;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The thread looks at least so often: a wake-up of its own that was lost costs no more.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

pub(crate) struct Keeper {
    tasks: Mutex<Vec<Task>>,
    /// Handed in since the last round.
    new: Mutex<Vec<Task>>,
    bell: Arc<Bell>,
    /// The first time that a task waits for, on the workers' clock.
    next: AtomicU64,
    thread: OnceLock<Option<JoinHandle<()>>>,
    over: AtomicBool,
}

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

impl Keeper {
    pub(crate) fn new() -> Self {
        Self {
            tasks: Mutex::default(),
            new: Mutex::default(),
            bell: Arc::default(),
            next: AtomicU64::new(u64::MAX),
            thread: OnceLock::new(),
            over: AtomicBool::new(false),
        }
    }

    /// From here on `task` is polled until it ends, or the runtime does.
    pub(crate) fn spawn(&self, shared: &Arc<Shared>, task: impl Future<Output = ()> + Send + 'static) {
        {
            let mut new = lock(&self.new);
            // Under the lock: what came behind the end would keep the runtime, which keeps it.
            if self.over.load(Ordering::Acquire) {
                return;
            }
            new.push(Box::pin(task));
        }
        if shared.engine.get().is_some_and(Engine::wakes) {
            self.thread.get_or_init(|| {
                let shared = Arc::clone(shared);
                let run = move || shared.keeper.run(&shared);
                std::thread::Builder::new().name("warpring-keeper".into()).spawn(run).ok()
            });
        }
        self.bell.wake_by_ref();
    }

    /// A future that is ready at a time on the workers' clock.
    pub(crate) fn until(shared: &Arc<Shared>, at: u64) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(shared);
        std::future::poll_fn(move |_| {
            if shared.now() >= at {
                return Poll::Ready(());
            }
            shared.keeper.next.fetch_min(at, Ordering::AcqRel);
            Poll::Pending
        })
    }

    fn run(&self, shared: &Shared) {
        // Before the first look at the bell: who rings later finds it.
        let _ = self.bell.thread.set(std::thread::current());
        while !self.over.load(Ordering::Acquire) {
            let next = self.tend(shared);
            if self.bell.rung.load(Ordering::Acquire) {
                continue;
            }
            let rest = Duration::from_nanos(next.saturating_sub(shared.now()));
            std::thread::park_timeout(rest.min(LONGEST_SLEEP));
        }
    }

    /// Whether something has happened that a task waits for.
    #[cfg(feature = "sim")]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.bell.rung.load(Ordering::Acquire) || now >= self.next.load(Ordering::Acquire)
    }

    /// The next time that a task waits for, on the workers' clock.
    #[cfg(feature = "sim")]
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Polls what there is to poll; gives the next time that a task waits for.
    pub(crate) fn tend(&self, shared: &Shared) -> u64 {
        // Somebody polls already: below us on this stack, or another thread.
        let Ok(mut tasks) = self.tasks.try_lock() else { return u64::MAX };
        let due = self.next.load(Ordering::Acquire);
        if self.bell.rung.swap(false, Ordering::AcqRel) || shared.now() >= due {
            self.next.store(u64::MAX, Ordering::Release);
            tasks.append(&mut lock(&self.new));
            let waker = Waker::from(Arc::clone(&self.bell));
            let mut cx = Context::from_waker(&waker);
            tasks.retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
        }
        self.next.load(Ordering::Acquire)
    }

    /// Ends the thread and drops what is under way.
    pub(crate) fn stop(&self) {
        self.over.store(true, Ordering::Release);
        if let Some(Some(thread)) = self.thread.get() {
            thread.thread().unpark();
            if thread.thread().id() != std::thread::current().id() {
                while !thread.is_finished() {
                    std::thread::yield_now();
                }
            }
        }
        // They hold what holds the keeper. None is polled any more, so none waits for the lock.
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        let new = std::mem::take(&mut *lock(&self.new));
        drop((tasks, new));
    }
}
