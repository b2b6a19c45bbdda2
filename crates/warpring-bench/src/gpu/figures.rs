//! The framework's figures on a grid: between actors, from the host and back, streams, and a million actors.
//!
//! Only the public API is used, so all of it runs on every backend whose workers run by themselves. What happens between actors is timed
//! by the workers' clock, in a handler; what the host does, by the host's. Every message and reply is checked.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use warpring::block_on;
use warpring::module::Handles;
use warpring::prelude::*;
use warpring_pace::{Cell, Mix, Pacer, Parcel, Pour, Sink, Tally, TimeAsks, Timed, Visit, mixed};

use super::{Dice, Hops, Pair};
use crate::{Clock, Figure, Slice, Times};

/// Asks in a batch.
const ASKS: u32 = 64;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Workers of which actors ask others of the same worker.
    pub workers: u32,
    /// Pairs of workers that are sampled, at least one.
    pub pairs: u32,
    /// Batches of asks for each worker or pair, beside one to warm up.
    pub batches: u32,
    /// Asks by the host that are counted, at most; a tenth more warm up.
    pub host_asks: u32,
    /// How long the host asks, at most.
    pub host_for: Duration,
    /// How long a stream lasts, about.
    pub stream_for: Duration,
    /// Messages of a stream by one sender, at most.
    pub stream_most: u32,
    /// Actors that are many.
    pub actors: u32,
}

impl Amount {
    /// What `warpring accept` measures: some seconds on a GPU.
    pub const fn full() -> Self {
        Self {
            workers: 16,
            pairs: 128,
            batches: 16,
            host_asks: 200_000,
            host_for: Duration::from_secs(2),
            stream_for: Duration::from_millis(150),
            stream_most: 4_000_000,
            actors: 1_000_000,
        }
    }

    /// What a test measures.
    pub const fn brief() -> Self {
        Self {
            workers: 2,
            pairs: 3,
            batches: 3,
            host_asks: 300,
            host_for: Duration::from_millis(200),
            stream_for: Duration::from_millis(4),
            stream_most: 2_000,
            actors: 3_000,
        }
    }
}

/// Why a figure could not be measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

/// Says what was done when something failed.
trait Doing<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Failed>;
}

impl<T, E: fmt::Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Failed> {
        self.map_err(|error| Failed(format!("{what}: {error}")))
    }
}

fn same<T: PartialEq + fmt::Debug>(what: impl fmt::Display, found: T, expected: T) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(Failed(format!("{what}: found {found:?}, expected {expected:?}"))) }
}

/// All figures of a backend, as far as they could be measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// What the workers run on.
    pub device: String,
    /// How many there are.
    pub workers: u32,
    /// One way between two actors of a worker.
    pub same_worker: Option<Hops>,
    /// One way between actors of two workers.
    pub other_worker: Option<Hops>,
    /// Host to actor and back, with `.wait()`, which spins.
    pub host_spins: Option<Figure>,
    /// Host to actor and back, awaited.
    pub host_awaits: Option<Figure>,
    /// Messages per second from one actor to one of another worker.
    pub one_pair: Vec<Stream>,
    /// Messages per second when each worker's actor sends to one of another worker.
    pub all_pairs: Vec<Stream>,
    /// A million actors.
    pub many: Option<Many>,
    /// What could not be measured, and why.
    pub failed: Vec<(String, String)>,
}

/// A stream of messages between actors.
#[derive(Clone, Debug, Serialize)]
pub struct Stream {
    /// Bytes of a message, beside its header.
    pub payload_bytes: u32,
    /// Pairs that streamed at once.
    pub pairs: u32,
    /// Messages that were sent, all received and checked.
    pub messages: u64,
    /// From the first sender's first message to the last receiver's last, in nanoseconds on the workers' clock.
    pub nanoseconds: u64,
    /// Messages per second of all pairs together.
    pub per_second: f64,
}

