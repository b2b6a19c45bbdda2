//! Steps that load the runtime with actors of the conformance suite.

use super::step::{Answer, On, Outcome, about_to};
use serde_json::json;
use std::collections::VecDeque;
use std::time::Instant;
use warpring::prelude::*;
use warpring::{Refusal, block_on};
use warpring_conformance::kernels::cell::{Cell, Mix, mixed};
use warpring_conformance::kernels::mortal::{Mortal, ReadLife, Start};
use warpring_conformance::kernels::relay::{Relay, Through, Travel};
use warpring_conformance::kernels::subject::{Add, CRASH_LINE, Crash, Get, Nap, Subject};
use warpring_conformance::{Fates, Letters, Named, eventually, launch_on, same};

fn end(runtime: Runtime) -> Result<(), String> {
    block_on(runtime.shutdown()).named("shutting down")
}

fn per_second(count: u64, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64().max(1e-9)
}

/// Step `many-actors`: ten million messages to ten thousand actors, every reply against a model.
///
/// # Errors
/// A wrong reply, or none.
pub fn many_actors(on: &On) -> Answer {
    const WINDOW: usize = 256;
    let (actors, messages) = on.scale((10_000_u32, 10_000_000_u64), (300, 30_000));
    about_to(format_args!("{actors} actors"));
    let runtime = on.builder().build().named("building the runtime")?;
    let launched = runtime.launch_many(actors, LaunchOptions::default(), |i| Cell::new(u64::from(i)));
    let group = block_on(launched).named("launching")?.address();
    let addresses: Vec<_> = (0..actors).filter_map(|i| group.get(i)).collect();
    same("actors launched", addresses.len(), actors as usize)?;
    let mut states: Vec<u64> = (0..u64::from(actors)).collect();
    let mut port = runtime.port(WINDOW as u32).named("opening a port")?;
    let mut asked = VecDeque::with_capacity(WINDOW);
    about_to(format_args!("{messages} messages"));
    let start = Instant::now();
    let mut index = 0;
    for n in 0..messages {
        if asked.len() == WINDOW
            && let Some((index, expected, ticket)) = asked.pop_front()
        {
            let reply = port.wait(ticket).named(format_args!("actor {index}"))?;
            same(format_args!("the reply of actor {index}"), reply, expected)?;
        }
        // A stride that has no factor in common with the number of actors visits them all, and never two neighbours in turn.
        index = (index + 7919) % actors as usize;
        states[index] = mixed(states[index], n);
        asked.push_back((index, states[index], port.send(addresses[index], Mix { n }).named("asking")?));
    }
    for (index, expected, ticket) in asked {
        let reply = port.wait(ticket).named(format_args!("actor {index}"))?;
        same(format_args!("the reply of actor {index}"), reply, expected)?;
    }
    let rate = per_second(messages, start);
    let workers = runtime.workers();
    drop(port);
    end(runtime)?;
    Outcome::passed(
        format!("{actors} actors on {workers} workers, {messages} messages, every reply as computed, {:.2} M/s", rate / 1e6),
        json!({ "actors": actors, "workers": workers, "messages": messages, "messages_per_second": rate, "window": WINDOW }),
    )
}

/// Step `cycles`: actors ask each other around workers, many at once, through small rings.
///
/// # Errors
/// An ask without an answer, which is what a deadlock comes to.
pub fn cycles(on: &On) -> Answer {
    const WORKERS: u32 = 3;
    let (triples, rounds) = on.scale((48, 1_000_u32), (12, 6));
    let runtime = on.setup().builder().workers(WORKERS).ring_lines(32).build().named("building the runtime")?;
    about_to(format_args!("{triples} triples of actors, {rounds} rounds"));
    let start = Instant::now();
    let mut asks: u64 = 0;
    let mut actors = Vec::new();
    for i in 0..triples {
        // Around the workers one way, and the other way.
        let step = 1 + i % 2;
        let relay = |at: u32| launch_on(&runtime, (i + at * step) % WORKERS, Relay::default());
        actors.push([relay(0)?, relay(1)?, relay(2)?]);
    }
    for _ in 0..rounds {
        let mut sent = VecDeque::new();
        for [a, b, c] in &actors {
            let through = Through { to: b.address(), then: c.address(), depth: 2 };
            loop {
                match a.ask(through).send() {
                    Ok(reply) => {
                        sent.push_back(reply);
                        break;
                    }
                    Err(AskError::NotHandled { reason: Refusal::RingFull { .. }, .. }) => {
                        let Some(first) = sent.pop_front() else { continue };
                        same("asks of a triple", first.wait().named("a triple")?, 2)?;
                    }
                    Err(other) => return Err(format!("asking a triple: {other}")),
                }
            }
        }
        for reply in sent {
            same("asks of a triple", reply.wait().named("a triple")?, 2)?;
        }
        asks += 3 * u64::from(triples);
    }
    // Rows of actors on all workers, each asking one of the next row.
    let (width, rows) = on.scale((61, 7), (11, 3));
    about_to(format_args!("rows of {width} actors"));
    let launched = runtime.launch_many(width * (rows + 1), LaunchOptions::default(), |_| Relay::default());
    let group = block_on(launched).named("launching")?;
    for _ in 0..on.scale(100, 2) {
        let mut sent = Vec::new();
        for index in 0..width {
            let relay = group.get(index).ok_or("an actor is missing")?;
            let travel = Travel { group: group.address(), index, width, rows };
            match relay.ask(travel).send() {
                Ok(reply) => sent.push(reply),
                Err(AskError::NotHandled { reason: Refusal::RingFull { .. }, .. }) => {
                    same("asks of a chain", relay.ask(travel).wait().named("a chain")?, rows + 1)?;
                }
                Err(other) => return Err(format!("asking a chain: {other}")),
            }
            asks += u64::from(rows) + 1;
        }
        for reply in sent {
            same("asks of a chain", reply.wait().named("a chain")?, rows + 1)?;
        }
    }
    let rate = per_second(asks, start);
    end(runtime)?;
    Outcome::passed(
        format!("{asks} asks around {WORKERS} workers through rings of 32 lines, every one answered, {:.2} M/s", rate / 1e6),
        json!({ "asks": asks, "workers": WORKERS, "asks_per_second": rate }),
    )
}

