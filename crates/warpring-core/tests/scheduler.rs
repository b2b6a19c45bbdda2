//! Traces of the worker loop: one thread, a clock that stands still, and the exact replies and order.
#![cfg(not(loom))]

mod support;

use support::kernels::{BIG, CMD, Cmd, Fussy, HOOK_SLEEP, Hook, Probe, op};
use support::*;
use warpring_core::message::{Header, Kind, RingMessage, TICK_SHIFT, deadline_ticks, encode, lines_for};
use warpring_core::scoped::System;
use warpring_core::worker::Notice;
use warpring_core::{ActorId, Address, ExitReason, KernelError};

const SECOND: u64 = 1_000_000_000;

fn echo(id: u32) -> Cmd {
    Cmd::new(id, op::ECHO, u64::from(id))
}
/// `command` whose target is to do `below`.
fn with(command: u32, below: u32) -> u32 {
    below << 8 | command
}

// Messages from the host.

#[test]
fn an_ask_is_answered_from_state_and_message() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 8);
    assert_eq!(rig.answer(probe, Cmd::new(1, op::ADD, 5)), Ok(5));
    assert_eq!(rig.answer(probe, Cmd::new(2, op::ADD, 6)), Ok(11));
    assert_eq!(take_log(), [Event::Began(1, 1), Event::Ended(1, 1, Ok(5)), Event::Began(1, 2), Event::Ended(1, 2, Ok(11))]);
}

#[test]
fn a_tell_is_handled_and_an_error_reaches_whoever_asked() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 8);
    rig.tell(probe, Cmd::new(1, op::ADD, 5));
    rig.tell(probe, Cmd::new(2, op::FAIL, 9));
    assert_eq!(rig.answer(probe, Cmd::new(3, op::FAIL, 4)), Err(No::Failed(KernelError::rejected(4))));
    assert_eq!(rig.answer(probe, Cmd::new(4, op::ADD, 1)), Ok(6));
    assert_eq!(began(), [1, 2, 3, 4]);
}

#[test]
fn a_stop_behind_messages_ends_the_loop_after_them() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 8);
    let asked = rig.ask(probe, echo(1));
    rig.tell(probe, echo(2));
    let stop = rig.stop(0);
    let after = rig.ask(probe, echo(3));
    assert_eq!(rig.run(0), Came::Ended);
    assert_eq!(rig.reply(asked), Some(Ok(1)));
    assert_eq!(rig.reply(stop), None, "`finish` answers the stop");
    rig.finish();
    assert_eq!(rig.reply(stop), Some(Ok(0)));
    assert_eq!(rig.reply(after), Some(Err(No::Refused(KernelError::Stopped))));
    assert_eq!(began(), [1, 2]);
}

#[test]
fn a_message_of_several_lines_goes_there_and_back() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 8);
    let big = core::array::from_fn(|i| 7 + i as u64);
    let (first, second) = (rig.ask_big(probe, big), rig.ask_big(probe, big));
    rig.run_all();
    assert_eq!(rig.reply_big(first), Some(big.map(|word| word + 1)));
    assert_eq!(rig.reply_big(second), Some(big.map(|word| word + 1)), "also through the mailbox");
}

#[test]
fn a_message_to_nobody_is_refused() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 8);
    let id = probe.id();
    let stopped = Err(No::Refused(KernelError::Stopped));
    for nobody in [
        ActorId { slot: 5, ..id },
        ActorId { slot: u32::MAX, ..id },
        ActorId { generation: 2, ..id },
        ActorId { generation: 0, ..id },
    ] {
        assert_eq!(rig.answer(Address::new(nobody), echo(1)), stopped);
        rig.tell(Address::new(nobody), echo(2));
        rig.run_all();
        assert_eq!(take_log(), [Event::Dead(Some(2), KernelError::Stopped)]);
    }
    assert_eq!(rig.probe(0).counters.refused, 8);
}

#[test]
fn a_message_that_no_handler_takes_is_malformed_and_not_counted_as_handled() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 8);
    let malformed = Some(Err(No::Refused(KernelError::Malformed)));
    // A tag without a handler.
    let tag = rig.ask_with(probe, echo(1), |header| header.tag = 99);
    // A message too short for its type.
    let short = rig.ask_with(probe, echo(2), |header| header.tag = BIG);
    // A bool that is two.
    let bytes = rig.hold();
    let header = rig.header(probe.id(), Kind::Ask, CMD, 1, bytes.0);
    assert!(encode(&[0u64, 0, 0, 2], |parcel| rig.push(0, &header, parcel)));
    rig.run_all();
    for held in [tag, short, bytes] {
        assert_eq!(rig.reply(held), malformed);
    }
    let header = rig.header(probe.id(), Kind::Tell, 99, 1, 0);
    assert!(encode(&echo(3), |parcel| rig.push(0, &header, parcel)));
    let header = rig.header(probe.id(), Kind::Tell, CMD, 1, 0);
    assert!(encode(&[0u64, 0, 0, 2], |parcel| rig.push(0, &header, parcel)));
    rig.run_all();
    assert_eq!(take_log(), [Event::Dead(Some(3), KernelError::Malformed), Event::Dead(None, KernelError::Malformed)]);
    let counters = rig.probe(0).counters;
    assert_eq!((counters.handled, counters.refused), (0, 5));
    assert_eq!(rig.answer(probe, echo(4)), Ok(4), "the actor goes on");
}

#[test]
fn a_full_mailbox_refuses_and_names_its_capacity() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 1);
    rig.tell(probe, Cmd::new(1, op::SLEEP, 100));
    let waits = rig.ask(probe, echo(2));
    let refused = rig.ask(probe, echo(3));
    rig.tell(probe, echo(4));
    rig.run_all();
    assert_eq!(rig.reply(waits), None);
    assert_eq!(rig.reply(refused), Some(Err(No::Refused(KernelError::MailboxFull { capacity: 1 }))));
    assert_eq!(take_log(), [Event::Began(1, 1), Event::Dead(Some(4), KernelError::MailboxFull { capacity: 1 })]);
    rig.advance(100);
    rig.run_all();
    assert_eq!(rig.reply(waits), Some(Ok(2)));
}

