//! What an actor library must do to be measured.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use warpring_bench::step;

/// A boxed job for an actor to run in its handler.
pub type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The mailbox of peers whose mailboxes have a bound.
pub const MAILBOX: usize = 1_024;

/// The threads of a runtime.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One worker: the thread that calls [`Peer::run`].
    Caller,
    /// One worker: a thread of its own.
    One,
    /// Two workers: two threads of its own, or the caller and another.
    Two,
}

/// An actor library: its actors hold a `u64` and do what [`handle`] does.
pub trait Peer: Sized + 'static {
    /// Its name in the report.
    const NAME: &'static str;
    /// Whether its `Workers::Two` keeps an actor on another thread than the job, so that there is no need to try two
    /// runtimes.
    const STAYS_ON_OTHER_WORKER: bool;
    /// The handle of an actor.
    type Actor: Clone + Send + Sync + 'static;
    /// An answer under way.
    type Answer: Future<Output = u64> + Send + 'static;
    /// What keeps the workers running; dropping it ends them and all actors.
    type Runtime;
    /// Where a runtime starts its actors.
    type Place: Clone + Send + Sync + 'static;

    fn runtime(workers: Workers) -> Self::Runtime;
    fn place(runtime: &Self::Runtime) -> Self::Place;
    /// Runs a job on a worker and waits for it.
    fn run<T: Send + 'static>(runtime: &Self::Runtime, job: impl Future<Output = T> + Send + 'static) -> T;

    /// Starts an actor with state 0; it is up and running when this is ready. Call it in a job.
    fn start(place: &Self::Place) -> impl Future<Output = Self::Actor> + Send;
    /// Asks and waits.
    fn ask(actor: &Self::Actor, request: u64) -> impl Future<Output = u64> + Send;
    /// Sends a request and returns its answer under way.
    fn ask_later(actor: &Self::Actor, request: u64) -> impl Future<Output = Self::Answer> + Send;
    /// Sends a message that has no answer; waits for room where mailboxes have a bound.
    fn tell(actor: &Self::Actor, message: u64) -> impl Future<Output = ()> + Send;
    /// Starts an actor beside the caller and runs a job in its handler.
    fn inside_actor(job: Job) -> impl Future<Output = ()> + Send;
}

/// A request for the number of the thread that answers it.
pub const WHERE: u64 = u64::MAX;

/// What every measured actor does with a message.
#[inline]
pub fn handle(state: &mut u64, message: u64) -> u64 {
    if message == WHERE {
        return thread_number();
    }
    *state = step(*state, message);
    *state
}

/// A small number for the calling thread.
pub fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NUMBER: Cell<u64> = const { Cell::new(0) });
    NUMBER.with(|number| {
        if number.get() == 0 {
            // Relaxed: numbers need to differ, nothing more.
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}