/// Step `full-rings`: rings of sixteen lines, mailboxes of four messages and all senders at once: every message is accounted for.
///
/// # Errors
/// A message without a fate, or with two.
pub fn full_rings(on: &On) -> Answer {
    let each = on.scale(100_000_u32, 200);
    let setup = on.setup();
    let builder = setup.builder().workers(3).ring_lines(16).waiting_messages(32).suspended_handlers(16);
    let (letters, builder) = Letters::of(builder);
    let runtime = builder.build().named("building the runtime")?;
    let mut actors = Vec::new();
    for i in 0..6 {
        let options = LaunchOptions::default().on_worker(i % 3).mailbox(4);
        let launched = runtime.launch(Mortal::new(Start::Plain, Address::default()), options);
        actors.push(block_on(launched).named("launching")?);
    }
    about_to(format_args!("4 senders of {each} messages each"));
    let start = Instant::now();
    let send = |sender: u32, port: Option<Port>| flood(&actors, sender, port, each);
    let mut ports = [Some(runtime.port(8).named("opening a port")?), Some(runtime.port(8).named("opening a port")?), None, None];
    let counts: Vec<Flood> = if setup.simulated() {
        (0..).zip(&mut ports).map(|(sender, port)| send(sender, port.take())).collect::<Result<_, _>>()?
    } else {
        std::thread::scope(|scope| {
            let send = &send;
            let threads: Vec<_> = (0..)
                .zip(&mut ports)
                .map(|(sender, port)| (sender, port.take()))
                .map(|(sender, port)| scope.spawn(move || send(sender, port)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err("a sender panicked".into())))
                .collect::<Result<_, _>>()
        })?
    };
    let seconds = start.elapsed().as_secs_f64();
    let all = counts.iter().fold(Flood::default(), Flood::plus);
    about_to("looking for every message");
    let accepted = all.told + all.answered;
    let mut handled = 0;
    let mut dead = 0;
    eventually("every accepted message is handled or a dead letter", || {
        handled = 0;
        for actor in &actors {
            match actor.ask(ReadLife).wait() {
                Ok(life) => handled += u64::from(life.handled),
                // There is still so much to do that the question finds no room.
                Err(AskError::NotHandled { reason: Refusal::MailboxFull { .. } | Refusal::Overloaded { .. }, .. }) => {
                    return Ok(false);
                }
                Err(other) => return Err(format!("asking an actor for its count: {other}")),
            }
        }
        dead = letters.others().len() as u64;
        Ok(handled + dead >= accepted)
    })
    .named(format_args!("{handled} handled, {dead} dead letters, {all:?}"))?;
    same("handled and dead letters, against accepted", handled + dead, accepted)?;
    same("accepted and returned, against sent", accepted + all.returned, 4 * u64::from(each))?;
    if all.full == 0 && !setup.simulated() {
        return Err("no ring was ever full, so this showed nothing".into());
    }
    end(runtime)?;
    Outcome::passed(
        format!(
            "{} messages by 4 senders: {handled} handled, {dead} dead letters, {} returned; {} times a ring was full",
            4 * u64::from(each),
            all.returned,
            all.full
        ),
        json!({
            "sent": 4 * u64::from(each), "handled": handled, "dead_letters": dead, "returned": all.returned, "rings_full": all.full,
            "seconds": seconds,
        }),
    )
}

/// What one sender knows of its messages.
#[derive(Clone, Copy, Debug, Default)]
struct Flood {
    told: u64,
    answered: u64,
    returned: u64,
    /// How often a ring was full; those messages were sent again, by a call that waits.
    full: u64,
}

impl Flood {
    const fn plus(self, other: &Self) -> Self {
        Self {
            told: self.told + other.told,
            answered: self.answered + other.answered,
            returned: self.returned + other.returned,
            full: self.full + other.full,
        }
    }
}

