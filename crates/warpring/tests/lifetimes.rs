//! Runtimes, ports, groups and threads come and go, and take with them what they brought.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use support::*;
use warpring::prelude::*;
use warpring::{BuildError, LaunchError, PortError, Refusal, ShutdownError, block_on};

/// Counts the bytes that are allocated.
struct Counting;
static BYTES: AtomicI64 = AtomicI64::new(0);
// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(at, layout) }
    }
}
#[global_allocator]
static COUNTING: Counting = Counting;

/// These tests count what belongs to the whole process: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|e| e.into_inner())
}

fn counter(runtime: &Runtime) -> ActorRef<Counter> {
    block_on(runtime.launch(Counter::new(tally().0), LaunchOptions::default())).expect("launched")
}

#[cfg(target_os = "linux")]
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("proc").count()
}

/// Bytes of this process in memory.
#[cfg(target_os = "linux")]
fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("proc");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<i64>().ok()).expect("a number") * 4096
}

fn runtimes_come_and_go_without_a_trace(on: &Backend) {
    let _alone = alone();
    let life = |round: u32| {
        let runtime = runtime(on);
        let actor = counter(&runtime);
        let mut port = runtime.port(4).expect("a port");
        assert_eq!(port.ask(actor.address(), Add { n: 1 }), Ok(1));
        assert_eq!(block_on(async { actor.ask(Add { n: 1 }).await }), Ok(2));
        assert!(actor.ask(Crash { pause_ns: 0 }).wait().is_err());
        drop(actor.ask(Add { n: 1 }).send());
        match round % 3 {
            0 => drop(runtime),
            1 => drop(block_on(runtime.shutdown())),
            // The port and the handle outlive it.
            _ => {
                drop(runtime);
                assert!(port.ask(actor.address(), Add { n: 1 }).is_err());
            }
        }
    };
    (0..6).for_each(life);
    #[cfg(target_os = "linux")]
    let before = threads();
    let bytes = BYTES.load(Ordering::SeqCst);
    let rounds = if has_threads(on) { 60 } else { 10 };
    (0..rounds).for_each(life);
    // Threads that end give their memory back a moment later.
    // The simulator lets panics be printed, which the test harness keeps.
    let kept = if has_threads(on) { 4096 } else { 1 << 18 };
    eventually("all memory is given back", || BYTES.load(Ordering::SeqCst) < bytes + kept);
    #[cfg(target_os = "linux")]
    eventually("all threads have ended", || threads() <= before);
}

fn a_runtime_dropped_with_asks_outstanding_ends_each_in_an_error(on: &Backend) {
    let _alone = alone();
    for round in 0..20 {
        let runtime = runtime(on);
        let (gate, tally) = tally();
        let actor = counter(&runtime);
        let mut port = runtime.port(16).expect("a port");
        let held = actor.ask(Wait { gate, n: 1 }).send().expect("accepted");
        eventually("it waits", || {
            let _ = block_on(runtime.stats());
            tally.arrived() == 1
        });
        let sent: Vec<_> = (0..10).map(|n| actor.ask(Add { n }).send().expect("accepted")).collect();
        let tickets: Vec<_> = (0..10).map(|n| port.try_ask(actor.address(), Add { n }).expect("accepted")).collect();
        // A blocked thread hears of it too, not only futures.
        let blocked = {
            let actor = actor.clone();
            std::thread::spawn(move || {
                if round % 2 == 0 { actor.ask(Add { n: 99 }).wait() } else { block_on(async { actor.ask(Add { n: 99 }).await }) }
            })
        };
        std::thread::sleep(Duration::from_micros(200 * round));
        drop(runtime);
        assert_eq!(held.wait(), Err(AskError::Interrupted { actor: actor.id() }));
        let returned = |n| Err(AskError::NotHandled { reason: Refusal::RuntimeStopped, message: Add { n } });
        for (n, reply) in sent.into_iter().enumerate() {
            assert_eq!(reply.wait(), returned(n as u64));
        }
        for (n, ticket) in tickets.into_iter().enumerate() {
            assert_eq!(port.wait(ticket), returned(n as u64));
        }
        assert_eq!(blocked.join().expect("no panic"), returned(99));
    }
}

