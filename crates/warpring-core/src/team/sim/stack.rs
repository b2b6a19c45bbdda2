//! Stacks of lanes. All lanes of a warp are at the same depth most of the time, so if their stacks began at the same offset in a
//! page, what they touch would share a few sets of the cache. So each begins a little lower than the one before.

use corosensei::stack::{DefaultStack, Stack, StackPointer};

/// Two cache lines: the adjacent-line prefetcher works on pairs.
const STEP_BYTES: usize = 128;
/// The offsets come round after a page.
const STEPS: usize = 32;

/// The stack of one lane.
pub(super) struct LaneStack {
    whole: DefaultStack,
    below: usize,
}

impl LaneStack {
    /// At least this many bytes, for the lane of this number in the machine.
    pub(super) fn new(bytes: usize, number: usize) -> std::io::Result<Self> {
        let below = if cfg!(windows) { 0 } else { number % STEPS * STEP_BYTES };
        Ok(Self { whole: DefaultStack::new(bytes + STEPS * STEP_BYTES)?, below })
    }
}

// SAFETY: a part of a stack that has a guard page at its end, and all of the bytes asked for above it; the base stays aligned.
unsafe impl Stack for LaneStack {
    #[inline]
    fn base(&self) -> StackPointer {
        // Not 0: the whole stack has more bytes than this.
        StackPointer::new(self.whole.base().get() - self.below).unwrap_or(self.whole.base())
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.whole.limit()
    }

    #[cfg(windows)]
    fn teb_fields(&self) -> corosensei::stack::StackTebFields {
        self.whole.teb_fields()
    }

    #[cfg(windows)]
    fn update_teb_fields(&mut self, stack_limit: usize, guaranteed_stack_bytes: usize) {
        self.whole.update_teb_fields(stack_limit, guaranteed_stack_bytes)
    }
}
