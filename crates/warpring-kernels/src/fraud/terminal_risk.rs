//! Kernel `fraud/terminal-risk`: how often a terminal was used and what share was fraud, with a delay of seven days.
//!
//! A fraud is taken to be known only seven days later, so at time t a window of w days covers
//! (t - 7 days - w, t - 7 days]. In the terms of the Fraud Detection Handbook: NB = N(7+w) - N(7) and
//! RISK = (F(7+w) - F(7)) / NB, where N counts transactions and F frauds in (t - x days, t]; RISK is 0 where NB is 0.
//!
//! One circular buffer holds the last 37 days. One cursor, common to all windows, marks the first transaction that is
//! not yet seven days old; each window has a cursor to its first transaction and a running count of frauds. A
//! transaction passes each cursor once, so a message costs O(1) amortised.
//!
//! State: 2,120 bytes. Capacity 256 transactions in 37 days: of the 10,000 terminals in three months of the Handbook's
//! data, the busiest sees 92 in some 37 days (the median terminal 42). 128 would leave little headroom for one busy
//! shop. A terminal beyond the capacity gets [`WINDOW_FULL`], never a wrong number.

use super::{DAY_SECONDS, TIME_WENT_BACK, Transaction, WINDOW_FULL, WINDOW_SECONDS};
use warpring::prelude::*;

/// How many transactions of the last 37 days the state can hold. A power of two, so that cursors may wrap around.
pub const CAPACITY: u32 = 256;

/// How old a transaction must be before its label is taken to be known.
pub const DELAY_SECONDS: u64 = 7 * DAY_SECONDS;

/// What a terminal's actor answers.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct TerminalFeatures {
    /// Number of transactions in the delayed windows of 1, 7 and 30 days.
    pub counts: [u32; 3],
    /// Share of frauds among them, 0 where there are none.
    pub risks: [f64; 3],
}

/// How often a terminal was used and what share was fraud, in windows of 1, 7 and 30 days that end seven days ago.
///
/// One actor for each terminal. Ask it with every [`Transaction`], in time order; it answers [`TerminalFeatures`].
///
/// # Errors
/// [`KernelError::Rejected`] with code [`TIME_WENT_BACK`] or [`WINDOW_FULL`]; each leaves the state as it was.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "fraud/terminal-risk")]
pub struct Terminal {
    risk: Resident<TerminalRisk>,
}

impl Terminal {
    /// A terminal that has not been used yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { risk: Resident::new(TerminalRisk::new()) }
    }
}

impl RingKernelHandler<Transaction, TerminalFeatures> for Terminal {
    async fn handle(&self, ctx: &mut RingContext<'_>, transaction: Transaction) -> Result<TerminalFeatures> {
        ctx.update(&self.risk, |risk| risk.apply(&transaction)).map_err(KernelError::rejected)
    }
}

/// The state of one terminal. All zeros is the state of a terminal that has not been used yet.
#[derive(Clone, Copy, Debug, State)]
#[repr(C)]
pub struct TerminalRisk {
    last_seconds: u64,
    /// Number of the first transaction of each window. Numbers count up from 0 and wrap around.
    firsts: [u32; 3],
    /// Number of the first transaction that is not yet known, where all three windows end.
    first_unknown: u32,
    /// Frauds in each window.
    frauds: [u32; 3],
    /// Number of the next transaction.
    next: u32,
    seconds: [u64; CAPACITY as usize],
    /// One bit for each transaction.
    fraud_bits: [u32; CAPACITY as usize / 32],
}

const _: () = assert!(CAPACITY.is_power_of_two() && CAPACITY >= 32);
const _: () = assert!(size_of::<TerminalRisk>() == 2120);

const fn slot(number: u32) -> usize {
    (number % CAPACITY) as usize
}

