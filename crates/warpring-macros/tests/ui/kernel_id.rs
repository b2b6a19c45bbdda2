use warpring::prelude::*;

#[derive(Debug, RingKernel)]
struct NoAttribute;

#[derive(Debug, RingKernel)]
#[ring_kernel(version = 2)]
struct NoId;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "account")]
struct NoDomain;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account", name = "account")]
struct UnknownKey;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account", version = 1, version = 2)]
struct Twice;

fn main() {}
