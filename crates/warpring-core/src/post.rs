//! What a worker of a grid posts for the host to see: that it lives, how it left, and where it fell. Only stores by the worker, only
//! loads by the host.

use crate::message::{Malformed, RingMessage};
use crate::ring::Line;
use crate::scoped::{Data, Word32};

/// Bytes of a file name that are kept of a panic's location, from its end.
pub const FILE_BYTES: usize = 96;
/// Bytes that are kept of what a panic said.
pub const TEXT_BYTES: usize = 96;
/// Lanes that have a record of their own.
pub const FALLEN_LANES: usize = 32;

/// One worker's post.
#[repr(C, align(128))]
pub struct Post {
    /// How the worker left its last launch: an [`Exit`], published with the number of the launch.
    pub exit: Line,
    /// The worker's clock, now and then.
    pub clock: Data<u64>,
    /// Since when it has nothing to do, on its clock; 0 while it has.
    pub idle_since: Data<u64>,
    /// How often its lanes have fallen.
    pub fallen: Word32,
    /// Where each lane fell, the last time.
    pub lanes: [Fallen; FALLEN_LANES],
}

/// Where a lane panicked.
#[repr(C, align(64))]
pub struct Fallen {
    /// 1 once the record is written.
    pub written: Word32,
    /// Whose handler ran: the slot, and the generation above it; `u64::MAX` if none did.
    pub actor: Data<u64>,
    /// Line of the source.
    pub line: Data<u32>,
    /// Bytes of the file's name.
    pub file_bytes: Data<u32>,
    /// Bytes of what it said; 0 if that is no plain text.
    pub text_bytes: Data<u32>,
    /// The end of the file's name.
    pub file: [Data<u64>; FILE_BYTES / 8],
    /// The beginning of what it said.
    pub text: [Data<u64>; TEXT_BYTES / 8],
}

/// Why a worker left its loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Left {
    /// It has stopped, and its actors with it.
    Stopped = 1,
    /// It was told to.
    Told = 2,
    /// It had run for as long as a launch may.
    Resident = 3,
    /// It had handled as many messages as a launch may.
    Counted = 4,
}

/// How a worker left, and what it still has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Why.
    pub why: Left,
    /// Nothing is to be done before `next_wake`, unless a message comes.
    pub quiet: bool,
    /// When the first suspended handler wants to go on or the first timer is due, on the worker's clock.
    pub next_wake: u64,
    /// Requests that it has pushed to other workers, since the start.
    pub sent: u64,
    /// Requests that it has taken from other workers, since the start.
    pub received: u64,
}

impl RingMessage for Exit {
    const SIZE: usize = 32;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 3;
    fn encode(&self, out: &mut [u8]) {
        let why = self.why as u64 | u64::from(self.quiet) << 8;
        [why, self.next_wake, self.sent, self.received].encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let [what, next_wake, sent, received] = <[u64; 4]>::decode(bytes)?;
        let why = match what & 0xff {
            1 => Left::Stopped,
            2 => Left::Told,
            3 => Left::Resident,
            4 => Left::Counted,
            _ => return Err(Malformed),
        };
        Ok(Self { why, quiet: what >> 8 & 1 == 1, next_wake, sent, received })
    }
}

impl Fallen {
    /// Writes the record of a lane that panics.
    ///
    /// # Safety
    /// The record is this lane's alone.
    pub unsafe fn write<S: crate::scoped::Scope>(&self, actor: Option<(u32, u16)>, file: &str, line: u32, text: &str) {
        // SAFETY: contract.
        unsafe {
            let file = &file.as_bytes()[file.len().saturating_sub(FILE_BYTES)..];
            let text = &text.as_bytes()[..text.len().min(TEXT_BYTES)];
            self.actor.set(actor.map_or(u64::MAX, |(slot, generation)| u64::from(slot) | u64::from(generation) << 32));
            self.line.set(line);
            self.file_bytes.set(file.len() as u32);
            self.text_bytes.set(text.len() as u32);
            write_words(&self.file, file);
            write_words(&self.text, text);
            // SYNC: fallen (release): the record before the flag.
            self.written.release::<S>(1);
        }
    }

