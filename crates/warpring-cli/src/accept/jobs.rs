//! Steps that run the ready-made jobs and compare what they answer.

use super::step::{Answer, On, Outcome, about_to};
use crate::backend::start;
use crate::input::transactions::Transactions;
use crate::run::fraud_features::{Summary, features_of_files, features_of_made_up};
use crate::run::market_book::{Format, replay_file};
use csv::StringRecord;
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use warpring::{Backend, Runtime, block_on};

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The figures of a run of the fraud job.
fn figures(summary: &Summary) -> Value {
    let report = &summary.report;
    let nanos = &report.ask_nanos;
    let histogram: Vec<_> = nanos.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())).collect();
    json!({
        "backend": report.backend,
        "workers": report.workers,
        "messages": report.messages,
        "seconds": report.elapsed.as_secs_f64(),
        "messages_per_second": summary.messages_per_second(),
        "ask_ns_with_queueing": {
            "p50": nanos.value_at_quantile(0.5),
            "p99": nanos.value_at_quantile(0.99),
            "p99.9": nanos.value_at_quantile(0.999),
            "histogram": histogram,
        },
        "actors": report.actors,
        "resident_bytes": report.resident_bytes,
        "verified": summary.verified,
    })
}

/// Runs on a runtime of the ready-made kernels and shuts it down.
fn on_runtime<T>(backend: &Backend, workers: Option<u32>, job: impl FnOnce(&Runtime) -> Result<T, String>) -> Result<T, String> {
    let runtime = start(backend.clone(), workers).map_err(text)?;
    let done = job(&runtime)?;
    block_on(runtime.shutdown()).map_err(text)?;
    Ok(done)
}

/// Step `fraud-features`: made-up transactions, every answer against the plain reference, and the features byte for byte against
/// those of the CPU backend.
///
/// # Errors
/// What differs.
pub fn fraud_features(on: &On) -> Answer {
    const SEED: u64 = 1;
    let transactions = on.scale(200_000, 1_500);
    about_to(format_args!("{transactions} transactions on backend {}", on.backend()));
    let made_up = |runtime: &Runtime| features_of_made_up(runtime, SEED, transactions).map_err(text);
    let (features, summary) = on_runtime(on.backend(), None, made_up)?;
    if summary.verified != Some(transactions) {
        return Err(format!("{:?} of {transactions} transactions were compared with the reference", summary.verified));
    }
    // On the CPU itself: with another number of workers.
    let workers = summary.report.workers + 1;
    about_to(format_args!("the same on {workers} CPU workers"));
    let (by_cpu, _) = on_runtime(&Backend::Cpu, Some(workers), made_up)?;
    if let Some(at) = first_difference(&features, &by_cpu) {
        return Err(format!("the features differ from those of {workers} CPU workers in line {at}"));
    }
    let found = format!(
        "{transactions} transactions equal the plain reference, {} feature bytes equal those of {workers} CPU workers, {:.2} M messages/s",
        features.len(),
        summary.messages_per_second() / 1e6
    );
    Outcome::passed(found, figures(&summary))
}

/// The first line, from 1, that differs.
fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    if a == b {
        return None;
    }
    let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
    Some(1 + a[..at].iter().filter(|&&byte| byte == b'\n').count())
}

const MONTHS: [&str; 3] = ["2018-04", "2018-05", "2018-06"];

/// The largest difference of a mean: theirs are running sums of floats.
const LARGEST_MEAN_ERROR: f64 = 1e-11;

