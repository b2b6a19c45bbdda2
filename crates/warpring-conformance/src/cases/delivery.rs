//! Section 1: delivery and order.

use warpring::prelude::*;

use crate::kernels::relay::{Look, Relay, Spread};
use crate::kernels::subject::{Log, Note, ReadLog, Subject};
use crate::setup::{Held, Named, Setup, end, eventually, launch, launch_on, same};

/// So many senders of so many notes each have arrived, each once and in order.
fn all_there(log: &Log, senders: u32, count: u32) -> Result<(), String> {
    let sum = u64::from(senders) * u64::from(count) * (u64::from(count) + 1) / 2;
    same("number, sum and wrong order of notes", (log.count, log.sum, log.out_of_order), (senders * count, sum, 0))
}

fn read(subject: &ActorRef<Subject>) -> Result<Log, String> {
    subject.ask(ReadLog).wait().named("reading the log")
}

/// Has all notes, which may still be on their way from other senders than a handle.
fn arrived(subject: &ActorRef<Subject>, senders: u32, count: u32) -> Result<(), String> {
    eventually("all notes", || Ok(read(subject)?.count >= senders * count))?;
    all_there(&read(subject)?, senders, count)
}

pub(super) fn handles_are_in_order(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let count = setup.scale(20_000, 300);
    for worker in 0..2 {
        let subject = launch_on(&runtime, worker, Subject::default())?;
        // Each quarter by a thread of its own, through two handles.
        for quarter in 0..4 {
            let handles = [subject.clone(), subject.clone()];
            let send = move || {
                (quarter * count / 4 + 1..=(quarter + 1) * count / 4)
                    .try_for_each(|seq| handles[seq as usize % 2].tell(Note { from: 0, seq }).wait().named("telling"))
            };
            std::thread::spawn(send).join().unwrap_or_else(|_| Err("a sender panicked".into()))?;
        }
        all_there(&read(&subject)?, 1, count)?;
    }
    // Those that wait in a mailbox are not overtaken by those that come while it empties.
    let held = Held::with(&runtime, LaunchOptions::default().mailbox(u16::MAX))?;
    let subject = held.subject.clone();
    let (waiting, coming) = (900, setup.scale(5_000, 900));
    for seq in 1..=waiting {
        subject.tell(Note { from: 0, seq }).wait().named("telling")?;
    }
    held.settle()?;
    held.release()?;
    for seq in waiting + 1..=waiting + coming {
        subject.tell(Note { from: 0, seq }).wait().named("telling")?;
    }
    all_there(&read(&subject)?, 1, waiting + coming)?;
    end(runtime)
}

pub(super) fn a_port_is_in_order(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let count = setup.scale(20_000, 300);
    for worker in 0..2 {
        let subject = launch_on(&runtime, worker, Subject::default())?;
        let mut port = runtime.port(8).named("opening a port")?;
        for seq in 1..=count {
            let note = Note { from: 0, seq };
            // Tells and asks are of one stream.
            if seq.is_multiple_of(64) {
                port.ask(subject.address(), note).named("asking")?;
            } else {
                port.tell(subject.address(), note).named("telling")?;
            }
        }
        all_there(&port.ask(subject.address(), ReadLog).named("reading the log")?, 1, count)?;
    }
    end(runtime)
}

fn by_actors(setup: &Setup, senders: u32, receiver: u32) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let count = setup.scale(5_000, 150);
    let subject = launch_on(&runtime, receiver, Subject::default())?;
    let relays = [launch_on(&runtime, senders, Relay::default())?, launch_on(&runtime, senders, Relay::default())?];
    let mut sent = Vec::new();
    for (from, relay) in relays.iter().enumerate() {
        let spread = Spread { to: subject.address(), from: from as u32, count };
        sent.push(relay.ask(spread).send().named("asking a relay")?);
    }
    for reply in sent {
        same("notes told", reply.wait().named("a relay")?, u64::from(count))?;
    }
    arrived(&subject, 2, count)?;
    end(runtime)
}

pub(super) fn near_actors_are_in_order(setup: &Setup) -> Result<(), String> {
    by_actors(setup, 0, 0)
}

pub(super) fn far_actors_are_in_order(setup: &Setup) -> Result<(), String> {
    by_actors(setup, 0, 1)?;
    by_actors(setup, 1, 0)
}

pub(super) fn many_senders(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().workers(3).build().named("building the runtime")?;
    // Eight senders to each of two actors: 96,000 messages.
    let count = setup.scale(6_000, 60);
    let mut subjects = Vec::new();
    for worker in [0, 2] {
        let options = LaunchOptions::default().on_worker(worker).mailbox(u16::MAX);
        subjects.push(warpring::block_on(runtime.launch(Subject::default(), options)).named("launching an actor")?);
    }
    let mut relays = Vec::new();
    for worker in 0..3 {
        relays.push(launch_on(&runtime, worker, Relay::default())?);
    }
    let mut spreads = Vec::new();
    for (from, relay) in relays.iter().enumerate() {
        for subject in &subjects {
            let spread = Spread { to: subject.address(), from: from as u32, count };
            spreads.push(relay.ask(spread).send().named("asking a relay")?);
        }
    }
    // Senders 3 and 4 have a port, 5 and 6 a handle; where there are no threads beside us, they take turns.
    let send = |from: u32, port: Option<Port>| -> Result<(), String> {
        let mut port = port;
        for seq in 1..=count {
            for subject in &subjects {
                let note = Note { from, seq };
                match &mut port {
                    Some(port) => port.tell(subject.address(), note).named("telling")?,
                    None => subject.tell(note).wait().named("telling")?,
                }
                // An answer now and then, so that no mailbox overflows.
                if seq.is_multiple_of(500) {
                    subject.ask(ReadLog).wait().named("asking")?;
                }
            }
        }
        Ok(())
    };
    if setup.simulated() {
        for from in 3..8 {
            send(from, if from < 5 { Some(runtime.port(1).named("opening a port")?) } else { None })?;
        }
    } else {
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for from in 3..8 {
                let port = if from < 5 { Some(runtime.port(1).named("opening a port")?) } else { None };
                let send = &send;
                threads.push(scope.spawn(move || send(from, port)));
            }
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a sender panicked".into())))
        })?;
    }
    for reply in spreads {
        same("notes told", reply.wait().named("a relay")?, u64::from(count))?;
    }
    for subject in &subjects {
        arrived(subject, 8, count)?;
    }
    end(runtime)
}

pub(super) fn the_sender_is_named(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (near, far) = (launch_on(&runtime, 0, Relay::default())?, launch_on(&runtime, 1, Relay::default())?);
    let other = launch(&runtime, Relay::default())?;
    for relay in [&near, &far] {
        let seen = relay.ask(Look { via: Address::default() }).wait().named("asking")?;
        same("sent by the host, handled by", (seen.from_host, seen.own), (true, relay.id()))?;
        let mut port = runtime.port(1).named("opening a port")?;
        let seen = port.ask(relay.address(), Look { via: Address::default() }).named("asking")?;
        same("sent by a port, handled by", (seen.from_host, seen.own), (true, relay.id()))?;
    }
    for (asker, asked) in [(&near, &far), (&far, &near), (&other, &near)] {
        let seen = asker.ask(Look { via: asked.address() }).wait().named("asking")?;
        same("host, sender and handler", (seen.from_host, seen.sender, seen.own), (false, asker.id(), asked.id()))?;
    }
    end(runtime)
}
