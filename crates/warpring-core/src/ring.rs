//! The ring: a bounded queue of 64-byte lines, each carrying its own sequence.
//!
//! Protocol (who may write what):
//!
//! | word | writer | reader | when |
//! |---|---|---|---|
//! | `Line::seq` at position p | producer, `p + 1`, last of the line | consumer | the line is free for p: p < credit + capacity |
//! | the rest of the line | producer, before `seq` | consumer, after `seq` | as above |
//! | the header at the consumer's position | consumer, of a message that it has to leave there | consumer | before the credit |
//! | `credit` | consumer: "I am done with all before this position" | producer, when its copy says full | any time, only growing |
//!
//! `SYNC: line` a release store of `seq` makes the line's content (and the further lines of the message, which are written
//! before it) visible to the acquire load that sees it. `SYNC: credit` a release store of `credit` tells the acquire load
//! that sees it that the consumer has read the lines and they may be overwritten.
//!
//! The sequence travels with the data, so a message costs one line transfer (Vyukov's bounded queue; NCCL's LL protocol).
//! Other than in Vyukov's queue the consumer does not write into the line, and its credit is published only once per quarter
//! of the ring: the producer keeps the line's ownership for as long as possible. Positions are u32 and wrap: a line's stale
//! sequence is at least `capacity` behind the expected one, and capacity is at most 2^31.

use core::marker::PhantomData;

use zerocopy::IntoBytes;

use crate::message::{
    FIRST_PAYLOAD, FIRST_WORDS, Header, MAX_WORDS, Malformed, NEXT_WORDS, Packed, Parcel, RingMessage, lines_for,
};
use crate::scoped::{Data, Scope, Word32};

/// One line of a ring.
#[repr(C, align(64))]
pub struct Line {
    seq: Word32,
    kind: Data<u32>,
    body: [Data<u64>; 7],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Line>() == 64);
#[cfg(not(loom))]
const _: () = assert!(align_of::<Line>() == 64);

impl Default for Line {
    fn default() -> Self {
        Self { seq: Word32::new(0), kind: Data::new(0), body: [(); 7].map(|()| Data::new(0)) }
    }
}

impl Line {
    /// # Safety
    /// Only the writer of this line may call it, and only while no reader may look at the content.
    #[inline(always)]
    unsafe fn write_header(&self, h: &Header) {
        let packed = h.pack();
        // SAFETY: exclusive by contract.
        unsafe {
            self.kind.set(packed.what as u32);
            self.body[0].set(packed.to);
            self.body[1].set(packed.reply);
            self.body[2].set(packed.from);
        }
    }

    /// # Safety
    /// The line must have been acquired (its sequence seen) and not yet given back.
    #[inline(always)]
    pub(crate) unsafe fn packed(&self) -> Packed {
        // SAFETY: no writer while the line is ours (contract).
        unsafe {
            Packed {
                what: u64::from(self.kind.get()),
                to: self.body[0].get(),
                reply: self.body[1].get(),
                from: self.body[2].get(),
            }
        }
    }

    /// Kind and flags alone: what a scan of a batch needs.
    ///
    /// # Safety
    /// As for [`packed`](Self::packed).
    #[inline(always)]
    unsafe fn kind_and_lines(&self) -> (u8, u8) {
        // SAFETY: no writer while the line is ours (contract).
        let k = unsafe { self.kind.get() };
        (k as u8, (k >> 8) as u8)
    }
}

/// Consecutive lines that hold one message: in a ring (where they may wrap) or in a mailbox node (where they do not).
#[derive(Clone, Copy)]
pub struct Lines {
    base: *const Line,
    /// Position of the first line, and the ring's mask in the high half: two words in all, which travel in registers.
    span: u64,
}

impl Lines {
    #[inline(always)]
    fn new(base: *const Line, at: u32, mask: u32) -> Self {
        Self { base, span: u64::from(at) | u64::from(mask) << 32 }
    }

    #[inline(always)]
    fn at(&self) -> u32 {
        self.span as u32
    }

    /// # Safety
    /// `base` points to as many lines as the message has.
    #[inline(always)]
    pub(crate) unsafe fn flat(base: *const Line) -> Self {
        Self::new(base, 0, u32::MAX)
    }

