//! Kernel crates that are compiled for the GPU, and what is said about those that cannot be. They need the nightly toolchain.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use warpring_build::{Compiled, Error, Kernels, Rule};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All tests share what is compiled for the device, with each other and with `cargo xtask ptx`.
fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("warpring")
}

/// Compiles the fixture with a feature; `None`, with a line that says so, where no toolchain can.
fn compile(feature: &str) -> Option<Result<Compiled, Error>> {
    here(Kernels::new(fixtures().join("breaks")).features([feature]).scratch(scratch()).compile())
}

fn here(compiled: Result<Compiled, Error>) -> Option<Result<Compiled, Error>> {
    match compiled {
        Err(error @ (Error::NoRustup(_) | Error::NoNightly { .. } | Error::NoRustSrc { .. } | Error::NoCargo { .. })) => {
            // Not by a macro: those are captured.
            let _ = writeln!(io::stderr(), "skipped: {error}");
            None
        }
        other => Some(other),
    }
}

/// Number of the line of the fixture that has this text.
fn line_of(text: &str) -> usize {
    let source = fs::read_to_string(fixtures().join("breaks/src/lib.rs")).unwrap();
    source.lines().position(|line| line.contains(text)).unwrap() + 1
}

#[test]
fn a_clean_crate_becomes_a_module() {
    let Some(compiled) = compile("default") else { return };
    let compiled = compiled.unwrap();
    assert_eq!(compiled.report.entries.len(), 3, "{:?}", compiled.report);
    assert!(compiled.report.entries.iter().all(|entry| entry.starts_with("warpring_")), "{:?}", compiled.report);
    assert!(compiled.text.contains(".visible .global .align 8 .b8 WARPRING_LAYOUT[40]"));
    assert!(compiled.text.starts_with(".version 7.0\n.target sm_70\n"));
}

#[test]
fn a_handler_that_allocates_is_named() {
    let Some(refused) = compile("allocates") else { return };
    let error = refused.unwrap_err();
    let Error::Allocates { functions, .. } = &error else { panic!("{error}") };
    assert!(functions.contains(&"breaks::audit".to_owned()), "{error}");
    let said = error.to_string();
    assert!(said.contains("`breaks::audit` allocates") && said.contains("`no_std` on the GPU"), "{said}");
    assert!(said.contains(&format!("src/lib.rs:{}", line_of("extern crate alloc"))), "{said}");
}

#[test]
fn std_is_refused_with_the_line_that_uses_it() {
    let Some(refused) = compile("std") else { return };
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::Compile { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains(&format!("src/lib.rs:{}", line_of("std::time"))), "{said}");
    assert!(said.contains("kernels are `no_std` on the GPU"), "{said}");
    assert!(error.hint().is_some_and(|hint| hint.contains("use `core`")), "{error:?}");
}

#[test]
fn a_thread_local_is_refused_with_its_line() {
    let Some(refused) = compile("thread-local") else { return };
    let said = refused.unwrap_err().to_string();
    assert!(said.contains(&format!("src/lib.rs:{}", line_of("thread_local!"))), "{said}");
    assert!(said.contains("kernels are `no_std` on the GPU: no `std`, no thread-locals"), "{said}");
}

#[test]
fn a_crate_without_no_std_is_told_the_line_to_add() {
    let Some(refused) = compile("hosted") else { return };
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("kernels are `no_std` on the GPU"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("put `#![no_std]` at the top")), "{error:?}");
    assert!(error.to_string().lines().count() < 10, "what follows from it is left out: {error}");
}

#[test]
fn a_call_out_of_the_module_names_the_function_that_makes_it() {
    let Some(refused) = compile("calls-c") else { return };
    let error = refused.unwrap_err();
    let Error::Checks { findings, .. } = &error else { panic!("{error}") };
    assert_eq!((findings.len(), findings[0].rule, findings[0].what.as_str()), (1, Rule::Extern, "labs"), "{error}");
    assert_eq!(findings[0].users, ["breaks::audit"], "{error}");
}

#[test]
fn a_large_message_that_is_moved_is_right_but_slow() {
    let (Some(large), Some(small)) = (compile("copies-bytes"), compile("default")) else { return };
    let slow = large.unwrap().report.slow;
    assert!(!slow.is_empty() && slow.iter().all(|function| function.contains("breaks::")), "{slow:?}");
    assert_eq!(small.unwrap().report.slow, Vec::<String>::new());
}

#[test]
fn a_path_in_the_text_is_not_one_of_this_machine() {
    let Some(compiled) = compile("tells-where") else { return };
    let bytes: Vec<String> = "src/lib.rs".bytes().map(|byte| byte.to_string()).collect();
    let path = format!("{{{}", bytes.join(", "));
    let text = compiled.unwrap().text;
    assert!(text.contains(&path), "{path}");
}

/// Copies a directory, without what was built in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            if entry.file_name() != "target" {
                copy(&from, &to);
            }
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn the_text_does_not_depend_on_where_the_source_lies() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let elsewhere = Path::new(env!("CARGO_TARGET_TMPDIR")).join("a checkout/with a longer path");
    copy(crates, &elsewhere.join("crates"));
    for file in ["Cargo.toml", "Cargo.lock"] {
        let text = fs::read_to_string(crates.parent().unwrap().join(file)).unwrap();
        fs::write(elsewhere.join(file), text.replace(r#", "examples", "xtask"]"#, "]")).unwrap();
    }
    let kernels = |crates: &Path| Kernels::new(crates.join("warpring-kernels"));
    let Some(here) = here(kernels(crates).scratch(scratch()).compile()) else { return };
    let here = here.unwrap();
    let there = kernels(&elsewhere.join("crates")).scratch(elsewhere.join("scratch")).compile().unwrap();
    assert_eq!(here.report, there.report);
    let differs = here.text.lines().zip(there.text.lines()).find(|(a, b)| a != b);
    assert!(here.text == there.text, "{differs:?}");
    for dir in [crates, &elsewhere] {
        assert!(!there.text.contains(&*dir.to_string_lossy()));
    }
}

#[test]
fn a_build_script_builds_its_own_crate_on_stable_and_only_when_sources_change() {
    if compile("default").is_none() {
        return;
    }
    let manifest = fixtures().join("builds-itself/Cargo.toml");
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).arg("--manifest-path").arg(&manifest);
        command.arg("--target-dir").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("host"));
        let done = command.env("FIXTURE_SCRATCH", scratch()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{said}");
        (String::from_utf8_lossy(&done.stdout).into_owned(), said)
    };
    let (ptx, _) = cargo(&["run", "--quiet"]);
    assert!(ptx.starts_with(".version") && ptx.contains(".visible .entry warpring_run("), "{ptx}");
    let (_, said) = cargo(&["build", "--verbose"]);
    assert!(said.contains("Fresh builds-itself"), "{said}");
    let source = fixtures().join("builds-itself/src/lib.rs");
    fs::File::options().append(true).open(source).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    let (_, said) = cargo(&["build", "--verbose"]);
    assert!(said.contains("build-script-build"), "{said}");
}
