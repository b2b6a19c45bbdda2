//! A snapshot's file, read from the beginning to the end: whether it is whole. Whatever the bytes are, reading them panics nowhere, and
//! takes no more memory than a small multiple of the file.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::bytes::Reader;
use super::error::OpenError;
use super::format::{
    CHUNK, CHUNK_BYTES, Chunk, DONE, EntryScope, FOOTER_BYTES, FORMAT, Header, MAGIC, MAX_ACTORS, MAX_HEADER, MAX_STATES, PREFIX,
    RUN_BYTES, Run, SavedEntry, Totals,
};

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
        let mut r = Reader::new(&bytes[MAGIC.len()..]);
        let (found, length) = (r.u32().unwrap_or_default(), u64::from(r.u32().unwrap_or_default()));
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
        let whole = u64::from(actors) * u64::from(kind.bytes) == u64::from(bytes) && bytes <= MAX_STATES;
        if count == 0 || count > actors || actors > MAX_ACTORS || !whole {
            return Err(self.damaged("a chunk holds runs of actors, and a state of each"));
        }
        let mut hash = Xxh3::new();
        hash.update(&head[..CHUNK_BYTES - 8]);
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

/// A file that is whole.
pub(super) struct Scanned {
    pub(super) file: File,
    pub(super) header: Header,
    pub(super) chunks: Vec<Chunk>,
    pub(super) totals: Totals,
}

/// Reads all of a file.
pub(super) fn scan(path: &Path) -> Result<Scanned, OpenError> {
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
    // What is read at once is still in the cache when its checksum is made.
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
    Ok(Scanned { file: scan.file.into_inner(), header, chunks, totals })
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
