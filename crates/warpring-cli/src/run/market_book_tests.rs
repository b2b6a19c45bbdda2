//! The whole job on a sequential engine, on the exchanges' own recordings and on altered ones.

use super::*;
use crate::test_data::data_file;
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;
use warpring_kernels::market::book::BookState;
use warpring_kernels::market::decimal::Decimal;

const KRAKEN: &str = "kraken/kraken_book1000_5pairs.ws.gz";
const OKX: &str = "okx/okx_books_BTC-USD-220527.ws.gz";

/// The kernel's own state and logic without a runtime: one message after the other, in this thread.
fn sequential(parts: &mut Parts<'_>, sink: &mut Sink<'_>) -> Result<(), JobError> {
    let mut books: HashMap<Arc<str>, Box<BookState>> = HashMap::new();
    for part in parts {
        let part = part?;
        let book = books.entry(Arc::clone(&part.pair)).or_default();
        let reply = book
            .apply(&part.rules, &part.update)
            .map_err(|code| JobError::Refused { what: format!("line {}, {}", part.line, part.pair), reason: reason(code) })?;
        sink(&part, &reply)?;
    }
    Ok(())
}

fn job(format: Format, input: &Path) -> MarketBook {
    MarketBook { format, input: input.to_owned(), json: false, on: BackendArgs::default() }
}

