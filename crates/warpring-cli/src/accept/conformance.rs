//! Step `conformance`: every sentence of `SEMANTICS.md`.

use super::step::{Answer, On, Outcome, about_to};
use serde_json::json;
use std::time::{Duration, Instant};
use warpring_conformance::CASES;

/// After so long a case hangs; a few that do leave time for the others.
const LIMIT: Duration = Duration::from_secs(12);

/// Runs all cases, one after the other.
///
/// # Errors
/// The sentences that do not hold.
pub fn run(on: &On) -> Answer {
    // Handlers that panic are part of the suite: a line each is enough.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let setup = on.setup();
    let mut failed = Vec::new();
    let mut seconds = Vec::new();
    for case in CASES {
        about_to(format_args!("case {}", case.number));
        let start = Instant::now();
        if let Err(why) = case.check_within(&setup, LIMIT) {
            failed.push(format!("{} ({}): {why}", case.number, case.sentence));
        }
        seconds.push(json!({ "case": case.number, "seconds": start.elapsed().as_secs_f64() }));
    }
    if failed.is_empty() {
        return Outcome::passed(format!("all {} sentences of SEMANTICS.md hold", CASES.len()), json!({ "cases": seconds }));
    }
    Err(format!("{} of {} sentences do not hold: {}", failed.len(), CASES.len(), failed.join("; ")))
}
