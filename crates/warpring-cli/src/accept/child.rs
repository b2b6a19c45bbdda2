//! A step's own process: started, listened to, and killed at its limit.

use super::step::{Answer, Outcome};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the parent looks whether the child has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Lines that are kept of each stream: the result is the last of standard output, and the last of standard error say what
/// happened to a child without a result.
const LINES_KEPT: usize = 3;

/// An answer, as the child prints it.
pub fn encode(answer: &Answer) -> Value {
    match answer {
        Ok(Outcome::Passed { found, details }) => json!({ "verdict": "pass", "found": found, "details": details }),
        Ok(Outcome::Missed { found, details }) => json!({ "verdict": "fail", "found": found, "details": details }),
        Ok(Outcome::NotRun { reason }) => json!({ "verdict": "not run", "found": reason }),
        Err(why) => json!({ "verdict": "fail", "found": why }),
    }
}

/// The answer that a child printed; `None` if the line is none.
fn decode(line: &str) -> Option<Answer> {
    let value: Value = serde_json::from_str(line).ok()?;
    let found = value["found"].as_str()?.to_owned();
    match value["verdict"].as_str()? {
        "pass" => Some(Ok(Outcome::Passed { found, details: value["details"].clone() })),
        "not run" => Some(Ok(Outcome::NotRun { reason: found })),
        "fail" if !value["details"].is_null() => Some(Ok(Outcome::Missed { found, details: value["details"].clone() })),
        "fail" => Some(Err(found)),
        _ => None,
    }
}

/// Runs a step in a process of its own, for so long at most.
///
/// # Errors
/// Why the step failed, which includes that it did not end, or ended without a result.
pub fn run(executable: &Path, step: &str, backend: &[String], data: Option<&Path>, limit: Duration) -> Answer {
    let mut command = Command::new(executable);
    command.args(["accept", "--child", step]).args(backend);
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    // The line of a panic says enough; a backtrace would hide it.
    command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("its process could not be started: {error}"))?;
    let printed = child.stdout.take().map(last_lines);
    let said = child.stderr.take().map(last_lines);
    let ended = wait(&mut child, limit);
    let printed = joined(printed);
    let said = joined(said);
    let said = if said.is_empty() { String::new() } else { format!("; it said last: {}", said.join(" | ")) };
    match ended {
        Err(error) => Err(format!("its process was lost: {error}{said}")),
        Ok(None) => Err(format!("killed at its limit of {} s{said}", limit.as_secs_f64())),
        Ok(Some(status)) => match printed.last().and_then(|line| decode(line)) {
            Some(answer) if status.success() => answer,
            _ => Err(format!("its process ended without a result ({status}){said}")),
        },
    }
}

/// `None`: it was killed at the limit.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Reads to the end, so that the child never waits for its reader, and keeps the last lines.
fn last_lines(from: impl Read + Send + 'static) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut kept = std::collections::VecDeque::new();
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if !line.trim().is_empty() && !line.starts_with("note: run with") {
                kept.push_back(line.trim().to_owned());
            }
            if kept.len() > LINES_KEPT {
                kept.pop_front();
            }
        }
        kept.into()
    })
}

fn joined(lines: Option<JoinHandle<Vec<String>>>) -> Vec<String> {
    lines.and_then(|lines| lines.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_printed() {
        for answer in [
            Outcome::passed("all \"well\"\n", json!({ "n": 3 })),
            Outcome::missed("too slow", json!({ "ns": 700 })),
            Outcome::not_run("no data"),
            Err("wrong in line 3".to_owned()),
        ] {
            assert_eq!(decode(&encode(&answer).to_string()), Some(answer));
        }
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        for line in ["", "PASS", "{}", r#"{"verdict":"pass"}"#, r#"{"verdict":"fine","found":"x"}"#, "[1]"] {
            assert_eq!(decode(line), None, "{line}");
        }
    }
}