fn flood(actors: &[ActorRef<Mortal>], sender: u32, mut port: Option<Port>, each: u32) -> Result<Flood, String> {
    let mut count = Flood::default();
    for i in 0..each {
        let actor = &actors[(i * 5 + sender) as usize % actors.len()];
        let (add, nap) = (Add { n: 1 }, Nap { ns: 2_000, n: 1 });
        if i % 64 == 63 {
            // An answer now and then, so that not everything is refused.
            let answer = match &mut port {
                Some(port) => port.ask(actor.address(), add),
                None => actor.ask(add).wait(),
            };
            match answer {
                Ok(_) => count.answered += 1,
                Err(AskError::NotHandled { .. }) => count.returned += 1,
                Err(other) => return Err(format!("an ask: {other}")),
            }
            continue;
        }
        let tried = match (&mut port, i % 4) {
            (Some(port), 0) => port.try_tell(actor.address(), nap).map_err(|error| error.reason),
            (Some(port), _) => port.try_tell(actor.address(), add).map_err(|error| error.reason),
            (None, 0) => actor.try_tell(nap).map_err(|error| error.reason),
            (None, _) => actor.try_tell(add).map_err(|error| error.reason),
        };
        match tried {
            Ok(()) => {}
            Err(Refusal::RingFull { .. }) => {
                count.full += 1;
                match &mut port {
                    Some(port) => port.tell(actor.address(), add).named("a tell that waits")?,
                    None => actor.tell(add).wait().named("a tell that waits")?,
                }
            }
            Err(other) => return Err(format!("a tell: {other}")),
        }
        count.told += 1;
    }
    Ok(count)
}

/// Step `panic`: handlers that panic, among others that go on.
///
/// # Errors
/// A place that does not come back, or an actor or worker that suffered.
pub fn panic(on: &On) -> Answer {
    const WORKERS: u32 = 2;
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let panics = on.scale(200, 10);
    let runtime = on.setup().builder().build().named("building the runtime")?;
    let mut others = Vec::new();
    for i in 0..20 {
        others.push(launch_on(&runtime, i % WORKERS, Subject::default())?);
    }
    let mut total = 0;
    for round in 0..panics {
        let actor = launch_on(&runtime, round % WORKERS, Subject::default())?;
        let crash = Crash { pause_ns: if round % 3 == 0 { 10_000 } else { 0 } };
        let crashed = actor.ask(crash).send().named("asking")?;
        // In the middle of it, all others are asked.
        for other in &others {
            same("the total of another actor", other.ask(Add { n: 1 }).wait().named("another actor")?, total + 1)?;
        }
        total += 1;
        match crashed.wait() {
            Err(AskError::Panicked { actor: which, file, line, .. })
                if which == actor.id() && file.ends_with("kernels/subject.rs") && line == CRASH_LINE => {}
            other => return Err(format!("panic {round}: {other:?}")),
        }
        match actor.ask(Get).wait() {
            Err(AskError::NotHandled { reason: Refusal::ActorStopped(_), .. }) => {}
            other => return Err(format!("an actor that has panicked, asked again: {other:?}")),
        }
    }
    let stats = block_on(runtime.stats()).named("statistics")?;
    let counted: u64 = stats.workers.iter().map(|worker| worker.counters.panics).sum();
    same("panics that the workers counted", counted, u64::from(panics))?;
    end(runtime)?;
    Outcome::passed(
        format!(
            "{panics} handlers panicked at line {CRASH_LINE} of subject.rs, {} other actors and both workers went on",
            others.len()
        ),
        json!({ "panics": panics, "other_actors": others.len(), "messages_to_others": total * others.len() as u64 }),
    )
}

/// Step `stop-under-load`: runtimes that end while senders run, by `shutdown` and by a drop.
///
/// # Errors
/// A message without a fate, or with two.
pub fn stop_under_load(on: &On) -> Answer {
    let (rounds, most) = on.scale((100, 20_000), (6, 60));
    let mut all = Fates::default();
    for round in 0..rounds {
        about_to(format_args!("round {round} of {rounds}"));
        let fates = warpring_conformance::stop_under_load(&on.setup(), round, round % 2 == 1, most)
            .named(format_args!("round {round}"))?;
        all = Fates {
            tried: all.tried + fates.tried,
            handled: all.handled + fates.handled,
            dead: all.dead + fates.dead,
            returned: all.returned + fates.returned,
        };
    }
    if all.handled == 0 || all.dead + all.returned == 0 {
        return Err(format!("the ends never came in the middle, so this showed nothing: {all:?}"));
    }
    let Fates { tried, handled, dead, returned } = all;
    Outcome::passed(
        format!(
            "{rounds} ends: of {tried} messages {handled} handled, {dead} dead letters, {returned} returned, none lost, none twice"
        ),
        json!({ "rounds": rounds, "tried": tried, "handled": handled, "dead_letters": dead, "returned": returned }),
    )
}