#[test]
fn a_mailbox_without_capacity_takes_a_message_only_for_a_free_actor() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 0);
    assert_eq!(rig.answer(probe, echo(1)), Ok(1));
    rig.tell(probe, Cmd::new(2, op::SLEEP, 100));
    assert_eq!(rig.answer(probe, echo(3)), Err(No::Refused(KernelError::MailboxFull { capacity: 0 })));
}

#[test]
fn an_empty_pool_of_nodes_refuses_as_overloaded() {
    let mut rig = Rig::new(Limits { nodes: 2, ..Limits::default() });
    let probe = rig.probe_actor(0, 1, 8);
    rig.tell(probe, Cmd::new(1, op::SLEEP, 100));
    let waiting: Vec<Held> = (2..4).map(|id| rig.ask(probe, echo(id))).collect();
    let refused = rig.ask(probe, echo(4));
    rig.run_all();
    assert_eq!(rig.reply(refused), Some(Err(No::Refused(KernelError::Overloaded))));
    rig.advance(100);
    rig.run_all();
    assert_eq!(waiting.iter().map(|held| rig.reply(*held)).collect::<Vec<_>>(), [Some(Ok(2)), Some(Ok(3))]);
    assert_eq!(rig.probe(0).waiting, 0, "nodes come back");
}

#[test]
fn a_message_past_its_deadline_is_not_handled_also_if_it_passed_in_the_mailbox() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 8);
    rig.run_all();
    let deadline = deadline_ticks(rig.now());
    rig.tell(probe, Cmd::new(1, op::SLEEP, 10 << TICK_SHIFT));
    let waits = rig.ask_with(probe, echo(2), |header| header.deadline = deadline);
    rig.run_all();
    rig.advance(10 << TICK_SHIFT);
    rig.run_all();
    assert_eq!(rig.reply(waits), Some(Err(No::Refused(KernelError::Deadline))));
    let late = rig.ask_with(probe, echo(3), |header| header.deadline = deadline);
    rig.run_all();
    assert_eq!(rig.reply(late), Some(Err(No::Refused(KernelError::Deadline))));
    let header = Header { deadline, ..rig.header(probe.id(), Kind::Tell, CMD, 1, 0) };
    assert!(encode(&echo(4), |parcel| rig.push(0, &header, parcel)));
    rig.run_all();
    assert_eq!(take_log()[2..], [Event::Dead(Some(4), KernelError::Deadline)]);
    let counters = rig.probe(0).counters;
    assert_eq!((counters.handled, counters.refused), (1, 3));
}

#[test]
fn a_port_is_served_beside_the_shared_ring_and_neither_starves() {
    let mut rig = Rig::new(Limits { ring_lines: 128, actors: 4, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(0, 2, 8));
    rig.open_port();
    for id in 0..60 {
        rig.tell(a, echo(id));
        let header = rig.header(b.id(), Kind::Tell, CMD, 1, 0);
        assert!(encode(&echo(1000 + id), |parcel| rig.ports[0].push::<System>(&header, parcel)));
    }
    rig.run_all();
    let order = began();
    assert_eq!(order.len(), 120);
    let shared = order.iter().position(|id| *id == 1000).unwrap();
    assert!(shared <= 16, "a ring is left after 16 messages: the port had to wait for {shared}");
    for range in [0..60, 1000..1060] {
        assert!(order.iter().copied().filter(|id| range.contains(id)).eq(range.clone()), "each ring in order");
    }
}

// Priority.

#[test]
fn high_priority_goes_first_within_a_batch_and_in_the_mailbox_across_an_await() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 16);
    let asks = [rig.ask(probe, echo(1)), rig.ask(probe, echo(2)), rig.ask_high(probe, echo(3))];
    rig.run_all();
    assert_eq!(began(), [3, 1, 2]);
    assert!(asks.iter().all(|held| rig.reply(*held).is_some()));
    rig.tell(probe, Cmd::new(4, op::SLEEP, 100));
    rig.run_all();
    rig.ask(probe, echo(5));
    rig.run_all();
    rig.ask_high(probe, echo(6));
    rig.ask_high(probe, echo(7));
    rig.run_all();
    rig.advance(100);
    rig.run_all();
    assert_eq!(began(), [4, 6, 7, 5]);
}

#[test]
fn a_normal_message_goes_first_after_sixteen_high_ones() {
    let mut rig = Rig::new(Limits { nodes: 64, ..Limits::default() });
    let probe = rig.probe_actor(0, 1, 64);
    rig.tell(probe, Cmd::new(1, op::SLEEP, 100));
    rig.run_all();
    rig.tell(probe, echo(2));
    rig.run_all();
    for id in 100..120 {
        rig.ask_high(probe, echo(id));
    }
    rig.run_all();
    rig.advance(100);
    rig.run_all();
    let order = began();
    assert_eq!(order.iter().position(|id| *id == 2), Some(17));
}

#[test]
fn a_control_message_inside_a_batch_does_not_cost_what_follows_its_priority() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 16);
    rig.ask_high(probe, echo(1));
    rig.ask_for_report(0);
    rig.ask(probe, echo(2));
    rig.ask(probe, echo(3));
    rig.ask_high(probe, echo(4));
    rig.run_all();
    assert_eq!(began(), [1, 4, 2, 3]);
}

// Actors that ask and tell each other.

