//! Streaming features of card transactions: what the customer and the terminal kernel share.
//!
//! Amounts are fixed point, in millionths of the currency unit. Sums of integers never drift and do not depend on the
//! order or the machine, so a window that has been slid a million times holds exactly the sum of what is in it. The
//! unit is a millionth and not a hundredth because currencies have up to four decimals, and it costs nothing.
//! Floating point appears only in the reply, as one IEEE division, which the CPU and the GPU round alike.

use warpring::prelude::*;

pub mod customer_window;
pub mod terminal_risk;

/// Seconds of one day.
pub const DAY_SECONDS: u64 = 86_400;

/// The lengths of the three windows of both kernels, shortest first: 1, 7 and 30 days.
pub const WINDOW_SECONDS: [u64; 3] = [DAY_SECONDS, 7 * DAY_SECONDS, 30 * DAY_SECONDS];

/// How many fixed-point steps one currency unit has.
pub const MICROS_PER_UNIT: u64 = 1_000_000;

/// Error code: the transaction is older than the last one of the same actor. State is unchanged.
pub const TIME_WENT_BACK: u32 = 1;
/// Error code: the longest window already holds as many transactions as the state has room for. State is unchanged.
pub const WINDOW_FULL: u32 = 2;
/// Error code: the amount exceeds [`customer_window::MAX_AMOUNT_MICROS`]. State is unchanged.
pub const AMOUNT_TOO_LARGE: u32 = 3;

/// One card transaction, as both the customer's and the terminal's actor receive it.
///
/// The fraud label travels with the transaction, but no feature uses it until it is seven days old: that is the delay
/// after which a fraud is taken to be known.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Transaction {
    /// Local wall-clock time, in seconds since 1970-01-01 00:00:00 of the same clock. Never less than that of the
    /// actor's previous transaction; equal is allowed.
    pub unix_seconds: u64,
    /// Amount in millionths of the currency unit.
    pub amount_micros: u64,
    /// Whether the transaction turned out to be a fraud.
    pub fraud: bool,
}

/// Whether the time is on a Saturday or a Sunday.
#[must_use]
pub const fn during_weekend(unix_seconds: u64) -> bool {
    // Day 0 was a Thursday, so days 2 and 3 of each such week are Saturday and Sunday.
    matches!((unix_seconds / DAY_SECONDS) % 7, 2 | 3)
}

/// Whether the hour of the time is 0 to 6, both included.
#[must_use]
pub const fn during_night(unix_seconds: u64) -> bool {
    (unix_seconds % DAY_SECONDS) / 3600 <= 6
}

#[cfg(test)]
mod tests {
    use super::{during_night, during_weekend};

    /// 2018-04-01 00:00:00, a Sunday.
    const SUNDAY: u64 = 1_522_540_800;

    #[test]
    fn weekend_is_saturday_and_sunday_to_the_second() {
        assert!(during_weekend(SUNDAY));
        assert!(during_weekend(SUNDAY + 86_399));
        assert!(!during_weekend(SUNDAY + 86_400));
        assert!(during_weekend(SUNDAY - 86_400));
        assert!(!during_weekend(SUNDAY - 86_401));
    }

    #[test]
    fn night_ends_with_the_hour_of_six() {
        assert!(during_night(SUNDAY));
        assert!(during_night(SUNDAY + 7 * 3600 - 1));
        assert!(!during_night(SUNDAY + 7 * 3600));
        assert!(!during_night(SUNDAY + 86_399));
    }
}
