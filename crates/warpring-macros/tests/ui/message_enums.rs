use warpring::prelude::*;

#[derive(Clone, Copy, RingMessage)]
enum NoRepr {
    Buy,
    Sell,
}

#[derive(Clone, Copy, RingMessage)]
#[repr(u8)]
enum WithData {
    Buy { lots: u32 },
    Sell(u32),
    Cancel,
}

#[derive(Clone, Copy, RingMessage)]
#[repr(i64)]
enum Signed {
    Down = -1,
    Up = 1,
}

#[derive(Clone, Copy, RingMessage)]
enum Nothing {}

fn main() {}
