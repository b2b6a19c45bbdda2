use warpring::prelude::*;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account")]
struct Account {
    limit: i64,
    balance: Resident<i64>,
}

impl RingKernelHandler<i64, u32> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: i64) -> Result<u32> {
        self.balance += add;
        Ok(ctx.worker_index())
    }
}

warpring::export! { Account { i64 => u32 } }

fn main() {}
