//! What the recording readers accept, and what they say about what they do not.

use super::*;
use proptest::prelude::*;
use std::io::Cursor;

const SNAPSHOT: &str =
    r#"1618678134.0: [7,{"as":[["0.05","2.0","1.0"]],"bs":[["0.04","1.0","1.0"],["0.03","1.5","1.0"]]},"book-10","A/B"]"#;

fn read(exchange: Exchange, bytes: impl Into<Vec<u8>>) -> Result<Vec<BookEvent>, InputError> {
    Recording::from_reader(exchange, "in.ws", Cursor::new(bytes.into()))?.collect()
}

fn message(exchange: Exchange, text: &str) -> String {
    read(exchange, text).unwrap_err().to_string()
}

fn level(price: &str, volume: &str) -> Level {
    Level { price: decimal(Some(price)).unwrap(), volume: decimal(Some(volume)).unwrap() }
}

#[test]
fn kraken_asks_and_bids_may_come_in_two_parts() {
    let text = format!(
        "wss://ws.kraken.com <-> 1618678132.3\n\nwss://ws.kraken.com <- 1618678132.4: {{\"event\":\"subscribe\"}}\n\
         1618678132.8: {{\"event\":\"heartbeat\"}}\n{SNAPSHOT}\n\
         1618678135.1: [7,{{\"a\":[[\"0.05\",\"0.0\",\"2\",\"r\"]]}},{{\"b\":[[\"0.04\",\"3.0\",\"2\"]],\"c\":\"974947235\"}},\"book-10\",\"A/B\"]\n\
         1618678135.2: [9,{{\"x\":1}},\"trade\",\"A/B\"]\n"
    );
    let events = read(Exchange::Kraken, text).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!((events[0].line, events[0].snapshot, events[0].checksum), (5, true, None));
    assert_eq!(events[0].rules, BookRules { exchange: Exchange::Kraken, depth: 10 });
    assert_eq!(events[0].bids, [level("0.04", "1.0"), level("0.03", "1.5")]);
    assert_eq!((events[1].line, events[1].snapshot, events[1].checksum), (6, false, Some(974_947_235)));
    assert_eq!((&events[1].asks, &events[1].bids), (&vec![level("0.05", "0.0")], &vec![level("0.04", "3.0")]));
}

#[test]
fn okx_books_keep_the_text_of_their_numbers() {
    let text = r#"1.5: {"arg":{"channel":"books","instId":"X-Y"},"action":"snapshot","data":[{"asks":[["3366.80","9","0","1"]],"bids":[],"ts":"1","checksum":-2}]}
1.6: {"event":"subscribe","arg":{"channel":"books","instId":"X-Y"}}
1.7: {"arg":{"channel":"trades","instId":"X-Y"},"data":[]}
"#;
    let events = read(Exchange::Okx, text).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].pair.as_str(), events[0].snapshot, events[0].checksum), ("X-Y", true, Some(u32::MAX - 1)));
    assert_eq!(events[0].asks[0].price.to_string(), "3366.80");
}

#[test]
fn a_bad_field_is_named_with_its_line() {
    for (from, to, expected) in [
        ("\"1.5\"", "\"1,5\"", "field `bs[1][1]`: expected a decimal number in quotes, found \"1,5\""),
        ("\"1.5\"", "1.5", "field `bs[1][1]`: expected a decimal number in quotes, found \"1.5\""),
        (
            "\"1.5\"",
            "\"9999999999999999999\"",
            "field `bs[1][1]`: expected a decimal number below 2^60 without its point, with at most 15 \
             decimals, found \"9999999999999999999\"",
        ),
        ("book-10", "book-0", "field `channelName`: expected book- with a depth from 1 to 1000, found \"book-0\""),
        ("\"A/B\"", "5", "field `pair`: expected a name, found \"5\""),
        ("\"bs\":", "\"c\":\"-1\",\"bs\":", "field `c`: expected a whole number below 2^32 in quotes, found \"-1\""),
        ("1618678134.0", "noon", "field `time`: expected seconds since 1970, found \"noon\""),
        (SNAPSHOT, "hello", "field `line`: expected `time: message`, found \"hello\""),
    ] {
        assert_eq!(message(Exchange::Kraken, &SNAPSHOT.replacen(from, to, 1)), format!("in.ws:1: {expected}"));
    }
    assert!(message(Exchange::Kraken, &SNAPSHOT[..60]).starts_with("in.ws:1: expected a JSON message after the time: EOF"));
    assert_eq!(
        message(Exchange::Okx, r#"1: {"arg":{"channel":"books","instId":"X"},"action":"update","data":[]}"#),
        "in.ws:1: field `data`: expected a list of one book, found \"[]\""
    );
    let text = [SNAPSHOT.as_bytes(), b"\n1: \xff\n"].concat();
    assert_eq!(
        read(Exchange::Kraken, text).unwrap_err().to_string(),
        "in.ws:2: field `message`: expected UTF-8 text, found other bytes"
    );
}

#[test]
fn the_stream_ends_after_an_error() {
    let mut events = Recording::from_reader(Exchange::Kraken, "in.ws", Cursor::new("x\ny\n")).unwrap();
    assert!(events.next().unwrap().is_err());
    assert!(events.next().is_none());
}

proptest! {
    #[test]
    fn any_bytes_give_events_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), kraken in any::<bool>()) {
        let exchange = if kraken { Exchange::Kraken } else { Exchange::Okx };
        let _ = read(exchange, bytes.clone());
        let _ = read(exchange, [b"1.0: ", bytes.as_slice()].concat());
    }

    #[test]
    fn any_change_to_a_message_gives_events_or_an_error(at in 0..120usize, text in "[\\[\\]{}\",:a-z0-9.-]{0,3}") {
        let mut line = SNAPSHOT.to_owned();
        let at = at.min(line.len() - 1);
        line.replace_range(at..=at, &text);
        let _ = read(Exchange::Kraken, line.clone());
        let _ = read(Exchange::Okx, line);
    }
}