#[test]
fn actors_of_one_worker_ask_each_other() {
    let mut rig = Rig::new(Limits::default());
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(0, 2, 8));
    assert_eq!(rig.answer(a, Cmd::new(1, with(op::ASK, op::ECHO), 9).to(b)), Ok(9));
    assert_eq!(rig.answer(a, Cmd::new(2, op::ASK_BIG, 70).to(b)), Ok(71));
    assert_eq!(rig.answer(a, Cmd::new(3, with(op::ASK, op::FAIL), 3).to(b)), Err(No::Failed(KernelError::rejected(3))));
    assert_eq!(rig.answer(a, Cmd::new(4, with(op::TELL, op::ADD), 3).to(b)), Ok(0));
    assert_eq!(rig.answer(b, Cmd::new(5, op::ADD, 0)), Ok(3));
    assert_eq!(rig.answer(a, Cmd::new(6, op::ASK, 0).to(a)), Err(No::Failed(KernelError::AskedItself)));
    let nobody = Address::new(ActorId { slot: 60, ..a.id() });
    assert_eq!(rig.answer(a, Cmd::new(7, op::ASK, 0).to(nobody)), Err(No::Failed(KernelError::Stopped)));
    let no_worker = Address::new(ActorId { worker: 7, ..a.id() });
    assert_eq!(rig.answer(a, Cmd::new(8, op::ASK, 0).to(no_worker)), Err(No::Failed(KernelError::Stopped)));
    assert_eq!(rig.answer(a, Cmd::new(9, op::TRY_TELL, 0).to(no_worker)), Err(No::Failed(KernelError::Stopped)));
    assert_eq!(rig.probe(0).frames, 0);
}

#[test]
fn actors_of_two_workers_ask_each_other() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 8));
    assert_eq!(rig.answer(a, Cmd::new(1, with(op::ASK, op::ADD), 9).to(b)), Ok(9));
    assert_eq!(take_log(), [Event::Began(1, 1), Event::Began(2, 1001), Event::Ended(2, 1001, Ok(9)), Event::Ended(1, 1, Ok(9))]);
    assert_eq!(rig.answer(b, Cmd::new(2, op::ASK_BIG, 70).to(a)), Ok(71));
    let nobody = Address::new(ActorId { slot: 60, ..b.id() });
    assert_eq!(rig.answer(a, Cmd::new(3, op::ASK, 0).to(nobody)), Err(No::Failed(KernelError::Stopped)));
    take_log();
    assert_eq!(rig.answer(a, Cmd::new(4, op::TELL, 0).to(nobody)), Ok(0));
    assert_eq!(take_log()[2..], [Event::Dead(Some(1004), KernelError::Stopped)]);
    let counters = [rig.probe(0).counters, rig.probe(1).counters];
    assert_eq!((counters[0].sent, counters[1].received), (3, 3));
    assert_eq!((counters[1].sent, counters[0].received), (1, 1));
}

#[test]
fn two_actors_that_ask_each_other_at_once_are_freed_by_the_deadline() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 8));
    let first = rig.ask(a, Cmd::new(1, with(op::ASK, op::ECHO), 0).to(b));
    let second = rig.ask(b, Cmd::new(2, with(op::ASK, op::ECHO), 0).to(a));
    rig.run_all();
    assert_eq!((rig.reply(first), rig.reply(second)), (None, None), "each handles one message at a time");
    rig.advance(SECOND);
    rig.run_all();
    // Worker 0 runs first: its actor gives up, is free, and answers the other before that one looks at the clock.
    assert_eq!((rig.reply(first), rig.reply(second)), (Some(Err(No::Failed(KernelError::Deadline))), Some(Ok(0))));
    assert_eq!((rig.probe(0).counters.late, rig.probe(1).counters.late), (1, 0), "the other answer comes too late");
}

#[test]
fn with_one_frame_a_local_ask_ends_by_its_deadline_and_the_worker_goes_on() {
    let mut rig = Rig::new(Limits { frames: 1, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(0, 2, 8));
    let asked = rig.ask(a, Cmd::new(1, with(op::ASK, op::ECHO), 5).to(b));
    let other = rig.ask(b, echo(2));
    rig.run_all();
    assert_eq!((rig.reply(asked), rig.reply(other)), (None, None));
    rig.advance(SECOND);
    rig.run_all();
    assert_eq!(rig.reply(asked), Some(Err(No::Failed(KernelError::Deadline))));
    assert_eq!(rig.reply(other), Some(Ok(2)));
    let report = rig.probe(0);
    assert_eq!((report.counters.late, report.frames, report.waiting), (1, 0, 0));
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn a_full_reply_ring_holds_the_reply_until_there_is_room() {
    let mut rig = Rig::new(Limits { workers: 2, ring_lines: 16, frames: 32, ..Limits::default() });
    let asks: Vec<(Address<Probe>, Address<Probe>)> =
        (0..24).map(|i| (rig.probe_actor(0, i, 8), rig.probe_actor(1, 100 + i, 8))).collect();
    let held: Vec<Held> = asks
        .iter()
        .map(|(a, b)| {
            let held = rig.ask(*a, Cmd::new(1, with(op::ASK, op::ECHO), 3).to(*b));
            rig.run(0);
            // Worker 1 answers while worker 0 does not look.
            if asks.len() > 20 {
                rig.run(1);
            }
            held
        })
        .collect();
    rig.run_all();
    assert!(held.iter().all(|held| rig.reply(*held) == Some(Ok(3))));
    // Now without worker 0 looking in between: fill its reply ring. The request ring takes 16 lines at a time.
    let mut held = Vec::new();
    for (a, b) in &asks[..12] {
        held.push(rig.ask(*a, Cmd::new(1, op::ASK_BIG, 3).to(*b)));
    }
    rig.run(0);
    for _ in 0..4 {
        rig.run(1);
    }
    let report = rig.probe(1);
    assert!(report.frames > 0 || report.waiting == 0, "replies wait in frames");
    rig.run_all();
    assert!(held.iter().all(|held| rig.reply(*held) == Some(Ok(4))));
    let (zero, one) = (rig.probe(0), rig.probe(1));
    assert_eq!((zero.frames, one.frames), (0, 0));
}

#[test]
fn a_full_request_ring_suspends_asks_and_tells_and_gives_try_tell_its_message_back() {
    let mut rig = Rig::new(Limits { workers: 2, ring_lines: 16, nodes: 256, ..Limits::default() });
    let (a, b, c) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 255), rig.probe_actor(0, 3, 8));
    let many = rig.ask(a, Cmd::new(1, with(op::TELL_MANY, op::ADD), 40).to(b));
    rig.run(0);
    assert_eq!(rig.reply(many), None);
    let tried = rig.ask(c, Cmd::new(2, with(op::TRY_TELL, op::ADD), 0).to(b));
    rig.run(0);
    assert_eq!(rig.reply(tried), Some(Ok(1)), "full");
    let asked = rig.ask(c, Cmd::new(3, with(op::ASK, op::ADD), 1000).to(b));
    rig.run(0);
    assert_eq!(rig.reply(asked), None);
    rig.run_all();
    assert_eq!(rig.reply(many), Some(Ok(40)));
    assert!(matches!(rig.reply(asked), Some(Ok(_))));
    assert_eq!(rig.answer(b, Cmd::new(4, op::ADD, 0)), Ok((0..40).sum::<u64>() + 1000));
    let told: Vec<u32> = began().into_iter().filter(|id| (1001..1041).contains(id)).filter(|id| *id != 1003).collect();
    assert!(told.is_sorted(), "in order");
}