    #[inline(always)]
    fn line(&self, i: u32) -> *const Line {
        // In bounds: `at` is a valid position and the mask keeps it in the ring; a flat run has `i` lines by contract.
        self.base.wrapping_add((self.at().wrapping_add(i) & (self.span >> 32) as u32) as usize)
    }

    /// # Safety
    /// The lines are acquired, or owned, and not yet given back.
    #[inline(always)]
    pub unsafe fn header(&self) -> Header {
        // SAFETY: contract.
        unsafe { (*self.line(0)).packed().unpack() }
    }

    /// The header as it lies there.
    ///
    /// # Safety
    /// As for [`header`](Self::header).
    #[inline(always)]
    pub(crate) unsafe fn packed(&self) -> Packed {
        // SAFETY: contract.
        unsafe { (*self.line(0)).packed() }
    }

    /// Rewrites the header of a message that is left where it is.
    ///
    /// # Safety
    /// The lines are acquired and not yet given back, and nobody else reads them.
    pub(crate) unsafe fn set_header(&self, header: &Header) {
        // SAFETY: contract: from the sequence to the credit the line is its consumer's.
        unsafe { (*self.line(0)).write_header(header) }
    }

    /// The four payload words of the first line.
    ///
    /// # Safety
    /// As for [`header`](Self::header).
    #[inline(always)]
    pub(crate) unsafe fn first(&self) -> [u64; FIRST_WORDS] {
        // SAFETY: contract.
        unsafe {
            let line = &*self.line(0);
            [line.body[3].get(), line.body[4].get(), line.body[5].get(), line.body[6].get()]
        }
    }

    /// Copies the payload behind the first line into `rest`, as much as it holds.
    ///
    /// # Safety
    /// As for [`header`](Self::header), and the message has as many lines as `rest` has runs of [`NEXT_WORDS`].
    #[inline(always)]
    pub(crate) unsafe fn rest(&self, rest: &mut [u64]) {
        for (l, words) in rest.chunks_exact_mut(NEXT_WORDS).enumerate() {
            // SAFETY: contract.
            unsafe {
                let line = &*self.line(l as u32 + 1);
                for (i, word) in words.iter_mut().enumerate() {
                    *word = line.body[i].get();
                }
            }
        }
    }

