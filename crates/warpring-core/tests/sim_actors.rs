//! Actors on simulated warps: asks on one and on two workers, sleeps on virtual time, panics, back-pressure, stop.
#![cfg(feature = "sim")]

#[macro_use]
mod rig;

use std::time::Duration;

use rig::simulated::Simulated;
use rig::{Limits, Rig, Threads};
use warpring_core::team::sim::{Progress, SimOptions};
use warpring_core::worker::Report;
use warpring_core::{ActorId, Address, KernelError, Resident, Result, RingContext, RingKernelHandler};

#[derive(Debug)]
struct Node {
    count: Resident<u64>,
}

impl Node {
    fn new() -> Self {
        Self { count: Resident::new(0) }
    }
}

type Words = [u64; 4];
type Long = [u64; 40];

module_by_hand! {
    MODULE: Node = 0 { 0: Words => Words, 1: Long => Long }
}

const COUNT: u64 = 0;
const ASK: u64 = 1;
const SLEEP: u64 = 2;
const PANIC: u64 = 3;
const TELL: u64 = 4;
const YIELD: u64 = 5;
const NOW: u64 = 6;
const PANIC_ON_ONE_LANE: u64 = 7;
const ASK_THEN_LONG: u64 = 8;

fn named(word: u64) -> Address<Node> {
    Address::new(ActorId::from_bits(word))
}

const PANIC_LINE: u32 = line!() + 23;

impl RingKernelHandler<Words, Words> for Node {
    async fn handle(&self, ctx: &mut RingContext<'_>, [what, a, b, c]: Words) -> Result<Words> {
        match what {
            COUNT => {
                let count = ctx.update(&self.count, |count| {
                    *count += a;
                    *count
                });
                Ok([count, u64::from(ctx.lane()) - u64::from(ctx.lane()), 0, 0])
            }
            ASK => {
                let [count, ..] = ctx.ask(named(a), [b, c, a, 0]).await?;
                let sum = ctx.reduce(10, 0, |i| u64::from(i) + count, |x, y| x + y);
                Ok([count, sum, 0, 0])
            }
            SLEEP => {
                let before = ctx.now();
                ctx.sleep(Duration::from_nanos(a)).await;
                Ok([before, ctx.now(), 0, 0])
            }
            PANIC => {
                ctx.update(&self.count, |_| panic!("nothing left to do"));
                Ok([0; 4])
            }
            TELL => {
                for i in 0..b {
                    ctx.tell(named(a), [COUNT, 1, i, 0]).await?;
                }
                Ok([b, 0, 0, 0])
            }
            YIELD => {
                for _ in 0..a {
                    ctx.yield_now().await;
                }
                Ok([a, 0, 0, 0])
            }
            NOW => Ok([ctx.now(), 0, 0, 0]),
            PANIC_ON_ONE_LANE => {
                ctx.for_each(1, |_| ());
                assert!(u64::from(ctx.lane()) != a, "lane {a} gives up");
                ctx.for_each(1, |_| ());
                Ok([0; 4])
            }
            ASK_THEN_LONG => Err(KernelError::rejected(9)),
            _ => Err(KernelError::rejected(1)),
        }
    }
}

impl RingKernelHandler<Long, Long> for Node {
    async fn handle(&self, ctx: &mut RingContext<'_>, message: Long) -> Result<Long> {
        if message[0] == ASK {
            // The reply that comes in and the one that goes out use the same buffer of the frame.
            let mut inner = message;
            inner[0] = COUNT;
            let reply = ctx.ask(named(message[1]), inner).await?;
            return Ok(core::array::from_fn(|i| reply[39 - i] * 2));
        }
        Ok(core::array::from_fn(|i| message[i] + i as u64))
    }
}

fn options(seed: u64) -> SimOptions {
    SimOptions { seed, ..SimOptions::default() }
}

