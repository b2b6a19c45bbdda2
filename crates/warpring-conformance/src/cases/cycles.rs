//! Section 4, cycles of asks.

use std::time::{Duration, Instant};

use warpring::prelude::*;
use warpring::{AskCycle, Group, Reply, block_on};

use crate::kernels::relay::{ReadRally, Relay, Serve, Through, Walk};
use crate::kernels::subject::{Add, Busy, Nap, Subject};
use crate::setup::{Named, PATIENCE, Setup, end, eventually, launch_on, same};

/// A cycle that was found took less than this; its asks may last for [`PATIENCE`].
const SOON: Duration = Duration::from_secs(3);

pub(super) fn a_cycle_is_found(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    for workers in [(0, 0), (0, 1)] {
        let a = launch_on(&runtime, workers.0, Relay::default())?;
        let b = launch_on(&runtime, workers.1, Relay::default())?;
        let before = runtime.ask_cycles().len();
        let start = Instant::now();
        // It goes to `b`, and comes back to `a`, which waits.
        let answer = a.ask(Through { to: b.address(), then: a.address(), depth: 2 }).wait();
        let Err(AskError::Cycle(AskCycle { actors, length, .. })) = answer else {
            return Err(format!("a cycle of two actors: {answer:?}"));
        };
        same("the actors of the cycle, and how many", (actors, length), (vec![a.id(), b.id()], 2))?;
        let listed = runtime.ask_cycles();
        same("cycles that are listed", listed.len() - before, 1)?;
        if start.elapsed() > SOON {
            return Err(format!("it took {:?}", start.elapsed()));
        }
        for (from, to) in [(&a, &b), (&b, &a)] {
            let through = Through { to: to.address(), then: from.address(), depth: 1 };
            same("an ask through both afterwards", from.ask(through).wait(), Ok(1))?;
        }
    }
    // Whoever waits for an actor of the cycle hears of it, too, where the error is handed on.
    let [a, b, c] = [0, 1, 1].map(|worker| launch_on(&runtime, worker, Relay::default()));
    let (a, b, c) = (a?, b?, c?);
    let outside = c.ask(Through { to: a.address(), then: b.address(), depth: 3 }).wait();
    // `c` asks `a`, `a` asks `b`, `b` asks `a`, which waits.
    match outside {
        Err(AskError::Cycle(cycle)) => same("the actors of the cycle", cycle.actors, vec![a.id(), b.id()])?,
        other => return Err(format!("an ask of an actor of a cycle: {other:?}")),
    }
    end(runtime)
}

/// Paths are numbers in a group.
fn walk(group: &Group<Relay>, path: &[u16], pause_ns: u64) -> Walk {
    let mut walk = Walk {
        group: group.address(),
        path: [0; 16],
        length: path.len() as u32,
        at: 0,
        within_ns: 2 * PATIENCE.as_nanos() as u64,
        pause_ns,
    };
    walk.path[..path.len()].copy_from_slice(path);
    walk
}

fn send(group: &Group<Relay>, path: &[u16], pause_ns: u64) -> Result<Reply<Walk, u32>, String> {
    let first = group.get(path[0].into()).ok_or("a path that leaves the group")?;
    first.ask(walk(group, path, pause_ns)).within(3 * PATIENCE).send().named("asking")
}

fn launch(setup: &Setup, actors: u32, ask_limit: Duration) -> Result<(Runtime, Group<Relay>), String> {
    let workers = setup.scale(3, 2);
    let runtime = setup.builder().workers(workers).ask_limit(ask_limit).build().named("building the runtime")?;
    let launched = runtime.launch_many(actors, LaunchOptions::default(), |_| Relay::default());
    let group = block_on(launched).named("launching a group")?;
    Ok((runtime, group))
}

