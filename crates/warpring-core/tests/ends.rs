//! Traces of ends, restarts and spawned actors: one thread, a clock that stands still, and the exact order.
#![cfg(not(loom))]

mod support;

use support::kernels::{Cmd, Fussy, Hook, Probe, op, unword};
use support::*;
use warpring_core::worker::{CONTROL_END, CONTROL_REST, CONTROL_RESTART, CONTROL_WATCH, End, Notice};
use warpring_core::{ActorId, Address, ExitReason, How, KernelError};

fn echo(id: u32) -> Cmd {
    Cmd::new(id, op::ECHO, u64::from(id))
}

fn ended(actor: ActorId, reason: ExitReason) -> Event {
    Event::Noticed(Notice::Ended { actor, reason, held: false })
}

fn held(actor: ActorId, reason: ExitReason) -> Event {
    Event::Noticed(Notice::Ended { actor, reason, held: true })
}

const STOPPED: Option<Result<u64, No>> = Some(Err(No::Refused(KernelError::Stopped)));
const PANICKED: ExitReason = ExitReason::Panicked { line: 77 };

/// An actor with hooks.
fn fussy(rig: &mut Rig, number: u32) -> Address<Probe> {
    let (launch, actor) = rig.fussy_actor(0, Fussy::new(number, Hook::Ok, Hook::Ok));
    rig.run_all();
    assert_eq!(rig.reply(launch), Some(Ok(0)));
    take_log();
    actor
}

#[test]
fn an_actor_that_stops_itself_refuses_what_waits_and_shuts_down() {
    let mut rig = Rig::new(Limits::default());
    let actor = fussy(&mut rig, 1);
    let stop = rig.ask(actor, Cmd::new(1, op::STOP_AFTER_SLEEP, 100));
    let waits = rig.ask(actor, echo(2));
    rig.tell(actor, echo(3));
    rig.run_all();
    rig.advance(100);
    rig.run_all();
    assert_eq!((rig.reply(stop), rig.reply(waits)), (Some(Ok(1)), STOPPED));
    let expected = [
        Event::Began(1, 1),
        Event::Ended(1, 1, Ok(1)),
        Event::Dead(Some(3), KernelError::Stopped),
        Event::ShutDown(1),
        ended(actor.id(), ExitReason::Normal),
    ];
    assert_eq!(take_log(), expected);
    assert_eq!(rig.answer(actor, echo(4)), Err(No::Refused(KernelError::Stopped)));
    assert_eq!(rig.one(CONTROL_END, actor.id(), How::Stop), STOPPED, "it has ended");
    let report = rig.probe(0);
    assert_eq!((report.frames, report.waiting), (0, 0));
}

#[test]
fn a_drain_handles_what_waits_and_a_stop_does_not() {
    for (how, handled) in [(How::Drain, true), (How::Stop, false)] {
        let mut rig = Rig::new(Limits::default());
        let actor = fussy(&mut rig, 1);
        let busy = rig.ask(actor, Cmd::new(1, op::SLEEP, 100));
        let waits = rig.ask(actor, echo(2));
        rig.run_all();
        assert_eq!(rig.one(CONTROL_END, actor.id(), how), Some(Ok(0)));
        let late = rig.ask(actor, echo(3));
        rig.run_all();
        assert_eq!(rig.reply(late), STOPPED, "from here on it takes nothing");
        rig.advance(100);
        rig.run_all();
        assert_eq!(rig.reply(busy), Some(Ok(0)), "a suspended handler goes on");
        assert_eq!(rig.reply(waits), if handled { Some(Ok(2)) } else { STOPPED });
        let log = take_log();
        assert_eq!(log[log.len() - 2..], [Event::ShutDown(1), ended(actor.id(), ExitReason::Shutdown)]);
    }
}

#[test]
fn a_drain_does_not_handle_what_is_too_late() {
    let mut rig = Rig::new(Limits::default());
    let actor = fussy(&mut rig, 1);
    rig.tell(actor, Cmd::new(1, op::SLEEP, 1 << 20));
    let late = rig.ask_with(actor, echo(2), |header| header.deadline = 1);
    rig.run_all();
    assert_eq!(rig.one(CONTROL_END, actor.id(), How::Drain), Some(Ok(0)));
    rig.advance(1 << 20);
    rig.run_all();
    assert_eq!(rig.reply(late), Some(Err(No::Refused(KernelError::Deadline))));
    assert_eq!(take_log().last(), Some(&ended(actor.id(), ExitReason::Shutdown)));
}