/// Step `published-features`: the features of the Fraud Detection Handbook's transactions, against the published ones.
///
/// # Errors
/// What differs, or cannot be read.
pub fn published_features(on: &On) -> Answer {
    let Some(data) = &on.data else { return Outcome::not_run("no published data was named with `--data`") };
    let file = |kind: &str, month: &str| data.join("fraud").join(format!("{kind}_{month}.csv.gz"));
    // One stream, so without gaps, and from the first month on.
    let there = |month: &&&str| file("transactions", month).is_file() && file("features", month).is_file();
    let months: Vec<_> = MONTHS.iter().take(on.scale(MONTHS.len(), 1)).take_while(there).collect();
    if months.is_empty() {
        return Outcome::not_run(format!("{} is not there", file("transactions", MONTHS[0]).display()));
    }
    let raw: Vec<PathBuf> = months.iter().map(|month| file("transactions", month)).collect();
    let most = on.scale(usize::MAX, 10_000);
    about_to(format_args!("the transactions of {} months", months.len()));
    let (features, summary) =
        on_runtime(on.backend(), None, |runtime| features_of_files(runtime, raw.clone(), most).map_err(text))?;
    about_to("comparing");
    let ties = same_second(&raw, most)?;
    let mut comparison = Comparison::of(&features)?;
    for month in &months {
        comparison.compare(&file("features", month), &ties)?;
    }
    if comparison.missing() > 0 {
        return Err(format!("{} transactions have no published features", comparison.missing()));
    }
    let Comparison { rows, ties, mean_error, .. } = comparison;
    let found = format!(
        "{rows} transactions: counts, risks, flags equal the published ones, means within {mean_error:.0e}; {ties} counts of customers \
         with two in one second differ, as they may; {:.2} M messages/s",
        summary.messages_per_second() / 1e6
    );
    let mut details = figures(&summary);
    details["rows"] = rows.into();
    details["other_counts_within_a_second"] = ties.into();
    details["largest_mean_error"] = mean_error.into();
    Outcome::passed(found, details)
}

fn records(path: &Path) -> Result<impl Iterator<Item = Result<StringRecord, String>>, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| named(&error))?;
    let path = path.display().to_string();
    Ok(csv::Reader::from_reader(MultiGzDecoder::new(file))
        .into_records()
        .map(move |record| record.map_err(|error| format!("{path}: {error}"))))
}

/// The transactions whose customer has another one in the same second: of those the published features may take the other first.
fn same_second(raw: &[PathBuf], most: usize) -> Result<HashSet<u64>, String> {
    let mut by_second: HashMap<(u64, u64), Vec<u64>> = HashMap::new();
    for row in Transactions::new(raw.to_vec()).take(most) {
        let row = row.map_err(text)?;
        by_second.entry((row.customer, row.transaction.unix_seconds)).or_default().push(row.id);
    }
    Ok(by_second.into_values().filter(|ids| ids.len() > 1).flatten().collect())
}

/// Our features beside the published ones.
struct Comparison<'a> {
    header: &'a str,
    /// By number of the transaction; each is taken out when its published row has come.
    ours: HashMap<u64, &'a str>,
    rows: u64,
    /// Counts that differ where they may.
    ties: u64,
    mean_error: f64,
}

impl<'a> Comparison<'a> {
    fn of(features: &'a [u8]) -> Result<Self, String> {
        let mut lines = std::str::from_utf8(features).map_err(text)?.lines();
        let header = lines.next().ok_or("no features")?;
        let id = |line: &'a str| Some((line.split(',').next()?.parse().ok()?, line));
        let ours = lines.map(|line| id(line).ok_or_else(|| format!("no number in {line}"))).collect::<Result<_, _>>()?;
        Ok(Self { header, ours, rows: 0, ties: 0, mean_error: 0.0 })
    }

    fn missing(&self) -> usize {
        self.ours.len()
    }

    fn compare(&mut self, published: &Path, ties: &HashSet<u64>) -> Result<(), String> {
        let columns = self.header.split(',').count();
        for theirs in records(published)? {
            let theirs = theirs?;
            let id: u64 = theirs.get(0).and_then(|id| id.parse().ok()).ok_or("a published row without a number")?;
            // In the simulator the job ends before the file does.
            let Some(line) = self.ours.remove(&id) else { continue };
            let ours: Vec<&str> = line.split(',').collect();
            if ours.len() != columns || theirs.len() != columns {
                return Err(format!("transaction {id} has {} columns, {} published", ours.len(), theirs.len()));
            }
            self.rows += 1;
            let differs = |at: usize| format!("transaction {id}, column {}: {} for {}", at + 1, ours[at], &theirs[at]);
            // Flags; then the terminal's counts and risks, text against text, which for floats is bit against bit.
            if let Some(at) = (1..3).chain(9..15).find(|&at| *ours[at] != theirs[at]) {
                return Err(differs(at));
            }
            // The customer's counts, and means where the counts agree.
            for at in [3, 5, 7] {
                if *ours[at] != theirs[at] {
                    if !ties.contains(&id) {
                        return Err(differs(at));
                    }
                    self.ties += 1;
                    continue;
                }
                let mean = |text: &str| text.parse::<f64>().map_err(|_| differs(at + 1));
                let error = (mean(ours[at + 1])? - mean(&theirs[at + 1])?).abs();
                self.mean_error = self.mean_error.max(error);
                // What is no number differs, too.
                if error.is_nan() || error > LARGEST_MEAN_ERROR {
                    return Err(differs(at + 1));
                }
            }
        }
        Ok(())
    }
}

