//! The file of a snapshot. All numbers are of fixed width, the lowest byte first; a text is its length in two bytes and UTF-8;
//! checksums are XXH3 with 64 bits.
//!
//! ```text
//! header    8  "WARPSNAP"
//!           4  version of the format
//!           4  bytes of the header, checksum not included
//!           8  fingerprint of the module
//!           8  when it was made: nanoseconds since 1970
//!           4  workers of the runtime
//!           1  whether it is of the whole runtime
//!           3  0
//!              name of the module (text)
//!           4  kinds, and each: id (text), 4 version, 4 bytes, 4 alignment, 8 fingerprint, 4 fields, and each of these: name (text),
//!              type (text), 4 offset, 4 bytes, 8 fingerprint, 1 scalar, 1 depth
//!           4  entries, and each: name (text), 4 kind, 1 scope (0 actor, 1 group, 2 kind), 4 first slot, 4 actors (0: of a kind)
//!           8  checksum of the header
//! chunks       any number, each of actors of one entry on one worker:
//!           4  "CHNK"
//!           4  entry
//!           2  worker
//!           2  whether handlers had spawned them
//!           4  runs
//!           4  actors
//!           4  bytes of the states
//!           8  checksum of these 24 bytes, the runs and the states
//!              runs, each: 4 first slot, 4 actors, 2 generation, 2 mailbox capacity
//!              the states, one after the other
//! footer    8  "SNAPDONE"
//!           8  chunks
//!           8  actors
//!           8  bytes of the states
//!           8  bytes of the file
//!           8  checksum of the checksums of the header and of all chunks
//!           8  checksum of these 48 bytes
//! ```
//!
//! A file that ends early has no footer, and one that goes on behind it is not of the length that the footer says. Whatever the
//! bytes are, reading them panics nowhere, and takes no more memory than a small multiple of the file.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use warpring_core::{ActorId, Scalar};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::bytes::{Bytes, Reader, Short};
use super::layout::{SavedField, SavedKind};
use crate::staging::AREA_BYTES;

const MAGIC: &[u8; 8] = b"WARPSNAP";
const CHUNK: &[u8; 4] = b"CHNK";
const DONE: &[u8; 8] = b"SNAPDONE";
/// The version of the format that is written, and the only one that is read.
pub(super) const FORMAT: u32 = 1;
/// Bytes of the longest header.
pub(super) const MAX_HEADER: u64 = 1 << 24;
const PREFIX: usize = 16;
const CHUNK_BYTES: usize = 32;
const RUN_BYTES: usize = 12;
const FOOTER_BYTES: usize = 56;
/// Most actors of a chunk: as many rows as a staging area has room for.
const MAX_ACTORS: u32 = AREA_BYTES / 8;

/// Of what an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryScope {
    /// One actor.
    Actor,
    /// A group, with every actor of it.
    Group,
    /// All actors of a kind.
    Kind,
}

/// A named part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedEntry {
    /// Its name.
    pub name: String,
    /// The number of its kind in [`Snapshot::kinds`].
    pub kind: usize,
    /// Of what it is.
    pub scope: EntryScope,
    /// The first slot of the actor or group.
    pub slot: u32,
    /// How many actors it has.
    pub actors: u64,
}

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

/// Why a file cannot be read as a snapshot.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file does not begin as a snapshot does.
    NotASnapshot {
        /// The file.
        path: PathBuf,
    },
    /// Another version of the format.
    Format {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is read here.
        known: u32,
    },
    /// The file ends early, was changed, or was never whole.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// What was expected there.
        what: &'static str,
    },
    /// There is no such actor in the snapshot.
    NoSuchActor {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// The number of the actor.
        actor: u64,
        /// How many the entry has.
        actors: u64,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NotASnapshot { path } => write!(f, "{}: not a snapshot", path.display()),
            Self::Format { path, found, known } => {
                write!(f, "{}: a snapshot of format {found}, but this version reads format {known}", path.display())
            }
            Self::Damaged { path, offset, what } => {
                write!(f, "{}: damaged at byte {offset}: {what}", path.display())
            }
            Self::NoSuchActor { path, entry, actor, actors } => {
                write!(f, "{}: entry `{entry}` has {actors} actors, and no number {actor}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Actors in slots side by side, of one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) slot: u32,
    pub(super) count: u32,
    pub(super) generation: u16,
    pub(super) mailbox: u16,
}

/// What stands before the states.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) fingerprint: u64,
    pub(super) created: SystemTime,
    pub(super) workers: u32,
    pub(super) whole: bool,
    pub(super) module: String,
    pub(super) kinds: Vec<SavedKind>,
    /// The counts of entries of a kind are only known at the end.
    pub(super) entries: Vec<SavedEntry>,
}

/// Where a chunk is, and whose.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) entry: u32,
    pub(super) worker: u32,
    pub(super) spawned: bool,
    pub(super) actors: u32,
    pub(super) runs: Vec<Run>,
    /// Its checksum.
    pub(super) sum: u64,
}

