//! Section 13: the end of one actor, and actors that handlers spawn.

use warpring::prelude::*;
use warpring::{Down, EndError, ExitReason, Refusal, Reply, StateError, block_on};

use crate::kernels::mortal::{Mortal, Start};
use crate::kernels::parent::{Bear, Finish, Parent, Quit, ReadParent, Tie, Watch};
use crate::kernels::subject::{Add, Crash, Get, Nap, Subject};
use crate::letters::Letters;
use crate::setup::{Held, Named, Setup, end, eventually, launch_on, same};

/// A mortal, what it is busy with for a while, and what was sent to it behind that.
type Busy = (ActorRef<Mortal>, Reply<Nap, u64>, Reply<Add, u64>);

fn busy(runtime: &Runtime) -> Result<Busy, String> {
    let actor = launch_on(runtime, 0, Mortal::new(Start::Plain, Address::default()))?;
    let first = actor.ask(Nap { ns: 2_000_000, n: 1 }).send().named("asking")?;
    let second = actor.ask(Add { n: 2 }).send().named("asking")?;
    actor.tell(Add { n: 3 }).wait().named("telling")?;
    Ok((actor, first, second))
}

fn refused<M>(actor: ActorId, message: M) -> AskError<M> {
    AskError::NotHandled { reason: Refusal::ActorStopped(actor), message }
}

pub(super) fn a_stop(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let (actor, first, second) = busy(&runtime)?;
    // The first message is under way when this comes, because it came by the same ring.
    same("the reason", block_on(actor.stop()), Ok(ExitReason::Shutdown))?;
    same("the suspended handler", first.wait(), Ok(1))?;
    same("what waited", second.wait(), Err(refused(actor.id(), Add { n: 2 })))?;
    same("what comes after", actor.ask(Add { n: 4 }).wait(), Err(refused(actor.id(), Add { n: 4 })))?;
    same("a second stop", block_on(actor.stop()), Err(EndError::Ended(actor.id(), Some(ExitReason::Shutdown))))?;
    let other = launch_on(&runtime, 0, Subject::default())?;
    same("another actor", other.ask(Add { n: 1 }).wait(), Ok(1))?;
    end(runtime)?;
    same("messages handled before the last word", letters.handled(&[actor])?, vec![1])?;
    same("dead letters", letters.others().len(), 1)
}

pub(super) fn a_drain(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let (actor, first, second) = busy(&runtime)?;
    same("the reason", block_on(actor.drain()), Ok(ExitReason::Shutdown))?;
    same("the suspended handler", first.wait(), Ok(1))?;
    same("what waited", second.wait(), Ok(3))?;
    same("what comes after", actor.ask(Add { n: 4 }).wait(), Err(refused(actor.id(), Add { n: 4 })))?;
    end(runtime)?;
    same("messages handled before the last word", letters.handled(&[actor])?, vec![3])?;
    same("dead letters", letters.others().len(), 0)
}

pub(super) fn a_kill(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let actor = launch_on(&runtime, 0, Mortal::new(Start::Plain, Address::default()))?;
    let first = actor.ask(Nap { ns: 3_600_000_000_000, n: 1 }).send().named("asking")?;
    let second = actor.ask(Add { n: 2 }).send().named("asking")?;
    // Both have come: this goes the same way, and is answered.
    launch_on(&runtime, 0, Subject::default())?.ask(Get).wait().named("asking another actor")?;
    same("the reason", block_on(actor.kill()), Ok(ExitReason::Killed))?;
    same("the suspended handler", first.wait(), Err(AskError::Interrupted { actor: actor.id() }))?;
    same("what waited", second.wait(), Err(refused(actor.id(), Add { n: 2 })))?;
    end(runtime)?;
    same("last words", letters.handled(&[])?, vec![])
}

pub(super) fn an_actor_stops_itself(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    for pause_ns in [0, 1_000_000] {
        let actor = launch_on(&runtime, 0, Parent::new(0))?;
        let monitor = block_on(actor.monitor()).named("monitoring")?;
        let quit = actor.ask(Quit { pause_ns }).send().named("asking")?;
        let behind = actor.ask(Add { n: 2 }).send().named("asking")?;
        same("the message in which it stops", quit.wait(), Ok(()))?;
        same("what waits", behind.wait(), Err(refused(actor.id(), Add { n: 2 })))?;
        same("the reason", monitor.wait(), ExitReason::Normal)?;
    }
    end(runtime)
}

