//! The host's side of the CUDA backend, over threads that stand for the blocks of a grid: races that only real threads make, and a
//! device that fails.
#![cfg(all(feature = "sim", feature = "cuda"))]

mod support;

use std::time::{Duration, Instant};

use support::*;
use warpring::prelude::*;
use warpring::{CudaError, CudaOptions, Refusal, ShutdownError, StateError, TellError, block_on};

fn grid(options: CudaOptions) -> Runtime {
    builder(&Backend::Cuda(options.on_threads())).build().expect("built")
}

fn counter(runtime: &Runtime, worker: u32) -> ActorRef<Counter> {
    block_on(runtime.launch(Counter::new(tally().0), LaunchOptions::default().on_worker(worker))).expect("launched")
}

#[test]
fn messages_that_come_while_the_grid_goes_to_sleep_are_handled() {
    let runtime = grid(CudaOptions::default().hibernate_after(Duration::from_micros(30)));
    let actors = [counter(&runtime, 0), counter(&runtime, 1)];
    std::thread::scope(|scope| {
        for (number, actor) in actors.iter().enumerate() {
            scope.spawn(move || {
                let mut dice = Dice::new(number as u64 + 1);
                for n in 1..=300 {
                    // From nothing to a few times what it takes to fall asleep, so that messages come at every point of it.
                    let pause = Instant::now();
                    while pause.elapsed() < Duration::from_micros(dice.roll(400)) {
                        std::thread::yield_now();
                    }
                    let answer =
                        if n % 2 == 0 { actor.ask(Add { n: 1 }).wait() } else { block_on(actor.ask(Add { n: 1 }).into_future()) };
                    assert_eq!(answer, Ok(n));
                }
            });
        }
    });
    let launches = runtime.launches();
    assert!(launches.hibernations > 10, "{launches:?}");
    block_on(runtime.shutdown()).expect("clean");
}

#[test]
fn launches_end_and_go_on_under_load() {
    let runtime = grid(CudaOptions::default().residency(Duration::from_millis(2)).messages_per_launch(500));
    let actors: Vec<_> = (0..4).map(|i| counter(&runtime, i % 2)).collect();
    let mut port = runtime.port(64).expect("a port");
    for round in 1..=2000 {
        let tickets: Vec<_> = actors.iter().map(|actor| port.send(actor.address(), Add { n: 1 }).expect("accepted")).collect();
        for ticket in tickets {
            assert_eq!(port.wait(ticket), Ok(round));
        }
    }
    assert!(runtime.launches().count > 5, "{:?}", runtime.launches());
    drop(port);
    block_on(runtime.shutdown()).expect("clean");
}

#[test]
fn a_device_that_fails_ends_every_ask_with_an_error_and_the_next_runtime_runs() {
    let failing = CudaOptions::default().on_threads_that_fail(Duration::from_millis(300));
    let runtime = builder(&Backend::Cuda(failing)).build().expect("built");
    let (one, two) = (counter(&runtime, 0), counter(&runtime, 1));
    assert_eq!(one.ask(Add { n: 1 }).wait(), Ok(1));
    let asks: Vec<_> = (0..10)
        .map(|i| if i % 2 == 0 { &one } else { &two })
        .map(|actor| actor.ask(Nap { ns: 60_000_000_000, n: 1 }).within(Duration::from_secs(100)).send().expect("accepted"))
        .collect();
    for (i, ask) in asks.into_iter().enumerate() {
        let end = if i % 3 == 0 { ask.wait() } else { block_on(ask) };
        assert!(matches!(&end, Err(AskError::BackendLost { message }) if message.contains("ILLEGAL_ADDRESS")), "{end:?}");
    }
    let refused = one.ask(Add { n: 1 }).wait();
    assert_eq!(refused, Err(AskError::NotHandled { reason: Refusal::BackendLost, message: Add { n: 1 } }));
    assert_eq!(one.tell(Add { n: 2 }).wait(), Err(TellError { reason: Refusal::BackendLost, message: Add { n: 2 } }));
    assert_eq!(block_on(runtime.read_state(&one)).expect_err("lost"), StateError::Stopped);
    let end = block_on(runtime.shutdown());
    assert!(matches!(&end, Err(ShutdownError::BackendLost { message }) if message.contains("ILLEGAL_ADDRESS")), "{end:?}");
    let again = grid(CudaOptions::default());
    assert_eq!(counter(&again, 1).ask(Add { n: 3 }).wait(), Ok(3));
    block_on(again.shutdown()).expect("clean");
}

#[test]
fn the_values_of_actors_are_copied_once_and_nothing_else_is() {
    let runtime = grid(CudaOptions::default().state_bytes(1 << 16));
    let group = block_on(runtime.launch_many(50, LaunchOptions::default(), |_| Counter::new(tally().0))).expect("launched");
    let launched = block_on(runtime.stats()).expect("stats");
    assert_eq!(launched.copied_bytes, 50 * size_of::<Counter>() as u64);
    assert_eq!(launched.state_bytes, launched.copied_bytes);
    for round in 1..=20 {
        for index in 0..50 {
            let actor = group.get(index).expect("it is there");
            assert_eq!(actor.ask(Add { n: 1 }).wait(), Ok(round));
        }
    }
    assert_eq!(block_on(runtime.stats()).expect("stats").copied_bytes, launched.copied_bytes);
    let too_many = block_on(runtime.launch_many(1000, LaunchOptions::default(), |_| Counter::new(0)));
    assert!(matches!(too_many, Err(warpring::LaunchError::StateFull { .. })), "{:?}", too_many.err());
    // Room for the half of one worker: it is given back, and nobody counts as launched.
    let half = (1 << 15) / size_of::<Counter>() as u32;
    let too_many = block_on(runtime.launch_many(2 * half, LaunchOptions::default(), |_| Counter::new(0)));
    assert!(matches!(too_many, Err(warpring::LaunchError::StateFull { .. })), "{:?}", too_many.err());
    let after = block_on(runtime.stats()).expect("stats");
    assert_eq!((after.state_bytes, after.actors), (launched.state_bytes, 50));
    block_on(runtime.shutdown()).expect("clean");
}

#[test]
fn without_a_driver_cuda_is_an_error_and_auto_is_the_cpu() {
    let devices = warpring::devices();
    if devices.as_ref().is_ok_and(|devices| !devices.is_empty()) {
        println!("skipped: this machine has a GPU");
        return;
    }
    let error = builder(&Backend::Cuda(CudaOptions::default())).ptx("//").build().expect_err("no GPU");
    assert!(
        matches!(error, warpring::BuildError::Cuda(CudaError::NoDriver | CudaError::NoDevice { .. } | CudaError::Driver { .. })),
        "{error}"
    );
    let runtime = builder(&Backend::Auto).ptx("//").build().expect("the CPU is always there");
    assert_eq!(runtime.backend(), "cpu");
    assert!(runtime.why_not_gpu().is_some());
    block_on(runtime.shutdown()).expect("clean");
    // A module without PTX says so before anybody looks for a driver.
    let error = builder(&Backend::Cuda(CudaOptions::default())).build().expect_err("no PTX");
    assert!(error.to_string().contains("warpring ptx"), "{error}");
}