impl Header {
    /// The bytes of the header, and its checksum, which is the last eight of them.
    pub(super) fn encode(&self) -> (Vec<u8>, u64) {
        let mut out = Bytes::default();
        out.0.extend(MAGIC);
        let created = self.created.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        out.u32(FORMAT).u32(0).u64(self.fingerprint).u64(created).u32(self.workers);
        out.u8(self.whole.into()).u8(0).u16(0).text(&self.module);
        out.u32(self.kinds.len() as u32);
        for kind in &self.kinds {
            out.text(&kind.id).u32(kind.version).u32(kind.bytes).u32(kind.align).u64(kind.fingerprint);
            out.u32(kind.fields.len() as u32);
            for field in &kind.fields {
                out.text(&field.name).text(&field.ty).u32(field.offset).u32(field.bytes).u64(field.fingerprint);
                out.u8(field.scalar as u8).u8(field.depth);
            }
        }
        out.u32(self.entries.len() as u32);
        for entry in &self.entries {
            out.text(&entry.name).u32(entry.kind as u32).u8(entry.scope as u8).u32(entry.slot).u32(entry.actors as u32);
        }
        let length = (out.0.len() as u32).to_le_bytes();
        out.0[12..16].copy_from_slice(&length);
        let sum = xxh3_64(&out.0);
        out.u64(sum);
        (out.0, sum)
    }

    /// Reads what is behind the prefix; the checksum was compared.
    fn decode(bytes: &[u8]) -> Result<Self, (usize, &'static str)> {
        let mut r = Reader::new(bytes);
        Self::read(&mut r).map_err(|what| (r.at(), what))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, &'static str> {
        let short = |_: Short| "the header ends early";
        r.take(PREFIX).map_err(short)?;
        let (fingerprint, created) = (r.u64().map_err(short)?, r.u64().map_err(short)?);
        let created = SystemTime::UNIX_EPOCH + Duration::from_nanos(created);
        let workers = r.u32().map_err(short)?;
        if workers == 0 || workers > u32::from(u16::MAX) {
            return Err("a runtime has workers, and at most 65,535");
        }
        let whole = match r.take(4).map_err(short)? {
            [0, 0, 0, 0] => false,
            [1, 0, 0, 0] => true,
            _ => return Err("the scope of a snapshot is 0 or 1"),
        };
        let module = r.text().map_err(short)?.to_owned();
        let mut kinds = Vec::new();
        for _ in 0..r.u32().map_err(short)? {
            kinds.push(read_kind(r)?);
        }
        let mut entries: Vec<SavedEntry> = Vec::new();
        for _ in 0..r.u32().map_err(short)? {
            let name = r.text().map_err(short)?.to_owned();
            let kind = r.u32().map_err(short)? as usize;
            if kind >= kinds.len() {
                return Err("an entry is of a kind that the header does not have");
            }
            let scope = match r.u8().map_err(short)? {
                0 => EntryScope::Actor,
                1 => EntryScope::Group,
                2 => EntryScope::Kind,
                _ => return Err("an entry is of an actor, a group or a kind"),
            };
            let (slot, actors) = (r.u32().map_err(short)?, r.u32().map_err(short)?.into());
            if scope == EntryScope::Actor && actors != 1 {
                return Err("an entry of one actor has one");
            }
            entries.push(SavedEntry { name, kind, scope, slot, actors });
        }
        if r.take(1).is_ok() {
            return Err("the header goes on behind its last entry");
        }
        let mut names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two entries have one name");
        }
        Ok(Self { fingerprint, created, workers, whole, module, kinds, entries })
    }
}

