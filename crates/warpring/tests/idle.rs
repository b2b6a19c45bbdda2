//! A runtime with nothing to do leaves the machine alone.

#![cfg(target_os = "linux")]

mod support;

use std::time::Duration;

use support::*;
use warpring::block_on;
use warpring::prelude::*;

/// Processor time of this process, all threads.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn an_idle_runtime_uses_less_than_a_hundredth_of_a_core() {
    for workers in [1, 2] {
        let runtime = builder(&Backend::Cpu).workers(workers).build().expect("built");
        let actor = block_on(runtime.launch(Counter::new(0), LaunchOptions::default())).expect("launched");
        // An awaited ask starts the thread that watches deadlines.
        block_on(async { actor.ask(Add { n: 1 }).await }).expect("answered");
        std::thread::sleep(Duration::from_secs(1));
        let before = processor_time();
        std::thread::sleep(Duration::from_secs(1));
        let used = processor_time() - before;
        println!("{workers} idle workers used {used:?} of a second");
        assert!(used < Duration::from_millis(10), "{workers} idle workers used {used:?} of a second");
        // And they still answer.
        assert_eq!(actor.ask(Add { n: 1 }).wait(), Ok(2));
        block_on(runtime.shutdown()).expect("clean");
    }
}

#[test]
fn a_worker_that_waits_for_a_timer_sleeps_until_then() {
    let runtime = builder(&Backend::Cpu).workers(1).build().expect("built");
    let actor = block_on(runtime.launch(Counter::new(0), LaunchOptions::default())).expect("launched");
    let nap = actor.ask(Nap { ns: 1_500_000_000, n: 1 }).send().expect("accepted");
    std::thread::sleep(Duration::from_millis(300));
    let before = processor_time();
    std::thread::sleep(Duration::from_secs(1));
    let used = processor_time() - before;
    assert_eq!(nap.wait(), Ok(1));
    block_on(runtime.shutdown()).expect("clean");
    println!("a suspended handler used {used:?} of a second");
    // The other test of this file may run beside it, and is as quiet.
    assert!(used < Duration::from_millis(20), "a suspended handler used {used:?} of a second");
}
