//! Why a snapshot was not written, not opened, or not restored.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use warpring_core::{ActorId, KernelError};

use super::layout::LayoutError;
use crate::error::LaunchError;
use crate::staging::CopyError;

/// Why a snapshot was not written. The file of this name is then what it was before.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The system refused something.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was to be done.
        doing: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// Nothing was named that is to be saved.
    NoEntries,
    /// Two entries have one name.
    NameTaken {
        /// The name.
        entry: String,
    },
    /// The names are too long for a header.
    NamesTooLong {
        /// Bytes of the header.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// An entry is of another runtime.
    WrongRuntime {
        /// The entry.
        entry: String,
    },
    /// There is no actor at this address, or it has failed or stopped.
    NoSuchActor {
        /// The entry.
        entry: String,
        /// The address.
        actor: ActorId,
    },
    /// A state is larger than what can be copied at once.
    TooLarge {
        /// The kernel's id.
        kind: &'static str,
        /// Its bytes.
        bytes: u64,
        /// The most.
        limit: u64,
    },
    /// Each time that the worker looked, in all this time, a handler of the actor was at work: its state may be half changed.
    Busy {
        /// The entry.
        entry: String,
        /// The actor.
        actor: ActorId,
        /// How long the call waited.
        waited: Duration,
    },
    /// A worker did not answer: a handler does not return.
    NoAnswer {
        /// How long the call waited.
        waited: Duration,
    },
    /// The runtime is stopping or has stopped.
    Stopped,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, doing, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
            Self::NoEntries => f.write_str("nothing to save: name an actor or a group, or use `snapshot_all`"),
            Self::NameTaken { entry } => write!(f, "two entries have the name `{entry}`"),
            Self::NamesTooLong { bytes, limit } => {
                write!(f, "the header has {bytes} bytes, and {limit} at most: save fewer entries, or give them shorter names")
            }
            Self::WrongRuntime { entry } => write!(f, "entry `{entry}` is of another runtime"),
            Self::NoSuchActor { entry, actor } => {
                write!(f, "entry `{entry}`: there is no actor {actor}, or it has failed or stopped")
            }
            Self::TooLarge { kind, bytes, limit } => {
                write!(f, "a state of kernel `{kind}` has {bytes} bytes, and {limit} can be copied at once")
            }
            Self::Busy { entry, actor, waited } => {
                write!(f, "entry `{entry}`: a handler of actor {actor} was at work for {waited:?}: its state may be half changed")
            }
            Self::NoAnswer { waited } => write!(f, "a worker has not answered for {waited:?}: a handler does not return"),
            Self::Stopped => f.write_str("the runtime is stopping or has stopped"),
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<CopyError> for SnapshotError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Late(waited) => Self::NoAnswer { waited },
            // What was never launched has no slot; whoever asks for one says which.
            CopyError::Stopped | CopyError::NoSlot => Self::Stopped,
        }
    }
}

