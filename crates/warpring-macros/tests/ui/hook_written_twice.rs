use warpring::prelude::*;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account")]
struct Account {
    balance: Resident<i64>,
}

impl RingKernelHandler<i64, i64> for Account {
    async fn handle(&self, _: &mut RingContext<'_>, add: i64) -> Result<i64> {
        Ok(add)
    }
    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        ctx.update(&self.balance, |balance| *balance = 1);
        Ok(())
    }
    async fn shutdown(&self, _: &mut RingContext<'_>) -> Result<()> {
        Ok(())
    }
}

impl RingKernelHandler<u8, u8> for Account {
    async fn handle(&self, _: &mut RingContext<'_>, add: u8) -> Result<u8> {
        Ok(add)
    }
    async fn initialize(&self, _: &mut RingContext<'_>) -> Result<()> {
        Ok(())
    }
}

warpring::export! { Account { i64 => i64, u8 => u8 } }

fn main() {}
