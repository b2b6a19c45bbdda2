//! Random histories over the public API, in the simulator: a seed decides the runtime and the script. Every message has one fate, the
//! messages of each pair stay in order, and states are those of a sequential model.
//!
//! ```sh
//! cargo xtask chaos               # 200 seeds
//! cargo xtask chaos --seeds 5000  # more of them
//! cargo xtask chaos --seed 17     # one of them, with its script
//! ```

mod check;
mod ledger;
mod scribe;
mod script;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use check::{Tally, check};
use ledger::Event;
use script::{Ran, Script};

/// Seeds of a run that names no other count.
const SEEDS: u64 = 200;
/// Lines of the script that a failure shows.
const SHOWN: usize = 40;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, and not `{text}`")))
}

/// Handlers panic as they are asked to; nobody has to read that.
fn hush() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&"as asked") {
            usual(panic);
        }
    }));
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is no text").to_owned()
}

/// What came of a seed, and the events, for a comparison.
fn run(seed: u64, aloud: bool) -> Result<(Tally, Ran), (String, String)> {
    drop(ledger::close());
    let mut script = Script::new(seed, aloud);
    let played = catch_unwind(AssertUnwindSafe(|| script.run()));
    let log = std::mem::take(&mut script.log);
    if let Err(panic) = played {
        return Err((format!("the script panicked: {}", said(panic.as_ref())), log));
    }
    let ran = script.end();
    if let Some(complaint) = ran.complaints.first() {
        return Err((complaint.clone(), log));
    }
    match check(&ran.ledger, &ran.supervised) {
        Ok(tally) => Ok((tally, ran)),
        Err(why) => Err((why, log)),
    }
}

fn fail(seed: u64, why: &str, log: &str) -> ! {
    let lines: Vec<_> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN)..];
    panic!(
        "seed {seed} fails: {why}\nreproduce it: cargo xtask chaos --seed {seed}\n{}\n.. the last of its script:\n{}",
        lines.first().unwrap_or(&""),
        last.join("\n")
    );
}

#[test]
fn every_message_has_one_fate_in_order_and_states_are_the_models() {
    hush();
    if let Some(seed) = variable("CHAOS_SEED") {
        match run(seed, true) {
            Ok((tally, ran)) => println!("seed {seed}: {tally:?}, {} launches, {} hibernations", ran.launches, ran.hibernations),
            Err((why, log)) => fail(seed, &why, &log),
        }
        return;
    }
    let mut all = Tally::default();
    let (mut hibernations, mut launches) = (0, 0);
    let seeds = variable("CHAOS_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        let start = std::time::Instant::now();
        match run(seed, false) {
            Ok((tally, ran)) => {
                all.add(&tally);
                hibernations += ran.hibernations;
                launches += ran.launches;
            }
            Err((why, log)) => fail(seed, &why, &log),
        }
        if start.elapsed().as_secs() > 2 {
            println!("seed {seed} took {:?}", start.elapsed());
        }
    }
    println!("{seeds} seeds: {all:?}, {launches} launches, {hibernations} hibernations");
    // A script in which nothing happens proves nothing.
    let least = seeds / 4;
    for (what, count) in [
        ("handled", all.handled),
        ("fell", all.fell),
        ("came back", all.returned),
        ("dead letters", all.dead),
        ("restarts", all.restarts),
        ("hibernations", hibernations),
    ] {
        assert!(count >= least, "{seeds} seeds, and only {count}: {what}");
    }
}

#[test]
fn a_seed_repeats_exactly() {
    hush();
    for seed in 0..4 {
        let events = |_| -> (Vec<Event>, Tally) {
            let (tally, ran) = run(seed, false).unwrap_or_else(|(why, log)| fail(seed, &why, &log));
            (ran.ledger.events, tally)
        };
        let [first, second] = [0, 1].map(events);
        let same = first.0.iter().zip(&second.0).take_while(|(a, b)| a == b).count();
        assert!(first == second, "seed {seed}: two runs part at event {same}: {:?}, {:?}", first.0.get(same), second.0.get(same));
    }
}
