//! Dead letters: messages that wanted no reply and were not handled.
//!
//! `dead_letter/record.rs` is the form of a log, `dead_letter/log.rs` writes it, `dead_letter/read.rs` reads it,
//! `dead_letter/resend.rs` sends letters again.

mod log;
mod read;
mod record;
mod resend;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use warpring_core::layout;
use warpring_core::message::{FROM_HOST, HIGH_PRIORITY, Header, MAX_PAYLOAD, NO_SENDER, RingMessage};
use warpring_core::module::{KindTable, MessageTable, ModuleTable};
use warpring_core::ring::Lines;
use warpring_core::{ActorId, KernelError, Priority};

use crate::backend::cpu;
use crate::error::{BuildError, DeadLetterLogError, PayloadError};
use crate::lock::lock;
use crate::shared::Shared;
use log::{Entry, Log};
pub use read::DeadLetterLog;
pub use resend::Resend;

/// A message that wanted no reply and was not handled. A clone is the same letter, and so is what a log has of it.
#[derive(Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Number of the letter in its runtime, from 1 on.
    pub sequence: u64,
    /// When the host heard of it.
    pub time: SystemTime,
    /// Whom it was for.
    pub to: ActorId,
    /// Who sent it; `None` for the host.
    pub from: Option<ActorId>,
    /// Id of the kernel that its sender took the target for; `None` if its module has no such handler.
    pub kernel: Option<Cow<'static, str>>,
    /// Its type, as `export!` spells it; `None` if its module has no such handler.
    pub message_type: Option<Cow<'static, str>>,
    /// Which handler it was for: the third part of an entry of `KindTable::handlers`.
    pub handler: u16,
    /// Why it was not handled.
    pub reason: KernelError,
    /// Its order in a mailbox.
    pub priority: Priority,
    /// Which runtime it was dead in.
    run: u64,
    message: Option<MessageTable>,
    kept: Arc<Kept>,
}

/// What all clones of a letter share.
struct Kept {
    payload: Option<Box<[u8]>>,
    /// It was sent again, or is just being.
    resent: AtomicBool,
}

impl PartialEq for DeadLetter {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}
impl Eq for DeadLetter {}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut letter = f.debug_struct("DeadLetter");
        letter.field("sequence", &self.sequence).field("to", &self.to).field("from", &self.from);
        letter.field("kernel", &self.kernel).field("message_type", &self.message_type).field("reason", &self.reason);
        letter.field("payload_bytes", &self.payload().map(<[u8]>::len)).finish_non_exhaustive()
    }
}

impl DeadLetter {
    /// The encoded message; `None` if a handler had taken it, so that it may have been handled in part.
    pub fn payload(&self) -> Option<&[u8]> {
        self.kept.payload.as_deref()
    }

    /// The message.
    ///
    /// # Errors
    /// [`PayloadError`]: the payload is gone, or is not an `M`.
    pub fn message<M: RingMessage>(&self) -> Result<M, PayloadError> {
        let payload = self.payload().ok_or(PayloadError::Gone)?;
        if self.message != Some(MessageTable { fingerprint: M::FINGERPRINT, bytes: M::SIZE as u32 }) {
            return Err(PayloadError::OtherType { found: self.message_type.as_ref().map(|name| name.to_string()) });
        }
        M::decode(payload.get(..M::SIZE).ok_or(PayloadError::Malformed)?).map_err(|_| PayloadError::Malformed)
    }

    /// Whether it was sent again, through this clone or any other, or by whoever had its log before.
    pub fn is_resent(&self) -> bool {
        self.kept.resent.load(Ordering::Acquire)
    }

    fn id(&self) -> (u64, u64) {
        (self.run, self.sequence)
    }
}

/// Called for each dead letter, on the worker's thread: it must be quick and must not wait for an actor.
pub(crate) type DeadLetterHook = Box<dyn Fn(&DeadLetter) + Send + Sync>;

/// What the builder says about dead letters.
pub(crate) struct Choices {
    pub(crate) hook: Option<DeadLetterHook>,
    pub(crate) log: Option<PathBuf>,
    /// Most bytes of the log, both of its files together.
    pub(crate) log_bytes: u64,
}

impl Default for Choices {
    fn default() -> Self {
        Self { hook: None, log: None, log_bytes: 64 << 20 }
    }
}

/// The last [`RECENT`] dead letters, a count of all, and the log.
pub(crate) struct DeadLetters {
    module: &'static ModuleTable,
    run: u64,
    hook: Option<DeadLetterHook>,
    recent: Mutex<Recent>,
    count: AtomicU64,
    log: Option<Log>,
}

struct Recent {
    letters: VecDeque<DeadLetter>,
    /// To the thread that writes the log, as long as there is one.
    queue: Option<SyncSender<Entry>>,
}

/// Dead letters kept for [`Runtime::dead_letters`](crate::Runtime::dead_letters).
const RECENT: usize = 1024;
/// Least bytes of a log: each of its two files must have room for what is written at once.
const LEAST_LOG_BYTES: u64 = 1 << 20;

