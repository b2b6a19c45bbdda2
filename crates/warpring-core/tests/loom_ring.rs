//! The rings and the reply cell under loom: every interleaving that the C11 memory model allows, up to the stated bounds.
//! Line contents are loom cells, so a read or write that the sequences and credits do not order is reported as a race.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p warpring-core --release --test loom_ring`
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use warpring_core::message::{FROM_HOST, Header, Kind, NO_SENDER, RingMessage, encode, lines_for};
use warpring_core::ring::{Closed, Consumer, Line, Producer, RingMemory, SharedProducer, publish_cell, read_cell};
use warpring_core::scoped::{Device, System, Word32};

/// Nine words: three lines.
type Long = [u64; 12];

struct Memory {
    lines: Box<[Line]>,
    credit: Box<Word32>,
}

// SAFETY: touched only under the ring's protocol, which is what these tests check.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { lines: (0..capacity).map(|_| Line::default()).collect(), credit: Box::new(Word32::new(0)) })
    }
    fn ring(&self) -> RingMemory {
        RingMemory { lines: self.lines.as_ptr(), credit: &*self.credit, mask: self.lines.len() as u32 - 1 }
    }
}

fn header(lines: usize, number: u32) -> Header {
    Header {
        kind: Kind::Tell as u8,
        lines: lines as u8,
        origin: FROM_HOST,
        sender: NO_SENDER,
        correlation: number,
        ..Header::default()
    }
}

fn short(number: u32) -> [u64; 4] {
    core::array::from_fn(|i| u64::from(number) * 10 + i as u64)
}
fn long(number: u32) -> Long {
    core::array::from_fn(|i| u64::from(number) * 100 + i as u64)
}

fn push<M: RingMessage>(producer: &mut Producer, number: u32, message: M) {
    let header = header(lines_for(M::SIZE), number);
    while !encode(&message, |parcel| producer.push::<Device>(&header, parcel)) {
        thread::yield_now();
    }
}

fn shared_push(producer: &SharedProducer, number: u32) -> Result<bool, Closed> {
    encode(&short(number), |parcel| producer.push::<System>(&header(1, number), parcel))
}

/// Takes `count` messages and gives their numbers, after checking header and payload.
fn take(consumer: &mut Consumer, count: u32) -> Vec<u32> {
    (0..count)
        .map(|_| {
            loop {
                if let Some(number) = try_take(consumer) {
                    break number;
                }
                thread::yield_now();
            }
        })
        .collect()
}

fn try_take(consumer: &mut Consumer) -> Option<u32> {
    let lines = consumer.peek::<Device>()?;
    // SAFETY: `peek` acquired the lines; they are read before the next `peek`.
    let header = unsafe { lines.header() };
    let number = header.correlation;
    consumer.advance(header.lines);
    // After `advance`, as the worker reads the message that it starts.
    // SAFETY: as above.
    unsafe {
        if header.lines == 1 {
            assert_eq!(lines.decode::<[u64; 4]>(1), Ok(short(number)));
        } else {
            assert_eq!(lines.decode::<Long>(header.lines), Ok(long(number)));
        }
    }
    Some(number)
}

fn model(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}

#[test]
fn messages_arrive_in_order_through_a_ring_that_wraps() {
    model(4, || {
        let memory = Memory::new(2);
        // SAFETY: one producer, one consumer, both gone before the memory.
        let (mut producer, mut consumer) = unsafe { (Producer::new(memory.ring()), Consumer::new(memory.ring())) };
        let sender = thread::spawn(move || {
            for number in 0..4 {
                push(&mut producer, number, short(number));
            }
        });
        assert_eq!(take(&mut consumer, 4), [0, 1, 2, 3]);
        sender.join().unwrap();
    });
}

#[test]
fn a_message_of_several_lines_is_whole_also_across_the_end_of_the_ring() {
    model(4, || {
        let memory = Memory::new(4);
        // SAFETY: as above.
        let (mut producer, mut consumer) = unsafe { (Producer::new(memory.ring()), Consumer::new(memory.ring())) };
        let sender = thread::spawn(move || {
            push(&mut producer, 0, long(0));
            push(&mut producer, 1, short(1));
            push(&mut producer, 2, long(2));
        });
        assert_eq!(take(&mut consumer, 3), [0, 1, 2]);
        sender.join().unwrap();
    });
}

