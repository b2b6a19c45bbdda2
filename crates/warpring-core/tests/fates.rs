//! Every accepted message has exactly one fate, whatever happens around it.
#![cfg(not(loom))]

mod support;

use std::collections::HashMap;

use proptest::prelude::*;
use support::kernels::{Cmd, Fussy, Hook, op};
use support::*;
use warpring_core::message::{HIGH_PRIORITY, deadline_ticks};
use warpring_core::{ActorId, Address};

#[derive(Clone, Copy, Debug)]
enum Act {
    Ask {
        actor: usize,
        op: u32,
        a: u64,
        target: usize,
        high: bool,
        within: Option<u64>,
    },
    Tell {
        actor: usize,
        op: u32,
        a: u64,
        target: usize,
    },
    Run {
        worker: usize,
    },
    Advance(u64),
    /// A new tenant for the slot of an actor, which is refused while the old one lives.
    Launch {
        actor: usize,
    },
    /// An actor with hooks in a slot of its own.
    Hooked {
        worker: usize,
        start: usize,
        end: usize,
    },
    Stop {
        worker: usize,
    },
}

const ACTORS: usize = 4;

fn command() -> impl Strategy<Value = u32> {
    let below = prop::sample::select(vec![op::ECHO, op::ADD, op::SLEEP, op::YIELD, op::PANIC, op::FAIL]);
    prop_oneof![
        4 => below.clone(),
        6 => (prop::sample::select(vec![
                op::ASK, op::ASK_WITHIN, op::ASK_HIGH, op::TELL, op::TRY_TELL, op::DROP_ASK, op::TELL_MANY, op::DROP_ASK_THEN_YIELD,
                op::ASK_MANY,
            ]), below).prop_map(|(command, below)| below << 8 | command),
        1 => Just(op::SLEEP_PANIC),
        1 => Just(op::ASK_BIG),
        1 => (Just(op::ASK), Just(op::ASK)).prop_map(|(a, b)| b << 8 | a),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let actor = 0..ACTORS + 1;
    prop_oneof![
        8 => (actor.clone(), command(), 0u64..30, actor.clone(), any::<bool>(), prop::option::weighted(0.2, 0u64..300_000))
            .prop_map(|(actor, op, a, target, high, within)| Act::Ask { actor, op, a, target, high, within }),
        8 => (actor.clone(), command(), 0u64..30, actor).prop_map(|(actor, op, a, target)| Act::Tell { actor, op, a, target }),
        8 => (0usize..2).prop_map(|worker| Act::Run { worker }),
        2 => prop::sample::select(vec![1u64, 20, 200_000, 20_000_000]).prop_map(Act::Advance),
        1 => (0..ACTORS).prop_map(|actor| Act::Launch { actor }),
        1 => (0usize..2, 0usize..5, 0usize..5).prop_map(|(worker, start, end)| Act::Hooked { worker, start, end }),
        1 => (0usize..2).prop_map(|worker| Act::Stop { worker }),
    ]
}

const HOOKS: [Hook; 5] = [Hook::Ok, Hook::Fail, Hook::Panic, Hook::Sleep, Hook::SleepFail];

fn drive(acts: &[Act], limits: Limits, stop_at_end: bool) {
    let mut rig = Rig::new(limits);
    let workers = limits.workers as usize;
    let mut actors: Vec<Address<_>> = (0..ACTORS).map(|i| rig.probe_actor(i % workers, i as u32, 3)).collect();
    // The last is nobody.
    actors.push(Address::new(ActorId { slot: 50, generation: 1, worker: 0 }));
    let mut slots = [20u32; 2];
    let mut stopping = [false; 2];
    let (mut held, mut told, mut hooked) = (Vec::new(), Vec::new(), Vec::new());
    let mut generation = 1;
    let mut commands: HashMap<u32, u32> = HashMap::new();
    for (number, act) in acts.iter().enumerate() {
        // Commands to others have the number plus 1000 and more: keep them apart.
        let id = number as u32 * 10_000;
        if let Act::Ask { op, .. } | Act::Tell { op, .. } = *act {
            commands.insert(id, op);
        }
        match *act {
            Act::Ask { actor, op, a, target, high, within } => {
                let cmd = Cmd::new(id, op, a).to(actors[target]);
                let deadline = within.map_or(0, |within| deadline_ticks(rig.now() + within));
                let asked = rig.try_ask(actors[actor], cmd, |header| {
                    header.deadline = deadline;
                    header.kind |= if high { HIGH_PRIORITY } else { 0 };
                });
                held.extend(asked.map(|held| (held, id)));
            }
            Act::Tell { actor, op, a, target } => {
                if rig.try_tell(actors[actor], Cmd::new(id, op, a).to(actors[target])) {
                    told.push(id);
                }
            }
            Act::Run { worker } => {
                rig.run(worker % workers);
            }
            Act::Advance(ns) => rig.advance(ns),
            Act::Launch { actor } => {
                let at = actors[actor].id();
                generation += 1;
                let probe = support::kernels::Probe::new(actor as u32);
                if let Some(launched) = rig.try_adopt(usize::from(at.worker), at.slot, 0, generation, 3, vec![probe]) {
                    hooked.push(launched);
                    rig.run_all();
                    if rig.reply(launched) == Some(Ok(0)) {
                        actors[actor] = Address::new(ActorId { generation, ..at });
                    }
                }
            }
            Act::Hooked { worker, start, end } => {
                let worker = worker % workers;
                let actor = Fussy::new(100 + number as u32, HOOKS[start], HOOKS[end]);
                if let Some(launched) = rig.try_adopt(worker, slots[worker], 1, 1, 3, vec![actor]) {
                    slots[worker] += 1;
                    hooked.push(launched);
                }
            }
            Act::Stop { worker } => {
                let stop = rig.try_stop(worker % workers);
                stopping[worker % workers] |= stop.is_some();
                hooked.extend(stop);
            }
        }
    }
    if stop_at_end {
        for worker in (0..workers).filter(|worker| !stopping[*worker]) {
            // The ring may be full behind a launch that waits for the one before it.
            let stop = (0..50).find_map(|_| {
                rig.run_all();
                rig.advance(4_000_000);
                rig.try_stop(worker)
            });
            hooked.push(stop.expect("room for a stop"));
        }
        rig.follow_wakes_until(rig.now() + 1_000_000_000);
        assert!(rig.run_all(), "every worker ends");
    }
    rig.finish();
    rig.finish_again();

    for (held, id) in &held {
        assert_eq!(rig.wakes(*held), 1, "ask {id} has one reply");
        assert!(rig.reply(*held).is_some());
    }
    for held in &hooked {
        assert_eq!(rig.wakes(*held), 1, "a control message has one answer");
    }
    let mut began: HashMap<u32, u32> = HashMap::new();
    let mut ended: HashMap<u32, u32> = HashMap::new();
    let mut dead: HashMap<u32, u32> = HashMap::new();
    let mut shut: HashMap<u32, u32> = HashMap::new();
    let mut accepted = Vec::new();
    for event in take_log() {
        match event {
            // That a crashed actor ended is no message's fate.
            Event::Noticed(_) => {}
            Event::Began(actor, id) => {
                *began.entry(id).or_default() += 1;
                assert!(!shut.contains_key(&actor), "no message after shutdown");
            }
            Event::Ended(_, id, Ok(value)) if commands.contains_key(&id) => {
                *ended.entry(id).or_default() += 1;
                match (commands[&id] & 0xff, value) {
                    (op::TELL, _) | (op::TRY_TELL, 0) => accepted.push((id, 1)),
                    (op::TELL_MANY, count) => accepted.push((id, count as u32)),
                    _ => {}
                }
            }
            Event::Ended(_, id, _) | Event::Dropped(_, id) => *ended.entry(id).or_default() += 1,
            Event::Dead(Some(id), _) => *dead.entry(id).or_default() += 1,
            Event::ShutDown(actor) => *shut.entry(actor).or_default() += 1,
            Event::Dead(None, _) | Event::BeganBig(..) | Event::Initialized(_) | Event::Recovered(_) => {}
        }
    }
    assert!(shut.values().all(|times| *times == 1), "shutdown runs once");
    for id in &told {
        let fates = began.get(id).unwrap_or(&0) + dead.get(id).unwrap_or(&0);
        assert_eq!(fates, 1, "tell {id}: began {:?}, dead {:?}", began.get(id), dead.get(id));
    }
    for (held, id) in &held {
        let refused = matches!(rig.reply(*held), Some(Err(No::Refused(_))));
        assert_eq!(began.get(id).unwrap_or(&0) + u32::from(refused), 1, "ask {id} is handled or refused");
    }
    for (id, times) in began.iter().chain(&dead) {
        let fates = began.get(id).unwrap_or(&0) + dead.get(id).unwrap_or(&0);
        assert_eq!((*times, fates), (1, 1), "message {id} between actors is handled at most once");
    }
    // What a handler told another was accepted, so it has a fate too.
    for (id, count) in accepted {
        for told in id + 1000..id + 1000 + count {
            let fates = began.get(&told).unwrap_or(&0) + dead.get(&told).unwrap_or(&0);
            assert_eq!(fates, 1, "message {told}, which {id} told another");
        }
    }
    if stop_at_end {
        assert_eq!(began.len(), ended.len(), "every handler that began has ended or was dropped");
        assert!(ended.values().all(|times| *times == 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 1 } else { 1500 },
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_accepted_message_has_one_fate(
        acts in prop::collection::vec(act(), 0..if cfg!(miri) { 12 } else { 60 }),
        workers in 1u32..3,
        nodes in prop::sample::select(vec![2u32, 8, 64]),
        frames in prop::sample::select(vec![1u32, 2, 16]),
        ring_lines in prop::sample::select(vec![16u32, 64]),
        stop_at_end: bool,
    ) {
        drive(&acts, Limits { workers, nodes, frames, ring_lines, cells: 512, ask_limit: 10_000_000, ..Limits::default() }, stop_at_end);
    }
}
