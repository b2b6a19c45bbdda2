//! The command as a whole: help, exit codes, the catalogue and the doctor.

mod support;

use support::{Scratch, warpring};

#[test]
fn help_goes_to_standard_output() {
    for arguments in [
        vec!["--help"],
        vec!["run", "--help"],
        vec!["run", "fraud-features", "--help"],
        vec!["run", "market-book", "--help"],
        vec!["kernels", "--help"],
        vec!["doctor", "--help"],
        vec!["dead-letters", "--help"],
        vec!["dead-letters", "resend", "--help"],
    ] {
        let help = warpring(&arguments).quiet();
        assert!(help.contains("Usage: warpring"), "{help}");
    }
    let jobs = warpring(&["run", "--help"]).quiet();
    assert!(jobs.contains("fraud-features  ") && jobs.contains("market-book     "), "{jobs}");
    assert!(warpring(&["--version"]).quiet().starts_with("warpring "));
}

#[test]
fn wrong_usage_is_exit_code_2_with_usage_on_standard_error() {
    for arguments in [
        vec![],
        vec!["fly"],
        vec!["run"],
        vec!["run", "fraud-features", "--backend", "abacus"],
        vec!["run", "fraud-features", "--workers", "0"],
        vec!["run", "fraud-features", "--workers", "257"],
        vec!["run", "fraud-features", "--seed", "1", "--input", "x.csv"],
        vec!["run", "market-book", "--format", "kraken"],
        vec!["run", "market-book", "--format", "nyse", "--input", "x.ws"],
        vec!["kernels", "extra"],
        vec!["dead-letters"],
        vec!["dead-letters", "--json"],
        vec!["dead-letters", "letters", "--reason", "boredom"],
        vec!["dead-letters", "resend"],
        vec!["dead-letters", "resend", "letters", "--to", "somebody"],
    ] {
        let done = warpring(&arguments);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(done.err.contains("Usage:") || done.err.contains("--help"), "{arguments:?}: {}", done.err);
    }
}

#[test]
fn without_a_driver_cuda_is_an_error_with_a_hint() {
    if !matches!(warpring::devices(), Err(warpring::CudaError::NoDriver)) {
        println!("skipped: this machine has a CUDA driver");
        return;
    }
    let recording = Scratch::new();
    let recording = recording.file("empty.ws", "");
    for job in [vec!["run", "fraud-features"], vec!["run", "market-book", "--format", "okx", "--input", &recording]] {
        let done = warpring(&[job, vec!["--backend", "cuda"]].concat());
        assert_eq!(done.out, "");
        done.fails_with(
            "error: there is no CUDA driver on this machine: install NVIDIA's driver, or use the cpu backend\nhint: use `--backend auto` or `--backend cpu`; the answers are the same",
        );
    }
}

#[test]
fn the_catalogue_lists_every_kernel_of_the_module() {
    let text = warpring(&["kernels"]).quiet();
    let json = warpring(&["kernels", "--json"]).json();
    let kernels = json["kernels"].as_array().unwrap();
    let ids: Vec<_> = kernels.iter().map(|kernel| kernel["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["fraud/customer-window", "fraud/terminal-risk", "market/book"]);
    for kernel in kernels {
        for field in ["id", "domain", "mode", "description"] {
            assert!(text.contains(kernel[field].as_str().unwrap()), "{field} of {kernel}");
        }
        assert!(kernel["version"].as_u64() >= Some(1));
        assert!(text.contains(&format!("{} bytes", kernel["state_bytes"])));
    }
    assert_eq!(kernels[2]["messages"], serde_json::json!([{ "request": "BookUpdate", "reply": "BookReply" }]));
    assert_eq!(kernels[0]["state_bytes"], 4144);
}

#[test]
fn the_doctor_never_fails_and_names_a_cure_for_all_that_is_missing() {
    let done = warpring(&["doctor"]);
    assert_eq!(done.code, Some(0));
    assert!(done.out.lines().any(|line| line.starts_with("ok       runtime")), "{done:?}");
    let json = warpring(&["doctor", "--json"]).json();
    for finding in json["findings"].as_array().unwrap() {
        let ok = finding["ok"].as_bool().unwrap();
        assert!(!finding["found"].as_str().unwrap().is_empty(), "{finding}");
        assert_eq!(finding["cure"].is_null(), ok, "{finding}");
    }
    let names: Vec<_> = json["findings"].as_array().unwrap().iter().map(|finding| finding["name"].as_str().unwrap()).collect();
    for name in ["cpu", "runtime", "membarrier", "backends built", "nvidia driver", "nightly rust", "rust-src", "ptxas"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}

/// A machine without any tools: the doctor finds nothing, and says so.
#[test]
fn the_doctor_runs_on_a_bare_machine() {
    let empty = Scratch::new();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_warpring"))
        .arg("doctor")
        .env_clear()
        .env("PATH", empty.path(""))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("missing  nightly rust    no `rustc` on the path"), "{text}");
    assert!(text.contains("missing  ptxas           no `ptxas` on the path"), "{text}");
}