#[test]
fn a_kill_drops_a_suspended_handler_and_runs_no_shutdown() {
    for wait in [op::SLEEP, op::ASK] {
        let mut rig = Rig::new(Limits::default());
        let actor = fussy(&mut rig, 1);
        let other = rig.probe_actor(0, 2, 8);
        rig.tell(other, Cmd::new(9, op::SLEEP, 500));
        let busy = rig.ask(actor, Cmd::new(1, wait, 100).to(other));
        let waits = rig.ask(actor, echo(2));
        rig.run_all();
        take_log();
        assert_eq!(rig.one(CONTROL_END, actor.id(), How::Kill), Some(Ok(0)));
        assert_eq!(rig.reply(busy), Some(Err(No::Failed(KernelError::Interrupted))));
        assert_eq!(rig.reply(waits), STOPPED);
        assert_eq!(take_log(), [Event::Dropped(1, 1), ended(actor.id(), ExitReason::Killed)]);
        rig.advance(500);
        rig.run_all();
        // Whoever it asked answers nobody.
        let report = rig.probe(0);
        assert_eq!((report.frames, report.waiting), (0, 0));
    }
}

#[test]
fn a_kill_needs_no_free_frame() {
    let mut rig = Rig::new(Limits { frames: 1, ..Limits::default() });
    let actor = rig.probe_actor(0, 1, 8);
    let busy = rig.ask(actor, Cmd::new(1, op::SLEEP, 1 << 40));
    rig.run_all();
    assert_eq!(rig.one(CONTROL_END, actor.id(), How::Kill), Some(Ok(0)));
    assert_eq!(rig.reply(busy), Some(Err(No::Failed(KernelError::Interrupted))));
    assert_eq!(take_log().last(), Some(&ended(actor.id(), ExitReason::Killed)));
}

#[test]
fn a_handler_ends_another_actor_near_and_far() {
    for worker in [0, 1] {
        let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
        let a = rig.probe_actor(0, 1, 8);
        let (b, c) = (rig.probe_actor(worker, 2, 8), rig.probe_actor(worker, 3, 8));
        let busy = rig.ask(c, Cmd::new(5, op::SLEEP, 100));
        rig.run_all();
        assert_eq!(rig.answer(a, Cmd::new(1, op::END, 0).to(b)), Ok(0));
        assert_eq!(rig.answer(a, Cmd::new(2, op::KILL, 0).to(c)), Ok(0));
        rig.run_all();
        assert_eq!(rig.reply(busy), Some(Err(No::Failed(KernelError::Interrupted))));
        let log = take_log();
        assert!(log.contains(&ended(b.id(), ExitReason::Shutdown)), "{log:?}");
        assert!(log.contains(&ended(c.id(), ExitReason::Killed)), "{log:?}");
        assert_eq!(rig.answer(a, Cmd::new(3, op::END, 0).to(b)), Ok(0), "one that has ended has ended");
    }
}

#[test]
fn a_supervised_actor_is_held_and_starts_again() {
    for (command, reason) in [(op::PANIC, PANICKED), (op::SLEEP_PANIC, PANICKED), (op::STOP, ExitReason::Normal)] {
        let mut rig = Rig::new(Limits::default());
        let actor = rig.supervised(0, Fussy::new(1, Hook::Ok, Hook::Ok));
        assert_eq!(rig.answer(actor, Cmd::new(1, op::ADD, 5)), Ok(5));
        rig.tell(actor, Cmd::new(2, command, 10));
        rig.run_all();
        rig.advance(10);
        rig.run_all();
        assert!(take_log().contains(&held(actor.id(), reason)));
        let waits = rig.ask(actor, Cmd::new(3, op::ADD, 1));
        rig.run_all();
        assert_eq!(rig.reply(waits), None, "what is sent meanwhile waits");
        assert_eq!(rig.one(CONTROL_RESTART, actor.id(), How::Stop), Some(Ok(0)));
        assert_eq!(rig.reply(waits), Some(Ok(6)), "with the state that it had");
        assert_eq!(take_log()[0], Event::Initialized(1));
        let again = rig.one(CONTROL_RESTART, actor.id(), How::Stop);
        assert_eq!(again, Some(Err(No::Refused(KernelError::Overloaded))), "it is not held any more");
        assert_eq!(rig.answer(actor, echo(4)), Ok(4));
    }
}

