//! Messages: what may be one, how it is laid out in lines, and the 32-byte header in front of it.
//!
//! ```text
//! line 0   | seq u32 | kind u8, lines u8, tag u16 | slot u32 | gen u16, sender gen u16 | origin u32 | corr u32 | sender u32 | deadline u32 | 32 bytes of payload |
//! line 1.. | seq u32 | 0 u32                      | 56 bytes of payload                                                                                        |
//! ```
//! Every line carries its own sequence, so a receiver can poll any of them without mistaking payload for a sequence.

use zerocopy::{Immutable, IntoBytes, TryFromBytes};

use crate::layout;

/// Bytes of one line: a cache line on the CPU, two sectors on the GPU.
pub const LINE_BYTES: usize = 64;
/// Bytes of payload in the first line of a message.
pub const FIRST_PAYLOAD: usize = 32;
/// Bytes of payload in each further line.
pub const NEXT_PAYLOAD: usize = 56;
/// Most lines of one message.
pub const MAX_LINES: usize = 8;
/// Most bytes of an encoded message: 424.
pub const MAX_PAYLOAD: usize = FIRST_PAYLOAD + (MAX_LINES - 1) * NEXT_PAYLOAD;
/// Payload words of the first line.
pub const FIRST_WORDS: usize = FIRST_PAYLOAD / 8;
/// Payload words of a further line.
pub const NEXT_WORDS: usize = NEXT_PAYLOAD / 8;
/// Payload words of the largest message.
pub const MAX_WORDS: usize = MAX_PAYLOAD / 8;

/// The payload bytes were not a value of the message's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Plain data that can travel in a ring: fixed size, no pointers, validated when it is read.
///
/// Derive it for structs of such fields and for `#[repr(u8)]` enums without fields. The encoding is little-endian, in C layout
/// with zeroed padding, so the in-memory layout of the type does not matter and padding is never read.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ring message",
    label = "this is not plain data that may cross to another device",
    note = "ring messages are fixed-size integers, floats, `bool`, arrays of them, `ActorId`, `Address<K>`, and your own structs and `#[repr(u8)]` enums of these with `#[derive(Clone, Copy, RingMessage)]`",
    note = "instead of text or a `Vec` send a fixed array `[u8; N]` or an index, instead of `usize` a `u32`, instead of an `Option` the value and a `bool`"
)]
pub trait RingMessage: Copy + Send + Sync + 'static {
    /// Encoded bytes.
    const SIZE: usize;
    /// Alignment inside a larger message: a power of two, at most 8.
    const ALIGN: usize;
    /// Hash of the name, the size and the fields.
    const FINGERPRINT: u64;
    /// Writes the value into `out`, which has `SIZE` bytes, all zero.
    fn encode(&self, out: &mut [u8]);
    /// Reads a value from `SIZE` bytes.
    ///
    /// # Errors
    /// [`Malformed`] where the bytes are no value of the type.
    fn decode(bytes: &[u8]) -> core::result::Result<Self, Malformed>;
}

macro_rules! plain_message {
    ($($t:ty)*) => {$(
        impl RingMessage for $t {
            const SIZE: usize = size_of::<$t>();
            const ALIGN: usize = if size_of::<$t>() == 0 { 1 } else { size_of::<$t>() };
            const FINGERPRINT: u64 = layout::mix_bytes(layout::EMPTY, stringify!($t).as_bytes());
            #[inline(always)]
            fn encode(&self, out: &mut [u8]) {
                write_leaf(self, out)
            }
            #[inline(always)]
            fn decode(bytes: &[u8]) -> core::result::Result<Self, Malformed> {
                read_leaf(bytes)
            }
        }
    )*};
}
plain_message!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 bool);

#[inline(always)]
fn write_leaf<T: IntoBytes + Immutable>(value: &T, out: &mut [u8]) {
    // The sizes are equal by `SIZE`; a wrong slice leaves zeros, which no caller in this crate passes.
    let _ = value.write_to(out);
}

#[inline(always)]
fn read_leaf<T: TryFromBytes>(bytes: &[u8]) -> core::result::Result<T, Malformed> {
    T::try_read_from_bytes(bytes).map_err(|_| Malformed)
}

