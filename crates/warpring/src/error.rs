//! Errors of the host's side, one enum per operation. Those that mean "not handled" carry the message back.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use warpring_core::{ActorId, KernelError};

use crate::ask_cycle::AskCycle;
#[cfg(feature = "cuda")]
use crate::backend::CudaError;

/// Why [`RuntimeBuilder::build`](crate::RuntimeBuilder::build) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// No module was named.
    NoModule,
    /// A setting is out of range.
    Setting {
        /// The builder's method.
        name: &'static str,
        /// What was given.
        given: u64,
        /// What it takes.
        allowed: &'static str,
    },
    /// The backend is not part of this build.
    BackendNotBuilt {
        /// Its name.
        backend: &'static str,
        /// What brings it.
        cure: &'static str,
    },
    /// The system does not give so much memory.
    Memory {
        /// How many bytes.
        bytes: u64,
    },
    /// A worker thread could not be started.
    Thread(String),
    /// The log of dead letters cannot be opened.
    DeadLetterLog(DeadLetterLogError),
    /// The GPU cannot be used.
    #[cfg(feature = "cuda")]
    Cuda(CudaError),
}

#[cfg(feature = "cuda")]
impl From<CudaError> for BuildError {
    fn from(error: CudaError) -> Self {
        Self::Cuda(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoModule => f.write_str("no module: call `.module(&your_crate::MODULE)` on the builder"),
            Self::Setting { name, given, allowed } => write!(f, "`{name}` is {given}, but takes {allowed}"),
            Self::BackendNotBuilt { backend, cure } => write!(f, "the {backend} backend is not part of this build: {cure}"),
            Self::Memory { bytes } => write!(
                f,
                "there are no {bytes} bytes for this runtime: lower `workers`, `ring_lines`, `max_actors`, `waiting_messages`, `suspended_handlers` or `timers`"
            ),
            Self::Thread(why) => write!(f, "a worker thread could not be started: {why}"),
            Self::DeadLetterLog(error) => error.fmt(f),
            #[cfg(feature = "cuda")]
            Self::Cuda(error) => error.fmt(f),
        }
    }
}
impl std::error::Error for BuildError {}

/// Why a launch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaunchError {
    /// The kernel belongs to another module than the runtime's.
    WrongModule {
        /// The kernel's module.
        kernel: &'static str,
        /// The runtime's.
        runtime: &'static str,
    },
    /// The kernel's `validate` said no.
    Invalid(KernelError),
    /// The kernel runs on a GPU only.
    NeedsGpu {
        /// Its id.
        kernel: &'static str,
        /// What it was launched on.
        backend: &'static str,
    },
    /// No room for so many actors.
    TooManyActors {
        /// Launched so far and asked for now.
        wanted: u64,
        /// `RuntimeBuilder::max_actors`, rounded up to a multiple of the workers.
        limit: u64,
    },
    /// There is no such worker.
    NoSuchWorker {
        /// What `LaunchOptions::worker` said.
        worker: u32,
        /// How many there are.
        workers: u32,
    },
    /// An option is out of range.
    Option {
        /// Its name.
        name: &'static str,
        /// What it takes.
        allowed: &'static str,
    },
    /// No room on the device for the actors' values.
    StateFull {
        /// Their bytes.
        wanted: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// The device failed.
    BackendLost {
        /// What the driver said.
        message: String,
    },
    /// `initialize` of an actor failed; that actor refuses messages.
    Initialize(KernelError),
    /// The runtime is stopping or has stopped.
    Stopped,
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongModule { kernel, runtime } => {
                write!(f, "the kernel is exported by module `{kernel}`, but this runtime runs module `{runtime}`")
            }
            Self::Invalid(error) => write!(f, "the kernel's `validate` failed: {error}"),
            Self::NeedsGpu { kernel, backend } => {
                write!(f, "kernel `{kernel}` needs a GPU and cannot run on the {backend} backend")
            }
            Self::TooManyActors { wanted, limit } => {
                write!(f, "{wanted} actors, but there is room for {limit}: raise it with `RuntimeBuilder::max_actors`")
            }
            Self::NoSuchWorker { worker, workers } => write!(f, "there is no worker {worker}: this runtime has {workers}"),
            Self::Option { name, allowed } => write!(f, "launch option `{name}` takes {allowed}"),
            Self::StateFull { wanted, left } => {
                write!(f, "{wanted} bytes of actors, but {left} are left on the device: raise it with `CudaOptions::state_bytes`")
            }
            Self::BackendLost { message } => write!(f, "the device has failed: {message}"),
            Self::Initialize(error) => write!(f, "`initialize` failed: {error}"),
            Self::Stopped => f.write_str("the runtime is stopping or has stopped"),
        }
    }
}
impl std::error::Error for LaunchError {}

