//! The features that `warpring run fraud-features` gives for the Fraud Detection Handbook's data equal the published ones.

mod support;

use csv::StringRecord;
use flate2::read::MultiGzDecoder;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use support::data::data_file;
use support::{Scratch, warpring};

const LARGEST_MEAN_ERROR: f64 = 1e-11;

/// How our features differ from the published ones.
#[derive(Debug, Default, PartialEq)]
struct Comparison {
    rows: u64,
    other_customer_counts: u64,
    other_terminal_features: u64,
    other_times_of_day: u64,
}

fn records(path: &Path) -> impl Iterator<Item = StringRecord> {
    let reader = csv::Reader::from_reader(MultiGzDecoder::new(File::open(path).unwrap()));
    reader.into_records().map(Result::unwrap)
}

/// The transactions whose customer has another one in the same second.
fn same_second(raw: &[PathBuf]) -> HashSet<u64> {
    let mut by_second: HashMap<(String, String), Vec<u64>> = HashMap::new();
    for row in raw.iter().flat_map(|path| records(path)) {
        by_second.entry((row[2].to_owned(), row[1].to_owned())).or_default().push(row[0].parse().unwrap());
    }
    by_second.into_values().filter(|ids| ids.len() > 1).flatten().collect()
}

/// `None` where the data is absent.
fn compare(months: &[&str]) -> Option<Comparison> {
    let files = |kind: &str| -> Option<Vec<PathBuf>> {
        months.iter().map(|month| data_file(&format!("fraud/{kind}_{month}.csv.gz"))).collect()
    };
    let (raw, published) = (files("transactions")?, files("features")?);
    let scratch = Scratch::new();
    let output = scratch.path("features.csv");
    let mut arguments = vec!["run", "fraud-features", "--output", &output];
    for path in &raw {
        arguments.extend(["--input", path.to_str().unwrap()]);
    }
    println!("{}", warpring(&arguments).quiet());

    let mut reader = csv::Reader::from_path(&output).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut ours: HashMap<u64, StringRecord> = HashMap::new();
    for record in reader.into_records().map(Result::unwrap) {
        assert!(ours.insert(record[0].parse().unwrap(), record).is_none());
    }
    let ties = same_second(&raw);
    let mut comparison = Comparison::default();
    let mut largest_mean_error: f64 = 0.0;
    for path in published {
        let theirs = csv::Reader::from_reader(MultiGzDecoder::new(File::open(&path).unwrap())).headers().unwrap().clone();
        assert_eq!(header, theirs);
        for theirs in records(&path) {
            let id = theirs[0].parse().unwrap();
            let ours = ours.remove(&id).expect("a row for each published one");
            comparison.rows += 1;
            comparison.other_times_of_day += u64::from((1..3).any(|at| ours[at] != theirs[at]));
            // Terminal: counts and risks, text against text, which for floats is bit against bit.
            comparison.other_terminal_features += u64::from((9..15).any(|at| ours[at] != theirs[at]));
            for at in [3, 5, 7] {
                let mean = |record: &StringRecord| -> f64 { record[at + 1].parse().unwrap() };
                if ours[at] == theirs[at] {
                    largest_mean_error = largest_mean_error.max((mean(&ours) - mean(&theirs)).abs());
                } else {
                    comparison.other_customer_counts += 1;
                    assert!(ties.contains(&id), "transaction {id} has another count and no tie");
                }
            }
        }
    }
    println!("{comparison:?}, largest error of a mean {largest_mean_error:e}");
    assert!(ours.is_empty());
    assert!(largest_mean_error <= LARGEST_MEAN_ERROR);
    Some(comparison)
}

#[test]
fn the_published_features_of_three_months_are_reproduced() {
    let Some(comparison) = compare(&["2018-04", "2018-05", "2018-06"]) else { return };
    // Of two transactions of one customer in the same second, the published features may take the other one first:
    // eight rows, with the counts of all three windows.
    let expected = Comparison { rows: 872_795, other_customer_counts: 24, other_terminal_features: 0, other_times_of_day: 0 };
    assert_eq!(comparison, expected);
}
