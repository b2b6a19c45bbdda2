//! Section 12: time.

use std::time::{Duration, Instant};

use warpring::prelude::*;
use warpring::{Refusal, block_on};

use crate::kernels::clock::{Alarms, Clock, Doze, LastTimer, LastWish, ReadAlarms, Remind, Unwind, UnwindThis, Wind};
use crate::kernels::subject::{Add, Busy, Crash, Log, ReadLog, Subject};
use crate::setup::{Named, PATIENCE, Setup, end, eventually, launch_on, same};

const MS: u64 = 1_000_000;
const AN_HOUR_NS: u64 = 3_600_000_000_000;

fn once(delay_ns: u64, count: u32) -> Wind {
    Wind { delay_ns, count, again: false }
}

/// Lets time pass on the workers' clock, which in the simulator moves only while somebody waits.
fn pass(clock: &ActorRef<Clock>, ns: u64) -> Result<(), String> {
    clock.ask(Doze { ns }).wait().named("letting time pass").map(drop)
}

fn alarms(clock: &ActorRef<Clock>) -> Result<Alarms, String> {
    clock.ask(ReadAlarms).wait().named("reading the alarms")
}

fn log(subject: &ActorRef<Subject>) -> Result<Log, String> {
    subject.ask(ReadLog).wait().named("reading the log")
}

pub(super) fn a_timer_fires_once(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    for delay in [0, 2 * MS] {
        let (clock, other) = (launch_on(&runtime, 0, Clock::default())?, launch_on(&runtime, 0, Clock::default())?);
        same("timers set", clock.ask(once(delay, 1)).wait(), Ok(1))?;
        eventually("the timer has fired", || {
            pass(&other, MS)?;
            Ok(alarms(&clock)?.count == 1)
        })?;
        pass(&other, 3 * MS)?;
        let seen = alarms(&clock)?;
        same("alarms, and those of another sender", (seen.count, seen.strangers), (1, 0))?;
        let after = seen.at[0].saturating_sub(seen.set_at);
        if after < delay || (setup.simulated() && after > delay + MS) {
            return Err(format!("a timer of {delay} ns fired after {after} ns"));
        }
    }
    end(runtime)
}

pub(super) fn timers_fire_in_order(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let clock = launch_on(&runtime, 0, Clock::default())?;
    same("timers set", clock.ask(once(MS, 16)).wait(), Ok(16))?;
    eventually("the timers have fired", || {
        pass(&clock, MS)?;
        Ok(alarms(&clock)?.count == 16)
    })?;
    let seen = alarms(&clock)?;
    same("the order", seen.which, std::array::from_fn(|n| n as u32))?;
    // More at once than one step fires, due in the order of their delays, which is not that in which they lie in the heap.
    for worker in [0, 1] {
        let subject = launch_on(&runtime, worker, Subject::default())?;
        let count = setup.scale(1_000, 300);
        clock.ask(Remind { to: subject.address(), delay_ns: MS, count, apart_ns: 1 }).wait().named("setting timers")?;
        eventually("all of many timers have fired", || {
            pass(&clock, MS)?;
            Ok(log(&subject)?.count == count)
        })?;
        same("notes out of order", log(&subject)?.out_of_order, 0)?;
    }
    end(runtime)
}

pub(super) fn a_period_is_kept(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let period = 4 * MS;
    let (clock, subject) = (launch_on(&runtime, 0, Clock::default())?, launch_on(&runtime, 0, Subject::default())?);
    let other = launch_on(&runtime, 0, Clock::default())?;
    same("timers set", clock.ask(Wind { delay_ns: period, count: 1, again: true }).wait(), Ok(1))?;
    eventually("two alarms", || {
        pass(&other, period)?;
        Ok(alarms(&clock)?.count >= 2)
    })?;
    if !setup.simulated() {
        // The worker does not look at the clock meanwhile.
        subject.ask(Busy { ns: 5 * period }).wait().named("keeping the worker busy")?;
    }
    eventually("eight alarms", || {
        pass(&other, period)?;
        Ok(alarms(&clock)?.count >= 8)
    })?;
    same("cancelling it", clock.ask(Unwind).wait(), Ok(true))?;
    let seen = alarms(&clock)?;
    for (n, pair) in seen.at[..8].windows(2).enumerate() {
        let due = |at: u64| (at - seen.set_at) / period;
        if due(pair[1]) <= due(pair[0]) {
            return Err(format!("alarms {n} and {} came in one period: {:?}", n + 1, seen));
        }
    }
    if !setup.simulated() && seen.at[7] - seen.set_at < 11 * period {
        return Err(format!("a busy worker made up for periods that had passed: {seen:?}"));
    }
    pass(&other, 3 * period)?;
    same("alarms after the timer was cancelled", alarms(&clock)?.count, seen.count)?;
    end(runtime)
}

