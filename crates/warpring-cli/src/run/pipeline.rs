//! What the engines of the jobs share: many asks under way through one port, answered in order.

use super::JobError;
use std::time::Duration;
use warpring::module::Handles;
use warpring::{Address, AskError, KernelError, Port, Refusal, RingMessage, TellError, Ticket};

/// Asks under way at a time. Enough that the workers do not run dry while the host reads, writes or launches; a multiple of
/// it would only wait longer in the rings.
pub const WINDOW: u32 = 256;

/// How long a ring may stay full while nothing is under way; it frees within microseconds where a worker runs at all.
pub const STALL_LIMIT: Duration = Duration::from_secs(5);

/// Sends an ask; `None` while there is no room for it.
///
/// # Errors
/// [`JobError::Unanswered`].
pub fn try_ask<K: Handles<M>, M: RingMessage>(
    port: &mut Port,
    to: Address<K>,
    message: M,
) -> Result<Option<Ticket<M, K::Reply>>, JobError> {
    match port.try_ask(to, message) {
        Ok(ticket) => Ok(Some(ticket)),
        Err(TellError { reason: Refusal::RingFull { .. } | Refusal::TooManyAsks { .. }, .. }) => Ok(None),
        Err(TellError { reason, .. }) => Err(JobError::Unanswered { what: "a message".to_owned(), why: reason.to_string() }),
    }
}

/// Waits for the reply to an ask. `what` names the message in an error, `reason` says what a code of the kernel means.
///
/// # Errors
/// [`JobError::Refused`] or [`JobError::Unanswered`].
pub fn wait<M: RingMessage, R: RingMessage>(
    port: &mut Port,
    ticket: Ticket<M, R>,
    what: impl FnOnce() -> String,
    reason: fn(u32) -> &'static str,
) -> Result<R, JobError> {
    port.wait(ticket).map_err(|error| match error {
        AskError::Handler(KernelError::Rejected { code }) => JobError::Refused { what: what(), reason: reason(code) },
        error => JobError::Unanswered { what: what(), why: error.to_string() },
    })
}