impl RingMessage for () {
    const SIZE: usize = 0;
    const ALIGN: usize = 1;
    const FINGERPRINT: u64 = layout::EMPTY;
    #[inline(always)]
    fn encode(&self, _: &mut [u8]) {}
    #[inline(always)]
    fn decode(_: &[u8]) -> core::result::Result<Self, Malformed> {
        Ok(())
    }
}

impl<T: RingMessage, const N: usize> RingMessage for [T; N] {
    const SIZE: usize = stride::<T>() * N;
    const ALIGN: usize = T::ALIGN;
    const FINGERPRINT: u64 = layout::mix(layout::mix(T::FINGERPRINT, 0xa77a), N as u64);
    #[inline(always)]
    fn encode(&self, out: &mut [u8]) {
        for (i, item) in self.iter().enumerate() {
            let at = i * stride::<T>();
            item.encode(&mut out[at..at + T::SIZE]);
        }
    }
    #[inline(always)]
    fn decode(bytes: &[u8]) -> core::result::Result<Self, Malformed> {
        let mut failed = false;
        let out = core::array::from_fn(|i| {
            let at = i * stride::<T>();
            match bytes.get(at..at + T::SIZE).map(T::decode) {
                Some(Ok(item)) => Some(item),
                _ => {
                    failed = true;
                    None
                }
            }
        });
        if failed {
            return Err(Malformed);
        }
        // `failed` is false, so every element is there.
        Ok(out.map(|item| match item {
            Some(item) => item,
            None => unreachable!(),
        }))
    }
}

const fn stride<T: RingMessage>() -> usize {
    layout::round_up(T::SIZE, T::ALIGN)
}

/// Where field number `i` of a struct with these sizes and alignments starts; `i == n` gives the struct's own size. For the derive.
#[doc(hidden)]
pub const fn field_offset(fields: &[(usize, usize)], i: usize) -> usize {
    let mut at = 0;
    let mut align = 1;
    let mut k = 0;
    while k < fields.len() {
        align = layout::max(align, fields[k].1);
        at = layout::round_up(at, fields[k].1);
        if k == i {
            return at;
        }
        at += fields[k].0;
        k += 1;
    }
    layout::round_up(at, align)
}

/// The largest alignment of these fields. For the derive.
#[doc(hidden)]
pub const fn field_align(fields: &[(usize, usize)]) -> usize {
    let mut align = 1;
    let mut k = 0;
    while k < fields.len() {
        align = layout::max(align, fields[k].1);
        k += 1;
    }
    align
}

/// Lines that a payload of this many bytes needs.
pub const fn lines_for(bytes: usize) -> usize {
    if bytes <= FIRST_PAYLOAD { 1 } else { 1 + (bytes - FIRST_PAYLOAD).div_ceil(NEXT_PAYLOAD) }
}

/// An encoded payload on its way into lines: the first line's words by value, so that a message of at most 32 bytes stays in
/// registers; the rest, a multiple of seven words, where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    pub(crate) first: [u64; FIRST_WORDS],
    pub(crate) rest: &'a [u64],
}

impl Parcel<'static> {
    /// No payload.
    pub const EMPTY: Self = Self { first: [0; FIRST_WORDS], rest: &[] };
}

