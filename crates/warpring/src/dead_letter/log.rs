//! The log of dead letters: two files, of which the older one goes when the younger one is full, and the thread that writes them.
//!
//! ```text
//!  worker: DeadLetters::add ─ try_send ─► queue of 4,096 ─► thread: Writer::run ─► FILE ─ full: rename ─► FILE.1
//!                               │ full: counted, and the count is written                ▲
//!  a resend: mark ───────────────────────────────────────────────────────────────────────┘
//! ```
//! Whoever writes holds the system's lock on the file, so that no two runtimes do; a runtime gives it back when it is shut down.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warpring_core::module::ModuleTable;

use super::record::{LetterId, MAGIC, Record, Run, Stored, append};
use super::{DeadLetter, nanos, resend};
use crate::error::DeadLetterLogError;
use crate::lock::lock;
use crate::shared::Shared;

/// Letters on their way to the log.
const QUEUE: usize = 4096;
/// So many bytes are written at once.
const BATCH: usize = 1 << 16;
/// So often the thread looks whether somebody wants letters to be sent again.
const LOOK: Duration = Duration::from_secs(1);

/// What goes to the thread.
pub(super) enum Entry {
    Letter(DeadLetter),
    /// Everything before this was written.
    Sync(SyncSender<()>),
}

/// The log of a runtime.
pub(super) struct Log {
    file: Arc<Mutex<LogFile>>,
    /// Letters that found no room in the queue.
    missed: Arc<AtomicU64>,
    shared: Arc<OnceLock<Weak<Shared>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Opens the log, and starts the thread that writes what comes through the queue.
    pub(super) fn start(
        path: PathBuf,
        most_bytes: u64,
        run: u64,
        module: &ModuleTable,
    ) -> Result<(Self, SyncSender<Entry>), DeadLetterLogError> {
        let mut opening = Vec::new();
        append(&mut opening, &Record::Run(Run::of(run, module)));
        let file = LogFile::create(path.clone(), most_bytes / 2, opening)?;
        // What was asked of an earlier run is not asked of the actors of this one.
        resend::forget_request(&path);
        let (queue, entries) = sync_channel(QUEUE);
        let log =
            Self { file: Arc::new(Mutex::new(file)), missed: Arc::default(), shared: Arc::default(), thread: Mutex::default() };
        let writer = Writer {
            file: Arc::clone(&log.file),
            missed: Arc::clone(&log.missed),
            shared: Arc::clone(&log.shared),
            path: path.clone(),
            run,
            told: 0,
        };
        let thread = std::thread::Builder::new().name("warpring-dead-letters".into()).spawn(move || writer.run(&entries));
        let thread = thread.map_err(|error| DeadLetterLogError::io(&path, &error))?;
        *lock(&log.thread) = Some(thread);
        Ok((log, queue))
    }

    pub(super) fn attach(&self, shared: Weak<Shared>) {
        // Set once, by the runtime that the log was opened for.
        let _ = self.shared.set(shared);
    }

    /// On the worker's thread: into the queue if it has room. Without a queue, after the end, into the file.
    pub(super) fn add(&self, queue: Option<&SyncSender<Entry>>, letter: &DeadLetter) {
        match queue {
            Some(queue) => {
                if queue.try_send(Entry::Letter(letter.clone())).is_err() {
                    self.missed.fetch_add(1, Ordering::Relaxed);
                }
            }
            None => {
                let mut bytes = Vec::new();
                append(&mut bytes, &Record::Letter(stored(letter)));
                // The file keeps its first error for `close`.
                let _ = self.file().append(&bytes);
            }
        }
    }