#[test]
fn a_held_actor_has_ended_whoever_ends_it_again() {
    for how in [How::Drain, How::Stop, How::Kill] {
        let mut rig = Rig::new(Limits::default());
        let actor = rig.supervised(0, Fussy::new(1, Hook::Ok, Hook::Ok));
        rig.tell(actor, Cmd::new(1, op::PANIC, 0));
        rig.run_all();
        assert_eq!(rig.one(CONTROL_END, actor.id(), how), STOPPED, "no other end comes that somebody could wait for");
        assert_eq!(rig.one(CONTROL_RESTART, actor.id(), How::Stop), Some(Ok(0)));
        assert_eq!(rig.answer(actor, echo(2)), Ok(2));
        take_log();
    }
}

#[test]
fn a_drain_waits_for_initialize_and_handles_what_came_before() {
    let mut rig = Rig::new(Limits::default());
    let (launch, actor) = rig.fussy_actor(0, Fussy::new(1, Hook::Sleep, Hook::Ok));
    rig.run_all();
    let before = rig.ask(actor, echo(2));
    rig.run_all();
    assert_eq!(rig.one(CONTROL_END, actor.id(), How::Drain), Some(Ok(0)));
    let after = rig.ask(actor, echo(3));
    rig.run_all();
    assert_eq!((rig.reply(before), rig.reply(after)), (None, STOPPED));
    rig.advance(1 << 20);
    rig.run_all();
    assert_eq!((rig.reply(launch), rig.reply(before)), (Some(Ok(0)), Some(Ok(2))));
    let log = take_log();
    assert_eq!(log[log.len() - 2..], [Event::ShutDown(1), ended(actor.id(), ExitReason::Shutdown)]);
}

#[test]
fn a_held_actor_can_be_let_go() {
    let mut rig = Rig::new(Limits::default());
    let actor = rig.supervised(0, Fussy::new(1, Hook::Ok, Hook::Ok));
    rig.tell(actor, Cmd::new(1, op::PANIC, 0));
    rig.run_all();
    let waits = rig.ask(actor, echo(2));
    rig.run_all();
    take_log();
    let id = actor.id();
    let end = End { slot: id.slot, generation: id.generation, how: How::Stop, for_good: true };
    assert_eq!(rig.one_of(CONTROL_END, &end, id), Some(Ok(0)));
    assert_eq!(rig.reply(waits), STOPPED);
    assert_eq!(take_log(), [ended(id, PANICKED)], "no `shutdown` after a crash");
}

#[test]
fn a_resting_actor_refuses_everything_and_starts_again() {
    let mut rig = Rig::new(Limits::default());
    let actor = rig.supervised(0, Fussy::new(1, Hook::Ok, Hook::Ok));
    let id = actor.id();
    assert_eq!(rig.answer(actor, Cmd::new(1, op::ADD, 5)), Ok(5));
    assert_eq!(rig.one(CONTROL_REST, id, How::Stop), Some(Err(No::Refused(KernelError::Overloaded))), "it is not held");
    rig.tell(actor, Cmd::new(2, op::STOP, 0));
    rig.run_all();
    let waits = [3, 4].map(|number| rig.ask(actor, echo(number)));
    rig.run_all();
    take_log();
    assert_eq!(rig.one(CONTROL_REST, id, How::Stop), Some(Ok(0)));
    assert_eq!(waits.map(|held| rig.reply(held)), [STOPPED; 2], "what waited is refused");
    assert_eq!(rig.answer(actor, echo(5)), Err(No::Refused(KernelError::Stopped)), "and what comes");
    assert_eq!(take_log(), [held(id, ExitReason::Normal)], "told once, when nothing waits any more");
    for (tag, how) in [(CONTROL_END, How::Stop), (CONTROL_END, How::Kill), (CONTROL_WATCH, How::Stop)] {
        assert_eq!(rig.one(tag, id, how), STOPPED, "it has ended");
    }
    assert_eq!(rig.one(CONTROL_RESTART, id, How::Stop), Some(Ok(0)));
    assert_eq!(rig.answer(actor, Cmd::new(6, op::ADD, 1)), Ok(6), "with the state that it had");
    // And a resting one can be let go.
    rig.tell(actor, Cmd::new(7, op::STOP, 0));
    rig.run_all();
    assert_eq!(rig.one(CONTROL_REST, id, How::Stop), Some(Ok(0)));
    take_log();
    let end = End { slot: id.slot, generation: id.generation, how: How::Stop, for_good: true };
    assert_eq!(rig.one_of(CONTROL_END, &end, id), Some(Ok(0)));
    assert_eq!(take_log(), [ended(id, ExitReason::Normal)]);
}

