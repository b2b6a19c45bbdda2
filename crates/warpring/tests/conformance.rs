//! What a message, an actor and a runtime do, on every backend.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::*;
use warpring::prelude::*;
use warpring::{DeadLetter, LaunchError, Refusal, StateError, block_on};

fn launch<K: warpring::module::Exported>(runtime: &Runtime, kernel: K) -> ActorRef<K> {
    block_on(runtime.launch(kernel, LaunchOptions::default())).expect("launched")
}

fn launch_on<K: warpring::module::Exported>(runtime: &Runtime, worker: u32, kernel: K) -> ActorRef<K> {
    block_on(runtime.launch(kernel, LaunchOptions::default().on_worker(worker))).expect("launched")
}

fn counter(runtime: &Runtime) -> ActorRef<Counter> {
    launch(runtime, Counter::new(tally().0))
}

/// An actor whose handler waits at a gate, and the gate.
fn held(runtime: &Runtime, options: LaunchOptions) -> (ActorRef<Counter>, &'static Tally, impl Sized + use<>) {
    let (gate, tally) = tally();
    let actor = block_on(runtime.launch(Counter::new(gate), options)).expect("launched");
    let first = actor.ask(Wait { gate, n: 0 }).send().expect("accepted");
    let _ = actor.clone();
    // The first message is being handled when a second actor of the same worker has answered: one worker serves in turn.
    arrive(runtime, tally, 1);
    (actor, tally, first)
}

/// Waits until `count` handlers have come to a gate, also where workers only run while the host waits.
fn arrive(runtime: &Runtime, tally: &Tally, count: u64) {
    eventually("the handler waits at its gate", || {
        let _ = block_on(runtime.stats());
        tally.arrived() >= count
    });
}