/// Many actors.
#[derive(Clone, Debug, Serialize)]
pub struct Many {
    /// How many.
    pub actors: u32,
    /// To launch one, by the host's clock.
    pub launch_ns_each: f64,
    /// Bytes of values, for one.
    pub state_bytes_each: f64,
    /// Messages per second, one to each actor, sent by actors of all workers at once.
    pub told_by_actors_per_second: f64,
    /// Asks per second, one to each actor, by one host thread with this many under way.
    pub asked_by_host_per_second: f64,
    /// Asks under way.
    pub window: u32,
}

/// Runtime and actors that everything but the million is measured with.
struct Stage {
    runtime: Runtime,
    pacers: Vec<ActorRef<Pacer>>,
    cells: Vec<ActorRef<Cell>>,
    /// The cells' states, as they must be.
    states: Vec<u64>,
    sinks: Vec<ActorRef<Sink>>,
    /// What the sinks must have taken.
    tallies: Vec<Tally>,
}

/// Measures everything on a backend, with so many workers or as many as the backend likes; `about_to` hears what comes next.
///
/// # Errors
/// [`Failed`] where the runtime cannot be built or ended, or its actors cannot be launched. A figure that cannot be measured is in
/// [`Figures::failed`].
pub fn figures(
    backend: &Backend,
    workers: Option<u32>,
    amount: Amount,
    clock: Clock,
    mut about_to: impl FnMut(&str),
) -> Result<Figures, Failed> {
    about_to("building the runtime");
    let mut stage = Stage::new(backend, workers, amount)?;
    let workers = stage.runtime.workers();
    let mut all = Figures {
        device: stage.runtime.device(),
        workers,
        same_worker: None,
        other_worker: None,
        host_spins: None,
        host_awaits: None,
        one_pair: Vec::new(),
        all_pairs: Vec::new(),
        many: None,
        failed: Vec::new(),
    };
    let failed = &mut all.failed;
    about_to("actor to actor of the same worker");
    all.same_worker = kept(failed, "same-worker", stage.same_worker(amount));
    about_to("actor to actor of another worker");
    all.other_worker = kept(failed, "other-worker", stage.other_worker(amount));
    about_to("host to actor and back, spinning");
    all.host_spins = kept(failed, "host-spins", stage.host(amount, clock, false));
    about_to("host to actor and back, awaited");
    all.host_awaits = kept(failed, "host-awaits", stage.host(amount, clock, true));
    for (pairs, streams, name) in [(1, &mut all.one_pair, "one-pair"), (workers, &mut all.all_pairs, "all-pairs")] {
        about_to(name);
        let measured = [
            stage.stream::<1>(pairs, amount),
            stage.stream::<4>(pairs, amount),
            stage.stream::<11>(pairs, amount),
            stage.stream::<53>(pairs, amount),
        ];
        streams.extend(measured.into_iter().filter_map(|stream| kept(failed, name, stream)));
    }
    about_to("a million actors");
    all.many = kept(failed, "many-actors", stage.many(amount));
    about_to("shutting down");
    block_on(stage.runtime.shutdown()).doing("shutting down")?;
    Ok(all)
}

/// The figure, or nothing and a line that says why.
fn kept<T>(failed: &mut Vec<(String, String)>, name: &str, result: Result<T, Failed>) -> Option<T> {
    result.map_err(|Failed(why)| failed.push((name.to_owned(), why))).ok()
}

impl Stage {
    fn new(backend: &Backend, workers: Option<u32>, amount: Amount) -> Result<Self, Failed> {
        let builder = Runtime::builder()
            .module(&warpring_pace::MODULE)
            .backend(backend.clone())
            // Those of the stage, besides the many.
            .max_actors(amount.actors + (1 << 16))
            .ask_limit(Duration::from_secs(20));
        let builder = match workers {
            Some(workers) => builder.workers(workers).pin(false),
            None => builder,
        };
        let runtime = builder.build().doing("building the runtime")?;
        let workers = runtime.workers();
        let on = |worker| LaunchOptions::default().on_worker(worker);
        let (mut pacers, mut cells, mut sinks) = (Vec::new(), Vec::new(), Vec::new());
        for worker in 0..workers {
            pacers.push(block_on(runtime.launch(Pacer::default(), on(worker))).doing("launching a pacer")?);
            cells.push(block_on(runtime.launch(Cell::new(0), on(worker))).doing("launching a cell")?);
            sinks.push(block_on(runtime.launch(Sink::default(), on(worker))).doing("launching a sink")?);
        }
        let (states, tallies) = (vec![0; workers as usize], vec![Tally::default(); workers as usize]);
        Ok(Self { runtime, pacers, cells, states, sinks, tallies })
    }

