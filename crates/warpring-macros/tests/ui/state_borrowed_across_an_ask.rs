//! The borrow would outlive the handler's turn: another message of the same worker may run meanwhile.
use warpring::prelude::*;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account")]
struct Account {
    other: Address<Account>,
    balance: Resident<i64>,
}

impl RingKernelHandler<i64, i64> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: i64) -> Result<i64> {
        let balance = ctx.read(&self.balance);
        let theirs = ctx.ask(self.other, add).await?;
        Ok(*balance + theirs)
    }
}

warpring::export! { Account { i64 => i64 } }

fn main() {}
