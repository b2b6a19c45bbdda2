//! The windowed kernels against a model that keeps every transaction and looks at all of them each time.

use proptest::prelude::*;
use warpring_kernels::fraud::customer_window::{self, CustomerWindow};
use warpring_kernels::fraud::terminal_risk::{self, TerminalRisk};
use warpring_kernels::fraud::{DAY_SECONDS, Transaction, WINDOW_FULL, WINDOW_SECONDS};

/// Steps between transactions that meet the edges: none, seconds, exact windows, long pauses.
fn step() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(0),
        4 => 1..60u64,
        6 => 1..3 * DAY_SECONDS,
        2 => prop::sample::select(vec![1, 6, 7, 8, 14, 23, 30, 37]).prop_map(|days| days * DAY_SECONDS),
        1 => 1..50 * DAY_SECONDS,
    ]
}

fn stream(steps: impl Strategy<Value = u64>, length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Transaction>> {
    let one = (steps, 0..10_000_000_000u64, any::<bool>());
    prop::collection::vec(one, length).prop_map(|steps| {
        let mut unix_seconds = 1_522_540_800;
        let mut next = |(step, amount_micros, fraud)| {
            unix_seconds += step;
            Transaction { unix_seconds, amount_micros, fraud }
        };
        steps.into_iter().map(&mut next).collect()
    })
}

fn in_window(taken: &[Transaction], from: u64, to: u64, now: u64) -> impl Iterator<Item = &Transaction> {
    taken.iter().filter(move |past| (from..to).contains(&(now - past.unix_seconds)))
}

fn check_customer(stream: &[Transaction]) -> Result<(), TestCaseError> {
    let mut customer = CustomerWindow::new();
    let mut taken: Vec<Transaction> = Vec::new();
    for transaction in stream {
        let now = transaction.unix_seconds;
        let held = in_window(&taken, 0, WINDOW_SECONDS[2], now).count();
        let reply = customer.apply(transaction);
        if held == customer_window::CAPACITY as usize {
            prop_assert_eq!(reply, Err(WINDOW_FULL));
            continue;
        }
        taken.push(*transaction);
        let reply = reply.unwrap();
        for (window, length) in WINDOW_SECONDS.into_iter().enumerate() {
            let inside: Vec<_> = in_window(&taken, 0, length, now).collect();
            let sum: u64 = inside.iter().map(|past| past.amount_micros).sum();
            prop_assert_eq!(reply.counts[window] as usize, inside.len());
            prop_assert_eq!(reply.means[window], sum as f64 / (inside.len() as f64 * 1e6));
        }
    }
    Ok(())
}

fn check_terminal(stream: &[Transaction]) -> Result<(), TestCaseError> {
    let delay = terminal_risk::DELAY_SECONDS;
    let mut terminal = TerminalRisk::new();
    let mut taken: Vec<Transaction> = Vec::new();
    for transaction in stream {
        let now = transaction.unix_seconds;
        let held = in_window(&taken, 0, delay + WINDOW_SECONDS[2], now).count();
        let reply = terminal.apply(transaction);
        if held == terminal_risk::CAPACITY as usize {
            prop_assert_eq!(reply, Err(WINDOW_FULL));
            continue;
        }
        taken.push(*transaction);
        let reply = reply.unwrap();
        for (window, length) in WINDOW_SECONDS.into_iter().enumerate() {
            let inside: Vec<_> = in_window(&taken, delay, delay + length, now).collect();
            let frauds = inside.iter().filter(|past| past.fraud).count();
            prop_assert_eq!(reply.counts[window] as usize, inside.len());
            let risk = if inside.is_empty() { 0.0 } else { frauds as f64 / inside.len() as f64 };
            prop_assert_eq!(reply.risks[window], risk);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_customer_of_any_habit(stream in stream(step(), 0..200)) {
        check_customer(&stream)?;
    }

    #[test]
    fn a_terminal_of_any_use(stream in stream(step(), 0..200)) {
        check_terminal(&stream)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_customer_at_capacity(stream in stream(0..6 * 3600u64, 900..1000)) {
        check_customer(&stream)?;
    }

    #[test]
    fn a_terminal_at_capacity(stream in stream(0..7 * 3600u64, 900..1000)) {
        check_terminal(&stream)?;
    }
}
