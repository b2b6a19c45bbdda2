//! The smallest actor: eight bytes of state.

use warpring::prelude::*;

/// Mixes `n` into the state; the reply is the new state, see [`mixed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Mix {
    /// Anything.
    pub n: u64,
}

/// The state after a message. It depends on the state before, on the message and on the order of messages, so that a lost message, a
/// repeated one and two that changed places all give another answer.
#[inline]
#[must_use]
pub const fn mixed(state: u64, n: u64) -> u64 {
    state.rotate_left(7).wrapping_add(n)
}

/// Eight bytes of state and nothing else.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "conformance/cell")]
pub struct Cell {
    state: Resident<u64>,
}

impl Cell {
    /// A cell with this state.
    #[must_use]
    pub const fn new(state: u64) -> Self {
        Self { state: Resident::new(state) }
    }
}

impl RingKernelHandler<Mix, u64> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, mix: Mix) -> Result<u64> {
        Ok(ctx.update(&self.state, |state| {
            *state = mixed(*state, mix.n);
            *state
        }))
    }
}
