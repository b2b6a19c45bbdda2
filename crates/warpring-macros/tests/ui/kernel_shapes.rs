use warpring::prelude::*;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account")]
enum Account {
    Open,
    Closed,
}

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/window")]
struct Window<const N: usize> {
    sums: Resident<[f64; N]>,
}

fn main() {}