pub(super) fn a_timer_is_cancelled(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (clock, other) = (launch_on(&runtime, 0, Clock::default())?, launch_on(&runtime, 0, Clock::default())?);
    same("cancelling no timer", clock.ask(Unwind).wait(), Ok(false))?;
    clock.ask(once(AN_HOUR_NS, 3)).wait().named("setting timers")?;
    let timer = clock.ask(LastTimer).wait().named("the last timer")?;
    same("another actor cancels it", other.ask(UnwindThis { timer }).wait(), Ok(false))?;
    same("its own actor cancels it", clock.ask(Unwind).wait(), Ok(true))?;
    same("its own actor cancels it again", clock.ask(Unwind).wait(), Ok(false))?;
    clock.ask(once(2 * MS, 1)).wait().named("setting a timer")?;
    same("the place is used again, and the old name is no name of it", clock.ask(UnwindThis { timer }).wait(), Ok(false))?;
    eventually("the timer has fired", || {
        pass(&other, MS)?;
        Ok(alarms(&clock)?.count == 1)
    })?;
    same("cancelling a timer that has fired", clock.ask(Unwind).wait(), Ok(false))?;
    end(runtime)
}

pub(super) fn nobody_takes_it(setup: &Setup) -> Result<(), String> {
    for worker in [0, 1] {
        let runtime = setup.runtime()?;
        let clock = launch_on(&runtime, 0, Clock::default())?;
        let subject = launch_on(&runtime, worker, Subject::default())?;
        clock.ask(Remind { to: subject.address(), delay_ns: MS, count: 1, apart_ns: 0 }).wait().named("setting a timer")?;
        // It fails before the timer is due, or after: it takes no message then, in any case.
        if subject.ask(Crash { pause_ns: 0 }).wait().is_ok() {
            return Err("an actor that panics answers".into());
        }
        clock.ask(Remind { to: subject.address(), delay_ns: MS, count: 1, apart_ns: 0 }).wait().named("setting a timer")?;
        eventually("a dead letter", || {
            pass(&clock, MS)?;
            Ok(!runtime.dead_letters().is_empty())
        })?;
        let letters = runtime.dead_letters();
        let letter = letters.last().ok_or("no dead letter")?;
        let found = (letter.to, letter.from, letter.reason);
        same("target, sender and reason", found, (subject.id(), Some(clock.id()), KernelError::Stopped))?;
        end(runtime)?;
    }
    Ok(())
}

pub(super) fn a_full_ring_is_waited_for(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().ring_lines(16).build().named("building the runtime")?;
    let clock = launch_on(&runtime, 0, Clock::default())?;
    let subject = launch_on(&runtime, 1, Subject::default())?;
    let busy = launch_on(&runtime, 1, Subject::default())?;
    let count = setup.scale(500, 100);
    let keeps = busy.ask(Busy { ns: if setup.simulated() { 0 } else { 20 * MS } }).send().named("keeping a worker busy")?;
    clock.ask(Remind { to: subject.address(), delay_ns: MS, count, apart_ns: 0 }).wait().named("setting timers")?;
    eventually("all notes have come", || {
        pass(&clock, MS)?;
        Ok(log(&subject)?.count == count)
    })?;
    same("notes out of order", log(&subject)?.out_of_order, 0)?;
    keeps.wait().named("the busy handler")?;
    end(runtime)
}

