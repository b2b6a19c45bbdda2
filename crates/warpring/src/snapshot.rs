//! Snapshots: the states of an actor, of groups or of a whole runtime in a file, while the workers go on; and back.
//!
//! Each actor is saved as it is between two of its messages. A file is whole or not there: it is written beside the target and takes
//! its name at the end. What is restored is checked: the file by its checksums, the layout of each kernel field by field, and each
//! state by its fields and by the kernel's `validate`.

mod bytes;
mod error;
mod file;
mod format;
mod layout;
mod output;
mod pipe;
mod restore;
mod scan;
mod source;
mod write;

pub use error::{OpenError, RestoreError, SnapshotError};
pub use file::{SavedActor, Snapshot};
pub use format::{EntryScope, SavedEntry};
pub use layout::{LayoutDifference, LayoutError, SavedField, SavedKind};
pub use output::is_partial;
pub use restore::Restore;
pub(crate) use source::Source;
pub use warpring_core::Scalar;
pub use write::{SnapshotBuilder, SnapshotSummary};
