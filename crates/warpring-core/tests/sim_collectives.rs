//! Collectives give the same on a simulated warp of any size as a plain loop, and as the same handler on a CPU thread.
#![cfg(feature = "sim")]

#[macro_use]
mod rig;

use rig::simulated::Simulated;
use rig::{Limits, Rig, Threads};
use warpring_core::team::sim::SimOptions;
use warpring_core::{KernelError, Resident, Result, RingContext, RingKernelHandler};

#[derive(Debug)]
struct Lab {
    table: Resident<[u32; 50]>,
    sum: Resident<u64>,
}

impl Default for Lab {
    fn default() -> Self {
        Self { table: Resident::new([0; 50]), sum: Resident::new(0) }
    }
}

type Words = [u64; 4];
type Long = [u64; 40];

module_by_hand! {
    MODULE: Lab = 0 { 0: Words => Words, 1: u64 => Long }
}

const REDUCE: u64 = 0;
const SCAN: u64 = 1;
const BALLOT: u64 = 2;
const BROADCAST: u64 = 3;
const EACH: u64 = 4;
const FOR_EACH: u64 = 5;
const UPDATE: u64 = 6;
const TEN: u64 = 7;

fn mixed(i: u32) -> u64 {
    u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}

impl RingKernelHandler<Words, Words> for Lab {
    async fn handle(&self, ctx: &mut RingContext<'_>, [what, n, from, _]: Words) -> Result<Words> {
        let n = n as u32;
        Ok(match what {
            REDUCE => {
                let sum = ctx.reduce(n, 0, mixed, |a, b| a + b);
                let (low, high) = ctx.reduce(n, (u64::MAX, 0), |i| (mixed(i), mixed(i)), |a, b| (a.0.min(b.0), a.1.max(b.1)));
                [sum, low, high, 0]
            }
            SCAN => {
                // Every lane keeps a checksum of what it visited; together they must be the checksum of all prefixes.
                let mut visited = 0u64;
                let whole =
                    ctx.scan(n, 0, mixed, |a, b| a + b, |i, prefix| visited = visited.wrapping_add(prefix.rotate_left(i)));
                let mut all = 0u64;
                for lane in 0..ctx.team_size() {
                    all = all.wrapping_add(ctx.broadcast(visited, lane));
                }
                [whole, all, 0, 0]
            }
            BALLOT => {
                let lane = ctx.lane();
                [u64::from(ctx.ballot(lane.is_multiple_of(3))), u64::from(ctx.ballot(true)), u64::from(ctx.ballot(false)), 0]
            }
            BROADCAST => {
                let lane = u64::from(ctx.lane());
                let wide = ctx.broadcast([lane; 9], from as u32);
                [ctx.broadcast(lane * 10, from as u32), wide[8], 0, 0]
            }
            EACH => {
                // No lane may see an element that another one has changed already.
                let sum = |table: &[u32; 50]| table.iter().fold(0u64, |sum, x| sum.wrapping_mul(31) + u64::from(*x));
                let before = sum(ctx.read(&self.table));
                ctx.update_each(&self.table, |i, x| *x = x.wrapping_mul(3) + i);
                [sum(ctx.read(&self.table)), before, 0, 0]
            }
            FOR_EACH => {
                let mut mine = 0;
                ctx.for_each(n, |i| mine += mixed(i));
                let mut all = 0;
                for lane in 0..ctx.team_size() {
                    all += ctx.broadcast(mine, lane);
                }
                [all, 0, 0, 0]
            }
            UPDATE => {
                let before = ctx.update(&self.sum, |sum| {
                    let before = *sum;
                    *sum += from;
                    before
                });
                [before, *ctx.read(&self.sum), 0, 0]
            }
            TEN => {
                let mut x = n;
                for _ in 0..5 {
                    x = ctx.update(&self.sum, |sum| {
                        *sum += 1;
                        *sum as u32
                    });
                    x = ctx.broadcast(x + ctx.lane(), 1);
                }
                [u64::from(x), 0, 0, 0]
            }
            _ => return Err(KernelError::rejected(1)),
        })
    }
}

impl RingKernelHandler<u64, Long> for Lab {
    async fn handle(&self, ctx: &mut RingContext<'_>, start: u64) -> Result<Long> {
        let start = ctx.update(&self.sum, |sum| {
            *sum += start;
            *sum
        });
        Ok(core::array::from_fn(|i| start + i as u64))
    }
}

/// What a single thread would say.
fn expected(lanes: u32, [what, n, from, _]: Words) -> Words {
    let n = n as u32;
    match what {
        REDUCE => {
            let all = || (0..n).map(mixed);
            [all().sum(), all().min().unwrap_or(u64::MAX), all().max().unwrap_or(0), 0]
        }
        SCAN => {
            let (mut whole, mut visited) = (0, 0u64);
            for i in 0..n {
                whole += mixed(i);
                visited = visited.wrapping_add(u64::rotate_left(whole, i));
            }
            [whole, visited, 0, 0]
        }
        BALLOT => {
            [(0..lanes).filter(|lane| lane % 3 == 0).fold(0, |bits, lane| bits | 1 << lane), u64::MAX >> (64 - lanes), 0, 0]
        }
        BROADCAST => {
            let lane = from % u64::from(lanes);
            [lane * 10, lane, 0, 0]
        }
        FOR_EACH => [(0..n).map(mixed).sum(), 0, 0, 0],
        _ => unreachable!(),
    }
}

