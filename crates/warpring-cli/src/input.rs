//! Readers of the files that jobs take in. They stream, hold one line at a time, and every error says file, line,
//! field and what was expected there.

pub mod recording;
mod source;
pub mod transactions;

use std::fmt;
use std::io;

/// The longest line that a reader accepts, in bytes; the largest real one (a snapshot of a deep book) has a tenth of it.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// How much of an offending value an error shows, in characters.
const SHOWN_CHARS: usize = 60;

/// What is wrong with an input, and where.
#[derive(Debug)]
pub struct InputError {
    /// The file, as the user named it.
    pub file: String,
    /// Counted from 1; 0 where no line had been read yet.
    pub line: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with an input.
#[derive(Debug)]
pub enum Problem {
    /// The file cannot be opened or read.
    Io(io::Error),
    /// The gzip stream ends before its end mark.
    Truncated,
    /// The gzip stream is damaged.
    Corrupt(io::Error),
    /// A line exceeds [`MAX_LINE_BYTES`].
    LineTooLong,
    /// Bytes that are not UTF-8, in the named field or, where that is unknown, in the line.
    NotUtf8 { field: String },
    /// The header has no such column.
    MissingColumn { name: &'static str, header: String },
    /// A row has another number of fields than the header.
    FieldCount { expected: u64, found: u64 },
    /// A field holds something else than expected.
    Unexpected { field: String, expected: &'static str, found: String },
    /// A time is before that of the row above (or of the end of the previous file).
    TimeWentBack { field: &'static str, previous: String, found: String },
    /// The line's message is not JSON.
    NotJson(serde_json::Error),
}

impl Problem {
    /// A field that holds something else than expected; the found text is shortened for showing.
    fn unexpected(field: impl Into<String>, expected: &'static str, found: &str) -> Self {
        Self::Unexpected { field: field.into(), expected, found: shorten(found) }
    }

    /// Sorts an error of the reading side into its kind.
    fn from_io(error: io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<source::LineTooLong>()) {
            return Self::LineTooLong;
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Corrupt(error),
            _ => Self::Io(error),
        }
    }

    fn at(self, file: &str, line: u64) -> InputError {
        InputError { file: file.to_owned(), line, problem: self }
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

impl InputError {
    /// What to do about it, where something can be done.
    pub const fn hint(&self) -> Option<&'static str> {
        match self.problem {
            Problem::Truncated => Some("the file was cut off: fetch it again"),
            Problem::Corrupt(_) => Some("fetch the file again"),
            Problem::LineTooLong => Some("check that this is the right file"),
            Problem::MissingColumn { .. } => {
                Some("the header must name TRANSACTION_ID, TX_DATETIME, CUSTOMER_ID, TERMINAL_ID, TX_AMOUNT and TX_FRAUD")
            }
            Problem::TimeWentBack { .. } => Some("sort the input by time, and name several files in the order of their times"),
            _ => None,
        }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        // `file:line`, of which editors and terminals make a link.
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        match &self.problem {
            Problem::Io(error) => write!(f, "{error}"),
            Problem::Truncated => f.write_str("the gzip file ends early"),
            Problem::Corrupt(error) => write!(f, "the gzip file is damaged ({error})"),
            Problem::LineTooLong => write!(f, "the line is longer than {MAX_LINE_BYTES} bytes"),
            Problem::NotUtf8 { field } => write!(f, "field `{field}`: expected UTF-8 text, found other bytes"),
            Problem::MissingColumn { name, header } => write!(f, "expected a column `{name}`, but the header is `{header}`"),
            Problem::FieldCount { expected, found } => write!(f, "expected {expected} fields as in the header, found {found}"),
            Problem::Unexpected { field, expected, found } => write!(f, "field `{field}`: expected {expected}, found {found:?}"),
            Problem::TimeWentBack { field, previous, found } => {
                write!(f, "field `{field}`: expected a time not before {previous}, found {found}")
            }
            Problem::NotJson(error) => write!(f, "expected a JSON message after the time: {error}"),
        }
    }
}

impl std::error::Error for InputError {}
