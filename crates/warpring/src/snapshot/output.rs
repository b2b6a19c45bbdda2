//! A snapshot on its way to the disk: a temporary file beside the target, which takes the target's name when it is whole and on
//! the disk. Whoever is killed before that leaves the target as it was.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::Xxh3;

use super::error::SnapshotError;
use super::format::{Header, Run, Totals, encode_chunk};

/// The end of a temporary file's name.
const PARTIAL: &str = ".partial";
/// After so many bytes the disk begins to write them, while the next ones come: the sync at the end waits for the last ones alone.
const WRITEBACK_BYTES: u64 = 4 << 20;

pub(super) struct Output {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
    at: u64,
    /// The disk was told to write what lies before.
    sent: u64,
    sums: Xxh3,
    totals: Totals,
    /// The target is there.
    done: bool,
}

/// What was done when the system refused, for the error.
fn at<'a>(path: &'a Path, doing: &'static str) -> impl FnOnce(io::Error) -> SnapshotError + 'a {
    move |error| SnapshotError::Io { path: path.to_owned(), doing, error }
}

fn folder(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Whether a file is the unfinished one of a writer: such a file is no snapshot.
pub fn is_partial(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.first() == Some(&b'.') && name.ends_with(PARTIAL.as_bytes())
}

/// Whether it is one of a writer to this target.
fn is_partial_of(name: &OsStr, target: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let middle = name.strip_prefix(b".").and_then(|name| name.strip_prefix(target.as_encoded_bytes()));
    let middle = middle.and_then(|name| name.strip_prefix(b".")).and_then(|name| name.strip_suffix(PARTIAL.as_bytes()));
    middle.is_some_and(|middle| !middle.is_empty() && middle.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-'))
}

/// Removes what killed writers to this target have left. A writer holds a lock on its file for as long as it lives.
fn remove_leftovers(folder: &Path, target: &OsStr) {
    let Ok(files) = fs::read_dir(folder) else { return };
    for file in files.flatten().filter(|file| is_partial_of(&file.file_name(), target)) {
        // What cannot be removed now is only in the way of nobody.
        if let Ok(left) = File::open(file.path())
            && left.try_lock().is_ok()
        {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Tells the system to write these bytes of a file to the disk now. A hint: whether all is there, the sync at the end says.
fn begin_writeback(file: &File, from: u64, bytes: u64) {
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // SAFETY: the file is open, and the call touches no memory of ours.
        let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), from as i64, bytes as i64, libc::SYNC_FILE_RANGE_WRITE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, from, bytes);
}

impl Output {
    /// Opens a temporary file for this target.
    pub(super) fn create(target: &Path) -> Result<Self, SnapshotError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let Some(name) = target.file_name() else {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(at(target, "name a file to write")(error));
        };
        let folder = folder(target);
        remove_leftovers(folder, name);
        loop {
            let mut own = OsString::from(".");
            own.push(name);
            own.push(format!(".{}-{}{PARTIAL}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)));
            let temporary = folder.join(own);
            let file = match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                // Of a process with the same number, which was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file.map_err(at(&temporary, "create"))?,
            };
            match file.try_lock() {
                Ok(()) => {}
                // Another writer takes it for a leftover: it is gone in a moment.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(at(&temporary, "lock")(error)),
            }
            // Or it is gone already.
            if !temporary.exists() {
                continue;
            }
            let (sums, totals) = (Xxh3::new(), Totals::default());
            return Ok(Self { target: target.to_owned(), temporary, file, at: 0, sent: 0, sums, totals, done: false });
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.file.write_all(bytes).map_err(at(&self.temporary, "write"))?;
        self.at += bytes.len() as u64;
        if self.at - self.sent >= WRITEBACK_BYTES {
            // What is written on later in the same page would go to the disk twice.
            let end = self.at / WRITEBACK_BYTES * WRITEBACK_BYTES;
            begin_writeback(&self.file, self.sent, end - self.sent);
            self.sent = end;
        }
        Ok(())
    }

    pub(super) fn header(&mut self, header: &Header) -> Result<(), SnapshotError> {
        let (bytes, sum) = header.encode();
        self.sums.update(&sum.to_le_bytes());
        self.put(&bytes)
    }

    pub(super) fn chunk(
        &mut self,
        entry: u32,
        worker: u32,
        spawned: bool,
        runs: &[Run],
        states: &[&[u8]],
    ) -> Result<(), SnapshotError> {
        let (head, sum) = encode_chunk(entry, worker, spawned, runs, states);
        self.sums.update(&sum.to_le_bytes());
        self.totals.chunks += 1;
        self.totals.actors += runs.iter().map(|run| u64::from(run.count)).sum::<u64>();
        self.totals.state_bytes += states.iter().map(|states| states.len() as u64).sum::<u64>();
        self.put(&head)?;
        states.iter().try_for_each(|states| self.put(states))
    }

    /// The target is the new snapshot when this has returned, also after a loss of power; it is the old one if it fails.
    pub(super) fn finish(mut self) -> Result<Totals, SnapshotError> {
        let footer = self.totals.footer(self.at, &self.sums);
        self.put(&footer)?;
        self.file.sync_all().map_err(at(&self.temporary, "sync"))?;
        fs::rename(&self.temporary, &self.target).map_err(at(&self.target, "rename to"))?;
        self.done = true;
        #[cfg(unix)]
        {
            let folder = folder(&self.target);
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder, "sync"))?;
        }
        Ok(self.totals)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.done {
            // It failed, or nobody waits for it any more; the next writer would remove it too.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leftover_is_known_by_its_name() {
        let of = |name: &str| is_partial_of(OsStr::new(name), OsStr::new("day.snap"));
        assert!(of(".day.snap.12-0.partial"));
        for other in ["day.snap", ".day.snap", ".day.snap.partial", ".day.snap.1.12-0.partial", ".day.snap2.12-0.partial"] {
            assert!(!of(other), "{other}");
        }
        assert!(is_partial(Path::new("dir/.day.snap.12-0.partial")) && !is_partial(Path::new("dir/day.snap")));
    }
}