#[test]
fn a_worker_that_waits_for_room_does_not_sleep_until_somebody_wakes_it() {
    let mut rig = Rig::new(Limits { workers: 2, ring_lines: 16, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 64));
    rig.ask(a, Cmd::new(1, with(op::TELL_MANY, op::ECHO), 30).to(b));
    rig.run(0);
    // Nobody tells worker 0 that worker 1 has made room, so it has to look again by itself.
    assert!(rig.wake_at() <= rig.now() + 1_000_000, "it would sleep until {}", rig.wake_at());
}

#[test]
fn a_worker_that_cannot_refuse_yet_does_not_sleep_until_somebody_wakes_it() {
    let mut rig = Rig::new(Limits { workers: 2, ring_lines: 16, frames: 64, nodes: 64, ..Limits::default() });
    let actors: Vec<Address<Probe>> = (0..32).map(|i| rig.probe_actor(0, i, 8)).collect();
    let nobody = Address::new(ActorId { slot: 60, generation: 1, worker: 1 });
    // All wake at once, and have mail then: two times fifteen asks, each time followed by a run of worker 1, before worker 0
    // looks for replies. The second time worker 1 has no room for its refusals.
    for actor in &actors {
        rig.tell(*actor, Cmd::new(1, op::SLEEP, 1_000));
        rig.run(0);
    }
    rig.run_inside(1);
    let mut held = Vec::new();
    for half in actors.chunks(16) {
        held.extend(half[..15].iter().map(|actor| rig.ask(*actor, Cmd::new(2, op::ASK, 0).to(nobody))));
        rig.tell(half[15], Cmd::new(3, op::RUN_INSIDE, 0));
        rig.run(0);
    }
    rig.run(0);
    rig.advance(1_000);
    take_log();
    rig.run(0);
    let slept: Vec<u64> = rig.wakes_inside();
    assert_eq!(slept.len(), 2, "worker 1 ran twice");
    assert_eq!(slept[0], u64::MAX, "at first it has nothing to do");
    assert!(slept[1] <= rig.now() + 1_000_000, "it would sleep until {}", slept[1]);
    rig.run_all();
    for held in held {
        assert_eq!(rig.reply(held), Some(Err(No::Failed(KernelError::Stopped))));
    }
}

// Time.

#[test]
fn an_ask_ends_at_its_deadline_and_the_reply_is_counted_as_late() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 8));
    rig.tell(b, Cmd::new(1, op::SLEEP, 500_000));
    rig.run_all();
    let asked = rig.ask(a, Cmd::new(2, with(op::ASK_WITHIN, op::ECHO), 200_000).to(b));
    rig.run_all();
    rig.advance(199_999);
    rig.run_all();
    assert_eq!(rig.reply(asked), None);
    rig.advance(1);
    rig.run_all();
    assert_eq!(rig.reply(asked), Some(Err(No::Failed(KernelError::Deadline))));
    rig.advance(300_000);
    rig.run_all();
    assert_eq!(rig.probe(0).counters.late, 1);
    assert_eq!(began(), [1, 2], "the expired message is not handled");
}

#[test]
fn an_ask_that_finds_no_room_ends_at_its_deadline_too() {
    let mut rig = Rig::new(Limits { workers: 2, ring_lines: 16, ..Limits::default() });
    let (a, b, c) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 64), rig.probe_actor(0, 3, 8));
    let d = rig.probe_actor(0, 4, 8);
    rig.tell(a, Cmd::new(1, with(op::TELL_MANY, op::ECHO), 17).to(b));
    rig.run(0);
    let stated = rig.ask(c, Cmd::new(2, with(op::ASK_WITHIN, op::ECHO), 200_000).to(b));
    rig.run(0);
    let default = rig.ask(d, Cmd::new(3, with(op::ASK, op::ECHO), 0).to(b));
    rig.run(0);
    rig.advance(200_000);
    rig.run(0);
    assert_eq!(rig.reply(stated), Some(Err(No::Failed(KernelError::Deadline))));
    assert_eq!(rig.reply(default), None);
    rig.advance(SECOND);
    rig.run(0);
    assert_eq!(rig.reply(default), Some(Err(No::Failed(KernelError::Deadline))));
    assert!(take_log().contains(&Event::Ended(1, 1, Err(KernelError::Deadline))), "nor does a tell wait for ever");
    assert_eq!(rig.probe(0).frames, 0);
}

