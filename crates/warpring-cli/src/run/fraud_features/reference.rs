//! The plain way to the same features: one queue for each customer and terminal, searched from end to end each time.
//!
//! It shares no code with the kernels beyond the message types, so that an agreement of the two means something.

use super::Answer;
use crate::input::transactions::Row;
use crate::run::JobError;
use std::collections::{HashMap, VecDeque};
use warpring_kernels::fraud::Transaction;
use warpring_kernels::fraud::customer_window::CustomerFeatures;
use warpring_kernels::fraud::terminal_risk::TerminalFeatures;

const DAY: u64 = 24 * 60 * 60;
const DAYS: [u64; 3] = [1, 7, 30];
const DELAY_DAYS: u64 = 7;

/// Everything that a window still needs, by customer and by terminal.
#[derive(Default)]
pub struct Reference {
    customers: HashMap<u64, VecDeque<Transaction>>,
    terminals: HashMap<u64, VecDeque<Transaction>>,
}

impl Reference {
    /// Takes in the row and compares the answer with our own.
    ///
    /// # Errors
    /// [`JobError::Differs`].
    pub fn check(&mut self, row: &Row, answer: &Answer) -> Result<(), JobError> {
        let expected = self.answer(row);
        // Both divide an exact sum once, so even the floats must be equal to the last bit.
        if expected == *answer {
            return Ok(());
        }
        Err(JobError::Differs {
            what: format!("transaction {}", row.id),
            expected: format!("{expected:?}"),
            found: format!("{answer:?}"),
        })
    }

    /// Takes in the row and answers it.
    pub fn answer(&mut self, row: &Row) -> Answer {
        let now = row.transaction.unix_seconds;
        let customer = remember(&mut self.customers, row.customer, row.transaction, 30);
        let mut counts = [0; 3];
        let mut means = [0.0; 3];
        for (window, days) in DAYS.into_iter().enumerate() {
            let mut sum = 0_u64;
            for past in customer.iter().filter(|past| past.unix_seconds + days * DAY > now) {
                counts[window] += 1;
                sum += past.amount_micros;
            }
            means[window] = sum as f64 / (f64::from(counts[window]) * 1e6);
        }
        // Day 0 was a Thursday; Monday is 0 here.
        let weekday = (now / DAY + 3) % 7;
        let hour = now % DAY / 3600;
        let customer = CustomerFeatures { counts, means, during_weekend: weekday >= 5, during_night: hour < 7 };

        let terminal = remember(&mut self.terminals, row.terminal, row.transaction, DELAY_DAYS + 30);
        // N and F as the definition has them: over the last `days` days.
        let count = |days: u64, frauds_only: bool| -> u32 {
            let counted = |past: &&Transaction| past.unix_seconds + days * DAY > now && (past.fraud || !frauds_only);
            terminal.iter().filter(counted).map(|_| 1).sum()
        };
        let counts = DAYS.map(|days| count(DELAY_DAYS + days, false) - count(DELAY_DAYS, false));
        let frauds = DAYS.map(|days| count(DELAY_DAYS + days, true) - count(DELAY_DAYS, true));
        let mut risks = [0.0; 3];
        for window in 0..3 {
            if counts[window] > 0 {
                risks[window] = f64::from(frauds[window]) / f64::from(counts[window]);
            }
        }
        Answer { customer, terminal: TerminalFeatures { counts, risks } }
    }
}

/// Adds the transaction to its queue and drops what is older than so many days.
fn remember(
    queues: &mut HashMap<u64, VecDeque<Transaction>>,
    key: u64,
    transaction: Transaction,
    days: u64,
) -> &VecDeque<Transaction> {
    let queue = queues.entry(key).or_default();
    while queue.front().is_some_and(|oldest| oldest.unix_seconds + days * DAY <= transaction.unix_seconds) {
        queue.pop_front();
    }
    queue.push_back(transaction);
    queue
}
