//! The framework's own figures, under the names that its peers' figures have, each against its floor in the same run.
//!
//! Runtimes have the default idle policy, so both cpus are idle between slices; each subject warms up by itself.

mod kernels;
mod snapshots;

use std::collections::VecDeque;
use std::time::Duration;

use warpring::{Address, Backend, LaunchOptions, Runtime, block_on};

use crate::{Compared, Figure, Floor, Slice, Stage, round_trips, step};
use kernels::{Asker, Cell, DONE, JOB, TellAll, WARM_UP};

/// Asks under way in `ask-64-outstanding`.
const OUTSTANDING: u32 = 64;
/// Actors of `spray-10000`.
const SPRAYED: u32 = 10_000;

/// Why a figure could not be measured.
#[derive(Debug)]
pub struct Failed {
    /// The figure.
    pub figure: &'static str,
    /// What went wrong.
    pub why: String,
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.figure, self.why)
    }
}
impl std::error::Error for Failed {}

type Measured<T> = Result<T, Box<dyn std::error::Error>>;

/// A group of figures: what `warpring bench` takes as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Round trips.
    Ask,
    /// One-way streams from the host.
    Tell,
    /// Between workers.
    Mesh,
    /// Many actors.
    Actors,
    /// Snapshots and restores.
    Snapshots,
}

/// A figure: name, suite, and how it is measured.
pub struct Subject {
    /// Its name.
    pub name: &'static str,
    /// Its group.
    pub suite: Suite,
    measure: fn(&Ours<'_>) -> Measured<Figure>,
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All figures, in the order of the report.
pub const SUBJECTS: &[Subject] = &[
    Subject { name: "thread-asks-actor", suite: Suite::Ask, measure: thread_asks_actor },
    Subject { name: "port-asks-actor", suite: Suite::Ask, measure: port_asks_actor },
    Subject { name: "tokio-asks-actor", suite: Suite::Ask, measure: tokio_asks_actor },
    Subject { name: "actor-asks-same-worker", suite: Suite::Ask, measure: actor_asks_same_worker },
    Subject { name: "actor-asks-other-worker", suite: Suite::Mesh, measure: actor_asks_other_worker },
    Subject { name: "actor-tells-other-worker", suite: Suite::Mesh, measure: actor_tells_other_worker },
    Subject { name: "pair-one-way", suite: Suite::Tell, measure: pair_one_way },
    Subject { name: "pair-one-way-shared-ring", suite: Suite::Tell, measure: pair_one_way_shared },
    Subject { name: "ask-64-outstanding", suite: Suite::Ask, measure: ask_64_outstanding },
    Subject { name: "spray-10000", suite: Suite::Actors, measure: spray },
    Subject { name: "million-actors", suite: Suite::Actors, measure: million_actors },
    Subject { name: "snapshot-million", suite: Suite::Snapshots, measure: snapshots::snapshot_million },
    Subject { name: "restore-million", suite: Suite::Snapshots, measure: snapshots::restore_million },
];

impl Subject {
    /// Measures the figure on a backend.
    ///
    /// # Errors
    /// [`Failed`]: the runtime could not be built, an ask failed, or an answer was wrong.
    pub fn measure(&self, stage: &Stage, backend: &Backend, quick: bool) -> Result<Figure, Failed> {
        let ours = Ours { stage, backend, quick };
        (self.measure)(&ours)
            .map(|figure| figure.backend(ours.backend_name()))
            .map_err(|why| Failed { figure: self.name, why: why.to_string() })
    }
}

struct Ours<'a> {
    stage: &'a Stage,
    backend: &'a Backend,
    quick: bool,
}

impl Ours<'_> {
    /// `auto` is the CPU in this build, and a figure names what ran.
    fn backend_name(&self) -> &'static str {
        if *self.backend == Backend::Auto || *self.backend == Backend::Cpu { "cpu" } else { "sim" }
    }

    fn runtime(&self, workers: u32) -> Measured<Runtime> {
        Ok(Runtime::builder().module(&kernels::MODULE).backend(self.backend.clone()).workers(workers).build()?)
    }

    fn lasting(&self) -> Duration {
        self.stage.effort.slice
    }

    /// Alternates floor and subject. A subject that fails ends the figure.
    fn against(&self, name: &str, floor: Floor, mut subject: impl FnMut() -> Measured<Slice>) -> Measured<Figure> {
        let mut error = None;
        let compared: Compared = self.stage.against(floor, || match subject() {
            Ok(slice) => slice,
            Err(why) => {
                error = Some(why);
                // Not looked at: the error ends the figure.
                self.stage.floor(floor)
            }
        });
        match error {
            Some(why) => Err(why),
            None => Ok(Figure::compared(name, floor.name(), &compared)),
        }
    }

    /// One slice of round trips: warm-up, then `ask(request)` with every answer checked.
    fn trips(&self, state: &mut u64, mut ask: impl FnMut(u64) -> Option<u64>) -> Measured<Slice> {
        let clock = self.stage.clock;
        let mut request = 0;
        let mut wrong = false;
        let mut trip = || {
            request += 1;
            *state = step(*state, request);
            wrong |= ask(request) != Some(*state);
        };
        let warm = clock.now() + clock.ticks(WARM_UP);
        while clock.now() < warm {
            trip();
        }
        let slice = round_trips(clock, self.lasting(), trip);
        if wrong { Err("a wrong answer".into()) } else { Ok(slice) }
    }

    /// One slice of a stream: `send(n)` sends n messages and has the last one answered.
    fn stream(&self, messages: u64, mut send: impl FnMut(u64) -> Measured<()>) -> Measured<Slice> {
        let clock = self.stage.clock;
        send(messages / 16)?;
        let started = clock.now();
        send(messages)?;
        Ok(Slice::rate(&clock, messages, clock.now() - started))
    }

    fn messages(&self) -> u64 {
        if self.quick { 20_000 } else { 2_000_000 }
    }
}

