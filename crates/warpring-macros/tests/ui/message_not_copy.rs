use warpring::prelude::*;

#[derive(Clone, RingMessage)]
struct Deposit {
    cents: i64,
}

fn main() {}
