use warpring::prelude::*;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account")]
struct Account {
    balance: Resident<i64>,
}

impl Drop for Account {
    fn drop(&mut self) {}
}

fn main() {}