#[test]
fn a_limit_of_years_is_no_deadline_in_the_past() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 8));
    for limit in [u64::MAX, 200_000 * SECOND, 100 * SECOND] {
        let ask = Cmd::new(1, with(op::ASK_WITHIN, op::ECHO), limit).to(b);
        assert_eq!(rig.answer(a, ask), Ok(limit));
    }
}

#[test]
fn the_default_limit_is_not_counted_from_before_a_long_step() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 8));
    rig.run_all();
    let asked = rig.ask(a, Cmd::new(1, with(op::WORK_ASK, op::ECHO), 10 * SECOND).to(b));
    rig.run(0);
    rig.run(0);
    assert_eq!(rig.reply(asked), None, "its time is not over before it began");
    assert_eq!(rig.wake_at(), rig.now() + SECOND);
    rig.run_all();
    assert_eq!(rig.reply(asked), Some(Ok(10 * SECOND)));
    // Time that passes while the worker is idle counts.
    rig.tell(b, Cmd::new(2, op::SLEEP, 10 * SECOND));
    rig.run_all();
    let asked = rig.ask(a, Cmd::new(3, with(op::ASK, op::ECHO), 1).to(b));
    rig.run_all();
    rig.advance(SECOND);
    rig.run_all();
    assert_eq!(rig.reply(asked), Some(Err(No::Failed(KernelError::Deadline))));
}

#[test]
fn sleepers_wake_in_the_order_of_their_times() {
    let mut rig = Rig::new(Limits::default());
    let actors: Vec<_> = (0..4).map(|i| rig.probe_actor(0, i, 8)).collect();
    for (actor, time) in actors.iter().zip([300_000, 100_000, 400_000, 200_000]) {
        rig.tell(*actor, Cmd::new(time as u32, op::SLEEP, time));
    }
    rig.follow_wakes();
    rig.run_all();
    let ended: Vec<u32> =
        take_log().iter().filter_map(|event| if let Event::Ended(_, id, Ok(0)) = event { Some(*id) } else { None }).collect();
    assert_eq!(ended, [100_000, 200_000, 300_000, 400_000]);
}

#[test]
fn a_handler_that_sleeps_lets_others_run() {
    let mut rig = Rig::new(Limits::default());
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(0, 2, 8));
    rig.tell(a, Cmd::new(1, op::SLEEP, 1_000));
    assert_eq!(rig.answer(b, echo(2)), Ok(2));
    assert_eq!(rig.wake_at(), rig.now() + 1_000);
}

#[test]
fn an_actor_that_yields_for_ever_does_not_keep_messages_out() {
    let mut rig = Rig::new(Limits::default());
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(0, 2, 8));
    let yielding = rig.ask(a, Cmd::new(1, op::YIELD, if cfg!(miri) { 200 } else { 2_000 }));
    let asked = rig.ask(b, echo(2));
    rig.run_all();
    assert_eq!((rig.reply(yielding), rig.reply(asked)), (Some(Ok(0)), Some(Ok(2))));
    let log = take_log();
    let place = |event| log.iter().position(|e| *e == event).unwrap();
    assert!(place(Event::Began(2, 2)) < place(Event::Ended(1, 1, Ok(0))), "rings are looked at after 32 local steps");
}

#[test]
fn actors_that_keep_asking_each_other_do_not_keep_messages_out() {
    let mut rig = Rig::new(Limits::default());
    let (a, b, c) = (rig.probe_actor(0, 1, 8), rig.probe_actor(0, 2, 8), rig.probe_actor(0, 3, 8));
    rig.tell(a, Cmd::new(1, with(op::ASK_MANY, op::ECHO), if cfg!(miri) { 80 } else { 500 }).to(b));
    rig.tell(c, echo(2));
    rig.run_all();
    let order = began();
    assert!(order.iter().position(|id| *id == 2).unwrap() < 64);
}

#[test]
fn an_ask_that_is_dropped_leaves_nothing_behind() {
    for workers in [1, 2] {
        let mut rig = Rig::new(Limits { workers, ..Limits::default() });
        let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(workers as usize - 1, 2, 8));
        let asked = rig.ask(a, Cmd::new(1, with(op::DROP_ASK, op::ECHO), 500_000).to(b));
        rig.run_all();
        assert_eq!(rig.reply(asked), None);
        rig.advance(500_000);
        rig.run_all();
        assert_eq!(rig.reply(asked), Some(Ok(500_001)), "the reply to the second ask, not to the first");
        assert_eq!(rig.probe(0).counters.late, 1);
    }
}

#[test]
fn an_ask_dropped_while_it_waits_for_room_does_not_hold_up_its_handler() {
    let mut rig = Rig::new(Limits { workers: 2, ring_lines: 16, ..Limits::default() });
    let (a, b, c) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 64), rig.probe_actor(0, 3, 8));
    rig.tell(a, Cmd::new(1, with(op::TELL_MANY, op::ECHO), 17).to(b));
    rig.run(0);
    let dropped = rig.ask(c, Cmd::new(2, with(op::DROP_ASK_THEN_YIELD, op::ECHO), 0).to(b));
    rig.run(0);
    assert_eq!(rig.reply(dropped), Some(Ok(1)), "it only yields");
}

// Launch.

#[test]
fn thousands_of_actors_are_adopted_while_others_work() {
    let count = if cfg!(miri) { 40 } else { 5_000 };
    let mut rig = Rig::new(Limits { actors: count + 1, ..Limits::default() });
    let first = rig.probe_actor(0, 0, 8);
    let held = rig.adopt(0, 1, 0, 3, 8, (1..=count).map(Probe::new).collect());
    let asked = rig.ask(first, echo(1));
    rig.run_all();
    assert_eq!((rig.reply(held), rig.reply(asked)), (Some(Ok(0)), Some(Ok(1))));
    for slot in [1, 2, count / 2, count] {
        let address = Address::new(ActorId { slot, generation: 3, worker: 0 });
        assert_eq!(rig.answer(address, Cmd::new(slot, op::ADD, 1)), Ok(1));
    }
}

