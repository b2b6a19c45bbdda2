//! Reading and writing the resident state of one actor while the workers run.
//!
//! The worker itself copies, between two messages of that actor, so what is read is never half changed. The bytes go through the
//! staging area, which both sides see.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use warpring_core::module::Exported;
use warpring_core::worker::{CONTROL_COPY, CopyState};
use warpring_core::{ActorId, KernelError};

use crate::actor_ref::ActorRef;
use crate::error::Refusal;
use crate::runtime::{Runtime, answered, control, yield_once};
use crate::shared::Shared;

/// Why a state could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// The actor is of another runtime, or there is none at this address.
    NoSuchActor(ActorId),
    /// The state is larger than what can be copied at once.
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// A handler of the actor was suspended for all this time: its state may be half changed.
    Busy {
        /// The actor.
        actor: ActorId,
        /// How long the call waited.
        waited: Duration,
    },
    /// `validate` of the new state failed.
    Invalid(KernelError),
    /// The runtime is stopping or has stopped.
    Stopped,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchActor(actor) => write!(f, "there is no actor {actor} in this runtime"),
            Self::TooLarge { bytes, limit } => write!(f, "the state has {bytes} bytes, and {limit} can be copied at once"),
            Self::Busy { actor, waited } => {
                write!(f, "a handler of actor {actor} was suspended for {waited:?}: its state may be half changed")
            }
            Self::Invalid(error) => write!(f, "the new state's `validate` failed: {error}"),
            Self::Stopped => f.write_str("the runtime is stopping or has stopped"),
        }
    }
}
impl std::error::Error for StateError {}

/// The bytes of a kernel, and where they go. Some may be padding.
pub(crate) enum Transfer<'a> {
    Read(&'a mut [MaybeUninit<u8>]),
    Write(&'a [MaybeUninit<u8>]),
}

impl Runtime {
    /// A copy of an actor's value, state included, as it is between two messages.
    ///
    /// Waits while a handler of the actor is suspended, at most for the runtime's `ask_limit`.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn read_state<K: Exported>(&self, actor: &ActorRef<K>) -> Result<K, StateError> {
        let mut bytes: Box<[MaybeUninit<u8>]> = Box::new_uninit_slice(size_of::<K>());
        self.copy_state(actor, Transfer::Read(&mut bytes)).await?;
        // SAFETY: a kernel is plain data, and these are the bytes of one.
        Ok(unsafe { bytes.as_ptr().cast::<K>().read_unaligned() })
    }

    /// Gives an actor a new value, state included, between two messages. Its mailbox stays.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn write_state<K: Exported>(&self, actor: &ActorRef<K>, value: K) -> Result<(), StateError> {
        value.validate().map_err(StateError::Invalid)?;
        let mut bytes: Box<[MaybeUninit<u8>]> = Box::new_uninit_slice(size_of::<K>());
        // SAFETY: as many bytes as a kernel has.
        unsafe { bytes.as_mut_ptr().cast::<K>().write_unaligned(value) }
        self.copy_state(actor, Transfer::Write(&bytes)).await
    }

    async fn copy_state<K: Exported>(&self, actor: &ActorRef<K>, transfer: Transfer<'_>) -> Result<(), StateError> {
        if !std::ptr::eq(actor.shared(), &**self.shared()) {
            return Err(StateError::NoSuchActor(actor.id()));
        }
        copy_bytes(self.shared(), actor.id(), 0, transfer).await
    }
}

/// Copies bytes of an actor's value from `offset` on, between two of its messages.
pub(crate) async fn copy_bytes(shared: &Arc<Shared>, id: ActorId, offset: u32, transfer: Transfer<'_>) -> Result<(), StateError> {
    let limit = u64::from(shared.plan.limits.staging);
    let count = match &transfer {
        Transfer::Read(bytes) => bytes.len(),
        Transfer::Write(bytes) => bytes.len(),
    };
    if count as u64 > limit {
        return Err(StateError::TooLarge { bytes: count as u64, limit });
    }
    let start = Instant::now();
    let what = CopyState {
        slot: id.slot,
        generation: id.generation,
        write: matches!(transfer, Transfer::Write(_)),
        offset,
        bytes: count as u32,
        memory: shared.plan.staging() as usize as u64,
    };
    let staging = Staging::take(shared).await;
    if let Transfer::Write(bytes) = &transfer {
        // SAFETY: the area has room for so many bytes, and is ours.
        unsafe { shared.plan.staging().copy_from_nonoverlapping(bytes.as_ptr().cast(), bytes.len()) }
    }
    loop {
        let sent = control(shared, id.worker.into(), CONTROL_COPY, &what, shared.settings.ask_limit).await;
        let question = match sent {
            Ok(question) => question,
            Err(Refusal::ActorStopped(_)) => return Err(StateError::NoSuchActor(id)),
            Err(_) => return Err(StateError::Stopped),
        };
        let error = match answered(question).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => error,
            Err(_) => {
                // The worker may still copy: nobody else may have the area.
                std::mem::forget(staging);
                return Err(StateError::Busy { actor: id, waited: start.elapsed() });
            }
        };
        match error {
            KernelError::Overloaded if start.elapsed() < shared.settings.ask_limit => yield_once().await,
            KernelError::Overloaded => return Err(StateError::Busy { actor: id, waited: start.elapsed() }),
            _ if shared.closing.load(std::sync::atomic::Ordering::Acquire) => return Err(StateError::Stopped),
            _ => return Err(StateError::NoSuchActor(id)),
        }
    }
    if let Transfer::Read(bytes) = transfer {
        // SAFETY: the worker has copied so many bytes, and its answer was seen.
        unsafe { bytes.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(shared.plan.staging(), bytes.len()) }
    }
    drop(staging);
    Ok(())
}

/// The right to the staging area, which one call has at a time.
struct Staging<'a>(&'a Shared);

impl<'a> Staging<'a> {
    async fn take(shared: &'a Shared) -> Self {
        while shared.staging.swap(true, std::sync::atomic::Ordering::Acquire) {
            yield_once().await;
        }
        Self(shared)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        self.0.staging.store(false, std::sync::atomic::Ordering::Release);
    }
}
