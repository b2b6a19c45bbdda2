//! What only a grid does: it hibernates and wakes, its launches end and go on, it posts its dead letters. On the simulator.
#![cfg(feature = "sim")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use support::*;
use warpring::prelude::*;
use warpring::{SimOptions, block_on};

fn grid(options: SimOptions) -> Runtime {
    builder(&Backend::Sim(options)).build().expect("built")
}

fn counter(runtime: &Runtime, worker: u32) -> ActorRef<Counter> {
    block_on(runtime.launch(Counter::new(tally().0), LaunchOptions::default().on_worker(worker))).expect("launched")
}

fn sleepy() -> SimOptions {
    SimOptions::default().hibernate_after(Duration::from_micros(50))
}

#[test]
fn a_grid_hibernates_while_its_handlers_sleep_and_wakes_when_the_first_is_due() {
    for seed in 0..20 {
        let runtime = grid(sleepy().seed(seed));
        let (one, two) = (counter(&runtime, 0), counter(&runtime, 1));
        let long = one.ask(Nap { ns: 60_000_000_000, n: 1 }).within(Duration::from_secs(100)).send().expect("accepted");
        let mut short = Vec::new();
        for round in 1..=5 {
            assert_eq!(two.ask(Nap { ns: 1_000_000_000, n: 10 }).wait(), Ok(10 * round));
            short.push(runtime.launches().hibernations);
        }
        assert!(short.windows(2).all(|pair| pair[0] < pair[1]), "one hibernation for each sleep: {short:?}");
        assert_eq!(long.wait(), Ok(1));
        assert!(runtime.launches().hibernations > short[4]);
        block_on(runtime.shutdown()).expect("clean");
    }
}

#[test]
fn a_message_wakes_a_grid_that_hibernates_and_its_state_is_there() {
    for seed in 0..20 {
        let runtime = grid(sleepy().seed(seed));
        let (one, two) = (counter(&runtime, 0), counter(&runtime, 1));
        let mut port = runtime.port(4).expect("a port");
        assert_eq!(one.ask(Add { n: 5 }).wait(), Ok(5));
        for round in 1..=4 {
            let mut nap = pin!(two.ask(Nap { ns: 1_000_000_000, n: 1 }).within(Duration::from_secs(9)).send().expect("accepted"));
            for turn in 0.. {
                assert!(turn < 1000, "it never sleeps");
                assert!(nap.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                if runtime.launches().asleep {
                    break;
                }
            }
            let before = runtime.launches();
            // From a port, from a thread, and from the runtime itself.
            if round % 2 == 0 {
                let ticket = port.try_ask(one.address(), Add { n: 1 }).expect("accepted");
                assert_eq!(port.wait(ticket), Ok(5 + round));
            } else {
                assert_eq!(one.ask(Add { n: 1 }).wait(), Ok(5 + round));
            }
            assert!(runtime.launches().count > before.count);
            assert_eq!(block_on(nap), Ok(round));
        }
        drop(port);
        block_on(runtime.shutdown()).expect("clean");
    }
}

#[test]
fn launches_that_end_go_on_with_the_next_one() {
    let by_time = SimOptions::default().residency(Duration::from_micros(100));
    let by_count = SimOptions::default().messages_per_launch(10);
    for options in [by_time, by_count] {
        for seed in 0..10 {
            let runtime = grid(options.clone().seed(seed));
            let actors: Vec<_> = (0..4).map(|i| counter(&runtime, i % 2)).collect();
            let mut port = runtime.port(64).expect("a port");
            for round in 1..=100 {
                let tickets: Vec<_> =
                    actors.iter().map(|actor| port.send(actor.address(), Add { n: 1 }).expect("accepted")).collect();
                for ticket in tickets {
                    assert_eq!(port.wait(ticket), Ok(round));
                }
            }
            assert!(runtime.launches().count > 3, "{:?}", runtime.launches());
            assert_eq!(runtime.launches().hibernations, 0);
            drop(port);
            block_on(runtime.shutdown()).expect("clean");
        }
    }
}

#[test]
fn a_grid_that_hibernates_can_be_shut_down() {
    let runtime = grid(sleepy());
    let one = counter(&runtime, 0);
    let mut nap = pin!(one.ask(Nap { ns: 1_000_000, n: 1 }).send().expect("accepted"));
    while !runtime.launches().asleep {
        assert!(nap.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    block_on(runtime.shutdown()).expect("clean");
    assert_eq!(block_on(nap), Ok(1));
}

#[test]
fn more_dead_letters_than_their_ring_holds_all_arrive() {
    let runtime = grid(SimOptions::default());
    let actor = counter(&runtime, 1);
    let (gate, _) = tally();
    let other = block_on(runtime.launch(Counter::new(gate), LaunchOptions::default().on_worker(1))).expect("launched");
    assert!(matches!(other.ask(Crash { pause_ns: 0 }).wait(), Err(AskError::Panicked { .. })));
    let mut port = runtime.port(1).expect("a port");
    for _ in 0..5000 {
        port.tell(other.address(), Add { n: 1 }).expect("accepted");
    }
    // Behind them in the same ring.
    let ticket = port.send(actor.address(), Add { n: 1 }).expect("accepted");
    assert_eq!(port.wait(ticket), Ok(1));
    drop(port);
    let dead = runtime.dead_letters();
    assert!(dead.iter().all(|letter| letter.to == other.id() && letter.reason == KernelError::Stopped));
    assert_eq!(block_on(runtime.stats()).expect("it runs").dead_letters, 5000);
    block_on(runtime.shutdown()).expect("clean");
}

#[test]
fn letters_that_wait_for_room_in_their_ring_keep_their_message() {
    let runtime = grid(SimOptions::default());
    let actor = counter(&runtime, 1);
    let mut port = runtime.port(1).expect("a port");
    // It has no such handler, which is known only when the message is begun.
    for n in 0..1000 {
        port.tell(Address::<Echo>::new(actor.id()), Big::<11>::from(n)).expect("accepted");
    }
    let ticket = port.send(actor.address(), Add { n: 1 }).expect("accepted");
    assert_eq!(port.wait(ticket), Ok(1));
    drop(port);
    let mut found: Vec<u64> = Vec::new();
    while found.len() < 1000 {
        block_on(runtime.stats()).expect("it runs");
        found = runtime.dead_letters().iter().map(|letter| letter.message::<Big<11>>().expect("whole").words[0]).collect();
    }
    found.sort_unstable();
    assert_eq!(found, (0..1000).collect::<Vec<_>>());
    block_on(runtime.shutdown()).expect("clean");
}