fn a_runtime_whose_cells_are_all_in_use_stops_all_the_same(on: &Backend) {
    let _alone = alone();
    for by_drop in [true, false] {
        let runtime = builder(on).outstanding_asks(3).drain_limit(Duration::from_millis(20)).build().expect("built");
        let (gate, _) = tally();
        let actor = counter(&runtime);
        let held: Vec<_> = (0..3).map(|n| actor.ask(Wait { gate, n }).send().expect("accepted")).collect();
        if by_drop {
            drop(runtime);
        } else {
            let ended = block_on(runtime.shutdown());
            assert!(matches!(ended, Err(ShutdownError::NotDrained { .. })), "{ended:?}");
        }
        assert!(held.into_iter().all(|reply| reply.wait().is_err()));
    }
}

fn an_initialize_that_does_not_end_is_given_up_by_shutdown(on: &Backend) {
    let _alone = alone();
    if !has_threads(on) {
        return;
    }
    let runtime = builder(on).workers(1).drain_limit(Duration::from_millis(20)).build().expect("built");
    let (number, tally) = tally();
    let other = counter(&runtime);
    {
        // Polled once, so that the launch is on its way, and then given up.
        let kernel = Counter { initialize_ns: 3600 * 1_000_000_000, ..Counter::new(number) };
        let mut launch = std::pin::pin!(runtime.launch(kernel, LaunchOptions::default()));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(launch.as_mut().poll(&mut cx).is_pending());
    }
    // Others are served meanwhile, and the worker says what it does.
    assert_eq!(other.ask(Add { n: 1 }).wait(), Ok(1));
    let stats = block_on(runtime.stats()).expect("stats");
    assert_eq!(stats.workers[0].frames, 1);
    let ended = block_on(runtime.shutdown());
    assert!(matches!(ended, Err(ShutdownError::NotDrained { handlers: 1, .. })), "{ended:?}");
    assert_eq!(tally.initialized.load(Ordering::SeqCst), 0);
    assert_eq!(tally.shut.load(Ordering::SeqCst), 0);
}

