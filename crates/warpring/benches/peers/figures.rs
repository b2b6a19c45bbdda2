//! The figures that every actor library has.

use std::collections::VecDeque;
use std::time::Duration;

use futures::executor::block_on;
use warpring_bench::{BATCH, Clock, Figure, Floor, Recorder, Slice, Stage, step};

use crate::heap;
use crate::peer::{Peer, WHERE, Workers, thread_number};
use crate::plan::Plan;

/// Not recorded at the start of each slice: caches and predictors adapt, parked workers wake.
const WARM_UP: Duration = Duration::from_millis(5);
/// Messages between two asks that prove their arrival; a bound on what an unbounded mailbox holds.
const CHUNK: u64 = 50_000;
const SPRAYED: usize = 10_000;
const OUTSTANDING: usize = 64;
const ACTORS: usize = 100_000;

/// All figures of a peer.
pub fn measure<P: Peer>(plan: &mut Plan) {
    let name = P::NAME;
    plan.figure("thread-asks-actor", name, |stage| {
        asks::<P>(stage, "thread-asks-actor", Workers::Two, |_, client, asks| block_on(asks.slice(client)))
    });
    plan.figure("task-asks-actor", name, |stage| {
        asks::<P>(stage, "task-asks-actor", Workers::Two, |runtime, client, asks| {
            P::run(runtime, async move { asks.slice(client).await })
        })
    });
    plan.figure("actor-asks-same-worker", name, |stage| {
        asks::<P>(stage, "actor-asks-same-worker", Workers::Caller, actor_asks::<P>)
    });
    plan.figure("actor-asks-other-worker", name, |stage| {
        asks::<P>(stage, "actor-asks-other-worker", Workers::Two, actor_asks::<P>)
    });
    if !P::STAYS_ON_OTHER_WORKER {
        plan.figure("actor-asks-other-runtime", name, |stage| {
            let askers = P::runtime(Workers::Caller);
            asks::<P>(stage, "actor-asks-other-runtime", Workers::One, move |_, client, asks| {
                actor_asks::<P>(&askers, client, asks)
            })
        });
    }
    plan.figure("pair-one-way", name, |stage| one_way::<P>(stage, "pair-one-way", Workers::One, |_, job| block_on(job.slice())));
    plan.figure("pair-one-way-tasks", name, |stage| {
        one_way::<P>(stage, "pair-one-way-tasks", Workers::Two, |runtime, job| P::run(runtime, job.slice()))
    });
    plan.figure("ask-64-outstanding", name, outstanding::<P>);
    plan.figure("spray-10000", name, spray::<P>);
    let actors = if plan.quick() { ACTORS / 20 } else { ACTORS };
    plan.figure("million-actors", name, |_| many::<P>(actors));
}

/// One asker of one actor. It knows the actor's state, and so every answer.
struct Client<P: Peer> {
    actor: P::Actor,
    state: u64,
    next: u64,
}

impl<P: Peer> Client<P> {
    fn start(runtime: &P::Runtime) -> Client<P> {
        let place = P::place(runtime);
        let actor = P::run(runtime, async move { P::start(&place).await });
        Client { actor, state: 0, next: 0 }
    }

    /// The next request; the state becomes what its answer must be.
    #[inline]
    fn next(&mut self) -> u64 {
        let request = self.next;
        self.next += 1;
        self.state = step(self.state, request);
        request
    }

    #[inline]
    async fn ask(&mut self) {
        let request = self.next();
        let answer = P::ask(&self.actor, request).await;
        assert_eq!(answer, self.state, "a wrong answer of {}", P::NAME);
    }
}

/// How to ask during one slice.
#[derive(Clone, Copy)]
struct Asks {
    clock: Clock,
    lasting: Duration,
}

/// What a slice gives: its asker back, the times, and how many of [`BATCH`] answers came from another thread.
type Asked<P> = (Client<P>, Slice, u32);

impl Asks {
    async fn slice<P: Peer>(self, mut client: Client<P>) -> Asked<P> {
        let warm = self.clock.now() + self.clock.ticks(WARM_UP);
        while self.clock.now() < warm {
            client.ask().await;
        }
        let mut recorder = Recorder::new(self.clock, self.lasting);
        while recorder.more() {
            let started = recorder.start();
            client.ask().await;
            recorder.stop(started);
        }
        while recorder.more_batches() {
            let started = recorder.start();
            for _ in 0..BATCH {
                client.ask().await;
            }
            recorder.stop_batch(started);
        }
        let mut elsewhere = 0;
        for _ in 0..BATCH {
            elsewhere += u32::from(P::ask(&client.actor, WHERE).await != thread_number());
        }
        (client, recorder.finish(), elsewhere)
    }
}