fn launch(runtime: &Runtime, options: LaunchOptions) -> Measured<warpring::ActorRef<Cell>> {
    Ok(block_on(runtime.launch(Cell::new(), options))?)
}

fn thread_asks_actor(ours: &Ours<'_>) -> Measured<Figure> {
    let runtime = ours.runtime(1)?;
    let cell = launch(&runtime, LaunchOptions::default())?;
    let mut state = 0;
    ours.against("thread-asks-actor", Floor::CacheLineRoundTrip, || {
        ours.trips(&mut state, |request| cell.ask(request).wait().ok())
    })
}

fn port_asks_actor(ours: &Ours<'_>) -> Measured<Figure> {
    let runtime = ours.runtime(1)?;
    let cell = launch(&runtime, LaunchOptions::default())?.address();
    let mut port = runtime.port(1)?;
    let mut state = 0;
    ours.against("port-asks-actor", Floor::CacheLineRoundTrip, || ours.trips(&mut state, |request| port.ask(cell, request).ok()))
}

fn tokio_asks_actor(ours: &Ours<'_>) -> Measured<Figure> {
    let runtime = ours.runtime(1)?;
    let cell = launch(&runtime, LaunchOptions::default())?;
    let tokio = tokio::runtime::Builder::new_current_thread().build()?;
    let mut state = 0;
    let clock = ours.stage.clock;
    ours.against("tokio-asks-actor", Floor::CacheLineRoundTrip, || {
        let mut request = 0;
        let mut slice = None;
        let mut right = true;
        tokio.block_on(async {
            let warm = clock.now() + clock.ticks(WARM_UP);
            while clock.now() < warm {
                request += 1;
                state = step(state, request);
                right &= cell.ask(request).await.ok() == Some(state);
            }
            let mut recorder = crate::Recorder::new(clock, ours.lasting());
            while recorder.more() {
                request += 1;
                state = step(state, request);
                let started = recorder.start();
                let answer = cell.ask(request).await;
                recorder.stop(started);
                right &= answer.ok() == Some(state);
            }
            while recorder.more_batches() {
                let started = recorder.start();
                for _ in 0..crate::BATCH {
                    request += 1;
                    state = step(state, request);
                    right &= cell.ask(request).await.ok() == Some(state);
                }
                recorder.stop_batch(started);
            }
            slice = Some(recorder.finish());
        });
        slice.filter(|_| right).ok_or_else(|| "a wrong answer".into())
    })
}

