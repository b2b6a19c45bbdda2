//! Section 14: supervision.

use std::future::Future;
use std::time::{Duration, Instant};

use warpring::prelude::*;
use warpring::{ChildSpec, EndError, ExitReason, Refusal, Restart, RestartFrom, Strategy, Supervision, Supervisor, block_on};

use super::snapshots::Scratch;
use crate::kernels::parent::{Parent, Quit, ReadParent, TOO_MUCH, TOO_MUCH_CODE};
use crate::kernels::subject::{Add, Crash, Fail, Get};
use crate::letters::Letters;
use crate::setup::{Named, Setup, end, eventually, same};

/// Enough restarts for every case.
fn supervision(strategy: Strategy) -> Supervision {
    Supervision::new(strategy).limit(1000, Duration::from_secs(3600))
}

fn spec(restart: Restart) -> ChildSpec {
    match restart {
        Restart::Permanent => ChildSpec::permanent(),
        Restart::Transient => ChildSpec::transient(),
        Restart::Never => ChildSpec::never(),
    }
}

fn launch(supervisor: &Supervisor, total: u64, spec: ChildSpec) -> Result<ActorRef<Parent>, String> {
    block_on(supervisor.launch(Parent::new(total), spec)).named("launching a child")
}

/// How an actor ends in the table.
#[derive(Clone, Copy, Debug)]
enum By {
    Itself,
    Stop,
    Kill,
    Panic,
    Initialize,
}

/// Ends an actor; the reason, as a monitor hears it.
fn finish(actor: &ActorRef<Parent>, by: By) -> Result<ExitReason, String> {
    let monitor = block_on(actor.monitor()).named("monitoring")?;
    match by {
        By::Itself => actor.ask(Quit { pause_ns: 0 }).wait().named("asking it to stop itself")?,
        By::Stop => drop(block_on(actor.stop()).named("stopping")?),
        By::Kill => drop(block_on(actor.kill()).named("killing")?),
        By::Panic | By::Initialize => {
            if actor.ask(Crash { pause_ns: 0 }).wait().is_ok() {
                return Err("a handler that panics answered".into());
            }
        }
    }
    Ok(monitor.wait())
}

pub(super) fn the_table(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let table: [(By, [bool; 3]); 5] = [
        (By::Itself, [true, false, false]),
        (By::Stop, [true, false, false]),
        (By::Kill, [true, true, false]),
        (By::Panic, [true, true, false]),
        (By::Initialize, [true, true, false]),
    ];
    for (by, expected) in table {
        for (restart, again) in [Restart::Permanent, Restart::Transient, Restart::Never].into_iter().zip(expected) {
            let what = format!("{by:?}, {restart:?}");
            let limit = if matches!(by, By::Initialize) { 2 } else { 1000 };
            let rules = Supervision::new(Strategy::OneForOne).limit(limit, Duration::from_secs(3600));
            let supervisor = runtime.supervise(rules);
            let child = launch(&supervisor, 3, spec(restart).from(RestartFrom::Kept))?;
            if matches!(by, By::Initialize) {
                same("making it fail later", child.ask(Add { n: TOO_MUCH }).wait(), Ok(TOO_MUCH + 3))?;
            }
            let reason = finish(&child, by)?;
            let right = match by {
                By::Itself => reason == ExitReason::Normal,
                By::Stop => reason == ExitReason::Shutdown,
                By::Kill => reason == ExitReason::Killed,
                By::Panic | By::Initialize => matches!(reason, ExitReason::Panicked { line: 1.. }),
            };
            same(format_args!("{what}: the reason is {reason:?}"), right, true)?;
            if matches!(by, By::Initialize) && again {
                // It fails at every restart: both restarts are made, and the third is one too many.
                let failed = block_on(supervisor.failed());
                let reason = ExitReason::Initialize(KernelError::rejected(TOO_MUCH_CODE));
                same(&what, failed.map(|failed| (failed.reason, failed.restarts)), Some((reason, 3)))?;
                continue;
            }
            if again {
                same(&what, child.ask(Add { n: 4 }).wait(), Ok(7))?;
                same(format_args!("{what}: restarts"), supervisor.restarts(), 1)?;
            } else {
                eventually(&what, || Ok(child.ask(Get).wait().is_err()))?;
                let gone = AskError::NotHandled { reason: Refusal::ActorStopped(child.id()), message: Get };
                same(&what, child.ask(Get).wait(), Err(gone))?;
                same(format_args!("{what}: restarts"), supervisor.restarts(), 0)?;
            }
            block_on(supervisor.shutdown());
        }
    }
    end(runtime)
}