fn read_kind(r: &mut Reader<'_>) -> Result<SavedKind, &'static str> {
    let short = |_: Short| "the table of kinds ends early";
    let id = r.text().map_err(short)?.to_owned();
    let (version, bytes, align) = (r.u32().map_err(short)?, r.u32().map_err(short)?, r.u32().map_err(short)?);
    if !align.is_power_of_two() {
        return Err("an alignment is a power of two");
    }
    let fingerprint = r.u64().map_err(short)?;
    let mut fields = Vec::new();
    for _ in 0..r.u32().map_err(short)? {
        let (name, ty) = (r.text().map_err(short)?.to_owned(), r.text().map_err(short)?.to_owned());
        let (offset, size) = (r.u32().map_err(short)?, r.u32().map_err(short)?);
        if offset.checked_add(size).is_none_or(|end| end > bytes) {
            return Err("a field lies outside of its kernel");
        }
        let print = r.u64().map_err(short)?;
        let scalar = scalar(r.u8().map_err(short)?).ok_or("the scalar of a field is 0 to 11")?;
        let depth = r.u8().map_err(short)?;
        fields.push(SavedField { name, ty, offset, bytes: size, fingerprint: print, scalar, depth });
    }
    Ok(SavedKind { id, version, bytes, align, fingerprint, fields })
}

fn scalar(number: u8) -> Option<Scalar> {
    let all = [
        Scalar::Other,
        Scalar::Bool,
        Scalar::U8,
        Scalar::U16,
        Scalar::U32,
        Scalar::U64,
        Scalar::I8,
        Scalar::I16,
        Scalar::I32,
        Scalar::I64,
        Scalar::F32,
        Scalar::F64,
    ];
    all.get(usize::from(number)).copied().filter(|scalar| *scalar as u8 == number)
}

/// The head of a chunk and its runs; the checksum is still to be filled in.
fn chunk_head(entry: u32, worker: u32, spawned: bool, runs: &[Run], bytes: u32) -> Vec<u8> {
    let mut out = Bytes(Vec::with_capacity(CHUNK_BYTES + runs.len() * RUN_BYTES));
    out.0.extend(CHUNK);
    let actors = runs.iter().map(|run| run.count).sum();
    out.u32(entry).u16(worker as u16).u16(spawned.into()).u32(runs.len() as u32).u32(actors).u32(bytes).u64(0);
    for run in runs {
        out.u32(run.slot).u32(run.count).u16(run.generation).u16(run.mailbox);
    }
    out.0
}

fn chunk_sum<'a>(head: &[u8], states: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(&head[..CHUNK_BYTES - 8]);
    sum.update(&head[CHUNK_BYTES..]);
    states.into_iter().for_each(|states| sum.update(states));
    sum.digest()
}

/// What stands before the states of a chunk; and its checksum.
pub(super) fn encode_chunk(entry: u32, worker: u32, spawned: bool, runs: &[Run], states: &[&[u8]]) -> (Vec<u8>, u64) {
    let bytes: usize = states.iter().map(|states| states.len()).sum();
    let mut head = chunk_head(entry, worker, spawned, runs, bytes as u32);
    let sum = chunk_sum(&head, states.iter().copied());
    head[CHUNK_BYTES - 8..CHUNK_BYTES].copy_from_slice(&sum.to_le_bytes());
    (head, sum)
}

/// What a snapshot holds, as its footer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) chunks: u64,
    pub(super) actors: u64,
    pub(super) state_bytes: u64,
    pub(super) file_bytes: u64,
}

impl Totals {
    /// The footer of a file that is so long without it.
    pub(super) fn footer(&mut self, before: u64, sums: &Xxh3) -> Vec<u8> {
        self.file_bytes = before + FOOTER_BYTES as u64;
        let mut out = Bytes::default();
        out.0.extend(DONE);
        out.u64(self.chunks).u64(self.actors).u64(self.state_bytes).u64(self.file_bytes).u64(sums.digest());
        let sum = xxh3_64(&out.0);
        out.u64(sum);
        out.0
    }
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

/// Reads a file from the beginning to the end and compares everything.
struct Scan<'a> {
    path: &'a Path,
    file: BufReader<File>,
    at: u64,
    length: u64,
}