pub(super) fn a_timer_ends_with_its_actor(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (clock, other) = (launch_on(&runtime, 0, Clock::default())?, launch_on(&runtime, 0, Clock::default())?);
    let subject = launch_on(&runtime, 0, Subject::default())?;
    if clock.ask(LastWish { to: subject.address(), delay_ns: 2 * MS }).wait().is_ok() {
        return Err("an actor that panics answers".into());
    }
    pass(&other, 5 * MS)?;
    same("notes of an actor that has ended", log(&subject)?.count, 0)?;
    end(runtime)
}

pub(super) fn no_timer_left(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().timers(4).build().named("building the runtime")?;
    let clock = launch_on(&runtime, 0, Clock::default())?;
    let none = Err(AskError::Handler(KernelError::NoTimer { limit: 4 }));
    same("a fifth timer", clock.ask(once(AN_HOUR_NS, 5)).wait(), none.clone())?;
    same("cancelling the fourth", clock.ask(Unwind).wait(), Ok(true))?;
    same("a fourth timer", clock.ask(once(AN_HOUR_NS, 1)).wait(), Ok(1))?;
    same("a fifth timer", clock.ask(once(AN_HOUR_NS, 1)).wait(), none)?;
    let elsewhere = launch_on(&runtime, 1, Clock::default())?;
    same("timers of another worker", elsewhere.ask(once(AN_HOUR_NS, 4)).wait(), Ok(4))?;
    end(runtime)
}

pub(super) fn a_shutdown_waits_for_no_timer(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let clock = launch_on(&runtime, 0, Clock::default())?;
    clock.ask(once(AN_HOUR_NS, 3)).wait().named("setting timers")?;
    // And one that always has something to do.
    clock.ask(Wind { delay_ns: 1, count: 1, again: true }).wait().named("setting a timer")?;
    let start = Instant::now();
    end(runtime)?;
    if start.elapsed() > PATIENCE / 2 {
        return Err(format!("the shutdown took {:?}", start.elapsed()));
    }
    match clock.ask(ReadAlarms).wait() {
        Err(AskError::NotHandled { reason: Refusal::RuntimeStopped, .. }) => Ok(()),
        other => Err(format!("an ask after the shutdown: {other:?}")),
    }
}

pub(super) fn a_sleep_lasts(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (clock, subject) = (launch_on(&runtime, 0, Clock::default())?, launch_on(&runtime, 0, Subject::default())?);
    for ns in [1, MS, 7 * MS] {
        let sleeps = clock.ask(Doze { ns }).send().named("asking")?;
        subject.ask(Add { n: 1 }).wait().named("an actor beside one that sleeps")?;
        let slept = sleeps.wait().named("a handler that sleeps")?;
        if slept < ns {
            return Err(format!("a sleep of {ns} ns lasted {slept} ns"));
        }
    }
    end(runtime)
}

pub(super) fn a_sleeping_grid_wakes(setup: &Setup) -> Result<(), String> {
    let idle = Duration::from_millis(5);
    let Some(setup) = setup.hibernating(idle) else { return Ok(()) };
    let runtime = setup.runtime()?;
    let clock = launch_on(&runtime, 0, Clock::default())?;
    let hibernations = runtime.launches().hibernations;
    let delay = 60 * MS;
    clock.ask(Wind { delay_ns: delay, count: 1, again: true }).wait().named("setting a timer")?;
    if !setup.simulated() {
        // Nobody sends anything meanwhile.
        std::thread::sleep(Duration::from_nanos(3 * delay));
    }
    eventually("the timer has fired", || {
        if setup.simulated() {
            // Time passes while somebody waits for what does not come in time.
            let waits = launch_on(&runtime, 1, Clock::default())?;
            let _ = waits.ask(Doze { ns: 2 * delay }).wait();
        }
        Ok(alarms(&clock)?.count >= 1)
    })?;
    let slept = runtime.launches().hibernations - hibernations;
    if slept == 0 {
        return Err("the grid did not hibernate".into());
    }
    let seen = alarms(&clock)?;
    if seen.at[0] - seen.set_at < delay || (!setup.simulated() && seen.at[0] - seen.set_at > 2 * delay) {
        return Err(format!("the timer fired at {} ns, due at {delay}", seen.at[0] - seen.set_at));
    }
    same("cancelling it", clock.ask(Unwind).wait(), Ok(true))?;
    block_on(runtime.shutdown()).named("shutting down")
}
