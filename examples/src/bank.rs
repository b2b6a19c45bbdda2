//! An account: state that one actor owns, and a message that it may refuse.

use warpring::prelude::*;

/// Money in; money out if negative.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Deposit {
    /// How much.
    pub cents: i64,
}

/// What is on the account?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Query;

/// What is on the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Balance {
    /// Cents; negative for a debt.
    pub cents: i64,
}

/// The code of the refusal of a [`Deposit`] that would exceed the limit.
pub const BEYOND_LIMIT: u32 = 1;

/// An account that may be overdrawn up to a limit.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account", domain = "banking", version = 1)]
pub struct Account {
    limit: i64,
    balance: Resident<i64>,
}

impl Account {
    /// An empty account that may be overdrawn by `limit` cents.
    pub fn new(limit: i64) -> Self {
        Self { limit, balance: Resident::new(0) }
    }
}

impl RingKernelHandler<Deposit, Balance> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Deposit) -> Result<Balance> {
        ctx.update(&self.balance, |balance| {
            let cents = balance.checked_add(msg.cents).filter(|cents| *cents >= -self.limit);
            *balance = cents.ok_or(KernelError::rejected(BEYOND_LIMIT))?;
            Ok(Balance { cents: *balance })
        })
    }
}

impl RingKernelHandler<Query, Balance> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Query) -> Result<Balance> {
        Ok(Balance { cents: *ctx.read(&self.balance) })
    }
}