/// Encodes a message and hands it to `f`. A message larger than [`MAX_PAYLOAD`] does not compile.
#[inline(always)]
pub fn encode<M: RingMessage, R>(message: &M, f: impl FnOnce(Parcel<'_>) -> R) -> R {
    const {
        assert!(
            M::SIZE <= MAX_PAYLOAD,
            "a ring message holds at most 424 bytes: send it in parts, or keep it in resident state and send an index"
        )
    };
    if M::SIZE <= FIRST_PAYLOAD {
        let mut first = [0; FIRST_WORDS];
        message.encode(&mut first.as_mut_bytes()[..M::SIZE]);
        f(Parcel { first, rest: &[] })
    } else {
        let mut words = [0; MAX_WORDS];
        message.encode(&mut words.as_mut_bytes()[..M::SIZE]);
        let (first, rest) = words.split_at(FIRST_WORDS);
        f(Parcel { first: [first[0], first[1], first[2], first[3]], rest: &rest[..(lines_for(M::SIZE) - 1) * NEXT_WORDS] })
    }
}

/// As [`encode`], of a message that was encoded before: at most [`MAX_PAYLOAD`] of `bytes`.
#[cfg(not(target_arch = "nvptx64"))]
pub fn encoded<R>(bytes: &[u8], f: impl FnOnce(Parcel<'_>) -> R) -> R {
    let bytes = &bytes[..bytes.len().min(MAX_PAYLOAD)];
    let mut words = [0; MAX_WORDS];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    let (first, rest) = words.split_at(FIRST_WORDS);
    f(Parcel { first: [first[0], first[1], first[2], first[3]], rest: &rest[..(lines_for(bytes.len()) - 1) * NEXT_WORDS] })
}

/// What kind of message a line starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message that wants a reply.
    Ask = 1,
    /// A message that wants none.
    Tell = 2,
    /// A reply with a value.
    Reply = 3,
    /// A reply: the handler returned an error.
    Failed = 4,
    /// A reply: the message was not handled, and why.
    Refused = 5,
    /// The host speaks to the worker itself. This and what follows goes to no mailbox.
    Control = 6,
    /// An actor of another worker wants an actor to end.
    End = 7,
    /// An actor of another worker spawns one here. It waits for the reply.
    Spawn = 8,
    /// Workers look for cycles of asks.
    Probe = 9,
}

/// Low bits of `Header::kind`.
pub const KIND_MASK: u8 = 0x0f;
/// The message goes before those of normal priority in its mailbox.
pub const HIGH_PRIORITY: u8 = 0x10;
/// Whoever asked sleeps: wake it after the reply is written.
pub const WAKE: u8 = 0x20;
/// `Header::origin` of a message from the host.
pub const FROM_HOST: u32 = u32::MAX;
/// `Header::sender` where no actor sent the message.
pub const NO_SENDER: u32 = u32::MAX;

/// The first 32 bytes of a message. The sequence belongs to the ring and is not part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// [`Kind`] in the low bits, then [`HIGH_PRIORITY`] and [`WAKE`].
    pub kind: u8,
    /// Lines of the whole message.
    pub lines: u8,
    /// Which handler (or control operation, or error code).
    pub tag: u16,
    /// Target actor's slot on its worker; for a reply to a worker the frame.
    pub slot: u32,
    /// Generation of the target slot.
    pub generation: u16,
    /// Generation of the sender's slot.
    pub sender_generation: u16,
    /// Where the reply goes: `worker << 16 | frame`, or [`FROM_HOST`].
    pub origin: u32,
    /// Pairs the reply with the ask: the frame's ask count, or the host's reply cell.
    pub correlation: u32,
    /// Slot of the sending actor, or [`NO_SENDER`]; from the host, the sequence that the reply cell expects; in an error, its detail.
    pub sender: u32,
    /// Not to be handled after this time, in ticks of 65,536 ns; 0 for no limit.
    pub deadline: u32,
}

const _: () = assert!(size_of::<Header>() == 28);

impl Header {
    /// The kind without its flags; anything unknown is treated as a tell that no handler takes.
    #[inline(always)]
    pub fn kind(&self) -> u8 {
        self.kind & KIND_MASK
    }
}

/// A header as it lies in a line: four words. The scheduler passes headers on in this form, because a struct of small fields that
/// is written by field and read by 16 bytes stalls the processor (its store buffer cannot forward several stores to one load).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Packed {
    /// kind, lines, tag.
    pub(crate) what: u64,
    /// slot, generation, sender generation.
    pub(crate) to: u64,
    /// origin, correlation.
    pub(crate) reply: u64,
    /// sender, deadline.
    pub(crate) from: u64,
}

impl Header {
    #[inline(always)]
    pub(crate) fn pack(&self) -> Packed {
        Packed {
            what: u64::from(self.kind) | u64::from(self.lines) << 8 | u64::from(self.tag) << 16,
            to: u64::from(self.slot) | u64::from(self.generation) << 32 | u64::from(self.sender_generation) << 48,
            reply: u64::from(self.origin) | u64::from(self.correlation) << 32,
            from: u64::from(self.sender) | u64::from(self.deadline) << 32,
        }
    }
}

