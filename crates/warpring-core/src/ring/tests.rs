//! The ring against a queue of plain values: every short sequence of operations, long random ones, and real threads.
//! `tests/loom_ring.rs` has the memory orderings.

use std::collections::VecDeque;
use std::prelude::rust_2024::*;
use std::sync::Arc;
use std::{thread, vec};

use proptest::prelude::*;

use super::*;
use crate::message::{FROM_HOST, HIGH_PRIORITY, Kind, NO_SENDER, encode};
use crate::scoped::Device;

/// A ring's memory as it is after `start` lines have gone through.
struct Memory {
    lines: Box<[Line]>,
    credit: Box<Word32>,
}

impl Memory {
    fn new(capacity: u32, start: u32) -> Self {
        let memory = Self { lines: (0..capacity).map(|_| Line::default()).collect(), credit: Box::new(Word32::new(start)) };
        if start > 0 {
            for back in 1..=capacity {
                let position = start.wrapping_sub(back);
                memory.lines[(position & (capacity - 1)) as usize].seq.set_relaxed::<Device>(position.wrapping_add(1));
            }
        }
        memory
    }
    fn ring(&self) -> RingMemory {
        RingMemory { lines: self.lines.as_ptr(), credit: &*self.credit, mask: self.lines.len() as u32 - 1 }
    }
    fn consumer(&self, start: u32) -> Consumer {
        Consumer { ring: self.ring(), head: start, published: start, scanned: start }
    }
    fn producer(&self, start: u32) -> Producer {
        Producer { ring: self.ring(), tail: start, credit: start }
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// So many lines, of high priority or not.
    Push(u8, bool),
    Take,
    /// Look over at most so many messages.
    Scan(u32),
}

enum Either {
    One(Producer),
    Many(SharedProducer),
}

impl Either {
    fn push(&mut self, header: &Header, parcel: Parcel<'_>) -> bool {
        match self {
            Self::One(producer) => producer.push::<Device>(header, parcel),
            Self::Many(producer) => producer.push::<Device>(header, parcel).unwrap(),
        }
    }
}

/// A message's words, all different from those of other messages.
fn words(number: u32, lines: u8) -> ([u64; FIRST_WORDS], Vec<u64>) {
    let word = |i: usize| u64::from(number) << 8 | i as u64;
    (core::array::from_fn(word), (0..usize::from(lines - 1) * NEXT_WORDS).map(|i| word(FIRST_WORDS + i)).collect())
}

fn header(number: u32, lines: u8, high: bool) -> Header {
    Header {
        kind: Kind::Tell as u8 | if high { HIGH_PRIORITY } else { 0 },
        lines,
        tag: number as u16,
        slot: !number,
        generation: 3,
        sender_generation: 4,
        origin: FROM_HOST,
        correlation: number,
        sender: NO_SENDER,
        deadline: 5,
    }
}

/// Carries out `ops` on a ring and on a queue, and compares all that can be seen.
fn drive(ops: impl IntoIterator<Item = Op>, capacity: u32, start: u32, shared: bool) {
    let memory = Memory::new(capacity, start);
    let mut consumer = memory.consumer(start);
    let mut producer = if shared {
        let many = SharedProducer::starting_at(memory.ring(), start);
        Either::Many(many)
    } else {
        Either::One(memory.producer(start))
    };
    let mut queue: VecDeque<(u32, u8, bool)> = VecDeque::new();
    // 64-bit positions, which do not wrap.
    let (mut head, mut tail, mut published, mut scanned) = (0u64, 0u64, 0u64, 0u64);
    let mut number = 0;
    for op in ops {
        match op {
            Op::Push(lines, high) => {
                let header = header(number, lines, high);
                let (first, rest) = words(number, lines);
                let pushed = producer.push(&header, Parcel { first, rest: &rest });
                assert_eq!(pushed, tail + u64::from(lines) - published <= u64::from(capacity), "{op:?}");
                if pushed {
                    queue.push_back((number, lines, high));
                    tail += u64::from(lines);
                    number += 1;
                }
            }
            Op::Take => {
                if head - published > u64::from(capacity / 4).saturating_sub(u64::from(capacity >= 4)) {
                    published = head;
                }
                let lines = consumer.peek::<Device>();
                assert_eq!(lines.is_some(), !queue.is_empty());
                let Some(lines) = lines else { continue };
                let (number, count, high) = queue.pop_front().unwrap();
                let expected = words(number, count);
                // SAFETY: `peek` acquired the lines.
                unsafe {
                    assert_eq!(lines.header(), header(number, count, high));
                    consumer.advance(count);
                    // A worker reads the payload after `advance`.
                    let mut rest = vec![0; expected.1.len()];
                    lines.rest(&mut rest);
                    assert_eq!((lines.first(), rest), expected);
                }
                head += u64::from(count);
                assert_eq!(consumer.position(), start.wrapping_add(head as u32));
            }
            Op::Scan(most) => {
                let batch = consumer.urgent_batch::<Device>(most);
                if scanned > head {
                    assert_eq!(batch, None, "messages are looked at once");
                    continue;
                }
                let seen = queue.iter().take(most as usize);
                scanned = head + seen.clone().map(|m| u64::from(m.1)).sum::<u64>();
                assert_eq!(batch, seen.clone().any(|m| m.2).then_some(seen.count() as u32));
            }
        }
    }
}

const STARTS: [u32; 4] = [0, 7, u32::MAX - 2, u32::MAX];

#[test]
fn every_short_sequence_of_operations_does_what_a_queue_does() {
    let ops = [Op::Push(1, false), Op::Push(1, true), Op::Push(3, false), Op::Take, Op::Scan(2)];
    for start in if cfg!(miri) { &STARTS[2..3] } else { &STARTS[..] }.iter().copied() {
        for shared in [false, true] {
            let depth = if cfg!(miri) {
                2
            } else if shared {
                6
            } else {
                8
            };
            for sequence in 0..ops.len().pow(depth) {
                let digits = (0..depth).map(|i| ops[sequence / ops.len().pow(i) % ops.len()]);
                drive(digits, 4, start, shared);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 512 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn long_sequences_of_operations_do_what_a_queue_does(
        ops in prop::collection::vec(
            prop_oneof![
                4 => (1u8..=8, prop::bool::weighted(0.1)).prop_map(|(lines, high)| Op::Push(lines, high)),
                4 => Just(Op::Take),
                1 => (1u32..20).prop_map(Op::Scan),
            ],
            0..if cfg!(miri) { 30 } else { 200 },
        ),
        capacity in prop::sample::select(vec![16u32, 32]),
        start in prop_oneof![Just(0), any::<u32>(), u32::MAX - 100..=u32::MAX],
        shared: bool,
    ) {
        drive(ops, capacity, start, shared);
    }
}

/// Memory that threads share.
struct Sent(Memory);
// SAFETY: touched under the ring's protocol.
unsafe impl Send for Sent {}
// SAFETY: as above.
unsafe impl Sync for Sent {}

fn take_all(memory: &Memory, start: u32, count: u32, mut each: impl FnMut(u32)) {
    let mut consumer = memory.consumer(start);
    let mut taken = 0;
    while taken < count {
        let Some(lines) = consumer.peek::<Device>() else {
            thread::yield_now();
            continue;
        };
        // SAFETY: `peek` acquired the lines.
        let header = unsafe { lines.header() };
        consumer.advance(header.lines);
        let expected = words(header.correlation, header.lines);
        let mut rest = vec![0; expected.1.len()];
        // SAFETY: read before the next `peek`.
        unsafe {
            lines.rest(&mut rest);
            assert_eq!((lines.first(), rest), expected);
        }
        each(header.correlation);
        taken += 1;
    }
}

#[test]
fn two_threads_pass_messages_in_order() {
    let count = if cfg!(miri) { 24 } else { 20_000 };
    for start in [0, u32::MAX - 20] {
        let memory = Arc::new(Sent(Memory::new(16, start)));
        let sender = {
            let memory = memory.clone();
            thread::spawn(move || {
                let mut producer = memory.0.producer(start);
                for number in 0..count {
                    let lines = 1 + (number % 8) as u8;
                    let (first, rest) = words(number, lines);
                    while !producer.push::<Device>(&header(number, lines, false), Parcel { first, rest: &rest }) {
                        thread::yield_now();
                    }
                }
            })
        };
        let mut next = 0;
        take_all(&memory.0, start, count, |number| {
            assert_eq!(number, next);
            next += 1;
        });
        sender.join().unwrap();
    }
}

#[test]
fn three_threads_share_a_ring_and_each_keeps_its_order() {
    let count = if cfg!(miri) { 6 } else { 5_000 };
    let memory = Arc::new(Sent(Memory::new(16, u32::MAX - 5)));
    let producer = Arc::new(SharedProducer::starting_at(memory.0.ring(), u32::MAX - 5));
    let senders: Vec<_> = (0..3u32)
        .map(|sender| {
            let (producer, memory) = (producer.clone(), memory.clone());
            thread::spawn(move || {
                let _keep = memory;
                for i in 0..count {
                    let number = sender << 24 | i;
                    let lines = 1 + (i % 3) as u8;
                    let (first, rest) = words(number, lines);
                    while !producer.push::<Device>(&header(number, lines, false), Parcel { first, rest: &rest }).unwrap() {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let mut next = [0; 3];
    take_all(&memory.0, u32::MAX - 5, 3 * count, |number| {
        let sender = (number >> 24) as usize;
        assert_eq!(number & 0xff_ffff, next[sender]);
        next[sender] += 1;
    });
    for sender in senders {
        sender.join().unwrap();
    }
}

#[test]
fn a_message_of_a_wrong_length_is_malformed() {
    let memory = Memory::new(4, 0);
    let mut producer = memory.producer(0);
    encode(&[7u64; 6], |parcel| assert!(producer.push::<Device>(&header(1, 2, false), parcel)));
    let lines = memory.consumer(0).peek::<Device>().unwrap();
    // SAFETY: the lines are acquired.
    unsafe {
        assert_eq!(lines.decode::<[u64; 6]>(2), Ok([7; 6]));
        assert_eq!(lines.decode::<[u64; 12]>(2), Err(Malformed));
        assert_eq!(lines.decode::<[u64; 6]>(1), Err(Malformed));
    }
}

#[test]
fn what_is_more_important_finds_room_in_a_full_ring() {
    for start in [0, u32::MAX - 5] {
        let memory = Memory::new(16, start);
        let mut consumer = memory.consumer(start);
        let producer = SharedProducer::starting_at(memory.ring(), start).sparing(4);
        let push = |important, number| {
            let parcel = Parcel { first: words(number, 1).0, rest: &[] };
            let header = header(number, 1, false);
            if important { producer.push::<Device>(&header, parcel) } else { producer.push_sparing::<Device>(&header, parcel) }
        };
        let messages = (0..).take_while(|number| push(false, *number) == Ok(true)).count();
        assert_eq!(messages, 12);
        for number in 12..16 {
            assert_eq!((push(false, number), push(true, number)), (Ok(false), Ok(true)));
        }
        assert_eq!(push(true, 16), Ok(false));
        for number in 0..16 {
            let lines = consumer.peek::<Device>().expect("a message");
            // SAFETY: `peek` acquired the line.
            assert_eq!(unsafe { lines.header() }.correlation, number, "one order for all");
            consumer.advance(1);
        }
    }
}
