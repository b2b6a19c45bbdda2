//! What the macros write is `no_std`, and trips no lint that a careful crate may set.
#![no_std]
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, unused_qualifications, single_use_lifetimes)]
#![deny(non_local_definitions, unused_results, trivial_casts, trivial_numeric_casts, let_underscore_drop, non_ascii_idents)]

extern crate std;

// Names of the prelude mean what the user says.
#[allow(dead_code, non_camel_case_types)]
mod shadows {
    pub(crate) struct Option;
    pub(crate) struct Some;
    pub(crate) struct Ok;
    pub(crate) struct Err;
}
#[allow(unused_imports)]
use shadows::*;
use warpring::{Resident, RingContext, RingKernel, RingKernelHandler, RingMessage, State};

/// Which way.
#[derive(Clone, Copy, Debug, RingMessage, State)]
#[repr(u16)]
pub enum Way {
    /// Up.
    Up,
    /// Down.
    Down,
}

/// A step.
#[derive(Clone, Copy, Debug, RingMessage, State)]
pub struct Step<const N: usize> {
    /// Which way.
    pub way: Way,
    /// How far.
    pub far: [u8; N],
}

/// Nothing.
#[derive(Clone, Copy, Debug, RingMessage, State)]
pub struct Nothing;

/// Walks.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "demo/walker")]
pub struct Walker {
    last: Resident<Step<3>>,
    way: Way,
}

impl RingKernelHandler<Step<3>, Nothing> for Walker {
    async fn handle(&self, ctx: &mut RingContext<'_>, step: Step<3>) -> warpring::Result<Nothing> {
        ctx.yield_now().await;
        let _ = self.way;
        ctx.update(&self.last, |last| *last = step);
        warpring::Result::Ok(Nothing)
    }
}

warpring::export! {
    Walker { Step<3> => Nothing }
}

fn main() {}
