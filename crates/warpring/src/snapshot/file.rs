//! A snapshot that was opened: what is in it, and the states of its actors.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use warpring_core::ActorId;

use super::error::OpenError;
use super::format::{Chunk, EntryScope, Header, Run, SavedEntry, Totals};
use super::layout::SavedKind;
use super::scan::{Scanned, scan};

use crate::lock::lock;

/// An actor of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedActor {
    /// Where it was.
    pub id: ActorId,
    /// Messages that its mailbox held at most.
    pub mailbox: u16,
    /// Its state.
    pub state: Vec<u8>,
}

/// A snapshot that was read and found whole: every checksum was compared.
///
/// What is written to its path afterwards does not change it.
///
/// A clone is the same snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    path: PathBuf,
    file: Arc<Mutex<File>>,
    pub(super) header: Arc<Header>,
    pub(super) chunks: Arc<[Chunk]>,
    totals: Totals,
}

impl Snapshot {
    /// Opens a file and reads it from the beginning to the end: blocks, for as long as that takes.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let Scanned { file, header, chunks, totals } = scan(path)?;
        let (file, header) = (Arc::new(Mutex::new(file)), Arc::new(header));
        Ok(Self { path: path.to_owned(), file, header, chunks: chunks.into(), totals })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The module whose actors it holds, by name.
    pub fn module(&self) -> &str {
        &self.header.module
    }

    /// The module's fingerprint.
    pub fn fingerprint(&self) -> u64 {
        self.header.fingerprint
    }

    /// When it was made.
    pub fn created(&self) -> SystemTime {
        self.header.created
    }

    /// How many workers the runtime had.
    pub fn workers(&self) -> u32 {
        self.header.workers
    }

    /// Whether it is of a whole runtime.
    pub fn is_whole(&self) -> bool {
        self.header.whole
    }

    /// The kinds of actors in it.
    pub fn kinds(&self) -> &[SavedKind] {
        &self.header.kinds
    }

    /// Its entries.
    pub fn entries(&self) -> &[SavedEntry] {
        &self.header.entries
    }

    /// How many actors it holds.
    pub fn actors(&self) -> u64 {
        self.totals.actors
    }

    /// The bytes of their states.
    pub fn state_bytes(&self) -> u64 {
        self.totals.state_bytes
    }

    /// The bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.totals.file_bytes
    }

    /// Actor `number` of an entry: of a group, as the group counts; of a kind, by worker and slot.
    ///
    /// # Errors
    /// [`OpenError::NoSuchActor`], and those of reading.
    pub fn actor(&self, entry: &SavedEntry, number: u64) -> Result<SavedActor, OpenError> {
        let at = self.header.entries.iter().position(|own| own == entry);
        let absent = || OpenError::NoSuchActor {
            path: self.path.clone(),
            entry: entry.name.clone(),
            actor: number,
            actors: at.map_or(0, |at| self.header.entries[at].actors),
        };
        let own = |chunk: &&Chunk| Some(chunk.entry as usize) == at;
        let mut rows: Vec<(u32, Run, &Chunk, u64)> = Vec::new();
        for chunk in self.chunks.iter().filter(own) {
            let mut before = 0;
            for run in &chunk.runs {
                rows.push((chunk.worker, *run, chunk, before));
                before += u64::from(run.count);
            }
        }
        rows.sort_unstable_by_key(|(worker, run, ..)| (*worker, run.slot));
        let workers = u64::from(self.header.workers);
        let mut before = 0;
        let found = rows.iter().find_map(|(worker, run, chunk, first)| {
            let row = match entry.scope {
                EntryScope::Group => {
                    let (on, row) = (number % workers, number / workers + u64::from(entry.slot));
                    if on == u64::from(*worker) { row.checked_sub(run.slot.into())? } else { return None }
                }
                EntryScope::Actor | EntryScope::Kind => {
                    let row = number.checked_sub(before)?;
                    before += u64::from(run.count);
                    row
                }
            };
            (row < u64::from(run.count)).then_some((*worker, *run, *chunk, first + row, row))
        });
        let (worker, run, chunk, index, row) = found.ok_or_else(absent)?;
        let bytes = u64::from(self.header.kinds[entry.kind].bytes);
        let mut state = vec![0; bytes as usize];
        self.read(chunk.states_at() + index * bytes, &mut state)?;
        let id = ActorId { slot: run.slot + row as u32, generation: run.generation, worker: worker as u16 };
        Ok(SavedActor { id, mailbox: run.mailbox, state })
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), OpenError> {
        let mut file = lock(&self.file);
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(bytes));
        read.map_err(|error| OpenError::Io { path: self.path.clone(), error })
    }

    /// The states of a chunk into `states`, compared once more with its checksum.
    pub(super) fn states(&self, chunk: &Chunk, states: &mut Vec<u8>) -> Result<(), OpenError> {
        let bytes = chunk.actors * self.header.kinds[self.header.entries[chunk.entry as usize].kind].bytes;
        states.resize(bytes as usize, 0);
        self.read(chunk.states_at(), states)?;
        if chunk.sum_of(states) != chunk.sum {
            let what = "the checksum of this chunk is another than when the file was opened";
            return Err(OpenError::Damaged { path: self.path.clone(), offset: chunk.offset, what });
        }
        Ok(())
    }
}
