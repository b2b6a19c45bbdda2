//! `warpring run fraud-features`: streaming features of card transactions, one actor for each customer and terminal.
//!
//! Input is read as one stream in time order and answered in that order. Without input, a seeded stream is made up and
//! every answer is compared with a plain reference.

mod engine;
mod generate;
mod output;
mod reference;

use super::progress::Progress;
use super::{JobError, print_stdout};
use crate::backend::BackendArgs;
use crate::input::InputError;
use crate::input::transactions::{Row, Transactions};
use generate::Generator;
use hdrhistogram::Histogram;
use reference::Reference;
use serde_json::json;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use warpring::{Runtime, block_on};
use warpring_kernels::fraud::customer_window::CustomerFeatures;
use warpring_kernels::fraud::terminal_risk::TerminalFeatures;
use warpring_kernels::fraud::{AMOUNT_TOO_LARGE, TIME_WENT_BACK, WINDOW_FULL};

/// Streaming features of card transactions: windows of each customer, risk of each terminal.
#[derive(Debug, clap::Args)]
pub struct FraudFeatures {
    /// Transactions as CSV, plain or gzip; several files in time order are one stream. Without: a made-up stream, of
    /// which every answer is verified
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Where the features go; with input, standard output (`-`) unless named
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    on: BackendArgs,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// Seed of the made-up stream
    #[arg(long, default_value_t = 1, conflicts_with = "input")]
    seed: u64,
    /// Length of the made-up stream
    #[arg(long, default_value_t = 1_000_000, conflicts_with = "input")]
    transactions: u64,
}

/// What the two actors of a transaction answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The customer's.
    pub customer: CustomerFeatures,
    /// The terminal's.
    pub terminal: TerminalFeatures,
}

/// The transactions, in order.
pub type Rows<'a> = dyn Iterator<Item = Result<Row, InputError>> + 'a;
/// Where each transaction goes with its answer, in the same order.
pub type Sink<'a> = dyn FnMut(&Row, &Answer) -> Result<(), JobError> + 'a;

/// What the engine that answered the transactions reports.
pub struct EngineReport {
    /// What it ran on.
    pub backend: &'static str,
    /// How many workers.
    pub workers: u32,
    /// Most asks under way at a time.
    pub window: u32,
    /// How many messages it answered; two for each transaction.
    pub messages: u64,
    /// How long that took.
    pub elapsed: Duration,
    /// Nanoseconds from asking a row's actors to having both answers. With up to `window` asks under way and answers taken in
    /// order, most of it is waiting in line.
    pub ask_nanos: Histogram<u64>,
    /// How many actors were asked: customers and terminals.
    pub actors: u64,
    /// How many were launched, those ahead of their keys included.
    pub launched: u64,
    /// State of all that were launched, in bytes.
    pub resident_bytes: u64,
}

/// Why a customer or a terminal refused a transaction.
#[must_use]
pub const fn reason(code: u32) -> &'static str {
    match code {
        TIME_WENT_BACK => "it is older than the one before; sort the input by time",
        WINDOW_FULL => "its longest window already holds 256 transactions, which is all that the state has room for",
        AMOUNT_TOO_LARGE => "the amount is too large for exact sums",
        _ => "the actor gave a code that this version does not know",
    }
}

impl FraudFeatures {
    /// Runs the job on a Warpring runtime.
    ///
    /// # Errors
    /// [`JobError`], from input, backend, actors, verification or output.
    pub fn run(&self) -> Result<(), JobError> {
        let runtime = self.on.start().map_err(JobError::Backend)?;
        self.job(|rows, sink| engine::run(&runtime, rows, sink))?;
        block_on(runtime.shutdown()).map_err(JobError::Shutdown)
    }

    /// Runs the job on an engine that takes the transactions and hands each with its answer to the sink, in order.
    ///
    /// # Errors
    /// [`JobError`], from input, engine, verification or output.
    fn job(&self, engine: impl FnOnce(&mut Rows<'_>, &mut Sink<'_>) -> Result<EngineReport, JobError>) -> Result<(), JobError> {
        let to_stdout = match &self.output {
            Some(path) => path == Path::new("-"),
            None => !self.input.is_empty(),
        };
        let mut features = self.open_output(to_stdout)?;
        let output_error = |error| JobError::Output { file: self.output_name(), error };
        if let Some(to) = &mut features {
            output::write_header(to).map_err(output_error)?;
        }
        let mut rows_out = output::RowWriter::default();
        let mut write = |row: &Row, answer: &Answer| match &mut features {
            Some(to) => rows_out.write(to, row, answer).map_err(output_error),
            None => Ok(()),
        };
        let made_up = self.input.is_empty().then_some(self.transactions);
        let summary = if made_up.is_some() {
            answer(&mut Generator::new(self.seed, self.transactions), made_up, engine, &mut write)?
        } else {
            answer(&mut Transactions::new(self.input.clone()), None, engine, &mut write)?
        };
        if let Some(to) = &mut features {
            to.flush().map_err(output_error)?;
        }
        self.print_summary(&summary, to_stdout)
    }

