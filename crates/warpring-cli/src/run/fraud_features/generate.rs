//! A seeded stream of card transactions, for running the job without input.
//!
//! As many transactions a day for each customer and terminal as in the Fraud Detection Handbook's data, whatever the
//! length of the stream, so that no window outgrows its actor.

use crate::input::InputError;
use crate::input::transactions::Row;
use warpring_kernels::fraud::{DAY_SECONDS, Transaction};

/// How many customers pay.
pub const CUSTOMERS: u64 = 5_000;
/// How many terminals they pay at.
pub const TERMINALS: u64 = 10_000;

/// 2018-04-01 00:00:00.
const START_SECONDS: u64 = 1_522_540_800;
/// Seconds from one transaction to the next: 0 to 15, evenly, which is 11,520 transactions a day.
const GAPS_SECONDS: u64 = 16;
/// One terminal in so many is compromised in a given week.
const TERMINALS_PER_COMPROMISED: u64 = 100;
const MAX_AMOUNT_CENTS: u64 = 22_500;
/// An amount above this is a fraud, whoever pays.
const SUSPICIOUS_CENTS: u64 = 22_000;

/// The stream of one seed.
pub struct Generator {
    seed: u64,
    random: SplitMix64,
    next_id: u64,
    count: u64,
    unix_seconds: u64,
}

impl Generator {
    /// So many transactions. The same seed gives the same stream on every machine.
    #[must_use]
    pub const fn new(seed: u64, count: u64) -> Self {
        Self { seed, random: SplitMix64(seed), next_id: 0, count, unix_seconds: START_SECONDS }
    }

    /// Whether half of the payments at a terminal are frauds in the week of this time.
    const fn compromised(&self, terminal: u64) -> bool {
        let week = self.unix_seconds / (7 * DAY_SECONDS);
        let mut lot = SplitMix64(self.seed ^ (terminal << 32 | week));
        lot.next().is_multiple_of(TERMINALS_PER_COMPROMISED)
    }
}

impl Iterator for Generator {
    type Item = Result<Row, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next_id == self.count {
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.unix_seconds += self.random.next() % GAPS_SECONDS;
        let terminal = self.random.next() % TERMINALS;
        let cents = 1 + self.random.next() % MAX_AMOUNT_CENTS;
        let at_compromised = self.compromised(terminal) && self.random.next().is_multiple_of(2);
        Some(Ok(Row {
            id,
            customer: self.random.next() % CUSTOMERS,
            terminal,
            transaction: Transaction {
                unix_seconds: self.unix_seconds,
                amount_micros: cents * 10_000,
                fraud: at_compromised || cents > SUSPICIOUS_CENTS,
            },
        }))
    }
}

/// Sebastiano Vigna's SplitMix64: eight bytes of state, and stable forever, unlike a generator of a dependency.
struct SplitMix64(u64);

impl SplitMix64 {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_mix_gives_the_published_numbers() {
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_seed_gives_the_same_stream_in_time_order_with_some_frauds() {
        let rows: Vec<_> = Generator::new(1, 20_000).map(Result::unwrap).collect();
        let again: Vec<_> = Generator::new(1, 20_000).map(Result::unwrap).collect();
        assert_eq!(rows, again);
        assert!(rows.is_sorted_by_key(|row| row.transaction.unix_seconds));
        let frauds = rows.iter().filter(|row| row.transaction.fraud).count();
        assert!((200..2000).contains(&frauds), "{frauds}");
        let other: Vec<_> = Generator::new(2, 20_000).map(Result::unwrap).collect();
        assert_ne!(rows, other);
    }
}
