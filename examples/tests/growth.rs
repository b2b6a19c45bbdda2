//! The programs that grow trees of actors give their answers, leave nobody behind, and lose no message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use warpring::{Backend, Runtime, block_on};
use warpring_examples::growth::{self, creation, fibonacci, skynet};

fn on_each_backend(run: impl Fn(&Runtime, bool)) {
    let cpu = [1, 2].map(|workers| (Backend::Cpu, workers, true));
    #[cfg_attr(not(feature = "sim"), allow(unused_mut))]
    let mut cases = Vec::from(cpu);
    #[cfg(feature = "sim")]
    cases.push((Backend::Sim(warpring::SimOptions::default().lanes(4)), 2, false));
    for (backend, workers, full) in cases {
        let dead = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dead);
        let runtime = growth::builder()
            .backend(backend)
            .workers(workers)
            .pin(false)
            .on_dead_letter(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
            })
            .build()
            .expect("a runtime");
        run(&runtime, full);
        assert_eq!(block_on(runtime.shutdown()), Ok(()));
        assert_eq!(dead.load(Ordering::Relaxed), 0, "dead letters");
    }
}

#[test]
fn skynet_adds_up() {
    assert_eq!(skynet::answer(1_000_000), (499_999_500_000, 1_111_111));
    on_each_backend(|runtime, full| {
        let leaves = if full { 1_000_000 } else { 1_000 };
        assert_eq!(skynet::run(runtime, leaves).expect("a sum"), skynet::answer(leaves));
    });
}

#[test]
fn fibonacci_counts() {
    assert_eq!(fibonacci::answer(25), 75_025);
    on_each_backend(|runtime, full| {
        let n = if full { 25 } else { 12 };
        let (value, actors) = fibonacci::run(runtime, n).expect("a number");
        assert_eq!(value, fibonacci::answer(n));
        assert_eq!(i64::from(actors), 2 * value - 1, "a binary tree with so many leaves");
    });
}

#[test]
fn fork_join_creates() {
    on_each_backend(|runtime, full| {
        let actors = if full { 40_000 } else { 600 };
        // Twice: the second time in used slots.
        for _ in 0..2 {
            assert_eq!(creation::run(runtime, actors).expect("a sum"), (creation::answer(actors), actors));
        }
    });
}
