//! Bank Transaction: a teller has N sums of money moved between A accounts; the account that pays asks the one that is paid.
//!
//! Bound: at most 256 transactions are under way. An account only asks accounts of a higher number, so none waits for itself.
//! At most A handlers are suspended on a worker: the runtime needs room for them (`RuntimeBuilder::suspended_handlers`, which is
//! 1,024 unless it is set).

use warpring::prelude::*;

use super::random::Random;

/// Transactions under way at most.
const WINDOW: u32 = 256;

/// Have so many sums moved.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Open {
    /// How many.
    pub transactions: u32,
    /// Between these accounts.
    pub accounts: GroupAddress<Account>,
}

/// Pay somebody.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Credit {
    /// How much, in units of 1/65,536.
    pub amount: i64,
    /// Whom.
    pub to: Address<Account>,
}

/// You are paid.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Debit {
    /// How much, in units of 1/65,536.
    pub amount: i64,
}

/// A transaction has ended.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Completed {
    /// How much, in units of 1/65,536.
    pub amount: i64,
    /// Whether the money was moved.
    pub moved: bool,
}

/// What is on the account?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Query;

/// What is on the account.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Balance {
    /// How much, in units of 1/65,536.
    pub amount: i64,
}

/// How far is the teller?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct HowFar;

/// How far the teller is.
#[derive(Clone, Copy, Debug, Default, RingMessage, State)]
pub struct Progress {
    /// Transactions that have ended.
    pub completed: u32,
    /// Of those, the ones that failed.
    pub failed: u32,
    /// What was moved, in units of 1/65,536.
    pub total: i64,
}

#[derive(Clone, Copy, Debug, State)]
struct Desk {
    accounts: GroupAddress<Account>,
    random: Random,
    left: u32,
    progress: Progress,
}

#[derive(Clone, Copy)]
struct Order {
    from: Address<Account>,
    to: Address<Account>,
    amount: i64,
}

impl Desk {
    /// The next transaction, if there is one: from one of the first 8 tenths of the accounts to one behind it.
    fn draw(&mut self) -> Option<Order> {
        self.left = self.left.checked_sub(1)?;
        let accounts = self.accounts.len();
        let from = self.random.draw() % (accounts / 10 * 8);
        let distance = (self.random.draw() % (accounts - from)).max(1);
        // The suite's is 1000 times a fraction of 65,536 parts.
        let amount = i64::from(self.random.draw()) * 1000;
        Some(Order { from: self.accounts.get(from)?, to: self.accounts.get(from + distance)?, amount })
    }
}

/// Has money moved.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/bank-teller")]
pub struct Teller {
    desk: Resident<Desk>,
}

impl Teller {
    /// Has nothing to do yet.
    pub fn new() -> Self {
        let progress = Progress::default();
        Self { desk: Resident::new(Desk { accounts: GroupAddress::default(), random: Random::SEED, left: 0, progress }) }
    }

    async fn go_on(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        match ctx.update(&self.desk, Desk::draw) {
            Some(order) => ctx.tell(order.from, Credit { amount: order.amount, to: order.to }).await,
            None => Ok(()),
        }
    }
}

impl Default for Teller {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Open, ()> for Teller {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Open) -> Result<()> {
        ctx.update(&self.desk, |desk| (desk.accounts, desk.left) = (msg.accounts, msg.transactions));
        for _ in 0..WINDOW {
            self.go_on(ctx).await?;
        }
        Ok(())
    }
}

impl RingKernelHandler<Completed, ()> for Teller {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Completed) -> Result<()> {
        ctx.update(&self.desk, |desk| {
            desk.progress.completed += 1;
            desk.progress.failed += u32::from(!msg.moved);
            desk.progress.total += if msg.moved { msg.amount } else { 0 };
        });
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<HowFar, Progress> for Teller {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: HowFar) -> Result<Progress> {
        Ok(ctx.read(&self.desk).progress)
    }
}

/// Holds money.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/bank-account")]
pub struct Account {
    balance: Resident<i64>,
}

impl Account {
    /// Starts with this much, in units of 1/65,536.
    pub fn new(amount: i64) -> Self {
        Self { balance: Resident::new(amount) }
    }
}

impl RingKernelHandler<Credit, ()> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Credit) -> Result<()> {
        let teller = Address::<Teller>::new(ctx.sender().ok_or(KernelError::Stopped)?);
        let moved = ctx.ask(msg.to, Debit { amount: msg.amount }).await.is_ok();
        if moved {
            ctx.update(&self.balance, |balance| *balance -= msg.amount);
        }
        ctx.tell(teller, Completed { amount: msg.amount, moved }).await
    }
}

impl RingKernelHandler<Debit, ()> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Debit) -> Result<()> {
        ctx.update(&self.balance, |balance| *balance += msg.amount);
        Ok(())
    }
}

impl RingKernelHandler<Query, Balance> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Query) -> Result<Balance> {
        Ok(Balance { amount: *ctx.read(&self.balance) })
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// A: accounts.
    pub accounts: u32,
    /// N: transactions.
    pub transactions: u32,
    /// What is moved in all, rounded: a fact of these parameters and the suite's random numbers.
    pub total: i64,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { accounts: 1000, transactions: 50_000, total: 25_057_792 };
    /// For slow backends.
    pub const SMALL: Self = Self { accounts: 1000, transactions: 1_000, total: 516_215 };

    /// What is moved in all, rounded.
    pub const fn answer(self) -> i64 {
        self.total
    }
}

/// Runs it: the accounts spread over all workers, the teller on the first.
///
/// # Errors
/// What failed, or that money came or went.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    const UNITS: i64 = 65_536;
    const INITIAL: i64 = 1_000_000 * UNITS;
    let accounts = warpring::block_on(runtime.launch_many(params.accounts, LaunchOptions::default(), |_| Account::new(INITIAL)))?;
    let teller = warpring::block_on(runtime.launch(Teller::new(), LaunchOptions::default().on_worker(0)))?;
    let start = std::time::Instant::now();
    teller.tell(Open { transactions: params.transactions, accounts: accounts.address() }).wait()?;
    let all = |progress: &Progress| progress.completed == params.transactions;
    let progress = super::suite::until(|| Ok(Some(teller.ask(HowFar).wait()?).filter(all)))?;
    let time = start.elapsed();
    if progress.failed > 0 {
        return Err(format!("{} transactions failed", progress.failed).into());
    }
    let all = (0..params.accounts).filter_map(|i| accounts.address().get(i));
    let sum: i64 =
        super::suite::ask_each(runtime, all.map(|account| (account, Query)))?.iter().map(|balance| balance.amount).sum();
    if sum != INITIAL * i64::from(params.accounts) {
        return Err(format!("the accounts hold {sum} instead of what they began with").into());
    }
    // A credit, a debit, its reply and a completion.
    let messages = 4 * u64::from(params.transactions) + 1;
    Ok(super::Outcome { answer: (progress.total + UNITS / 2) / UNITS, messages, time })
}
