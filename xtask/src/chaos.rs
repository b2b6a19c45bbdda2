//! `cargo xtask chaos`: random histories in the simulator, and the build with a planted bug that they must find.

use std::process::{Command, ExitCode, Stdio};

const TEST: &[&str] = &["test", "-p", "warpring-conformance", "--test", "chaos"];
/// The test that draws seeds.
const HISTORIES: &str = "every_message_has_one_fate_in_order_and_states_are_the_models";

pub const USAGE: &str = "cargo xtask chaos [--seeds N] [--seed S] [--canary]";

/// Runs the test with these arguments.
pub fn run(args: &[&str]) -> ExitCode {
    let (variable, number) = match args {
        [] => return tests(&mut cargo()),
        ["--canary"] => return canary(),
        ["--seeds", number] => ("CHAOS_SEEDS", number),
        ["--seed", number] => ("CHAOS_SEED", number),
        _ => return usage(),
    };
    if number.parse::<u64>().is_err() {
        return usage();
    }
    tests(cargo().env(variable, number).args([HISTORIES, "--", "--nocapture"]))
}

fn usage() -> ExitCode {
    eprintln!("usage: {USAGE}");
    ExitCode::from(2)
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    // cargo runs xtask with these set, and a cargo inside would take the toolchain from them.
    cargo.args(TEST).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    cargo
}

fn tests(cargo: &mut Command) -> ExitCode {
    match cargo.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: cargo cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds with the planted bug, and passes if the test finds it: it must run, and fail because of a fate or an order.
fn canary() -> ExitCode {
    let mut cargo = cargo();
    cargo.arg(HISTORIES).env("RUSTFLAGS", "--cfg warpring_canary").env("CARGO_TARGET_DIR", "target/canary");
    let output = match cargo.env("RUST_BACKTRACE", "0").stderr(Stdio::inherit()).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("error: cargo cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    match found(&said) {
        Some(line) if !output.status.success() => {
            println!("the planted bug was found: {line}");
            ExitCode::SUCCESS
        }
        _ => {
            println!("{said}");
            println!("error: the chaos test has not found the bug that `--cfg warpring_canary` plants");
            ExitCode::FAILURE
        }
    }
}

/// The line that says which seed fails, and that a message had no fate, or was out of order.
fn found(said: &str) -> Option<&str> {
    said.lines().find(|line| line.starts_with("seed ") && (line.contains(" fails: fate: ") || line.contains(" fails: order: ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_or_reordered_message_is_the_canary() {
        let fate = "seed 3 fails: fate: message 4 to 0:1.1 was handled twice";
        assert_eq!(found(&format!("running 1 test\n{fate}\nreproduce it: ..")), Some(fate));
        assert_eq!(found("error: could not compile `warpring-core`"), None);
        assert_eq!(found("seed 3 fails: the script panicked: no port"), None);
    }
}
