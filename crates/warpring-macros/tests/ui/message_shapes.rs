use warpring::prelude::*;

#[derive(Clone, Copy, RingMessage)]
union Either {
    a: u32,
    b: f32,
}

#[derive(Clone, Copy, RingMessage)]
struct Generic<T> {
    value: T,
}

#[derive(Clone, Copy, RingMessage)]
#[repr(C, packed(2))]
struct Packed {
    value: u32,
}

#[derive(Clone, Copy, RingMessage)]
#[ring_message(size = 3)]
struct Keyed;

fn main() {}