impl Scan<'_> {
    fn damaged(&self, what: &'static str) -> OpenError {
        OpenError::Damaged { path: self.path.to_owned(), offset: self.at, what }
    }

    /// Fills `bytes`, which are no more than there should be.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), OpenError> {
        match self.file.read_exact(bytes) {
            Ok(()) => {
                self.at += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.damaged("the file ends early")),
            Err(error) => Err(OpenError::Io { path: self.path.to_owned(), error }),
        }
    }

    /// The next so many bytes, if the file has so many.
    fn next(&mut self, count: u64) -> Result<Vec<u8>, OpenError> {
        if count > self.length.saturating_sub(self.at) {
            return Err(self.damaged("the file ends early"));
        }
        let mut bytes = vec![0; count as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn header(&mut self) -> Result<(Header, u64), OpenError> {
        if self.length < PREFIX as u64 {
            return Err(OpenError::NotASnapshot { path: self.path.to_owned() });
        }
        let mut bytes = self.next(PREFIX as u64)?;
        if &bytes[..8] != MAGIC {
            return Err(OpenError::NotASnapshot { path: self.path.to_owned() });
        }
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (found, length) = (number(8), u64::from(number(12)));
        if found != FORMAT {
            return Err(OpenError::Format { path: self.path.to_owned(), found, known: FORMAT });
        }
        if !(PREFIX as u64..=MAX_HEADER).contains(&length) {
            return Err(self.damaged("a header has 16 to 16,777,216 bytes"));
        }
        bytes.extend(self.next(length - PREFIX as u64)?);
        let mut sum = [0; 8];
        self.fill(&mut sum)?;
        let sum = u64::from_le_bytes(sum);
        if xxh3_64(&bytes) != sum {
            self.at -= 8;
            return Err(self.damaged("the checksum of the header is another"));
        }
        let header = Header::decode(&bytes).map_err(|(offset, what)| OpenError::Damaged {
            path: self.path.to_owned(),
            offset: offset as u64,
            what,
        })?;
        Ok((header, sum))
    }

    /// A chunk, behind its first four bytes.
    fn chunk(&mut self, header: &Header, buffer: &mut Vec<u8>) -> Result<Chunk, OpenError> {
        let offset = self.at - 4;
        let mut head = [0; CHUNK_BYTES];
        head[..4].copy_from_slice(CHUNK);
        self.fill(&mut head[4..])?;
        let mut r = Reader::new(&head[4..]);
        let mut number = || r.u32().unwrap_or_default();
        let [entry, worker, count, actors, bytes] = std::array::from_fn(|_| number());
        let sum = r.u64().unwrap_or_default();
        let Some(kind) = header.entries.get(entry as usize).map(|entry| &header.kinds[entry.kind]) else {
            return Err(self.damaged("a chunk is of an entry that the header does not have"));
        };
        let (worker, spawned) = (worker & 0xffff, worker >> 16);
        if spawned > 1 {
            return Err(self.damaged("actors were spawned, or were not"));
        }
        if worker >= header.workers {
            return Err(self.damaged("a chunk is of a worker that there was not"));
        }
        let whole = u64::from(actors) * u64::from(kind.bytes) == u64::from(bytes) && bytes <= AREA_BYTES;
        if count == 0 || count > actors || actors > MAX_ACTORS || !whole {
            return Err(self.damaged("a chunk holds runs of actors, and a state of each"));
        }
        let mut hash = Xxh3::new();
        hash.update(&head[..24]);
        let encoded = self.next(u64::from(count) * RUN_BYTES as u64)?;
        hash.update(&encoded);
        let mut r = Reader::new(&encoded);
        let mut runs = Vec::with_capacity(count as usize);
        while let (Ok(slot), Ok(count), Ok(generation), Ok(mailbox)) = (r.u32(), r.u32(), r.u16(), r.u16()) {
            runs.push(Run { slot, count, generation, mailbox });
        }
        let mut left = u64::from(bytes);
        while left > 0 {
            let some = left.min(buffer.capacity() as u64);
            buffer.resize(some as usize, 0);
            self.fill(buffer)?;
            hash.update(buffer);
            left -= some;
        }
        if hash.digest() != sum {
            self.at = offset;
            return Err(self.damaged("the checksum of this chunk is another"));
        }
        let total: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
        let odd =
            |run: &Run| run.count == 0 || run.slot.checked_add(run.count).is_none() || run.generation == 0 || run.mailbox == 0;
        if total != u64::from(actors) || runs.iter().any(odd) {
            self.at = offset;
            return Err(self.damaged("the runs of a chunk have as many actors as it has"));
        }
        Ok(Chunk { offset, entry, worker, spawned: spawned == 1, actors, runs, sum })
    }

    fn footer(&mut self, counted: Totals, sums: &Xxh3) -> Result<Totals, OpenError> {
        let at = self.at - 4;
        let mut expected = counted;
        let expected_bytes = expected.footer(at, sums);
        let mut found = vec![0; FOOTER_BYTES];
        found[..4].copy_from_slice(&DONE[..4]);
        self.fill(&mut found[4..])?;
        if found != expected_bytes {
            self.at = at;
            return Err(self.damaged("the footer does not say what the file holds"));
        }
        if self.length != self.at {
            return Err(self.damaged("the file goes on behind its footer"));
        }
        Ok(expected)
    }
}

impl Snapshot {
    /// Opens a file and reads it from the beginning to the end: blocks, for as long as that takes.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let io = |error| OpenError::Io { path: path.to_owned(), error };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let reader = BufReader::with_capacity(1 << 16, file);
        let mut scan = Scan { path, file: reader, at: 0, length };
        let (mut header, sum) = scan.header()?;
        let mut sums = Xxh3::new();
        sums.update(&sum.to_le_bytes());
        let (mut chunks, mut totals) = (Vec::new(), Totals::default());
        let mut counts = vec![0; header.entries.len()];
        let mut buffer = Vec::with_capacity(1 << 17);
        loop {
            let mut tag = [0; 4];
            scan.fill(&mut tag)?;
            if &tag == CHUNK {
                let chunk = scan.chunk(&header, &mut buffer)?;
                sums.update(&chunk.sum.to_le_bytes());
                let entry = &header.entries[chunk.entry as usize];
                totals.chunks += 1;
                totals.actors += u64::from(chunk.actors);
                totals.state_bytes += u64::from(chunk.actors) * u64::from(header.kinds[entry.kind].bytes);
                counts[chunk.entry as usize] += u64::from(chunk.actors);
                chunks.push(chunk);
            } else if tag == DONE[..4] {
                totals = scan.footer(totals, &sums)?;
                break;
            } else {
                scan.at -= 4;
                return Err(scan.damaged("there is a chunk or the footer"));
            }
        }
        check_rows(&header, &chunks, &counts).map_err(|what| scan.damaged(what))?;
        header.entries.iter_mut().zip(counts).for_each(|(entry, count)| entry.actors = count);
        let file = Arc::new(Mutex::new(scan.file.into_inner()));
        Ok(Self { path: path.to_owned(), file, header: Arc::new(header), chunks: chunks.into(), totals })
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
        let mut file = self.file.lock().unwrap_or_else(|e| e.into_inner());
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(bytes));
        read.map_err(|error| OpenError::Io { path: self.path.clone(), error })
    }

    /// The states of a chunk into `states`, compared once more with its checksum.
    pub(super) fn states(&self, chunk: &Chunk, states: &mut Vec<u8>) -> Result<(), OpenError> {
        let bytes = chunk.actors * self.header.kinds[self.header.entries[chunk.entry as usize].kind].bytes;
        states.resize(bytes as usize, 0);
        self.read(chunk.states_at(), states)?;
        if chunk_sum(&chunk_head(chunk.entry, chunk.worker, chunk.spawned, &chunk.runs, bytes), [&**states]) != chunk.sum {
            let what = "the checksum of this chunk is another than when the file was opened";
            return Err(OpenError::Damaged { path: self.path.clone(), offset: chunk.offset, what });
        }
        Ok(())
    }
}