/// Why a message was not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The actor is stopped or failed, or was never there.
    ActorStopped(ActorId),
    /// The runtime is stopping or has stopped.
    RuntimeStopped,
    /// The device has failed, and all that ran on it is lost.
    BackendLost,
    /// The actor's mailbox is full.
    MailboxFull {
        /// The actor.
        actor: ActorId,
        /// How many messages its mailbox holds.
        capacity: u32,
    },
    /// The actor's worker has no message slot left.
    Overloaded {
        /// The worker.
        worker: u32,
    },
    /// The deadline passed before the actor came to it.
    Expired,
    /// The actor has no handler for this message: the address was made for another type.
    NotUnderstood(ActorId),
    /// The ring to the actor's worker is full, and the call does not wait.
    RingFull {
        /// The worker.
        worker: u32,
    },
    /// As many asks are outstanding as there are reply cells, and the call does not wait.
    TooManyAsks {
        /// How many.
        limit: u32,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ActorStopped(actor) => write!(f, "actor {actor} is not running"),
            Self::BackendLost => f.write_str("the device has failed, and all that ran on it is lost"),
            Self::RuntimeStopped => f.write_str("the runtime is stopping or has stopped"),
            Self::MailboxFull { actor, capacity } => write!(
                f,
                "the mailbox of actor {actor} is full ({capacity} messages): send more slowly, or launch it with a larger `mailbox`"
            ),
            Self::Overloaded { worker } => {
                write!(f, "worker {worker} has no message slot left: raise it with `RuntimeBuilder::waiting_messages`")
            }
            Self::Expired => f.write_str("its deadline passed before the actor came to it"),
            Self::NotUnderstood(actor) => write!(f, "actor {actor} has no handler for it: the address is of another kernel type"),
            Self::RingFull { worker } => write!(f, "the ring to worker {worker} is full: wait with `tell` or `ask`"),
            Self::TooManyAsks { limit } => {
                write!(f, "{limit} asks are outstanding: raise it with `RuntimeBuilder::outstanding_asks`")
            }
        }
    }
}

/// Why an ask has no reply. `M` is the message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AskError<M> {
    /// The handler returned this error.
    Handler(KernelError),
    /// The handler panicked; unless its actor is supervised, it takes no more messages.
    Panicked {
        /// The actor.
        actor: ActorId,
        /// Source file of the panic, as the compiler knows it.
        file: String,
        /// Line of the panic.
        line: u32,
        /// What it said.
        message: String,
    },
    /// The message was not handled; here it is.
    NotHandled {
        /// Why.
        reason: Refusal,
        /// The message.
        message: M,
    },
    /// No reply in time. The message may or may not be handled later.
    Deadline {
        /// The actor.
        actor: ActorId,
        /// How long the ask waited.
        waited: Duration,
    },
    /// The device failed before the reply came: nobody knows how far the message got.
    BackendLost {
        /// What the driver said.
        message: String,
    },
    /// The handler waited for actors that ask each other in a circle.
    Cycle(AskCycle),
    /// The handler was dropped while it was suspended, because its actor was killed or the runtime ended; its work may be half done.
    Interrupted {
        /// The actor.
        actor: ActorId,
    },
}

impl<M> fmt::Display for AskError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => write!(f, "{error}"),
            Self::Panicked { actor, file, line, message } => write!(f, "actor {actor} panicked at {file}:{line}: {message}"),
            Self::NotHandled { reason, .. } => write!(f, "the message was not handled: {reason}"),
            Self::Deadline { actor, waited } => {
                write!(f, "actor {actor} did not reply within {waited:?}; the message may or may not be handled")
            }
            Self::BackendLost { message } => write!(f, "the device has failed: {message}"),
            Self::Cycle(cycle) => write!(f, "{cycle}"),
            Self::Interrupted { actor } => {
                write!(f, "actor {actor} was killed, or the runtime ended, while it was handling the message")
            }
        }
    }
}
impl<M: fmt::Debug> std::error::Error for AskError<M> {}