#[test]
fn a_launch_that_does_not_fit_is_refused() {
    let mut rig = Rig::new(Limits { actors: 4, ..Limits::default() });
    let full = rig.adopt(0, 3, 0, 1, 8, vec![Probe::new(1), Probe::new(2)]);
    let overflow = rig.adopt(0, u32::MAX - 1, 0, 1, 8, vec![Probe::new(1)]);
    let kind = rig.adopt(0, 0, 9, 1, 8, vec![Probe::new(1)]);
    let unknown = {
        let held = rig.hold();
        let header = Header { correlation: held.0, sender: 1, tag: 77, lines: 1, kind: Kind::Control as u8, ..Header::default() };
        assert!(encode(&(), |parcel| rig.push(0, &header, parcel)));
        held
    };
    rig.run_all();
    for held in [full, overflow, kind, unknown] {
        assert_eq!(rig.reply(held), Some(Err(No::Refused(KernelError::Malformed))));
    }
    let none = rig.adopt(0, 0, 0, 1, 8, Vec::<Probe>::new());
    rig.run_all();
    assert_eq!(rig.reply(none), Some(Ok(0)));
}

#[test]
fn an_actor_is_not_put_where_another_lives() {
    let mut rig = Rig::new(Limits::default());
    let first = rig.probe_actor(0, 1, 8);
    assert_eq!(rig.answer(first, Cmd::new(1, op::ADD, 5)), Ok(5));
    let held = rig.adopt(0, 0, 0, 2, 8, vec![Probe::new(2)]);
    rig.run_all();
    assert!(matches!(rig.reply(held), Some(Err(No::Refused(_)))));
    assert_eq!(rig.answer(first, Cmd::new(2, op::ADD, 5)), Ok(10));
}

#[test]
fn initialize_runs_before_any_message() {
    for (start, waits) in [(Hook::Ok, false), (Hook::Sleep, true)] {
        let mut rig = Rig::new(Limits::default());
        let (held, actor) = rig.fussy_actor(0, Fussy::new(1, start, Hook::Ok));
        let asked = rig.ask(actor, echo(2));
        rig.run_all();
        if waits {
            assert_eq!((rig.reply(held), rig.reply(asked)), (None, None));
            rig.advance(HOOK_SLEEP);
            rig.run_all();
        }
        assert_eq!((rig.reply(held), rig.reply(asked)), (Some(Ok(0)), Some(Ok(2))));
        assert_eq!(take_log()[..2], [Event::Initialized(1), Event::Began(1, 2)]);
    }
}

#[test]
fn an_actor_whose_initialize_fails_handles_nothing() {
    for (start, code) in [
        (Hook::Fail, KernelError::rejected(5)),
        (Hook::SleepFail, KernelError::rejected(6)),
        (Hook::Panic, KernelError::Panicked { line: 77 }),
    ] {
        let mut rig = Rig::new(Limits::default());
        let (held, actor) = rig.fussy_actor(0, Fussy::new(1, start, Hook::Ok));
        // It comes while `initialize` is suspended, or just after.
        let (asked, _) = (rig.ask(actor, echo(2)), rig.tell(actor, echo(3)));
        rig.run_all();
        rig.advance(HOOK_SLEEP);
        rig.run_all();
        assert_eq!(rig.reply(held), Some(Err(No::Refused(code))));
        assert_eq!(rig.reply(asked), Some(Err(No::Refused(KernelError::Stopped))), "{start:?}");
        assert_eq!(rig.answer(actor, echo(4)), Err(No::Refused(KernelError::Stopped)));
        let log: Vec<Event> = take_log().into_iter().filter(|event| *event != Event::Recovered(0)).collect();
        assert_eq!(log, [Event::Dead(Some(3), KernelError::Stopped)]);
        assert_eq!(rig.probe(0).waiting, 0);
        let stop = rig.stop(0);
        assert_eq!(rig.run(0), Came::Ended);
        rig.finish();
        assert_eq!(rig.reply(stop), Some(Ok(0)));
        assert_eq!(take_log(), [], "no shutdown for what never started");
    }
}

#[test]
fn a_group_with_slow_initialize_needs_no_more_frames_than_there_are() {
    let mut rig = Rig::new(Limits { frames: 3, ..Limits::default() });
    let actors = (0..10).map(|i| Fussy::new(i, Hook::Sleep, Hook::Sleep)).collect();
    let held = rig.adopt(0, 0, 1, 1, 8, actors);
    rig.follow_wakes();
    rig.run_all();
    assert_eq!(rig.reply(held), Some(Ok(0)));
    let mut up = take_log();
    up.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(up, (0..10).map(Event::Initialized).collect::<Vec<_>>());
    rig.stop(0);
    assert_eq!(rig.run(0), Came::Ended);
    let mut down = take_log();
    down.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(down, (0..10).map(Event::ShutDown).collect::<Vec<_>>());
}

// Stop.

#[test]
fn shutdown_runs_once_after_the_last_message() {
    for end in [Hook::Ok, Hook::Sleep] {
        let mut rig = Rig::new(Limits::default());
        let (_, actor) = rig.fussy_actor(0, Fussy::new(1, Hook::Ok, end));
        let (_, other) = rig.fussy_actor(0, Fussy::new(2, Hook::Ok, Hook::Ok));
        rig.tell(actor, echo(3));
        let asked = rig.ask(other, echo(4));
        rig.stop(0);
        let after = rig.ask(actor, echo(5));
        rig.follow_wakes();
        assert_eq!(rig.run(0), Came::Ended);
        rig.finish();
        assert_eq!(rig.reply(asked), Some(Ok(4)));
        assert_eq!(rig.reply(after), Some(Err(No::Refused(KernelError::Stopped))));
        let log = take_log();
        for number in [1, 2] {
            assert_eq!(log.iter().filter(|event| **event == Event::ShutDown(number)).count(), 1);
        }
        let place = |event| log.iter().position(|e| *e == event).unwrap();
        assert!(place(Event::Began(1, 3)) < place(Event::ShutDown(1)));
    }
}

