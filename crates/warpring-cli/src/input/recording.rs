//! Recordings of exchange feeds: one websocket message per line, `time: message` for received ones, as cryptofeed
//! writes them. What was sent (`address <- time: message`), connections and heartbeats are passed over.

mod kraken;
mod okx;

use super::{InputError, Problem, source};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use warpring_kernels::market::book::{BookRules, Exchange, Level};
use warpring_kernels::market::decimal::{Decimal, DecimalError};

/// One snapshot or update of one book, as the exchange sent it.
#[derive(Clone, Debug, PartialEq)]
pub struct BookEvent {
    /// The line of the recording, counted from 1.
    pub line: u64,
    /// The exchange's name of the book.
    pub pair: String,
    /// What holds for the whole life of that book.
    pub rules: BookRules,
    /// Whether it replaces the book.
    pub snapshot: bool,
    /// Changed asks, in the order in which they were sent.
    pub asks: Vec<Level>,
    /// Changed bids, likewise.
    pub bids: Vec<Level>,
    /// The exchange's checksum of the book after the update.
    pub checksum: Option<u32>,
}

/// The book events of one recording. After an error the stream has ended.
pub struct Recording {
    exchange: Exchange,
    name: String,
    lines: BufReader<Box<dyn Read>>,
    line: u64,
    buffer: Vec<u8>,
    ended: bool,
}

impl Recording {
    /// Opens a recording of an exchange's feed.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn open(exchange: Exchange, path: &Path) -> Result<Self, InputError> {
        Ok(Self::new(exchange, path.display().to_string(), source::open(path)?))
    }

    /// The same for bytes from anywhere.
    ///
    /// # Errors
    /// Where the first bytes cannot be read.
    #[cfg(test)]
    pub fn from_reader(exchange: Exchange, name: &str, bytes: impl Read + 'static) -> Result<Self, InputError> {
        let bytes = source::from_reader(bytes).map_err(|error| Problem::from_io(error).at(name, 0))?;
        Ok(Self::new(exchange, name.to_owned(), bytes))
    }

    fn new(exchange: Exchange, name: String, bytes: Box<dyn Read>) -> Self {
        let lines = BufReader::with_capacity(1 << 16, bytes);
        Self { exchange, name, lines, line: 0, buffer: Vec::new(), ended: false }
    }

    fn read_event(&mut self) -> Result<Option<BookEvent>, InputError> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let count = self
                .lines
                .read_until(b'\n', &mut self.buffer)
                .map_err(|error| Problem::from_io(error).at(&self.name, self.line))?;
            if count == 0 {
                return Ok(None);
            }
            let event = self.parse_line().map_err(|problem| problem.at(&self.name, self.line))?;
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn parse_line(&self) -> Result<Option<BookEvent>, Problem> {
        let text = std::str::from_utf8(&self.buffer).map_err(|_| Problem::NotUtf8 { field: "message".to_owned() })?;
        let Some(message) = received_message(text.trim())? else {
            return Ok(None);
        };
        let message: Value = serde_json::from_str(message).map_err(Problem::NotJson)?;
        match self.exchange {
            Exchange::Kraken => kraken::book_event(self.line, &message),
            Exchange::Okx => okx::book_event(self.line, &message),
        }
    }
}

impl Iterator for Recording {
    type Item = Result<BookEvent, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.read_event().transpose();
        self.ended = !matches!(event, Some(Ok(_)));
        event
    }
}

/// The message of a line that was received; `None` for a line that was not.
fn received_message(line: &str) -> Result<Option<&str>, Problem> {
    const EXPECTED: &str = "`time: message`";
    if line.is_empty() {
        return Ok(None);
    }
    let (before, message) = match line.split_once(": ") {
        Some(parts) => parts,
        None if line.contains(" <-> ") => return Ok(None),
        None => return Err(Problem::unexpected("line", EXPECTED, line)),
    };
    if before.contains(" <- ") || before.contains(" -> ") {
        return Ok(None);
    }
    if Decimal::parse(before.as_bytes()).is_err() {
        return Err(Problem::unexpected("time", "seconds since 1970", before));
    }
    Ok(Some(message))
}

/// The levels of one side: a list of lists that begin with price and volume.
fn levels(field: &str, value: &Value) -> Result<Vec<Level>, Problem> {
    let rows = value.as_array().ok_or_else(|| unexpected(field, "a list of levels", value))?;
    rows.iter()
        .enumerate()
        .map(|(at, row)| {
            let number = |part: usize| {
                let name = || format!("{field}[{at}][{part}]");
                let value = row.get(part).unwrap_or(&Value::Null);
                decimal(value.as_str()).map_err(|expected| unexpected(&name(), expected, value))
            };
            Ok(Level { price: number(0)?, volume: number(1)? })
        })
        .collect()
}

/// The number, or what was expected instead of the text.
fn decimal(text: Option<&str>) -> Result<Decimal, &'static str> {
    Decimal::parse(text.unwrap_or_default().as_bytes()).map_err(|error| match error {
        DecimalError::Malformed => "a decimal number in quotes",
        DecimalError::OutOfRange => "a decimal number below 2^60 without its point, with at most 15 decimals",
    })
}

fn unexpected(field: &str, expected: &'static str, found: &Value) -> Problem {
    match found {
        Value::String(text) => Problem::unexpected(field, expected, text),
        other => Problem::unexpected(field, expected, &other.to_string()),
    }
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
