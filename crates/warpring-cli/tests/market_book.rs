//! `warpring run market-book` on made-up recordings, and on the exchanges' own where they are at hand.

mod support;

use std::io::Read;
use support::data::data_file;
use support::{Done, Scratch, warpring};

fn run(format: &str, input: &str, more: &[&str]) -> Done {
    warpring(&[&["run", "market-book", "--format", format, "--input", input], more].concat())
}

/// Bit by bit, as the standard defines it.
fn crc32(text: &str) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !text.bytes().fold(!0_u32, |crc, byte| (0..8).fold(crc ^ u32::from(byte), step))
}

/// Two books of two and one asks and bids, each with an update whose checksum was formed by hand: digits of the asks, then of
/// the bids, best first, without point and leading zeros.
fn kraken() -> String {
    let first = crc32(&["1010", "250", "1020", "300", "1000", "700", "990", "100"].concat());
    let second = crc32(&["55", "7", "50", "1"].concat());
    format!(
        r#"wss://example <- 1.0: {{"event":"subscribe"}}
1.1: {{"event":"heartbeat"}}
1.2: [1,{{"as":[["10.10","1.00","1.0"],["10.20","3.00","1.0"]],"bs":[["10.00","7.00","1.0"]]}},"book-10","A/B"]
1.3: [2,{{"as":[["0.55","0.07","1.0"]],"bs":[]}},"book-10","C/D"]
1.4: [1,{{"a":[["10.10","2.50","1.1"]]}},{{"b":[["9.90","1.00","1.1"]],"c":"{first}"}},"book-10","A/B"]
1.5: [2,{{"b":[["0.50","0.01","1.1"]],"c":"{second}"}},"book-10","C/D"]
"#
    )
}

#[test]
fn checksums_of_a_made_up_recording_hold_for_any_number_of_workers() {
    let scratch = Scratch::new();
    let input = scratch.file("in.ws", kraken());
    let text = run("kraken", &input, &["--workers", "1"]).quiet();
    assert_eq!(
        text,
        "pair                  updates  verified  failed              best bid             best ask\n\
         A/B                         2         1       0                 10.00                10.10\n\
         C/D                         2         1       0                  0.50                 0.55\n"
    );
    for workers in ["2", "4"] {
        assert_eq!(run("kraken", &input, &["--workers", workers]).quiet(), text);
    }
    let json = run("kraken", &input, &["--json"]).json();
    assert_eq!(json["job"], "market-book");
    assert_eq!(
        json["pairs"][1],
        serde_json::json!({
            "pair": "C/D", "updates": 2, "verified": 1, "failed": 0, "first_failure": null,
            "best_bid": { "price": "0.50", "volume": "0.01" }, "best_ask": { "price": "0.55", "volume": "0.07" },
        })
    );
}

#[test]
fn one_altered_volume_fails_the_job() {
    let scratch = Scratch::new();
    let input = scratch.file("in.ws", kraken().replace("\"10.20\",\"3.00\"", "\"10.20\",\"3.01\""));
    let done = run("kraken", &input, &[]);
    done.fails_with(
        "error: 1 of 2 checksums failed\n\
         hint: an update is missing, altered or out of order; record again, from the subscription on",
    );
    assert!(done.out.contains("\n  first failure: line 5: the exchange's checksum is "), "{}", done.out);
}

#[test]
fn an_unreadable_recording_is_named_with_line_and_field() {
    let scratch = Scratch::new();
    let input = scratch.file("in.ws", kraken().replace("\"2.50\"", "2.50"));
    let done = run("kraken", &input, &[]);
    assert_eq!(done.out, "");
    done.fails_with(&format!("error: {input}:5: field `a[0][1]`: expected a decimal number in quotes, found \"2.5\""));
    let input = scratch.file("in.ws", kraken().replace("1.2: [1", "1.2: [[1"));
    let done = run("kraken", &input, &[]);
    assert!(done.err.starts_with(&format!("error: {input}:3: expected a JSON message after the time: ")), "{done:?}");
    assert_eq!(done.code, Some(1));
}

#[test]
fn a_recording_of_another_format_says_so() {
    let scratch = Scratch::new();
    let input = scratch.file("in.ws", "1.1: {\"event\":\"heartbeat\"}\n");
    run("okx", &input, &[])
        .fails_with(&format!("error: {input}: no book messages found\nhint: check that `--format` is that of the recording"));
}

#[test]
fn an_update_before_its_snapshot_is_refused_with_the_reason() {
    let scratch = Scratch::new();
    let without = kraken().lines().filter(|line| !line.contains("\"as\":[[\"0.55\"")).collect::<Vec<_>>().join("\n");
    let input = scratch.file("in.ws", without);
    run("kraken", &input, &[])
        .fails_with("error: line 5, C/D was refused: the book has no snapshot yet; record from the subscription on");
}

const RECORDINGS: [(&str, &str, u64); 2] =
    [("kraken", "kraken/kraken_book1000_5pairs.ws.gz", 2595), ("okx", "okx/okx_books_BTC-USD-220527.ws.gz", 99)];

#[test]
fn every_checksum_of_the_exchanges_own_recordings_holds() {
    for (format, file, checksums) in RECORDINGS {
        let Some(path) = data_file(file) else { continue };
        let one = run(format, path.to_str().unwrap(), &["--json", "--workers", "1"]);
        assert_eq!(one.code, Some(0), "{one:?}");
        let json = one.json();
        let sum = |field: &str| json["pairs"].as_array().unwrap().iter().map(|pair| pair[field].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("verified"), sum("failed")), (checksums, 0));
        for workers in ["2", "4"] {
            assert_eq!(run(format, path.to_str().unwrap(), &["--json", "--workers", workers]).out, one.out);
        }
    }
}

#[test]
fn one_altered_volume_in_an_exchanges_own_recording_fails_the_job() {
    let Some(path) = data_file(RECORDINGS[1].1) else { return };
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let altered = text.replacen(r#"["30182.9","2627","#, r#"["30182.9","2628","#, 1);
    assert_ne!(text, altered);
    let scratch = Scratch::new();
    let done = run("okx", &scratch.file("in.ws", altered), &[]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains(" of 99 checksums failed\nhint: "), "{done:?}");
}