pub(super) fn messages_wait(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let pause = Duration::from_millis(30);
    let supervisor = runtime.supervise(supervision(Strategy::OneForOne).backoff(pause, pause));
    let child = launch(&supervisor, 0, ChildSpec::permanent())?;
    let mut port = runtime.port(8).named("opening a port")?;
    for round in 0..3 {
        let start = Instant::now();
        finish(&child, By::Panic)?;
        for n in 1..=5 {
            child.tell(Add { n }).wait().named("telling")?;
            port.tell(child.address(), Add { n }).named("telling by port")?;
        }
        let total = child.ask(Get).wait();
        // The port's messages may come behind the question.
        eventually("what was told", || Ok(child.ask(Get).wait().named("asking")? == 30))?;
        same(format_args!("round {round}: the question is handled: {total:?}"), total.is_ok(), true)?;
        if !setup.simulated() && start.elapsed() < pause {
            return Err(format!("it started again after {:?}", start.elapsed()));
        }
    }
    same("restarts", supervisor.restarts(), 3)?;
    end(runtime)?;
    same("dead letters", letters.others(), vec![])
}

pub(super) fn the_state_after(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let supervisor = runtime.supervise(supervision(Strategy::OneForOne));
    for (from, expected) in [(RestartFrom::Initial, (41, 1)), (RestartFrom::Kept, (45, 2))] {
        for by in [By::Panic, By::Kill, By::Stop] {
            let child = launch(&supervisor, 41, ChildSpec::permanent().from(from.clone()))?;
            same("before", child.ask(Add { n: 4 }).wait(), Ok(45))?;
            finish(&child, by)?;
            let fared = child.ask(ReadParent).wait().named("asking")?;
            same(format_args!("{from:?} after {by:?}: total, starts"), (fared.total, fared.initialized), expected)?;
        }
    }
    let file = Scratch::new();
    let path = file.0.clone();
    let from = RestartFrom::Snapshot { path: path.clone(), entry: "child".to_owned() };
    let child = launch(&supervisor, 41, ChildSpec::permanent().from(from))?;
    finish(&child, By::Panic)?;
    same("before there is a snapshot", child.ask(Add { n: 9 }).wait(), Ok(50))?;
    for total in [50, 60] {
        block_on(runtime.snapshot().actor("child", &child).write(&path)).named("writing a snapshot")?;
        child.ask(Add { n: 10 }).wait().named("asking")?;
        finish(&child, By::Panic)?;
        same("as the last snapshot has it", child.ask(Get).wait(), Ok(total))?;
        child.ask(Add { n: 10 }).wait().named("asking")?;
    }
    std::fs::write(&path, b"no snapshot").named("damaging the file")?;
    finish(&child, By::Panic)?;
    let failed = block_on(supervisor.failed());
    let why = failed.as_ref().and_then(|failed| failed.error.as_deref()).unwrap_or_default();
    same("the host hears of the file", why.contains(&path.display().to_string()), true)?;
    same("the child is gone", child.ask(Get).wait().is_err(), true)?;
    let supervisor = runtime.supervise(supervision(Strategy::OneForOne));
    let spec = ChildSpec::permanent();
    let many = block_on(supervisor.launch_many(20, spec, |i| Parent::new(u64::from(i)))).named("launching many")?;
    for index in [0, 7, 19] {
        let Some(actor) = many.get(index) else { return Err("no such actor".into()) };
        actor.ask(Add { n: 100 }).wait().named("asking")?;
        finish(&actor, By::Panic)?;
        same("each has its own value", actor.ask(Get).wait(), Ok(u64::from(index)))?;
    }
    end(runtime)
}