    /// Reads and clears the record, if there is one; `f` gets the actor's slot and generation, file, line and text.
    ///
    /// # Safety
    /// The lane has ended, and the host alone reads.
    pub unsafe fn take<S: crate::scoped::Scope, R>(
        &self,
        f: impl FnOnce(Option<(u32, u16)>, &[u8], u32, &[u8]) -> R,
    ) -> Option<R> {
        // SYNC: fallen (acquire).
        if self.written.acquire::<S>() == 0 {
            return None;
        }
        let (mut file, mut text) = ([0; FILE_BYTES], [0; TEXT_BYTES]);
        // SAFETY: the flag was seen, and nobody writes any more (contract).
        let result = unsafe {
            read_words(&self.file, &mut file);
            read_words(&self.text, &mut text);
            let file = &file[..(self.file_bytes.get() as usize).min(FILE_BYTES)];
            let text = &text[..(self.text_bytes.get() as usize).min(TEXT_BYTES)];
            let actor = self.actor.get();
            let actor = (actor != u64::MAX).then_some((actor as u32, (actor >> 32) as u16));
            f(actor, file, self.line.get(), text)
        };
        self.written.set_relaxed::<S>(0);
        Some(result)
    }
}

/// # Safety
/// The words are the caller's alone.
unsafe fn write_words(words: &[Data<u64>], bytes: &[u8]) {
    for (word, part) in words.iter().zip(bytes.chunks(8)) {
        let mut value = 0u64;
        for (i, byte) in part.iter().enumerate() {
            value |= u64::from(*byte) << (8 * i);
        }
        // SAFETY: contract.
        unsafe { word.set(value) }
    }
}

/// # Safety
/// Nobody writes the words.
unsafe fn read_words(words: &[Data<u64>], bytes: &mut [u8]) {
    for (word, part) in words.iter().zip(bytes.chunks_mut(8)) {
        // SAFETY: contract.
        let value = unsafe { word.get() };
        part.copy_from_slice(&value.to_le_bytes()[..part.len()]);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::borrow::ToOwned;

    use super::*;
    use crate::scoped::System;

    #[test]
    fn an_exit_survives_its_way_to_the_host() {
        let exit = Exit { why: Left::Resident, quiet: true, next_wake: 7, sent: 8, received: u64::MAX };
        let mut bytes = [0; Exit::SIZE];
        exit.encode(&mut bytes);
        assert_eq!(Exit::decode(&bytes), Ok(exit));
        bytes[0] = 9;
        assert_eq!(Exit::decode(&bytes), Err(Malformed));
    }

    #[test]
    fn a_record_keeps_the_end_of_the_file_and_the_beginning_of_the_text() {
        let fallen = Fallen {
            written: Word32::new(0),
            actor: Data::new(0),
            line: Data::new(0),
            file_bytes: Data::new(0),
            text_bytes: Data::new(0),
            file: [const { Data::new(0) }; FILE_BYTES / 8],
            text: [const { Data::new(0) }; TEXT_BYTES / 8],
        };
        let long = "a".repeat(200) + "/src/account.rs";
        // SAFETY: nobody else has the record.
        unsafe {
            assert_eq!(fallen.take::<System, _>(|_, _, _, _| ()), None);
            fallen.write::<System>(Some((7, 9)), &long, 42, &("too much: ".to_owned() + &"b".repeat(200)));
            let (actor, file, line, text) =
                fallen.take::<System, _>(|a, f, l, t| (a, f.to_vec(), l, t.to_vec())).expect("a record");
            assert_eq!((actor, file.len(), line, text.len()), (Some((7, 9)), FILE_BYTES, 42, TEXT_BYTES));
            assert!(file.ends_with(b"a/src/account.rs") && text.starts_with(b"too much: b"));
            assert_eq!(fallen.take::<System, _>(|_, _, _, _| ()), None);
        }
    }
}