#[test]
fn a_stop_handles_what_waits_then_cancels_what_is_suspended_then_runs_shutdown() {
    let mut rig = Rig::new(Limits { frames: 1, ..Limits::default() });
    let (_, actor) = rig.fussy_actor(0, Fussy::new(1, Hook::Ok, Hook::Ok));
    rig.run_all();
    take_log();
    // It holds the only frame for an hour.
    let long = rig.ask(actor, Cmd::new(1, op::SLEEP, 3600 * SECOND));
    let told = rig.ask(actor, echo(2));
    let stop = rig.stop(0);
    assert_eq!(rig.run(0), Came::Ended, "a stop does not wait for an hour");
    rig.finish();
    assert_eq!(rig.reply(long), Some(Err(No::Failed(KernelError::Interrupted))), "it was taken, so it is not refused");
    assert_eq!(rig.reply(told), Some(Err(No::Refused(KernelError::Stopped))));
    assert_eq!(rig.reply(stop), Some(Ok(0)));
    assert_eq!(take_log(), [Event::Began(1, 1), Event::Dropped(1, 1), Event::ShutDown(1)]);
    for held in [long, told, stop] {
        assert_eq!(rig.wakes(held), 1);
    }
}

#[test]
fn a_suspended_tell_that_a_stop_cancels_is_a_dead_letter_without_payload() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 8);
    rig.tell(probe, Cmd::new(1, op::SLEEP, SECOND));
    rig.run_all();
    rig.stop(0);
    assert_eq!(rig.run(0), Came::Ended);
    rig.finish();
    assert_eq!(take_log(), [Event::Began(1, 1), Event::Dropped(1, 1), Event::Dead(None, KernelError::Interrupted)]);
}

#[test]
fn a_shutdown_that_fails_or_panics_does_not_stop_the_stop() {
    let mut rig = Rig::new(Limits::default());
    for (number, end) in [Hook::Fail, Hook::Panic, Hook::Ok].into_iter().enumerate() {
        rig.fussy_actor(0, Fussy::new(number as u32, Hook::Ok, end));
    }
    let stop = rig.stop(0);
    assert_eq!(rig.run(0), Came::Ended);
    rig.finish();
    assert_eq!(rig.reply(stop), Some(Ok(0)));
    assert_eq!(take_log()[3..], [Event::Recovered(1), Event::ShutDown(2)]);
}

#[test]
fn a_reply_that_waited_for_room_at_the_end_is_the_handlers_own() {
    let mut rig = Rig::new(Limits { workers: 2, ring_lines: 16, frames: 32, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 64));
    // Worker 0 sends nothing it waits for; the replies are of four lines, so four fill the ring.
    let asking: Vec<_> = (0..4).map(|i| rig.probe_actor(0, 10 + i, 8)).collect();
    let held: Vec<_> = asking.iter().map(|asking| rig.ask(*asking, Cmd::new(1, op::ASK_BIG, 3).to(b))).collect();
    rig.run(0);
    rig.run(1);
    let fifth = rig.ask(a, Cmd::new(1, op::ASK_BIG, 7).to(b));
    rig.run(0);
    rig.run(1);
    rig.stop(1);
    assert_eq!(rig.run(1), Came::Ended);
    rig.run(0);
    // SAFETY: nobody runs worker 1.
    unsafe { (*rig.workers[1]).finish::<warpring_core::team::Cpu>() };
    rig.run(0);
    assert!(held.iter().all(|held| rig.reply(*held) == Some(Ok(4))));
    assert_eq!(rig.reply(fifth), Some(Ok(8)));
}

#[test]
fn what_lies_between_workers_at_the_end_is_accounted_for() {
    let mut rig = Rig::new(Limits { workers: 2, ..Limits::default() });
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(1, 2, 8));
    rig.tell(a, Cmd::new(1, with(op::TELL, op::ECHO), 0).to(b));
    let asked = rig.ask(a, Cmd::new(2, with(op::ASK, op::ECHO), 0).to(b));
    rig.run(0);
    rig.stop(0);
    assert_eq!(rig.run(0), Came::Ended);
    // Worker 1 never looks again.
    rig.finish();
    assert_eq!(rig.reply(asked), Some(Err(No::Failed(KernelError::Interrupted))));
    assert_eq!(rig.wakes(asked), 1);
    assert!(take_log().contains(&Event::Dead(Some(1001), KernelError::Stopped)), "the tell has a fate");
}

#[test]
fn finish_ends_although_nobody_takes_replies_any_more_and_may_be_repeated() {
    let mut rig = Rig::new(Limits { workers: 2, ring_lines: 16, nodes: 64, frames: 32, ..Limits::default() });
    let b = rig.probe_actor(1, 2, 64);
    let asking: Vec<_> = (0..30).map(|i| rig.probe_actor(0, 10 + i, 8)).collect();
    rig.tell(b, Cmd::new(1, op::SLEEP, 100 * SECOND));
    rig.run(1);
    let mut held = Vec::new();
    for asking in &asking {
        held.push(rig.ask(*asking, Cmd::new(1, with(op::ASK, op::ECHO), 3).to(b)));
        rig.run(0);
        rig.run(1);
    }
    let stop = rig.stop(0);
    assert_eq!(rig.run(0), Came::Ended);
    let ends: Vec<u32> = rig.ingress.iter().map(|ring| ring.close()).collect();
    for _ in 0..2 {
        for (worker, until) in rig.workers.iter().rev().zip(ends.iter().rev()) {
            // SAFETY: nobody runs the workers.
            unsafe {
                (**worker).finish::<warpring_core::team::Cpu>();
                (**worker).refuse_inlets::<warpring_core::team::Cpu>(*until);
            }
        }
    }
    for held in held.iter().chain([&stop]) {
        assert_eq!(rig.wakes(*held), 1);
    }
}