pub(super) fn what_is_let_go(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let supervisor = runtime.supervise(supervision(Strategy::OneForOne));
    let child = launch(&supervisor, 0, ChildSpec::never())?;
    let crash = child.ask(Crash { pause_ns: 1_000_000 }).send().named("asking")?;
    let asked: Vec<_> = (0..5).map(|n| child.ask(Add { n }).send().named("asking")).collect::<Result<_, _>>()?;
    for _ in 0..3 {
        child.tell(Add { n: 1 }).wait().named("telling")?;
    }
    same("the crash", crash.wait().is_err(), true)?;
    for (n, reply) in (0..).zip(asked) {
        let back = AskError::NotHandled { reason: Refusal::ActorStopped(child.id()), message: Add { n } };
        same("what waited", reply.wait(), Err(back))?;
    }
    eventually("its end", || Ok(block_on(child.stop()).is_err()))?;
    match block_on(child.stop()) {
        Err(EndError::Ended(id, Some(ExitReason::Panicked { .. }))) if id == child.id() => {}
        other => return Err(format!("stopping one that is gone: {other:?}")),
    }
    end(runtime)?;
    same("dead letters", letters.others().len(), 3)
}

pub(super) fn strategies(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let cases = [
        (Strategy::OneForOne, [false, true, false, false]),
        (Strategy::OneForAll, [true, true, true, true]),
        (Strategy::RestForOne, [false, true, true, true]),
    ];
    for (strategy, expected) in cases {
        let supervisor = runtime.supervise(supervision(strategy));
        let children = (0..4).map(|_| launch(&supervisor, 10, ChildSpec::transient())).collect::<Result<Vec<_>, _>>()?;
        let fleeting = launch(&supervisor, 10, ChildSpec::never())?;
        let resting = launch(&supervisor, 10, ChildSpec::transient())?;
        for child in children.iter().chain([&resting]) {
            same("before", child.ask(Add { n: 5 }).wait(), Ok(15))?;
        }
        finish(&resting, By::Itself)?;
        let gone = || AskError::NotHandled { reason: Refusal::ActorStopped(resting.id()), message: Get };
        eventually("the child that ended by itself", || Ok(resting.ask(Get).wait() == Err(gone())))?;
        let ended = EndError::Ended(resting.id(), Some(ExitReason::Normal));
        same("monitoring it", block_on(resting.monitor()).err(), Some(ended))?;
        finish(&children[1], By::Panic)?;
        eventually("it has started again", || Ok(children[1].ask(Get).wait() == Ok(10)))?;
        // Now it is settled for all: the others were stopped before, and those in front of it have begun before.
        for (index, (child, again)) in children.iter().zip(expected).enumerate() {
            let total = if again { 10 } else { 15 };
            let what = format!("{strategy:?}: child {index}");
            eventually(&what, || Ok(child.ask(Get).wait() == Ok(total)))?;
        }
        let all = strategy != Strategy::OneForOne;
        eventually("the child that is never started again", || Ok(fleeting.ask(Get).wait().is_err() == all))?;
        let expected = if all { Ok(10) } else { Err(gone()) };
        eventually("the child that ended by itself before", || Ok(resting.ask(Get).wait() == expected))?;
        same("restarts", supervisor.restarts(), 1)?;
        block_on(supervisor.shutdown());
        for child in children.iter().chain([&resting]) {
            same("after the supervisor's end", child.ask(Get).wait().is_err(), true)?;
        }
    }
    end(runtime)
}