#[test]
fn an_actor_asks_another_on_its_own_and_on_another_worker() {
    for lanes in [1, 4, 32] {
        for seed in 0..10 {
            let mut sim = Simulated::new(&MODULE, 2, SimOptions { lanes, seed, ..SimOptions::default() });
            let near = sim.launch(0, 0, Node::new());
            let peer = sim.launch(0, 0, Node::new());
            let far = sim.launch(1, 0, Node::new());
            for (round, to) in [peer, far, peer, far].into_iter().enumerate() {
                let count = 7 * (1 + round as u64 / 2);
                assert_eq!(sim.ask(near, 0, [ASK, to.to_bits(), COUNT, 7]), Ok::<Words, _>([count, 45 + 10 * count, 0, 0]));
            }
            assert_eq!(sim.machine.violations(), []);
            assert_eq!(sim.machine.take_failures(), []);
        }
    }
}

#[test]
fn two_actors_on_two_workers_ask_each_other_at_once() {
    for seed in 0..20 {
        let mut sim = Simulated::new(&MODULE, 2, options(seed));
        let (a, b) = (sim.launch(0, 0, Node::new()), sim.launch(1, 0, Node::new()));
        let third = sim.launch(1, 0, Node::new());
        // a waits for b, which waits for the third on its own worker; and the other way round through a chain of asks.
        let first = sim.rig.ask(a, 0, [ASK, b.to_bits(), COUNT, 1]);
        let second = sim.rig.ask(b, 0, [ASK, third.to_bits(), COUNT, 1]);
        let third = sim.rig.ask(third, 0, [ASK, a.to_bits(), COUNT, 1]);
        for pending in [first, second, third] {
            assert_eq!(sim.wait::<Words>(&pending).map(|reply| reply[0]), Ok(1), "seed {seed}");
        }
    }
}

#[test]
fn a_long_reply_does_not_overwrite_the_one_that_slower_lanes_still_read() {
    for seed in 0..50 {
        let mut sim = Simulated::new(&MODULE, 2, options(seed));
        let (near, far) = (sim.launch(0, 0, Node::new()), sim.launch(1, 0, Node::new()));
        let mut message = [3; 40];
        (message[0], message[1]) = (ASK, far.to_bits());
        let reply: Long = sim.ask(near, 1, message).unwrap();
        let far_reply = |i: usize| {
            if i == 0 {
                0
            } else if i == 1 {
                far.to_bits() + 1
            } else {
                3 + i as u64
            }
        };
        assert_eq!(reply, core::array::from_fn(|i| far_reply(39 - i) * 2), "seed {seed}");
        assert_eq!(sim.machine.violations(), []);
    }
}

#[test]
fn the_same_handlers_run_on_threads() {
    let mut threads = Threads::run(Rig::new(&MODULE, Limits { workers: 2, ..Limits::default() }), &MODULE);
    let (a, launched) = threads.rig.launch(0, 0, Node::new());
    assert_eq!(threads.wait(&launched), Ok(()));
    let (b, launched) = threads.rig.launch(1, 0, Node::new());
    assert_eq!(threads.wait(&launched), Ok(()));
    let pending = threads.rig.ask(a, 0, [ASK, b.to_bits(), COUNT, 7]);
    assert_eq!(threads.wait::<Words>(&pending), Ok([7, 115, 0, 0]));
    let pending = threads.rig.ask(a, 0, [TELL, b.to_bits(), 10, 0]);
    assert_eq!(threads.wait::<Words>(&pending), Ok([10, 0, 0, 0]));
    let pending = threads.rig.ask(a, 0, [SLEEP, 1000, 0, 0]);
    let [before, after, ..] = threads.wait::<Words>(&pending).unwrap();
    assert!(after >= before + 1000);
}

#[test]
fn a_sleep_of_an_hour_takes_no_time() {
    const HOUR: u64 = 3_600_000_000_000;
    let mut sim = Simulated::new(&MODULE, 1, options(1));
    let node = sim.launch(0, 0, Node::new());
    let pending = sim.rig.ask(node, 0, [SLEEP, HOUR, 0, 0]);
    let Progress::Idle { next_wake_ns } = sim.machine.run(1_000_000) else { panic!("the handler sleeps") };
    assert!((HOUR..HOUR + 1_000_000).contains(&next_wake_ns), "{next_wake_ns}");
    assert_eq!(sim.machine.run(1_000_000), Progress::Idle { next_wake_ns }, "nothing happens by itself");
    let [before, after, ..] = sim.wait::<Words>(&pending).unwrap();
    assert!((HOUR..HOUR + 100_000).contains(&(after - before)), "{before} {after}");
    let clock = sim.machine.clock();
    assert!(clock.now_ns() >= after);
    sim.machine.advance_to(5);
    assert!(clock.now_ns() >= after, "time never goes back");
}

