//! The format of a snapshot's file. All numbers are of fixed width, the lowest byte first; a text is its length in two bytes and UTF-8;
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
//! chunks       any number, each of actors of one entry on one worker, with at most 4,194,304 bytes of states:
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

use std::time::{Duration, SystemTime};

use warpring_core::Scalar;
use warpring_core::worker::ROW_BYTES;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::bytes::{Bytes, Reader, Short};
use super::layout::{SavedField, SavedKind};
use crate::staging::AREA_BYTES;

pub(super) const MAGIC: &[u8; 8] = b"WARPSNAP";
pub(super) const CHUNK: &[u8; 4] = b"CHNK";
pub(super) const DONE: &[u8; 8] = b"SNAPDONE";
/// The version of the format that is written, and the only one that is read.
pub(super) const FORMAT: u32 = 2;
/// Bytes of the longest header.
pub(super) const MAX_HEADER: u64 = 1 << 24;
pub(super) const PREFIX: usize = 16;
pub(super) const CHUNK_BYTES: usize = 32;
pub(super) const RUN_BYTES: usize = 12;
pub(super) const FOOTER_BYTES: usize = 56;
/// Most bytes of the states of a chunk.
pub(super) const MAX_STATES: u32 = 1 << 22;
/// Most actors of a chunk.
pub(super) const MAX_ACTORS: u32 = MAX_STATES / ROW_BYTES;
const _: () = assert!(AREA_BYTES <= MAX_STATES, "what is copied at once is a chunk");

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
    /// The number of its kind in [`Snapshot::kinds`](super::Snapshot::kinds).
    pub kind: usize,
    /// Of what it is.
    pub scope: EntryScope,
    /// The first slot of the actor or group.
    pub slot: u32,
    /// How many actors it has.
    pub actors: u64,
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
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, (usize, &'static str)> {
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

impl Chunk {
    /// Where its states are.
    pub(super) fn states_at(&self) -> u64 {
        self.offset + (CHUNK_BYTES + self.runs.len() * RUN_BYTES) as u64
    }

    /// Its checksum, if these are its states.
    pub(super) fn sum_of(&self, states: &[u8]) -> u64 {
        chunk_sum(&chunk_head(self.entry, self.worker, self.spawned, &self.runs, states.len() as u32), [states])
    }
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