    /// The time of one way, over a batch of asks of worker `a`'s pacer to worker `b`'s cell, in nanoseconds.
    fn batch(&mut self, a: u32, b: u32) -> Result<f64, Failed> {
        let state = &mut self.states[b as usize];
        let ask = TimeAsks { to: self.cells[b as usize].address(), state: *state, asks: ASKS };
        let timed = self.pacers[a as usize].ask(ask).wait().doing(format_args!("asks of worker {a} to worker {b}"))?;
        *state = (0..u64::from(ASKS)).fold(*state, mixed);
        same(format_args!("the state of worker {b}'s cell"), timed.last, *state)?;
        let took = timed.until_ns.checked_sub(timed.from_ns).filter(|took| *took > 0);
        let took = took.ok_or_else(|| Failed(format!("the workers' clock stands still or runs back: {timed:?}")))?;
        Ok(took as f64 / f64::from(ASKS) / 2.0)
    }

    fn hops(&mut self, name: &str, pairs: impl Iterator<Item = (u32, u32)>, batches: u32) -> Result<Hops, Failed> {
        let mut times = Times::new();
        let mut found = Vec::new();
        for (a, b) in pairs {
            self.batch(a, b)?;
            let hops = (0..batches.max(1)).map(|_| self.batch(a, b)).collect::<Result<Vec<_>, _>>()?;
            hops.iter().for_each(|hop| times.record_ns(*hop));
            found.push(Pair::of(a, b, &hops));
        }
        let mut hops = Hops::of(name, times, found);
        hops.figure = hops.figure.backend(self.runtime.backend()).note(
            "one way is half of an ask by an actor, timed by the workers' clock; each count is a batch of 64 asks one after the other, \
             every reply checked",
        );
        Ok(hops)
    }

    fn same_worker(&mut self, amount: Amount) -> Result<Hops, Failed> {
        let workers = self.runtime.workers().min(amount.workers);
        self.hops("actor-to-actor-same-worker", (0..workers).map(|worker| (worker, worker)), amount.batches)
    }

    fn other_worker(&mut self, amount: Amount) -> Result<Hops, Failed> {
        let workers = self.runtime.workers();
        if workers < 2 {
            return Err(Failed("there is one worker".to_owned()));
        }
        let mut dice = Dice(0x0005_eed0_f1a5);
        self.hops("actor-to-actor-other-worker", (0..amount.pairs).map(|_| dice.two_below(workers)), amount.batches)
    }

    fn host(&mut self, amount: Amount, clock: Clock, awaited: bool) -> Result<Figure, Failed> {
        let (cell, state) = (&self.cells[0], &mut self.states[0]);
        let mut times = Times::new();
        let warm_up = u64::from(amount.host_asks / 10);
        let start = Instant::now();
        for n in 0..warm_up + u64::from(amount.host_asks) {
            let started = clock.now();
            let answer = if awaited { block_on(cell.ask(Mix { n }).into_future()) } else { cell.ask(Mix { n }).wait() };
            let took = clock.now() - started;
            *state = mixed(*state, n);
            same("the reply to the host", answer.doing("an ask by the host")?, *state)?;
            if n >= warm_up {
                times.record_ns(clock.nanoseconds(took));
            }
            if start.elapsed() > amount.host_for && times.count() > 0 {
                break;
            }
        }
        let name = if awaited { "host-asks-actor-awaited" } else { "host-asks-actor-spinning" };
        Ok(Figure::alone(name, &Slice::Times(times)).backend(self.runtime.backend()))
    }

