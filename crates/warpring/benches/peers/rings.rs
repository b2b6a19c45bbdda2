//! Rings and channels without actors: one thread sends, the other receives, both pinned.

use warpring_bench::{Clock, Figure, Floor, Slice, Stage, step};

use crate::plan::Plan;

/// What the floor's ring carries too.
type Payload = [u64; 4];

const CAPACITY: usize = 1_024;
const MESSAGES: u64 = 1_000_000;
const WARM_UP: u64 = 100_000;

/// `pair-one-way` of each.
pub fn measure(plan: &mut Plan) {
    let messages = if plan.quick() { MESSAGES / 20 } else { MESSAGES };
    plan.figure("pair-one-way", "rtrb", |stage| {
        pair(stage, "rtrb", || {
            let (mut producer, mut consumer) = rtrb::RingBuffer::<Payload>::new(CAPACITY);
            // Neither end of this ring waits by itself.
            let send = move |message| while producer.push(message).is_err() {};
            let receive = move || {
                loop {
                    if let Ok(message) = consumer.pop() {
                        break message;
                    }
                    // Polling the slot that is being written without a pause would slow its sender down.
                    std::hint::spin_loop();
                }
            };
            exchange(stage, messages, send, receive)
        })
    });
    plan.figure("pair-one-way", "crossbeam-channel", |stage| {
        pair(stage, "crossbeam-channel", || {
            let (sender, receiver) = crossbeam_channel::bounded::<Payload>(CAPACITY);
            let send = move |message| sender.send(message).expect("the receiver lives");
            exchange(stage, messages, send, move || receiver.recv().expect("the sender lives"))
        })
    });
}

fn pair(stage: &Stage, peer: &str, slice: impl FnMut() -> Slice) -> Figure {
    let compared = stage.against(Floor::SlotFlagRing, slice);
    Figure::compared("pair-one-way", Floor::SlotFlagRing.name(), &compared).peer(peer)
}

fn message(number: u64) -> Payload {
    [number, !number, number ^ 0x5555, 7]
}

/// Messages per second as the receiver sees them. A receiver never stops early, so that its sender never waits for
/// ever; what is wrong is counted and asserted in the end.
fn exchange(
    stage: &Stage,
    messages: u64,
    mut send: impl FnMut(Payload) + Send,
    mut receive: impl FnMut() -> Payload + Send,
) -> Slice {
    let clock: Clock = stage.clock;
    let produce = move || {
        let mut state = 0;
        for number in 0..WARM_UP + messages {
            send(message(number));
            state = step(state, number);
        }
        // The sending end lives until the other thread has all: it goes with this closure.
        state
    };
    let consume = move || {
        let (mut state, mut wrong) = (0, 0u64);
        let mut take = |from: u64, to: u64| {
            for number in from..to {
                let got = receive();
                state = step(state, got[0]);
                wrong += u64::from(got != message(number));
            }
        };
        take(0, WARM_UP);
        let started = clock.now();
        take(WARM_UP, WARM_UP + messages);
        (clock.now() - started, state, wrong)
    };
    let (sent, (ticks, received, wrong)) = stage.cpus.run(produce, consume);
    assert_eq!((wrong, received), (0, sent), "messages were lost or changed");
    Slice::rate(&clock, messages, ticks)
}
