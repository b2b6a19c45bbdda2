//! Section 3, handlers over their budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use warpring::prelude::*;

use crate::kernels::subject::{Busy, Nap, Subject};
use crate::setup::{Named, Setup, end, eventually, launch_on, same};

const BUDGET: Duration = Duration::from_millis(200);

pub(super) fn a_stuck_handler_is_reported(setup: &Setup) -> Result<(), String> {
    if setup.simulated() {
        return Ok(());
    }
    let heard = Arc::new(AtomicU32::new(0));
    let hook = {
        let heard = Arc::clone(&heard);
        move |_: &warpring::StuckHandler| {
            heard.fetch_add(1, Ordering::SeqCst);
            panic!("a hook that panics changes nothing")
        }
    };
    let builder = setup.builder().handler_budget(BUDGET).on_stuck_handler(hook);
    let runtime = builder.build().named("building the runtime")?;
    for worker in [1, 0] {
        let before = runtime.stuck_handlers().len();
        let subject = launch_on(&runtime, worker, Subject::default())?;
        let start = Instant::now();
        let busy = subject.ask(Busy { ns: 6 * BUDGET.as_nanos() as u64 }).send().named("asking")?;
        eventually("the handler is reported", || Ok(runtime.stuck_handlers().len() > before))?;
        let after = start.elapsed();
        if after < BUDGET {
            return Err(format!("it was reported after {after:?}"));
        }
        busy.wait().named("the handler")?;
        if start.elapsed() <= after {
            return Err("it was reported after its end".into());
        }
        // Somebody else's turn, in which it would be reported again.
        std::thread::sleep(BUDGET);
        let all = runtime.stuck_handlers();
        same("reports", all.len() - before, 1)?;
        let report = all.last().ok_or("no report")?;
        same("actor and worker", (report.actor, report.worker), (subject.id(), worker))?;
        if report.running_for < BUDGET || report.running_for > after + BUDGET {
            return Err(format!("it ran for {:?} when it was reported", report.running_for));
        }
    }
    same("calls of the hook", heard.load(Ordering::SeqCst), 2)?;
    end(runtime)
}

pub(super) fn others_are_not_reported(setup: &Setup) -> Result<(), String> {
    if setup.simulated() {
        return Ok(());
    }
    let runtime = setup.builder().handler_budget(BUDGET).build().named("building the runtime")?;
    let subject = launch_on(&runtime, 0, Subject::default())?;
    let sleeps = subject.ask(Nap { ns: 2 * BUDGET.as_nanos() as u64, n: 0 }).send().named("asking")?;
    let other = launch_on(&runtime, 1, Subject::default())?;
    let short = Busy { ns: BUDGET.as_nanos() as u64 / 20 };
    let sent: Vec<_> = (0..60).map(|_| other.ask(short).send()).collect();
    for reply in sent {
        reply.named("asking")?.wait().named("a short handler")?;
    }
    sleeps.wait().named("a handler that sleeps")?;
    same("reports", runtime.stuck_handlers(), Vec::new())?;
    end(runtime)
}
