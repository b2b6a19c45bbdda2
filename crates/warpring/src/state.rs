//! Reading and writing the resident state of one actor while the workers run.
//!
//! The worker itself copies, between two messages of that actor, so what is read is never half changed. The bytes go through a
//! staging area, which both sides see.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use warpring_core::module::Exported;
use warpring_core::worker::{ANY_KIND, CopyRows, ROW_BYTES, Tenant};
use warpring_core::{ActorId, KernelError};

use crate::actor_ref::ActorRef;
use crate::runtime::{Runtime, Since, yield_once};
use crate::shared::Shared;
use crate::staging::{self, AREA_BYTES, CopyError, Staging, Use};

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
    /// The worker did not answer for so long: a handler does not return.
    NoAnswer {
        /// Its number.
        worker: u32,
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
            Self::NoAnswer { worker, waited } => {
                write!(f, "worker {worker} has not answered for {waited:?}: a handler does not return")
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

/// Most bytes that one copy takes.
pub(crate) const MOST: usize = (AREA_BYTES - ROW_BYTES) as usize;

/// Copies bytes of an actor's value from `offset` on, between two of its messages.
pub(crate) async fn copy_bytes(shared: &Arc<Shared>, id: ActorId, offset: u32, transfer: Transfer<'_>) -> Result<(), StateError> {
    let count = match &transfer {
        Transfer::Read(bytes) => bytes.len(),
        Transfer::Write(bytes) => bytes.len(),
    };
    if count > MOST {
        return Err(StateError::TooLarge { bytes: count as u64, limit: MOST as u64 });
    }
    let failed = |error| match error {
        CopyError::NoSlot => StateError::NoSuchActor(id),
        CopyError::Late(waited) => StateError::NoAnswer { worker: id.worker.into(), waited },
        CopyError::Stopped => StateError::Stopped,
    };
    let since = Since::now(shared);
    let staging = Staging::take(shared, Use::State).await.map_err(failed)?;
    // Behind the row.
    let state = || staging.memory().wrapping_add(ROW_BYTES as usize);
    let what = CopyRows {
        slot: id.slot,
        count: 1,
        offset,
        bytes: count as u32,
        kind: ANY_KIND,
        generation: id.generation,
        write: matches!(transfer, Transfer::Write(_)),
        wait: true,
        memory: staging.memory() as usize as u64,
    };
    if let Transfer::Write(bytes) = &transfer {
        // SAFETY: the area has room for so many bytes behind the row, and is ours.
        unsafe { state().copy_from_nonoverlapping(bytes.as_ptr().cast(), bytes.len()) }
    }
    loop {
        staging.copy(id.worker.into(), &what).await.map_err(failed)?;
        // SAFETY: the request was answered.
        let row = unsafe { staging::row(staging.memory(), 0) };
        let bytes = shared.module.kinds.get(usize::from(row.kind)).map_or(0, |kind| kind.bytes);
        let inside = u64::from(offset) + count as u64 <= u64::from(bytes);
        let limit = shared.settings.ask_limit;
        match row.tenant {
            Tenant::Nobody | Tenant::Failed | Tenant::Stopped => return Err(StateError::NoSuchActor(id)),
            _ if row.generation != id.generation || !inside => return Err(StateError::NoSuchActor(id)),
            Tenant::Busy if since.elapsed(shared) >= limit => {
                return Err(StateError::Busy { actor: id, waited: since.elapsed(shared) });
            }
            Tenant::Busy => {
                since.pass(shared, limit);
                yield_once().await;
            }
            // What has ended is not read; its supervisor writes what it starts with.
            Tenant::Resting if !what.write => return Err(StateError::NoSuchActor(id)),
            Tenant::Running | Tenant::Held | Tenant::Resting => break,
        }
    }
    if let Transfer::Read(bytes) = transfer {
        // SAFETY: the worker has copied so many bytes, and its answer was seen.
        unsafe { bytes.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(state(), bytes.len()) }
    }
    Ok(())
}