fn shutdown_under_load_gives_every_thread_a_typed_end(on: &Backend) {
    let _alone = alone();
    if !has_threads(on) {
        return;
    }
    for round in 0..20u64 {
        let runtime = builder(on).workers(1 + round as u32 % 2).build().expect("built");
        let actors: Vec<_> = (0..4).map(|_| counter(&runtime)).collect();
        std::thread::scope(|scope| {
            for (thread, actor) in actors.iter().enumerate() {
                let port = runtime.port(4).expect("a port");
                scope.spawn(move || {
                    let mut port = port;
                    loop {
                        let answer = match thread {
                            0 => actor.ask(Add { n: 1 }).wait(),
                            1 => block_on(async { actor.ask(Add { n: 1 }).await }),
                            2 => port.ask(actor.address(), Add { n: 1 }),
                            _ => match actor.tell(Add { n: 1 }).wait() {
                                Ok(()) => Ok(0),
                                Err(error) => Err(AskError::NotHandled { reason: error.reason, message: error.message }),
                            },
                        };
                        match answer {
                            Ok(_) => {}
                            // A flood of tells.
                            Err(AskError::NotHandled { reason: Refusal::MailboxFull { .. }, .. }) => {}
                            Err(AskError::NotHandled { reason: Refusal::RuntimeStopped, message }) => {
                                assert_eq!(message, Add { n: 1 });
                                return;
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(2 + round % 5));
            match round % 2 {
                0 => assert_eq!(block_on(runtime.shutdown()), Ok(())),
                _ => drop(runtime),
            }
        });
    }
}

fn what_a_port_has_sent_is_handled_before_the_end(on: &Backend) {
    let _alone = alone();
    for round in 0..60 {
        let runtime = runtime(on);
        let (number, tally) = tally();
        let roomy = LaunchOptions::default().mailbox(2000);
        let actor = block_on(runtime.launch(Counter::new(number), roomy)).expect("launched");
        let mut port = runtime.port(1).expect("a port");
        for _ in 0..500 {
            port.tell(actor.address(), Add { n: 1 }).expect("accepted");
        }
        if round % 2 == 0 {
            drop(port);
        }
        assert_eq!(block_on(runtime.shutdown()), Ok(()));
        assert_eq!(tally.handled(), 500);
    }
}

fn what_a_port_sends_behind_the_end_is_a_dead_letter(on: &Backend) {
    let _alone = alone();
    if !has_threads(on) {
        return;
    }
    // The moment between a port's look at the runtime and its store cannot be forced: whenever it is hit, the sum holds.
    for _ in 0..100 {
        let dead = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dead);
        let runtime = builder(on)
            .on_dead_letter(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            })
            .build()
            .expect("built");
        let (number, tally) = tally();
        let actor = block_on(runtime.launch(Counter::new(number), LaunchOptions::default())).expect("launched");
        let mut port = runtime.port(1).expect("a port");
        let told = std::thread::scope(|scope| {
            let sender = scope.spawn(move || {
                let mut told = 0;
                loop {
                    match port.try_tell(actor.address(), Add { n: 1 }) {
                        Ok(()) => told += 1,
                        Err(error) if error.reason == Refusal::RuntimeStopped => return told,
                        Err(_) => {}
                    }
                }
            });
            std::thread::sleep(Duration::from_micros(300));
            drop(runtime);
            sender.join().expect("no panic")
        });
        assert_eq!(tally.handled() + dead.load(Ordering::SeqCst), told);
    }
}

fn a_port_with_outstanding_tickets_can_be_dropped_and_opened_again(on: &Backend) {
    let _alone = alone();
    // Room for one port's window and one ask.
    let runtime = builder(on).outstanding_asks(5).build().expect("built");
    let actor = counter(&runtime);
    for round in 0..50 {
        let (gate, tally) = support_gate(round);
        let mut port = loop {
            match runtime.port(4) {
                Ok(port) => break port,
                // The replies to the tickets of the port before have not all come.
                Err(PortError::Window { wanted: 4, .. }) => drop(block_on(runtime.stats())),
                Err(other) => panic!("{other}"),
            }
        };
        assert!(port.try_ask(actor.address(), Wait { gate, n: 1 }).is_ok());
        assert!(port.try_ask(actor.address(), Add { n: 1 }).is_ok());
        drop(port);
        tally.open();
        // There is no order between a port and a handle.
        eventually("what the port sent is handled", || actor.ask(Get).wait() == Ok(2 * (round + 1)));
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn support_gate(round: u64) -> (u32, &'static Tally) {
    let number = 3900 + round as u32;
    (number, at(number))
}

fn there_are_as_many_ports_as_stated(on: &Backend) {
    let _alone = alone();
    let runtime = runtime(on);
    let actor = counter(&runtime);
    // Those of a grid are in pinned memory.
    let limit = if is_grid(on) { 8 } else { 32 };
    let mut ports: Vec<_> = (0..limit).map(|_| runtime.port(2).expect("a port")).collect();
    assert_eq!(runtime.port(2).err(), Some(PortError::NoneFree { limit }));
    for port in &mut ports {
        port.ask(actor.address(), Add { n: 1 }).expect("answered");
    }
    ports.truncate(limit - 1);
    let mut again = runtime.port(2).expect("one is free again");
    assert_eq!(again.ask(actor.address(), Add { n: 1 }), Ok(limit as u64 + 1));
    assert_eq!(runtime.port(0).err(), Some(PortError::Window { wanted: 0, free: 4096 }));
    drop((ports, again));
    assert_eq!(runtime.port(4097).err(), Some(PortError::Window { wanted: 4097, free: 4096 }));
    let largest = runtime.port(4096).expect("all cells");
    assert_eq!(
        actor.ask(Get).send().err(),
        Some(AskError::NotHandled { reason: Refusal::TooManyAsks { limit: 4096 }, message: Get })
    );
    drop(largest);
    assert_eq!(actor.ask(Get).wait(), Ok(limit as u64 + 1));
    block_on(runtime.shutdown()).expect("clean");
}

fn a_ticket_of_another_port_is_refused(on: &Backend) {
    let _alone = alone();
    let runtime = runtime(on);
    let actor = counter(&runtime);
    let (mut one, mut two) = (runtime.port(1).expect("a port"), runtime.port(1).expect("a port"));
    let ticket = one.try_ask(actor.address(), Add { n: 1 }).expect("accepted");
    let mixed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| two.wait(ticket)));
    assert!(mixed.is_err());
    assert_eq!(two.ask(actor.address(), Add { n: 1 }), Ok(2));
    block_on(runtime.shutdown()).expect("clean");
}

fn a_runtime_outlives_a_port_and_a_port_outlives_a_runtime(on: &Backend) {
    let _alone = alone();
    let first = runtime(on);
    let mut port = first.port(3).expect("a port");
    drop(first);
    assert_eq!(port.try_tell(Address::<Counter>::default(), Add { n: 1 }).map_err(|e| e.reason), Err(Refusal::RuntimeStopped));
    drop(port);
    let second = runtime(on);
    assert!(second.port(3).is_ok());
}

/// The design point: at most 256 bytes beside the state, mailbox included.
fn a_million_actors_take_little_besides_their_state(on: &Backend) {
    let _alone = alone();
    if !has_threads(on) {
        return;
    }
    let count = 1_000_000u32;
    let runtime = builder(on).max_actors(count).build().expect("built");
    #[cfg(target_os = "linux")]
    let before = resident();
    let start = Instant::now();
    let group = block_on(runtime.launch_many(count, LaunchOptions::default(), |_| Cell::default())).expect("launched");
    let launched = start.elapsed();
    let start = Instant::now();
    for index in 0..count {
        group.get(index).expect("in range").tell(Add { n: 1 }).wait().expect("accepted");
    }
    assert_eq!(group.get(0).expect("in range").ask(Add { n: 1 }).wait(), Ok(2));
    assert_eq!(group.get(count - 1).expect("in range").ask(Add { n: 1 }).wait(), Ok(2));
    let told = start.elapsed();
    let stats = block_on(runtime.stats()).expect("stats");
    assert_eq!((stats.actors, stats.handled()), (u64::from(count), u64::from(count) + 2));
    assert!(stats.state_bytes >= 8 * u64::from(count));
    #[cfg(target_os = "linux")]
    {
        let bytes = (resident() - before) / i64::from(count);
        println!("{count} actors launched in {launched:?}, each told once in {told:?}: {bytes} bytes each, 8 of them state");
        assert!(bytes - 8 <= 256, "{bytes} bytes for each actor");
    }
    #[cfg(not(target_os = "linux"))]
    println!("{count} actors launched in {launched:?}, each told once in {told:?}");
    block_on(runtime.shutdown()).expect("clean");
}

#[cfg(target_os = "linux")]
fn a_built_runtime_touches_little_memory(on: &Backend) {
    let _alone = alone();
    if !has_threads(on) {
        // A simulated warp has 32 lanes for each handler that may be suspended.
        return;
    }
    let before = resident();
    let runtime = Runtime::builder().module(&MODULE).backend(on.clone()).workers(2).pin(false).build().expect("built");
    let actor = counter(&runtime);
    assert_eq!(actor.ask(Add { n: 1 }).wait(), Ok(1));
    let touched = resident() - before;
    println!("a runtime with default limits takes {} KiB of memory", touched / 1024);
    // Its tables are hundreds of megabytes of addresses.
    assert!(touched < 32 << 20, "{touched} bytes");
    block_on(runtime.shutdown()).expect("clean");
}
#[cfg(not(target_os = "linux"))]
fn a_built_runtime_touches_little_memory(_: &Backend) {}

fn a_setting_out_of_range_is_named_with_what_it_takes(on: &Backend) {
    let _alone = alone();
    let bad =
        |name: &str, given: u64, set: fn(warpring::RuntimeBuilder) -> warpring::RuntimeBuilder| match set(builder(on)).build() {
            Err(BuildError::Setting { name: named, given: was, allowed }) => {
                assert_eq!((named, was), (name, given));
                assert!(!allowed.is_empty());
                let text = BuildError::Setting { name: named, given: was, allowed }.to_string();
                assert!(text.contains(name) && text.contains(&given.to_string()), "{text}");
            }
            other => panic!("{name} {given}: {:?}", other.err()),
        };
    bad("workers", 0, |b| b.workers(0));
    if !is_grid(on) {
        bad("workers", 257, |b| b.workers(257));
    }
    bad("max_actors", 0, |b| b.max_actors(0));
    bad("max_actors", 1 << 29, |b| b.max_actors(1 << 29));
    bad("ring_lines", 0, |b| b.ring_lines(0));
    bad("ring_lines", 8, |b| b.ring_lines(8));
    bad("ring_lines", 100, |b| b.ring_lines(100));
    bad("ring_lines", 1 << 21, |b| b.ring_lines(1 << 21));
    bad("waiting_messages", 0, |b| b.waiting_messages(0));
    bad("waiting_messages", 1 << 25, |b| b.waiting_messages(1 << 25));
    bad("suspended_handlers", 0, |b| b.suspended_handlers(0));
    bad("suspended_handlers", 65_536, |b| b.suspended_handlers(65_536));
    bad("outstanding_asks", 0, |b| b.outstanding_asks(0));
    bad("outstanding_asks", 1 << 21, |b| b.outstanding_asks(1 << 21));
    assert_eq!(Runtime::builder().backend(on.clone()).build().err(), Some(BuildError::NoModule));
    // The least of everything works.
    let least = builder(on).workers(1).max_actors(1).ring_lines(16).waiting_messages(1).suspended_handlers(1).outstanding_asks(1);
    let runtime = least.build().expect("the least of everything");
    let actor = counter(&runtime);
    assert_eq!(actor.ask(Add { n: 1 }).wait(), Ok(1));
    assert_eq!(actor.ask(()).wait().map(|order| order.count), Ok(0));
    block_on(runtime.shutdown()).expect("clean");
}

fn every_launch_error_is_reported(on: &Backend) {
    let _alone = alone();
    let runtime = builder(on).max_actors(10).build().expect("built");
    let launch = |kernel, options| block_on(runtime.launch(kernel, options)).err();
    let options = LaunchOptions::default;
    let fine = || Counter::new(0);
    assert_eq!(launch(Counter { invalid: true, ..fine() }, options()), Some(LaunchError::Invalid(KernelError::rejected(41))));
    assert_eq!(launch(fine(), options().on_worker(2)), Some(LaunchError::NoSuchWorker { worker: 2, workers: 2 }));
    assert!(matches!(launch(fine(), options().mailbox(0)), Some(LaunchError::Option { name: "mailbox", .. })));
    assert_eq!(
        launch(Counter { initialize_ns: 1, ..fine() }, options()),
        Some(LaunchError::Initialize(KernelError::rejected(17)))
    );
    let wrong = block_on(runtime.launch(other::Stranger::default(), options())).err();
    assert!(matches!(wrong, Some(LaunchError::WrongModule { kernel, runtime }) if kernel != runtime), "{wrong:?}");
    let gpu = block_on(runtime.launch(GpuOnly::default(), options())).err();
    let refusal = LaunchError::NeedsGpu { kernel: "test/gpu", backend: runtime.backend() };
    assert_eq!(gpu, (!is_grid(on)).then_some(refusal));
    let many = |count, options| block_on(runtime.launch_many(count, options, |_| fine())).err();
    assert!(matches!(many(1, options().on_worker(0)), Some(LaunchError::Option { name: "worker", .. })));
    for count in [11, 1000, u32::MAX] {
        assert!(matches!(many(count, options()), Some(LaunchError::TooManyActors { limit: 10, .. })));
    }
    assert_eq!(many(0, options()), None);
    assert_eq!(many(7, options()), None);
    assert!(matches!(many(7, options()), Some(LaunchError::TooManyActors { limit: 10, .. })));
    let text = many(7, options()).expect("full").to_string();
    assert!(text.contains("max_actors"), "{text}");
    block_on(runtime.shutdown()).expect("clean");
}

fn a_launch_that_is_not_valid_costs_no_slots(on: &Backend) {
    let _alone = alone();
    let runtime = builder(on).max_actors(10).build().expect("built");
    for _ in 0..20 {
        let invalid = |i| Counter { invalid: i == 9, ..Counter::new(0) };
        let failed = block_on(runtime.launch_many(10, LaunchOptions::default(), invalid));
        assert_eq!(failed.err(), Some(LaunchError::Invalid(KernelError::rejected(41))));
        let failed = block_on(runtime.launch(Counter { invalid: true, ..Counter::new(0) }, LaunchOptions::default()));
        assert!(failed.is_err());
    }
    let group = block_on(runtime.launch_many(10, LaunchOptions::default(), |_| Counter::new(0))).expect("all slots are free");
    assert_eq!(group.len(), 10);
    assert!(group.get(10).is_none());
    assert_eq!(block_on(runtime.stats()).expect("stats").actors, 10);
    block_on(runtime.shutdown()).expect("clean");
}

on_every_backend! {
    runtimes_come_and_go_without_a_trace
    a_runtime_dropped_with_asks_outstanding_ends_each_in_an_error
    a_runtime_whose_cells_are_all_in_use_stops_all_the_same
    an_initialize_that_does_not_end_is_given_up_by_shutdown
    shutdown_under_load_gives_every_thread_a_typed_end
    what_a_port_has_sent_is_handled_before_the_end
    what_a_port_sends_behind_the_end_is_a_dead_letter
    a_port_with_outstanding_tickets_can_be_dropped_and_opened_again
    there_are_as_many_ports_as_stated
    a_ticket_of_another_port_is_refused
    a_runtime_outlives_a_port_and_a_port_outlives_a_runtime
    a_million_actors_take_little_besides_their_state
    a_built_runtime_touches_little_memory
    a_setting_out_of_range_is_named_with_what_it_takes
    every_launch_error_is_reported
    a_launch_that_is_not_valid_costs_no_slots
}
