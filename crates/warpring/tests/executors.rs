//! Asks as futures: on several executors, cancelled, moved between threads, and woken every time.

mod support;

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::{Either, join_all, select};
use support::*;
use warpring::prelude::*;
use warpring::{IdlePolicy, block_on};

fn counter(runtime: &Runtime) -> ActorRef<Counter> {
    block_on(runtime.launch(Counter::new(tally().0), LaunchOptions::default())).expect("launched")
}

/// What each executor runs: asks one after the other, many at once, an error, a panic.
async fn work(actor: ActorRef<Counter>) {
    for n in 1..=200 {
        assert_eq!(actor.ask(Add { n: 1 }).await, Ok(n));
    }
    let many = join_all((0..300).map(|_| actor.ask(Add { n: 1 }).into_future())).await;
    let mut seen: Vec<u64> = many.into_iter().map(|answer| answer.expect("answered")).collect();
    seen.sort_unstable();
    assert_eq!(seen, (201..=500).collect::<Vec<_>>());
    assert_eq!(actor.ask(Nap { ns: 1_000_000, n: 1 }).await, Ok(501));
    assert_eq!(actor.ask(Fail { code: 5 }).await, Err(AskError::Handler(KernelError::rejected(5))));
    assert_eq!(actor.tell(Add { n: 1 }).await, Ok(()));
    assert_eq!(actor.ask(Get).await, Ok(502));
}

fn asks_can_be_awaited_on_every_executor(on: &Backend) {
    let runtime = runtime(on);
    block_on(work(counter(&runtime)));
    futures::executor::block_on(work(counter(&runtime)));
    tokio::runtime::Builder::new_current_thread().build().expect("tokio").block_on(work(counter(&runtime)));
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("tokio");
    let tasks: Vec<_> = (0..8).map(|_| threads.spawn(work(counter(&runtime)))).collect();
    threads.block_on(async {
        for task in tasks {
            task.await.expect("no panic");
        }
        runtime.shutdown().await.expect("clean");
    });
}

fn launch_and_shutdown_can_be_awaited_on_every_executor(on: &Backend) {
    let life = |on: Backend| async move {
        let runtime = builder(&on).build().expect("built");
        let actor = runtime.launch(Counter { initialize_ns: 300_000, ..Counter::new(tally().0) }, LaunchOptions::default()).await;
        assert_eq!(actor.expect("launched").ask(Add { n: 3 }).await, Ok(3));
        let group = runtime.launch_many(100, LaunchOptions::default(), |_| Counter::new(tally().0)).await.expect("launched");
        let asks = join_all((0..100).map(|i| group.get(i).expect("in range").ask(Add { n: u64::from(i) }).into_future())).await;
        assert!(asks.into_iter().enumerate().all(|(i, answer)| answer == Ok(i as u64)));
        assert_eq!(runtime.stats().await.expect("stats").handled(), 101);
        runtime.shutdown().await.expect("clean");
    };
    block_on(life(on.clone()));
    tokio::runtime::Builder::new_current_thread().build().expect("tokio").block_on(life(on.clone()));
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("tokio");
    threads.block_on(async { threads.spawn(life(on.clone())).await.expect("no panic") });
}

