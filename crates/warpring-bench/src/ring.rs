//! The floor of a stream: a ring whose slots carry their own sequence.
//!
//! | field | producer | consumer |
//! |---|---|---|
//! | `Slot::payload` | writes while the slot is free | reads while it is filled |
//! | `Slot::sequence` | stores the message's number to fill the slot | loads |
//! | `Ring::head` | loads when its last known head says "full" | stores once per quarter of the ring |
//!
//! A message costs one line from one cpu to the other. The head moves rarely, so that its line costs little.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::round_trip::{Payload, Server, request};
use crate::{Clock, Slice, TwoCpus, step};

/// Slots of the measured rings; 64 KiB, so that a ring fits a second-level cache.
const SLOTS: u32 = 1_024;

/// Requests under way at most in [`outstanding`].
const OUTSTANDING: u64 = 64;

/// Pause hints that a receiver may give when it finds its ring empty. A receiver that polls the slot that is being written
/// costs the sender its line once more, and one that stays away too long leaves its own cpu idle; which of these is
/// best depends on the distance of the cpus, so a floor tries them all and is the best of them.
const PAUSES: [u32; 4] = [0, 1, 16, 64];

#[repr(C, align(64))]
struct Slot {
    payload: UnsafeCell<Payload>,
    sequence: AtomicU32,
}

#[repr(align(128))]
struct Head(AtomicU32);

/// A ring of [`SLOTS`] messages for one producer and one consumer.
struct Ring {
    slots: Box<[Slot]>,
    head: Head,
}

// SAFETY: `payload` is the only field that is not atomic. Exactly one producer and one consumer exist, as `split`
// borrows the ring mutably. The producer writes a slot only while it is free: the consumer has published a head beyond
// its former message. The consumer reads it only after it saw the number that the producer stored after writing.
unsafe impl Sync for Ring {}

impl Ring {
    fn new() -> Ring {
        let slot = |_| Slot { payload: UnsafeCell::new([0; 4]), sequence: AtomicU32::new(0) };
        Ring { slots: (0..SLOTS).map(slot).collect(), head: Head(AtomicU32::new(0)) }
    }

    /// The two ends. Message 0 has the number 1, so that a fresh slot (0) is not taken for filled. Numbers wrap: a slot
    /// then still holds the number of one lap before, which differs.
    fn split(&mut self) -> (Producer<'_>, Consumer<'_>) {
        self.head.0 = AtomicU32::new(0);
        self.slots.iter_mut().for_each(|slot| slot.sequence = AtomicU32::new(0));
        let ring = &*self;
        (Producer { ring, tail: 0, known_head: 0 }, Consumer { ring, head: 0 })
    }

    #[inline(always)]
    fn slot(&self, message: u32) -> &Slot {
        // The slice has SLOTS elements; the mask makes that known and the check free.
        &self.slots[(message & (SLOTS - 1)) as usize]
    }
}

struct Producer<'r> {
    ring: &'r Ring,
    tail: u32,
    known_head: u32,
}

impl Producer<'_> {
    /// Whether there was room.
    #[inline(always)]
    fn push(&mut self, payload: Payload) -> bool {
        if self.tail.wrapping_sub(self.known_head) == SLOTS {
            // SYNC: slot-free, the consumer has read all slots before this head.
            self.known_head = self.ring.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.known_head) == SLOTS {
                return false;
            }
        }
        let slot = self.ring.slot(self.tail);
        // SAFETY: the message that this slot held lies before the known head, so the consumer has read it and does not
        // look at the payload again before it sees the number stored below. There is no other producer.
        unsafe { slot.payload.get().write(payload) };
        self.tail = self.tail.wrapping_add(1);
        // SYNC: slot-filled, makes the payload visible to the consumer.
        slot.sequence.store(self.tail, Ordering::Release);
        true
    }
}

struct Consumer<'r> {
    ring: &'r Ring,
    head: u32,
}

impl Consumer<'_> {
    #[inline(always)]
    fn pop(&mut self) -> Option<Payload> {
        let slot = self.ring.slot(self.head);
        let next = self.head.wrapping_add(1);
        // SYNC: slot-filled, seeing the number makes its payload visible.
        if slot.sequence.load(Ordering::Acquire) != next {
            return None;
        }
        // SAFETY: the slot is filled and the producer leaves it alone until the head below has passed it.
        let payload = unsafe { slot.payload.get().read() };
        self.head = next;
        // Lazily: whoever has emptied the ring has published a head that leaves three quarters of it free.
        if next.is_multiple_of(SLOTS / 4) {
            // SYNC: slot-free, all slots before this head have been read.
            self.ring.head.0.store(next, Ordering::Release);
        }
        Some(payload)
    }
}

#[inline(always)]
fn pause(times: u32) {
    for _ in 0..times {
        std::hint::spin_loop();
    }
}

/// The fastest of the exchanges with each of [`PAUSES`].
fn best(exchange: impl Fn(u32) -> Slice) -> Slice {
    PAUSES.map(exchange).into_iter().max_by(|a, b| a.value().total_cmp(&b.value())).expect("there are some")
}

