//! `warpring snapshot`: what is listed, verified and shown.

mod support;

use serde_json::json;
use support::{Scratch, warpring};
use warpring::block_on;
use warpring::prelude::*;
use warpring_conformance::kernels::cell::Cell;
use warpring_conformance::kernels::subject::{Note, Subject};

/// A snapshot of an actor that has noted two messages, and of a group.
fn snapshot(scratch: &Scratch, name: &str) -> String {
    let runtime = Runtime::builder().module(&warpring_conformance::MODULE).backend(Backend::Cpu).workers(2).pin(false);
    let runtime = runtime.build().unwrap();
    let subject = block_on(runtime.launch(Subject::default(), LaunchOptions::default())).unwrap();
    for seq in [1, 2] {
        block_on(subject.ask(Note { from: 3, seq })).unwrap();
    }
    let cells = block_on(runtime.launch_many(5, LaunchOptions::default(), |i| Cell::new(10 * u64::from(i)))).unwrap();
    let path = scratch.path(name);
    block_on(runtime.snapshot().actor("subject", &subject).group("cells", &cells).write(&path)).unwrap();
    path
}

#[test]
fn usage() {
    for help in [vec!["snapshot", "--help"], vec!["snapshot", "show", "--help"]] {
        assert!(warpring(&help).quiet().contains("Usage: warpring snapshot"));
    }
    for wrong in [vec!["snapshot"], vec!["snapshot", "list"], vec!["snapshot", "show", "x", "--actor", "1"]] {
        assert_eq!(warpring(&wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_folder_is_listed_without_what_is_no_snapshot() {
    let scratch = Scratch::new();
    let path = snapshot(&scratch, "a.snap");
    let whole = std::fs::read(&path).unwrap();
    scratch.file("b.snap", &whole[..whole.len() - 1]);
    scratch.file("notes.txt", "not one");
    scratch.file(".a.snap.1-0.partial", &whole);
    let folder = scratch.path("");
    let listed = warpring(&["snapshot", "list", &folder]).quiet();
    let lines: Vec<_> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].contains("a.snap  20") && lines[0].contains("2 entries, 6 actors, "), "{listed}");
    assert!(lines[1].contains("b.snap: damaged at byte "), "{listed}");
    let listed = warpring(&["snapshot", "list", &path, "--json"]).json();
    assert_eq!((&listed[0]["actors"], &listed[0]["file_bytes"]), (&json!(6), &json!(whole.len())));
    let empty = warpring(&["snapshot", "list", &Scratch::new().path("")]);
    assert_eq!((empty.code, empty.out.as_str(), empty.err.trim_end()), (Some(0), "", "no snapshots"));
    let notes = scratch.path("notes.txt");
    warpring(&["snapshot", "list", &notes]).fails_with(&format!("error: {notes}: not a snapshot"));
}

#[test]
fn what_is_damaged_is_found_and_exit_code_1() {
    let scratch = Scratch::new();
    let good = snapshot(&scratch, "good.snap");
    assert_eq!(warpring(&["snapshot", "verify", &good]).quiet(), format!("whole    {good}: 6 actors\n"));
    let mut bytes = std::fs::read(&good).unwrap();
    let last = bytes.len() - 57;
    bytes[last] ^= 1;
    let bad = scratch.file("bad.snap", &bytes);
    let done = warpring(&["snapshot", "verify", &good, &bad]);
    done.fails_with("error: 1 of 2 files are no whole snapshots");
    assert!(done.out.contains(&format!("damaged  {bad}: damaged at byte ")), "{done:?}");
    assert!(done.out.contains("the checksum of this chunk is another"), "{done:?}");
    let done = warpring(&["snapshot", "verify", &bad, "--json"]);
    assert_eq!((done.code, done.json()[0]["path"].as_str()), (Some(1), Some(&*bad)));
}

#[test]
fn states_are_shown_field_by_field() {
    let scratch = Scratch::new();
    let path = snapshot(&scratch, "a.snap");
    let shown = warpring(&["snapshot", "show", &path]).quiet();
    for part in
        ["subject (actor of conformance/subject version 1): 1 actor", "cells (group of conformance/cell", "log.seen: [u16; 40]"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown = warpring(&["snapshot", "show", &path, "subject"]).quiet();
    assert!(shown.contains("    last: Resident<[u32; 16]> = [0, 0, 0, 2, 0,"), "{shown}");
    assert!(shown.contains("      log.count: u32 = 2\n"), "{shown}");
    let shown = warpring(&["snapshot", "show", &path, "cells", "--actor", "3"]).quiet();
    assert!(shown.contains("  actor 3 at 1:") && shown.contains("state: Resident<u64> = 30\n"), "{shown}");
    let shown = warpring(&["snapshot", "show", &path, "cells", "--actor", "3", "--json"]).json();
    assert_eq!((&shown["actor"]["state"], &shown["actors"]), (&json!({ "state": 30 }), &json!(5)));
    let shown = warpring(&["snapshot", "show", &path, "subject", "--json"]).json();
    assert_eq!(shown["actor"]["state"]["log.sum"], json!(3));
    let shown = warpring(&["snapshot", "show", &path, "--json"]).json();
    assert_eq!(shown["entries"][1]["fields"][0]["type"], json!("Resident<u64>"));
    warpring(&["snapshot", "show", &path, "cell"])
        .fails_with(&format!("error: {path}: there is no entry `cell`\nhint: its entries are subject, cells"));
    warpring(&["snapshot", "show", &path, "cells", "--actor", "5"])
        .fails_with(&format!("error: {path}: entry `cells` has 5 actors, and no number 5"));
}
