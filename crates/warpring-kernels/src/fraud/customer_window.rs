//! Kernel `fraud/customer-window`: how often and how much a customer paid in the last 1, 7 and 30 days.
//!
//! One circular buffer holds the transactions of the last 30 days; each window has a cursor to its first transaction
//! and a running sum. A transaction enters once and leaves each window once, so a message costs O(1) amortised.
//!
//! State: 4,144 bytes. Capacity 256 transactions in 30 days: of the 4,983 customers in three months of the Fraud
//! Detection Handbook's data, the busiest makes 153 in some 30 days (the median customer 68), so two thirds of that are
//! left as headroom. A customer beyond the capacity gets [`WINDOW_FULL`], never a wrong number.

use super::{
    AMOUNT_TOO_LARGE, MICROS_PER_UNIT, TIME_WENT_BACK, Transaction, WINDOW_FULL, WINDOW_SECONDS, during_night, during_weekend,
};
use warpring::prelude::*;

/// How many transactions the longest window can hold. A power of two, so that cursors may wrap around at 2^32.
pub const CAPACITY: u32 = 256;

/// The largest amount: as many as [`CAPACITY`] of them still add up without overflow (72 billion currency units).
pub const MAX_AMOUNT_MICROS: u64 = u64::MAX / CAPACITY as u64;

/// What a customer's actor answers: counts and means over (t - window, t], the current transaction included.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct CustomerFeatures {
    /// Number of transactions in the last 1, 7 and 30 days.
    pub counts: [u32; 3],
    /// Their mean amount in currency units. The sum is exact; the mean is rounded once as long as the sum stays below
    /// 2^53 millionths (nine billion units), twice above.
    pub means: [f64; 3],
    /// Whether the transaction was on a Saturday or Sunday.
    pub during_weekend: bool,
    /// Whether the hour of the transaction was 0 to 6.
    pub during_night: bool,
}

/// How often and how much a customer paid in the last 1, 7 and 30 days.
///
/// One actor for each customer. Ask it with every [`Transaction`], in time order; it answers [`CustomerFeatures`].
///
/// # Errors
/// [`KernelError::Rejected`] with code [`TIME_WENT_BACK`], [`AMOUNT_TOO_LARGE`] or [`WINDOW_FULL`]; each leaves the state
/// as it was.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "fraud/customer-window")]
pub struct Customer {
    window: Resident<CustomerWindow>,
}

impl Customer {
    /// A customer that has not paid yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { window: Resident::new(CustomerWindow::new()) }
    }
}

impl RingKernelHandler<Transaction, CustomerFeatures> for Customer {
    async fn handle(&self, ctx: &mut RingContext<'_>, transaction: Transaction) -> Result<CustomerFeatures> {
        ctx.update(&self.window, |window| window.apply(&transaction)).map_err(KernelError::rejected)
    }
}

/// The state of one customer. All zeros is the state of a customer that has not paid yet.
#[derive(Clone, Copy, Debug, State)]
#[repr(C)]
pub struct CustomerWindow {
    last_seconds: u64,
    /// Sum of the amounts in each window.
    sums_micros: [u64; 3],
    /// Number of the first transaction of each window. Numbers count up from 0 and wrap around.
    firsts: [u32; 3],
    /// Number of the next transaction.
    next: u32,
    seconds: [u64; CAPACITY as usize],
    amounts_micros: [u64; CAPACITY as usize],
}

const _: () = assert!(CAPACITY.is_power_of_two());
const _: () = assert!(size_of::<CustomerWindow>() == 4144);

const fn slot(number: u32) -> usize {
    (number % CAPACITY) as usize
}

impl CustomerWindow {
    /// A customer that has not paid yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last_seconds: 0,
            sums_micros: [0; 3],
            firsts: [0; 3],
            next: 0,
            seconds: [0; CAPACITY as usize],
            amounts_micros: [0; CAPACITY as usize],
        }
    }

    /// Takes in one transaction and returns the customer's features at its time. O(1) amortised, and never more than
    /// three times [`CAPACITY`] steps.
    ///
    /// # Errors
    /// [`TIME_WENT_BACK`], [`AMOUNT_TOO_LARGE`] or [`WINDOW_FULL`]; each leaves the state as it was.
    pub fn apply(&mut self, transaction: &Transaction) -> core::result::Result<CustomerFeatures, u32> {
        let now = transaction.unix_seconds;
        if now < self.last_seconds {
            return Err(TIME_WENT_BACK);
        }
        if transaction.amount_micros > MAX_AMOUNT_MICROS {
            return Err(AMOUNT_TOO_LARGE);
        }
        // Decided before anything changes, so that a rejected transaction leaves no trace.
        let oldest = self.firsts[2];
        if self.next.wrapping_sub(oldest) == CAPACITY && now - self.seconds[slot(oldest)] < WINDOW_SECONDS[2] {
            return Err(WINDOW_FULL);
        }
        self.last_seconds = now;
        self.expire(now);

        let place = slot(self.next);
        self.seconds[place] = now;
        self.amounts_micros[place] = transaction.amount_micros;
        self.next = self.next.wrapping_add(1);

        let mut counts = [0; 3];
        let mut means = [0.0; 3];
        for window in 0..3 {
            self.sums_micros[window] += transaction.amount_micros;
            counts[window] = self.next.wrapping_sub(self.firsts[window]);
            // Both the count times a million and (below 2^53) the sum are exact in f64.
            means[window] = self.sums_micros[window] as f64 / (f64::from(counts[window]) * MICROS_PER_UNIT as f64);
        }
        Ok(CustomerFeatures { counts, means, during_weekend: during_weekend(now), during_night: during_night(now) })
    }

    /// Moves the cursor of each window over the transactions that have become too old for it.
    fn expire(&mut self, now: u64) {
        for (window, length) in WINDOW_SECONDS.into_iter().enumerate() {
            let mut first = self.firsts[window];
            // Stored times are never later than now, so the difference cannot wrap.
            while first != self.next && now - self.seconds[slot(first)] >= length {
                self.sums_micros[window] -= self.amounts_micros[slot(first)];
                first = first.wrapping_add(1);
            }
            self.firsts[window] = first;
        }
    }
}

