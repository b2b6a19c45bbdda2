//! The table and the implementations do not agree.
use warpring::prelude::*;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account")]
struct Account;

impl RingKernelHandler<i64, i64> for Account {
    async fn handle(&self, _: &mut RingContext<'_>, add: i64) -> Result<i64> {
        Ok(add)
    }
}

mod wrong_reply {
    use super::Account;
    warpring::export! { Account { i64 => u8 } }
}

fn main() {}
