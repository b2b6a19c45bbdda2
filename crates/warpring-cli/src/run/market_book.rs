//! `warpring run market-book`: replays the recording of an exchange's feed, one actor for each book, and verifies every
//! checksum that the exchange sent.

mod engine;

use super::progress::Progress;
use super::{JobError, print_stdout};
use crate::backend::BackendArgs;
use crate::input::InputError;
use crate::input::recording::{BookEvent, Recording};
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use warpring::{Runtime, block_on};
use warpring_kernels::market::book::{
    BAD_DEPTH, BOOK_FULL, BookReply, BookRules, BookUpdate, Exchange, LEVELS_PER_UPDATE, Level, NO_SNAPSHOT, TOO_MANY_LEVELS,
    Verdict,
};

/// Order books from the recording of an exchange's feed, verified by the exchange's checksums.
#[derive(Debug, clap::Args)]
pub struct MarketBook {
    /// Whose feed was recorded
    #[arg(long)]
    format: Format,
    /// The recording, plain or gzip: lines of `time: message`
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    on: BackendArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// The feeds that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The `book` channel of Kraken's websocket feed
    Kraken,
    /// The `books` channel of OKX's websocket feed
    Okx,
}

impl Format {
    const fn exchange(self) -> Exchange {
        match self {
            Self::Kraken => Exchange::Kraken,
            Self::Okx => Exchange::Okx,
        }
    }
}

/// One message to one book: an update, or a part of one that has too many levels for a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Which book.
    pub pair: Arc<str>,
    /// What holds for that book.
    pub rules: BookRules,
    /// The line of the recording that it is from.
    pub line: u64,
    /// The message.
    pub update: BookUpdate,
}

/// The messages, in order.
pub type Parts<'a> = dyn Iterator<Item = Result<Part, InputError>> + 'a;
/// Where each message goes with its reply, in the same order.
pub type Sink<'a> = dyn FnMut(&Part, &BookReply) -> Result<(), JobError> + 'a;

/// Why a book refused an update.
#[must_use]
pub const fn reason(code: u32) -> &'static str {
    match code {
        NO_SNAPSHOT => "the book has no snapshot yet; record from the subscription on",
        BOOK_FULL => "the update adds more levels than the book has room for before it deletes any",
        TOO_MANY_LEVELS => "the message claims more levels than it holds",
        BAD_DEPTH => "the depth must be 1 to 1000",
        _ => "the actor gave a code that this version does not know",
    }
}

/// Cuts an event into messages. Asks go before bids, and each side keeps its order; only the last message carries the
/// checksum. An event without levels is one message all the same, since its checksum is to be verified.
fn parts_of(event: BookEvent) -> impl Iterator<Item = Part> {
    let pair: Arc<str> = event.pair.into();
    let asks = event.asks.len();
    let levels = [event.asks, event.bids].concat();
    let count = levels.len().div_ceil(LEVELS_PER_UPDATE).max(1);
    (0..count).map(move |at| {
        let from = at * LEVELS_PER_UPDATE;
        let to = levels.len().min(from + LEVELS_PER_UPDATE);
        let mut part = [Level::EMPTY; LEVELS_PER_UPDATE];
        part[..to - from].copy_from_slice(&levels[from..to]);
        let ask_count = asks.clamp(from, to) - from;
        let last_part = at + 1 == count;
        let update = BookUpdate {
            levels: part,
            checksum: event.checksum.filter(|_| last_part).unwrap_or(0),
            // Both at most LEVELS_PER_UPDATE, which fits.
            ask_count: ask_count as u8,
            bid_count: (to - from - ask_count) as u8,
            starts_snapshot: event.snapshot && at == 0,
            last_part,
            has_checksum: last_part && event.checksum.is_some(),
        };
        Part { pair: Arc::clone(&pair), rules: event.rules, line: event.line, update }
    })
}

/// The messages of a recording.
fn parts(recording: impl Iterator<Item = Result<BookEvent, InputError>>) -> impl Iterator<Item = Result<Part, InputError>> {
    recording.flat_map(|event| {
        let (parts, error) = match event {
            Ok(event) => (Some(parts_of(event).map(Ok)), None),
            Err(error) => (None, Some(Err(error))),
        };
        parts.into_iter().flatten().chain(error)
    })
}

impl MarketBook {
    /// Runs the job on a Warpring runtime.
    ///
    /// # Errors
    /// [`JobError`]: from input, backend or actors, or because a checksum failed.
    pub fn run(&self) -> Result<(), JobError> {
        let runtime = self.on.start().map_err(JobError::Backend)?;
        self.job(|parts, sink| engine::run(&runtime, parts, sink))?;
        block_on(runtime.shutdown()).map_err(JobError::Shutdown)
    }

    /// Runs the job on an engine that takes the messages and hands each with its reply to the sink, in order.
    ///
    /// # Errors
    /// [`JobError`]: from input or engine, or because a checksum failed.
    fn job(&self, engine: impl FnOnce(&mut Parts<'_>, &mut Sink<'_>) -> Result<(), JobError>) -> Result<(), JobError> {
        let recording = Recording::open(self.format.exchange(), &self.input)?;
        let tallies = replay(recording, engine)?;
        if tallies.is_empty() {
            return Err(JobError::NoBooks { file: self.input.display().to_string() });
        }
        print_stdout(&self.text(&tallies))?;
        let failed = tallies.iter().map(|tally| tally.failed).sum();
        let checked = tallies.iter().map(|tally| tally.verified + tally.failed).sum();
        if failed > 0 { Err(JobError::ChecksumsFailed { failed, checked }) } else { Ok(()) }
    }