fn asks<P: Peer>(
    stage: &Stage,
    name: &str,
    workers: Workers,
    mut slice: impl FnMut(&P::Runtime, Client<P>, Asks) -> Asked<P>,
) -> Figure {
    let runtime = P::runtime(workers);
    let asks = Asks { clock: stage.clock, lasting: stage.effort.slice };
    let mut client = Some(Client::start(&runtime));
    let mut elsewhere = Vec::new();
    let compared = stage.against(Floor::CacheLineRoundTrip, || {
        let (back, times, answered_elsewhere) = slice(&runtime, client.take().expect("given back"), asks);
        client = Some(back);
        elsewhere.push(answered_elsewhere);
        times
    });
    elsewhere.sort_unstable();
    Figure::compared(name, Floor::CacheLineRoundTrip.name(), &compared).peer(P::NAME).note(&format!(
        "answers from another thread than the asker's: {} to {} of {BATCH} per slice",
        elsewhere[0],
        elsewhere[elsewhere.len() - 1]
    ))
}

/// The asks of a slice, made by an actor in its handler.
fn actor_asks<P: Peer>(askers: &P::Runtime, client: Client<P>, asks: Asks) -> Asked<P> {
    P::run(askers, async move {
        let (done, result) = futures::channel::oneshot::channel();
        P::inside_actor(Box::pin(async move {
            // Fails only where the receiver has gone, and then nobody waits.
            let _ = done.send(asks.slice(client).await);
        }))
        .await;
        result.await.expect("an asking actor that panicked, which its library has caught")
    })
}

/// One producer of one actor during one slice.
struct Stream<P: Peer> {
    client: Client<P>,
    clock: Clock,
    lasting: Duration,
    chunk: u64,
}

impl<P: Peer> Stream<P> {
    async fn slice(mut self) -> (Client<P>, Slice) {
        self.chunk().await;
        let started = self.clock.now();
        let until = started + self.clock.ticks(self.lasting);
        let mut messages = 0;
        let mut now = started;
        while now < until {
            self.chunk().await;
            messages += self.chunk + 1;
            now = self.clock.now();
        }
        (self.client, Slice::rate(&self.clock, messages, now - started))
    }

    async fn chunk(&mut self) {
        for _ in 0..self.chunk {
            let message = self.client.next();
            P::tell(&self.client.actor, message).await;
        }
        // The answer depends on all messages and their order.
        self.client.ask().await;
    }
}

fn one_way<P: Peer>(
    stage: &Stage,
    name: &str,
    workers: Workers,
    mut slice: impl FnMut(&P::Runtime, Stream<P>) -> (Client<P>, Slice),
) -> Figure {
    let runtime = P::runtime(workers);
    let (clock, lasting) = (stage.clock, stage.effort.slice);
    let mut client = Some(Client::start(&runtime));
    let compared = stage.against(Floor::SlotFlagRing, || {
        let client_now = client.take().expect("given back");
        let (back, rate) = slice(&runtime, Stream { client: client_now, clock, lasting, chunk: CHUNK });
        client = Some(back);
        rate
    });
    Figure::compared(name, Floor::SlotFlagRing.name(), &compared).peer(P::NAME)
}

fn outstanding<P: Peer>(stage: &Stage) -> Figure {
    let runtime = P::runtime(Workers::Two);
    let (clock, lasting) = (stage.clock, stage.effort.slice);
    let mut client = Some(Client::<P>::start(&runtime));
    let floor = Floor::SlotFlagRing64Outstanding;
    let compared = stage.against(floor, || {
        let client_now = client.take().expect("given back");
        let (back, rate) = P::run(&runtime, outstanding_slice(client_now, clock, lasting));
        client = Some(back);
        rate
    });
    Figure::compared("ask-64-outstanding", floor.name(), &compared).peer(P::NAME)
}

