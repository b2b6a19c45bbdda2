//! Sends dead letters again: those of a list, those of a log, and those that somebody has asked for from outside.
//!
//! ```text
//!  who asks: FILE.resend.new ─ rename ─► FILE.resend      the log's thread: ─ rename ─► FILE.resending ─ sent, marked ─► removed
//! ```

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use warpring_core::message::{encoded, lines_for};
use warpring_core::{ActorId, module::ModuleTable};

use super::log::{LogFile, beside, flush};
use super::record::{LetterId, MAGIC, Record, append, records};
use super::{DeadLetter, DeadLetterLog, DeadLetters};
use crate::error::{DeadLetterLogError, Refusal};
use crate::runtime::Runtime;
use crate::shared::{SendOptions, Shared};

/// What came of sending a dead letter again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resend {
    /// It was accepted as a new message from the host to this actor, with a fate of its own: if that actor does not handle it
    /// either, it becomes another dead letter.
    Sent(ActorId),
    /// The runtime does not take it.
    Refused(Refusal),
    /// A handler had taken the message, so it may have been handled in part, and its payload is gone.
    PayloadGone,
    /// This runtime's module has no kernel of that id that takes messages of that type.
    OtherModule,
    /// It was sent again before.
    AlreadySent,
    /// The caller named no target for it.
    LeftOut,
}

impl std::fmt::Display for Resend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sent(to) => write!(f, "sent to {to}"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::PayloadGone => f.write_str("a handler had taken it, and its payload is gone"),
            Self::OtherModule => f.write_str("no kernel of the module takes such a message"),
            Self::AlreadySent => f.write_str("it was sent again before"),
            Self::LeftOut => f.write_str("left out"),
        }
    }
}

impl Runtime {
    /// Sends letters again, each to the actor with the id of its target. Blocks as [`Tell::wait`](crate::Tell::wait) does.
    ///
    /// A letter that was sent is marked, in the list and in the log of this runtime, and is not sent a second time.
    pub fn resend(&self, letters: &[DeadLetter]) -> Vec<Resend> {
        self.resend_with(letters, |letter| Some(letter.to))
    }

    /// As [`resend`](Self::resend), each to the actor that `to` names; a letter for which it names none is left out.
    pub fn resend_with(&self, letters: &[DeadLetter], mut to: impl FnMut(&DeadLetter) -> Option<ActorId>) -> Vec<Resend> {
        let shared = self.shared();
        shared.dead.flush();
        let one = |letter: &DeadLetter| {
            let result = send(shared, letter, to(letter));
            if let (Resend::Sent(_), Some(log)) = (&result, &shared.dead.log)
                && letter.run == shared.dead.run
            {
                // The log keeps its first error, and the shutdown tells it.
                let _ = log.file().mark(letter.id());
            }
            result
        };
        letters.iter().map(one).collect()
    }

    /// Sends the letters of a log again, each to the actor with the id of its target: that is sensible for the log of this runtime,
    /// or if the actors were launched in the same order as those that the letters were for. Letters that were sent are marked in
    /// the log, and another call leaves them out. It blocks as [`Tell::wait`](crate::Tell::wait) does.
    ///
    /// # Errors
    /// [`DeadLetterLogError`]: the log cannot be read or marked, or another runtime writes it.
    pub fn resend_dead_letters(&self, path: impl AsRef<Path>) -> Result<Vec<(DeadLetter, Resend)>, DeadLetterLogError> {
        self.resend_dead_letters_with(path, |letter| Some(letter.to))
    }

    /// As [`resend_dead_letters`](Self::resend_dead_letters), each to the actor that `to` names; a letter for which it names none is
    /// left out.
    ///
    /// # Errors
    /// As above. What was sent before an error is marked, but the last.
    pub fn resend_dead_letters_with(
        &self,
        path: impl AsRef<Path>,
        mut to: impl FnMut(&DeadLetter) -> Option<ActorId>,
    ) -> Result<Vec<(DeadLetter, Resend)>, DeadLetterLogError> {
        let (path, shared) = (path.as_ref(), self.shared());
        if let Some(log) = shared.dead.log.as_ref().filter(|log| log.is_at(path)) {
            shared.dead.flush();
            // The log's thread may go on meanwhile.
            return resend_log(shared, path, &mut to, &mut |id| log.file().mark(id));
        }
        let mut file = LogFile::open(path)?;
        resend_log(shared, path, &mut to, &mut |id| file.mark(id))
    }
}

impl DeadLetters {
    /// Waits until the log has what came before. Not on the log's own thread.
    fn flush(&self) {
        let queue = self.recent().queue.clone();
        flush(queue);
    }

    /// The letter as the list has it, if it does: what is read from the log has a mark of its own.
    fn listed(&self, letter: &DeadLetter) -> Option<DeadLetter> {
        self.recent().letters.iter().find(|listed| *listed == letter).cloned()
    }
}

