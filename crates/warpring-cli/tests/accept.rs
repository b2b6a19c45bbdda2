//! `warpring accept`: it counts, it kills what hangs, and it says what it did not look at.

mod support;

use serde_json::Value;
use support::data::data_file;
use support::{Done, Scratch, warpring};

/// Steps that take no time worth mentioning, also without optimisation.
const QUICK: [&str; 5] = ["cycles", "panic", "stop-under-load", "hibernate", "published-features"];

fn accept(steps: &[&str], more: &[&str]) -> Done {
    let mut arguments = vec!["accept"];
    steps.iter().for_each(|step| arguments.extend(["--step", step]));
    arguments.extend(more);
    warpring(&arguments)
}

/// The lines of the steps, each split into verdict and name.
fn rows(done: &Done) -> Vec<(String, String)> {
    let row = |line: &str| {
        let verdict = ["PASS", "FAIL", "NOT RUN"].into_iter().find(|verdict| line.starts_with(verdict))?;
        Some((verdict.to_owned(), line[verdict.len()..].split_whitespace().next()?.to_owned()))
    };
    done.out.lines().filter_map(row).collect()
}

fn read_json(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn steps_on_the_cpu_pass_and_are_counted() {
    let scratch = Scratch::new();
    let report = scratch.path("report.json");
    let done = accept(&QUICK, &["--backend", "cpu", "--json", &report]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{done:?}");
    assert!(done.out.starts_with("backend cpu; "), "{done:?}");
    assert!(done.out.contains("\n5 steps, "), "{done:?}");
    // In the order of the command, whatever the order they were named in.
    let expected = [
        ("NOT RUN", "published-features"),
        ("PASS", "cycles"),
        ("PASS", "panic"),
        ("PASS", "stop-under-load"),
        ("NOT RUN", "hibernate"),
    ];
    assert_eq!(rows(&done), expected.map(|(verdict, name)| (verdict.to_owned(), name.to_owned())), "{done:?}");
    assert!(done.out.lines().last().unwrap().starts_with("3 passed, 0 failed, 2 not run, in "), "{done:?}");
    for reason in ["no published data was named with `--data`", "CPU workers sleep by the idle policy"] {
        assert!(done.out.contains(reason), "{reason} in {done:?}");
    }
    let json = read_json(&report);
    assert_eq!((&json["passed"], &json["failed"], &json["not_run"]), (&3.into(), &0.into(), &2.into()));
    assert_eq!((&json["backend"], &json["device"]), (&"cpu".into(), &Value::Null));
    assert!(json["date"].as_str().unwrap().ends_with('Z') && !json["commit"].as_str().unwrap().is_empty(), "{json}");
    assert!(json["machine"]["cores"].as_u64() > Some(0), "{json}");
    let steps = json["steps"].as_array().unwrap();
    for (step, (verdict, name)) in steps.iter().zip(expected) {
        assert_eq!((&step["name"], &step["verdict"]), (&name.into(), &verdict.to_lowercase().into()));
        assert!(step["seconds"].as_f64() > Some(0.0) && !step["found"].as_str().unwrap().is_empty(), "{step}");
        assert_eq!(step["details"].is_object(), verdict == "PASS", "{step}");
    }
    assert!(steps[1]["details"]["asks"].as_u64() > Some(1000), "{json}");
}

#[cfg(feature = "sim")]
#[test]
fn every_step_in_the_simulator_passes_or_says_why_it_was_not_run() {
    let done = accept(&[], &["--backend", "sim"]);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{done:?}");
    let rows = rows(&done);
    assert_eq!(rows.len(), 14, "{done:?}");
    let passed: Vec<_> = rows.iter().filter(|(verdict, _)| verdict == "PASS").map(|(_, name)| name.as_str()).collect();
    let expected =
        ["conformance", "fraud-features", "many-actors", "cycles", "full-rings", "panic", "stop-under-load", "hibernate"];
    assert_eq!(passed, expected, "{done:?}");
    assert!(done.out.contains("300 actors on 1 workers, 30000 messages"), "{done:?}");
    assert!(done.out.contains("the simulator's time is virtual"), "{done:?}");
}

#[test]
fn given_data_is_compared_with_what_was_published() {
    let Some(file) = data_file("kraken/kraken_book1000_5pairs.ws.gz") else { return };
    let data = file.ancestors().nth(2).unwrap().to_str().unwrap();
    let done = accept(&["market-book"], &["--data", data]);
    assert_eq!(rows(&done), [("PASS".to_owned(), "market-book".to_owned())], "{done:?}");
    assert!(done.out.contains("kraken: 2600 updates of 5 books, all 2595 checksums agree"), "{done:?}");
}

#[test]
fn data_that_is_absent_or_wrong_is_never_a_pass() {
    let scratch = Scratch::new();
    let empty = scratch.path("");
    let done = accept(&["published-features", "market-book"], &["--data", &empty]);
    assert_eq!(done.code, Some(0));
    assert!(rows(&done).iter().all(|(verdict, _)| verdict == "NOT RUN"), "{done:?}");
    assert!(done.out.contains("transactions_2018-04.csv.gz is not there"), "{done:?}");
    for folder in ["fraud", "kraken"] {
        std::fs::create_dir(scratch.path(folder)).unwrap();
    }
    scratch.file("fraud/transactions_2018-04.csv.gz", "no gzip");
    scratch.file("fraud/features_2018-04.csv.gz", "no gzip");
    scratch.file("kraken/kraken_book1000_5pairs.ws.gz", "1.0: {}\n");
    let done = accept(&["published-features", "market-book"], &["--data", &empty]);
    assert_eq!(done.code, Some(1));
    assert!(rows(&done).iter().all(|(verdict, _)| verdict == "FAIL"), "{done:?}");
    assert!(done.out.contains("transactions_2018-04.csv.gz:1: "), "{done:?}");
    assert!(done.err.starts_with("error: not accepted: published-features, market-book failed\nhint: "), "{done:?}");
}

#[test]
fn a_step_beyond_its_limit_is_killed_and_fails_and_the_next_goes_on() {
    let start = std::time::Instant::now();
    // Ten million messages take longer than that on any machine.
    let done = accept(&["many-actors", "hibernate"], &["--limit", "0.1"]);
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.out.contains("killed at its limit of 0.1 s"), "{done:?}");
    assert_eq!(rows(&done)[0], ("FAIL".to_owned(), "many-actors".to_owned()), "{done:?}");
    assert_eq!(rows(&done)[1].1, "hibernate", "{done:?}");
    assert!(done.out.lines().last().unwrap().contains(" 1 failed, "), "{done:?}");
    assert!(done.err.starts_with("error: not accepted: many-actors failed\nhint: "), "{done:?}");
}

#[test]
fn an_unknown_step_is_wrong_usage_and_the_steps_are_listed() {
    let done = accept(&["flying"], &[]);
    assert_eq!((done.code, done.out.as_str()), (Some(2), ""));
    for step in ["conformance", "fraud-features", "many-actors", "full-rings", "figures"] {
        assert!(done.err.contains(step), "{step} in {done:?}");
    }
    for limit in ["0", "-1", "NaN", "361", "soon"] {
        let done = accept(&["cycles"], &[&format!("--limit={limit}")]);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{limit}: {done:?}");
        assert!(done.err.contains("a number of seconds above 0, at most 360"), "{done:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let done = accept(&["hibernate"], &["--json", "no/such/folder/report.json"]);
    done.fails_with("error: no/such/folder/report.json: No such file or directory (os error 2)");
    assert_eq!(done.out, "", "no step is run for nothing");
}

#[test]
fn without_a_driver_cuda_is_an_error_before_any_step() {
    if !matches!(warpring::devices(), Err(warpring::CudaError::NoDriver)) {
        println!("skipped: this machine has a CUDA driver");
        return;
    }
    let done = accept(&[], &["--backend", "cuda"]);
    assert_eq!(done.out, "");
    done.fails_with(
        "error: there is no CUDA driver on this machine: install NVIDIA's driver, or use the cpu backend\nhint: use `--backend auto` or `--backend cpu`; the answers are the same",
    );
}

#[cfg(feature = "sim")]
#[test]
fn launches_are_bounded_where_there_are_launches() {
    let done = accept(&["cycles"], &["--backend", "sim", "--messages-per-launch", "50"]);
    assert_eq!(rows(&done), [("PASS".to_owned(), "cycles".to_owned())], "{done:?}");
    let done = accept(&["cycles"], &["--backend", "cpu", "--messages-per-launch", "50"]);
    assert_eq!(done.out, "");
    done.fails_with("error: `--messages-per-launch` bounds the launches of a grid, and backend cpu has none");
    assert_eq!(accept(&["cycles"], &["--messages-per-launch", "0"]).code, Some(2));
}