    /// Copies the payload of a message of several lines, word by word. On the GPU a call of its own: inlined, the words of a long
    /// message would each take two registers.
    ///
    /// # Safety
    /// As for [`rest`](Self::rest).
    #[cfg_attr(target_arch = "nvptx64", inline(never))]
    #[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
    unsafe fn load(&self, words: &mut [u64]) {
        let (first, rest) = words.split_at_mut(FIRST_WORDS);
        // SAFETY: contract.
        unsafe {
            first.copy_from_slice(&self.first());
            self.rest(rest);
        }
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// [`Malformed`] where the bytes are no value of the type, or the message has too few lines for it.
    ///
    /// # Safety
    /// As for [`header`](Self::header); `lines` is the message's own count.
    #[inline(always)]
    pub unsafe fn decode<M: RingMessage>(&self, lines: u8) -> Result<M, Malformed> {
        // SAFETY: contract.
        unsafe {
            if M::SIZE <= FIRST_PAYLOAD {
                let first = self.first();
                return M::decode(&first.as_bytes()[..M::SIZE]);
            }
            if usize::from(lines) != lines_for(M::SIZE) {
                return Err(Malformed);
            }
            let mut words = [0; MAX_WORDS];
            self.load(&mut words[..FIRST_WORDS + (lines_for(M::SIZE) - 1) * NEXT_WORDS]);
            M::decode(&words.as_bytes()[..M::SIZE])
        }
    }

    /// Copies the encoded payload, as much as `out` holds and the message has; how many bytes that were.
    ///
    /// # Safety
    /// As for [`header`](Self::header); `lines` is the message's own count.
    #[cfg(not(target_arch = "nvptx64"))]
    pub unsafe fn payload(&self, lines: u8, out: &mut [u8]) -> usize {
        let mut words = [0; MAX_WORDS];
        let lines = usize::from(lines).clamp(1, crate::message::MAX_LINES);
        let words = &mut words[..FIRST_WORDS + (lines - 1) * NEXT_WORDS];
        // SAFETY: contract.
        unsafe { self.load(words) }
        let bytes = words.as_bytes();
        let count = bytes.len().min(out.len());
        out[..count].copy_from_slice(&bytes[..count]);
        count
    }

    /// Writes a message here without publishing it; the sequences of the further lines are set.
    ///
    /// # Safety
    /// The lines are free for the caller alone, `header.lines` of them.
    #[inline(always)]
    unsafe fn fill<S: Scope>(&self, header: &Header, payload: Parcel<'_>) {
        // SAFETY: the caller owns the lines until it publishes the first.
        unsafe {
            let first = &*self.line(0);
            first.write_header(header);
            for i in 0..FIRST_WORDS {
                first.body[3 + i].set(payload.first[i]);
            }
            for (l, words) in (1..u32::from(header.lines)).zip(payload.rest.chunks_exact(NEXT_WORDS)) {
                let next = &*self.line(l);
                for (i, word) in words.iter().enumerate() {
                    next.body[i].set(*word);
                }
                // Relaxed: nobody reads the content through this word. It only has to differ from what a later lap expects here.
                next.seq.set_relaxed::<S>(self.at().wrapping_add(l).wrapping_add(1));
            }
        }
    }

    /// Writes a message into lines that the caller owns for good (a mailbox node).
    ///
    /// # Safety
    /// `self` is flat and its lines belong to the caller alone.
    #[inline(always)]
    pub(crate) unsafe fn store<S: Scope>(&self, header: &Header, payload: Parcel<'_>) {
        // SAFETY: contract.
        unsafe { self.fill::<S>(header, payload) }
    }

    /// Takes the payload out, to be sent on as it is.
    ///
    /// # Safety
    /// As for [`header`](Self::header); `lines` is the message's own count.
    pub(crate) unsafe fn with_parcel<R>(&self, lines: u8, f: impl FnOnce(Parcel<'_>) -> R) -> R {
        let mut rest = [0; MAX_WORDS - FIRST_WORDS];
        let rest = &mut rest[..(usize::from(lines.max(1)) - 1) * NEXT_WORDS];
        // SAFETY: contract.
        unsafe {
            self.rest(rest);
            f(Parcel { first: self.first(), rest })
        }
    }

    /// Copies a message from other lines into lines that the caller owns.
    ///
    /// # Safety
    /// `self` is flat, belongs to the caller, and has room; `from` is acquired.
    #[inline(always)]
    pub(crate) unsafe fn copy_from(&self, from: &Lines, lines: u8) {
        for l in 0..u32::from(lines) {
            // SAFETY: contract.
            unsafe {
                let (to, from) = (&*self.line(l), &*from.line(l));
                to.kind.set(from.kind.get());
                for i in 0..7 {
                    to.body[i].set(from.body[i].get());
                }
            }
        }
    }
}

/// The word of a free-standing line (a mailbox node) that links it to the next.
///
/// # Safety
/// The line belongs to the caller alone.
#[inline(always)]
pub(crate) unsafe fn link<'a, S: Scope>(line: *const Line) -> Link<'a, S> {
    // SAFETY: the caller's line is live.
    Link(unsafe { &(*line).seq }, PhantomData)
}

/// See [`link`].
pub(crate) struct Link<'a, S>(&'a Word32, PhantomData<S>);
impl<S: Scope> Link<'_, S> {
    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        self.0.relaxed::<S>()
    }
    #[inline(always)]
    pub(crate) fn set(&self, v: u32) {
        self.0.set_relaxed::<S>(v)
    }
}

/// The memory of one ring: where its lines are, and where the consumer publishes its credit.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct RingMemory {
    /// `mask + 1` lines, zeroed before the first use.
    pub lines: *const Line,
    /// Written by the consumer; alone on its cache line.
    pub credit: *const Word32,
    /// Capacity minus one; the capacity is a power of two, at least 16.
    pub mask: u32,
}

/// The producer's end. One thread (or team) at a time.
#[repr(C)]
pub struct Producer {
    ring: RingMemory,
    tail: u32,
    credit: u32,
}

