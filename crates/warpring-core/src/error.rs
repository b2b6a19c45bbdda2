//! Errors that a handler sees or returns. Small and `Copy`: a warp hands them from lane to lane.

use core::fmt;

/// The result of a handler.
pub type Result<T, E = KernelError> = core::result::Result<T, E>;

/// Why a handler, or an ask made by a handler, failed. Eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelError {
    /// The handler refused the message, with a code of its own.
    Rejected {
        /// What the kernel's documentation says about this code.
        code: u32,
    },
    /// No reply came before the deadline. The message may or may not have been handled.
    Deadline,
    /// The actor that was asked is not there, or not any more. The message was not handled.
    Stopped,
    /// The mailbox of the actor that was asked is full. The message was not handled.
    MailboxFull {
        /// How many messages that mailbox holds.
        capacity: u32,
    },
    /// The worker of the actor that was asked has no message slot left. The message was not handled.
    Overloaded,
    /// The bytes of a message are not a value of its type (a `bool` that is 2, an enum without such a variant).
    Malformed,
    /// The handler panicked, at this line; the host knows the file.
    Panicked {
        /// Line of the panic, 0 where it is not known.
        line: u32,
    },
    /// An actor asked itself: it handles one message at a time, so the answer could never come.
    AskedItself,
    /// No room for another spawned actor on this worker: raise it with `RuntimeBuilder::spawned_actors`.
    TooManyActors,
    /// The handler was dropped while it was suspended: its actor was killed, or its worker stopped.
    Interrupted,
    /// The kernel is not of the module that the runtime runs.
    WrongModule,
    /// The ring to the worker of the actor was full, and the call does not wait.
    RingFull {
        /// The worker.
        worker: u32,
    },
}

impl KernelError {
    /// A refusal by the handler, with a code that the kernel documents.
    pub const fn rejected(code: u32) -> Self {
        Self::Rejected { code }
    }

    /// The two words that carry an error in a reply.
    pub const fn to_parts(self) -> (u16, u32) {
        match self {
            Self::Rejected { code } => (1, code),
            Self::Deadline => (2, 0),
            Self::Stopped => (3, 0),
            Self::MailboxFull { capacity } => (4, capacity),
            Self::Overloaded => (5, 0),
            Self::Malformed => (6, 0),
            Self::Panicked { line } => (7, line),
            Self::AskedItself => (8, 0),
            Self::TooManyActors => (9, 0),
            Self::WrongModule => (10, 0),
            Self::Interrupted => (11, 0),
            Self::RingFull { worker } => (16, worker),
        }
    }

    /// The inverse of [`to_parts`](Self::to_parts); unknown codes become [`Malformed`](Self::Malformed).
    pub const fn from_parts(code: u16, detail: u32) -> Self {
        match code {
            1 => Self::Rejected { code: detail },
            2 => Self::Deadline,
            3 => Self::Stopped,
            4 => Self::MailboxFull { capacity: detail },
            5 => Self::Overloaded,
            7 => Self::Panicked { line: detail },
            8 => Self::AskedItself,
            9 => Self::TooManyActors,
            10 => Self::WrongModule,
            11 => Self::Interrupted,
            16 => Self::RingFull { worker: detail },
            _ => Self::Malformed,
        }
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Rejected { code } => write!(f, "the handler refused the message (code {code})"),
            Self::Deadline => f.write_str("no reply before the deadline"),
            Self::Stopped => f.write_str("the actor is not running"),
            Self::MailboxFull { capacity } => write!(f, "the actor's mailbox is full ({capacity} messages)"),
            Self::Overloaded => f.write_str("the actor's worker has no message slot left"),
            Self::Malformed => f.write_str("the message's bytes are not a value of its type"),
            Self::Panicked { line } => write!(f, "the handler panicked (line {line})"),
            Self::AskedItself => f.write_str("an actor cannot ask itself"),
            Self::TooManyActors => f.write_str("no room for another spawned actor on this worker"),
            Self::Interrupted => f.write_str("the handler was dropped while it was suspended"),
            Self::WrongModule => f.write_str("the kernel is not of the module that the runtime runs"),
            Self::RingFull { worker } => write!(f, "the ring to worker {worker} is full"),
        }
    }
}

impl core::error::Error for KernelError {}
