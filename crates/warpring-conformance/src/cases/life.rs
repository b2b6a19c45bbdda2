//! Section 6: life cycle.

use warpring::prelude::*;
use warpring::{LaunchError, Refusal, TellError, block_on};

use crate::kernels::mortal::{Life, Mortal, ReadLife, Start};
use crate::kernels::relay::{Forward, Greet, Relay};
use crate::kernels::subject::{Add, Crash, Nap, Subject};
use crate::letters::Letters;
use crate::setup::{Held, Named, Setup, end, eventually, launch, launch_on, same};

pub(super) fn initialize_comes_first(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    for worker in [0, 1] {
        let relay = launch_on(&runtime, worker, Relay::default())?;
        let actor = launch_on(&runtime, 0, Mortal::new(Start::Slow, relay.address()))?;
        // The relay had its address from `initialize`, and sends since then.
        let life = || actor.ask(ReadLife).wait().named("asking");
        eventually("the relay's messages", || Ok(life()?.handled >= 2))?;
        same("life", life()?, Life { initialized: 1, handled: 2, total: 2, wrong: 0 })?;
        let plain = launch_on(&runtime, worker, Mortal::new(Start::Plain, Address::default()))?;
        same("the first message", plain.ask(Add { n: 3 }).wait(), Ok(3))?;
        let expected = Life { initialized: 1, handled: 1, total: 3, wrong: 0 };
        same("a plain life", plain.ask(ReadLife).wait(), Ok(expected))?;
    }
    end(runtime)
}

pub(super) fn a_failed_start(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let start = |start| block_on(runtime.launch(Mortal::new(start, Address::default()), LaunchOptions::default())).err();
    let before = launch(&runtime, Mortal::new(Start::Plain, Address::default()))?;
    for _ in 0..2 {
        same("a failing start", start(Start::Fail), Some(LaunchError::Initialize(KernelError::rejected(17))))?;
        match start(Start::Panic) {
            Some(LaunchError::Initialize(KernelError::Panicked { line: 1.. })) => {}
            other => return Err(format!("a start that panics: {other:?}")),
        }
    }
    let launched = block_on(runtime.launch_many(50, LaunchOptions::default(), |i| {
        Mortal::new(if i == 33 { Start::Fail } else { Start::Plain }, Address::default())
    }));
    same("one of many", launched.err(), Some(LaunchError::Initialize(KernelError::rejected(17))))?;
    let after = launch(&runtime, Mortal::new(Start::Plain, Address::default()))?;
    for actor in [before, after] {
        same("another actor", actor.ask(Add { n: 1 }).wait(), Ok(1))?;
    }
    end(runtime)
}

pub(super) fn shutdown_comes_last(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let actors: Vec<_> =
        (0..10).map(|i| launch_on(&runtime, i % 2, Mortal::new(Start::Plain, Address::default()))).collect::<Result<_, _>>()?;
    let mut port = runtime.port(4).named("opening a port")?;
    let rounds = setup.scale(30, 5);
    for round in 0..rounds {
        for (index, actor) in (0..).zip(&actors) {
            // A different number for each.
            if round <= index {
                actor.tell(Add { n: 1 }).wait().named("telling")?;
                port.tell(actor.address(), Add { n: 1 }).named("telling by port")?;
                actor.tell(Nap { ns: 20_000, n: 1 }).wait().named("telling")?;
            }
        }
    }
    end(runtime)?;
    let expected: Vec<_> = (0..10).map(|index| 3 * rounds.min(index + 1)).collect();
    same("messages handled before the last word", letters.handled(&actors)?, expected)?;
    same("other dead letters", letters.others().len(), 0)
}