pub(super) fn an_actor_ends_another(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    for (kill, reason) in [(false, ExitReason::Shutdown), (true, ExitReason::Killed)] {
        for worker in [0, 1] {
            let (one, other) = (launch_on(&runtime, 0, Parent::new(0))?, launch_on(&runtime, worker, Subject::default())?);
            let monitor = block_on(other.monitor()).named("monitoring")?;
            same("ending another", one.ask(Finish { actor: other.id(), kill }).wait(), Ok(()))?;
            same("the reason", monitor.wait(), reason)?;
            same("once more", one.ask(Finish { actor: other.id(), kill }).wait(), Ok(()))?;
            same("its next message", other.ask(Get).wait(), Err(refused(other.id(), Get)))?;
        }
    }
    end(runtime)
}

pub(super) fn monitors(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let watcher = launch_on(&runtime, 1, Parent::new(0))?;
    let heard = |count: u32, down: Down| {
        eventually(format_args!("{down:?}"), || Ok(watcher.ask(ReadParent).wait().named("asking")?.downs >= count))?;
        let fared = watcher.ask(ReadParent).wait().named("asking")?;
        same("ends heard of, and the last", (fared.downs, fared.last), (count, down))
    };
    let actor = launch_on(&runtime, 0, Parent::new(0))?;
    let monitors = [block_on(actor.monitor()).named("monitoring")?, block_on(actor.monitor()).named("monitoring")?];
    // Twice: it hears once all the same.
    for _ in 0..2 {
        same("watching", watcher.ask(Watch { actor: actor.id() }).wait(), Ok(()))?;
    }
    // The watch is the host's to carry out; whoever comes too late hears the same.
    if actor.ask(Crash { pause_ns: 0 }).wait().is_ok() {
        return Err("a handler that panics answered".into());
    }
    let mut reason = None;
    for monitor in monitors {
        match monitor.wait() {
            found @ ExitReason::Panicked { line: 1.. } => reason = Some(found),
            other => return Err(format!("the reason of a panic: {other:?}")),
        }
    }
    let Some(reason) = reason else { return Err("no reason".into()) };
    heard(1, Down { actor: actor.id(), reason })?;
    same("an actor that has ended", watcher.ask(Watch { actor: actor.id() }).wait(), Ok(()))?;
    heard(2, Down { actor: actor.id(), reason })?;
    let late = block_on(actor.monitor()).err();
    same("monitoring one that has ended", late, Some(EndError::Ended(actor.id(), Some(reason))))?;
    let nobody = ActorId { slot: 5000, generation: 1, worker: 0 };
    same("watching nobody", watcher.ask(Watch { actor: nobody }).wait(), Ok(()))?;
    heard(3, Down { actor: nobody, reason: ExitReason::Gone })?;
    // With its own end an actor watches nobody any more: nothing is sent to it.
    let (gone, other) = (launch_on(&runtime, 1, Parent::new(0))?, launch_on(&runtime, 0, Parent::new(0))?);
    same("watching", gone.ask(Watch { actor: other.id() }).wait(), Ok(()))?;
    for actor in [&gone, &other] {
        same("a stop", block_on(actor.stop()), Ok(ExitReason::Shutdown))?;
    }
    end(runtime)?;
    same("dead letters", letters.others().len(), 0)
}

pub(super) fn links(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let pair = |by_host: bool| {
        let (a, b) = (launch_on(&runtime, 0, Parent::new(0))?, launch_on(&runtime, 1, Parent::new(0))?);
        if by_host {
            runtime.link(&a, &b).named("linking")?;
        } else {
            same("linking", a.ask(Tie { actor: b.id() }).wait(), Ok(()))?;
        }
        Ok::<_, String>((a, b))
    };
    for by_host in [true, false] {
        let (a, b) = pair(by_host)?;
        let monitor = block_on(b.monitor()).named("monitoring")?;
        if a.ask(Crash { pause_ns: 0 }).wait().is_ok() {
            return Err("a handler that panics answered".into());
        }
        same("a linked actor after a crash", monitor.wait(), ExitReason::Killed)?;
        let (a, b) = pair(by_host)?;
        let monitor = block_on(a.monitor()).named("monitoring")?;
        same("a kill", block_on(b.kill()), Ok(ExitReason::Killed))?;
        same("a linked actor after a kill", monitor.wait(), ExitReason::Killed)?;
        let (a, b) = pair(by_host)?;
        same("a stop", block_on(a.stop()), Ok(ExitReason::Shutdown))?;
        same("a linked actor after a stop", b.ask(Add { n: 1 }).wait(), Ok(1))?;
    }
    end(runtime)
}