/// A sliding window: wait for the oldest answer, check it, send the next request.
async fn outstanding_slice<P: Peer>(mut client: Client<P>, clock: Clock, lasting: Duration) -> (Client<P>, Slice) {
    let mut under_way: VecDeque<(P::Answer, u64)> = VecDeque::with_capacity(OUTSTANDING);
    let warm = clock.now() + clock.ticks(WARM_UP);
    let (mut started, mut until) = (None, warm);
    let mut answered = 0u64;
    loop {
        // The clock is read once per window.
        for _ in 0..OUTSTANDING {
            if under_way.len() == OUTSTANDING {
                let (answer, expected) = under_way.pop_front().expect("it is full");
                assert_eq!(answer.await, expected, "a wrong answer of {}", P::NAME);
                answered += 1;
            }
            let request = client.next();
            under_way.push_back((P::ask_later(&client.actor, request).await, client.state));
        }
        let now = clock.now();
        if now < until {
            continue;
        }
        let Some(started) = started else {
            (started, until, answered) = (Some(now), now + clock.ticks(lasting), 0);
            continue;
        };
        let rate = Slice::rate(&clock, answered, now - started);
        for (answer, expected) in under_way {
            assert_eq!(answer.await, expected, "a wrong answer of {}", P::NAME);
        }
        return (client, rate);
    }
}

fn spray<P: Peer>(stage: &Stage) -> Figure {
    let runtime = P::runtime(Workers::Two);
    let place = P::place(&runtime);
    let actors = P::run(&runtime, async move {
        let mut actors = Vec::with_capacity(SPRAYED);
        for _ in 0..SPRAYED {
            actors.push(P::start(&place).await);
        }
        actors
    });
    // All get the same messages, so they have the same state.
    let mut sprayed = Some(Spray::<P> { actors, state: 0, next: 0 });
    let (clock, lasting) = (stage.clock, stage.effort.slice);
    let compared = stage.against(Floor::MemoryBandwidth, || {
        let spray = sprayed.take().expect("given back");
        let (back, rate) = P::run(&runtime, spray.slice(clock, lasting));
        sprayed = Some(back);
        rate
    });
    Figure::compared("spray-10000", Floor::MemoryBandwidth.name(), &compared).peer(P::NAME)
}

struct Spray<P: Peer> {
    actors: Vec<P::Actor>,
    state: u64,
    next: u64,
}

impl<P: Peer> Spray<P> {
    async fn slice(mut self, clock: Clock, lasting: Duration) -> (Spray<P>, Slice) {
        self.round().await;
        self.ask_all().await;
        let started = clock.now();
        let until = started + clock.ticks(lasting);
        let mut rounds = 0;
        while clock.now() < until {
            self.round().await;
            rounds += 1;
            // As a considerate task does after 10,000 sends: the scheduler gets its turn.
            tokio::task::yield_now().await;
        }
        // The asks count as a round, since all messages before have arrived when they are answered.
        self.ask_all().await;
        let messages = (rounds + 1) * self.actors.len() as u64;
        let ticks = clock.now() - started;
        (self, Slice::rate(&clock, messages, ticks))
    }

    async fn round(&mut self) {
        let message = self.next;
        self.next += 1;
        self.state = step(self.state, message);
        for actor in &self.actors {
            P::tell(actor, message).await;
        }
    }

    /// All asks are sent before the first answer is awaited: one by one, peers whose actors sleep on another thread would
    /// be measured by their time to wake.
    async fn ask_all(&mut self) {
        let request = self.next;
        self.next += 1;
        self.state = step(self.state, request);
        let mut answers = Vec::with_capacity(self.actors.len());
        for actor in &self.actors {
            answers.push(P::ask_later(actor, request).await);
        }
        for answer in answers {
            assert_eq!(answer.await, self.state, "{} lost a message", P::NAME);
        }
    }
}

/// Heap per actor, and the time to start one and have its first answer: an actor that has not run yet is not there.
fn many<P: Peer>(actors: usize) -> Figure {
    let runtime = P::runtime(Workers::Caller);
    let place = P::place(&runtime);
    let clock = Clock::calibrate();
    // The handles' own vector belongs to the measurement, not to the peer.
    let mut all: Vec<P::Actor> = Vec::with_capacity(actors);
    let (bytes, (ticks, all)) = heap::bytes_during(|| {
        P::run(&runtime, async move {
            let started = clock.now();
            for _ in 0..actors {
                all.push(P::start(&place).await);
            }
            for (number, actor) in all.iter().enumerate() {
                let request = number as u64;
                assert_eq!(P::ask(actor, request).await, step(0, request), "a wrong answer of {}", P::NAME);
            }
            (clock.now() - started, all)
        })
    });
    drop(all);
    let mut figure = Figure::named("million-actors", actors as u64).peer(P::NAME);
    figure.bytes_per_actor = Some(bytes as f64 / actors as f64);
    figure.ns_per_actor = Some(clock.nanoseconds(ticks) / actors as f64);
    figure.note(&format!("of {actors} actors; to start one and have its first answer; bytes as asked of the allocator"))
}
