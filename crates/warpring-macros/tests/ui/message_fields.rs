//! Fields that cannot cross to another device.
use std::collections::HashMap;
use warpring::prelude::*;

#[derive(Clone, Copy, RingMessage)]
struct Pointers<'a> {
    reference: &'a u32,
}

#[derive(Clone, Copy, RingMessage)]
struct Raw {
    ok: u32,
    raw: *const u8,
    text: &'static str,
    call: fn(u32) -> u32,
}

#[derive(Clone, RingMessage)]
struct Owned {
    name: String,
    items: Vec<u8>,
    boxed: Box<[u64; 4]>,
    map: HashMap<u32, u32>,
}

#[derive(Clone, Copy, RingMessage)]
struct Sizes {
    index: usize,
    offset: isize,
    big: u128,
    letter: char,
    maybe: Option<u32>,
    pair: (u8, u8),
    many: [usize; 4],
    time: std::time::Duration,
}

fn main() {}
