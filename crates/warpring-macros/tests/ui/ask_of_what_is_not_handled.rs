use warpring::prelude::*;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account")]
struct Account {
    other: Address<Account>,
}

impl RingKernelHandler<i64, i64> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: i64) -> Result<i64> {
        ctx.ask(self.other, add as u8).await?;
        Ok(add)
    }
}

impl RingKernelHandler<u16, u16> for Account {
    async fn handle(&self, _: &mut RingContext<'_>, n: u16) -> Result<u16> {
        Ok(n)
    }
}

warpring::export! { Account { i64 => i64, u16 => u16 } }

fn main() {}
