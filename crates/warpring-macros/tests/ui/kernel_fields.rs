//! What a kernel cannot hold.
use std::cell::Cell;
use warpring::prelude::*;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account")]
struct Account {
    owner: String,
    title: &'static str,
    hits: Cell<u32>,
    log: Resident<Vec<u8>>,
    limit: i64,
}

#[derive(Clone, Copy, Debug)]
struct Plain(u32);

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/ledger")]
struct Ledger {
    plain: Plain,
}

fn main() {}
