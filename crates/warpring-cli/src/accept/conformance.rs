//! Steps `conformance` and `block-teams`: the sentences of `SEMANTICS.md`.

use super::step::{Answer, On, Outcome, about_to};
use serde_json::json;
use std::time::{Duration, Instant};
use warpring_conformance::{CASES, Setup};

/// After so long a case hangs; a few that do leave time for the others.
const LIMIT: Duration = Duration::from_secs(12);

/// Runs all cases, one after the other.
///
/// # Errors
/// The sentences that do not hold.
pub fn run(on: &On) -> Answer {
    check(&on.setup(), |_| true)
}

/// Step `block-teams`: the sentences on delivery, panics, and teams, where the lanes of a whole block execute a handler.
///
/// # Errors
/// The sentences that do not hold.
pub fn block_teams(on: &On) -> Answer {
    if !on.is("cuda") {
        return Outcome::not_run(format!("a team of backend {} is no block", on.backend()));
    }
    check(&on.setup().with_block_teams(), |number| {
        ["1.1", "1.2", "5.2", "5.4", "7."].iter().any(|start| number.starts_with(start))
    })
}

fn check(setup: &Setup, chosen: impl Fn(&str) -> bool) -> Answer {
    // Handlers that panic are part of the suite: a line each is enough.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let mut failed = Vec::new();
    let mut seconds = Vec::new();
    for case in CASES.iter().filter(|case| chosen(case.number)) {
        about_to(format_args!("case {}", case.number));
        let start = Instant::now();
        if let Err(why) = case.check_within(setup, LIMIT) {
            failed.push(format!("{} ({}): {why}", case.number, case.sentence));
        }
        seconds.push(json!({ "case": case.number, "seconds": start.elapsed().as_secs_f64() }));
    }
    if failed.is_empty() {
        let count = seconds.len();
        let which = if count == CASES.len() { "all".to_owned() } else { format!("the {count} that matter here") };
        return Outcome::passed(
            format!("{which} of {} sentences of SEMANTICS.md hold", CASES.len()),
            json!({ "cases": seconds }),
        );
    }
    Err(format!("{} of {} sentences do not hold: {}", failed.len(), seconds.len(), failed.join("; ")))
}
