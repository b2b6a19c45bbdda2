//! Section 4: asks and deadlines.

use std::collections::VecDeque;
use std::time::Duration;

use warpring::prelude::*;
use warpring::{Refusal, block_on};

use crate::kernels::relay::{AskSelf, Forward, Look, Relay, Spread, Through, Travel};
use crate::kernels::subject::{Add, Busy, Get, Nap, ReadLog, Subject};
use crate::setup::{Held, Named, Setup, end, launch_on, same};

const AN_HOUR_NS: u64 = 3_600_000_000_000;

pub(super) fn a_limit_ends_an_ask(setup: &Setup) -> Result<(), String> {
    let limit = Duration::from_millis(15);
    let runtime = setup.builder().ask_limit(limit).build().named("building the runtime")?;
    let mut port = runtime.port(1).named("opening a port")?;
    let nap = Nap { ns: AN_HOUR_NS, n: 0 };
    for by in ["wait", "await", "port"] {
        let subject = launch_on(&runtime, 0, Subject::default())?;
        let answer = match by {
            "wait" => subject.ask(nap).wait(),
            "await" => block_on(subject.ask(nap).into_future()),
            _ => port.ask(subject.address(), nap),
        };
        match answer {
            Err(AskError::Deadline { actor, waited }) if actor == subject.id() && waited >= limit => {}
            other => return Err(format!("an ask of {limit:?} by {by} of an actor that sleeps for an hour: {other:?}")),
        }
    }
    // The sleepers are not waited for.
    drop(runtime);
    Ok(())
}

/// Lets time pass on worker 0 and for the host: the deadline in a message is up to two steps of 65,536 ns behind the asker's.
fn let_time_pass(held: &Held) -> Result<(), String> {
    held.neighbour.ask(Nap { ns: 1_000_000, n: 0 }).wait().named("a nap").map(drop)
}

pub(super) fn an_expired_message_is_not_handled(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let held = Held::new(&runtime)?;
    let message = Add { n: 64 };
    let late = held.subject.ask(message).within(Duration::from_millis(1)).send().named("asking")?;
    let behind = held.subject.ask(Add { n: 1 }).send().named("asking")?;
    match held.subject.ask(message).within(Duration::from_millis(1)).wait() {
        Err(AskError::Deadline { .. } | AskError::NotHandled { reason: Refusal::Expired, .. }) => {}
        other => return Err(format!("an ask of an actor that does not come to it: {other:?}")),
    }
    let_time_pass(&held)?;
    let subject = held.subject.clone();
    held.open()?;
    same("the message behind", behind.wait(), Ok(1))?;
    match late.wait() {
        Err(AskError::NotHandled { reason: Refusal::Expired, message: back }) if back == message => {}
        // It looks at its own clock first.
        Err(AskError::Deadline { .. }) => {}
        other => return Err(format!("the message that expired: {other:?}")),
    }
    same("the total", subject.ask(Get).wait(), Ok(1))?;
    end(runtime)
}

pub(super) fn a_limit_in_a_handler(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let held = Held::new(&runtime)?;
    for worker in [0, 1] {
        let relay = launch_on(&runtime, worker, Relay::default())?;
        let forward = Forward { to: held.subject.address(), n: 64, within_ns: 1_000_000 };
        same("an ask by a handler", relay.ask(forward).wait(), Err(AskError::Handler(KernelError::Deadline)))?;
        same("the same actor afterwards", relay.ask(AskSelf).wait(), Ok(true))?;
    }
    let_time_pass(&held)?;
    let subject = held.subject.clone();
    held.open()?;
    same("the total, without what expired", subject.ask(Add { n: 1 }).wait(), Ok(1))?;
    end(runtime)
}

pub(super) fn a_late_reply_disturbs_nothing(setup: &Setup) -> Result<(), String> {
    // Two cells for replies, so that each is used again and again.
    let runtime = setup.builder().outstanding_asks(2).build().named("building the runtime")?;
    let subject = launch_on(&runtime, 0, Subject::default())?;
    let limit = Duration::from_micros(200);
    let mut total = 0;
    for round in 0..12 {
        let late = subject.ask(Nap { ns: 2_000_000, n: 1000 }).within(limit);
        match if round % 2 == 0 { late.wait() } else { block_on(late.into_future()) } {
            Err(AskError::Deadline { waited, .. }) if waited >= limit => {}
            Err(AskError::NotHandled { reason: Refusal::Expired, .. }) => {}
            // The host was not scheduled for as long as the handler slept.
            Ok(_) => {}
            other => return Err(format!("an ask of {limit:?} of an actor that sleeps for 2 ms: {other:?}")),
        }
        // In order behind the late one: its own answer, whatever has come to its cell before.
        let seen = subject.ask(Add { n: 1 }).wait().named("the ask after a late one")?;
        if seen != total + 1 && seen != total + 1001 {
            return Err(format!("the ask after a late one: found {seen}, after {total}"));
        }
        total = seen;
    }
    end(runtime)
}

pub(super) fn an_actor_cannot_ask_itself(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    for worker in [0, 1] {
        let relay = launch_on(&runtime, worker, Relay::default())?;
        same("refused", relay.ask(AskSelf).wait(), Ok(true))?;
        same("refused again", relay.ask(AskSelf).wait(), Ok(true))?;
    }
    end(runtime)
}

