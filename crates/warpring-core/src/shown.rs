//! What a worker lets others see while it runs: which step it is in, and for whom. It stores plain words; who looks may see them late.

use crate::address::ActorId;
use crate::frame::NONE;
use crate::plan::Plan;

/// A word that its owner reads and writes, and others may look at, in no order with anything else. As cheap as a plain one.
#[repr(transparent)]
pub(crate) struct Shown(#[cfg(not(target_arch = "nvptx64"))] core::sync::atomic::AtomicU32, #[cfg(target_arch = "nvptx64")] u32);

impl Shown {
    pub(crate) const fn new(value: u32) -> Self {
        #[cfg(not(target_arch = "nvptx64"))]
        {
            Self(core::sync::atomic::AtomicU32::new(value))
        }
        #[cfg(target_arch = "nvptx64")]
        {
            Self(value)
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        #[cfg(not(target_arch = "nvptx64"))]
        {
            self.0.load(core::sync::atomic::Ordering::Relaxed)
        }
        #[cfg(target_arch = "nvptx64")]
        {
            self.0
        }
    }

    /// The owner's alone.
    #[inline(always)]
    pub(crate) fn set(&mut self, value: u32) {
        #[cfg(not(target_arch = "nvptx64"))]
        {
            self.0.store(value, core::sync::atomic::Ordering::Relaxed);
        }
        #[cfg(target_arch = "nvptx64")]
        {
            self.0 = value;
        }
    }
}

/// What a worker does, as somebody else sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing {
    /// Number of its step; it wraps.
    pub step: u32,
    /// Whose handler or hook runs in this step. Only right if another look shows the same step.
    pub actor: ActorId,
}

impl Plan {
    /// Looks at what a worker does; `None` if no handler runs, or where `read` has no answer. `read` gives the word at an address of the
    /// device area.
    pub fn look(&self, worker: u32, mut read: impl FnMut(u64) -> Option<u32>) -> Option<Doing> {
        let seen = self.seen(worker);
        let step = read(seen.step)?;
        let frame = read(seen.current)?;
        if frame == NONE || frame >= self.limits.frames {
            return None;
        }
        let slot = read(seen.frame_actor + u64::from(frame) * seen.frame_bytes)?;
        if slot >= self.limits.actors {
            return None;
        }
        let at = seen.generation + u64::from(slot) * seen.actor_bytes;
        // A half of a word.
        let generation = (read(at & !3)? >> (8 * (at & 3))) as u16;
        Some(Doing { step, actor: ActorId { slot, generation, worker: worker as u16 } })
    }
}