/// Sends the letters of a log that were not sent yet, and marks those that are accepted.
fn resend_log(
    shared: &Shared,
    path: &Path,
    to: &mut dyn FnMut(&DeadLetter) -> Option<ActorId>,
    mark: &mut dyn FnMut(LetterId) -> Result<(), DeadLetterLogError>,
) -> Result<Vec<(DeadLetter, Resend)>, DeadLetterLogError> {
    let mut results = Vec::new();
    for letter in DeadLetterLog::read(path)?.letters {
        let target = if letter.is_resent() { None } else { to(&letter) };
        let result = send(shared, &letter, target);
        if let Resend::Sent(_) = result {
            mark(letter.id())?;
        }
        results.push((letter, result));
    }
    Ok(results)
}

/// The number of the handler that takes this letter in `module`.
fn tag_in(module: &ModuleTable, letter: &DeadLetter) -> Option<u16> {
    let kind = module.kinds.iter().find(|kind| letter.kernel.as_deref() == Some(kind.metadata.id))?;
    let at = kind.messages.iter().position(|message| letter.message == Some(*message))?;
    kind.handlers.get(at).map(|(_, _, tag)| *tag)
}

/// Sends a letter as a new message of the host's.
fn send(shared: &Shared, letter: &DeadLetter, to: Option<ActorId>) -> Resend {
    let listed = shared.dead.listed(letter);
    let mark = &listed.as_ref().unwrap_or(letter).kept.resent;
    if letter.is_resent() || mark.load(Ordering::Acquire) {
        return Resend::AlreadySent;
    }
    let Some(payload) = letter.payload() else { return Resend::PayloadGone };
    let message = letter.message.filter(|message| message.bytes as usize == payload.len());
    let Some(tag) = message.and_then(|_| tag_in(shared.module, letter)) else { return Resend::OtherModule };
    let Some(to) = to else { return Resend::LeftOut };
    if mark.swap(true, Ordering::AcqRel) {
        return Resend::AlreadySent;
    }
    let options = SendOptions { priority: letter.priority, ..SendOptions::default() };
    let header = shared.header(to, tag, lines_for(payload.len()) as u8, options, None);
    let start = Instant::now();
    loop {
        match encoded(payload, |parcel| shared.post(to, &header, parcel)) {
            Ok(()) => {
                letter.kept.resent.store(true, Ordering::Release);
                return Resend::Sent(to);
            }
            Err(Refusal::RingFull { .. }) if start.elapsed() < shared.settings.ask_limit => {
                shared.pump();
                std::thread::yield_now();
            }
            Err(reason) => {
                mark.store(false, Ordering::Release);
                return Resend::Refused(reason);
            }
        }
    }
}

const REQUEST: &str = ".resend";
const BEING_MADE: &str = ".resend.new";
const BEING_MET: &str = ".resending";

/// Leaves a request beside the log.
pub(super) fn request<'l>(
    path: &Path,
    letters: impl IntoIterator<Item = &'l DeadLetter>,
    to: Option<ActorId>,
) -> Result<(), DeadLetterLogError> {
    let mut bytes = MAGIC.to_vec();
    letters.into_iter().for_each(|letter| append(&mut bytes, &Record::Wanted { id: letter.id(), to }));
    let made = beside(path, BEING_MADE);
    let failed = |error: &io::Error| DeadLetterLogError::io(&made, error);
    fs::write(&made, &bytes).map_err(|error| failed(&error))?;
    // Not a rename, which would take the place of another request.
    let linked = fs::hard_link(&made, beside(path, REQUEST));
    // It has another name now, or is not wanted.
    let _ = fs::remove_file(&made);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(DeadLetterLogError::RequestWaits { path: path.to_owned() })
        }
        linked => linked.map_err(|error| failed(&error)),
    }
}

pub(super) fn has_request(path: &Path) -> bool {
    [REQUEST, BEING_MET].iter().any(|end| beside(path, end).exists())
}

/// Removes what is left of requests.
pub(super) fn forget_request(path: &Path) {
    // Mostly there are none.
    [REQUEST, BEING_MET].iter().for_each(|end| drop(fs::remove_file(beside(path, end))));
}

/// Sends the letters that somebody wants to be sent, if somebody does. On the log's thread, with nothing in its hands.
pub(super) fn fulfil_request(shared: &Shared, path: &Path) {
    let claimed = beside(path, BEING_MET);
    if fs::rename(beside(path, REQUEST), &claimed).is_err() {
        return;
    }
    let wanted: HashMap<LetterId, Option<ActorId>> = match fs::read(&claimed) {
        Ok(bytes) => records(&bytes)
            .into_iter()
            .flatten()
            .filter_map(|record| if let Record::Wanted { id, to } = record { Some((id, to)) } else { None })
            .collect(),
        Err(_) => HashMap::new(),
    };
    if let Some(log) = &shared.dead.log {
        let mut to = |letter: &DeadLetter| wanted.get(&letter.id()).map(|to| to.unwrap_or(letter.to));
        // Who asked reads in the log what was sent.
        let _ = resend_log(shared, path, &mut to, &mut |id| log.file().mark(id));
    }
    let _ = fs::remove_file(&claimed);
}