fn futures_that_are_dropped_leak_no_cell(on: &Backend) {
    let runtime = builder(on).outstanding_asks(16).build().expect("built");
    let actor = counter(&runtime);
    let mut cx = Context::from_waker(Waker::noop());
    for round in 0..2000u32 {
        let mut asking = pin!(actor.ask(Add { n: 1 }).into_future());
        match round % 4 {
            // Never polled: nothing is sent.
            0 => {}
            1 => drop(asking.as_mut().poll(&mut cx)),
            2 => {
                drop(asking.as_mut().poll(&mut cx));
                drop(asking.as_mut().poll(&mut cx));
            }
            _ => drop(actor.ask(Add { n: 1 }).send()),
        }
    }
    // All sixteen are free again, once the late replies have come.
    assert_eq!(actor.ask(Add { n: 0 }).wait().map(|_| ()), Ok(()));
    let all: Vec<_> = (0..16).map(|_| actor.ask(Get).send()).collect();
    assert!(all.iter().all(Result::is_ok));
    for reply in all {
        reply.expect("sent").wait().expect("answered");
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn an_ask_loses_against_a_timeout_without_harm(on: &Backend) {
    let runtime = builder(on).outstanding_asks(4).build().expect("built");
    let actor = counter(&runtime);
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("tokio");
    tokio.block_on(async {
        for _ in 0..20 {
            let (gate, tally) = tally();
            let slow = actor.ask(Wait { gate, n: 1 }).into_future();
            let timeout = pin!(tokio::time::sleep(Duration::from_millis(1)));
            match select(pin!(slow), timeout).await {
                Either::Left(answer) => panic!("{:?}", answer.0),
                Either::Right(_) => {}
            }
            assert!(tokio::time::timeout(Duration::from_micros(100), actor.ask(Get).into_future()).await.is_err());
            tally.open();
            actor.ask(Get).await.expect("answered");
        }
        assert_eq!(actor.ask(Get).await, Ok(20));
    });
    block_on(runtime.shutdown()).expect("clean");
}

struct Unpark(std::thread::Thread);
impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn a_future_goes_on_where_it_was_polled_last(on: &Backend) {
    if !has_threads(on) {
        return;
    }
    let runtime = runtime(on);
    let actor = counter(&runtime);
    for round in 0..300 {
        let (gate, tally) = tally_of(on, round);
        let mut asking = Box::pin(actor.ask(Wait { gate, n: 1 }).into_future());
        // The first thread polls and goes away; its waker must not be the one that is woken.
        let first = Waker::from(Arc::new(Unpark(std::thread::current())));
        assert!(asking.as_mut().poll(&mut Context::from_waker(&first)).is_pending());
        let other = std::thread::spawn(move || block_on(asking));
        tally.open();
        assert!(other.join().expect("no panic").is_ok());
    }
    block_on(runtime.shutdown()).expect("clean");
}

/// One gate for many rounds would stay open, and a gate for each would use up the tallies.
fn tally_of(on: &Backend, round: u64) -> (u32, &'static Tally) {
    let first = if matches!(on, Backend::Cpu) { 3000 } else { 3500 };
    let number = first + (round % 500) as u32;
    (number, at(number))
}

/// Asks with pauses between them, long enough that workers and waiters go to sleep now and then: a wake-up that is lost hangs
/// until a sleeper looks by itself (a tenth of a second), and thousands of those would be seen.
fn no_wake_up_is_lost(on: &Backend, policy: IdlePolicy, asks: u32) {
    let runtime = builder(on).idle(policy).build().expect("built");
    let a = block_on(runtime.launch(Counter::new(tally().0), LaunchOptions::default().on_worker(0))).expect("launched");
    let poker = block_on(runtime.launch(Poker::default(), LaunchOptions::default().on_worker(1))).expect("launched");
    let mut dice = Dice::new(u64::from(asks));
    for i in 0..asks {
        // Another number of spins each time, so that sends fall on every moment of a worker's way to sleep.
        for _ in 0..dice.roll(300) {
            std::hint::spin_loop();
        }
        if i % 64 == 0 {
            std::thread::sleep(Duration::from_micros(dice.roll(300)));
        }
        match i % 3 {
            0 => drop(block_on(a.ask(Add { n: 1 }).into_future()).expect("answered")),
            1 => drop(a.ask(Add { n: 1 }).wait().expect("answered")),
            _ => drop(block_on(poker.ask(Forward { to: a.address(), n: 1, within_ns: 0 }).into_future()).expect("answered")),
        }
    }
    assert_eq!(a.ask(Get).wait(), Ok(u64::from(asks)));
    block_on(runtime.shutdown()).expect("clean");
}

/// Fewer where nobody sleeps: the simulator has no threads, and threads in place of blocks spin, three of them on two cores.
fn asks(on: &Backend, full: u32) -> u32 {
    if on.to_string() == "cuda" {
        full / 20
    } else if has_threads(on) {
        full
    } else {
        300
    }
}

fn no_wake_up_is_lost_with_workers_that_sleep_at_once(on: &Backend) {
    no_wake_up_is_lost(on, IdlePolicy::Park, asks(on, 30_000));
}
fn no_wake_up_is_lost_with_workers_that_spin_for_a_moment(on: &Backend) {
    no_wake_up_is_lost(on, IdlePolicy::Adaptive { spin: Duration::from_micros(5) }, asks(on, 40_000));
}
fn no_wake_up_is_lost_with_workers_that_spin(on: &Backend) {
    no_wake_up_is_lost(on, IdlePolicy::Spin, asks(on, 30_000));
}

fn a_future_that_waits_hears_of_the_end(on: &Backend) {
    let runtime = runtime(on);
    let actor = counter(&runtime);
    let (gate, _) = tally();
    let slow = actor.ask(Wait { gate, n: 1 }).send().expect("accepted");
    let behind = actor.ask(Add { n: 1 }).send().expect("accepted");
    let both = std::thread::spawn(move || block_on(futures::future::join(slow, behind)));
    std::thread::sleep(Duration::from_millis(5));
    drop(runtime);
    let (slow, behind) = both.join().expect("no panic");
    // Where no thread runs the workers, the first may not have begun.
    assert!(matches!(slow, Err(AskError::Interrupted { .. } | AskError::NotHandled { .. })), "{slow:?}");
    assert!(matches!(behind, Err(AskError::NotHandled { message: Add { n: 1 }, .. })), "{behind:?}");
}

fn a_future_ends_by_its_deadline_although_nothing_wakes_it(on: &Backend) {
    let runtime = runtime(on);
    let actor = counter(&runtime);
    let (gate, tally) = tally();
    let answer = block_on(actor.ask(Wait { gate, n: 1 }).within(Duration::from_millis(30)).into_future());
    assert!(matches!(answer, Err(AskError::Deadline { .. } | AskError::NotHandled { .. })), "{answer:?}");
    tally.open();
    assert!(matches!(Poll::Ready(block_on(actor.ask(Get).into_future())), Poll::Ready(Ok(_))));
    block_on(runtime.shutdown()).expect("clean");
}

on_every_backend! {
    asks_can_be_awaited_on_every_executor
    launch_and_shutdown_can_be_awaited_on_every_executor
    futures_that_are_dropped_leak_no_cell
    an_ask_loses_against_a_timeout_without_harm
    a_future_goes_on_where_it_was_polled_last
    no_wake_up_is_lost_with_workers_that_sleep_at_once
    no_wake_up_is_lost_with_workers_that_spin_for_a_moment
    no_wake_up_is_lost_with_workers_that_spin
    a_future_that_waits_hears_of_the_end
    a_future_ends_by_its_deadline_although_nothing_wakes_it
}
