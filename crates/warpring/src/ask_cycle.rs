//! Cycles of asks that workers have found: what they report, and the log of it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;

use warpring_core::ActorId;

use crate::lock::lock;

/// Actors that asked each other in a circle, so that none of them could answer. The ask of the first one has failed, which lets the
/// others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AskCycle {
    /// The actors, each of which asked the next: the first 7.
    pub actors: Vec<ActorId>,
    /// How many they are in all; the last one asked the first.
    pub length: u32,
}

impl fmt::Display for AskCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} actors ask each other in a circle, and none can answer: ", self.length)?;
        for (i, actor) in self.actors.iter().enumerate() {
            if i > 0 {
                f.write_str(" asks ")?;
            }
            write!(f, "{actor}")?;
        }
        let hidden = self.length.saturating_sub(self.actors.len() as u32);
        if hidden > 0 {
            write!(f, " asks {hidden} others")?;
        }
        f.write_str(", and the last asks the first: let one of them tell, and be told the answer")
    }
}

/// The last [`LOG`] cycles, with the numbers of their reports.
#[derive(Default)]
pub(crate) struct AskCycles(Mutex<VecDeque<(u32, AskCycle)>>);

/// Cycles kept for [`Runtime::ask_cycles`](crate::Runtime::ask_cycles).
const LOG: usize = 1024;

impl AskCycles {
    /// A worker's report of a cycle of `length` actors, which names the first of them.
    pub(crate) fn add(&self, report: u32, length: u32, actors: &[ActorId]) {
        let mut log = lock(&self.0);
        if log.len() == LOG {
            log.pop_front();
        }
        log.push_back((report, AskCycle { actors: actors.iter().take(length as usize).copied().collect(), length }));
    }

    pub(crate) fn find(&self, report: u32) -> Option<AskCycle> {
        let log = lock(&self.0);
        log.iter().rev().find(|(number, _)| *number == report).map(|(_, cycle)| cycle.clone())
    }

    pub(crate) fn list(&self) -> Vec<AskCycle> {
        lock(&self.0).iter().map(|(_, cycle)| cycle.clone()).collect()
    }
}