impl Default for CustomerWindow {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fraud::DAY_SECONDS;

    fn pay(unix_seconds: u64, units: u64) -> Transaction {
        Transaction { unix_seconds, amount_micros: units * MICROS_PER_UNIT, fraud: false }
    }

    #[test]
    fn a_transaction_leaves_each_window_exactly_when_it_is_as_old_as_the_window() {
        let mut customer = CustomerWindow::new();
        customer.apply(&pay(1000, 10)).unwrap();
        let inside = customer.apply(&pay(1000 + DAY_SECONDS - 1, 20)).unwrap();
        assert_eq!((inside.counts, inside.means), ([2, 2, 2], [15.0, 15.0, 15.0]));
        let at_edge = customer.apply(&pay(1000 + DAY_SECONDS, 30)).unwrap();
        assert_eq!((at_edge.counts, at_edge.means), ([2, 3, 3], [25.0, 20.0, 20.0]));
        let later = customer.apply(&pay(1000 + 30 * DAY_SECONDS, 40)).unwrap();
        assert_eq!((later.counts, later.means), ([1, 1, 3], [40.0, 40.0, 30.0]));
    }

    #[test]
    fn equal_times_are_taken_in_order_and_earlier_times_are_refused() {
        let mut customer = CustomerWindow::new();
        customer.apply(&pay(50, 1)).unwrap();
        assert_eq!(customer.apply(&pay(50, 3)).unwrap().counts, [2, 2, 2]);
        assert_eq!(customer.apply(&pay(49, 1)), Err(TIME_WENT_BACK));
        assert_eq!(customer.apply(&pay(50, 2)).unwrap().means, [2.0; 3]);
    }

    #[test]
    fn a_full_window_refuses_and_recovers_when_the_oldest_leaves() {
        let mut customer = CustomerWindow::new();
        for i in 0..u64::from(CAPACITY) {
            customer.apply(&pay(i, 1)).unwrap();
        }
        assert_eq!(customer.apply(&pay(5000, 7)), Err(WINDOW_FULL));
        assert_eq!(customer.apply(&pay(30 * DAY_SECONDS - 1, 7)), Err(WINDOW_FULL));
        // The refused times left no trace: an earlier one than theirs is still in order, and still finds no room.
        assert_eq!(customer.apply(&pay(4000, 7)), Err(WINDOW_FULL));
        let after = customer.apply(&pay(30 * DAY_SECONDS, 257)).unwrap();
        assert_eq!(after.counts, [1, 1, CAPACITY]);
        assert_eq!(after.means[2], (255.0 + 257.0) / 256.0);
    }

    #[test]
    fn the_largest_amounts_add_up_without_overflow() {
        let mut customer = CustomerWindow::new();
        let largest = Transaction { unix_seconds: 0, amount_micros: MAX_AMOUNT_MICROS, fraud: false };
        for _ in 0..CAPACITY {
            customer.apply(&largest).unwrap();
        }
        let above = Transaction { amount_micros: MAX_AMOUNT_MICROS + 1, ..largest };
        assert_eq!(CustomerWindow::new().apply(&above), Err(AMOUNT_TOO_LARGE));
    }

    #[test]
    fn transaction_numbers_may_wrap_around() {
        let mut customer = CustomerWindow::new();
        customer.next = u32::MAX - 1;
        customer.firsts = [u32::MAX - 1; 3];
        for i in 0..5 {
            assert_eq!(customer.apply(&pay(i, 2)).unwrap().counts, [i as u32 + 1; 3]);
        }
        assert_eq!(customer.apply(&pay(3 * DAY_SECONDS, 8)).unwrap().means, [8.0, 3.0, 3.0]);
    }
}
