//! Step `figures`: how fast, beside the floors of the same run.

use super::rows;
use super::step::{Answer, On, Outcome, about_to};
use serde_json::json;
use std::time::Duration;
use warpring_bench::ours::SUBJECTS;
use warpring_bench::{Effort, Figure, Floor, Report, Stage};

/// The figures that are printed; the report has all.
const IN_THE_LINE: [&str; 4] = ["port-asks-actor", "actor-asks-other-worker", "pair-one-way", "spray-10000"];

/// Short slices, to leave time for the other steps: enough to see what is wrong by a factor.
fn effort() -> Effort {
    let mut effort = Effort::full();
    (effort.slices, effort.slice) = (3, Duration::from_millis(60));
    effort
}

/// Measures every figure of the framework on this backend, every answer checked.
///
/// # Errors
/// A figure that could not be measured, or a wrong answer on the way.
pub fn run(on: &On) -> Answer {
    if on.is("sim") {
        return Outcome::not_run("the simulator's time is virtual");
    }
    if on.is("cuda") {
        return rows::measure(on);
    }
    let stage = match Stage::new(effort()) {
        Ok(stage) => stage,
        Err(few) => return Outcome::not_run(few.to_string()),
    };
    let mut report = Report::new(&stage.clock);
    for floor in Floor::ALL {
        about_to(floor.name());
        report.push(Figure::alone(floor.name(), &stage.floor_alone(floor)));
    }
    let mut found = Vec::new();
    for subject in SUBJECTS {
        about_to(subject.name);
        let figure = subject.measure(&stage, on.backend(), false).map_err(|error| error.to_string())?;
        if IN_THE_LINE.contains(&subject.name) {
            found.extend(line(&figure));
        }
        report.push(figure);
    }
    let details = serde_json::to_value(&report).map_err(|error| format!("the report is not JSON: {error}"))?;
    Outcome::passed(
        format!("{} figures and {} floors, among them {}", SUBJECTS.len(), Floor::ALL.len(), found.join("; ")),
        json!({ "report": details }),
    )
}

/// A figure in some words; nothing where it has neither times nor a rate.
fn line(figure: &Figure) -> Option<String> {
    let ratio = figure
        .ratio
        .map_or(String::new(), |ratio| format!(" ({ratio:.2} of {})", figure.floor.as_deref().unwrap_or("its floor")));
    if let (Some(p50), Some(p99), Some(p999)) = (figure.p50_ns, figure.p99_ns, figure.p999_ns) {
        return Some(format!("{} p50 {p50:.0} p99 {p99:.0} p99.9 {p999:.0} ns{ratio}", figure.name));
    }
    figure.per_second.map(|rate| format!("{} {:.1} M/s{ratio}", figure.name, rate / 1e6))
}