fn initialize_runs_once_and_before_any_message_also_when_it_suspends(on: &Backend) {
    let runtime = runtime(on);
    for worker in [0, 1] {
        let poker = launch_on(&runtime, worker, Poker::default());
        for initialize_ns in [0, 3_000_000] {
            let (number, tally) = tally();
            let kernel = Counter { initialize_ns, poker: poker.address(), ..Counter::new(number) };
            let actor = launch_on(&runtime, 0, kernel);
            // `initialize` gave the address to the poker, which sends messages of three kinds from then on.
            eventually("the poker's messages", || {
                let _ = block_on(runtime.stats());
                tally.handled() == 3
            });
            assert_eq!(actor.ask(Add { n: 0 }).wait(), Ok(3));
            assert_eq!(tally.initialized.load(Ordering::SeqCst), 1);
            assert_eq!(tally.wrong(), 0);
        }
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn shutdown_runs_once_after_the_last_message_also_when_it_suspends(on: &Backend) {
    for shutdown_ns in [0, 2_000_000] {
        let runtime = runtime(on);
        let (number, tally) = tally();
        let actors: Vec<_> =
            (0..10).map(|i| launch_on(&runtime, i % 2, Counter { shutdown_ns, ..Counter::new(number) })).collect();
        let mut port = runtime.port(4).expect("a port");
        for round in 0..50 {
            for actor in &actors {
                actor.tell(Add { n: 1 }).wait().expect("accepted");
                port.tell(actor.address(), Add { n: 1 }).expect("accepted");
                if round % 10 == 0 {
                    actor.tell(Nap { ns: 100_000, n: 1 }).wait().expect("accepted");
                }
            }
        }
        block_on(runtime.shutdown()).expect("clean");
        assert_eq!(tally.handled(), 10 * 105);
        assert_eq!(tally.shut.load(Ordering::SeqCst), 10);
        assert_eq!(tally.initialized.load(Ordering::SeqCst), 10);
        assert_eq!(tally.wrong(), 0);
    }
}

fn a_runtime_that_is_dropped_runs_shutdown_too_and_refuses_what_waits(on: &Backend) {
    let dead = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&dead);
    let runtime = builder(on)
        .on_dead_letter(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .expect("built");
    let (actor, tally, first) = held(&runtime, LaunchOptions::default());
    let queued: Vec<_> = (0..20).map(|n| actor.ask(Add { n }).send().expect("accepted")).collect();
    for _ in 0..30 {
        actor.tell(Add { n: 1 }).wait().expect("accepted");
    }
    drop(runtime);
    for (n, reply) in queued.into_iter().enumerate() {
        assert_eq!(block_on(reply), Err(AskError::NotHandled { reason: Refusal::RuntimeStopped, message: Add { n: n as u64 } }));
    }
    drop(first);
    assert_eq!(dead.load(Ordering::SeqCst), 30);
    assert_eq!(tally.handled(), 0);
    assert_eq!(tally.shut.load(Ordering::SeqCst), 1);
    assert_eq!(tally.wrong(), 0);
}

fn states_are_read_and_written_between_two_messages(on: &Backend) {
    let runtime = runtime(on);
    for worker in [0, 1] {
        let actor = launch_on(&runtime, worker, Counter { total: Resident::new(40), ..Counter::new(tally().0) });
        assert_eq!(actor.ask(Add { n: 2 }).wait(), Ok(42));
        let seen = block_on(runtime.read_state(&actor)).expect("read");
        assert_eq!(seen.total.into_inner(), 42);
        block_on(runtime.write_state(&actor, Counter { total: Resident::new(7), ..Counter::new(tally().0) })).expect("written");
        assert_eq!(actor.ask(Get).wait(), Ok(7));
        // Not while a message is half handled.
        let nap = actor.ask(Nap { ns: 3_000_000, n: 1 }).send().expect("accepted");
        assert_eq!(block_on(runtime.read_state(&actor)).expect("read").total.into_inner(), 8);
        assert_eq!(nap.wait(), Ok(8));
    }
    let other = support::runtime(on);
    let stranger = counter(&other);
    assert_eq!(block_on(runtime.read_state(&stranger)).expect_err("of another runtime"), StateError::NoSuchActor(stranger.id()));
    block_on(other.shutdown()).expect("clean");
    block_on(runtime.shutdown()).expect("clean");
}

fn an_actor_takes_several_kinds_of_messages(on: &Backend) {
    let runtime = runtime(on);
    let actor = counter(&runtime);
    assert_eq!(actor.ask(Add { n: 5 }).wait(), Ok(5));
    assert_eq!(actor.ask(Nap { ns: 1000, n: 6 }).wait(), Ok(11));
    assert_eq!(block_on(async { actor.ask(Get).await }), Ok(11));
    assert_eq!(actor.ask(Get).send().expect("accepted").wait(), Ok(11));
    assert_eq!(actor.ask(Note { from: 0, seq: 1 }).wait(), Ok(()));
    assert_eq!(actor.ask(()).wait().map(|order| order.count), Ok(1));
    let mut port = runtime.port(2).expect("a port");
    assert_eq!(port.ask(actor.address(), Get), Ok(12));
    block_on(runtime.shutdown()).expect("clean");
}

fn the_error_of_a_handler_is_a_reply(on: &Backend) {
    let runtime = runtime(on);
    let actor = counter(&runtime);
    let mut port = runtime.port(2).expect("a port");
    for code in [0, 1, u32::MAX] {
        let expected = Err(AskError::Handler(KernelError::rejected(code)));
        assert_eq!(actor.ask(Fail { code }).wait(), expected);
        assert_eq!(block_on(actor.ask(Fail { code }).into_future()), expected);
        assert_eq!(port.ask(actor.address(), Fail { code }), expected);
    }
    assert_eq!(actor.ask(Add { n: 1 }).wait(), Ok(1));
    block_on(runtime.shutdown()).expect("clean");
}

fn a_stopped_runtime_gives_every_message_back(on: &Backend) {
    let runtime = runtime(on);
    let actor = counter(&runtime);
    let mut port = runtime.port(2).expect("a port");
    block_on(runtime.shutdown()).expect("clean");
    let message = Add { n: 77 };
    let refused = AskError::NotHandled { reason: Refusal::RuntimeStopped, message };
    assert_eq!(actor.ask(message).wait(), Err(refused.clone()));
    assert_eq!(block_on(actor.ask(message).into_future()), Err(refused.clone()));
    assert_eq!(actor.ask(message).send().err(), Some(refused.clone()));
    assert_eq!(refused.clone().into_message(), Some(message));
    assert_eq!(port.ask(actor.address(), message), Err(refused));
    let refused = warpring::TellError { reason: Refusal::RuntimeStopped, message };
    assert_eq!(actor.try_tell(message), Err(refused));
    assert_eq!(actor.tell(message).wait(), Err(refused));
    assert_eq!(block_on(actor.tell(message).into_future()), Err(refused));
    assert_eq!(port.try_tell(actor.address(), message), Err(refused));
    assert_eq!(port.tell(actor.address(), message), Err(refused));
    assert_eq!(port.try_ask(actor.address(), message).err(), Some(refused));
}

fn a_full_mailbox_gives_the_message_back_and_names_actor_and_capacity(on: &Backend) {
    let runtime = runtime(on);
    let (actor, tally, first) = held(&runtime, LaunchOptions::default().mailbox(3));
    let queued: Vec<_> = (0..3).map(|n| actor.ask(Add { n }).send().expect("accepted")).collect();
    let message = Add { n: 9 };
    let full = Err(AskError::NotHandled { reason: Refusal::MailboxFull { actor: actor.id(), capacity: 3 }, message });
    assert_eq!(actor.ask(message).wait(), full);
    assert_eq!(block_on(actor.ask(message).into_future()), full);
    let mut port = runtime.port(2).expect("a port");
    assert_eq!(port.ask(actor.address(), message), full);
    tally.open();
    drop(first);
    for reply in queued {
        reply.wait().expect("what was accepted is handled");
    }
    assert_eq!(actor.ask(Get).wait(), Ok(3));
    block_on(runtime.shutdown()).expect("clean");
}

fn a_message_that_the_actor_has_no_handler_for_comes_back(on: &Backend) {
    let letters = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&letters);
    let runtime = builder(on).on_dead_letter(move |letter| log.lock().unwrap().push(letter.clone())).build().expect("built");
    let poker = launch(&runtime, Poker::default());
    let wrong = Address::<Counter>::new(poker.id());
    let mut port = runtime.port(2).expect("a port");
    let message = Add { n: 4 };
    assert_eq!(port.ask(wrong, message), Err(AskError::NotHandled { reason: Refusal::NotUnderstood(poker.id()), message }));
    port.tell(wrong, message).expect("accepted");
    eventually("the dead letter", || {
        let _ = block_on(runtime.stats());
        !letters.lock().unwrap().is_empty()
    });
    assert_eq!(letters.lock().unwrap()[0].reason, KernelError::Malformed);
    let nobody = Address::<Counter>::new(ActorId { slot: 5000, generation: 1, worker: 1 });
    let nowhere = Address::<Counter>::new(ActorId { slot: 0, generation: 1, worker: 99 });
    for address in [nobody, nowhere, Address::default()] {
        let stopped = Err(AskError::NotHandled { reason: Refusal::ActorStopped(address.id()), message });
        assert_eq!(port.ask(address, message), stopped);
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn a_message_whose_deadline_passes_in_the_mailbox_comes_back(on: &Backend) {
    let runtime = runtime(on);
    let (actor, tally, first) = held(&runtime, LaunchOptions::default());
    let message = Add { n: 4 };
    let late = actor.ask(message).within(Duration::from_millis(1)).send().expect("accepted");
    let behind = actor.ask(Add { n: 1 }).send().expect("accepted");
    std::thread::sleep(Duration::from_millis(5));
    // Where time is simulated, it passes while the host waits.
    let _ = counter(&runtime).ask(Nap { ns: 5_000_000, n: 0 }).wait();
    tally.open();
    assert_eq!(behind.wait(), Ok(1));
    assert_eq!(late.wait(), Err(AskError::NotHandled { reason: Refusal::Expired, message }));
    drop(first);
    block_on(runtime.shutdown()).expect("clean");
}

fn a_limit_without_end_is_no_deadline_in_the_past(on: &Backend) {
    let runtime = runtime(on);
    let actor = counter(&runtime);
    for limit in [Duration::from_secs(3600 * 24 * 3), Duration::from_secs(3600 * 24 * 365), Duration::MAX] {
        assert_eq!(actor.ask(Add { n: 0 }).within(limit).wait(), Ok(0));
        assert_eq!(block_on(actor.ask(Add { n: 0 }).within(limit).into_future()), Ok(0));
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn a_full_ring_gives_the_message_back(on: &Backend) {
    if !has_threads(on) {
        return;
    }
    let runtime = builder(on).ring_lines(16).build().expect("built");
    let (gate, tally) = tally();
    let actor = launch(&runtime, Counter::new(gate));
    let mut port = runtime.port(64).expect("a port");
    let blocked = actor.ask(Block { gate }).send().expect("accepted");
    eventually("the worker is blocked", || tally.arrived() == 1);
    let worker = u32::from(actor.id().worker);
    let (mut by_handle, mut by_port) = (0, 0);
    let refused = loop {
        match actor.try_tell(Add { n: 1 }) {
            Ok(()) => by_handle += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, warpring::TellError { reason: Refusal::RingFull { worker }, message: Add { n: 1 } });
    assert_eq!(
        actor.ask(Add { n: 2 }).send().err(),
        Some(AskError::NotHandled { reason: Refusal::RingFull { worker }, message: Add { n: 2 } })
    );
    while port.try_tell(actor.address(), Add { n: 1 }).is_ok() {
        by_port += 1;
    }
    let refused = port.try_ask(actor.address(), Add { n: 3 }).err();
    assert_eq!(refused, Some(warpring::TellError { reason: Refusal::RingFull { worker }, message: Add { n: 3 } }));
    assert!((1..=16).contains(&by_handle) && (1..=16).contains(&by_port), "{by_handle} {by_port}");
    tally.open();
    blocked.wait().expect("it goes on");
    eventually("all that was accepted is handled", || tally.handled() == by_handle + by_port);
    block_on(runtime.shutdown()).expect("clean");
    assert_eq!(tally.handled(), by_handle + by_port);
}

fn a_full_window_gives_the_message_back(on: &Backend) {
    let runtime = runtime(on);
    let (actor, tally, first) = held(&runtime, LaunchOptions::default());
    let mut port = runtime.port(2).expect("a port");
    let one = port.try_ask(actor.address(), Add { n: 1 }).expect("accepted");
    let two = port.try_ask(actor.address(), Add { n: 1 }).expect("accepted");
    let refused = port.try_ask(actor.address(), Add { n: 3 }).err();
    assert_eq!(refused, Some(warpring::TellError { reason: Refusal::TooManyAsks { limit: 2 }, message: Add { n: 3 } }));
    let one = port.poll(one).expect_err("it is not answered yet");
    tally.open();
    assert_eq!(port.wait(two), Ok(2));
    assert_eq!(port.wait(one), Ok(1));
    assert_eq!(port.ask(actor.address(), Get), Ok(2));
    drop(first);
    block_on(runtime.shutdown()).expect("clean");
}

fn as_many_asks_as_the_builder_says_can_be_outstanding(on: &Backend) {
    let runtime = builder(on).outstanding_asks(5).build().expect("built");
    let (actor, tally, first) = held(&runtime, LaunchOptions::default());
    let queued: Vec<_> = (0..4).map(|n| actor.ask(Add { n }).send().expect("accepted")).collect();
    assert_eq!(
        actor.ask(Add { n: 8 }).send().err(),
        Some(AskError::NotHandled { reason: Refusal::TooManyAsks { limit: 5 }, message: Add { n: 8 } })
    );
    // The runtime's own questions have cells of their own.
    assert_eq!(block_on(runtime.stats()).expect("stats").actors, 1);
    tally.open();
    assert_eq!(queued.into_iter().map(|reply| reply.wait()).collect::<Vec<_>>(), [Ok(0), Ok(1), Ok(3), Ok(6)]);
    drop(first);
    block_on(runtime.shutdown()).expect("clean");
}

fn a_late_reply_disturbs_no_later_ask_and_leaks_no_cell(on: &Backend) {
    let runtime = builder(on).outstanding_asks(2).build().expect("built");
    let actor = counter(&runtime);
    let mut expected = 0;
    for round in 0..40u64 {
        let late = actor.ask(Nap { ns: 3_000_000, n: 1000 });
        let late = late.within(Duration::from_micros(200));
        let answer = match round % 2 {
            0 => late.wait(),
            _ => block_on(late.into_future()),
        };
        // The message was taken, or its deadline passed first.
        match answer {
            Err(AskError::Deadline { actor: which, waited }) => {
                assert_eq!(which, actor.id());
                assert!(waited >= Duration::from_micros(200));
            }
            Err(AskError::NotHandled { reason: Refusal::Expired, .. }) => {}
            // The host was not scheduled for as long as the handler slept.
            Ok(_) => {}
            other => panic!("{other:?}"),
        }
        // In order behind the late one: its own answer, whatever the cell that it came to.
        let seen = actor.ask(Add { n: 1 }).wait().expect("answered");
        assert!(seen == expected + 1 || seen == expected + 1001, "{seen} after {expected}");
        expected = seen;
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn a_panic_reaches_the_asker_with_its_place_and_stops_its_actor_alone(on: &Backend) {
    let runtime = runtime(on);
    let (number, tally) = tally();
    let neighbour = launch_on(&runtime, 0, Counter::new(number));
    for pause_ns in [0, 1_000_000] {
        let actor = launch_on(&runtime, 0, Counter::new(number));
        let crashed = actor.ask(Crash { pause_ns }).send().expect("accepted");
        let waits = actor.ask(Add { n: 1 }).send().expect("accepted");
        match crashed.wait() {
            Err(AskError::Panicked { actor: which, file, line, message }) => {
                assert_eq!(which, actor.id());
                assert!(file.ends_with("support/mod.rs"), "{file}");
                assert_eq!(line, CRASH_LINE);
                assert_eq!(message, format!("crashed as asked, after {pause_ns} ns"));
            }
            other => panic!("{other:?}"),
        }
        let refused = AskError::NotHandled { reason: Refusal::ActorStopped(actor.id()), message: Add { n: 1 } };
        assert_eq!(waits.wait(), Err(refused.clone()));
        assert_eq!(actor.ask(Add { n: 1 }).wait(), Err(refused));
        assert_eq!(neighbour.ask(Get).wait(), Ok(0));
    }
    let stats = block_on(runtime.stats()).expect("stats");
    assert_eq!(stats.workers.iter().map(|w| w.counters.panics).sum::<u64>(), 2);
    assert_eq!(neighbour.ask(Add { n: 3 }).wait(), Ok(3));
    block_on(runtime.shutdown()).expect("clean");
    assert_eq!(tally.handled(), 1);
    // The two that panicked are not shut down.
    assert_eq!(tally.shut.load(Ordering::SeqCst), 1);
}

fn an_initialize_that_fails_fails_the_launch_with_its_error(on: &Backend) {
    let runtime = runtime(on);
    let (number, tally) = tally();
    let launched = block_on(runtime.launch(Counter { initialize_ns: 1, ..Counter::new(number) }, LaunchOptions::default()));
    assert_eq!(launched.err(), Some(LaunchError::Initialize(KernelError::rejected(17))));
    let launched = block_on(runtime.launch(Counter { initialize_ns: 2, ..Counter::new(number) }, LaunchOptions::default()));
    assert!(matches!(launched, Err(LaunchError::Initialize(KernelError::Panicked { line: 1.. }))), "{launched:?}");
    let launched = block_on(runtime.launch_many(50, LaunchOptions::default(), |i| Counter {
        initialize_ns: if i == 33 { 1 } else { 0 },
        ..Counter::new(number)
    }));
    assert_eq!(launched.err(), Some(LaunchError::Initialize(KernelError::rejected(17))));
    assert_eq!(tally.initialized.load(Ordering::SeqCst), 49);
    assert_eq!(counter(&runtime).ask(Add { n: 1 }).wait(), Ok(1));
    block_on(runtime.shutdown()).expect("clean");
    assert_eq!(tally.shut.load(Ordering::SeqCst), 49);
}

fn messages_of_one_sender_arrive_in_order(on: &Backend) {
    let runtime = runtime(on);
    let (number, tally) = tally();
    let roomy = LaunchOptions::default().on_worker(0).mailbox(u16::MAX);
    let log = block_on(runtime.launch(Counter::new(number), roomy)).expect("launched");
    let near = launch_on(&runtime, 0, Poker::default());
    let far = launch_on(&runtime, 1, Poker::default());
    let count: u64 = if has_threads(on) { 3000 } else { 200 };
    let spread = |from| Spread { to: log.address(), from, count };
    let two = [near.ask(spread(0)).send().expect("accepted"), far.ask(spread(1)).send().expect("accepted")];
    std::thread::scope(|scope| {
        for from in 2..6 {
            let (log, runtime) = (&log, &runtime);
            let send = move || {
                if from % 2 == 0 {
                    for seq in 1..=count {
                        log.tell(Note { from, seq }).wait().expect("accepted");
                        if seq % 100 == 0 {
                            log.ask(Get).wait().expect("answered");
                        }
                    }
                } else {
                    let mut port = runtime.port(1).expect("a port");
                    for seq in 1..=count {
                        port.tell(log.address(), Note { from, seq }).expect("accepted");
                        if seq % 100 == 0 {
                            port.ask(log.address(), Get).expect("answered");
                        }
                    }
                }
            };
            if has_threads(on) {
                scope.spawn(send);
            } else {
                send();
            }
        }
    });
    for reply in two {
        assert_eq!(reply.wait(), Ok(count));
    }
    block_on(runtime.shutdown()).expect("clean");
    assert_eq!(tally.wrong(), 0);
    assert_eq!(tally.handled(), 6 * count);
}

fn high_priority_goes_first_but_not_for_ever(on: &Backend) {
    let runtime = runtime(on);
    let (actor, tally, first) = held(&runtime, LaunchOptions::default());
    let note = |seq| Note { from: 0, seq };
    for seq in 1..=3 {
        actor.tell(note(seq)).wait().expect("accepted");
    }
    for seq in 11..=30 {
        actor.tell(note(seq)).priority(Priority::High).wait().expect("accepted");
    }
    // A probe goes through the same ring: once it is answered, all of them are in the mailbox.
    block_on(runtime.stats()).expect("stats");
    tally.open();
    // Normal priority and last: all others come before it.
    let order = actor.ask(()).wait().expect("answered");
    let expected: Vec<u8> = (11..=26).chain([1]).chain(27..=30).chain([2, 3]).collect();
    assert_eq!(&order.seen[..order.count as usize], expected);
    drop(first);
    block_on(runtime.shutdown()).expect("clean");
}

fn chains_of_asks_across_workers_end_also_thousands_at_once(on: &Backend) {
    let (width, rows, asks) = if has_threads(on) { (101, 8, 3000) } else { (11, 4, 60) };
    // Small rings, so that requests and replies wait for room.
    let runtime = builder(on).workers(3).ring_lines(32).suspended_handlers(2000).outstanding_asks(8192).build().expect("built");
    let group =
        block_on(runtime.launch_many(width * (rows + 1), LaunchOptions::default(), |_| Poker::default())).expect("launched");
    let mut sent = std::collections::VecDeque::new();
    for i in 0..asks {
        let index = i * 5 % width;
        let actor = group.get(index).expect("in range");
        let travel = Travel { group: group.address(), index, width, rows };
        loop {
            match actor.ask(travel).send() {
                Ok(reply) => {
                    sent.push_back(reply);
                    break;
                }
                Err(AskError::NotHandled { reason: Refusal::RingFull { .. }, .. }) => {
                    if let Some(reply) = sent.pop_front() {
                        assert_eq!(reply.wait().expect("answered"), rows + 1);
                    }
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    for reply in sent {
        assert_eq!(reply.wait().expect("answered"), rows + 1);
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn workers_that_ask_each_other_through_different_actors_do_not_block(on: &Backend) {
    let runtime = runtime(on);
    let actors: Vec<_> = (0..8).map(|i| launch_on(&runtime, i % 2, Poker::default())).collect();
    for _ in 0..200 {
        let replies: Vec<_> = (0..4)
            .map(|i| {
                let (a, b) = (&actors[2 * i], &actors[2 * i + 1]);
                let through = Through { to: b.address(), then: a.address(), depth: 1 };
                a.ask(through).send().expect("accepted")
            })
            .collect();
        for reply in replies {
            assert_eq!(reply.wait(), Ok(1));
        }
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn a_cycle_of_asks_through_one_actor_is_found(on: &Backend) {
    let runtime = builder(on).build().expect("built");
    for workers in [(0, 0), (0, 1)] {
        let a = launch_on(&runtime, workers.0, Poker::default());
        let b = launch_on(&runtime, workers.1, Poker::default());
        let through = Through { to: b.address(), then: a.address(), depth: 3 };
        let answer = a.ask(through).within(Duration::from_secs(20)).wait();
        match answer {
            Err(AskError::Cycle(cycle)) => {
                assert_eq!(cycle.length, 2);
                assert!(cycle.actors.contains(&a.id()) && cycle.actors.contains(&b.id()), "{cycle:?}");
            }
            other => panic!("a cycle of asks ended as {other:?}"),
        }
        // Both are free again.
        let through = Through { to: b.address(), then: a.address(), depth: 1 };
        assert_eq!(a.ask(through).within(Duration::from_secs(20)).wait(), Ok(1));
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn an_ask_to_itself_is_an_error(on: &Backend) {
    let runtime = runtime(on);
    assert_eq!(launch(&runtime, Poker::default()).ask(Mirror).wait(), Ok(1));
    block_on(runtime.shutdown()).expect("clean");
}

fn a_handler_that_asks_within_a_limit_gets_a_deadline(on: &Backend) {
    let runtime = runtime(on);
    let (actor, tally, first) = held(&runtime, LaunchOptions::default());
    for worker in [0, 1] {
        let poker = launch_on(&runtime, worker, Poker::default());
        let forward = Forward { to: actor.address(), n: 1, within_ns: 2_000_000 };
        assert_eq!(poker.ask(forward).wait(), Err(AskError::Handler(KernelError::Deadline)));
    }
    // The message's own deadline is a step of 65,536 ns or two behind the asker's.
    counter(&runtime).ask(Nap { ns: 1_000_000, n: 0 }).wait().expect("answered");
    tally.open();
    // What expired in the mailbox was not handled.
    assert_eq!(actor.ask(Add { n: 1 }).wait(), Ok(1));
    drop(first);
    block_on(runtime.shutdown()).expect("clean");
}

fn a_sleeping_handler_sleeps_long_enough_and_lets_others_run(on: &Backend) {
    let runtime = builder(on).workers(1).build().expect("built");
    let (sleeper, other) = (counter(&runtime), counter(&runtime));
    let eye = launch(&runtime, Poker::default());
    let look = Look { via: Address::default() };
    let before = eye.ask(look).wait().expect("answered").now;
    let nap = sleeper.ask(Nap { ns: 20_000_000, n: 1 }).send().expect("accepted");
    for n in 1..=100 {
        assert_eq!(other.ask(Add { n: 1 }).wait(), Ok(n));
    }
    assert_eq!(nap.wait(), Ok(1));
    let after = eye.ask(look).wait().expect("answered").now;
    assert!(after - before >= 20_000_000, "{before} {after}");
    block_on(runtime.shutdown()).expect("clean");
}

fn a_handler_sees_who_sent_and_until_when(on: &Backend) {
    let runtime = runtime(on);
    let near = launch_on(&runtime, 0, Poker::default());
    let far = launch_on(&runtime, 1, Poker::default());
    let look = Look { via: Address::default() };
    let seen = near.ask(look).wait().expect("answered");
    assert!(seen.from_host);
    assert_eq!((seen.own, seen.deadline, seen.handled, seen.waiting, seen.workers), (near.id(), 0, 0, 0, 2));
    let again = near.ask(look).within(Duration::from_secs(2)).wait().expect("answered");
    assert_eq!(again.handled, 1);
    assert!(again.now > seen.now);
    let ahead = again.deadline as i64 - again.now as i64;
    // Sent within the two seconds; the field counts in steps of 65,536 ns.
    assert!((0..=2_000_140_000).contains(&ahead) || again.now > again.deadline, "{ahead}");
    for (asker, asked) in [(&near, &far), (&far, &near)] {
        let seen = asker.ask(Look { via: asked.address() }).wait().expect("answered");
        assert!(!seen.from_host);
        assert_eq!((seen.sender, seen.own), (asker.id(), asked.id()));
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn collectives_give_what_plain_loops_give(on: &Backend) {
    let runtime = runtime(on);
    let team = launch(&runtime, TeamWork { cells: [0; 100].into() });
    for n in [0u32, 1, 31, 32, 33, 100] {
        let sums = team.ask(Together { n }).wait().expect("answered");
        let sum: u64 = (0..u64::from(n)).sum();
        let weighted: u64 = (0..u64::from(n)).map(|i| (0..=i).sum::<u64>() * (i + 1)).sum();
        assert_eq!((sums.reduced, sums.scanned, sums.prefix_of_prefixes), (sum, sum, weighted));
        assert_eq!(sums.each, (0..100).map(|i| i * 3).sum::<u64>());
        assert_eq!(sums.ballot, if sums.lanes == 32 { u32::MAX } else { (1 << sums.lanes) - 1 });
        assert_eq!(sums.broadcast, 5);
        if *on == Backend::Cpu {
            assert_eq!(sums.lanes, 1);
        }
    }
    block_on(runtime.shutdown()).expect("clean");
}

fn messages_of_one_to_eight_lines_come_through_every_path(on: &Backend) {
    let runtime = builder(on).ring_lines(16).build().expect("built");
    let last = launch_on(&runtime, 0, Echo { next: Address::default() });
    let near = launch_on(&runtime, 0, Echo { next: last.address() });
    let far = launch_on(&runtime, 1, Echo { next: last.address() });
    let mut port = runtime.port(8).expect("a port");
    let rounds = if has_threads(on) { 200 } else { 8 };
    let (gate, held) = tally();
    macro_rules! every {
        ($($n:literal)*) => {$(
            for round in 0..rounds {
                let big = Big::<$n>::from(round * 1000 + $n);
                assert_eq!(last.ask(big).wait(), Ok(big.next()), "shared ring");
                assert_eq!(block_on(last.ask(big).into_future()), Ok(big.next()), "future");
                assert_eq!(port.ask(last.address(), big), Ok(big.next()), "port");
                assert_eq!(near.ask(big).wait(), Ok(big.next().next()), "mailbox of the same worker");
                assert_eq!(far.ask(big).wait(), Ok(big.next().next()), "mesh");
                assert_eq!(port.ask(far.address(), big), Ok(big.next().next()), "port and mesh");
            }
        )*};
    }
    every!(4 11 18 25 32 39 46 53);
    // In a mailbox, behind a handler that waits.
    let first = last.ask(Wait { gate, n: 0 }).send().expect("accepted");
    arrive(&runtime, held, 1);
    let four = last.ask(Big::<4>::from(1)).send().expect("accepted");
    let eight = last.ask(Big::<53>::from(2)).send().expect("accepted");
    let three = port.try_ask(last.address(), Big::<18>::from(3)).expect("accepted");
    let _ = block_on(runtime.stats());
    held.open();
    assert_eq!(first.wait(), Ok(()));
    assert_eq!(four.wait(), Ok(Big::<4>::from(1).next()));
    assert_eq!(eight.wait(), Ok(Big::<53>::from(2).next()));
    assert_eq!(port.wait(three), Ok(Big::<18>::from(3).next()));
    block_on(runtime.shutdown()).expect("clean");
}

fn a_tell_to_an_actor_that_stopped_is_a_dead_letter(on: &Backend) {
    let letters = Arc::new(Mutex::new(Vec::<DeadLetter>::new()));
    let log = Arc::clone(&letters);
    let runtime = builder(on).on_dead_letter(move |letter| log.lock().unwrap().push(letter.clone())).build().expect("built");
    let actor = launch_on(&runtime, 0, Counter::new(tally().0));
    assert!(actor.ask(Crash { pause_ns: 0 }).wait().is_err());
    let tag = |name: &str| MODULE.kinds[0].handlers.iter().find(|handler| handler.0 == name).expect("listed").2;
    let mut expected = Vec::new();
    let mut check = |from: Option<ActorId>, handler: u16, reason| {
        expected.push((actor.id(), from, handler, reason));
        eventually("the dead letter", || {
            let _ = block_on(runtime.stats());
            letters.lock().unwrap().len() >= expected.len()
        });
        let seen: Vec<_> = letters.lock().unwrap().iter().map(|l| (l.to, l.from, l.handler, l.reason)).collect();
        assert_eq!(seen, expected);
    };
    actor.tell(Add { n: 1 }).wait().expect("accepted");
    check(None, tag("Add"), KernelError::Stopped);
    let mut port = runtime.port(1).expect("a port");
    port.tell(actor.address(), Get).expect("accepted");
    check(None, tag("Get"), KernelError::Stopped);
    let far = launch_on(&runtime, 1, Poker::default());
    far.ask(Tell { to: actor.address(), what: 1 }).wait().expect("the ring takes it");
    check(Some(far.id()), tag("Fail"), KernelError::Stopped);
    // On the same worker the sender hears of it itself.
    let near = launch_on(&runtime, 0, Poker::default());
    assert_eq!(near.ask(Tell { to: actor.address(), what: 1 }).wait(), Err(AskError::Handler(KernelError::Stopped)));
    let stats = block_on(runtime.stats()).expect("stats");
    assert_eq!(stats.dead_letters, 3);
    assert_eq!(runtime.dead_letters(), *letters.lock().unwrap());
    block_on(runtime.shutdown()).expect("clean");
    assert_eq!(letters.lock().unwrap().len(), 3);
}

fn a_dead_letter_hook_that_panics_stops_no_worker(on: &Backend) {
    let runtime =
        builder(on).on_dead_letter(|_| std::panic::resume_unwind(Box::new("the hook is broken"))).build().expect("built");
    let actor = launch_on(&runtime, 0, Counter::new(tally().0));
    let neighbour = launch_on(&runtime, 0, Counter::new(tally().0));
    assert!(actor.ask(Crash { pause_ns: 0 }).wait().is_err());
    actor.tell(Add { n: 1 }).wait().expect("accepted");
    assert_eq!(neighbour.ask(Add { n: 1 }).wait(), Ok(1));
    assert_eq!(runtime.dead_letters().len(), 1);
    block_on(runtime.shutdown()).expect("clean");
}

/// The fates of a random mix of messages, with the end of the runtime in the middle.
fn every_accepted_message_has_exactly_one_fate(on: &Backend) {
    let seeds = if has_threads(on) { 60 } else { 10 };
    for seed in 0..seeds {
        fates(on, seed);
    }
}

fn fates(on: &Backend, seed: u64) {
    let mut dice = Dice::new(seed + 1);
    let dead = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&dead);
    let runtime = builder(on)
        .workers(1 + dice.roll(3) as u32)
        .ring_lines(16 << dice.roll(3))
        .waiting_messages(32 + dice.roll(200) as u32)
        .suspended_handlers(16 + dice.roll(20) as u32)
        .drain_limit(Duration::from_millis([0, 3, 2000][dice.roll(3) as usize]))
        .on_dead_letter(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .expect("built");
    let workers = runtime.workers();
    let (number, tally) = tally();
    let actors: Vec<_> = (0..8)
        .map(|i| {
            block_on(runtime.launch(Counter::new(number), LaunchOptions::default().on_worker(i % workers).mailbox(4)))
                .expect("launched")
        })
        .collect();
    let pokers: Vec<_> = (0..4).map(|i| launch_on(&runtime, i % workers, Poker::default())).collect();
    let messages = if has_threads(on) { 300 } else { 60 };
    // Messages that end in `Counter::book` or a dead letter, or come back.
    let told = AtomicU64::new(0);
    let answered = AtomicU64::new(0);
    let sender = |seed: u64, port: Option<Port>| {
        let mut dice = Dice::new(seed);
        let mut port = port;
        let mut replies = Vec::new();
        let mut forwards = Vec::new();
        for _ in 0..messages {
            let actor = &actors[dice.roll(8) as usize];
            let poker = &pokers[dice.roll(4) as usize];
            match (dice.roll(8), &mut port) {
                (0, Some(port)) => {
                    told.fetch_add(u64::from(port.try_tell(actor.address(), Add { n: 1 }).is_ok()), Ordering::SeqCst)
                }
                (1, Some(port)) => {
                    told.fetch_add(u64::from(port.try_tell(actor.address(), Nap { ns: 20_000, n: 1 }).is_ok()), Ordering::SeqCst)
                }
                (0 | 1, None) => told.fetch_add(u64::from(actor.try_tell(Add { n: 1 }).is_ok()), Ordering::SeqCst),
                (2, _) => told.fetch_add(u64::from(actor.try_tell(Nap { ns: 50_000, n: 1 }).is_ok()), Ordering::SeqCst),
                (3 | 4, _) => {
                    replies.extend(actor.ask(Add { n: 1 }).within(Duration::from_millis(1 << dice.roll(12))).send());
                    0
                }
                (5, _) => {
                    replies.extend(actor.ask(Add { n: 1 }).send());
                    0
                }
                (6, _) => {
                    forwards.extend(poker.ask(Tell { to: actor.address(), what: 0 }).send());
                    0
                }
                (_, _) => {
                    forwards.extend(poker.ask(Tell { to: actor.address(), what: 3 }).send());
                    0
                }
            };
        }
        for reply in replies {
            match reply.wait() {
                Ok(_) => answered.fetch_add(1, Ordering::SeqCst),
                Err(AskError::NotHandled { message, .. }) => {
                    assert_eq!(message, Add { n: 1 });
                    0
                }
                // Not known whether it was handled: looked at below.
                Err(AskError::Deadline { .. }) => answered.fetch_add(1 << 32, Ordering::SeqCst),
                Err(other) => panic!("{other}"),
            };
        }
        // What a poker was asked to tell: accepted where it says so; where the poker was interrupted, nobody knows.
        for reply in forwards {
            match reply.wait() {
                Ok(()) => told.fetch_add(1, Ordering::SeqCst),
                Err(AskError::Handler(_) | AskError::NotHandled { .. }) => 0,
                Err(AskError::Interrupted { .. }) => answered.fetch_add(1 << 32, Ordering::SeqCst),
                Err(other) => panic!("{other}"),
            };
        }
    };
    if has_threads(on) {
        let mut ports: Vec<_> = (0..2).map(|_| runtime.port(1).expect("a port")).collect();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (sender, port) = (&sender, ports.pop());
                scope.spawn(move || sender(seed * 10 + thread + 1, port));
            }
            std::thread::sleep(Duration::from_micros(50 * dice.roll(40)));
            match dice.roll(2) {
                0 => drop(runtime),
                _ => drop(block_on(runtime.shutdown())),
            }
        });
    } else {
        let port = runtime.port(1).ok();
        sender(seed * 10 + 1, port);
        drop(block_on(runtime.shutdown()));
    }
    let (told, dead, handled) = (told.load(Ordering::SeqCst), dead.load(Ordering::SeqCst), tally.handled());
    let (answered, unknown) = (answered.load(Ordering::SeqCst) & 0xffff_ffff, answered.load(Ordering::SeqCst) >> 32);
    let (fates, accepted) = (handled + dead, told + answered);
    assert!(
        fates >= accepted && fates <= accepted + unknown,
        "seed {seed}: {handled} handled and {dead} dead letters for {told} tells and {answered} answered asks, {unknown} unknown"
    );
    assert_eq!(tally.wrong(), 0, "seed {seed}: a message before initialize or after shutdown");
    assert_eq!(tally.shut.load(Ordering::SeqCst), 8, "seed {seed}");
}

on_every_backend! {
    initialize_runs_once_and_before_any_message_also_when_it_suspends
    shutdown_runs_once_after_the_last_message_also_when_it_suspends
    a_runtime_that_is_dropped_runs_shutdown_too_and_refuses_what_waits
    an_actor_takes_several_kinds_of_messages
    states_are_read_and_written_between_two_messages
    the_error_of_a_handler_is_a_reply
    a_stopped_runtime_gives_every_message_back
    a_full_mailbox_gives_the_message_back_and_names_actor_and_capacity
    a_message_that_the_actor_has_no_handler_for_comes_back
    a_message_whose_deadline_passes_in_the_mailbox_comes_back
    a_limit_without_end_is_no_deadline_in_the_past
    a_full_ring_gives_the_message_back
    a_full_window_gives_the_message_back
    as_many_asks_as_the_builder_says_can_be_outstanding
    a_late_reply_disturbs_no_later_ask_and_leaks_no_cell
    a_panic_reaches_the_asker_with_its_place_and_stops_its_actor_alone
    an_initialize_that_fails_fails_the_launch_with_its_error
    messages_of_one_sender_arrive_in_order
    high_priority_goes_first_but_not_for_ever
    chains_of_asks_across_workers_end_also_thousands_at_once
    workers_that_ask_each_other_through_different_actors_do_not_block
    a_cycle_of_asks_through_one_actor_is_found
    an_ask_to_itself_is_an_error
    a_handler_that_asks_within_a_limit_gets_a_deadline
    a_sleeping_handler_sleeps_long_enough_and_lets_others_run
    a_handler_sees_who_sent_and_until_when
    collectives_give_what_plain_loops_give
    messages_of_one_to_eight_lines_come_through_every_path
    a_tell_to_an_actor_that_stopped_is_a_dead_letter
    a_dead_letter_hook_that_panics_stops_no_worker
    every_accepted_message_has_exactly_one_fate
}
