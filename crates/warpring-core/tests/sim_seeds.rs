//! A seed is a run.
#![cfg(feature = "sim")]

#[macro_use]
mod rig;

use rig::simulated::Simulated;
use warpring_core::team::sim::SimOptions;
use warpring_core::{ActorId, Address, Resident, Result, RingContext, RingKernelHandler};

#[derive(Debug)]
struct Cell {
    order: Resident<u64>,
}

type Words = [u64; 4];

module_by_hand! {
    MODULE: Cell = 0 { 0: Words => Words }
}

impl RingKernelHandler<Words, Words> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, [slot, worker, who, _]: Words) -> Result<Words> {
        if slot == u64::MAX {
            // Who came when.
            return Ok([
                ctx.update(&self.order, |order| {
                    *order = (*order * 5 + who) % 1_000_000_007;
                    *order
                }),
                ctx.now(),
                0,
                0,
            ]);
        }
        let to = Address::<Self>::new(ActorId { slot: slot as u32, generation: 1, worker: worker as u16 });
        ctx.ask(to, [u64::MAX, 0, who, 0]).await
    }
}

/// Three actors on three workers ask a fourth at once, ten times.
fn run(seed: u64) -> (u64, u64, Vec<Words>) {
    let mut sim = Simulated::new(&MODULE, 3, SimOptions { seed, ..SimOptions::default() });
    let target = sim.launch(0, 0, Cell { order: Resident::new(0) });
    let askers: Vec<_> = (0..3).map(|worker| sim.launch(worker, 0, Cell { order: Resident::new(0) })).collect();
    let mut replies = Vec::new();
    for _ in 0..10 {
        let asks: Vec<_> = askers
            .iter()
            .map(|asker| sim.rig.ask(*asker, 0, [u64::from(target.slot), 0, 1 + u64::from(asker.worker), 0]))
            .collect();
        replies.extend(asks.iter().map(|pending| sim.wait::<Words>(pending).unwrap()));
    }
    assert_eq!(sim.machine.violations(), []);
    (sim.machine.digest(), sim.machine.switches(), replies)
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn different_seeds_give_different_runs_and_different_orders() {
    let runs: Vec<_> = (0..10).map(run).collect();
    for (i, a) in runs.iter().enumerate() {
        for b in &runs[..i] {
            assert_ne!(a.0, b.0);
        }
    }
    let orders: std::collections::HashSet<_> = runs.iter().map(|run| run.2.iter().map(|reply| reply[0]).max()).collect();
    assert!(orders.len() > 1, "the askers always came in the same order");
}