impl Producer {
    /// # Safety
    /// `ring` is live for as long as the producer, zeroed, and has no other producer.
    pub unsafe fn new(ring: RingMemory) -> Self {
        Self { ring, tail: 0, credit: 0 }
    }

    /// Whether `lines` lines are free now.
    #[inline(always)]
    pub fn has_room<S: Scope>(&mut self, lines: u8) -> bool {
        let need = self.tail.wrapping_add(u32::from(lines));
        if need.wrapping_sub(self.credit) <= self.ring.mask + 1 {
            return true;
        }
        // SYNC: credit (acquire): the consumer has read what we are about to overwrite.
        // SAFETY: the ring's memory is live (`new`).
        self.credit = unsafe { (*self.ring.credit).acquire::<S>() };
        need.wrapping_sub(self.credit) <= self.ring.mask + 1
    }

    /// Puts a message in; false when there is no room for it.
    #[inline(always)]
    pub fn push<S: Scope>(&mut self, header: &Header, payload: Parcel<'_>) -> bool {
        if !self.has_room::<S>(header.lines) {
            return false;
        }
        let at = Lines::new(self.ring.lines, self.tail, self.ring.mask);
        // SAFETY: `has_room` says that these lines are free, and there is no other producer.
        unsafe {
            at.fill::<S>(header, payload);
            // SYNC: line (release): header, payload and further lines before the sequence.
            (*at.line(0)).seq.release::<S>(self.tail.wrapping_add(1));
        }
        self.tail = self.tail.wrapping_add(u32::from(header.lines));
        true
    }
}

/// The position after a message. A branch, not an addition of what the line says: where the next line lies must not depend on what
/// this one holds, or the lines of a stream come into the cache one after the other instead of together.
#[inline(always)]
fn past(at: u32, lines: u8) -> u32 {
    #[cold]
    #[inline(never)]
    fn long(at: u32, lines: u8) -> u32 {
        at.wrapping_add(u32::from(lines.max(1)))
    }
    if lines == 1 { at.wrapping_add(1) } else { long(at, lines) }
}

/// The consumer's end. One thread (or team) at a time.
#[repr(C)]
pub struct Consumer {
    ring: RingMemory,
    head: u32,
    published: u32,
    /// Lines before this position were scanned and hold no message of high priority.
    scanned: u32,
}

impl Consumer {
    /// # Safety
    /// `ring` is live for as long as the consumer, zeroed, and has no other consumer.
    pub unsafe fn new(ring: RingMemory) -> Self {
        Self { ring, head: 0, published: 0, scanned: 0 }
    }

    /// Tells the producer of room, now and then. Before a `peek`, not in `advance`: the message handed out last may be read until then.
    #[inline(always)]
    fn pay_credit<S: Scope>(&mut self) {
        if self.owes_credit() {
            self.published = self.head;
            // SYNC: credit (release): our reads of the lines before `head` come before this.
            // SAFETY: the ring's memory is live (`new`).
            unsafe { (*self.ring.credit).release::<S>(self.head) }
        }
    }

    /// The next message, if one is there. Its lines stay valid until the next call of `peek` after [`advance`](Self::advance).
    #[inline(always)]
    pub fn peek<S: Scope>(&mut self) -> Option<Lines> {
        self.pay_credit::<S>();
        let at = Lines::new(self.ring.lines, self.head, self.ring.mask);
        // SYNC: line (acquire): after it, the whole message is visible.
        // SAFETY: the ring's memory is live (`new`).
        let seq = unsafe { (*at.line(0)).seq.acquire::<S>() };
        (seq == self.head.wrapping_add(1)).then_some(at)
    }

    /// As [`peek`](Self::peek), where a glance has shown that the message is there, and an acquire fence came after it, by who
    /// glanced: nothing of the ring is read for it again.
    #[inline(always)]
    pub fn peek_seen<S: Scope>(&mut self) -> Lines {
        self.pay_credit::<S>();
        S::point();
        Lines::new(self.ring.lines, self.head, self.ring.mask)
    }

    /// Whether the next `peek` tells the producer of room. Who looks for messages by other means must call it once more then.
    #[inline(always)]
    pub fn owes_credit(&self) -> bool {
        self.head.wrapping_sub(self.published) > self.ring.mask >> 2
    }