pub(super) fn many_cycles_are_found(setup: &Setup) -> Result<(), String> {
    for length in [2, 3, 7, 8, 15] {
        let (runtime, group) = launch(setup, 64, PATIENCE)?;
        let start = Instant::now();
        // All along one cycle at once, each from an actor of its own.
        let path = |from: u16| (0..=length).map(|i| (from + i) % length).collect::<Vec<u16>>();
        let sent = (0..length).map(|from| send(&group, &path(from), 500_000)).collect::<Result<Vec<_>, _>>()?;
        let mut found = 0;
        for reply in sent {
            match reply.wait() {
                Ok(_) => {}
                Err(AskError::Cycle(cycle)) => {
                    found += 1;
                    same("actors of the cycle", cycle.length, length.into())?;
                    same("those that are named", cycle.actors.len(), usize::from(length.min(7)))?;
                }
                Err(other) => return Err(format!("a cycle of {length}: {other}")),
            }
        }
        if found == 0 || start.elapsed() > SOON {
            return Err(format!("{found} cycles of {length} were found, after {:?}", start.elapsed()));
        }
        end(runtime)?;
    }
    // Paths at random: whatever is in each other's way comes to an end.
    let (runtime, group) = launch(setup, 12, PATIENCE)?;
    let mut dice = Dice(0x5eed);
    let start = Instant::now();
    let mut cycles = 0;
    for _ in 0..setup.scale(12, 3) {
        let mut sent = Vec::new();
        for _ in 0..12 {
            let path: Vec<u16> = (0..2 + dice.roll(8)).map(|_| dice.roll(12) as u16).collect();
            sent.push(send(&group, &path, 100_000)?);
        }
        for reply in sent {
            match reply.wait() {
                Ok(_) | Err(AskError::Handler(KernelError::AskedItself)) => {}
                Err(AskError::Cycle(_)) => cycles += 1,
                Err(other) => return Err(format!("a random walk: {other}")),
            }
        }
    }
    if cycles == 0 || start.elapsed() > 4 * PATIENCE {
        return Err(format!("{cycles} cycles were found, after {:?}", start.elapsed()));
    }
    end(runtime)
}

pub(super) fn no_cycle_is_made_up(setup: &Setup) -> Result<(), String> {
    // The limit of asks that state none says how soon workers suspect an ask: here at once. All asks below state theirs.
    let (runtime, group) = launch(setup, 12, Duration::from_nanos(8))?;
    let mut dice = Dice(0xacc1);
    for round in 0..setup.scale(40, 4) {
        let mut sent = Vec::new();
        for _ in 0..24 {
            // Always upwards, so that nobody asks somebody who waits for it.
            let mut path: Vec<u16> = (0..12).filter(|_| dice.roll(3) > 0).collect();
            if path.is_empty() {
                path.push(0);
            }
            // In every other round downwards: what one asked another, the other soon asks it.
            if round % 2 == 1 {
                path.reverse();
            }
            let pause = [0, 0, 1_000, 30_000][dice.roll(4) as usize];
            sent.push((path.len() as u32, send(&group, &path, pause)?));
        }
        for (length, reply) in sent {
            same("actors of a walk", reply.wait().named("a walk that meets no other")?, length)?;
        }
    }
    // Pairs that ask each other in turn: when one asks, the other waits for an answer that is on its way already.
    let (count, within_ns) = (setup.scale(400, 100), PATIENCE.as_nanos() as u64);
    let mut pairs = Vec::new();
    for i in 0..6 {
        let pair = [launch_on(&runtime, i % 2, Relay::default())?, launch_on(&runtime, (i + 1) % 2, Relay::default())?];
        pair[0].tell(Serve { to: pair[1].address(), left: count, within_ns }).wait().named("serving")?;
        pairs.push(pair);
    }
    for pair in &pairs {
        eventually("a rally has ended", || {
            let mut sum = [0, 0];
            for actor in pair {
                let read = actor.ask(ReadRally).within(3 * PATIENCE).wait().named("reading a rally")?;
                sum = [sum[0] + read[0], sum[1] + read[1]];
            }
            same("passes that failed", sum[1], 0)?;
            Ok(sum[0] == count + 1)
        })?;
    }
    // One that many wait for, and that waits long for another.
    let hub = launch_on(&runtime, 0, Subject::default())?;
    let limit = 3 * PATIENCE;
    let sleeps = hub.ask(Nap { ns: 30_000_000, n: 0 }).within(limit).send().named("asking")?;
    if !setup.simulated() {
        let busy = launch_on(&runtime, 1, Subject::default())?;
        busy.ask(Busy { ns: 5_000_000 }).within(limit).wait().named("a busy worker")?;
    }
    let asks: Vec<_> = (0..50).map(|_| hub.ask(Add { n: 1 }).within(limit).send()).collect();
    sleeps.wait().named("a handler that sleeps")?;
    for ask in asks {
        ask.named("asking")?.wait().named("an ask of a busy actor")?;
    }
    same("cycles that were found", runtime.ask_cycles(), Vec::new())?;
    end(runtime)
}

/// What a seed gives, it gives again (Marsaglia's xorshift).
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }
}