    fn open_output(&self, to_stdout: bool) -> Result<Option<Box<dyn Write>>, JobError> {
        if to_stdout {
            return Ok(Some(Box::new(BufWriter::with_capacity(1 << 16, io::stdout().lock()))));
        }
        let Some(path) = &self.output else {
            return Ok(None);
        };
        let same = |input: &PathBuf| input.canonicalize().is_ok_and(|input| path.canonicalize().is_ok_and(|path| path == input));
        if self.input.iter().any(same) {
            return Err(JobError::OutputIsInput { file: self.output_name() });
        }
        let file = File::create(path).map_err(|error| JobError::Output { file: self.output_name(), error })?;
        Ok(Some(Box::new(BufWriter::with_capacity(1 << 16, file))))
    }

    fn output_name(&self) -> String {
        self.output.as_ref().map_or_else(|| "standard output".to_owned(), |path| path.display().to_string())
    }

    /// To standard output, unless that is where the features went.
    fn print_summary(&self, summary: &Summary, features_on_stdout: bool) -> Result<(), JobError> {
        let text = if self.json { summary.json() } else { summary.to_string() };
        if features_on_stdout {
            eprintln!("{text}");
            return Ok(());
        }
        print_stdout(&text)
    }
}

/// Answers the transactions and hands each with its answer to the sink, in order. Of a made-up stream, whose length is known, each
/// answer is compared with the plain reference before.
fn answer(
    rows: &mut Rows<'_>,
    made_up: Option<u64>,
    engine: impl FnOnce(&mut Rows<'_>, &mut Sink<'_>) -> Result<EngineReport, JobError>,
    sink: &mut Sink<'_>,
) -> Result<Summary, JobError> {
    let mut reference = made_up.map(|_| Reference::default());
    let mut verified = 0;
    let mut progress = Progress::new(made_up, "transactions");
    let report = engine(rows, &mut |row, answer| {
        if let Some(reference) = &mut reference {
            reference.check(row, answer)?;
            verified += 1;
        }
        progress.step();
        sink(row, answer)
    })?;
    Ok(Summary { report, verified: made_up.map(|_| verified) })
}

/// The features of made-up transactions as CSV, computed on this runtime, every answer compared with the plain reference.
///
/// # Errors
/// [`JobError`], from actors or verification.
pub fn features_of_made_up(runtime: &Runtime, seed: u64, transactions: u64) -> Result<(Vec<u8>, Summary), JobError> {
    features(runtime, &mut Generator::new(seed, transactions), Some(transactions))
}

/// The features of the first so many transactions of these files as CSV, computed on this runtime.
///
/// # Errors
/// [`JobError`], from input or actors.
pub fn features_of_files(runtime: &Runtime, files: Vec<PathBuf>, most: usize) -> Result<(Vec<u8>, Summary), JobError> {
    features(runtime, &mut Transactions::new(files).take(most), None)
}

fn features(runtime: &Runtime, rows: &mut Rows<'_>, made_up: Option<u64>) -> Result<(Vec<u8>, Summary), JobError> {
    let in_memory = |error| JobError::Output { file: "memory".to_owned(), error };
    let mut features = Vec::new();
    output::write_header(&mut features).map_err(in_memory)?;
    let mut rows_out = output::RowWriter::default();
    let engine = |rows: &mut Rows<'_>, sink: &mut Sink<'_>| engine::run(runtime, rows, sink);
    let summary =
        answer(rows, made_up, engine, &mut |row, answer| rows_out.write(&mut features, row, answer).map_err(in_memory))?;
    Ok((features, summary))
}

/// What a run of the job says about itself.
pub struct Summary {
    /// What the engine says.
    pub report: EngineReport,
    /// How many answers were compared with the reference, where there is one.
    pub verified: Option<u64>,
}

impl Summary {
    /// Messages answered in a second.
    pub fn messages_per_second(&self) -> f64 {
        self.report.messages as f64 / self.report.elapsed.as_secs_f64().max(1e-9)
    }

    fn json(&self) -> String {
        let report = &self.report;
        json!({
            "job": "fraud-features",
            "backend": report.backend,
            "workers": report.workers,
            "messages": report.messages,
            "seconds": report.elapsed.as_secs_f64(),
            "messages_per_second": self.messages_per_second(),
            "asks_under_way": report.window,
            "ask_ns_with_queueing": {
                "p50": report.ask_nanos.value_at_quantile(0.5),
                "p99": report.ask_nanos.value_at_quantile(0.99),
                "p99.9": report.ask_nanos.value_at_quantile(0.999),
            },
            "actors": report.actors,
            "actors_launched": report.launched,
            "resident_bytes": report.resident_bytes,
            "verified": self.verified,
        })
        .to_string()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        let micros = |quantile| report.ask_nanos.value_at_quantile(quantile) as f64 / 1e3;
        let workers = if report.workers == 1 { "1 worker".to_owned() } else { format!("{} workers", report.workers) };
        writeln!(f, "backend         {}, {workers}", report.backend)?;
        writeln!(f, "messages        {} in {:.2} s", report.messages, report.elapsed.as_secs_f64())?;
        writeln!(f, "per second      {:.0}", self.messages_per_second())?;
        writeln!(f, "ask latency us  p50 {:.1}  p99 {:.1}  p99.9 {:.1}", micros(0.5), micros(0.99), micros(0.999))?;
        writeln!(f, "                waiting in line included, with up to {} asks under way", report.window)?;
        writeln!(f, "actors          {} asked, {} launched", report.actors, report.launched)?;
        write!(f, "resident state  {} bytes", report.resident_bytes)?;
        match self.verified {
            Some(verified) => write!(f, "\nverified        {verified} transactions equal the plain reference"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "fraud_features_tests.rs"]
mod tests;
