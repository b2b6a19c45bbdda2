//! The whole job on a sequential engine. The published data is the business of the command's own tests.

use super::*;
use std::collections::HashMap;
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
