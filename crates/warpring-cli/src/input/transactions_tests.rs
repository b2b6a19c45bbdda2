//! What the transaction reader accepts, and what it says about what it does not.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::{Cursor, Write};

const HEADER: &str = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD";

fn read(bytes: impl Into<Vec<u8>>) -> Result<Vec<Row>, InputError> {
    Transactions::from_reader("in.csv", Cursor::new(bytes.into()))?.collect()
}

fn message(bytes: impl Into<Vec<u8>>) -> String {
    read(bytes).unwrap_err().to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn columns_are_found_by_name_and_others_ignored() {
    let text = "TX_FRAUD,X,TERMINAL_ID,CUSTOMER_ID,TX_AMOUNT,TX_DATETIME,TRANSACTION_ID\n1,?,3,2,57.16,2018-04-01 00:00:31,9\n";
    let transaction = Transaction { unix_seconds: 1_522_540_831, amount_micros: 57_160_000, fraud: true };
    let expected = vec![Row { id: 9, customer: 2, terminal: 3, transaction }];
    assert_eq!(read(text).unwrap(), expected);
    assert_eq!(read(gzip(text.as_bytes())).unwrap(), expected);
    assert_eq!(read(text.replace('\n', "\r\n")).unwrap(), expected);
}

#[test]
fn a_missing_column_is_named() {
    assert_eq!(
        message("TRANSACTION_ID,TX_DATETIME\n"),
        "in.csv:1: expected a column `CUSTOMER_ID`, but the header is `TRANSACTION_ID,TX_DATETIME`"
    );
    assert_eq!(message(""), "in.csv:1: expected a column `TRANSACTION_ID`, but the header is ``");
}

#[test]
fn a_bad_field_is_named_with_its_line() {
    for (row, expected) in [
        ("x,2018-04-01 00:00:00,1,1,1,0", "field `TRANSACTION_ID`: expected a whole number below 2^64, found \"x\""),
        (
            "1,2018-04-01 00:00:00,18446744073709551616,1,1,0",
            "field `CUSTOMER_ID`: expected a whole number below 2^64, found \"18446744073709551616\"",
        ),
        (
            "1,2018-02-29 00:00:00,1,1,1,0",
            "field `TX_DATETIME`: expected a time `YYYY-MM-DD HH:MM:SS` from 1970 on, found \"2018-02-29 00:00:00\"",
        ),
        (
            "1,2018-04-01 00:00:00,1,1,-3,0",
            "field `TX_AMOUNT`: expected an amount from 0 to 72 billion with at most 6 decimals, found \"-3\"",
        ),
        ("1,2018-04-01 00:00:00,1,1,3,2", "field `TX_FRAUD`: expected 0 or 1, found \"2\""),
    ] {
        let text = format!("{HEADER}\n0,2018-04-01 00:00:00,1,1,1,0\n{row}\n");
        assert_eq!(message(text), format!("in.csv:3: {expected}"));
    }
}

#[test]
fn a_row_of_another_length_is_refused() {
    let text = format!("{HEADER}\n0,2018-04-01 00:00:00,1,1,1\n");
    assert_eq!(message(text), "in.csv:2: expected 6 fields as in the header, found 5");
}

#[test]
fn time_that_goes_backwards_is_refused() {
    let text = format!("{HEADER}\n0,2018-04-01 00:00:05,1,1,1,0\n1,2018-04-01 00:00:04,1,1,1,0\n");
    assert_eq!(
        message(text),
        "in.csv:3: field `TX_DATETIME`: expected a time not before 2018-04-01 00:00:05, found 2018-04-01 \
         00:00:04"
    );
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let mut bytes = format!("{HEADER}\n0,2018-04-01 00:00:05,1,").into_bytes();
    bytes.extend(b"\xff,1,0\n");
    assert_eq!(message(bytes), "in.csv:2: field `TERMINAL_ID`: expected UTF-8 text, found other bytes");
}

#[test]
fn a_cut_off_gzip_file_is_refused_wherever_it_was_cut() {
    let mut text = format!("{HEADER}\n");
    for id in 0..2000 {
        text.push_str(&format!("{id},2018-04-01 00:00:00,{},{},{}.5,0\n", id * 7 % 501, id * 13 % 997, id * 31 % 83));
    }
    let whole = gzip(text.as_bytes());
    for kept in [2, 10, 100, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        let error = read(&whole[..kept]).unwrap_err();
        assert!(matches!(error.problem, Problem::Truncated), "{kept}: {error}");
    }
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    assert!(read(damaged).is_err());
}

#[test]
fn a_line_without_end_is_refused_and_not_collected() {
    let text = format!("{HEADER}\n{}", "7".repeat(super::super::MAX_LINE_BYTES * 3));
    let error = read(gzip(text.as_bytes())).unwrap_err();
    assert!(matches!(error.problem, Problem::LineTooLong), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let mut rows = Transactions::new(vec![PathBuf::from("no/such/file.csv")]);
    let error = rows.next().unwrap().unwrap_err().to_string();
    assert!(error.starts_with("no/such/file.csv: "), "{error}");
    assert!(rows.next().is_none());
}

#[test]
fn amounts_are_exact_and_traces_of_floating_point_are_undone() {
    for (text, micros) in [
        ("0", Some(0)),
        ("146.0", Some(146_000_000)),
        ("1066.8000000000002", Some(1_066_800_000)),
        ("28.949999999999996", Some(28_950_000)),
        ("0.9999999999999999", Some(1_000_000)),
        ("0.000001", Some(1)),
        ("0.0000015", None),
        ("72057594037.927935", Some(MAX_AMOUNT_MICROS)),
        ("72057594037.927936", None),
        ("99999999999999999999", None),
        ("1e3", None),
        ("1.", None),
        (".5", None),
        ("NaN", None),
        ("", None),
    ] {
        assert_eq!(parse_amount_micros(text), micros, "{text}");
    }
}

#[test]
fn times_follow_the_calendar() {
    for (text, seconds) in [
        ("1970-01-01 00:00:00", Some(0)),
        ("2000-02-29 23:59:59", Some(951_868_799)),
        ("2018-04-01 00:00:31", Some(1_522_540_831)),
        ("9999-12-31 23:59:59", Some(253_402_300_799)),
        ("1969-12-31 23:59:59", None),
        ("2100-02-29 00:00:00", None),
        ("2018-13-01 00:00:00", None),
        ("2018-04-31 00:00:00", None),
        ("2018-04-00 00:00:00", None),
        ("2018-04-01 24:00:00", None),
        ("2018-04-01T00:00:00", None),
        ("2018-04-01 00:00:+1", None),
        ("2018-04-01 00:00", None),
        ("2018-04-0\u{e9} 00:00:0", None),
    ] {
        assert_eq!(parse_time(text), seconds, "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_rows_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(bytes.clone());
        let mut after_header = format!("{HEADER}\n").into_bytes();
        after_header.extend(&bytes);
        let _ = read(after_header);
        let _ = read([&[0x1f, 0x8b], bytes.as_slice()].concat());
    }

    #[test]
    fn any_fields_give_rows_or_an_error(rows in prop::collection::vec(prop::collection::vec("[0-9:. -]{0,20}", 6), 0..4)) {
        let rows: Vec<_> = rows.iter().map(|fields| fields.join(",")).collect();
        let _ = read(format!("{HEADER}\n{}\n", rows.join("\n")));
    }

    #[test]
    fn any_damage_to_a_gzip_file_gives_rows_or_an_error(at in 0..120usize, byte in any::<u8>()) {
        let mut bytes = gzip(format!("{HEADER}\n0,2018-04-01 00:00:05,1,2,1,0\n").as_bytes());
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _ = read(bytes);
    }
}