fn text_of(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn replay_text(format: Format, text: String) -> Vec<Tally> {
    let events = Recording::from_reader(format.exchange(), "in.ws", Cursor::new(text.into_bytes())).unwrap();
    replay(events, sequential).unwrap()
}

#[test]
fn every_checksum_of_krakens_recording_holds() {
    let Some(path) = data_file(KRAKEN) else {
        return;
    };
    job(Format::Kraken, &path).job(sequential).unwrap();
    let tallies = replay(Recording::open(Exchange::Kraken, &path).unwrap(), sequential).unwrap();
    assert_eq!(tallies.len(), 5);
    assert_eq!(tallies.iter().map(|tally| tally.failed).sum::<u64>(), 0);
    // All but the snapshots carry a checksum.
    assert_eq!(tallies.iter().map(|tally| tally.verified).sum::<u64>(), 2595);
    assert_eq!(tallies.iter().map(|tally| tally.updates).sum::<u64>(), 2600);
}

#[test]
fn every_checksum_of_okxs_recording_holds() {
    let Some(path) = data_file(OKX) else { return };
    job(Format::Okx, &path).job(sequential).unwrap();
    let tallies = replay(Recording::open(Exchange::Okx, &path).unwrap(), sequential).unwrap();
    assert_eq!(tallies.len(), 1);
    assert_eq!((tallies[0].updates, tallies[0].verified, tallies[0].failed), (99, 99, 0));
}

/// Both levels are set by an update in the middle and then stay among the best, untouched, until the recording ends.
const ALTERED: [(Format, &str, &str, &str); 2] = [
    (Format::Okx, OKX, r#"["30182.9","2627","#, r#"["30182.9","2628","#),
    (Format::Kraken, KRAKEN, r#"["0.00758400","0.56900000","1618678"#, r#"["0.00758400","0.56900001","1618678"#),
];

#[test]
fn one_altered_volume_fails_from_that_update_on() {
    for (format, file, from, to) in ALTERED {
        let Some(path) = data_file(file) else { return };
        let text = text_of(&path);
        let at = text.rfind(from).expect("the update is in the recording");
        let line = 1 + text[..at].matches('\n').count() as u64;
        let altered = [&text[..at], to, &text[at + from.len()..]].concat();

        let whole = replay_text(format, text);
        let tallies = replay_text(format, altered.clone());
        let mut later: HashMap<String, u64> = HashMap::new();
        let mut altered_pair = None;
        for event in Recording::from_reader(format.exchange(), "in.ws", Cursor::new(altered)).unwrap() {
            let event = event.unwrap();
            if event.line == line {
                altered_pair = Some(event.pair.clone());
            }
            if event.line >= line {
                *later.entry(event.pair).or_default() += 1;
            }
        }
        for (tally, before) in tallies.iter().zip(&whole) {
            if Some(&*tally.pair) != altered_pair.as_deref() {
                assert_eq!(tally, before);
                continue;
            }
            assert_eq!(tally.failed, later[&*tally.pair]);
            assert_eq!(tally.verified, before.verified - tally.failed);
            let failure = tally.first_failure.as_ref().unwrap();
            assert_eq!(failure.line, line);
            println!("{}: {} of {} failed; {}", tally.pair, tally.failed, before.verified, failure.text(format));
        }
    }
}

#[test]
fn the_result_is_printed_as_text_and_as_json() {
    let tally = Tally {
        pair: "A/B".into(),
        updates: 3,
        verified: 1,
        failed: 1,
        first_failure: Some(Failure { line: 7, theirs: u32::MAX, ours: 5 }),
        best_bid: event(0, 2).bids[1],
        best_ask: Level::EMPTY,
    };
    let mut job = job(Format::Okx, Path::new("in.ws"));
    assert_eq!(
        job.text(std::slice::from_ref(&tally)),
        "pair                  updates  verified  failed              best bid             best ask\n\
         A/B                         3         1       1                     1                    0\n  \
         first failure: line 7: the exchange's checksum is -1, the book's 5"
    );
    job.json = true;
    assert_eq!(
        job.text(&[tally]),
        r#"{"job":"market-book","pairs":[{"best_ask":null,"best_bid":{"price":"1","volume":"1"},"failed":1,"first_failure":{"book_checksum":5,"exchange_checksum":-1,"line":7},"pair":"A/B","updates":3,"verified":1}]}"#
    );
}

#[test]
fn a_lost_update_fails_the_job() {
    let Some(path) = data_file(OKX) else { return };
    let text = text_of(&path);
    let lost = text.lines().nth(4).unwrap();
    let tallies = replay_text(Format::Okx, text.replacen(lost, "", 1));
    assert!(tallies[0].failed > 0 && tallies[0].first_failure.as_ref().unwrap().line >= 6, "{tallies:?}");
}

#[test]
fn a_recording_without_books_says_that_the_format_may_be_wrong() {
    let Some(path) = data_file(OKX) else { return };
    let error = job(Format::Kraken, &path).job(sequential).unwrap_err().to_string();
    assert!(error.ends_with("no book messages found"), "{error}");
}

fn event(asks: usize, bids: usize) -> BookEvent {
    let level = |price: usize| Level { price: Decimal::new(price as u64, 0).unwrap(), volume: Decimal::new(1, 0).unwrap() };
    BookEvent {
        line: 3,
        pair: "A/B".to_owned(),
        rules: BookRules { exchange: Exchange::Kraken, depth: 1000 },
        snapshot: true,
        asks: (0..asks).map(|at| level(1000 + at)).collect(),
        bids: (0..bids).map(level).collect(),
        checksum: Some(7),
    }
}

#[test]
fn an_event_is_cut_into_messages_without_loss_and_only_the_last_is_checked() {
    for (asks, bids) in [(0, 0), (1, 0), (0, 24), (24, 1), (20, 20), (25, 0), (49, 100)] {
        let whole = event(asks, bids);
        let parts: Vec<_> = parts_of(whole.clone()).collect();
        assert_eq!(parts.len(), (asks + bids).div_ceil(24).max(1));
        let (mut all_asks, mut all_bids) = (Vec::new(), Vec::new());
        for (at, part) in parts.iter().enumerate() {
            let update = &part.update;
            let (first, last) = (at == 0, at + 1 == parts.len());
            assert_eq!((update.starts_snapshot, update.last_part, update.has_checksum), (first, last, last));
            assert_eq!(update.checksum, if last { 7 } else { 0 });
            let (ask_end, bid_end) = (usize::from(update.ask_count), usize::from(update.ask_count + update.bid_count));
            all_asks.extend(&update.levels[..ask_end]);
            all_bids.extend(&update.levels[ask_end..bid_end]);
        }
        assert_eq!((all_asks, all_bids), (whole.asks, whole.bids));
    }
}
