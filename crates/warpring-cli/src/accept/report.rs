//! What a run found: its lines, its closing line, and its JSON.

use super::BUDGET;
use super::step::{Answer, Outcome};
use serde_json::{Value, json};
use std::fmt;
use std::io::Write;
use std::time::Duration;
use warpring_bench::{Clock, Report};

/// Where it was built from; the build says it in this variable.
const COMMIT: Option<&str> = option_env!("WARPRING_COMMIT");

/// Width of the column of names.
const NAMES: usize = 18;

/// One step's result.
pub struct Row {
    name: &'static str,
    took: Duration,
    answer: Answer,
}

impl Row {
    /// Of this step, which took so long.
    pub const fn new(name: &'static str, took: Duration, answer: Answer) -> Self {
        Self { name, took, answer }
    }

    fn parts(&self) -> (&'static str, &str, Option<&Value>) {
        match &self.answer {
            Ok(Outcome::Passed { found, details }) => ("PASS", found, Some(details)),
            Ok(Outcome::Missed { found, details }) => ("FAIL", found, Some(details)),
            Ok(Outcome::NotRun { reason }) => ("NOT RUN", reason, None),
            Err(why) => ("FAIL", why, None),
        }
    }

    fn json(&self) -> Value {
        let (verdict, found, details) = self.parts();
        json!({
            "name": self.name,
            "verdict": verdict.to_lowercase(),
            "seconds": self.took.as_secs_f64(),
            "found": found,
            "details": details,
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verdict, found, _) = self.parts();
        // One line, whatever a step found.
        let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{verdict:<7}  {:<NAMES$}  {:>6.2} s  {found}", self.name, self.took.as_secs_f64())
    }
}

/// All of it.
pub struct Run {
    about: Report,
    backend: &'static str,
    device: Option<String>,
    rows: Vec<Row>,
}

impl Run {
    /// A run on this backend, here and now.
    pub fn new(backend: &'static str, device: Option<String>) -> Self {
        Self { about: Report::new(&Clock::calibrate()), backend, device, rows: Vec::new() }
    }

    /// Adds a step.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// What runs where.
    pub fn heading(&self) -> String {
        let machine = &self.about.machine;
        let device = self.device.as_ref().map_or(String::new(), |device| format!(" on {device}"));
        let build = if cfg!(debug_assertions) { "debug" } else { "release" };
        let (backend, commit, date) = (self.backend, COMMIT.unwrap_or("unknown"), &self.about.date);
        format!(
            "backend {backend}{device}; {}, {} cpus, {}; {build} build of commit {commit}, {date}",
            machine.cpu, machine.cores, machine.kernel
        )
    }

    fn count(&self, verdict: &str) -> usize {
        self.rows.iter().filter(|row| row.parts().0 == verdict).count()
    }

    /// The line that counts.
    pub fn closing(&self, took: Duration) -> String {
        let [passed, failed, not_run] = ["PASS", "FAIL", "NOT RUN"].map(|verdict| self.count(verdict));
        format!("{passed} passed, {failed} failed, {not_run} not run, in {:.1} s", took.as_secs_f64())
    }

    /// The names of the steps that failed.
    pub fn failed(&self) -> Vec<&'static str> {
        self.rows.iter().filter(|row| row.parts().0 == "FAIL").map(|row| row.name).collect()
    }

    /// Writes everything as JSON.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, mut to: impl Write) -> std::io::Result<()> {
        let all = json!({
            "date": self.about.date,
            "commit": COMMIT.unwrap_or("unknown"),
            "debug_build": cfg!(debug_assertions),
            "machine": serde_json::to_value(&self.about.machine)?,
            "backend": self.backend,
            "device": self.device,
            "budget_seconds": BUDGET.as_secs(),
            "passed": self.count("PASS"),
            "failed": self.count("FAIL"),
            "not_run": self.count("NOT RUN"),
            "steps": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        writeln!(to, "{all:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_with_its_verdict_first() {
        let row = |answer| Row::new("cycles", Duration::from_millis(1500), answer).to_string();
        assert_eq!(row(Outcome::passed("3 asks", json!({}))), "PASS     cycles                1.50 s  3 asks");
        assert_eq!(row(Outcome::not_run("no data")), "NOT RUN  cycles                1.50 s  no data");
        assert_eq!(row(Err("two\n  lines".to_owned())), "FAIL     cycles                1.50 s  two lines");
    }
}
