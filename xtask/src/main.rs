//! `cargo xtask ci`: everything that CI checks, in one run, with one closing line that counts.
//!
//! `cargo xtask ci STEP..` runs single steps, by name; `cargo xtask steps` lists them. `cargo xtask ptx` makes the committed PTX again.
//! `cargo xtask gpu` accepts this machine's GPU, where it has one. `cargo xtask chaos` draws random histories.

mod chaos;
mod gpu;
mod ptx;

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// One step of CI: a name, what it is for, and the command.
struct Step {
    name: &'static str,
    what: &'static str,
    program: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

/// The README's test command is the step `test`.
const STEPS: &[Step] = &[
    Step {
        name: "nightly-setup",
        what: "the nightly components that Miri and the GPU target need",
        program: &["rustup", "component", "add", "rust-src", "miri", "--toolchain", "nightly"],
        env: &[],
    },
    Step { name: "format", what: "the source is formatted", program: &["cargo", "fmt", "--all", "--check"], env: &[] },
    Step {
        name: "lint",
        what: "clippy finds nothing",
        program: &["cargo", "clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
        env: &[],
    },
    Step { name: "test", what: "the README's test command", program: &["cargo", "test", "--workspace"], env: &[] },
    Step {
        name: "canary",
        what: "the chaos test finds a planted bug within its seeds",
        program: &["cargo", "xtask", "chaos", "--canary"],
        env: &[],
    },
    Step {
        name: "docs",
        what: "the documentation builds without warnings",
        program: &["cargo", "doc", "--quiet", "--workspace", "--no-deps"],
        env: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    Step {
        name: "loom",
        what: "every interleaving of the rings and the reply cell",
        program: &["cargo", "test", "--release", "-p", "warpring-core", "--test", "loom_ring"],
        env: &[("RUSTFLAGS", "--cfg loom"), ("CARGO_TARGET_DIR", "target/loom"), ("CARGO_PROFILE_RELEASE_LTO", "off")],
    },
    Step {
        name: "miri",
        what: "no undefined behaviour in the core's tests",
        program: &["cargo", "+nightly", "miri", "test", "-p", "warpring-core"],
        env: &[("CARGO_TARGET_DIR", "target/miri"), ("MIRIFLAGS", "-Zmiri-permissive-provenance -Zmiri-disable-isolation")],
    },
    Step {
        name: "miri-threads",
        what: "the same with real threads, in several schedules",
        program: &["cargo", "+nightly", "miri", "test", "-p", "warpring-core", "--lib", "threads"],
        env: &[
            ("CARGO_TARGET_DIR", "target/miri"),
            ("MIRIFLAGS", "-Zmiri-permissive-provenance -Zmiri-disable-isolation -Zmiri-many-seeds=0..4"),
        ],
    },
    Step {
        name: "ptx",
        what: "the committed PTX is what the source gives, and every architecture takes it within its budget",
        program: &["cargo", "xtask", "ptx", "--check"],
        env: &[],
    },
    Step {
        name: "main-job",
        what: "the README's first command, release build: every answer verified",
        program: &["cargo", "run", "--release", "--quiet", "-p", "warpring-cli", "--", "run", "fraud-features"],
        env: &[],
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["steps"] => {
            STEPS.iter().for_each(|step| println!("{:12} {}", step.name, step.what));
            ExitCode::SUCCESS
        }
        ["ci", chosen @ ..] => ci(chosen),
        ["gpu"] => gpu::accept(),
        ["chaos", args @ ..] => chaos::run(args),
        ["ptx"] => ptx::write(),
        ["ptx", "--check"] => ptx::check(),
        _ => {
            let chaos = chaos::USAGE;
            eprintln!(
                "usage: cargo xtask ci [STEP..] | cargo xtask steps | cargo xtask ptx [--check] | cargo xtask gpu | {chaos}"
            );
            ExitCode::from(2)
        }
    }
}

fn ci(chosen: &[&str]) -> ExitCode {
    if let Some(unknown) = chosen.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        eprintln!("error: there is no step `{unknown}`\nhint: `cargo xtask steps` lists them");
        return ExitCode::from(2);
    }
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut broken = Vec::new();
    let mut times = Vec::new();
    for step in STEPS.iter().filter(|step| chosen.is_empty() || chosen.contains(&step.name)) {
        println!("==> {}: {}", step.name, step.what);
        let start = Instant::now();
        let outcome = run(step);
        times.push((step.name, start.elapsed().as_secs()));
        passed += outcome.passed;
        failed += outcome.failed;
        skipped += outcome.ignored;
        // A step without tests of its own counts as one check.
        if outcome.passed + outcome.failed == 0 {
            if outcome.ok { passed += 1 } else { failed += 1 }
        } else if !outcome.ok && outcome.failed == 0 {
            failed += 1;
        }
        if !outcome.ok {
            broken.push(step.name);
        }
    }
    println!("==> seconds: {}", times.iter().map(|(name, s)| format!("{name} {s}")).collect::<Vec<_>>().join(", "));
    if !broken.is_empty() {
        println!("==> failed: {}", broken.join(", "));
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Outcome {
    ok: bool,
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Runs a step, passing its output on and adding up the `test result:` lines of cargo.
fn run(step: &Step) -> Outcome {
    let mut outcome = Outcome::default();
    let child = Command::new(step.program[0])
        .args(&step.program[1..])
        .envs(step.env.iter().copied())
        // cargo runs xtask with these set, and a cargo inside would take the toolchain from them.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            println!("cannot start `{}`: {error}", step.program[0]);
            return outcome;
        }
    };
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(counts) = line.strip_prefix("test result: ") {
                for (word, total) in
                    [("passed", &mut outcome.passed), ("failed", &mut outcome.failed), ("ignored", &mut outcome.ignored)]
                {
                    *total += count(counts, word);
                }
            }
            println!("{line}");
        }
    }
    outcome.ok = child.wait().is_ok_and(|status| status.success());
    outcome
}

/// The number before `word` in cargo's `ok. 3 passed; 0 failed; ..`.
fn count(line: &str, word: &str) -> u64 {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(2).find(|pair| pair[1].trim_end_matches(';') == word).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_cargos_closing_line() {
        let line = "ok. 12 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!([count(line, "passed"), count(line, "failed"), count(line, "ignored")], [12, 1, 3]);
        assert_eq!(count("FAILED", "passed"), 0);
    }
}
