//! Section 5: errors and panics.

use warpring::prelude::*;
use warpring::{Refusal, block_on};

use crate::kernels::relay::{Forward, Provoke, Relay};
use crate::kernels::subject::{Add, CRASH_FILE, CRASH_LINE, Crash, Even, Fail, Get, Subject};
use crate::setup::{Held, Named, Setup, end, launch_on, same};

pub(super) fn an_error_is_a_reply(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let subject = launch_on(&runtime, 0, Subject::default())?;
    let mut port = runtime.port(2).named("opening a port")?;
    for code in [0, 1, u32::MAX] {
        let expected = Err(AskError::Handler(KernelError::rejected(code)));
        same("a blocking ask", subject.ask(Fail { code }).wait(), expected.clone())?;
        same("an awaited ask", block_on(subject.ask(Fail { code }).into_future()), expected.clone())?;
        same("a port's ask", port.ask(subject.address(), Fail { code }), expected)?;
    }
    same("the same actor afterwards", subject.ask(Add { n: 1 }).wait(), Ok(1))?;
    end(runtime)
}

/// Has an actor panic and checks what comes back.
fn crash(subject: &ActorRef<Subject>, pause_ns: u64) -> Result<(), String> {
    match subject.ask(Crash { pause_ns }).wait() {
        // Another build may know the same file by another path.
        Err(AskError::Panicked { actor, file, line, .. }) if file.ends_with("kernels/subject.rs") => {
            same("actor and line", (actor, line), (subject.id(), CRASH_LINE))
        }
        other => Err(format!("a panic at {CRASH_FILE}:{CRASH_LINE}: {other:?}")),
    }
}

pub(super) fn a_panic_comes_back(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    for (worker, pause_ns) in [(0, 0), (1, 0), (0, 50_000), (1, 50_000)] {
        crash(&launch_on(&runtime, worker, Subject::default())?, pause_ns)?;
    }
    end(runtime)
}

pub(super) fn a_panicked_actor_refuses(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let subject = launch_on(&runtime, 0, Subject::default())?;
    let crashes = subject.ask(Crash { pause_ns: 200_000 }).send().named("asking")?;
    let waits = subject.ask(Add { n: 1 }).send().named("asking")?;
    if crashes.wait().is_ok() {
        return Err("a handler that panics answered".into());
    }
    let message = Add { n: 1 };
    let refused = Err(AskError::NotHandled { reason: Refusal::ActorStopped(subject.id()), message });
    same("what waited", waits.wait(), refused.clone())?;
    same("a later message", subject.ask(message).wait(), refused.clone())?;
    same("one by port", runtime.port(1).named("opening a port")?.ask(subject.address(), message), refused)?;
    let relay = launch_on(&runtime, 1, Relay::default())?;
    let forward = Forward { to: subject.address(), n: 1, within_ns: 0 };
    same("one by an actor", relay.ask(forward).wait(), Err(AskError::Handler(KernelError::Stopped)))?;
    end(runtime)
}

pub(super) fn others_outlive_a_panic(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    // One of them is in the middle of a handler.
    let held = Held::new(&runtime)?;
    let waits = held.subject.ask(Add { n: 5 }).send().named("asking")?;
    let others = [launch_on(&runtime, 0, Subject::default())?, launch_on(&runtime, 1, Subject::default())?];
    for (n, other) in (1..).zip(&others) {
        same("before", other.ask(Add { n }).wait(), Ok(n))?;
    }
    for round in 0..4 {
        crash(&launch_on(&runtime, round % 2, Subject::default())?, u64::from(round / 2) * 50_000)?;
        for (n, other) in (1..).zip(&others) {
            same("state after a panic", other.ask(Get).wait(), Ok(n + u64::from(round)))?;
            same("a change after a panic", other.ask(Add { n: 1 }).wait(), Ok(n + u64::from(round) + 1))?;
        }
    }
    held.open()?;
    same("what waited for a handler that was suspended", waits.wait(), Ok(5))?;
    end(runtime)
}

pub(super) fn an_asking_actor_hears_of_a_panic(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    for worker in [0, 1] {
        let subject = launch_on(&runtime, 0, Subject::default())?;
        let relay = launch_on(&runtime, worker, Relay::default())?;
        same("the line", relay.ask(Provoke { to: subject.address() }).wait(), Ok(CRASH_LINE))?;
        let again = relay.ask(Provoke { to: subject.address() }).wait();
        same("asked again", again, Err(AskError::Handler(KernelError::Stopped)))?;
    }
    end(runtime)
}

pub(super) fn a_message_of_another_kind(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let relay = launch_on(&runtime, 0, Relay::default())?;
    let wrong = Address::<Subject>::new(relay.id());
    let message = Add { n: 4 };
    let expected = Err(AskError::NotHandled { reason: Refusal::NotUnderstood(relay.id()), message });
    same("by port", runtime.port(1).named("opening a port")?.ask(wrong, message), expected)?;
    for worker in [0, 1] {
        let asker = launch_on(&runtime, worker, Relay::default())?;
        let answer = asker.ask(Forward { to: wrong, n: 4, within_ns: 0 }).wait();
        same("by an actor", answer, Err(AskError::Handler(KernelError::Malformed)))?;
    }
    same("the actor afterwards", relay.ask(crate::kernels::relay::AskSelf).wait(), Ok(true))?;
    end(runtime)
}

pub(super) fn bytes_of_no_value(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let subject = launch_on(&runtime, 0, Subject::default())?;
    same("a value", subject.ask(Even(40)).wait(), Ok(42))?;
    let expected = Err(AskError::NotHandled { reason: Refusal::NotUnderstood(subject.id()), message: Even(41) });
    same("bytes of no value", subject.ask(Even(41)).wait(), expected.clone())?;
    same("by port", runtime.port(1).named("opening a port")?.ask(subject.address(), Even(41)), expected)?;
    same("the same actor afterwards", subject.ask(Even(2)).wait(), Ok(4))?;
    end(runtime)
}
