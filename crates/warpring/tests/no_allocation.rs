//! After launch and warm-up, messages allocate nothing, on no thread.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use support::*;
use warpring::block_on;
use warpring::prelude::*;

/// Counts what the whole process allocates.
struct Counting;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(at, layout) }
    }
}
#[global_allocator]
static COUNTING: Counting = Counting;

struct Unpark(Thread);
impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// `block_on` allocates a waker for each call; this one is given its waker.
fn await_with<F: IntoFuture>(waker: &Waker, future: F) -> F::Output {
    let mut future = pin!(future.into_future());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Every kind of message, each `rounds` times.
struct Work {
    runtime: Runtime,
    near: ActorRef<Counter>,
    far: ActorRef<Counter>,
    poker: ActorRef<Poker>,
    port: Port,
    waker: Waker,
}

impl Work {
    fn new() -> Self {
        let runtime = runtime(&Backend::Cpu);
        let launch = |worker| LaunchOptions::default().on_worker(worker).mailbox(u16::MAX);
        let near = block_on(runtime.launch(Counter::new(0), launch(0))).expect("launched");
        let far = block_on(runtime.launch(Counter::new(0), launch(1))).expect("launched");
        let poker = block_on(runtime.launch(Poker::default(), launch(0))).expect("launched");
        let port = runtime.port(8).expect("a port");
        Self { runtime, near, far, poker, port, waker: Waker::from(Arc::new(Unpark(thread::current()))) }
    }

    fn all(&mut self, rounds: u64) {
        let Self { near, far, poker, port, waker, .. } = self;
        for actor in [&*near, &*far] {
            for _ in 0..rounds {
                actor.ask(Add { n: 1 }).wait().expect("answered");
                await_with(waker, actor.ask(Add { n: 1 })).expect("answered");
                actor.ask(Add { n: 1 }).send().expect("accepted").wait().expect("answered");
                actor.ask(()).wait().expect("a reply of several lines");
                actor.tell(Add { n: 1 }).wait().expect("accepted");
                actor.try_tell(Add { n: 1 }).expect("accepted");
                await_with(waker, actor.tell(Add { n: 1 })).expect("accepted");
                port.ask(actor.address(), Add { n: 1 }).expect("answered");
                port.tell(actor.address(), Add { n: 1 }).expect("accepted");
                let two = [port.try_ask(actor.address(), Get), port.try_ask(actor.address(), Get)];
                for ticket in two {
                    port.wait(ticket.expect("accepted")).expect("answered");
                }
                // By an actor of the same worker, and of another: a suspended handler, a mailbox, a ring between workers.
                poker.ask(Forward { to: actor.address(), n: 1, within_ns: 0 }).wait().expect("answered");
                poker.ask(Forward { to: actor.address(), n: 1, within_ns: 1 << 32 }).wait().expect("answered");
                poker.ask(Tell { to: actor.address(), what: 0 }).wait().expect("answered");
                actor.ask(Nap { ns: 1000, n: 1 }).wait().expect("answered");
                assert!(actor.ask(Fail { code: 1 }).wait().is_err());
            }
        }
    }
}

#[test]
fn asks_and_tells_allocate_nothing_after_warm_up() {
    let mut work = Work::new();
    work.all(50);
    // Long enough that the thread sleeps, and that the deadlines of awaited asks are watched: both set up something once.
    let nap = Nap { ns: 50_000_000, n: 1 };
    work.near.ask(nap).wait().expect("answered");
    await_with(&work.waker, work.near.ask(nap)).expect("answered");
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    work.all(500);
    let after = ALLOCATIONS.load(Ordering::SeqCst);
    // The counter counts: this box is one.
    drop(std::hint::black_box(Box::new(1)));
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > after);
    block_on(work.runtime.shutdown()).expect("clean");
    assert_eq!(after - before, 0, "17,000 messages");
}
