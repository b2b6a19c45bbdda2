//! The snapshot file that a supervisor's restarts take states from.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::SystemTime;

use warpring_core::module::KindTable;

use super::error::{OpenError, RestoreError};
use super::file::Snapshot;

use crate::lock::lock;

/// An entry of a file, which is read when it is wanted.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    entry: String,
    /// The file as it was opened last: when it was written, and how long it is.
    opened: Mutex<Option<(SystemTime, u64, Snapshot)>>,
}

impl Source {
    pub(crate) fn new(path: PathBuf, entry: String) -> Self {
        Self { path, entry, opened: Mutex::default() }
    }

    /// The state of actor `number` of the entry, which is of this kind; `None` while there is no file.
    pub(crate) fn state(&self, kind: &KindTable, number: u64) -> Result<Option<Vec<u8>>, RestoreError> {
        let Some(snapshot) = self.snapshot()? else { return Ok(None) };
        let Some(entry) = snapshot.entries().iter().find(|entry| entry.name == self.entry) else {
            let there = snapshot.entries().iter().take(16).map(|entry| entry.name.clone()).collect();
            return Err(RestoreError::NoSuchEntry { entry: self.entry.clone(), there });
        };
        let saved = &snapshot.kinds()[entry.kind];
        if saved.id != kind.metadata.id {
            let (found, wanted) = (format!("of `{}`", saved.id), format!("of `{}`", kind.metadata.id));
            return Err(RestoreError::WrongEntry { entry: self.entry.clone(), found, wanted });
        }
        saved.matches(kind)?;
        let actor = snapshot.actor(entry, number)?;
        match (kind.check)(&actor.state) {
            Ok(()) => Ok(Some(actor.state)),
            Err(error) => Err(RestoreError::Invalid { entry: self.entry.clone(), actor: actor.id, error }),
        }
    }

    /// The file as it is now, verified when it was opened.
    fn snapshot(&self) -> Result<Option<Snapshot>, OpenError> {
        let failed = |error| OpenError::Io { path: self.path.clone(), error };
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let (written, bytes) = (metadata.modified().map_err(failed)?, metadata.len());
        let mut opened = lock(&self.opened);
        if let Some((at, length, snapshot)) = &*opened
            && (*at, *length) == (written, bytes)
        {
            return Ok(Some(snapshot.clone()));
        }
        let snapshot = Snapshot::open(&self.path)?;
        *opened = Some((written, bytes, snapshot.clone()));
        Ok(Some(snapshot))
    }
}
