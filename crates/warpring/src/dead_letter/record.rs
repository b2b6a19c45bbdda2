//! The form of a dead-letter log: what stands first in each file, then records, each with its length and checksum.
//!
//! ```text
//! file:   "warpring dead letters 1\n" record*
//! record: "WRDL" | bytes of the body u32 | checksum of the body u64 | kind u8, fields
//! ```
//! Numbers are little-endian, texts are their length (u16) and UTF-8. A record that is torn or damaged is stepped over: the next
//! one begins where the next mark is that a whole record follows.

use warpring_core::layout;
use warpring_core::module::{MessageTable, ModuleTable};
use warpring_core::{ActorId, KernelError};

/// What stands first in each file.
pub(super) const MAGIC: &[u8; 24] = b"warpring dead letters 1\n";
const MARK: &[u8; 4] = b"WRDL";
/// Bytes in front of a body.
const HEAD: usize = 16;
/// Most bytes of a body: a module of many thousand handlers.
const MOST: usize = 1 << 20;

/// Run and sequence of a letter.
pub(super) type LetterId = (u64, u64);

/// A record of a log, or of a request to send letters again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A runtime has begun to write.
    Run(Run),
    /// A dead letter.
    Letter(Stored),
    /// A letter was sent again.
    Resent(LetterId),
    /// So many letters of the run, all together, found no room on their way to the log.
    Missed { run: u64, count: u64 },
    /// Somebody wants a letter to be sent again, to its own target or to another.
    Wanted { id: LetterId, to: Option<ActorId> },
}

/// A runtime, and the module that its letters belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) run: u64,
    pub(super) module: String,
    pub(super) fingerprint: u64,
    pub(super) handlers: Vec<Handler>,
}

/// A handler of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handler {
    pub(super) kernel: String,
    pub(super) name: String,
    pub(super) tag: u16,
    pub(super) message: MessageTable,
}

/// A letter, without what its run knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) id: LetterId,
    /// Nanoseconds since 1970.
    pub(super) time: u64,
    pub(super) to: ActorId,
    pub(super) from: Option<ActorId>,
    pub(super) tag: u16,
    pub(super) reason: KernelError,
    pub(super) high: bool,
    pub(super) payload: Option<Vec<u8>>,
}

impl Run {
    pub(super) fn of(run: u64, module: &ModuleTable) -> Self {
        let handlers = module.kinds.iter().flat_map(|kind| {
            kind.handlers.iter().zip(kind.messages).map(|(&(name, _, tag), &message)| Handler {
                kernel: kind.metadata.id.into(),
                name: name.into(),
                tag,
                message,
            })
        });
        Self { run, module: module.name.into(), fingerprint: module.fingerprint, handlers: handlers.collect() }
    }
}

/// Puts a record at the end of `out`.
pub(super) fn append(out: &mut Vec<u8>, record: &Record) {
    let start = out.len();
    out.extend_from_slice(MARK);
    out.extend_from_slice(&[0; HEAD - MARK.len()]);
    match record {
        Record::Run(run) => {
            out.push(1);
            put(out, run.run);
            put_text(out, &run.module);
            put(out, run.fingerprint);
            out.extend_from_slice(&(run.handlers.len() as u32).to_le_bytes());
            for Handler { kernel, name, tag, message } in &run.handlers {
                put_text(out, kernel);
                put_text(out, name);
                out.extend_from_slice(&tag.to_le_bytes());
                put(out, message.fingerprint);
                out.extend_from_slice(&message.bytes.to_le_bytes());
            }
        }
        Record::Letter(letter) => {
            out.push(2);
            put_id(out, letter.id);
            put(out, letter.time);
            put_actor(out, Some(letter.to));
            put_actor(out, letter.from);
            out.extend_from_slice(&letter.tag.to_le_bytes());
            let (code, detail) = letter.reason.to_parts();
            out.extend_from_slice(&code.to_le_bytes());
            out.extend_from_slice(&detail.to_le_bytes());
            out.push(u8::from(letter.high));
            out.push(u8::from(letter.payload.is_some()));
            out.extend_from_slice(letter.payload.as_deref().unwrap_or_default());
        }
        Record::Resent(id) => {
            out.push(3);
            put_id(out, *id);
        }
        Record::Missed { run, count } => {
            out.push(4);
            put_id(out, (*run, *count));
        }
        Record::Wanted { id, to } => {
            out.push(5);
            put_id(out, *id);
            put_actor(out, *to);
        }
    }
    let body = &out[start + HEAD..];
    let (bytes, checksum) = (body.len() as u32, layout::mix_bytes(layout::EMPTY, body));
    out[start + 4..start + 8].copy_from_slice(&bytes.to_le_bytes());
    out[start + 8..start + HEAD].copy_from_slice(&checksum.to_le_bytes());
}

fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_id(out: &mut Vec<u8>, (run, number): (u64, u64)) {
    put(out, run);
    put(out, number);
}

/// Generation 0 is no actor's, and stands for none.
fn put_actor(out: &mut Vec<u8>, actor: Option<ActorId>) {
    out.push(u8::from(actor.is_some()));
    put(out, actor.unwrap_or_default().to_bits());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(u16::MAX.into());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u16).to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

/// The whole records of a file, in order.
pub(super) struct Records<'a> {
    rest: &'a [u8],
    /// Bytes that belong to no whole record, so far.
    pub(super) damaged: u64,
}

/// The records behind what stands first in a file; `None` where something else does.
pub(super) fn records(file: &[u8]) -> Option<Records<'_>> {
    match file.strip_prefix(MAGIC) {
        Some(rest) => Some(Records { rest, damaged: 0 }),
        // Torn before its first record.
        None if MAGIC.starts_with(file) => Some(Records { rest: &[], damaged: file.len() as u64 }),
        None => None,
    }
}

impl Iterator for Records<'_> {
    type Item = Record;
    fn next(&mut self) -> Option<Record> {
        while !self.rest.is_empty() {
            if let Some((record, bytes)) = whole(self.rest) {
                self.rest = &self.rest[bytes..];
                return Some(record);
            }
            let next = self.rest[1..].windows(MARK.len()).position(|window| window == MARK);
            let skip = next.map_or(self.rest.len(), |at| at + 1);
            self.damaged += skip as u64;
            self.rest = &self.rest[skip..];
        }
        None
    }
}

/// The record that the bytes begin with, and its length.
fn whole(bytes: &[u8]) -> Option<(Record, usize)> {
    let mut head = Reader(bytes.strip_prefix(MARK)?);
    let length = head.u32()? as usize;
    let checksum = head.u64()?;
    if length > MOST {
        return None;
    }
    let body = head.take(length)?;
    if layout::mix_bytes(layout::EMPTY, body) != checksum {
        return None;
    }
    Some((decode(body)?, HEAD + length))
}

fn decode(body: &[u8]) -> Option<Record> {
    let mut body = Reader(body);
    let record = match body.u8()? {
        1 => {
            let (run, module, fingerprint) = (body.u64()?, body.text()?, body.u64()?);
            let count = body.u32()?;
            // Not reserved: the number may be anything.
            let mut handlers = Vec::new();
            for _ in 0..count {
                let (kernel, name, tag) = (body.text()?, body.text()?, body.u16()?);
                let message = MessageTable { fingerprint: body.u64()?, bytes: body.u32()? };
                handlers.push(Handler { kernel, name, tag, message });
            }
            Record::Run(Run { run, module, fingerprint, handlers })
        }
        2 => {
            let (id, time) = (body.id()?, body.u64()?);
            let (to, from) = (body.actor()??, body.actor()?);
            let tag = body.u16()?;
            let reason = KernelError::from_parts(body.u16()?, body.u32()?);
            let high = body.flag()?;
            let payload = body.flag()?.then(|| std::mem::take(&mut body.0).to_vec());
            Record::Letter(Stored { id, time, to, from, tag, reason, high, payload })
        }
        3 => Record::Resent(body.id()?),
        4 => {
            let (run, count) = body.id()?;
            Record::Missed { run, count }
        }
        5 => Record::Wanted { id: body.id()?, to: body.actor()? },
        _ => return None,
    };
    body.0.is_empty().then_some(record)
}

/// Reads fields off the front of a body.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }
    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    fn id(&mut self) -> Option<(u64, u64)> {
        Some((self.u64()?, self.u64()?))
    }
    fn text(&mut self) -> Option<String> {
        let bytes = self.u16()?;
        String::from_utf8(self.take(bytes.into())?.to_vec()).ok()
    }
    /// `Some(None)` for nobody.
    fn actor(&mut self) -> Option<Option<ActorId>> {
        let there = self.flag()?;
        let id = self.u64()?;
        Some(there.then_some(ActorId::from_bits(id)))
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