    /// The first so many workers' pacers each stream parcels of `W` words to the sink of the next worker, for about as long as wanted.
    fn stream<const W: usize>(&mut self, pairs: u32, amount: Amount) -> Result<Stream, Failed>
    where
        Pacer: Handles<Pour<W>, Reply = Timed>,
    {
        // A first one says how long one of a given length takes.
        let few = 500.min(amount.stream_most);
        let first = self.pour::<W>(pairs, few)?;
        let each = first.nanoseconds as f64 / f64::from(few);
        let count = (amount.stream_for.as_nanos() as f64 / each.max(0.1)) as u64;
        self.pour::<W>(pairs, count.clamp(u64::from(few), u64::from(amount.stream_most)) as u32)
    }

    fn pour<const W: usize>(&mut self, pairs: u32, count: u32) -> Result<Stream, Failed>
    where
        Pacer: Handles<Pour<W>, Reply = Timed>,
    {
        const SEED: u64 = 0x5eed;
        let workers = self.runtime.workers();
        let pairs = pairs.min(workers);
        let mut sent = Vec::new();
        for worker in 0..pairs {
            let peer = (worker + 1) % workers;
            let pour = Pour::<W> { to: self.sinks[peer as usize].address(), seed: SEED, count };
            sent.push((peer, self.pacers[worker as usize].ask(pour).send().doing("starting a stream")?));
        }
        let mut span = Span::default();
        let mut timed = Vec::new();
        for (peer, reply) in sent {
            let one = reply.wait().doing(format_args!("the stream to worker {peer}"))?;
            span.add(&one);
            timed.push((peer, one));
        }
        // After the streams, so that the host's work is not beside them. Each sink takes the same parcels.
        let digests: Vec<u64> = (0..u64::from(count)).map(|n| Parcel::<W>::numbered(SEED.wrapping_add(n)).digest()).collect();
        for (peer, one) in timed {
            let tally = &mut self.tallies[peer as usize];
            *tally = digests.iter().fold(*tally, |tally, digest| tally.with(*digest));
            same(format_args!("what worker {peer}'s sink has taken"), Tally { count: one.last, sum: one.sum }, *tally)?;
        }
        let messages = u64::from(count) * u64::from(pairs);
        let nanoseconds = span.nanoseconds();
        let per_second = messages as f64 / (nanoseconds as f64 / 1e9);
        Ok(Stream { payload_bytes: 8 * W as u32, pairs, messages, nanoseconds, per_second })
    }

    fn many(&mut self, amount: Amount) -> Result<Many, Failed> {
        const WINDOW: u32 = 256;
        let workers = self.runtime.workers();
        let before = block_on(self.runtime.stats()).doing("statistics")?.state_bytes;
        let start = Instant::now();
        let launched = self.runtime.launch_many(amount.actors, LaunchOptions::default(), |i| Cell::new(u64::from(i)));
        let group = block_on(launched).doing(format_args!("launching {} actors", amount.actors))?;
        let launch_ns_each = start.elapsed().as_nanos() as f64 / f64::from(amount.actors);
        let after = block_on(self.runtime.stats()).doing("statistics")?.state_bytes;
        // Member `i` is on worker `i % workers`: each pacer tells those of the next worker.
        let mut sent = Vec::new();
        for worker in 0..workers {
            let first = (worker + 1) % workers;
            let count = amount.actors / workers + u32::from(first < amount.actors % workers);
            if count > 0 {
                let visit = Visit { group: group.address(), first, stride: workers, count, n: 5 };
                let reply = self.pacers[worker as usize].ask(visit).send().doing("sending a pacer to visit")?;
                sent.push((first + (count - 1) * workers, reply));
            }
        }
        let mut span = Span::default();
        for (last, reply) in sent {
            let timed = reply.wait().doing("a pacer's visit")?;
            same(format_args!("the reply of member {last}"), timed.last, mixed(u64::from(last), 5))?;
            span.add(&timed);
        }
        let told = f64::from(amount.actors) / (span.nanoseconds() as f64 / 1e9);
        let mut port = self.runtime.port(WINDOW).doing("opening a port")?;
        let mut asked = VecDeque::with_capacity(WINDOW as usize);
        let start = Instant::now();
        let take = |port: &mut Port, (index, ticket): (u32, warpring::Ticket<Mix, u64>)| {
            let reply = port.wait(ticket).doing(format_args!("member {index}"))?;
            same(format_args!("the reply of member {index}"), reply, mixed(mixed(u64::from(index), 5), 9))
        };
        for index in 0..amount.actors {
            if asked.len() == WINDOW as usize
                && let Some(first) = asked.pop_front()
            {
                take(&mut port, first)?;
            }
            let to = group.address().get(index).ok_or_else(|| Failed(format!("member {index} is missing")))?;
            asked.push_back((index, port.send(to, Mix { n: 9 }).doing(format_args!("asking member {index}"))?));
        }
        for rest in asked {
            take(&mut port, rest)?;
        }
        Ok(Many {
            actors: amount.actors,
            launch_ns_each,
            state_bytes_each: (after.saturating_sub(before)) as f64 / f64::from(amount.actors),
            told_by_actors_per_second: told,
            asked_by_host_per_second: f64::from(amount.actors) / start.elapsed().as_secs_f64().max(1e-9),
            window: WINDOW,
        })
    }
}

