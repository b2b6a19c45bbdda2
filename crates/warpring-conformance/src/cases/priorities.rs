//! Section 2: priorities.

use std::sync::atomic::{AtomicBool, Ordering};

use warpring::prelude::*;
use warpring::{ExitReason, Refusal, block_on};

use crate::kernels::subject::{Get, Note, ReadLog, Subject};
use crate::setup::{Held, Named, Setup, end, launch_on, same};

/// Sends notes to an actor that is held, then lets it go on, and gives the order in which they were handled.
fn order(setup: &Setup, sent: impl IntoIterator<Item = (Priority, u16)>) -> Result<Vec<u16>, String> {
    let runtime = setup.runtime()?;
    let held = Held::new(&runtime)?;
    for (priority, seq) in sent {
        let note = Note { from: 0, seq: seq.into() };
        held.subject.tell(note).priority(priority).wait().named("telling")?;
    }
    held.settle()?;
    let subject = held.subject.clone();
    held.open()?;
    // Of normal priority and last: all others come before it.
    let log = subject.ask(ReadLog).wait().named("reading the log")?;
    end(runtime)?;
    Ok(log.seen.into_iter().take(log.count as usize).collect())
}

pub(super) fn high_goes_first(setup: &Setup) -> Result<(), String> {
    let sent = [(Priority::Normal, 1), (Priority::High, 11), (Priority::Normal, 2), (Priority::High, 12), (Priority::Normal, 3)];
    same("order", order(setup, sent)?, vec![11, 12, 1, 2, 3])
}

pub(super) fn normal_is_not_starved(setup: &Setup) -> Result<(), String> {
    let normal = [1, 2].map(|seq| (Priority::Normal, seq));
    let sent = normal.into_iter().chain((101..=136).map(|seq| (Priority::High, seq)));
    let expected = (101..=116).chain([1]).chain(117..=132).chain([2]).chain(133..=136);
    same("order", order(setup, sent)?, expected.collect())
}

pub(super) fn first_come_first_served(setup: &Setup) -> Result<(), String> {
    for priority in [Priority::Normal, Priority::High] {
        same("order", order(setup, (1..=40).map(|seq| (priority, seq)))?, (1..=40).collect())?;
    }
    Ok(())
}

pub(super) fn the_runtime_goes_first(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().ring_lines(64).build().named("building the runtime")?;
    let held = Held::new(&runtime)?;
    let asked: Vec<_> = (0..20).map(|_| held.subject.ask(Get).send().named("asking")).collect::<Result<_, _>>()?;
    held.settle()?;
    let flooded = launch_on(&runtime, 0, Subject::default())?;
    let stop = AtomicBool::new(false);
    let killed = std::thread::scope(|scope| {
        let flood = || {
            while !stop.load(Ordering::Relaxed) {
                // Refused for want of room, most of the time.
                let _ = flooded.try_tell(Note { from: 1, seq: 1 });
            }
        };
        if !setup.simulated() {
            scope.spawn(flood);
            scope.spawn(flood);
        }
        let killed = block_on(held.subject.kill());
        stop.store(true, Ordering::Relaxed);
        killed
    });
    same("a kill under load", killed, Ok(ExitReason::Killed))?;
    for reply in asked {
        let back = AskError::NotHandled { reason: Refusal::ActorStopped(held.subject.id()), message: Get };
        same("what waited in the mailbox", reply.wait(), Err(back))?;
    }
    drop(runtime);
    Ok(())
}
