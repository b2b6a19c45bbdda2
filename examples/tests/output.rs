//! Each program in `src/bin` prints what stands in `expected`.

use std::path::Path;
use std::process::Command;

fn stdout_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program starts");
    assert!(output.status.success(), "{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{program} says {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn expected(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn bank() {
    assert_eq!(stdout_of(env!("CARGO_BIN_EXE_bank"), &[]), expected("bank.txt"));
}

#[test]
fn group() {
    assert_eq!(stdout_of(env!("CARGO_BIN_EXE_group"), &[]), expected("group.txt"));
}

#[test]
fn pipeline() {
    assert_eq!(stdout_of(env!("CARGO_BIN_EXE_pipeline"), &[]), expected("pipeline.txt"));
}

#[test]
fn ports() {
    assert_eq!(stdout_of(env!("CARGO_BIN_EXE_ports"), &[]), expected("ports.txt"));
}

#[test]
fn topics() {
    assert_eq!(stdout_of(env!("CARGO_BIN_EXE_topics"), &[]), expected("topics.txt"));
}

/// The rates stand behind the last comma, and differ from run to run.
fn without_rates(output: &str) -> String {
    output.lines().map(|line| line.rsplit_once(',').map_or(line, |(facts, _)| facts).to_owned() + "\n").collect()
}

#[test]
fn skynet() {
    assert_eq!(without_rates(&stdout_of(env!("CARGO_BIN_EXE_skynet"), &[])), expected("skynet.txt"));
}

#[test]
fn savina_runs_every_program() {
    let output = stdout_of(env!("CARGO_BIN_EXE_savina"), &["--small", "--workers", "2"]);
    assert_eq!(without_rates(&output), expected("savina.txt"));
}

#[test]
fn savina_runs_the_programs_that_are_named() {
    let output = stdout_of(env!("CARGO_BIN_EXE_savina"), &["--small", "--workers", "1", "big", "ping_pong"]);
    let expected = expected("savina.txt");
    let line =
        |name: &str| expected.lines().find(|line| line.starts_with(name)).expect("a line for each program").to_owned() + "\n";
    assert_eq!(without_rates(&output), line("big") + &line("ping_pong"));
}

#[test]
fn savina_lists_the_programs_when_a_name_is_wrong() {
    let output = Command::new(env!("CARGO_BIN_EXE_savina")).arg("barbers").output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("savina: there is no `barbers`; there are ping_pong, counting, "), "{said}");
}
