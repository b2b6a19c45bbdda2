//! From a thread that reads or writes a file to the task that waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

use crate::lock::lock;

struct Shared<T> {
    state: Mutex<State<T>>,
    room: Condvar,
    task: AtomicWaker,
}

struct State<T> {
    queue: VecDeque<T>,
    limit: usize,
    /// One end is gone.
    closed: bool,
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

/// The thread's end.
pub(super) struct Sender<T>(Arc<Shared<T>>);
/// The task's end.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

/// A pipe that holds so many.
pub(super) fn pipe<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let state = Mutex::new(State { queue: VecDeque::with_capacity(limit), limit, closed: false });
    let shared = Arc::new(Shared { state, room: Condvar::new(), task: AtomicWaker::new() });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Sender<T> {
    /// Waits for room; false where nobody waits at the other end any more.
    pub(super) fn send(&self, value: T) -> bool {
        let mut state = self.0.state();
        while state.queue.len() >= state.limit && !state.closed {
            state = self.0.room.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        if state.closed {
            return false;
        }
        state.queue.push_back(value);
        drop(state);
        self.0.task.wake();
        true
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.task.wake();
    }
}

impl<T> Receiver<T> {
    /// The next; `None` once the thread has ended and everything was taken.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.task.register(cx.waker());
        let mut state = self.0.state();
        let next = state.queue.pop_front();
        if next.is_some() {
            self.0.room.notify_one();
            return Poll::Ready(next);
        }
        if state.closed { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.room.notify_all();
    }
}