#[test]
fn a_scan_for_priority_reads_only_what_is_published() {
    model(4, || {
        let memory = Memory::new(4);
        // SAFETY: as above.
        let (mut producer, mut consumer) = unsafe { (Producer::new(memory.ring()), Consumer::new(memory.ring())) };
        let sender = thread::spawn(move || {
            for number in 0..3 {
                push(&mut producer, number, short(number));
            }
        });
        let mut seen = 0;
        while seen < 3 {
            assert_eq!(consumer.urgent_batch::<Device>(16), None);
            match try_take(&mut consumer) {
                Some(number) => {
                    assert_eq!(number, seen);
                    seen += 1;
                }
                None => thread::yield_now(),
            }
        }
        sender.join().unwrap();
    });
}

#[test]
fn two_producers_share_a_full_ring_without_loss() {
    model(4, || {
        let memory = Memory::new(2);
        // SAFETY: as above.
        let (producer, mut consumer) = unsafe { (Arc::new(SharedProducer::new(memory.ring())), Consumer::new(memory.ring())) };
        let senders: Vec<_> = [10, 20]
            .map(|first| {
                let (producer, memory) = (producer.clone(), memory.clone());
                thread::spawn(move || {
                    let _keep = memory;
                    // A full ring says so; the message stays with the sender.
                    (first..first + 2).filter(|number| shared_push(&producer, *number).unwrap()).collect::<Vec<_>>()
                })
            })
            .into();
        let mut got: Vec<u32> = (0..2).filter_map(|_| try_take(&mut consumer)).collect();
        let accepted: Vec<Vec<u32>> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        while let Some(number) = try_take(&mut consumer) {
            got.push(number);
        }
        for (sender, first) in accepted.iter().zip([10, 20]) {
            let from_it: Vec<u32> = got.iter().copied().filter(|n| (first..first + 10).contains(n)).collect();
            assert_eq!(&from_it, sender, "one sender's messages come once and in order");
        }
        assert!(got.len() >= 2, "a ring with room takes messages");
        assert_eq!(shared_push(&producer, 30), Ok(true), "room comes back");
        assert_eq!(try_take(&mut consumer), Some(30));
    });
}

#[test]
fn what_a_closing_ring_accepts_lies_before_the_position_it_closes_at() {
    model(4, || {
        let memory = Memory::new(4);
        // SAFETY: as above.
        let (producer, mut consumer) = unsafe { (Arc::new(SharedProducer::new(memory.ring())), Consumer::new(memory.ring())) };
        let senders: Vec<_> = [10, 20]
            .map(|number| {
                let (producer, memory) = (producer.clone(), memory.clone());
                thread::spawn(move || {
                    let _keep = memory;
                    shared_push(&producer, number) == Ok(true)
                })
            })
            .into();
        let until = producer.close();
        let mut got = Vec::new();
        while consumer.position() != until {
            match try_take(&mut consumer) {
                Some(number) => got.push(number),
                None => thread::yield_now(),
            }
        }
        let accepted: Vec<bool> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        assert_eq!(try_take(&mut consumer), None, "nothing comes after the end");
        assert_eq!([got.contains(&10), got.contains(&20)], accepted[..]);
        assert_eq!(shared_push(&producer, 30), Err(Closed));
        assert_eq!(producer.close(), until);
    });
}

#[test]
fn a_reply_is_whole_when_its_sequence_is_there_and_the_cell_can_be_used_again() {
    model(4, || {
        let requests = Memory::new(2);
        let cell = Memory::new(2);
        // SAFETY: as above.
        let (mut ask, mut asked) = unsafe { (Producer::new(requests.ring()), Consumer::new(requests.ring())) };
        let worker = {
            let cell = cell.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    let number = take(&mut asked, 1)[0];
                    let reply = header(2, number);
                    let value: [u64; 6] = core::array::from_fn(|i| u64::from(number) + i as u64);
                    // SAFETY: the ask that names the cell is being answered.
                    encode(&value, |parcel| unsafe { publish_cell::<System>(cell.lines.as_ptr(), number, &reply, parcel) });
                }
            })
        };
        for number in [1, 2] {
            push(&mut ask, number, short(number));
            loop {
                // SAFETY: the cell is held by this ask.
                if let Some(lines) = unsafe { read_cell::<System>(cell.lines.as_ptr(), number) } {
                    // SAFETY: its sequence was seen.
                    let value = unsafe { lines.decode::<[u64; 6]>(lines.header().lines) };
                    assert_eq!(value, Ok(core::array::from_fn(|i| u64::from(number) + i as u64)));
                    break;
                }
                thread::yield_now();
            }
        }
        worker.join().unwrap();
    });
}