    pub(super) fn file(&self) -> MutexGuard<'_, LogFile> {
        lock(&self.file)
    }

    /// Whether this is the log at `path`.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        // While this is held, no file takes the other's place.
        let file = self.file();
        file.path.canonicalize().is_ok_and(|own| path.canonicalize().is_ok_and(|path| path == own))
    }

    /// Waits for the thread, whose queue is closed, and for the disk.
    pub(super) fn close(&self) -> Result<(), DeadLetterLogError> {
        let thread = lock(&self.thread).take();
        let panicked = thread.is_some_and(|thread| thread.join().is_err());
        let mut file = self.file();
        if panicked {
            let error = io::Error::other("the thread that writes it panicked");
            file.keep(&error);
        }
        if let Err(error) = file.file.sync_data() {
            file.keep(&error);
        }
        // From here on another runtime may have it. The last letters of ports that are dropped late still go behind what is there:
        // each is one write at the end of the file, also if that has become the older one.
        file.most = u64::MAX;
        if let Err(error) = file.file.unlock() {
            file.keep(&error);
        }
        file.failed.clone().map_or(Ok(()), Err)
    }
}

/// Waits until everything that is in the queue now was written.
pub(super) fn flush(queue: Option<SyncSender<Entry>>) {
    let Some(queue) = queue else { return };
    let (written, wait) = sync_channel(1);
    if queue.send(Entry::Sync(written)).is_ok() {
        // An error says that the thread has ended, and that nothing is on its way any more.
        let _ = wait.recv();
    }
}

struct Writer {
    file: Arc<Mutex<LogFile>>,
    missed: Arc<AtomicU64>,
    shared: Arc<OnceLock<Weak<Shared>>>,
    path: PathBuf,
    run: u64,
    /// Missed letters that the log says so far.
    told: u64,
}

impl Writer {
    /// Until the queue is closed and empty.
    fn run(mut self, entries: &Receiver<Entry>) {
        let mut looked = Instant::now();
        let mut bytes = Vec::with_capacity(2 * BATCH);
        loop {
            let mut next = match entries.recv_timeout(LOOK) {
                Ok(entry) => Some(entry),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut waiting = Vec::new();
            let mut letters = 0;
            while let Some(entry) = next {
                match entry {
                    Entry::Letter(letter) => {
                        append(&mut bytes, &Record::Letter(stored(&letter)));
                        letters += 1;
                    }
                    Entry::Sync(written) => waiting.push(written),
                }
                next = if bytes.len() < BATCH { entries.try_recv().ok() } else { None };
            }
            self.write(&mut bytes, letters);
            for written in waiting {
                // Who waits may have gone.
                let _ = written.send(());
            }
            if looked.elapsed() >= LOOK {
                if let Some(shared) = self.shared.get().and_then(Weak::upgrade) {
                    resend::fulfil_request(&shared, &self.path);
                }
                looked = Instant::now();
            }
        }
        self.write(&mut bytes, 0);
    }

    /// Writes the batch, and how many letters were missed, if that is news.
    fn write(&mut self, bytes: &mut Vec<u8>, letters: u64) {
        let missed = self.missed.load(Ordering::Relaxed);
        if missed != self.told {
            append(bytes, &Record::Missed { run: self.run, count: missed });
        }
        if bytes.is_empty() {
            return;
        }
        let written = lock(&self.file).append(bytes);
        match written {
            Ok(()) => self.told = missed,
            Err(_) => drop(self.missed.fetch_add(letters, Ordering::Relaxed)),
        }
        bytes.clear();
    }
}

fn stored(letter: &DeadLetter) -> Stored {
    Stored {
        id: letter.id(),
        time: nanos(letter.time),
        to: letter.to,
        from: letter.from,
        tag: letter.handler,
        reason: letter.reason,
        high: letter.priority == warpring_core::Priority::High,
        payload: letter.payload().map(<[u8]>::to_vec),
    }
}

/// The file that is written now, and locked.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Beyond so many bytes it becomes the older file.
    most: u64,
    /// Records that each file begins with.
    opening: Vec<u8>,
    /// The first error.
    failed: Option<DeadLetterLogError>,
}

/// The older file of the log at `path`.
pub(super) fn older(path: &Path) -> PathBuf {
    beside(path, ".1")
}

/// `path`, with `end` behind its name.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