#[test]
fn a_worker_stops_with_a_resting_actor_whose_messages_wait_for_their_refusal() {
    let mut rig = Rig::new(Limits::default());
    let actor = rig.supervised(0, Fussy::new(1, Hook::Ok, Hook::Ok));
    rig.tell(actor, Cmd::new(1, op::STOP, 0));
    rig.run_all();
    let waits = rig.ask(actor, echo(2));
    rig.run_all();
    let id = actor.id();
    let rest = rig.control(0, CONTROL_REST, &End { slot: id.slot, generation: id.generation, how: How::Stop, for_good: false });
    let stop = rig.stop(0);
    rig.run_all();
    assert_eq!((rig.reply(waits), rig.reply(rest)), (STOPPED, Some(Ok(0))));
    rig.finish();
    assert_eq!(rig.reply(stop), Some(Ok(0)));
}

#[test]
fn a_restart_whose_initialize_fails_is_held_again() {
    let mut rig = Rig::new(Limits::default());
    let actor = rig.supervised(0, Fussy::new(1, Hook::FailLater, Hook::Ok));
    assert_eq!(rig.answer(actor, Cmd::new(1, op::ADD, 5)), Ok(5));
    rig.tell(actor, Cmd::new(2, op::PANIC, 0));
    rig.run_all();
    take_log();
    assert_eq!(rig.one(CONTROL_RESTART, actor.id(), How::Stop), Some(Ok(0)));
    let reason = ExitReason::Initialize(KernelError::rejected(5));
    assert_eq!(take_log(), [held(actor.id(), reason)]);
}

#[test]
fn a_spawned_actor_is_there_at_once_and_its_slot_is_used_again() {
    let mut rig = Rig::new(Limits::default());
    let parent = rig.probe_actor(0, 1, 8);
    let mut seen = std::collections::HashSet::new();
    for round in 0..20 {
        let child = rig.answer(parent, Cmd::new(1, op::SPAWN_FUSSY, 50 + round)).expect("a child");
        let child = unword(child);
        assert!(seen.insert(child.id()), "an id is never used twice");
        assert_eq!(rig.answer(child, Cmd::new(2, op::ADD, 7)), Ok(7), "with a fresh state");
        assert_eq!(rig.answer(child, Cmd::new(3, op::STOP, 0)), Ok(0));
        assert_eq!(rig.answer(child, echo(4)), Err(No::Refused(KernelError::Stopped)), "never another actor's");
        let number = 50 + round as u32;
        let log = take_log();
        assert!(log.contains(&Event::Initialized(number)) && log.contains(&Event::ShutDown(number)), "{log:?}");
        assert!(!log.iter().any(|event| matches!(event, Event::Noticed(_))), "nobody watches it");
    }
    let slots: std::collections::HashSet<_> = seen.iter().map(|id| id.slot).collect();
    assert_eq!(slots.len(), 1);
}

