//! `warpring run`: the ready-made jobs, one file each.

pub mod fraud_features;
pub mod market_book;
mod pipeline;
mod progress;

use crate::backend::BackendError;
use crate::input::InputError;
use std::fmt;
use std::io;
use warpring::{LaunchError, PortError, ShutdownError};

/// Why a job did not succeed. Each ends the command with exit code 1.
#[derive(Debug)]
pub enum JobError {
    /// The input cannot be read or is not what it should be.
    Input(InputError),
    /// The output cannot be written.
    Output { file: String, error: io::Error },
    /// The output would overwrite an input.
    OutputIsInput { file: String },
    /// The backend cannot be started.
    Backend(BackendError),
    /// The runtime gave no port.
    Port(PortError),
    /// Actors could not be launched.
    Launch(LaunchError),
    /// The runtime did not end well.
    Shutdown(ShutdownError),
    /// A message got no answer.
    Unanswered { what: String, why: String },
    /// An actor refused a message with one of its error codes.
    Refused { what: String, reason: &'static str },
    /// An answer differs from that of the plain reference.
    Differs { what: String, expected: String, found: String },
    /// The recording has no book messages.
    NoBooks { file: String },
    /// Books that do not agree with the exchange's checksums.
    ChecksumsFailed { failed: u64, checked: u64 },
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Output { file, error } => write!(f, "{file}: the output is incomplete: {error}"),
            Self::OutputIsInput { file } => {
                write!(f, "{file}: the output would overwrite this input")
            }
            Self::Backend(error) => error.fmt(f),
            Self::Port(error) => error.fmt(f),
            Self::Launch(error) => error.fmt(f),
            Self::Shutdown(error) => error.fmt(f),
            Self::Unanswered { what, why } => write!(f, "{what} got no answer: {why}"),
            Self::Refused { what, reason } => write!(f, "{what} was refused: {reason}"),
            Self::Differs { what, expected, found } => {
                write!(f, "{what}: the actor answered {found}, the reference {expected}")
            }
            Self::NoBooks { file } => {
                write!(f, "{file}: no book messages found")
            }
            Self::ChecksumsFailed { failed, checked } => write!(f, "{failed} of {checked} checksums failed"),
        }
    }
}

impl std::error::Error for JobError {}

impl JobError {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Input(error) => error.hint(),
            Self::Backend(error) => error.hint(),
            Self::OutputIsInput { .. } => Some("name another file for the output"),
            Self::Differs { .. } => Some("this is a bug of Warpring or a fault of the machine; a bug repeats with the same seed"),
            Self::NoBooks { .. } => Some("check that `--format` is that of the recording"),
            Self::ChecksumsFailed { .. } => {
                Some("an update is missing, altered or out of order; record again, from the subscription on")
            }
            _ => None,
        }
    }

    /// Nothing was under way, and yet there was no room for a message.
    fn stalled() -> Self {
        Self::Unanswered { what: "a message".to_owned(), why: "the ring to its worker stayed full".to_owned() }
    }
}

impl From<InputError> for JobError {
    fn from(error: InputError) -> Self {
        Self::Input(error)
    }
}

/// Prints results.
fn print_stdout(text: &str) -> Result<(), JobError> {
    crate::stdout::print(text).map_err(|error| JobError::Output { file: "standard output".to_owned(), error })
}