/// Why a file cannot be read as a snapshot.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file does not begin as a snapshot does.
    NotASnapshot {
        /// The file.
        path: PathBuf,
    },
    /// Another version of the format.
    Format {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is read here.
        known: u32,
    },
    /// The file ends early, was changed, or was never whole.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// What was expected there.
        what: &'static str,
    },
    /// There is no such actor in the snapshot.
    NoSuchActor {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// The number of the actor.
        actor: u64,
        /// How many the entry has.
        actors: u64,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NotASnapshot { path } => write!(f, "{}: not a snapshot", path.display()),
            Self::Format { path, found, known } => {
                write!(
                    f,
                    "{}: a snapshot of format {found}, but this version reads format {known}: restore it with the version that wrote it, or \
                     make a new one",
                    path.display()
                )
            }
            Self::Damaged { path, offset, what } => {
                write!(f, "{}: damaged at byte {offset}: {what}", path.display())
            }
            Self::NoSuchActor { path, entry, actor, actors } => {
                write!(f, "{}: entry `{entry}` has {actors} actors, and no number {actor}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Why a snapshot was not restored. Actors that were restored before stay.
#[derive(Debug)]
#[non_exhaustive]
pub enum RestoreError {
    /// The snapshot has no entry of this name.
    NoSuchEntry {
        /// The name.
        entry: String,
        /// The names that it has; of many, the first.
        there: Vec<String>,
    },
    /// The entry is of another kernel, or one actor where a group is asked for.
    WrongEntry {
        /// The entry.
        entry: String,
        /// What it is.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The kernel has another layout here.
    Layout(LayoutError),
    /// The bytes are not a value of the kernel, or its `validate` refuses it.
    Invalid {
        /// The entry.
        entry: String,
        /// Where the actor was.
        actor: ActorId,
        /// What `validate` said.
        error: KernelError,
    },
    /// The file has changed since it was opened, or cannot be read.
    File(OpenError),
    /// The actors could not be launched.
    Launch(LaunchError),
    /// The snapshot is not of a whole runtime.
    NotWhole,
    /// Actors of a whole runtime go where they were, and there are not as many workers.
    Workers {
        /// How many there were.
        saved: u32,
        /// How many there are.
        here: u32,
    },
    /// Actors of a whole runtime go where they were, and there are others already.
    NotFresh {
        /// How many were launched.
        actors: u64,
    },
    /// The running group has another size than the saved one.
    GroupSize {
        /// The entry.
        entry: String,
        /// How many actors were saved.
        saved: u64,
        /// How many the group has.
        here: u32,
    },
    /// There is no actor at this address.
    NoSuchActor(ActorId),
    /// A handler of the running actor was at work all the time.
    Busy {
        /// The actor.
        actor: ActorId,
        /// How long the call waited.
        waited: Duration,
    },
    /// A worker did not answer: a handler does not return.
    NoAnswer {
        /// How long the call waited.
        waited: Duration,
    },
    /// The runtime is stopping or has stopped.
    Stopped,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchEntry { entry, there } if there.is_empty() => write!(f, "there is no entry `{entry}`, nor any other"),
            Self::NoSuchEntry { entry, there } => write!(f, "there is no entry `{entry}`; there are {}", there.join(", ")),
            Self::WrongEntry { entry, found, wanted } => write!(f, "entry `{entry}` is {found}, not {wanted}"),
            Self::Layout(error) => error.fmt(f),
            Self::Invalid { entry, actor, error } => {
                write!(f, "entry `{entry}`: the state of actor {actor} is not a valid value: {error}")
            }
            Self::File(error) => error.fmt(f),
            Self::Launch(error) => error.fmt(f),
            Self::NotWhole => f.write_str("the snapshot is not of a whole runtime: restore its entries by name"),
            Self::Workers { saved, here } => {
                write!(f, "the runtime was saved with {saved} workers and this one has {here}: set `RuntimeBuilder::workers`")
            }
            Self::NotFresh { actors } => {
                write!(f, "{actors} actors were launched before: restore a whole runtime into a fresh one")
            }
            Self::GroupSize { entry, saved, here } => {
                write!(f, "entry `{entry}` has {saved} actors, and the running group has {here}")
            }
            Self::NoSuchActor(actor) => write!(f, "there is no actor {actor} in this runtime"),
            Self::Busy { actor, waited } => write!(f, "a handler of actor {actor} was at work for {waited:?}"),
            Self::NoAnswer { waited } => write!(f, "a worker has not answered for {waited:?}: a handler does not return"),
            Self::Stopped => f.write_str("the runtime is stopping or has stopped"),
        }
    }
}

impl std::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Layout(error) => Some(error),
            Self::File(error) => Some(error),
            Self::Launch(error) => Some(error),
            _ => None,
        }
    }
}

impl From<OpenError> for RestoreError {
    fn from(error: OpenError) -> Self {
        Self::File(error)
    }
}
impl From<LayoutError> for RestoreError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}
impl From<LaunchError> for RestoreError {
    fn from(error: LaunchError) -> Self {
        Self::Launch(error)
    }
}