// Panics.

#[test]
fn a_panic_fails_its_actor_alone() {
    let mut rig = Rig::new(Limits::default());
    let (a, b) = (rig.probe_actor(0, 1, 8), rig.probe_actor(0, 2, 8));
    let panicked = rig.ask(a, Cmd::new(1, op::PANIC, 0));
    let other = rig.ask(b, echo(2));
    rig.run_all();
    assert_eq!(rig.reply(panicked), Some(Err(No::Failed(KernelError::Panicked { line: 77 }))));
    assert_eq!(rig.reply(other), Some(Ok(2)));
    let log = take_log();
    assert_eq!(rig.answer(a, echo(3)), Err(No::Refused(KernelError::Stopped)), "the actor is failed");
    let report = rig.probe(0);
    assert_eq!((report.counters.panics, report.frames), (1, 0));
    assert_eq!(
        log,
        [
            Event::Began(1, 1),
            Event::Dropped(1, 1),
            Event::Recovered(0),
            Event::Noticed(Notice::Ended { actor: a.id(), reason: ExitReason::Panicked { line: 77 }, held: false }),
            Event::Began(2, 2),
            Event::Ended(2, 2, Ok(2))
        ]
    );
}

#[test]
fn a_panic_after_an_await_refuses_what_waits() {
    let mut rig = Rig::new(Limits::default());
    let a = rig.probe_actor(0, 1, 8);
    let panicked = rig.ask(a, Cmd::new(1, op::SLEEP_PANIC, 1_000));
    let waits = rig.ask(a, echo(2));
    rig.tell(a, echo(3));
    rig.run_all();
    rig.advance(1_000);
    rig.run_all();
    assert_eq!(rig.reply(panicked), Some(Err(No::Failed(KernelError::Panicked { line: 77 }))));
    assert_eq!(rig.reply(waits), Some(Err(No::Refused(KernelError::Stopped))));
    assert!(take_log().contains(&Event::Dead(Some(3), KernelError::Stopped)));
    let report = rig.probe(0);
    assert_eq!((report.frames, report.waiting), (0, 0));
}

#[test]
fn a_tell_whose_handler_panics_is_a_dead_letter() {
    let mut rig = Rig::new(Limits::default());
    let a = rig.probe_actor(0, 1, 8);
    rig.tell(a, Cmd::new(1, op::PANIC, 0));
    rig.run_all();
    assert!(take_log().contains(&Event::Dead(None, KernelError::Panicked { line: 77 })));
}

#[test]
fn a_slot_can_be_taken_again_after_a_panic_at_any_moment() {
    // The slot's old messages, its place in the list of ready actors and its new tenant must not meet.
    let mut rig = Rig::new(Limits { frames: 2, ..Limits::default() });
    let (a, b, c) = (rig.probe_actor(0, 1, 8), rig.probe_actor(0, 2, 8), rig.probe_actor(0, 3, 8));
    let panicked = rig.ask(a, Cmd::new(1, op::SLEEP_PANIC, 1_000));
    let holds = rig.ask(c, Cmd::new(2, op::SLEEP, 5_000));
    let waits = rig.ask(a, echo(3));
    let others: Vec<_> = (4..7).map(|id| rig.ask(b, echo(id))).collect();
    rig.run_all();
    let again = rig.adopt(0, 0, 0, 2, 8, vec![Probe::new(9)]);
    let new = Address::new(ActorId { generation: 2, ..a.id() });
    let asked = rig.ask(new, echo(8));
    rig.run_all();
    assert!(matches!(rig.reply(again), Some(Err(No::Refused(_)))), "it is still alive");
    assert_eq!(rig.reply(asked), Some(Err(No::Refused(KernelError::Stopped))));
    rig.advance(1_000);
    let again = rig.adopt(0, 0, 0, 2, 8, vec![Probe::new(9)]);
    rig.run_all();
    let again = if rig.reply(again) == Some(Ok(0)) { again } else { rig.adopt(0, 0, 0, 2, 8, vec![Probe::new(9)]) };
    rig.run_all();
    assert_eq!(rig.reply(again), Some(Ok(0)));
    rig.advance(5_000);
    let asked = rig.ask(new, echo(8));
    rig.run_all();
    assert_eq!(rig.reply(panicked), Some(Err(No::Failed(KernelError::Panicked { line: 77 }))));
    assert_eq!(rig.reply(waits), Some(Err(No::Refused(KernelError::Stopped))));
    assert_eq!(rig.reply(holds), Some(Ok(0)));
    assert_eq!(others.iter().map(|held| rig.reply(*held)).collect::<Vec<_>>(), [Some(Ok(4)), Some(Ok(5)), Some(Ok(6))]);
    assert_eq!(rig.reply(asked), Some(Ok(8)));
}

#[test]
fn a_report_says_what_is_going_on() {
    let mut rig = Rig::new(Limits::default());
    let probe = rig.probe_actor(0, 1, 8);
    rig.tell(probe, Cmd::new(1, op::SLEEP, SECOND));
    rig.tell(probe, echo(2));
    let report = rig.probe(0);
    assert_eq!((report.frames, report.waiting, report.counters.handled, report.counters.suspended), (1, 1, 0, 1));
    assert_eq!(lines_for(<warpring_core::worker::Report as RingMessage>::SIZE), 2);
}
