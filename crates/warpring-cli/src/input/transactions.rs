//! Card transactions as CSV with a header, one or more files read as one stream in time order.
//!
//! Columns are found by name; others are ignored. Times are local wall-clock times of one clock without a zone.

use super::{InputError, Problem, source};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::vec::IntoIter;
use warpring_kernels::fraud::Transaction;
use warpring_kernels::fraud::customer_window::MAX_AMOUNT_MICROS;

/// The columns that must be there, in the order of [`Column`].
const COLUMNS: [&str; 6] = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"];

#[derive(Clone, Copy)]
enum Column {
    Id,
    Time,
    Customer,
    Terminal,
    Amount,
    Fraud,
}

/// One row: who paid where, and the transaction itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Number of the transaction, which the answer carries too.
    pub id: u64,
    /// Whose window it belongs to.
    pub customer: u64,
    /// Whose risk it belongs to.
    pub terminal: u64,
    /// Time, amount and label.
    pub transaction: Transaction,
}

/// The rows of all files, one after another. After an error the stream has ended.
pub struct Transactions {
    waiting: IntoIter<PathBuf>,
    current: Option<OpenFile>,
    previous: Option<(u64, String)>,
}

struct OpenFile {
    name: String,
    rows: csv::Reader<Box<dyn Read>>,
    header: csv::StringRecord,
    /// Where each of [`COLUMNS`] stands.
    places: [usize; COLUMNS.len()],
    record: csv::StringRecord,
}

impl Transactions {
    /// The rows of these files, in this order. Files are opened when their turn comes.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { waiting: paths.into_iter(), current: None, previous: None }
    }

    /// The rows of one source of bytes.
    ///
    /// # Errors
    /// Where the header cannot be read or lacks a column.
    #[cfg(test)]
    pub fn from_reader(name: &str, bytes: impl Read + 'static) -> Result<Self, InputError> {
        let bytes = source::from_reader(bytes).map_err(|error| Problem::from_io(error).at(name, 0))?;
        let current = Some(OpenFile::new(name.to_owned(), bytes)?);
        Ok(Self { current, ..Self::new(Vec::new()) })
    }

    fn read_row(&mut self) -> Result<Option<Row>, InputError> {
        loop {
            let file = match &mut self.current {
                Some(file) => file,
                None => match self.waiting.next() {
                    Some(path) => self.current.insert(OpenFile::open(&path)?),
                    None => return Ok(None),
                },
            };
            match file.read_row(&mut self.previous)? {
                Some(row) => return Ok(Some(row)),
                None => self.current = None,
            }
        }
    }
}

