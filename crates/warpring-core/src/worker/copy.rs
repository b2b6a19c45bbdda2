//! Copies of an actor's state, between two of its messages: the host reads and writes state through them while the worker runs.
//! All lanes of the team copy.

use super::{Step, Worker};
use crate::error::KernelError;
use crate::frame::{NONE, Outcome};
use crate::mailbox::{HELD, Status};
use crate::message::{Header, Malformed, RingMessage};
use crate::team::Team;

/// Control operation: copy state.
pub const CONTROL_COPY: u16 = 4;

/// A copy, as the host asks for it. Nothing is copied while a message is half handled: then the answer is a refusal with
/// [`KernelError::Overloaded`], and the host asks again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyState {
    /// The actor's slot.
    pub slot: u32,
    /// Its generation.
    pub generation: u16,
    /// Into the actor; else out of it.
    pub write: bool,
    /// First byte of the state.
    pub offset: u32,
    /// How many bytes.
    pub bytes: u32,
    /// The other side: memory that worker and host both see.
    pub memory: u64,
}

impl RingMessage for CopyState {
    const SIZE: usize = 32;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 4;
    fn encode(&self, out: &mut [u8]) {
        [
            u64::from(self.slot) | u64::from(self.generation) << 32 | u64::from(self.write) << 48,
            u64::from(self.offset) | u64::from(self.bytes) << 32,
            self.memory,
            0,
        ]
        .encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let w = <[u64; 4]>::decode(bytes)?;
        Ok(Self {
            slot: w[0] as u32,
            generation: (w[0] >> 32) as u16,
            write: w[0] >> 48 & 1 == 1,
            offset: w[1] as u32,
            bytes: (w[1] >> 32) as u32,
            memory: w[2],
        })
    }
}

/// The copy that is going on.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Copying {
    from: *const u8,
    to: *mut u8,
    bytes: u32,
    request: Header,
}

impl Worker {
    /// The host wants a copy.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_copy(&mut self, request: &Header, what: Result<CopyState, Malformed>) -> Step {
        let refusal = match what {
            Err(Malformed) => Some(KernelError::Malformed),
            Ok(what) if what.slot >= self.actor_capacity => Some(KernelError::Stopped),
            Ok(what) => {
                // SAFETY: the slot is in range.
                let actor = unsafe { &*self.actor(what.slot) };
                if actor.generation != what.generation || actor.status == Status::Free {
                    Some(KernelError::Stopped)
                } else if what.offset.checked_add(what.bytes).is_none_or(|end| end > actor.state_bytes) {
                    Some(KernelError::Malformed)
                } else if actor.frame != NONE && actor.frame != HELD {
                    // Its handler is suspended.
                    Some(KernelError::Overloaded)
                } else {
                    let (state, memory) = (actor.state.wrapping_add(what.offset as usize), what.memory as usize);
                    let memory: *mut u8 = core::ptr::with_exposed_provenance_mut(memory);
                    let (from, to) = if what.write { (memory, state) } else { (state, memory) };
                    self.copy = Some(Copying { from, to, bytes: what.bytes, request: *request });
                    None
                }
            }
        };
        match refusal {
            Some(error) => {
                self.answer_control(request, Outcome::refused(error), &());
                Step::Again
            }
            None => Step::Copy,
        }
    }

    /// A lane's part of the copy: every so manieth word, or byte where the copy is not of whole words.
    ///
    /// # Safety
    /// All lanes of the worker's team are here, after `begin_copy` said so.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn copy_state<T: Team>(worker: *mut Self, team: T) {
        // SAFETY: the host gave memory of so many bytes, which it does not touch until the answer; the actor handles no message now,
        // and each lane writes bytes of its own.
        unsafe {
            let Some(Copying { from, to, bytes, .. }) = (*worker).copy else { return };
            let mut at = team.rank() as usize;
            if (from as usize | to as usize | bytes as usize).is_multiple_of(8) {
                while at < bytes as usize / 8 {
                    to.cast::<u64>().add(at).write_volatile(from.cast::<u64>().add(at).read_volatile());
                    at += team.size() as usize;
                }
            } else {
                while at < bytes as usize {
                    to.add(at).write_volatile(from.add(at).read_volatile());
                    at += team.size() as usize;
                }
            }
        }
    }

    /// All lanes have copied.
    pub(crate) fn copied(&mut self) {
        if let Some(copy) = self.copy.take() {
            self.answer_control(&copy.request, Outcome::failed(KernelError::Malformed), &());
        }
    }
}
