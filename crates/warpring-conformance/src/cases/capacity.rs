//! Section 3: capacity and back-pressure.

use std::time::Instant;

use warpring::prelude::*;
use warpring::{Refusal, TellError, block_on};

use crate::kernels::relay::{Relay, Spread};
use crate::kernels::subject::{Add, Busy, Get, Note, ReadLog, Subject};
use crate::setup::{Held, Named, PATIENCE, Setup, end, eventually, launch_on, same};

pub(super) fn a_full_mailbox_refuses(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let held = Held::with(&runtime, LaunchOptions::default().mailbox(3))?;
    let subject = &held.subject;
    let mut queued = Vec::new();
    for n in 1..=3 {
        queued.push(subject.ask(Add { n }).send().named("asking")?);
    }
    let message = Add { n: 9 };
    let full = Err(AskError::NotHandled { reason: Refusal::MailboxFull { actor: subject.id(), capacity: 3 }, message });
    same("a blocking ask", subject.ask(message).wait(), full.clone())?;
    same("an awaited ask", block_on(subject.ask(message).into_future()), full.clone())?;
    let mut port = runtime.port(2).named("opening a port")?;
    same("a port's ask", port.ask(subject.address(), message), full)?;
    held.open()?;
    for (reply, total) in queued.into_iter().zip([1, 3, 6]) {
        same("what was accepted", reply.wait(), Ok(total))?;
    }
    end(runtime)
}

pub(super) fn a_full_mailbox_keeps(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let held = Held::with(&runtime, LaunchOptions::default().mailbox(20))?;
    let subject = held.subject.clone();
    let mut asked = Vec::new();
    for n in 0..60 {
        asked.push((n, subject.ask(Add { n: 1 << n }).send().named("asking")?));
    }
    held.open()?;
    let mut sum = 0;
    let mut accepted = 0;
    for (n, reply) in asked {
        match reply.wait() {
            Ok(_) => {
                sum += 1 << n;
                accepted += 1;
            }
            Err(AskError::NotHandled { reason: Refusal::MailboxFull { .. }, message }) => {
                same("what came back", message, Add { n: 1 << n })?;
            }
            Err(other) => return Err(format!("message {n}: {other}")),
        }
    }
    same("what was handled, as bits", subject.ask(Get).wait(), Ok(sum))?;
    // Those behind may have been sent after the handler went on.
    if accepted < 20 {
        return Err(format!("a mailbox of 20 messages took {accepted}"));
    }
    end(runtime)
}

pub(super) fn others_go_on(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let held = Held::with(&runtime, LaunchOptions::default().mailbox(1))?;
    let waits = held.subject.ask(Add { n: 1 }).send().named("asking")?;
    let mut port = runtime.port(2).named("opening a port")?;
    for n in 1..=100 {
        // One more for the full mailbox, then one for the neighbour, through the same ring.
        let refused = held.subject.ask(Add { n }).send().named("asking")?;
        same("the neighbour", held.neighbour.ask(Add { n: 1 }).wait(), Ok(2 * n - 1))?;
        same("the neighbour by port", port.ask(held.neighbour.address(), Add { n: 1 }), Ok(2 * n))?;
        match refused.wait() {
            Err(AskError::NotHandled { reason: Refusal::MailboxFull { .. }, .. }) => {}
            other => return Err(format!("a message for the full mailbox: {other:?}")),
        }
    }
    held.open()?;
    same("what was accepted", waits.wait(), Ok(1))?;
    end(runtime)
}

pub(super) fn a_full_ring_refuses(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().ring_lines(16).build().named("building the runtime")?;
    let (subject, other) = (launch_on(&runtime, 1, Subject::default())?, launch_on(&runtime, 1, Subject::default())?);
    let mut port = runtime.port(64).named("opening a port")?;
    let full = Refusal::RingFull { worker: 1 };
    let mut accepted = 0;
    let (mut by_handle, mut by_ask, mut by_port) = (false, false, false);
    let start = Instant::now();
    // While a handler keeps the worker, its rings fill up. In the simulator it rests as long as nobody waits. Where the handler ended
    // before the ring was full, once more.
    while !(by_handle && by_ask && by_port) {
        if start.elapsed() > PATIENCE {
            return Err(format!("no ring of 16 lines was ever full: handle {by_handle}, ask {by_ask}, port {by_port}"));
        }
        let busy = if setup.simulated() { None } else { Some(other.ask(Busy { ns: 5_000_000 }).send()) };
        for _ in 0..200 {
            match subject.try_tell(Add { n: 1 }) {
                Ok(()) => accepted += 1,
                Err(refused) => {
                    same("a handle's tell", refused, TellError { reason: full, message: Add { n: 1 } })?;
                    by_handle = true;
                    break;
                }
            }
        }
        match subject.ask(Add { n: 1 }).send() {
            Ok(reply) => {
                reply.wait().named("an ask that was accepted")?;
                accepted += 1;
            }
            Err(refused) => {
                same("a handle's ask", refused, AskError::NotHandled { reason: full, message: Add { n: 1 } })?;
                by_ask = true;
            }
        }
        for _ in 0..200 {
            match port.try_tell(subject.address(), Add { n: 1 }) {
                Ok(()) => accepted += 1,
                Err(refused) => {
                    same("a port's tell", refused, TellError { reason: full, message: Add { n: 1 } })?;
                    by_port = true;
                    break;
                }
            }
        }
        if let Some(Ok(busy)) = busy {
            busy.wait().named("the handler that keeps its worker")?;
        }
    }
    // There is no order between the port and the handle.
    let handled = || subject.ask(Get).wait().named("asking for the total");
    eventually("all that was accepted is handled", || Ok(handled()? >= accepted))?;
    same("handled of what was accepted", handled()?, accepted)?;
    end(runtime)
}

