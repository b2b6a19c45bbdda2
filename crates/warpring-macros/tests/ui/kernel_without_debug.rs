use warpring::prelude::*;

#[derive(RingKernel)]
#[ring_kernel(id = "bank/account")]
struct Account {
    balance: Resident<i64>,
}

fn main() {}