impl<M> AskError<M> {
    /// The message, where it was not handled.
    pub fn into_message(self) -> Option<M> {
        match self {
            Self::NotHandled { message, .. } => Some(message),
            _ => None,
        }
    }
}

/// Why a tell was not accepted. `M` is the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TellError<M> {
    /// Why.
    pub reason: Refusal,
    /// The message.
    pub message: M,
}

impl<M> fmt::Display for TellError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message was not accepted: {}", self.reason)
    }
}
impl<M: fmt::Debug> std::error::Error for TellError<M> {}

/// Why [`Runtime::port`](crate::Runtime::port) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortError {
    /// All ports are in use.
    NoneFree {
        /// How many there are.
        limit: usize,
    },
    /// The window is 0, or larger than the reply cells that are free.
    Window {
        /// What was asked for.
        wanted: u32,
        /// How many cells are free.
        free: u32,
    },
    /// The runtime is stopping or has stopped.
    Stopped,
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneFree { limit } => write!(f, "all {limit} ports are in use: drop one, or use an `ActorRef` from here"),
            Self::Window { wanted, free } => {
                write!(f, "a window of {wanted} asks, but {free} reply cells are free: raise `RuntimeBuilder::outstanding_asks`")
            }
            Self::Stopped => f.write_str("the runtime is stopping or has stopped"),
        }
    }
}
impl std::error::Error for PortError {}

/// What went wrong while the runtime was shut down. It is down all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownError {
    /// Some actors were still busy when the drain limit was over; their messages were refused or interrupted.
    NotDrained {
        /// Handlers that ran or were suspended.
        handlers: u32,
        /// Messages that waited in mailboxes.
        waiting: u32,
        /// The limit.
        limit: Duration,
    },
    /// A worker ended by a panic of the framework itself. This is a bug in Warpring.
    WorkerLost {
        /// What the panic said.
        message: String,
    },
    /// The device failed, or a handler on it does not return.
    BackendLost {
        /// What the driver said, or what was waited for.
        message: String,
    },
    /// The simulator found faults in handlers.
    Violations(Vec<String>),
    /// The log of dead letters is not complete.
    DeadLetterLog(DeadLetterLogError),
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDrained { handlers, waiting, limit } => write!(
                f,
                "{handlers} handlers and {waiting} waiting messages were left after {limit:?}: raise `RuntimeBuilder::drain_limit`"
            ),
            Self::WorkerLost { message } => write!(f, "a worker was lost to a bug in Warpring: {message}"),
            Self::BackendLost { message } => write!(f, "the device has failed: {message}"),
            Self::Violations(list) => {
                write!(f, "the simulator found {} faults:", list.len())?;
                list.iter().try_for_each(|line| write!(f, "\n  {line}"))
            }
            Self::DeadLetterLog(error) => error.fmt(f),
        }
    }
}
impl std::error::Error for ShutdownError {}

/// Why a log of dead letters cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterLogError {
    /// The system says no.
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The file is something else.
    NotALog {
        /// Which file.
        path: PathBuf,
    },
    /// Another runtime writes it.
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// The runtime that writes it has been asked to send letters again, and has not done so yet.
    RequestWaits {
        /// Which file.
        path: PathBuf,
    },
}

impl DeadLetterLogError {
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io { path: path.to_owned(), why: error.to_string() }
    }
}

impl fmt::Display for DeadLetterLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, why } => write!(f, "{}: the log of dead letters: {why}", path.display()),
            Self::NotALog { path } => write!(f, "{}: this is no log of dead letters: name another file", path.display()),
            Self::InUse { path } => {
                write!(f, "{}: another runtime writes this log: give each runtime one of its own", path.display())
            }
            Self::RequestWaits { path } => {
                write!(f, "{}: an earlier request to send letters again is not met yet: try again later", path.display())
            }
        }
    }
}
impl std::error::Error for DeadLetterLogError {}

/// Why a dead letter does not give its message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// A handler had taken the message.
    Gone,
    /// The message is of another type.
    OtherType {
        /// Its name, where it is known.
        found: Option<String>,
    },
    /// The bytes are not a value of the type.
    Malformed,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("a handler had taken the message, and its payload is gone"),
            Self::OtherType { found: Some(name) } => write!(f, "the message is a `{name}`: ask for that type, as it was then"),
            Self::OtherType { found: None } => f.write_str("nothing is known of the type of the message"),
            Self::Malformed => f.write_str("the bytes are not a value of the message's type"),
        }
    }
}
impl std::error::Error for PayloadError {}