/// One producer, one consumer: messages per second as the consumer sees them, after a warm-up of a tenth; of the best
/// of four runs of so many messages.
///
/// # Panics
/// Where a message is wrong.
pub(crate) fn one_way(clock: Clock, cpus: TwoCpus, messages: u64) -> Slice {
    best(|pauses| one_way_pausing(clock, cpus, messages, pauses))
}

fn one_way_pausing(clock: Clock, cpus: TwoCpus, messages: u64, pauses: u32) -> Slice {
    let warm_up = messages / 10;
    let mut ring = Ring::new();
    let (mut producer, mut consumer) = ring.split();
    // Each thread owns its end: side by side on this stack the two ends would share a line.
    let produce = move || {
        let mut state = 0;
        for number in 0..warm_up + messages {
            let payload = request(number);
            while !producer.push(payload) {}
            state = step(state, payload[0]);
        }
        state
    };
    let consume = move || {
        let (mut state, mut wrong) = (0, 0u64);
        let mut receive = |from: u64, to: u64| {
            for number in from..to {
                let payload = loop {
                    if let Some(payload) = consumer.pop() {
                        break payload;
                    }
                    pause(pauses);
                };
                state = step(state, payload[0]);
                wrong += u64::from(payload != request(number));
            }
        };
        receive(0, warm_up);
        let started = clock.now();
        receive(warm_up, warm_up + messages);
        (clock.now() - started, state, wrong)
    };
    let (sent, (ticks, received, wrong)) = cpus.run(produce, consume);
    assert_eq!((wrong, received), (0, sent), "messages were lost or changed in the floor's ring");
    Slice::rate(&clock, messages, ticks)
}

/// Two rings as request and reply with up to 64 requests under way: answered requests per second; of the best of four
/// runs of so many requests.
///
/// # Panics
/// Where an answer is wrong.
pub(crate) fn outstanding(clock: Clock, cpus: TwoCpus, requests: u64) -> Slice {
    best(|pauses| outstanding_pausing(clock, cpus, requests, pauses))
}

fn outstanding_pausing(clock: Clock, cpus: TwoCpus, requests: u64, pauses: u32) -> Slice {
    let warm_up = requests / 10;
    let (mut there, mut back) = (Ring::new(), Ring::new());
    let (mut ask, mut asked) = there.split();
    let (mut reply, mut replies) = back.split();
    // As above: each thread owns its ends.
    let client = move || {
        let mut mirror = Server::default();
        let (mut sent, mut answered, mut wrong) = (0u64, 0u64, 0u64);
        let mut run = |until: u64| {
            while answered < until {
                while sent < until && sent - answered < OUTSTANDING && ask.push(request(sent)) {
                    sent += 1;
                }
                while let Some(got) = replies.pop() {
                    wrong += u64::from(got != mirror.answer(request(answered)));
                    answered += 1;
                }
            }
        };
        run(warm_up);
        let started = clock.now();
        run(warm_up + requests);
        (clock.now() - started, wrong)
    };
    let server = move || {
        let mut server = Server::default();
        let mut served = 0;
        while served < warm_up + requests {
            if let Some(request) = asked.pop() {
                let answer = server.answer(request);
                while !reply.push(answer) {}
                served += 1;
            } else {
                pause(pauses);
            }
        }
    };
    let ((ticks, wrong), ()) = cpus.run(client, server);
    assert_eq!(wrong, 0, "wrong answers in the floor's ring");
    Slice::rate(&clock, requests, ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_refuses_and_an_empty_one_gives_nothing() {
        let mut ring = Ring::new();
        let (mut producer, mut consumer) = ring.split();
        assert_eq!(consumer.pop(), None);
        for number in 0..SLOTS as u64 {
            assert!(producer.push(request(number)));
        }
        assert!(!producer.push(request(0)));
        assert_eq!(consumer.pop(), Some(request(0)));
        // The head is published by quarters: one free slot is not told yet.
        assert!(!producer.push(request(0)));
        for number in 1..SLOTS as u64 / 4 {
            assert_eq!(consumer.pop(), Some(request(number)));
        }
        assert!(producer.push(request(SLOTS as u64)));
    }

    #[test]
    fn numbers_wrap_without_loss() {
        let mut ring = Ring::new();
        let (mut producer, mut consumer) = ring.split();
        let start = u32::MAX - SLOTS - 5;
        let start = start - start % SLOTS;
        (producer.tail, producer.known_head, consumer.head) = (start, start, start);
        for number in 0..3 * SLOTS as u64 {
            assert!(producer.push(request(number)));
            assert_eq!(consumer.pop(), Some(request(number)));
        }
        assert_eq!(consumer.pop(), None);
    }

    #[test]
    fn both_exchanges_count_what_they_were_asked_for() {
        let Ok(cpus) = TwoCpus::discover() else {
            return;
        };
        let clock = Clock::calibrate();
        for slice in [one_way(clock, cpus, 5_000), outstanding(clock, cpus, 5_000)] {
            let Slice::Rate(rate) = slice else { panic!("a rate") };
            assert_eq!(rate.count, 5_000);
            assert!(rate.per_second() > 0.0);
        }
    }
}