    /// Whether a message is there. It may be read only after `peek` or `peek_seen` has given it.
    #[inline(always)]
    pub fn holds<S: Scope>(&self) -> bool {
        self.is_next(self.glance::<S>())
    }

    /// The sequence where the next message will be: what [`is_next`](Self::is_next) judges. On a GPU the load takes its time, and
    /// only who judges waits for it.
    #[inline(always)]
    pub fn glance<S: Scope>(&self) -> u32 {
        let at = Lines::new(self.ring.lines, self.head, self.ring.mask);
        // Relaxed: nothing of the line is read here.
        // SAFETY: the ring's memory is live (`new`).
        unsafe { (*at.line(0)).seq.glance::<S>() }
    }

    /// Whether a glance has seen the next message. Nothing was taken since.
    #[inline(always)]
    pub fn is_next(&self, glance: u32) -> bool {
        glance == self.head.wrapping_add(1)
    }

    /// Steps over the message that `peek` gave.
    #[inline(always)]
    pub fn advance(&mut self, lines: u8) {
        self.head = past(self.head, lines);
    }

    /// Looks over the messages that are there, at most `most`: how many, if one of them has high priority; `None` if the next
    /// one may be taken in order. A message is looked at once.
    #[inline(always)]
    pub fn urgent_batch<S: Scope>(&mut self, most: u32) -> Option<u32> {
        if self.scanned.wrapping_sub(self.head) as i32 > 0 {
            return None;
        }
        let mut at = self.head;
        let mut urgent = false;
        let mut count = 0;
        while count < most {
            let line = self.ring.lines.wrapping_add((at & self.ring.mask) as usize);
            // SYNC: line (acquire), as in `peek`.
            // SAFETY: the ring's memory is live; the line is only read after its sequence was seen.
            let (kind, lines) = unsafe {
                if (*line).seq.acquire::<S>() != at.wrapping_add(1) {
                    break;
                }
                (*line).kind_and_lines()
            };
            urgent |= kind & crate::message::HIGH_PRIORITY != 0;
            at = past(at, lines);
            count += 1;
        }
        self.scanned = at;
        urgent.then_some(count)
    }

    /// Messages from the next one on are looked at once more.
    pub(crate) fn rescan(&mut self) {
        self.scanned = self.head;
    }

    /// Everything before this position has been taken.
    pub fn position(&self) -> u32 {
        self.head
    }
}

/// A reply cell: as many lines as the largest message has, written by one worker and read by whoever asked.
///
/// # Safety
/// `base` points to the lines of a cell that the caller alone may write, because the ask that names it is being answered.
#[inline(always)]
pub unsafe fn publish_cell<S: Scope>(base: *const Line, sequence: u32, header: &Header, payload: Parcel<'_>) {
    // SAFETY: contract.
    unsafe {
        Lines::flat(base).fill::<S>(header, payload);
        // SYNC: cell (release): the reply before its sequence.
        (*base).seq.release::<S>(sequence);
    }
}

/// The reply in a cell, once its sequence is the one that the asker gave out.
///
/// # Safety
/// `base` points to the lines of a live cell that the caller holds.
#[inline(always)]
pub unsafe fn read_cell<S: Scope>(base: *const Line, sequence: u32) -> Option<Lines> {
    // SYNC: cell (acquire): after it, the whole reply is visible.
    // SAFETY: contract.
    unsafe { ((*base).seq.acquire::<S>() == sequence).then(|| Lines::flat(base)) }
}

#[cfg(not(target_arch = "nvptx64"))]
pub use shared::{Closed, SharedProducer};

/// The host's end of a ring that many host threads write into. Claims are read-modify-write, so it is the host's alone: the
/// device sees only the lines.
#[cfg(not(target_arch = "nvptx64"))]
mod shared {
    #[cfg(not(loom))]
    use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    #[cfg(loom)]
    use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

    use super::*;

    /// The ring takes no more messages.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Closed;

    const CLOSED: u64 = 1 << 63;

    /// Many threads, one ring. A claimed line that is not yet published holds up those behind it, so a producer that is
    /// descheduled in between delays the ring; that is the price of having one order for all host threads.
    pub struct SharedProducer {
        ring: RingMemory,
        /// Next free position, as a 63-bit count; the top bit closes the ring.
        tail: AtomicU64,
        credit: AtomicU32,
        /// Lines that [`push_sparing`](Self::push_sparing) fills at most.
        room: u32,
    }