#[test]
fn an_ask_ends_at_its_deadline() {
    let mut sim = Simulated::with(&MODULE, Limits { workers: 2, ask_limit_ns: 1_000_000, ..Limits::default() }, options(3));
    let (a, b) = (sim.launch(0, 0, Node::new()), sim.launch(1, 0, Node::new()));
    let start = sim.machine.clock().now_ns();
    assert_eq!(sim.ask::<_, Words>(a, 0, [ASK, b.to_bits(), SLEEP, 50_000_000]), Err(KernelError::Deadline));
    let took = sim.machine.clock().now_ns() - start;
    assert!((900_000..2_000_000).contains(&took), "{took}");
}

#[test]
fn idle_means_that_nobody_has_anything_to_do() {
    for seed in 0..30 {
        let mut sim = Simulated::new(&MODULE, 4, options(seed));
        let nodes: Vec<_> = (0..4).map(|worker| sim.launch(worker, 0, Node::new())).collect();
        // Somebody to ask who asks nobody, or they could wait for each other.
        let leaves: Vec<_> = (0..4).map(|worker| sim.launch(worker, 0, Node::new())).collect();
        let asks: Vec<_> =
            (0..12).map(|i| sim.rig.ask(nodes[i % 4], 0, [ASK, leaves[i * 7 / 4 % 4].to_bits(), COUNT, 1])).collect();
        sim.settle();
        for pending in asks {
            assert!(sim.rig.reply::<Words>(&pending).expect("idle, but an ask is not answered").is_ok());
        }
    }
}

#[test]
fn tells_wait_for_room_in_a_ring_and_all_arrive_or_are_accounted_for() {
    for seed in 0..5 {
        let limits = Limits { workers: 2, ring_lines: 16, ..Limits::default() };
        let mut sim = Simulated::with(&MODULE, limits, options(seed));
        let (a, b) = (sim.launch(0, 0, Node::new()), sim.launch(1, 0, Node::new()));
        assert_eq!(sim.ask(a, 0, [TELL, b.to_bits(), 100, 0]), Ok::<Words, _>([100, 0, 0, 0]));
        // The host's ask comes by another ring than the tells, so it might overtake them.
        sim.settle();
        let [count, ..] = sim.ask::<_, Words>(b, 0, [COUNT, 0, 0, 0]).unwrap();
        assert_eq!(count + sim.rig.dead_letters().len() as u64, 100, "seed {seed}");
    }
}

#[test]
fn a_handler_that_yields_keeps_the_machine_busy_and_lets_others_run() {
    let mut sim = Simulated::new(&MODULE, 1, options(4));
    let (a, b) = (sim.launch(0, 0, Node::new()), sim.launch(0, 0, Node::new()));
    let long = sim.rig.ask(a, 0, [YIELD, 1000, 0, 0]);
    assert_eq!(sim.machine.run(1000), Progress::Busy);
    assert_eq!(sim.ask(b, 0, [COUNT, 3, 0, 0]), Ok::<Words, _>([3, 0, 0, 0]));
    assert!(sim.rig.reply::<Words>(&long).is_none(), "the one that yields is not done yet");
    assert_eq!(sim.wait(&long), Ok::<Words, _>([1000, 0, 0, 0]));
}

