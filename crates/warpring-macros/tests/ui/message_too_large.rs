use warpring::prelude::*;

#[derive(Clone, Copy, RingMessage)]
struct Page {
    words: [u64; 53],
    one_more: u8,
}

fn main() {}
