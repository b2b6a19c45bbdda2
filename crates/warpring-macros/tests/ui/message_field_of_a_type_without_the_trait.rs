//! A type that the derive cannot judge by its name.
use warpring::prelude::*;

#[derive(Clone, Copy)]
struct Point {
    x: f32,
}

#[derive(Clone, Copy, RingMessage)]
struct Move {
    to: Point,
}

fn main() {}
