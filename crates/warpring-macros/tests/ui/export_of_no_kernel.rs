use warpring::prelude::*;

#[derive(Debug)]
struct Account;

impl RingKernelHandler<i64, i64> for Account {
    async fn handle(&self, _: &mut RingContext<'_>, add: i64) -> Result<i64> {
        Ok(add)
    }
}

warpring::export! { Account { i64 => i64 } }

fn main() {}