pub(super) fn shutdown_drains(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let actors = [0, 1].map(|worker| launch_on(&runtime, worker, Mortal::new(Start::Plain, Address::default())));
    let [near, far] = actors;
    let actors = [near?, far?];
    let relay = launch_on(&runtime, 0, Relay::default())?;
    let mut port = runtime.port(4).named("opening a port")?;
    let rounds = setup.scale(150, 15);
    for _ in 0..rounds {
        for actor in &actors {
            actor.tell(Add { n: 1 }).wait().named("telling")?;
            port.tell(actor.address(), Nap { ns: 1_000, n: 1 }).named("telling by port")?;
            // Comes to two more: a tell and an ask.
            relay.tell(Greet { who: actor.address() }).wait().named("telling")?;
        }
    }
    end(runtime)?;
    same("dead letters", letters.others(), vec![])?;
    same("messages handled before the last word", letters.handled(&actors)?, vec![4 * rounds; 2])
}

pub(super) fn nothing_after_the_end(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let actor = launch_on(&runtime, 0, Subject::default())?;
    let mut port = runtime.port(2).named("opening a port")?;
    same("before", actor.ask(Add { n: 1 }).wait(), Ok(1))?;
    end(runtime)?;
    let message = Add { n: 77 };
    let refused = AskError::NotHandled { reason: Refusal::RuntimeStopped, message };
    same("a blocking ask", actor.ask(message).wait(), Err(refused.clone()))?;
    same("an awaited ask", block_on(actor.ask(message).into_future()), Err(refused.clone()))?;
    same("an ask that does not wait", actor.ask(message).send().err(), Some(refused.clone()))?;
    same("a port's ask", port.ask(actor.address(), message), Err(refused))?;
    let refused = TellError { reason: Refusal::RuntimeStopped, message };
    same("a tell that does not wait", actor.try_tell(message), Err(refused))?;
    same("a blocking tell", actor.tell(message).wait(), Err(refused))?;
    same("an awaited tell", block_on(actor.tell(message).into_future()), Err(refused))?;
    same("a port's tell", port.tell(actor.address(), message), Err(refused))?;
    same("a port's ask that does not wait", port.try_ask(actor.address(), message).err(), Some(refused))
}

pub(super) fn a_dropped_runtime(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let held = Held::new(&runtime)?;
    let mut queued = Vec::new();
    for n in 0..20 {
        queued.push((n, held.subject.ask(Add { n }).send().named("asking")?));
    }
    for _ in 0..30 {
        held.subject.tell(Add { n: 1 }).wait().named("telling")?;
    }
    held.settle()?;
    drop(runtime);
    for (n, reply) in queued {
        let expected = Err(AskError::NotHandled { reason: Refusal::RuntimeStopped, message: Add { n } });
        same("an ask that waited", reply.wait(), expected)?;
    }
    let actor = held.subject.id();
    same("the handler that was suspended", held.first().wait(), Err(AskError::Interrupted { actor }))?;
    same("tells that waited", letters.others().iter().filter(|letter| letter.to == actor).count(), 30)
}

pub(super) fn nobody_there(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (live, dead) = (launch_on(&runtime, 0, Subject::default())?, launch_on(&runtime, 0, Subject::default())?);
    if dead.ask(Crash { pause_ns: 0 }).wait().is_ok() {
        return Err("a handler that panics answered".into());
    }
    let relays = [launch_on(&runtime, 0, Relay::default())?, launch_on(&runtime, 1, Relay::default())?];
    let mut port = runtime.port(1).named("opening a port")?;
    let message = Add { n: 4 };
    for id in [
        ActorId { slot: 5000, generation: 1, worker: 0 },
        ActorId { slot: 5000, generation: 1, worker: 1 },
        ActorId { slot: 0, generation: 1, worker: 99 },
        ActorId { generation: live.id().generation.wrapping_add(1), ..live.id() },
        dead.id(),
        ActorId::default(),
    ] {
        let to = Address::<Subject>::new(id);
        let expected = Err(AskError::NotHandled { reason: Refusal::ActorStopped(id), message });
        same(format_args!("the host asks {id}"), port.ask(to, message), expected)?;
        for relay in &relays {
            let answer = relay.ask(Forward { to, n: 4, within_ns: 0 }).wait();
            let expected = Err(AskError::Handler(KernelError::Stopped));
            same(format_args!("actor {} asks {id}", relay.id()), answer, expected)?;
        }
    }
    same("the one that is there", live.ask(message).wait(), Ok(4))?;
    end(runtime)
}