    fn text(&self, tallies: &[Tally]) -> String {
        if self.json {
            let pairs: Vec<_> = tallies.iter().map(|tally| tally.json(self.format)).collect();
            return json!({ "job": "market-book", "pairs": pairs }).to_string();
        }
        let mut lines = vec![format!(
            "{:<20} {:>8} {:>9} {:>7}  {:>20} {:>20}",
            "pair", "updates", "verified", "failed", "best bid", "best ask"
        )];
        for tally in tallies {
            lines.push(tally.to_string());
            let failure = tally.first_failure.as_ref();
            lines.extend(failure.map(|failure| format!("  first failure: {}", failure.text(self.format))));
        }
        lines.join("\n")
    }
}

/// Replays a recording on this runtime and counts for each book what became of the exchange's checksums.
///
/// # Errors
/// [`JobError`]: from input or actors. A checksum that failed is no error here, but counted.
pub fn replay_file(runtime: &Runtime, format: Format, file: &Path) -> Result<Vec<Tally>, JobError> {
    let recording = Recording::open(format.exchange(), file)?;
    replay(recording, |parts, sink| engine::run(runtime, parts, sink))
}

/// What became of one book.
#[derive(Debug, PartialEq)]
pub struct Tally {
    pair: Arc<str>,
    /// Snapshots and updates, each counted once, however many messages it took.
    pub updates: u64,
    /// Checksums that agreed.
    pub verified: u64,
    /// Checksums that did not.
    pub failed: u64,
    first_failure: Option<Failure>,
    best_bid: Level,
    best_ask: Level,
}

/// Where a book first disagreed with its exchange.
#[derive(Debug, PartialEq)]
struct Failure {
    line: u64,
    theirs: u32,
    ours: u32,
}

impl Failure {
    /// The checksum as that exchange writes it.
    fn written(format: Format, checksum: u32) -> i64 {
        match format {
            Format::Kraken => i64::from(checksum),
            Format::Okx => i64::from(checksum.cast_signed()),
        }
    }

    fn text(&self, format: Format) -> String {
        let [theirs, ours] = [self.theirs, self.ours].map(|checksum| Self::written(format, checksum));
        format!("line {}: the exchange's checksum is {theirs}, the book's {ours}", self.line)
    }
}

impl Tally {
    fn json(&self, format: Format) -> serde_json::Value {
        let level = |level: Level| {
            (level != Level::EMPTY).then(|| json!({ "price": level.price.to_string(), "volume": level.volume.to_string() }))
        };
        let first_failure = self.first_failure.as_ref().map(|failure| {
            json!({
                "line": failure.line,
                "exchange_checksum": Failure::written(format, failure.theirs),
                "book_checksum": Failure::written(format, failure.ours),
            })
        });
        json!({
            "pair": &*self.pair,
            "updates": self.updates,
            "verified": self.verified,
            "failed": self.failed,
            "first_failure": first_failure,
            "best_bid": level(self.best_bid),
            "best_ask": level(self.best_ask),
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pair, updates, verified, failed, best_bid, best_ask, .. } = self;
        let (bid, ask) = (best_bid.price, best_ask.price);
        write!(f, "{pair:<20} {updates:>8} {verified:>9} {failed:>7}  {bid:>20} {ask:>20}")
    }
}

/// Plays the events through the engine and counts, in the order in which the books first appear.
fn replay(
    events: impl Iterator<Item = Result<BookEvent, InputError>>,
    engine: impl FnOnce(&mut Parts<'_>, &mut Sink<'_>) -> Result<(), JobError>,
) -> Result<Vec<Tally>, JobError> {
    let mut tallies: Vec<Tally> = Vec::new();
    let mut progress = Progress::new(None, "messages");
    engine(&mut parts(events), &mut |part, reply| {
        progress.step();
        // A recording holds a handful of books.
        let at = tallies.iter().position(|tally| tally.pair == part.pair).unwrap_or_else(|| {
            tallies.push(Tally {
                pair: Arc::clone(&part.pair),
                updates: 0,
                verified: 0,
                failed: 0,
                first_failure: None,
                best_bid: Level::EMPTY,
                best_ask: Level::EMPTY,
            });
            tallies.len() - 1
        });
        let tally = &mut tallies[at];
        tally.updates += u64::from(part.update.last_part);
        (tally.best_bid, tally.best_ask) = (reply.best_bid, reply.best_ask);
        match reply.verdict {
            Verdict::NotChecked => {}
            Verdict::Matched => tally.verified += 1,
            Verdict::Mismatched => {
                tally.failed += 1;
                let (theirs, ours) = (part.update.checksum, reply.checksum);
                tally.first_failure.get_or_insert(Failure { line: part.line, theirs, ours });
            }
        }
        Ok(())
    })?;
    Ok(tallies)
}

#[cfg(test)]
#[path = "market_book_tests.rs"]
mod tests;