impl DeadLetters {
    /// Opens the log, if there is to be one.
    pub(crate) fn new(module: &'static ModuleTable, choices: Choices) -> Result<Self, BuildError> {
        let run = this_run();
        let (log, queue) = match choices.log {
            None => (None, None),
            Some(_) if choices.log_bytes < LEAST_LOG_BYTES => {
                let (name, given) = ("dead_letter_log_bytes", choices.log_bytes);
                return Err(BuildError::Setting { name, given, allowed: "at least 1,048,576" });
            }
            Some(path) => {
                let (log, queue) = Log::start(path, choices.log_bytes, run, module).map_err(BuildError::DeadLetterLog)?;
                (Some(log), Some(queue))
            }
        };
        let recent = Mutex::new(Recent { letters: VecDeque::with_capacity(RECENT), queue });
        Ok(Self { module, run, hook: choices.hook, recent, count: AtomicU64::new(0), log })
    }

    /// Where the log finds the actors that it is told to send letters to.
    pub(crate) fn attach(&self, shared: Weak<Shared>) {
        if let Some(log) = &self.log {
            log.attach(shared);
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        lock(&self.recent)
    }

    /// Makes a dead letter of a message to an actor of this worker.
    ///
    /// # Safety
    /// `message` has the lines of the message, acquired or owned, if it is there.
    pub(crate) unsafe fn add(&self, worker: u32, header: &Header, message: Option<Lines>, reason: KernelError) {
        let handler = handler_of(self.module, header.tag);
        let payload = message.map(|lines| {
            let mut bytes = [0; MAX_PAYLOAD];
            let size = handler.map_or(MAX_PAYLOAD, |(_, _, message)| message.bytes as usize);
            // SAFETY: contract.
            let count = unsafe { lines.payload(header.lines, &mut bytes[..size]) };
            Box::from(&bytes[..count])
        });
        self.keep(worker, header, payload, reason);
    }

    /// Makes a dead letter with this payload.
    pub(crate) fn keep(&self, worker: u32, header: &Header, payload: Option<Box<[u8]>>, reason: KernelError) {
        // A publication that found no room on its way is reported by the worker that it did not leave.
        let worker = if let KernelError::RingFull { worker } = reason { worker } else { worker };
        let from = (header.origin != FROM_HOST && header.sender != NO_SENDER).then_some(ActorId {
            slot: header.sender,
            generation: header.sender_generation,
            worker: (header.origin >> 16) as u16,
        });
        let handler = handler_of(self.module, header.tag);
        let letter = DeadLetter {
            sequence: self.count.fetch_add(1, Ordering::Relaxed) + 1,
            time: SystemTime::now(),
            to: ActorId { slot: header.slot, generation: header.generation, worker: worker as u16 },
            from,
            kernel: handler.map(|(kind, ..)| kind.metadata.id.into()),
            message_type: handler.map(|(_, name, _)| name.into()),
            handler: header.tag,
            reason,
            priority: if header.kind & HIGH_PRIORITY != 0 { Priority::High } else { Priority::Normal },
            run: self.run,
            message: handler.map(|(.., message)| message),
            kept: Arc::new(Kept { payload, resent: AtomicBool::new(false) }),
        };
        if let Some(hook) = &self.hook {
            // It is the user's, and the scheduler calls it: its panic is printed like any other, and ends nothing.
            let _ = cpu::outside_worker(|| catch_unwind(AssertUnwindSafe(|| hook(&letter))));
        }
        let mut recent = self.recent();
        if let Some(log) = &self.log {
            log.add(recent.queue.as_ref(), &letter);
        }
        if recent.letters.len() == RECENT {
            recent.letters.pop_front();
        }
        recent.letters.push_back(letter);
    }

    pub(crate) fn list(&self) -> Vec<DeadLetter> {
        self.recent().letters.iter().cloned().collect()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Writes what is on its way to the log, and ends the thread that writes it. Later letters are written by who brings them.
    ///
    /// # Errors
    /// What could not be written.
    pub(crate) fn close(&self) -> Result<(), DeadLetterLogError> {
        drop(self.recent().queue.take());
        self.log.as_ref().map_or(Ok(()), Log::close)
    }
}

impl Drop for DeadLetters {
    fn drop(&mut self) {
        // Nobody is left to hear of it.
        let _ = self.close();
    }
}

/// The kernel, name and type of the message of the handler with this number.
fn handler_of(module: &'static ModuleTable, tag: u16) -> Option<(&'static KindTable, &'static str, MessageTable)> {
    module.kinds.iter().find_map(|kind| {
        let at = kind.handlers.iter().position(|(_, _, number)| *number == tag)?;
        Some((kind, kind.handlers[at].0, *kind.messages.get(at)?))
    })
}

/// A number that no other runtime has whose letters may come into the same log.
fn this_run() -> u64 {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let parts = [nanos(SystemTime::now()), std::process::id().into(), RUNS.fetch_add(1, Ordering::Relaxed)];
    parts.into_iter().fold(layout::EMPTY, layout::mix)
}

/// Nanoseconds since 1970; 0 for what was before.
fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos().min(u64::MAX.into()) as u64)
}
