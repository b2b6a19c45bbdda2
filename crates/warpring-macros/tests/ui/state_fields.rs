use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use warpring::prelude::*;

#[derive(State)]
struct Window {
    sums: Vec<f64>,
    head: usize,
    count: Cell<u32>,
    hits: AtomicU32,
    total: Resident<u64>,
}

#[derive(Clone, Copy)]
struct Plain(u32);

#[derive(Clone, Copy, State)]
struct Around {
    plain: Plain,
}

#[derive(Clone, Copy, State)]
enum Mode {
    On,
    Off,
}

fn main() {}