impl LogFile {
    /// Opens the log to go on with it, or makes a new one.
    pub(super) fn create(path: PathBuf, most: u64, opening: Vec<u8>) -> Result<Self, DeadLetterLogError> {
        let mut log = Self::open_as(OpenOptions::new().create(true), path, most)?;
        log.append(&opening)?;
        log.opening = opening;
        Ok(log)
    }

    /// Opens a log that nobody writes, to mark letters in it.
    pub(super) fn open(path: &Path) -> Result<Self, DeadLetterLogError> {
        Self::open_as(&mut OpenOptions::new(), path.to_owned(), u64::MAX)
    }

    fn open_as(options: &mut OpenOptions, path: PathBuf, most: u64) -> Result<Self, DeadLetterLogError> {
        let failed = |error: &io::Error| DeadLetterLogError::io(&path, error);
        let mut file = options.read(true).append(true).open(&path).map_err(|error| failed(&error))?;
        claim(&file, &path)?;
        let mut start = Vec::new();
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(|error| failed(&error))?;
        if !MAGIC.starts_with(&start) {
            return Err(DeadLetterLogError::NotALog { path });
        }
        if start.len() < MAGIC.len() {
            // New, or torn before its first record.
            file.set_len(0).and_then(|()| file.write_all(MAGIC)).map_err(|error| failed(&error))?;
        }
        let bytes = file.metadata().map_err(|error| failed(&error))?.len();
        Ok(Self { path, file, bytes, most, opening: Vec::new(), failed: None })
    }

    fn keep(&mut self, error: &io::Error) -> DeadLetterLogError {
        let error = DeadLetterLogError::io(&self.path, error);
        self.failed.get_or_insert_with(|| error.clone());
        error
    }

    /// Writes whole records behind the last one.
    pub(super) fn append(&mut self, records: &[u8]) -> Result<(), DeadLetterLogError> {
        let written = self.make_room(records.len() as u64).and_then(|()| self.file.write_all(records));
        match written {
            Ok(()) => self.bytes += records.len() as u64,
            Err(error) => {
                // What is torn now is stepped over by readers.
                self.bytes = self.file.metadata().map_or(self.bytes, |data| data.len());
                return Err(self.keep(&error));
            }
        }
        Ok(())
    }

    /// Marks a letter as sent again.
    pub(super) fn mark(&mut self, id: LetterId) -> Result<(), DeadLetterLogError> {
        let mut bytes = Vec::new();
        append(&mut bytes, &Record::Resent(id));
        self.append(&bytes)
    }

    /// A file without room becomes the older one, in whose place it goes. The next one is ready before: where the disk has no room for
    /// it, both stay as they are.
    fn make_room(&mut self, records: u64) -> io::Result<()> {
        let empty = (MAGIC.len() + self.opening.len()) as u64;
        if self.bytes <= empty || self.bytes.saturating_add(records) <= self.most {
            return Ok(());
        }
        let next = beside(&self.path, ".new");
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&next)?;
        file.try_lock()?;
        // What a rotation has left that was cut short.
        file.set_len(0)?;
        file.write_all(MAGIC)?;
        file.write_all(&self.opening)?;
        std::fs::rename(&self.path, older(&self.path))?;
        std::fs::rename(&next, &self.path)?;
        self.file = file;
        self.bytes = empty;
        Ok(())
    }
}

/// Takes the system's lock on a log.
fn claim(file: &File, path: &Path) -> Result<(), DeadLetterLogError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(DeadLetterLogError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(DeadLetterLogError::io(path, &error)),
    }
}

/// Whether a runtime writes the log at `path` now.
pub(super) fn is_written(path: &Path) -> Result<bool, DeadLetterLogError> {
    let failed = |error: &io::Error| DeadLetterLogError::io(path, error);
    let file = OpenOptions::new().read(true).open(path).map_err(|error| failed(&error))?;
    // Shared, so that two who look do not take each other for a runtime.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(failed(&error)),
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
