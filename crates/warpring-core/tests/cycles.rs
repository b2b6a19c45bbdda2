//! Traces of cycles of asks: one thread, a clock that stands still, and the exact replies and reports.
#![cfg(not(loom))]

mod support;

use support::kernels::{Cmd, op};
use support::*;
use warpring_core::KernelError;

/// A worker looks so long after an ask of a busy actor, and so long again before it sends a probe.
const PAUSE: u64 = 2_000_000;

fn with(command: u32, below: u32) -> u32 {
    below << 8 | command
}

/// Lets the workers look twice.
fn look_twice(rig: &mut Rig) {
    for _ in 0..2 {
        rig.run_all();
        rig.advance(PAUSE);
    }
    rig.run_all();
}

fn cycles() -> Vec<Event> {
    take_log().into_iter().filter(|event| matches!(event, Event::Cycle(..))).collect()
}

#[test]
fn two_actors_that_ask_each_other_at_once_are_found() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 8));
    let first = rig.ask(a, Cmd::new(1, with(op::ASK, op::ECHO), 0).to(b));
    let second = rig.ask(b, Cmd::new(2, with(op::ASK, op::ECHO), 0).to(a));
    rig.run_all();
    rig.advance(PAUSE);
    rig.run_all();
    assert_eq!((rig.reply(first), rig.reply(second)), (None, None), "nobody is sure yet");
    rig.advance(PAUSE);
    rig.run_all();
    // Worker 0 looks first, and its actor gives up; then it is free, and answers the other.
    assert_eq!(cycles(), [Event::Cycle(2, [a.id(), b.id()])]);
    let report = 1 << 9;
    assert_eq!(rig.reply(first), Some(Err(No::Failed(KernelError::AskCycle { report }))));
    assert_eq!(rig.reply(second), Some(Ok(0)));
    assert_eq!((rig.probe(0).frames, rig.probe(1).frames), (0, 0));
}

#[test]
fn whoever_waits_for_a_cycle_without_being_in_it_reports_nothing() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    // `c` asks `a`, and `d` asks `c`, so that their worker looks at `c`, too.
    let [a, b, c, d] = [(0, 1), (1, 2), (1, 3), (1, 4)].map(|(worker, number)| rig.probe_actor(worker, number, 8));
    let crossed =
        [rig.ask(a, Cmd::new(1, with(op::ASK, op::ECHO), 0).to(b)), rig.ask(b, Cmd::new(2, with(op::ASK, op::ECHO), 0).to(a))];
    rig.run_all();
    let outside = rig.ask(c, Cmd::new(3, with(op::ASK, op::ECHO), 0).to(a));
    rig.run_all();
    let further = rig.ask(d, Cmd::new(4, with(op::ASK, op::ECHO), 0).to(c));
    look_twice(&mut rig);
    assert_eq!(cycles(), [Event::Cycle(2, [a.id(), b.id()])]);
    assert!(matches!(rig.reply(crossed[0]), Some(Err(No::Failed(KernelError::AskCycle { .. })))));
    assert_eq!([crossed[1], outside, further].map(|held| rig.reply(held)), [Some(Ok(0)); 3]);
}

#[test]
fn a_chain_that_waits_for_a_sleeper_is_no_cycle() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    let [a, b, c] = [(0, 1), (1, 2), (0, 3)].map(|(worker, number)| rig.probe_actor(worker, number, 8));
    rig.tell(c, Cmd::new(1, op::SLEEP, 100 * PAUSE));
    let first = rig.ask(b, Cmd::new(2, with(op::ASK, op::ECHO), 2).to(c));
    rig.run_all();
    let second = rig.ask(a, Cmd::new(3, with(op::ASK, op::ECHO), 3).to(b));
    for _ in 0..20 {
        look_twice(&mut rig);
    }
    assert_eq!((rig.reply(first), rig.reply(second)), (None, None));
    rig.advance(100 * PAUSE);
    rig.run_all();
    assert_eq!((rig.reply(first), rig.reply(second)), (Some(Ok(2)), Some(Ok(3))));
    assert_eq!(cycles(), []);
}