pub(super) fn a_full_ring_is_waited_for(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().ring_lines(16).build().named("building the runtime")?;
    let count = setup.scale(5_000, 200);
    let by_handle = launch_on(&runtime, 0, Subject::default())?;
    for seq in 1..=count {
        by_handle.tell(Note { from: 0, seq }).wait().named("telling")?;
    }
    let by_port = launch_on(&runtime, 1, Subject::default())?;
    let mut port = runtime.port(1).named("opening a port")?;
    for seq in 1..=count {
        port.tell(by_port.address(), Note { from: 0, seq }).named("telling by port")?;
    }
    for log in [by_handle.ask(ReadLog).wait(), port.ask(by_port.address(), ReadLog)] {
        let log = log.named("reading the log")?;
        same("notes and wrong order", (log.count, log.out_of_order), (count, 0))?;
    }
    end(runtime)
}

pub(super) fn actors_wait_for_rings(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().ring_lines(16).build().named("building the runtime")?;
    let count = setup.scale(3_000, 150);
    let subject = launch_on(&runtime, 1, Subject::default())?;
    let relays: Vec<_> = (0..3).map(|_| launch_on(&runtime, 0, Relay::default())).collect::<Result<_, _>>()?;
    let mut sent = Vec::new();
    for (from, relay) in relays.iter().enumerate() {
        let spread = Spread { to: subject.address(), from: from as u32, count };
        sent.push(relay.ask(spread).send().named("asking a relay")?);
    }
    for reply in sent {
        same("notes told", reply.wait(), Ok(u64::from(count)))?;
    }
    let log = || subject.ask(ReadLog).wait().named("reading the log");
    eventually("all notes", || Ok(log()?.count >= 3 * count))?;
    let log = log()?;
    same("notes and wrong order", (log.count, log.out_of_order), (3 * count, 0))?;
    end(runtime)
}

pub(super) fn a_full_window_refuses(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let held = Held::new(&runtime)?;
    let to = held.subject.address();
    let mut port = runtime.port(2).named("opening a port")?;
    let one = port.try_ask(to, Add { n: 1 }).named("asking")?;
    let two = port.try_ask(to, Add { n: 1 }).named("asking")?;
    let full = TellError { reason: Refusal::TooManyAsks { limit: 2 }, message: Add { n: 3 } };
    same("a third ask", port.try_ask(to, Add { n: 3 }).err(), Some(full))?;
    held.open()?;
    same("the second ask", port.wait(two), Ok(2))?;
    same("the first ask", port.wait(one), Ok(1))?;
    same("an ask in the window that is free again", port.ask(to, Add { n: 1 }), Ok(3))?;
    end(runtime)
}

pub(super) fn no_slot_left(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().waiting_messages(8).build().named("building the runtime")?;
    let held = Held::new(&runtime)?;
    let mut queued = Vec::new();
    for n in 0..8 {
        queued.push((n, held.subject.ask(Add { n: 1 << n }).send().named("asking")?));
    }
    let message = Add { n: 1 << 8 };
    let expected = Err(AskError::NotHandled { reason: Refusal::Overloaded { worker: 0 }, message });
    same("the ninth message", held.subject.ask(message).wait(), expected)?;
    let subject = held.subject.clone();
    held.open()?;
    for (n, reply) in queued {
        same("what was accepted", reply.wait(), Ok((2 << n) - 1))?;
    }
    same("a message when slots are free again", subject.ask(message).wait(), Ok((2 << 8) - 1))?;
    end(runtime)
}