impl Iterator for Transactions {
    type Item = Result<Row, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.read_row().transpose();
        if matches!(row, Some(Err(_))) {
            self.current = None;
            self.waiting = Vec::new().into_iter();
        }
        row
    }
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self, InputError> {
        Self::new(path.display().to_string(), source::open(path)?)
    }

    fn new(name: String, bytes: Box<dyn Read>) -> Result<Self, InputError> {
        let mut rows = csv::ReaderBuilder::new().has_headers(false).buffer_capacity(1 << 16).from_reader(bytes);
        let mut header = csv::StringRecord::new();
        rows.read_record(&mut header).map_err(|error| csv_problem(error, &header).at(&name, 1))?;
        let mut places = [0; COLUMNS.len()];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            *place = header.iter().position(|name| name.trim() == column).ok_or_else(|| {
                let header = super::shorten(&header.iter().collect::<Vec<_>>().join(","));
                Problem::MissingColumn { name: column, header }.at(&name, 1)
            })?;
        }
        Ok(Self { name, rows, header, places, record: csv::StringRecord::new() })
    }

    fn read_row(&mut self, previous: &mut Option<(u64, String)>) -> Result<Option<Row>, InputError> {
        // Where reading itself fails there is no record to ask for its line, only the place that was reached.
        let reached = self.rows.position().line();
        match self.rows.read_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(csv_problem(error, &self.header).at(&self.name, reached)),
        }
        let line = self.record.position().map_or(reached, csv::Position::line);
        let row = self.parse().map_err(|problem| problem.at(&self.name, line))?;
        let text = self.field(Column::Time);
        match previous {
            Some((seconds, text_before)) if row.transaction.unix_seconds < *seconds => {
                let problem = Problem::TimeWentBack {
                    field: COLUMNS[Column::Time as usize],
                    previous: text_before.clone(),
                    found: text.to_owned(),
                };
                return Err(problem.at(&self.name, line));
            }
            Some((seconds, text_before)) => {
                *seconds = row.transaction.unix_seconds;
                text_before.clear();
                text_before.push_str(text);
            }
            None => *previous = Some((row.transaction.unix_seconds, text.to_owned())),
        }
        Ok(Some(row))
    }

    fn field(&self, column: Column) -> &str {
        // The reader refuses records with another number of fields than the header.
        self.record.get(self.places[column as usize]).unwrap_or_default()
    }

    fn parse(&self) -> Result<Row, Problem> {
        Ok(Row {
            id: self.parse_field(Column::Id, "a whole number below 2^64", parse_whole)?,
            customer: self.parse_field(Column::Customer, "a whole number below 2^64", parse_whole)?,
            terminal: self.parse_field(Column::Terminal, "a whole number below 2^64", parse_whole)?,
            transaction: Transaction {
                unix_seconds: self.parse_field(Column::Time, "a time `YYYY-MM-DD HH:MM:SS` from 1970 on", parse_time)?,
                amount_micros: self.parse_field(
                    Column::Amount,
                    "an amount from 0 to 72 billion with at most 6 decimals",
                    parse_amount_micros,
                )?,
                fraud: self.parse_field(Column::Fraud, "0 or 1", |text| match text {
                    "0" => Some(false),
                    "1" => Some(true),
                    _ => None,
                })?,
            },
        })
    }

    fn parse_field<T>(
        &self,
        column: Column,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Problem> {
        let text = self.field(column).trim_ascii();
        parse(text).ok_or_else(|| Problem::unexpected(COLUMNS[column as usize], expected, text))
    }
}

fn csv_problem(error: csv::Error, header: &csv::StringRecord) -> Problem {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Problem::from_io(error),
        csv::ErrorKind::Utf8 { err, .. } => Problem::NotUtf8 { field: header.get(err.field()).unwrap_or("header").to_owned() },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => Problem::FieldCount { expected: expected_len, found: len },
        other => Problem::Io(std::io::Error::other(csv_message(&other))),
    }
}

/// The remaining kinds cannot come from reading plain records; they are named all the same.
fn csv_message(kind: &csv::ErrorKind) -> String {
    format!("{kind:?}")
}

/// Digits only: `str::parse` would take a leading plus sign too.
fn parse_whole(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Seconds since 1970-01-01 00:00:00 of the same clock.
fn parse_time(text: &str) -> Option<u64> {
    let bytes: &[u8; 19] = text.as_bytes().try_into().ok()?;
    let separators = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, separator)| bytes[*at] != *separator) {
        return None;
    }
    let number = |from: usize, to: usize| parse_whole(text.get(from..to)?);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year < 1970 || !(1..=month_days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((days_since_1970(year, month, day) * 24 + hour) * 3600 + minute * 60 + second)
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March so that the leap day comes last
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
const fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// Exact up to six decimals. Files that were written from binary floating point hold amounts such as
/// `1066.8000000000002`; what lies within a thousandth of a step of six decimals is taken to be that step.
fn parse_amount_micros(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if whole.is_empty() || decimals.is_empty() || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Nine decimals: six for the value, three to tell a rounding trace from a seventh decimal.
    let mut nano: u64 = 0;
    for place in 0..9 {
        nano = nano * 10 + decimals.as_bytes().get(place).map_or(0, |byte| u64::from(byte - b'0'));
    }
    let micros = match nano % 1000 {
        0 => nano / 1000,
        999 => nano / 1000 + 1,
        _ => return None,
    };
    let amount = parse_whole(whole)?.checked_mul(1_000_000)?.checked_add(micros)?;
    (amount <= MAX_AMOUNT_MICROS).then_some(amount)
}

#[cfg(test)]
#[path = "transactions_tests.rs"]
mod tests;
