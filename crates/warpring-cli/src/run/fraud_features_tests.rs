//! The whole job on a sequential engine: made-up streams, and the published data with the published features.

use super::*;
use crate::test_data::data_file;
use std::collections::{HashMap, HashSet};
use warpring_kernels::fraud::customer_window::CustomerWindow;
use warpring_kernels::fraud::terminal_risk::TerminalRisk;

/// The kernels' own state and logic without a runtime: one after the other, in this thread.
fn sequential(rows: &mut Rows<'_>, sink: &mut Sink<'_>) -> Result<EngineReport, JobError> {
    let mut customers: HashMap<u64, Box<CustomerWindow>> = HashMap::new();
    let mut terminals: HashMap<u64, Box<TerminalRisk>> = HashMap::new();
    let mut messages = 0;
    for row in rows {
        let row = row?;
        let refused = |actor: &str, key: u64| {
            let what = format!("transaction {} at {actor} {key}", row.id);
            move |code| JobError::Refused { what, reason: reason(code) }
        };
        let customer = customers.entry(row.customer).or_default().apply(&row.transaction);
        let terminal = terminals.entry(row.terminal).or_default().apply(&row.transaction);
        let answer = Answer {
            customer: customer.map_err(refused("customer", row.customer))?,
            terminal: terminal.map_err(refused("terminal", row.terminal))?,
        };
        messages += 2;
        sink(&row, &answer)?;
    }
    Ok(EngineReport {
        backend: "sequential",
        workers: 1,
        window: 1,
        messages,
        elapsed: Duration::from_secs(1),
        ask_nanos: Histogram::new(3).unwrap(),
        actors: (customers.len() + terminals.len()) as u64,
        launched: 0,
        resident_bytes: 0,
    })
}

fn made_up(transactions: u64) -> FraudFeatures {
    FraudFeatures { input: Vec::new(), output: None, json: false, on: BackendArgs::default(), seed: 1, transactions }
}

/// A file in the temporary folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("warpring-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_made_up_stream_is_verified_to_its_end() {
    made_up(200_000).job(sequential).unwrap();
}

#[test]
fn one_wrong_answer_fails_the_job() {
    let wrong = |rows: &mut Rows<'_>, sink: &mut Sink<'_>| {
        sequential(rows, &mut |row, answer| {
            let mut answer = *answer;
            if row.id == 777 {
                answer.customer.means[2] = answer.customer.means[2].next_up();
            }
            sink(row, &answer)
        })
    };
    let error = made_up(1000).job(wrong).unwrap_err();
    assert!(matches!(&error, JobError::Differs { what, .. } if what == "transaction 777"), "{error}");
}

#[test]
fn the_output_has_the_published_form() {
    let input = Scratch::new("form.csv");
    let output = Scratch::new("form-features.csv");
    std::fs::write(
        &input.0,
        "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_TIME_SECONDS,TX_TIME_DAYS,TX_FRAUD,TX_FRAUD_SCENARIO\n\
         0,2018-04-01 00:00:31,596,3156,57.16,31,0,0,0\n\
         2,2018-04-02 07:00:00,596,3156,146.0,111600,1,1,1\n\
         3,2018-04-09 07:00:00,596,3156,1.5,716400,8,0,0\n",
    )
    .unwrap();
    let job = FraudFeatures { input: vec![input.0.clone()], output: Some(output.0.clone()), ..made_up(0) };
    job.job(sequential).unwrap();
    assert_eq!(
        std::fs::read_to_string(&output.0).unwrap(),
        "TRANSACTION_ID,TX_DURING_WEEKEND,TX_DURING_NIGHT,CUSTOMER_ID_NB_TX_1DAY_WINDOW,\
         CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW,CUSTOMER_ID_NB_TX_7DAY_WINDOW,CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW,\
         CUSTOMER_ID_NB_TX_30DAY_WINDOW,CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW,TERMINAL_ID_NB_TX_1DAY_WINDOW,\
         TERMINAL_ID_RISK_1DAY_WINDOW,TERMINAL_ID_NB_TX_7DAY_WINDOW,TERMINAL_ID_RISK_7DAY_WINDOW,\
         TERMINAL_ID_NB_TX_30DAY_WINDOW,TERMINAL_ID_RISK_30DAY_WINDOW\n\
         0,1,1,1,57.16,1,57.16,1,57.16,0,0,0,0,0,0\n\
         2,0,0,1,146,2,101.58,2,101.58,0,0,0,0,0,0\n\
         3,0,0,1,1.5,1,1.5,3,68.22,1,1,2,0.5,2,0.5\n"
    );
}