fn actor_asks(ours: &Ours<'_>, name: &str, workers: u32) -> Measured<Figure> {
    let runtime = ours.runtime(workers)?;
    let cell = launch(&runtime, LaunchOptions::default().on_worker(0))?;
    let asker = block_on(runtime.launch(Asker::new(cell.address()), LaunchOptions::default().on_worker(workers - 1)))?;
    *JOB.lock().unwrap_or_else(|e| e.into_inner()) = Some((ours.stage.clock, ours.lasting()));
    ours.against(name, Floor::CacheLineRoundTrip, || {
        // Awaited, not waited for: a spinning thread would take the core of a worker.
        block_on(asker.ask(()).into_future())?;
        DONE.lock().unwrap_or_else(|e| e.into_inner()).take().ok_or_else(|| "no slice".into())
    })
}

fn actor_asks_same_worker(ours: &Ours<'_>) -> Measured<Figure> {
    actor_asks(ours, "actor-asks-same-worker", 1)
}

fn actor_asks_other_worker(ours: &Ours<'_>) -> Measured<Figure> {
    actor_asks(ours, "actor-asks-other-worker", 2)
}

fn actor_tells_other_worker(ours: &Ours<'_>) -> Measured<Figure> {
    let runtime = ours.runtime(2)?;
    let cell = launch(&runtime, LaunchOptions::default().on_worker(0))?;
    let asker = block_on(runtime.launch(Asker::new(cell.address()), LaunchOptions::default().on_worker(1)))?;
    ours.against("actor-tells-other-worker", Floor::SlotFlagRing, || {
        ours.stream(ours.messages(), |messages| Ok(block_on(asker.ask(TellAll { messages }).into_future()).map(|_| ())?))
    })
}

fn pair_one_way(ours: &Ours<'_>) -> Measured<Figure> {
    let runtime = ours.runtime(1)?;
    let cell = launch(&runtime, LaunchOptions::default())?.address();
    let mut port = runtime.port(1)?;
    let (mut state, mut request) = (0, 0);
    ours.against("pair-one-way", Floor::SlotFlagRing, || {
        ours.stream(ours.messages(), |messages| {
            for _ in 1..messages {
                request += 1;
                state = step(state, request);
                port.tell(cell, request)?;
            }
            request += 1;
            state = step(state, request);
            if port.ask(cell, request)? == state { Ok(()) } else { Err("a wrong answer".into()) }
        })
    })
}

fn pair_one_way_shared(ours: &Ours<'_>) -> Measured<Figure> {
    let runtime = ours.runtime(1)?;
    let cell = launch(&runtime, LaunchOptions::default())?;
    let (mut state, mut request) = (0, 0);
    ours.against("pair-one-way-shared-ring", Floor::SlotFlagRing, || {
        ours.stream(ours.messages(), |messages| {
            for _ in 1..messages {
                request += 1;
                state = step(state, request);
                cell.tell(request).wait()?;
            }
            request += 1;
            state = step(state, request);
            if cell.ask(request).wait()? == state { Ok(()) } else { Err("a wrong answer".into()) }
        })
    })
}

fn ask_64_outstanding(ours: &Ours<'_>) -> Measured<Figure> {
    let runtime = ours.runtime(1)?;
    let cell = launch(&runtime, LaunchOptions::default())?.address();
    let mut port = runtime.port(OUTSTANDING)?;
    let (mut state, mut request) = (0, 0);
    let mut tickets = VecDeque::with_capacity(OUTSTANDING as usize);
    ours.against("ask-64-outstanding", Floor::SlotFlagRing64Outstanding, || {
        ours.stream(ours.messages(), |messages| {
            for _ in 0..messages {
                if tickets.len() == OUTSTANDING as usize
                    && let Some((ticket, expected)) = tickets.pop_front()
                    && port.wait(ticket)? != expected
                {
                    return Err("a wrong answer".into());
                }
                request += 1;
                state = step(state, request);
                tickets.push_back((port.try_ask(cell, request)?, state));
            }
            for (ticket, expected) in tickets.drain(..) {
                if port.wait(ticket)? != expected {
                    return Err("a wrong answer".into());
                }
            }
            Ok(())
        })
    })
}

