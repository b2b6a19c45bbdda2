//! Reads a log of dead letters.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, UNIX_EPOCH};

use warpring_core::Priority;

use super::record::{LetterId, Record, Run, Stored, records};
use super::{DeadLetter, Kept, log, resend};
use crate::error::DeadLetterLogError;

/// What stands in a log of dead letters.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetterLog {
    /// Its file; the older half is in the one with `.1` behind its name.
    pub path: PathBuf,
    /// The letters, as they were written.
    pub letters: Vec<DeadLetter>,
    /// Name and fingerprint of each module that wrote it.
    pub modules: Vec<(String, u64)>,
    /// Letters that found no room on their way to the log.
    pub missed: u64,
    /// Bytes that belong to no whole record: the last one may be torn, where a process was killed.
    pub damaged_bytes: u64,
}

impl DeadLetterLog {
    /// Reads the log at `path`, also while a runtime writes it. It takes as much memory as the log has bytes, and that again for
    /// the letters.
    ///
    /// # Errors
    /// [`DeadLetterLogError`], unless it is a log. Whatever else its bytes are, what is whole is read.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DeadLetterLogError> {
        let path = path.as_ref();
        let failed = |path: &Path, error: &io::Error| DeadLetterLogError::io(path, error);
        // The younger one first: if a runtime changes the files in between, it is read twice, and nothing is missed.
        let older = log::older(path);
        let mut young = match File::open(path) {
            Ok(file) => Some(file),
            // It has just become the older one, or its process was killed when it had.
            Err(error) if error.kind() == io::ErrorKind::NotFound && older.exists() => None,
            Err(error) => return Err(failed(path, &error)),
        };
        let old = match std::fs::read(&older) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(&older, &error)),
        };
        let mut bytes = Vec::new();
        if let Some(young) = &mut young {
            young.read_to_end(&mut bytes).map_err(|error| failed(path, &error))?;
        }
        let mut content = Content::default();
        content.take(&old).ok_or(DeadLetterLogError::NotALog { path: older })?;
        content.take(&bytes).ok_or_else(|| DeadLetterLogError::NotALog { path: path.to_owned() })?;
        Ok(content.into_log(path))
    }

    /// Whether a runtime writes the log now.
    ///
    /// # Errors
    /// [`DeadLetterLogError`], where the file cannot be looked at.
    pub fn is_written(&self) -> Result<bool, DeadLetterLogError> {
        log::is_written(&self.path)
    }

    /// Asks the runtime that writes the log to send these letters again: to `to`, or each to its own target. The runtime looks
    /// about once a second; then [`has_request`](Self::has_request) says no, and letters that it has sent are marked.
    ///
    /// # Errors
    /// [`DeadLetterLogError`]: the request cannot be written, or there is one already.
    pub fn request_resend<'l>(
        &self,
        letters: impl IntoIterator<Item = &'l DeadLetter>,
        to: Option<warpring_core::ActorId>,
    ) -> Result<(), DeadLetterLogError> {
        resend::request(&self.path, letters, to)
    }

    /// Whether a request waits for the runtime, or is being carried out.
    pub fn has_request(&self) -> bool {
        resend::has_request(&self.path)
    }
}

/// The records of both files, sorted by what they are.
#[derive(Default)]
pub(super) struct Content {
    runs: HashMap<u64, Run>,
    order: Vec<u64>,
    letters: Vec<Stored>,
    seen: HashSet<LetterId>,
    resent: HashSet<LetterId>,
    missed: HashMap<u64, u64>,
    damaged: u64,
}

impl Content {
    /// Takes in a file; `None` if it is no log.
    pub(super) fn take(&mut self, file: &[u8]) -> Option<()> {
        let mut records = records(file)?;
        for record in &mut records {
            match record {
                Record::Run(run) => {
                    self.order.push(run.run);
                    self.runs.insert(run.run, run);
                }
                Record::Letter(letter) => {
                    if self.seen.insert(letter.id) {
                        self.letters.push(letter);
                    }
                }
                Record::Resent(id) => drop(self.resent.insert(id)),
                Record::Missed { run, count } => {
                    let most = self.missed.entry(run).or_default();
                    *most = count.max(*most);
                }
                // That is for another file.
                Record::Wanted { .. } => {}
            }
        }
        self.damaged += records.damaged;
        Some(())
    }

    pub(super) fn into_log(self, path: &Path) -> DeadLetterLog {
        let mut modules = Vec::new();
        for run in self.order.iter().filter_map(|run| self.runs.get(run)) {
            let module = (run.module.clone(), run.fingerprint);
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
        let letter = |stored: Stored| {
            let (run, sequence) = stored.id;
            let handler = self.runs.get(&run).and_then(|run| run.handlers.iter().find(|handler| handler.tag == stored.tag));
            DeadLetter {
                sequence,
                time: UNIX_EPOCH + Duration::from_nanos(stored.time),
                to: stored.to,
                from: stored.from,
                kernel: handler.map(|handler| handler.kernel.clone().into()),
                message_type: handler.map(|handler| handler.name.clone().into()),
                handler: stored.tag,
                reason: stored.reason,
                priority: if stored.high { Priority::High } else { Priority::Normal },
                run,
                message: handler.map(|handler| handler.message),
                kept: Arc::new(Kept {
                    payload: stored.payload.map(Into::into),
                    resent: AtomicBool::new(self.resent.contains(&stored.id)),
                }),
            }
        };
        DeadLetterLog {
            path: path.to_owned(),
            letters: self.letters.into_iter().map(letter).collect(),
            modules,
            missed: self.missed.values().fold(0, |sum, count| sum.saturating_add(*count)),
            damaged_bytes: self.damaged,
        }
    }
}