const RECORDINGS: [(Format, &str, &str); 2] = [
    (Format::Kraken, "kraken", "kraken/kraken_book1000_5pairs.ws.gz"),
    (Format::Okx, "okx", "okx/okx_books_BTC-USD-220527.ws.gz"),
];

/// Step `market-book`: recordings of exchanges, every checksum that the exchange sent.
///
/// # Errors
/// Checksums that failed, or a recording that cannot be read.
pub fn market_book(on: &On) -> Answer {
    let Some(data) = &on.data else { return Outcome::not_run("no published data was named with `--data`") };
    let mut found = Vec::new();
    let mut details = serde_json::Map::new();
    let mut absent = Vec::new();
    for (format, exchange, name) in RECORDINGS {
        let path = data.join(name);
        if !path.is_file() {
            absent.push(format!("{} is not there", path.display()));
            continue;
        }
        about_to(name);
        let tallies = on_runtime(on.backend(), None, |runtime| replay_file(runtime, format, &path).map_err(text))?;
        let sum = |count: fn(&crate::run::market_book::Tally) -> u64| tallies.iter().map(count).sum::<u64>();
        let (updates, verified, failed) = (sum(|t| t.updates), sum(|t| t.verified), sum(|t| t.failed));
        if failed > 0 || verified == 0 {
            return Err(format!("{exchange}: {failed} checksums failed and {verified} agreed, in {updates} updates"));
        }
        found.push(format!("{exchange}: {updates} updates of {} books, all {verified} checksums agree", tallies.len()));
        details.insert(
            exchange.to_owned(),
            json!({ "books": tallies.len(), "updates": updates, "verified": verified, "failed": failed }),
        );
    }
    if found.is_empty() {
        return Outcome::not_run(absent.join("; "));
    }
    found.extend(absent);
    Outcome::passed(found.join("; "), details.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference(b"a\nb\n", b"a\nb\n"), None);
        assert_eq!(first_difference(b"a\nb\n", b"a\nc\n"), Some(2));
        assert_eq!(first_difference(b"a\n", b"a\nb\n"), Some(2));
        assert_eq!(first_difference(b"", b"b"), Some(1));
    }

    const HEADER: &str = "id,w,n,c1,m1,c7,m7,c30,m30,t1,r1,t7,r7,t30,r30";
    const ROW: &str = "5,0,1,1,2.5,1,2.5,2,2,3,0,4,0.25,5,0.2";

    /// Compares one row with one published row.
    fn one(ours: &str, published: &str, ties: &[u64]) -> Result<u64, String> {
        let features = format!("{HEADER}\n{ours}\n");
        let path =
            std::env::temp_dir().join(format!("warpring-accept-{}-{}", std::process::id(), published.len() * 31 + ties.len()));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, format!("{HEADER}\n{published}\n").as_bytes()).unwrap();
        std::fs::write(&path, encoder.finish().unwrap()).unwrap();
        let mut comparison = Comparison::of(features.as_bytes()).unwrap();
        let done = comparison.compare(&path, &ties.iter().copied().collect());
        std::fs::remove_file(&path).unwrap();
        done.map(|()| comparison.rows)
    }

    #[test]
    fn a_published_row_that_differs_is_named_with_its_column() {
        assert_eq!(one(ROW, ROW, &[]), Ok(1));
        assert_eq!(one(ROW, &ROW.replace("0.25", "0.26"), &[]), Err("transaction 5, column 13: 0.25 for 0.26".to_owned()));
        assert_eq!(one(ROW, &ROW.replacen("2.5", "2.501", 1), &[]), Err("transaction 5, column 5: 2.5 for 2.501".to_owned()));
        assert_eq!(one(ROW, &ROW.replacen("2.5", "NaN", 1), &[]), Err("transaction 5, column 5: 2.5 for NaN".to_owned()));
        let other_count = ROW.replacen(",1,2.5,", ",9,7.5,", 1);
        assert_eq!(one(ROW, &other_count, &[]), Err("transaction 5, column 4: 1 for 9".to_owned()));
        assert_eq!(one(ROW, &other_count, &[5]), Ok(1));
    }
}