#[test]
fn there_are_so_many_spawned_actors_at_a_time() {
    let mut rig = Rig::new(Limits::default());
    let parent = rig.probe_actor(0, 1, 8);
    let spawn = |id: u32| Cmd::new(id, op::SPAWN, u64::from(id));
    let children: Vec<_> = (0..SPAWNED).map(|n| unword(rig.answer(parent, spawn(n)).expect("a child"))).collect();
    let full = Err(No::Failed(KernelError::TooManyActors));
    assert_eq!(rig.answer(parent, spawn(20)), full);
    assert_eq!(rig.answer(children[2], Cmd::new(3, op::PANIC, 0)), Err(No::Failed(KernelError::Panicked { line: 77 })));
    let next = unword(rig.answer(parent, spawn(21)).expect("the crashed one's slot"));
    assert_eq!((next.id().slot, next.id().generation), (children[2].id().slot, children[2].id().generation + 1));
    assert_eq!(rig.answer(parent, spawn(22)), full);
}

#[test]
fn an_actor_is_spawned_on_another_worker() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    let parent = rig.probe_actor(0, 1, 8);
    let there = rig.probe_actor(1, 2, 8);
    for (target, worker) in [(there, 1), (parent, 0)] {
        let child = unword(rig.answer(parent, Cmd::new(1, op::SPAWN_ON, 9).to(target)).expect("a child"));
        assert_eq!(child.id().worker, worker);
        assert_eq!(rig.answer(child, Cmd::new(2, op::ADD, 3)), Ok(3));
        assert!(take_log().contains(&Event::Began(9, 2)), "with the value that it was given");
    }
    for _ in 1..SPAWNED {
        assert!(rig.answer(parent, Cmd::new(3, op::SPAWN_ON, 9).to(there)).is_ok());
    }
    let full = Err(No::Failed(KernelError::TooManyActors));
    assert_eq!(rig.answer(parent, Cmd::new(4, op::SPAWN_ON, 9).to(there)), full);
    let nowhere = Address::new(ActorId { slot: 0, generation: 1, worker: 7 });
    assert_eq!(rig.answer(parent, Cmd::new(5, op::SPAWN_ON, 9).to(nowhere)), Err(No::Failed(KernelError::Stopped)));
}

#[test]
fn a_watched_spawned_actor_is_told_of() {
    let mut rig = Rig::new(Limits::default());
    let parent = rig.probe_actor(0, 1, 8);
    let child = unword(rig.answer(parent, Cmd::new(1, op::SPAWN, 2)).expect("a child"));
    assert_eq!(rig.one(CONTROL_WATCH, child.id(), How::Stop), Some(Ok(0)));
    assert_eq!(rig.answer(child, Cmd::new(2, op::STOP, 0)), Ok(0));
    assert_eq!(take_log().last(), Some(&ended(child.id(), ExitReason::Normal)));
    assert_eq!(rig.one(CONTROL_WATCH, child.id(), How::Stop), STOPPED);
}

#[test]
fn a_stop_of_the_worker_ends_what_is_held_or_ending() {
    let mut rig = Rig::new(Limits::default());
    let held_one = rig.supervised(0, Fussy::new(1, Hook::Ok, Hook::Ok));
    let ending = fussy(&mut rig, 2);
    let (launch, slow) = rig.fussy_actor(0, Fussy::new(3, Hook::Ok, Hook::Sleep));
    rig.run_all();
    assert_eq!(rig.reply(launch), Some(Ok(0)));
    rig.tell(held_one, Cmd::new(1, op::PANIC, 0));
    rig.run_all();
    let waits = rig.ask(held_one, echo(2));
    let busy = rig.ask(ending, Cmd::new(3, op::SLEEP, 1 << 40));
    rig.run_all();
    assert_eq!(rig.one(CONTROL_END, ending.id(), How::Stop), Some(Ok(0)));
    assert_eq!(rig.one(CONTROL_END, slow.id(), How::Stop), Some(Ok(0)));
    take_log();
    let stop = rig.stop(0);
    rig.follow_wakes();
    rig.run_all();
    rig.finish();
    assert_eq!(rig.reply(stop), Some(Ok(0)));
    assert_eq!(rig.reply(waits), STOPPED);
    assert_eq!(rig.reply(busy), Some(Err(No::Failed(KernelError::Interrupted))));
    let log = take_log();
    for number in [2, 3] {
        assert_eq!(log.iter().filter(|event| **event == Event::ShutDown(number)).count(), 1, "{number} of {log:?}");
    }
    assert!(!log.contains(&Event::ShutDown(1)), "not after a crash");
}