pub(super) fn a_suspended_handler_keeps_nobody(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let held = Held::new(&runtime)?;
    let look = Look { via: Address::default() };
    let mut port = runtime.port(8).named("opening a port")?;
    for worker in [0, 1] {
        let (asks, other) = (launch_on(&runtime, worker, Relay::default())?, launch_on(&runtime, worker, Relay::default())?);
        let forward = Forward { to: held.subject.address(), n: 0, within_ns: 0 };
        let forwarded = port.try_ask(asks.address(), forward).named("asking")?;
        let next = port.try_ask(asks.address(), look).named("asking")?;
        for _ in 0..20 {
            port.ask(other.address(), look).named("asking another actor of the worker")?;
        }
        // All of them came through one ring, so the next message has had its chance.
        let next = port.poll(next).err().ok_or("an actor took a message while its handler awaited a reply")?;
        let forwarded = port.poll(forwarded).err().ok_or("a reply came from an actor that was held")?;
        if worker == 1 {
            held.release()?;
            same("the ask that was awaited", port.wait(forwarded), Ok(0))?;
            port.wait(next).named("the next message")?;
        } else {
            drop((forwarded, next));
        }
    }
    held.first().wait().named("the handler that was held")?;
    end(runtime)
}

pub(super) fn chains_end(setup: &Setup) -> Result<(), String> {
    let (width, rows) = (setup.scale(41, 11), setup.scale(6, 3));
    // So small that requests and replies wait for room.
    let runtime = setup.builder().workers(3).ring_lines(32).build().named("building the runtime")?;
    let launched = runtime.launch_many(width * (rows + 1), LaunchOptions::default(), |_| Relay::default());
    let group = block_on(launched).named("launching a group")?;
    let mut sent = VecDeque::new();
    for i in 0..setup.scale(1_000, 40) {
        let index = i * 5 % width;
        let relay = group.get(index).ok_or("the group is too small")?;
        loop {
            match relay.ask(Travel { group: group.address(), index, width, rows }).send() {
                Ok(reply) => {
                    sent.push_back(reply);
                    break;
                }
                Err(AskError::NotHandled { reason: Refusal::RingFull { .. } | Refusal::TooManyAsks { .. }, .. }) => {
                    let first = sent.pop_front().ok_or("no room for a single ask")?;
                    same("actors on the way", first.wait().named("a chain")?, rows + 1)?;
                }
                Err(other) => return Err(format!("asking: {other}")),
            }
        }
    }
    for reply in sent {
        same("actors on the way", reply.wait().named("a chain")?, rows + 1)?;
    }
    end(runtime)?;
    replies_wait_for_room(setup)
}

/// Replies of two lines to asks of one, while the worker that asked is busy: the ring for replies is full first.
fn replies_wait_for_room(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().ring_lines(16).build().named("building the runtime")?;
    let asked = launch_on(&runtime, 1, Relay::default())?;
    let busy = [launch_on(&runtime, 0, Subject::default())?, launch_on(&runtime, 1, Subject::default())?];
    let askers: Vec<_> = (0..40).map(|_| launch_on(&runtime, 0, Relay::default())).collect::<Result<_, _>>()?;
    let mut port = runtime.port(64).named("opening a port")?;
    for _ in 0..setup.scale(5, 2) {
        // The worker that answers begins when the one that asked has stopped looking. In the simulator, where time stands still while
        // a handler runs, they take turns by chance.
        let keep = |worker: usize, ns| {
            if setup.simulated() {
                return Ok(None);
            }
            busy[worker].ask(Busy { ns }).send().map(Some).named("asking")
        };
        let answers_later = keep(1, 500_000)?;
        let mut sent = Vec::new();
        for asker in &askers {
            sent.push((asker.id(), port.send(asker.address(), Look { via: asked.address() }).named("asking")?));
        }
        let looks_later = keep(0, 1_500_000)?;
        for (asker, ticket) in sent {
            same("who asked", port.wait(ticket).named("an ask through full rings")?.sender, asker)?;
        }
        for kept in [answers_later, looks_later].into_iter().flatten() {
            kept.wait().named("a handler that keeps its worker")?;
        }
    }
    end(runtime)
}

pub(super) fn cycles_through_free_actors_end(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    // Every other of the triples goes 0, 1, 0, the others 1, 0, 1.
    let mut triples = Vec::new();
    for i in 0..8 {
        let on = |at: u32| launch_on(&runtime, (i + at) % 2, Relay::default());
        triples.push([on(0)?, on(1)?, on(2)?]);
    }
    for _ in 0..setup.scale(200, 6) {
        let mut sent = Vec::new();
        for [a, b, c] in &triples {
            let through = Through { to: b.address(), then: c.address(), depth: 2 };
            sent.push(a.ask(through).send().named("asking")?);
        }
        for reply in sent {
            same("asks on the way", reply.wait(), Ok(2))?;
        }
    }
    end(runtime)
}

pub(super) fn a_yield_lets_others_run(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    for worker in [0, 1] {
        // It yields until its neighbour's mailbox, of one message, has room.
        let options = LaunchOptions::default().on_worker(worker).mailbox(1);
        let subject = block_on(runtime.launch(Subject::default(), options)).named("launching an actor")?;
        let relay = launch_on(&runtime, worker, Relay::default())?;
        let count = setup.scale(500, 20);
        let told = relay.ask(Spread { to: subject.address(), from: 0, count }).wait();
        same("notes told", told, Ok(u64::from(count)))?;
        let log = subject.ask(ReadLog).wait().named("reading the log")?;
        same("notes and wrong order", (log.count, log.out_of_order), (count, 0))?;
    }
    end(runtime)
}