#[test]
fn an_input_is_never_overwritten() {
    let input = Scratch::new("same.csv");
    std::fs::write(&input.0, "kept").unwrap();
    let job = FraudFeatures { input: vec![input.0.clone()], output: Some(input.0.clone()), ..made_up(0) };
    assert!(matches!(job.job(sequential), Err(JobError::OutputIsInput { .. })));
    assert_eq!(std::fs::read_to_string(&input.0).unwrap(), "kept");
}

#[test]
fn an_actor_that_refuses_is_named_with_the_reason() {
    let input = Scratch::new("busy.csv");
    let mut text = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD\n".to_owned();
    for id in 0..257 {
        text.push_str(&format!("{id},2018-04-01 00:00:00,5,{id},1,0\n"));
    }
    std::fs::write(&input.0, text).unwrap();
    let output = Scratch::new("busy-features.csv");
    let job = FraudFeatures { input: vec![input.0.clone()], output: Some(output.0.clone()), ..made_up(0) };
    assert_eq!(
        job.job(sequential).unwrap_err().to_string(),
        "transaction 256 at customer 5 was refused: its longest window already holds 256 transactions, which is all \
         that the state has room for"
    );
}

/// How our features differ from the published ones.
#[derive(Debug, Default, PartialEq)]
struct Comparison {
    rows: u64,
    other_customer_counts: u64,
    other_terminal_features: u64,
    other_times_of_day: u64,
}

const MONTHS: [&str; 3] = ["2018-04", "2018-05", "2018-06"];
const LARGEST_MEAN_ERROR: f64 = 1e-11;

/// The transactions whose customer has another one in the same second.
fn same_second(raw: &[PathBuf]) -> HashSet<u64> {
    let mut by_second: HashMap<(u64, u64), Vec<u64>> = HashMap::new();
    for row in Transactions::new(raw.to_vec()).map(Result::unwrap) {
        by_second.entry((row.customer, row.transaction.unix_seconds)).or_default().push(row.id);
    }
    by_second.into_values().filter(|ids| ids.len() > 1).flatten().collect()
}

#[test]
fn the_published_features_of_three_months_are_reproduced() {
    let files = |kind: &str| -> Option<Vec<PathBuf>> {
        MONTHS.iter().map(|month| data_file(&format!("fraud/{kind}_{month}.csv.gz"))).collect()
    };
    let (Some(raw), Some(published)) = (files("transactions"), files("features")) else {
        return;
    };
    let ties = same_second(&raw);
    let output = Scratch::new("features.csv");
    let job = FraudFeatures { input: raw, output: Some(output.0.clone()), ..made_up(0) };
    job.job(sequential).unwrap();

    let mut ours: HashMap<u64, csv::StringRecord> = HashMap::new();
    for record in csv::Reader::from_path(&output.0).unwrap().into_records() {
        let record = record.unwrap();
        assert!(ours.insert(record[0].parse().unwrap(), record).is_none());
    }
    let mut comparison = Comparison::default();
    let mut largest_mean_error: f64 = 0.0;
    for path in published {
        let bytes = flate2::read::MultiGzDecoder::new(File::open(path).unwrap());
        let mut reader = csv::Reader::from_reader(bytes);
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), output::HEADER);
        for theirs in reader.into_records() {
            let theirs = theirs.unwrap();
            let id = theirs[0].parse().unwrap();
            let ours = ours.remove(&id).expect("a row for each published one");
            comparison.rows += 1;
            comparison.other_times_of_day += u64::from((1..3).any(|at| ours[at] != theirs[at]));
            // Terminal: counts and risks, text against text, which for floats is bit against bit.
            comparison.other_terminal_features += u64::from((9..15).any(|at| ours[at] != theirs[at]));
            for at in [3, 5, 7] {
                let mean = |record: &csv::StringRecord| -> f64 { record[at + 1].parse().unwrap() };
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
    // Of two transactions of one customer in the same second, the published features may take the other one first:
    // eight rows, with the counts of all three windows.
    let expected = Comparison { rows: 872_795, other_customer_counts: 24, other_terminal_features: 0, other_times_of_day: 0 };
    assert_eq!(comparison, expected);
}