impl Packed {
    #[inline(always)]
    pub(crate) fn unpack(&self) -> Header {
        Header {
            kind: self.what as u8,
            lines: self.lines(),
            tag: self.tag(),
            slot: self.slot(),
            generation: self.generation(),
            sender_generation: self.sender_generation(),
            origin: self.origin(),
            correlation: self.correlation(),
            sender: self.sender(),
            deadline: self.deadline(),
        }
    }
    #[inline(always)]
    pub(crate) fn kind(&self) -> u8 {
        self.what as u8 & KIND_MASK
    }
    #[inline(always)]
    pub(crate) fn is_high(&self) -> bool {
        self.what as u8 & HIGH_PRIORITY != 0
    }
    #[cfg(not(target_arch = "nvptx64"))]
    #[inline(always)]
    pub(crate) fn wakes(&self) -> bool {
        self.what as u8 & WAKE != 0
    }
    #[inline(always)]
    pub(crate) fn lines(&self) -> u8 {
        (self.what >> 8) as u8
    }
    #[inline(always)]
    pub(crate) fn tag(&self) -> u16 {
        (self.what >> 16) as u16
    }
    #[inline(always)]
    pub(crate) fn slot(&self) -> u32 {
        self.to as u32
    }
    #[inline(always)]
    pub(crate) fn generation(&self) -> u16 {
        (self.to >> 32) as u16
    }
    #[inline(always)]
    pub(crate) fn sender_generation(&self) -> u16 {
        (self.to >> 48) as u16
    }
    #[inline(always)]
    pub(crate) fn origin(&self) -> u32 {
        self.reply as u32
    }
    #[inline(always)]
    pub(crate) fn correlation(&self) -> u32 {
        (self.reply >> 32) as u32
    }
    #[inline(always)]
    pub(crate) fn sender(&self) -> u32 {
        self.from as u32
    }
    #[inline(always)]
    pub(crate) fn deadline(&self) -> u32 {
        (self.from >> 32) as u32
    }
}

/// Nanoseconds of one deadline tick, as a shift.
pub const TICK_SHIFT: u32 = 16;

/// The deadline field for a moment in nanoseconds, less than 2^31 ticks (39 hours) from now: never 0, which means none.
#[inline(always)]
pub fn deadline_ticks(at_ns: u64) -> u32 {
    (((at_ns >> TICK_SHIFT) + 1) as u32).max(1)
}

/// The deadline field for a limit from `now_ns` on; 0, no deadline, for a limit of more than 19 hours, because the field wraps.
#[inline(always)]
pub fn deadline_within(now_ns: u64, limit_ns: u64) -> u32 {
    if limit_ns >> TICK_SHIFT < 1 << 30 { deadline_ticks(now_ns.saturating_add(limit_ns)) } else { 0 }
}

/// Whether a deadline field has passed.
#[inline(always)]
pub fn deadline_passed(deadline: u32, now_ns: u64) -> bool {
    deadline != 0 && ((now_ns >> TICK_SHIFT) as u32).wrapping_sub(deadline) as i32 > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_offsets_are_those_of_c() {
        let fields = [(1, 1), (8, 8), (2, 2), (4, 4)];
        assert_eq!([0, 1, 2, 3, 4].map(|i| field_offset(&fields, i)), [0, 8, 16, 20, 24]);
    }

    #[test]
    fn a_bool_that_is_two_is_malformed() {
        assert_eq!(bool::decode(&[1]), Ok(true));
        assert_eq!(bool::decode(&[2]), Err(Malformed));
        assert_eq!(<[bool; 3]>::decode(&[1, 0, 2]), Err(Malformed));
    }

    #[test]
    fn arrays_come_back() {
        let value: [[u16; 3]; 5] = core::array::from_fn(|i| core::array::from_fn(|k| (i * 100 + k) as u16));
        let mut bytes = [0; <[[u16; 3]; 5]>::SIZE];
        value.encode(&mut bytes);
        assert_eq!(<[[u16; 3]; 5]>::decode(&bytes), Ok(value));
    }

    #[test]
    fn lines_grow_with_the_payload() {
        assert_eq!([0, 32, 33, 88, 89, MAX_PAYLOAD].map(lines_for), [1, 1, 2, 2, 3, MAX_LINES]);
    }

    #[test]
    fn a_deadline_passes_once_and_survives_the_wrap() {
        assert!(!deadline_passed(0, u64::MAX));
        let at = deadline_ticks(1 << 40);
        assert!(!deadline_passed(at, 1 << 40));
        assert!(deadline_passed(at, (1 << 40) + (3 << TICK_SHIFT)));
    }
}