impl Chunk {
    fn states_at(&self) -> u64 {
        self.offset + (CHUNK_BYTES + self.runs.len() * RUN_BYTES) as u64
    }
}

/// No actor is there twice, and of an actor or a group everything is there.
fn check_rows(header: &Header, chunks: &[Chunk], counts: &[u64]) -> Result<(), &'static str> {
    let mut rows: Vec<(u32, u32, u32, u32)> = Vec::new();
    for chunk in chunks {
        let entry = &header.entries[chunk.entry as usize];
        for run in &chunk.runs {
            if entry.scope == EntryScope::Group {
                let last = u64::from(run.slot) + u64::from(run.count) - 1;
                let index =
                    last.checked_sub(entry.slot.into()).map(|row| row * u64::from(header.workers) + u64::from(chunk.worker));
                if run.slot < entry.slot || index.is_none_or(|index| index >= entry.actors) {
                    return Err("an actor lies outside of its group");
                }
            }
            // Those of kinds share the runtime; the others are each for itself.
            let of = if entry.scope == EntryScope::Kind { u32::MAX } else { chunk.entry };
            rows.push((of, chunk.worker, run.slot, run.count));
        }
    }
    rows.sort_unstable();
    let apart = |a: &(u32, u32, u32, u32), b: &(u32, u32, u32, u32)| (a.0, a.1) != (b.0, b.1) || a.2 + a.3 <= b.2;
    if !rows.windows(2).all(|pair| apart(&pair[0], &pair[1])) {
        return Err("an actor is there twice");
    }
    let all = |(entry, count): (&SavedEntry, &u64)| entry.scope == EntryScope::Kind || entry.actors == *count;
    if !header.entries.iter().zip(counts).all(all) {
        return Err("an entry has not all its actors");
    }
    Ok(())
}