impl TerminalRisk {
    /// A terminal that has not been used yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last_seconds: 0,
            firsts: [0; 3],
            first_unknown: 0,
            frauds: [0; 3],
            next: 0,
            seconds: [0; CAPACITY as usize],
            fraud_bits: [0; CAPACITY as usize / 32],
        }
    }

    /// Takes in one transaction and returns the terminal's features at its time. O(1) amortised, and never more than
    /// four times [`CAPACITY`] steps. The amount is not used.
    ///
    /// # Errors
    /// [`TIME_WENT_BACK`] or [`WINDOW_FULL`]; each leaves the state as it was.
    pub fn apply(&mut self, transaction: &Transaction) -> core::result::Result<TerminalFeatures, u32> {
        let now = transaction.unix_seconds;
        if now < self.last_seconds {
            return Err(TIME_WENT_BACK);
        }
        // Decided before anything changes, so that a rejected transaction leaves no trace.
        let oldest = self.firsts[2];
        if self.next.wrapping_sub(oldest) == CAPACITY && now - self.seconds[slot(oldest)] < DELAY_SECONDS + WINDOW_SECONDS[2] {
            return Err(WINDOW_FULL);
        }
        self.last_seconds = now;
        self.learn(now);
        self.expire(now);

        self.seconds[slot(self.next)] = now;
        self.set_fraud(self.next, transaction.fraud);
        self.next = self.next.wrapping_add(1);

        let mut counts = [0; 3];
        let mut risks = [0.0; 3];
        for window in 0..3 {
            counts[window] = self.first_unknown.wrapping_sub(self.firsts[window]);
            if counts[window] > 0 {
                risks[window] = f64::from(self.frauds[window]) / f64::from(counts[window]);
            }
        }
        Ok(TerminalFeatures { counts, risks })
    }

    /// Lets the transactions that have become seven days old into all three windows.
    fn learn(&mut self, now: u64) {
        // Stored times are never later than now, so the difference cannot wrap.
        while self.first_unknown != self.next && now - self.seconds[slot(self.first_unknown)] >= DELAY_SECONDS {
            let fraud = self.fraud(self.first_unknown);
            self.frauds.iter_mut().for_each(|frauds| *frauds += fraud);
            self.first_unknown = self.first_unknown.wrapping_add(1);
        }
    }

    /// Moves the cursor of each window over the transactions that have become too old for it. Runs after `learn`, so
    /// what a long pause carried past a whole window has been counted before it is taken off.
    fn expire(&mut self, now: u64) {
        for (window, length) in WINDOW_SECONDS.into_iter().enumerate() {
            let length = DELAY_SECONDS + length;
            let mut first = self.firsts[window];
            while first != self.first_unknown && now - self.seconds[slot(first)] >= length {
                self.frauds[window] -= self.fraud(first);
                first = first.wrapping_add(1);
            }
            self.firsts[window] = first;
        }
    }

    const fn fraud(&self, number: u32) -> u32 {
        (self.fraud_bits[slot(number) / 32] >> (number % 32)) & 1
    }

    const fn set_fraud(&mut self, number: u32, fraud: bool) {
        let word = slot(number) / 32;
        let cleared = self.fraud_bits[word] & !(1 << (number % 32));
        self.fraud_bits[word] = cleared | ((fraud as u32) << (number % 32));
    }
}

impl Default for TerminalRisk {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(unix_seconds: u64, fraud: bool) -> Transaction {
        Transaction { unix_seconds, amount_micros: 1, fraud }
    }

    #[test]
    fn a_transaction_counts_from_seven_days_on_until_its_window_has_passed() {
        let mut terminal = TerminalRisk::new();
        let day = DAY_SECONDS;
        assert_eq!(terminal.apply(&used(100, true)).unwrap().counts, [0; 3]);
        assert_eq!(terminal.apply(&used(100 + 7 * day - 1, false)).unwrap().counts, [0; 3]);
        let known = terminal.apply(&used(100 + 7 * day, false)).unwrap();
        assert_eq!((known.counts, known.risks), ([1; 3], [1.0; 3]));
        let day_later = terminal.apply(&used(100 + 8 * day, false)).unwrap();
        assert_eq!((day_later.counts, day_later.risks), ([0, 1, 1], [0.0, 1.0, 1.0]));
        let week_later = terminal.apply(&used(100 + 14 * day, false)).unwrap();
        assert_eq!((week_later.counts, week_later.risks), ([2, 2, 3], [0.0, 0.0, 1.0 / 3.0]));
    }

    #[test]
    fn a_pause_longer_than_every_window_leaves_nothing() {
        let mut terminal = TerminalRisk::new();
        for i in 0..20 {
            terminal.apply(&used(i, true)).unwrap();
        }
        let after = terminal.apply(&used(100 * DAY_SECONDS, false)).unwrap();
        assert_eq!((after.counts, after.risks), ([0; 3], [0.0; 3]));
        assert_eq!(terminal.frauds, [0; 3]);
    }

    #[test]
    fn a_full_buffer_refuses_and_recovers_when_the_oldest_leaves() {
        let mut terminal = TerminalRisk::new();
        for i in 0..u64::from(CAPACITY) {
            terminal.apply(&used(i, i % 2 == 0)).unwrap();
        }
        assert_eq!(terminal.apply(&used(37 * DAY_SECONDS - 1, false)), Err(WINDOW_FULL));
        assert_eq!(terminal.apply(&used(254, false)), Err(TIME_WENT_BACK));
        let after = terminal.apply(&used(37 * DAY_SECONDS, false)).unwrap();
        assert_eq!(after.counts, [0, 0, CAPACITY - 1]);
        assert_eq!(after.risks[2], 127.0 / 255.0);
    }

    #[test]
    fn transaction_numbers_may_wrap_around() {
        let mut terminal = TerminalRisk::new();
        terminal.next = u32::MAX - 1;
        terminal.first_unknown = u32::MAX - 1;
        terminal.firsts = [u32::MAX - 1; 3];
        for i in 0..4 {
            terminal.apply(&used(i, i == 3)).unwrap();
        }
        let after = terminal.apply(&used(8 * DAY_SECONDS, false)).unwrap();
        assert_eq!((after.counts, after.risks), ([3, 4, 4], [1.0 / 3.0, 0.25, 0.25]));
    }
}
