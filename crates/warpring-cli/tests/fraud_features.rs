//! `warpring run fraud-features` on made-up input: the same output however it is run, and errors that say where.

mod support;

use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io::Write;
use support::{Done, Scratch, warpring};

const HEADER: &str = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD";

fn run(arguments: &[&str]) -> Done {
    warpring(&[&["run", "fraud-features"], arguments].concat())
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// So many transactions in twelve days, of more customers and terminals than are launched at once.
fn transactions(count: u64) -> String {
    let mut text = format!("{HEADER}\n");
    let mut random = 7_u64;
    for id in 0..count {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let seconds = id * 12 * 86_400 / count;
        writeln!(
            text,
            "{id},2018-04-{:02} {:02}:{:02}:{:02},{},{},{}.{:02},{}",
            1 + seconds / 86_400,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            (random >> 40) % 2500,
            (random >> 20) % 1500 + 1_000_000_007,
            (random >> 33) % 200,
            (random >> 50) % 100,
            u8::from(random >> 60 == 0),
        )
        .unwrap();
    }
    text
}

#[test]
fn the_output_is_the_same_for_any_number_of_workers() {
    let scratch = Scratch::new();
    let input = scratch.file("in.csv.gz", gzip(&transactions(20_000)));
    let one = run(&["--input", &input, "--workers", "1"]);
    assert_eq!((one.code, one.out.lines().count()), (Some(0), 20_001));
    assert!(one.err.contains("backend         cpu, 1 worker\nmessages        40000 in "), "{}", one.err);
    for workers in ["2", "4"] {
        let more = run(&["--input", &input, "--workers", workers, "--backend", "cpu"]);
        assert!(more.out == one.out, "other output with {workers} workers");
    }
    let output = scratch.path("out.csv");
    let summary = run(&["--input", &input, "--output", &output]).quiet();
    assert!(summary.contains("per second "), "{summary}");
    assert!(std::fs::read_to_string(output).unwrap() == one.out, "other output into a file");
}

#[cfg(feature = "sim")]
#[test]
fn the_output_is_the_same_in_the_simulator() {
    let scratch = Scratch::new();
    let input = scratch.file("in.csv", transactions(300));
    assert!(run(&["--input", &input, "--backend", "sim"]).out == run(&["--input", &input]).out);
}

#[test]
fn files_in_time_order_are_one_stream() {
    let scratch = Scratch::new();
    let text = transactions(3000);
    let whole = scratch.file("whole.csv", &text);
    let lines: Vec<_> = text.lines().collect();
    let first = scratch.file("first.csv", lines[..1200].join("\n"));
    let second = scratch.file("second.csv.gz", gzip(&[HEADER, &lines[1200..].join("\n")].join("\n")));
    assert!(run(&["--input", &whole]).out == run(&["--input", &first, "--input", &second]).out);
}

#[test]
fn without_input_every_answer_is_verified() {
    let done = run(&["--transactions", "30000", "--seed", "7"]);
    let text = done.quiet();
    assert!(text.contains("verified        30000 transactions equal the plain reference"), "{text}");
    assert!(text.contains("with up to 256 asks under way"), "{text}");
    let features = |seed| run(&["--transactions", "5000", "--seed", seed, "--output", "-"]).out;
    assert_eq!(features("1"), features("1"));
    assert_ne!(features("1"), features("2"));
}

#[test]
fn the_summary_as_json() {
    let json = run(&["--transactions", "2000", "--json", "--workers", "2"]).json();
    assert_eq!((&json["job"], &json["backend"], &json["workers"]), (&"fraud-features".into(), &"cpu".into(), &2.into()));
    assert_eq!((&json["messages"], &json["verified"], &json["asks_under_way"]), (&4000.into(), &2000.into(), &256.into()));
    let ask = &json["ask_ns_with_queueing"];
    assert!(ask["p50"].as_u64() > Some(0) && ask["p50"].as_u64() <= ask["p99.9"].as_u64(), "{ask}");
    assert!(json["messages_per_second"].as_f64() > Some(0.0) && json["seconds"].as_f64() > Some(0.0));
    assert!(json["actors"].as_u64() <= json["actors_launched"].as_u64());
    assert!(json["resident_bytes"].as_u64() > Some(0));
    let scratch = Scratch::new();
    let input = scratch.file("in.csv", transactions(10));
    let json = run(&["--input", &input, "--output", &scratch.path("out.csv"), "--json"]).json();
    assert!(json["verified"].is_null());
}

/// The error line, the hint if there is one, and how many rows were answered before, of a bad file.
#[track_caller]
fn bad(name: &str, bytes: &[u8], error: &str, hint: Option<&str>, rows: usize) {
    let scratch = Scratch::new();
    let input = scratch.file(name, bytes);
    let whole = scratch.file("whole.csv", transactions(3000));
    let done = run(&["--input", &input]);
    let hint = hint.map_or(String::new(), |hint| format!("\nhint: {hint}"));
    done.fails_with(&format!("error: {input}{error}{hint}"));
    // Header and answered rows are as they would be without the fault.
    let expected: Vec<_> = run(&["--input", &whole]).out.lines().take(rows + 1).map(str::to_owned).collect();
    assert_eq!(done.out.lines().count(), rows + 1);
    assert!(done.out.lines().eq(expected), "other rows before the fault");
}

#[test]
fn a_missing_column_is_named() {
    let hint = "the header must name TRANSACTION_ID, TX_DATETIME, CUSTOMER_ID, TERMINAL_ID, TX_AMOUNT and TX_FRAUD";
    bad(
        "in.csv",
        b"TRANSACTION_ID,TX_DATETIME\n",
        ":1: expected a column `CUSTOMER_ID`, but the header is `TRANSACTION_ID,TX_DATETIME`",
        Some(hint),
        0,
    );
}

#[test]
fn rows_before_a_bad_one_stay_written() {
    let good: Vec<_> = transactions(3000).lines().take(701).map(str::to_owned).collect();
    let good = good.join("\n");
    let with = |row: &[u8]| [good.as_bytes(), b"\n", row, b"\n"].concat();
    let number = "field `TX_AMOUNT`: expected an amount from 0 to 72 billion with at most 6 decimals, found \"12,5\"";
    bad("in.csv", &with(b"9,2018-04-30 00:00:00,1,1,\"12,5\",0"), &format!(":702: {number}"), None, 700);
    bad(
        "in.csv.gz",
        &gzip(&String::from_utf8(with(b"9,2018-04-30 00:00:00,one,1,1,0")).unwrap()),
        ":702: field `CUSTOMER_ID`: expected a whole number below 2^64, found \"one\"",
        None,
        700,
    );
    bad(
        "in.csv",
        &with(b"9,2018-04-30 00:00:00,1,\xff,1,0"),
        ":702: field `TERMINAL_ID`: expected UTF-8 text, found other bytes",
        None,
        700,
    );
    let last = good.lines().last().unwrap().split(',').nth(1).unwrap();
    bad(
        "in.csv",
        &with(b"9,2018-04-01 00:00:00,1,1,1,0"),
        &format!(":702: field `TX_DATETIME`: expected a time not before {last}, found 2018-04-01 00:00:00"),
        Some("sort the input by time, and name several files in the order of their times"),
        700,
    );
}

#[test]
fn a_cut_off_gzip_file_is_named_with_the_line_it_reached() {
    let scratch = Scratch::new();
    let whole = gzip(&transactions(20_000));
    let input = scratch.file("in.csv.gz", &whole[..whole.len() / 2]);
    let done = run(&["--input", &input]);
    assert_eq!(done.code, Some(1));
    let (error, hint) = done.err.trim_end().split_once('\n').unwrap();
    assert_eq!(hint, "hint: the file was cut off: fetch it again");
    let line = error.strip_prefix(&format!("error: {input}:")).and_then(|rest| rest.strip_suffix(": the gzip file ends early"));
    let line: usize = line.unwrap_or_else(|| panic!("{error}")).parse().unwrap();
    // Every whole row before the cut was answered: lines less the header and the cut one, plus the header of the output.
    assert_eq!(done.out.lines().count(), line - 1);
    assert!(line > 1000, "{line}");
    let whole = run(&["--input", &scratch.file("whole.csv", transactions(20_000))]);
    assert!(whole.out.starts_with(&done.out));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    run(&["--input", "no/such.csv"]).fails_with("error: no/such.csv: No such file or directory (os error 2)");
}

#[test]
fn an_input_is_never_overwritten() {
    let scratch = Scratch::new();
    let input = scratch.file("in.csv", HEADER);
    run(&["--input", &input, "--output", &input])
        .fails_with(&format!("error: {input}: the output would overwrite this input\nhint: name another file for the output"));
    assert_eq!(std::fs::read_to_string(input).unwrap(), HEADER);
}

#[test]
fn an_actor_that_refuses_is_named_and_the_rows_before_stay_written() {
    let scratch = Scratch::new();
    let rows: Vec<_> = (0..400).map(|id| format!("{id},2018-04-01 00:00:00,5,{id},1,0")).collect();
    let input = scratch.file("busy.csv", format!("{HEADER}\n{}\n", rows.join("\n")));
    for workers in ["1", "3"] {
        let done = run(&["--input", &input, "--workers", workers]);
        assert_eq!(done.out.lines().count(), 1 + 256);
        done.fails_with(
            "error: transaction 256 at customer 5 was refused: its longest window already holds 256 transactions, which is \
             all that the state has room for",
        );
    }
}