/// From the first beginning to the last end, on the workers' clock.
#[derive(Debug)]
struct Span {
    from: u64,
    until: u64,
}

impl Default for Span {
    fn default() -> Self {
        Self { from: u64::MAX, until: 0 }
    }
}

impl Span {
    fn add(&mut self, timed: &Timed) {
        self.from = self.from.min(timed.from_ns);
        self.until = self.until.max(timed.until_ns);
    }

    /// At least one, so that a rate is a number.
    fn nanoseconds(&self) -> u64 {
        self.until.saturating_sub(self.from).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(backend: &Backend, workers: u32) -> Figures {
        figures(backend, Some(workers), Amount::brief(), Clock::calibrate(), |_| {}).unwrap()
    }

    fn check(all: &Figures) {
        assert_eq!(all.failed, [], "{all:#?}");
        let (same, other) = (all.same_worker.as_ref().unwrap(), all.other_worker.as_ref().unwrap());
        assert_eq!((same.pairs.len(), same.figure.n), (2, 6));
        assert_eq!((other.pairs.len(), other.figure.n), (3, 9));
        assert!(same.median_pair_ns > 0.0 && other.median_pair_ns > 0.0);
        assert!(other.pairs.iter().all(|pair| pair.a != pair.b && pair.min_ns <= pair.p50_ns && pair.p50_ns <= pair.max_ns));
        for host in [&all.host_spins, &all.host_awaits] {
            let host = host.as_ref().unwrap();
            assert!(host.p50_ns > Some(0.0) && host.histogram.is_some(), "{host:?}");
        }
        let bytes = |streams: &[Stream]| streams.iter().map(|stream| stream.payload_bytes).collect::<Vec<_>>();
        assert_eq!((bytes(&all.one_pair), bytes(&all.all_pairs)), (vec![8, 32, 88, 424], vec![8, 32, 88, 424]));
        assert!(all.one_pair.iter().all(|stream| stream.pairs == 1 && stream.per_second > 0.0));
        assert!(all.all_pairs.iter().all(|stream| stream.pairs == 2 && stream.messages >= 1_000));
        let many = all.many.as_ref().unwrap();
        assert_eq!((many.actors, many.state_bytes_each), (3_000, 8.0));
    }

    #[test]
    fn every_figure_is_measured_on_cpu_threads() {
        check(&measured(&Backend::Cpu, 2));
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn every_figure_is_measured_on_threads_in_place_of_a_gpu() {
        let all = measured(&Backend::Cuda(warpring::CudaOptions::default().on_threads()), 2);
        assert_eq!(all.device, "threads in place of a GPU");
        check(&all);
    }

    #[test]
    fn one_worker_has_no_other_and_says_so() {
        let all = measured(&Backend::Cpu, 1);
        assert_eq!(all.failed, [("other-worker".to_owned(), "there is one worker".to_owned())]);
        // A pair of one worker streams to itself.
        assert_eq!(all.all_pairs.len(), 4);
    }
}