    // SAFETY: the raw pointers name ring memory that is live by `new`'s contract; all access follows the ring's protocol.
    unsafe impl Send for SharedProducer {}
    // SAFETY: as above; claims are exclusive by compare-and-swap.
    unsafe impl Sync for SharedProducer {}

    impl SharedProducer {
        /// # Safety
        /// `ring` is live for as long as the producer, zeroed, and has no other producer.
        pub unsafe fn new(ring: RingMemory) -> Self {
            Self { ring, tail: AtomicU64::new(0), credit: AtomicU32::new(0), room: ring.mask + 1 }
        }

        /// With so many lines that only [`push`](Self::push) fills, fewer than the ring has.
        #[must_use]
        pub fn sparing(mut self, spare: u32) -> Self {
            self.room = (self.ring.mask + 1).saturating_sub(spare);
            self
        }

        /// A producer of a ring through which `start` lines have gone.
        #[cfg(all(test, not(loom)))]
        pub(super) fn starting_at(ring: RingMemory, start: u32) -> Self {
            Self { ring, tail: AtomicU64::new(u64::from(start)), credit: AtomicU32::new(start), room: ring.mask + 1 }
        }

        /// Puts a message in; `Ok(false)` when there is no room for it.
        ///
        /// # Errors
        /// [`Closed`] after [`close`](Self::close).
        #[inline]
        pub fn push<S: Scope>(&self, header: &Header, payload: Parcel<'_>) -> Result<bool, Closed> {
            self.push_within::<S>(self.ring.mask + 1, header, payload)
        }

        /// As [`push`](Self::push), but leaves some lines free for messages that are more important; see [`sparing`](Self::sparing).
        ///
        /// # Errors
        /// [`Closed`] after [`close`](Self::close).
        #[inline(always)]
        pub fn push_sparing<S: Scope>(&self, header: &Header, payload: Parcel<'_>) -> Result<bool, Closed> {
            self.push_within::<S>(self.room, header, payload)
        }

        #[inline(always)]
        fn push_within<S: Scope>(&self, capacity: u32, header: &Header, payload: Parcel<'_>) -> Result<bool, Closed> {
            let lines = u64::from(header.lines);
            let mut tail = self.tail.load(Ordering::Relaxed);
            loop {
                if tail & CLOSED != 0 {
                    return Err(Closed);
                }
                let need = (tail + lines) as u32;
                // SYNC: credit (acquire, here or below): the claim may overwrite what the consumer has read.
                if need.wrapping_sub(self.credit.load(Ordering::Acquire)) > capacity {
                    // SYNC: credit (acquire); passed on to other producers by the release below.
                    // SAFETY: the ring's memory is live (`new`).
                    let credit = unsafe { (*self.ring.credit).acquire::<S>() };
                    // Another thread may store an older credit over a newer one: that only makes the next one look again.
                    self.credit.store(credit, Ordering::Release);
                    if need.wrapping_sub(credit) > capacity {
                        // A stale `tail` can look full although it is not: only a fresh one may say so.
                        let fresh = self.tail.load(Ordering::Relaxed);
                        if fresh == tail {
                            return Ok(false);
                        }
                        tail = fresh;
                        continue;
                    }
                }
                // Relaxed: the claim orders nothing but itself; the line's sequence publishes the content.
                match self.tail.compare_exchange_weak(tail, tail + lines, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(now) => tail = now,
                }
            }
            let at = Lines::new(self.ring.lines, tail as u32, self.ring.mask);
            // SAFETY: the compare-and-swap gave these lines to this thread, and the credit says they are free.
            unsafe {
                at.fill::<S>(header, payload);
                // SYNC: line (release), as in `Producer::push`.
                (*at.line(0)).seq.release::<S>((tail as u32).wrapping_add(1));
            }
            Ok(true)
        }

        /// Takes no more messages; the position after the last one that was accepted.
        pub fn close(&self) -> u32 {
            self.tail.fetch_or(CLOSED, Ordering::AcqRel) as u32
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