pub(super) fn slots_again(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().max_actors(8).spawned_actors(0).build().named("building the runtime")?;
    let mut old: Vec<ActorRef<Subject>> = Vec::new();
    for round in 0..setup.scale(300, 30) {
        let actor = launch_on(&runtime, 0, Subject::default())?;
        same("the first message", actor.ask(Add { n: 5 }).wait(), Ok(5))?;
        if old.iter().any(|other| other.id() == actor.id()) {
            return Err(format!("id {} was given twice", actor.id()));
        }
        same("a stop", block_on(actor.stop()), Ok(ExitReason::Shutdown))?;
        let stale = &old.get(round as usize / 2).unwrap_or(&actor);
        let message = Add { n: 7 };
        same("a message to an old address", stale.ask(message).wait(), Err(refused(stale.id(), message)))?;
        old.push(actor);
    }
    end(runtime)
}

pub(super) fn spawned(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let mut port = runtime.port(4).named("opening a port")?;
    for home in [0, 1] {
        let parent = launch_on(&runtime, home, Parent::new(0))?;
        for (worker, expected) in [(0, 0), (1, 1), (u32::MAX, home)] {
            let id = parent.ask(Bear { worker }).wait().named("spawning")?;
            same("its worker", u32::from(id.worker), expected)?;
            let child = Address::<Subject>::new(id);
            for n in 1..4 {
                same("a message to it", port.ask(child, Add { n }), Ok(n * (n + 1) / 2))?;
            }
            same("ending it", parent.ask(Finish { actor: id, kill: false }).wait(), Ok(()))?;
            eventually("its end", || Ok(port.ask(child, Get).is_err()))?;
        }
    }
    end(runtime)
}

pub(super) fn so_many_spawned(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().spawned_actors(16).build().named("building the runtime")?;
    let parent = launch_on(&runtime, 0, Parent::new(0))?;
    let mut port = runtime.port(4).named("opening a port")?;
    let mut seen = Vec::new();
    for _ in 0..setup.scale(20, 3) {
        let bear = || parent.ask(Bear { worker: u32::MAX }).wait();
        let children: Vec<ActorId> = (0..8).map(|_| bear().named("spawning")).collect::<Result<_, _>>()?;
        same("one more", bear(), Err(AskError::Handler(KernelError::TooManyActors)))?;
        for child in &children {
            same("a message", port.ask(Address::<Subject>::new(*child), Add { n: 1 }), Ok(1))?;
            if seen.contains(child) {
                return Err(format!("id {child} was given twice"));
            }
            same("ending it", parent.ask(Finish { actor: *child, kill: true }).wait(), Ok(()))?;
        }
        for child in &children {
            eventually("its end", || Ok(port.ask(Address::<Subject>::new(*child), Get).is_err()))?;
        }
        seen.extend(children);
    }
    end(runtime)
}

pub(super) fn nothing_is_lost(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let mut sent = 0;
    let mut handled = 0;
    for round in 0..setup.scale(60, 8) {
        let held = Held::new(&runtime)?;
        let n = u64::from(round % 7) + 1;
        for _ in 0..n {
            held.subject.tell(Add { n: 1 }).wait().named("telling")?;
        }
        sent += n;
        held.settle()?;
        let reason = match round % 3 {
            0 => block_on(held.subject.kill()),
            1 => {
                held.release()?;
                handled += n;
                block_on(held.subject.drain())
            }
            _ => {
                held.release()?;
                let reason = block_on(held.subject.stop());
                let back = letters.others().iter().filter(|letter| letter.to == held.subject.id()).count() as u64;
                handled += n.saturating_sub(back);
                reason
            }
        };
        reason.named("ending")?;
        block_on(held.neighbour.stop()).named("ending")?;
    }
    end(runtime)?;
    same("handled and dead", handled + letters.others().len() as u64, sent)
}

pub(super) fn no_state_is_left(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (stopped, crashed) = (launch_on(&runtime, 0, Parent::new(1))?, launch_on(&runtime, 1, Parent::new(2))?);
    block_on(stopped.stop()).named("stopping")?;
    let monitor = block_on(crashed.monitor()).named("monitoring")?;
    same("the crash", crashed.ask(Crash { pause_ns: 0 }).wait().is_err(), true)?;
    monitor.wait();
    for actor in [stopped, crashed] {
        let gone = Err(StateError::NoSuchActor(actor.id()));
        same("reading", block_on(runtime.read_state(&actor)).map(drop), gone)?;
        same("writing", block_on(runtime.write_state(&actor, Parent::new(3))), gone)?;
    }
    end(runtime)
}