fn requests() -> Vec<Words> {
    let mut all = vec![[BALLOT, 0, 0, 0]];
    for n in [0, 1, 2, 5, 31, 32, 33, 64, 100] {
        all.extend([REDUCE, SCAN, FOR_EACH].map(|what| [what, n, 0, 0]));
    }
    all.extend([0, 1, 7, 31, 32, 45].map(|from| [BROADCAST, 0, from, 0]));
    all
}

#[test]
fn collectives_equal_plain_loops_on_any_number_of_lanes() {
    for lanes in [1, 2, 8, 32] {
        for seed in 0..5 {
            let mut sim = Simulated::new(&MODULE, 1, SimOptions { lanes, seed, ..SimOptions::default() });
            let lab = sim.launch(0, 0, Lab::default());
            for request in requests() {
                assert_eq!(sim.ask(lab, 0, request), Ok(expected(lanes, request)), "{request:?} on {lanes} lanes, seed {seed}");
            }
            assert_eq!(sim.machine.violations(), []);
        }
    }
}

#[test]
fn collectives_on_a_thread_equal_plain_loops() {
    let mut threads = Threads::run(Rig::new(&MODULE, Limits::default()), &MODULE);
    let (lab, launched) = threads.rig.launch(0, 0, Lab::default());
    assert_eq!(threads.wait(&launched), Ok(()));
    for request in requests() {
        let pending = threads.rig.ask(lab, 0, request);
        assert_eq!(threads.wait(&pending), Ok(expected(1, request)), "{request:?}");
    }
}

#[test]
fn state_is_changed_once_whatever_the_number_of_lanes() {
    let mut results = Vec::new();
    for lanes in [1, 2, 4, 16, 32] {
        let mut sim = Simulated::new(&MODULE, 1, SimOptions { lanes, seed: 9, ..SimOptions::default() });
        let lab = sim.launch(0, 0, Lab::default());
        assert_eq!(sim.ask::<_, Words>(lab, 0, [UPDATE, 0, 5, 0]), Ok([0, 5, 0, 0]), "{lanes} lanes");
        assert_eq!(sim.ask::<_, Words>(lab, 0, [UPDATE, 0, 7, 0]), Ok([5, 12, 0, 0]));
        let each: Words = sim.ask(lab, 0, [EACH, 0, 0, 0]).unwrap();
        let again: Words = sim.ask(lab, 0, [EACH, 0, 0, 0]).unwrap();
        results.push((each, again));
        assert_eq!(sim.ask(lab, 1, 100u64), Ok::<Long, _>(core::array::from_fn(|i| 112 + i as u64)));
        assert_eq!(sim.machine.violations(), []);
    }
    let mut threads = Threads::run(Rig::new(&MODULE, Limits::default()), &MODULE);
    let (lab, launched) = threads.rig.launch(0, 0, Lab::default());
    assert_eq!(threads.wait(&launched), Ok(()));
    let pending = threads.rig.ask(lab, 0, [EACH, 0, 0, 0]);
    let each = threads.wait(&pending).unwrap();
    let pending = threads.rig.ask(lab, 0, [EACH, 0, 0, 0]);
    results.push((each, threads.wait(&pending).unwrap()));
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
}

#[test]
fn an_error_and_a_handler_that_is_not_there_come_back() {
    let mut sim = Simulated::new(&MODULE, 1, SimOptions::default());
    let lab = sim.launch(0, 0, Lab::default());
    assert_eq!(sim.ask::<_, Words>(lab, 0, [99, 0, 0, 0]), Err(KernelError::rejected(1)));
    assert_eq!(sim.ask::<_, Words>(lab, 7, [0, 0, 0, 0]), Err(KernelError::Malformed));
}

/// `cargo test --release -p warpring-core --features sim --test sim_collectives -- --ignored --nocapture`
#[test]
#[ignore = "prints a figure"]
fn what_a_handler_with_ten_collectives_costs() {
    for check_writes in [true, false] {
        let mut sim = Simulated::new(&MODULE, 1, SimOptions { check_writes, ..SimOptions::default() });
        let lab = sim.launch(0, 0, Lab::default());
        let (start, switches) = (std::time::Instant::now(), sim.machine.switches());
        let rounds = 20_000u32;
        // Many at once, so that idle rounds do not count.
        for _ in 0..rounds / 10 {
            let batch: Vec<_> = (0..10).map(|_| sim.rig.ask(lab, 0, [TEN, 0, 0, 0])).collect();
            for pending in batch {
                let _: Words = sim.wait(&pending).unwrap();
            }
        }
        let (time, switches) = (start.elapsed(), sim.machine.switches() - switches);
        println!(
            "check_writes {check_writes}: {:.2} us each, {} switches each",
            time.as_secs_f64() * 1e6 / f64::from(rounds),
            switches / u64::from(rounds)
        );
    }
}