pub(super) fn escalation(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let strict = || Supervision::new(Strategy::OneForOne).limit(2, Duration::from_secs(3600));
    let supervisor = runtime.supervise(strict());
    let (child, other) = (launch(&supervisor, 0, ChildSpec::permanent())?, launch(&supervisor, 0, ChildSpec::permanent())?);
    for n in 1..=2 {
        finish(&child, By::Panic)?;
        same("it is there again", child.ask(Add { n }).wait(), Ok(n))?;
    }
    let reason = finish(&child, By::Kill)?;
    let failed = block_on(supervisor.failed());
    same("the host hears", failed.map(|f| (f.actor, f.reason, f.restarts)), Some((child.id(), reason, 3)))?;
    for child in [child, other] {
        same("its children are gone", child.ask(Get).wait().is_err(), true)?;
    }
    let late = block_on(supervisor.launch(Parent::new(0), ChildSpec::permanent())).err();
    same("a launch after that", late, Some(warpring::LaunchError::Stopped))?;

    // With one above: it starts everything below again, and counts that as one restart.
    let above = runtime.supervise(Supervision::new(Strategy::OneForAll).limit(1, Duration::from_secs(3600)));
    let beside = launch(&above, 10, ChildSpec::permanent())?;
    let below = above.supervise(strict());
    let (first, second) = (launch(&below, 20, ChildSpec::permanent())?, launch(&below, 30, ChildSpec::permanent())?);
    for actor in [&beside, &first, &second] {
        actor.ask(Add { n: 5 }).wait().named("asking")?;
    }
    let transient = launch(&below, 40, ChildSpec::transient())?;
    finish(&transient, By::Itself)?;
    eventually("a transient child has ended", || Ok(transient.ask(Get).wait().is_err()))?;
    for _ in 0..3 {
        finish(&first, By::Panic)?;
        same("it is there again", first.ask(Get).wait(), Ok(20))?;
    }
    for (actor, total) in [(&beside, 10), (&second, 30), (&transient, 40)] {
        eventually("all start again", || Ok(actor.ask(Get).wait() == Ok(total)))?;
    }
    same("restarts", (above.restarts(), below.restarts()), (1, 3))?;
    for _ in 0..3 {
        finish(&second, By::Panic)?;
    }
    let failed = block_on(above.failed());
    same("the host hears of the actor", failed.map(|f| (f.actor, f.restarts)), Some((second.id(), 2)))?;
    for actor in [&beside, &first, &second, &transient] {
        same("all are gone", actor.ask(Get).wait().is_err(), true)?;
    }
    end(runtime)
}

pub(super) fn an_error_ends_nobody(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let supervisor = runtime.supervise(supervision(Strategy::OneForOne));
    let child = launch(&supervisor, 1, ChildSpec::permanent())?;
    for code in 0..5 {
        let error = AskError::Handler(KernelError::rejected(code));
        same("the reply", child.ask(Fail { code }).wait(), Err(error))?;
        child.tell(Fail { code }).wait().named("telling")?;
    }
    let fared = child.ask(ReadParent).wait().named("asking")?;
    same("total, starts, restarts", (fared.total, fared.initialized, supervisor.restarts()), (1, 1, 0))?;
    end(runtime)
}

pub(super) fn a_shutdown_restarts(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let pause = Duration::from_millis(5);
    let supervisor = runtime.supervise(supervision(Strategy::OneForAll).backoff(pause, pause));
    let children = [launch(&supervisor, 10, ChildSpec::permanent())?, launch(&supervisor, 20, ChildSpec::permanent())?];
    finish(&children[0], By::Panic)?;
    let waits = children[0].ask(Add { n: 1 }).send().named("asking one that is held")?;
    end(runtime)?;
    same("what waited", waits.wait(), Ok(11))
}

pub(super) fn the_end_of_a_supervisor(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let supervisor = runtime.supervise(supervision(Strategy::OneForOne));
    let child = launch(&supervisor, 0, ChildSpec::permanent())?;
    // It is busy, so that the end of its supervisor takes a while.
    let busy = child.ask(Quit { pause_ns: 2_000_000 }).send().named("asking")?;
    let mut ends = Box::pin(supervisor.clone().shutdown());
    let mut late = Vec::new();
    block_on(std::future::poll_fn(|cx| {
        let ended = ends.as_mut().poll(cx);
        if late.is_empty() {
            // While it ends: this one asks no worker, so it is ready at once.
            late.push(block_on(supervisor.launch(Parent::new(1), ChildSpec::permanent())).err());
        }
        ended
    }));
    same("a launch meanwhile", late, vec![Some(warpring::LaunchError::Stopped)])?;
    // The message that it was handling has come to its end.
    same("what was under way", busy.wait(), Ok(()))?;
    let below = supervisor.supervise(supervision(Strategy::OneForOne));
    let late = block_on(below.launch(Parent::new(1), ChildSpec::permanent())).err();
    same("a launch below it", late, Some(warpring::LaunchError::Stopped))?;
    end(runtime)
}