fn spray(ours: &Ours<'_>) -> Measured<Figure> {
    let runtime = ours.runtime(1)?;
    let group = block_on(runtime.launch_many(SPRAYED, LaunchOptions::default(), |_| Cell::new()))?;
    let cells: Vec<Address<Cell>> = (0..SPRAYED).filter_map(|i| group.address().get(i)).collect();
    let mut port = runtime.port(1)?;
    let (mut state, mut round) = (0, 0);
    ours.against("spray-10000", Floor::SlotFlagRing, || {
        let slice = ours.stream(ours.messages(), |messages| {
            for _ in 0..messages / u64::from(SPRAYED) {
                round += 1;
                state = step(state, round);
                for cell in &cells {
                    port.tell(*cell, round)?;
                }
            }
            // Answered after all the others, because a port's messages to one worker arrive in order.
            if port.ask(cells[cells.len() - 1], ())? == state { Ok(()) } else { Err("a wrong answer".into()) }
        })?;
        for cell in &cells {
            if port.ask(*cell, ())? != state {
                return Err("a lost message".into());
            }
        }
        Ok(slice)
    })
}

fn million_actors(ours: &Ours<'_>) -> Measured<Figure> {
    let count: u32 = if ours.quick { 50_000 } else { 1_000_000 };
    let clock = ours.stage.clock;
    let runtime = ours.runtime(1)?;
    let mut port = runtime.port(OUTSTANDING)?;
    // What earlier figures have freed goes back first, or it would hide what this one takes.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointers.
    unsafe {
        libc::malloc_trim(0);
    }
    let before = resident_bytes();
    let started = clock.now();
    let group = block_on(runtime.launch_many(count, LaunchOptions::default(), |_| Cell::new()))?;
    let launched = clock.now() - started;
    let mut tickets = VecDeque::with_capacity(OUTSTANDING as usize);
    for index in 0..count {
        if tickets.len() == OUTSTANDING as usize
            && let Some((ticket, expected)) = tickets.pop_front()
            && port.wait(ticket)? != expected
        {
            return Err("a wrong answer".into());
        }
        let cell = group.address().get(index).ok_or("an actor is missing")?;
        let request = u64::from(index);
        tickets.push_back((port.try_ask(cell, request)?, step(0, request)));
    }
    for (ticket, expected) in tickets {
        if port.wait(ticket)? != expected {
            return Err("a wrong answer".into());
        }
    }
    let answered = clock.now() - started;
    let mut figure = Figure::named("million-actors", u64::from(count));
    figure.ns_per_actor = Some(clock.nanoseconds(launched) / f64::from(count));
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        figure.bytes_per_actor = Some((after.saturating_sub(before)) as f64 / f64::from(count) - size_of::<Cell>() as f64);
    }
    Ok(figure.note(&format!(
        "resident memory beyond the {} bytes of state, after an answer by each; {:.1} ns each to launch and have the first answer",
        size_of::<Cell>(),
        clock.nanoseconds(answered) / f64::from(count)
    )))
}

/// Resident memory of this process, where the system tells.
fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    #[cfg(target_os = "linux")]
    {
        // SAFETY: takes no pointers.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Some(pages * u64::try_from(size).ok()?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pages;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Effort;

    #[test]
    fn every_figure_is_measured_and_every_answer_checked() {
        let Ok(stage) = Stage::new(Effort::quick()) else { return };
        for subject in SUBJECTS {
            let figure = subject.measure(&stage, &Backend::Cpu, true).unwrap();
            assert_eq!(figure.name, subject.name);
            assert!(figure.p50_ns.or(figure.per_second).or(figure.ns_per_actor).is_some(), "{}", subject.name);
        }
    }
}
