//! Section 2: priorities.

use warpring::prelude::*;

use crate::kernels::subject::{Note, ReadLog};
use crate::setup::{Held, Named, Setup, end, same};

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
