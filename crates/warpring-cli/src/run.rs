//! `warpring run`: the ready-made jobs, one file each.

pub mod fraud_features;
pub mod market_book;
mod progress;

use crate::input::InputError;
use std::fmt;
use std::io::{self, Write};

/// Why a job did not succeed. Each ends the command with exit code 1.
#[derive(Debug)]
pub enum JobError {
    /// The input cannot be read or is not what it should be.
    Input(InputError),
    /// The output cannot be written.
    Output { file: String, error: io::Error },
    /// The output would overwrite an input.
    OutputIsInput { file: String },
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
                write!(f, "{file}: the output would overwrite this input; name another file")
            }
            Self::Refused { what, reason } => write!(f, "{what} was refused: {reason}"),
            Self::Differs { what, expected, found } => {
                write!(f, "{what}: the actor answered {found}, the reference {expected}")
            }
            Self::NoBooks { file } => {
                write!(f, "{file}: no book messages found; is `--format` that of the recording?")
            }
            Self::ChecksumsFailed { failed, checked } => write!(
                f,
                "{failed} of {checked} checksums failed: an update is missing, altered or out of order in the recording"
            ),
        }
    }
}

impl std::error::Error for JobError {}

impl From<InputError> for JobError {
    fn from(error: InputError) -> Self {
        Self::Input(error)
    }
}

/// Prints results. Unlike `println!` it does not panic when nobody reads them any more.
fn print_stdout(text: &str) -> Result<(), JobError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|error| JobError::Output { file: "standard output".to_owned(), error })
}