#[test]
fn a_panic_fails_the_actor_and_nobody_else() {
    for lanes in [1, 32] {
        let mut sim = Simulated::new(&MODULE, 2, SimOptions { lanes, seed: 5, ..SimOptions::default() });
        let (bad, good) = (sim.launch(0, 0, Node::new()), sim.launch(0, 0, Node::new()));
        let asker = sim.launch(1, 0, Node::new());
        // Suspended on the same worker while the other one panics, and goes on afterwards.
        let sleeper = sim.rig.ask(good, 0, [SLEEP, 1_000_000, 0, 0]);
        assert_eq!(sim.ask::<_, Words>(bad, 0, [PANIC, 0, 0, 0]), Err(KernelError::Panicked { line: PANIC_LINE }));
        let failures = sim.machine.take_failures();
        assert_eq!(failures.len(), 1);
        assert_eq!((failures[0].actor, failures[0].worker, failures[0].lane, failures[0].violation), (bad, 0, 0, false));
        assert_eq!(failures[0].message, "nothing left to do");
        let place = failures[0].location.as_ref().expect("a place");
        assert!(place.file.ends_with("sim_actors.rs") && place.line == PANIC_LINE, "{place}");
        assert_eq!(sim.machine.violations(), []);
        assert_eq!(sim.ask::<_, Words>(bad, 0, [COUNT, 1, 0, 0]), Err(KernelError::Stopped));
        assert_eq!(sim.ask::<_, Words>(asker, 0, [ASK, bad.to_bits(), COUNT, 1]), Err(KernelError::Stopped));
        assert!(sim.wait::<Words>(&sleeper).is_ok());
        assert_eq!(sim.ask(good, 0, [COUNT, 1, 0, 0]), Ok::<Words, _>([1, 0, 0, 0]));
        let probe = sim.rig.probe(0);
        assert_eq!(sim.wait::<Report>(&probe).unwrap().counters.panics, 1);
    }
}

#[test]
fn a_panic_on_one_lane_ends_the_handler_on_all() {
    for seed in 0..10 {
        let mut sim = Simulated::new(&MODULE, 1, options(seed));
        let nodes: Vec<_> = (0..4).map(|_| sim.launch(0, 0, Node::new())).collect();
        for (node, lane) in nodes.iter().zip([0, 1, 17, 31]) {
            let reply = sim.ask::<_, Words>(*node, 0, [PANIC_ON_ONE_LANE, lane, 0, 0]);
            assert!(matches!(reply, Err(KernelError::Panicked { line }) if line > PANIC_LINE), "{reply:?}");
            let failures = sim.machine.take_failures();
            assert_eq!((failures.len(), u64::from(failures[0].lane)), (1, lane));
            assert_eq!(failures[0].message, format!("lane {lane} gives up"));
        }
    }
}

#[test]
fn the_machine_may_change_threads() {
    let mut sim = Simulated::new(&MODULE, 2, options(6));
    let (a, b) = (sim.launch(0, 0, Node::new()), sim.launch(1, 0, Node::new()));
    let pending = sim.rig.ask(a, 0, [ASK, b.to_bits(), COUNT, 7]);
    let mut machine = sim.machine;
    let mut switches = 0;
    let machine = loop {
        let (back, progress) = std::thread::spawn(move || {
            let progress = machine.run(if switches < 100 { 37 } else { 10_000 });
            (machine, progress)
        })
        .join()
        .unwrap();
        machine = back;
        switches += 1;
        assert!(switches < 10_000);
        if progress != Progress::Busy {
            break machine;
        }
    };
    assert!(switches > 1);
    assert_eq!(sim.rig.reply::<Words>(&pending), Some(Ok([7, 115, 0, 0])));
    drop(machine);
}

#[test]
fn workers_stop_when_they_are_told_to() {
    let mut sim = Simulated::new(&MODULE, 3, options(7));
    let node = sim.launch(1, 0, Node::new());
    for worker in 0..3 {
        assert_ne!(sim.machine.run(1_000_000), Progress::Exited);
        sim.rig.stop(worker);
    }
    assert_eq!(sim.machine.run(1_000_000), Progress::Exited);
    assert_eq!(sim.machine.run(1_000_000), Progress::Exited);
    let _ = node;
}

#[test]
fn a_machine_is_dropped_in_the_middle_of_a_handler() {
    for seed in 0..20 {
        let mut sim = Simulated::new(&MODULE, 2, options(seed));
        let (a, b) = (sim.launch(0, 0, Node::new()), sim.launch(1, 0, Node::new()));
        sim.rig.ask(a, 0, [ASK, b.to_bits(), COUNT, 7]);
        sim.rig.ask(b, 0, [SLEEP, 1000, 0, 0]);
        sim.machine.run(300 + 17 * seed as u32);
    }
}
