//! Mailboxes against plain queues.

use std::collections::VecDeque;
use std::prelude::rust_2024::*;
use std::vec;

use proptest::prelude::*;

use super::*;
use crate::message::{Header, Kind, Parcel};

const ACTORS: usize = 3;

fn actor() -> Actor {
    Actor::new(core::ptr::null_mut(), 0, 1, 0, 0, 0)
}

/// The rule in words: high before normal, but a normal message waits for at most sixteen high ones in a row.
#[derive(Default)]
struct Model {
    high: VecDeque<u32>,
    normal: VecDeque<u32>,
    passed_over: u32,
}

impl Model {
    fn pop(&mut self) -> Option<u32> {
        if self.high.is_empty() || (self.passed_over == 16 && !self.normal.is_empty()) {
            self.passed_over = 0;
            return self.normal.pop_front();
        }
        self.passed_over = if self.normal.is_empty() { 0 } else { self.passed_over + 1 };
        self.high.pop_front()
    }
}

fn message(number: u32) -> (Header, [u64; 4], [u64; 7]) {
    let header = Header { kind: Kind::Tell as u8, lines: 2, correlation: number, ..Header::default() };
    (header, [u64::from(number); 4], [u64::from(!number); 7])
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Append { actor: usize, high: bool },
    Pop { actor: usize },
}

fn drive(ops: &[Op], nodes: u32) {
    let mut lines: Vec<Line> = (0..nodes * 2).map(|_| Line::default()).collect();
    // SAFETY: two lines for each node, which outlive the pool.
    let mut pool = unsafe { Nodes::new(lines.as_mut_ptr(), 2, nodes) };
    let mut actors: [Actor; ACTORS] = core::array::from_fn(|_| actor());
    let mut models: [Model; ACTORS] = Default::default();
    let mut used = 0;
    for (number, op) in (0..).zip(ops) {
        match *op {
            Op::Append { actor, high } => {
                let (header, first, rest) = message(number);
                let queue = if high { &mut actors[actor].high } else { &mut actors[actor].normal };
                // SAFETY: a node holds two lines.
                let appended = pool.append(queue, |to| unsafe { to.store::<Device>(&header, Parcel { first, rest: &rest }) });
                assert_eq!(appended, used < nodes);
                if appended {
                    used += 1;
                    actors[actor].waiting += 1;
                    let model = &mut models[actor];
                    if high { &mut model.high } else { &mut model.normal }.push_back(number);
                }
            }
            Op::Pop { actor } => {
                let popped = actors[actor].pop(&mut pool).map(|lines| {
                    // SAFETY: a popped node's content stays until the next append.
                    unsafe {
                        let header = lines.header();
                        let mut rest = vec![0; 7];
                        lines.rest(&mut rest);
                        let expected = message(header.correlation);
                        assert_eq!((header, lines.first(), &rest[..]), (expected.0, expected.1, &expected.2[..]));
                        header.correlation
                    }
                });
                assert_eq!(popped, models[actor].pop());
                used -= u32::from(popped.is_some());
            }
        }
        assert_eq!(pool.used, used);
        for (actor, model) in actors.iter().zip(&models) {
            assert_eq!(usize::from(actor.waiting), model.high.len() + model.normal.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 256 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mailboxes_share_nodes_and_keep_their_order(
        ops in prop::collection::vec(
            prop_oneof![
                3 => (0..ACTORS, any::<bool>()).prop_map(|(actor, high)| Op::Append { actor, high }),
                2 => (0..ACTORS).prop_map(|actor| Op::Pop { actor }),
            ],
            0..if cfg!(miri) { 40 } else { 300 },
        ),
        nodes in 0u32..if cfg!(miri) { 8 } else { 80 },
    ) {
        drive(&ops, nodes);
    }
}

#[test]
fn a_normal_message_waits_for_sixteen_high_ones_at_most() {
    let append = |high| Op::Append { actor: 0, high };
    let mut ops = vec![append(false), append(false)];
    ops.extend([append(true); 40]);
    ops.extend([Op::Pop { actor: 0 }; 45]);
    drive(&ops, 64);
    let mut model = Model { high: (0..40).collect(), normal: (100..102).collect(), passed_over: 0 };
    let order: Vec<u32> = core::iter::from_fn(|| model.pop()).collect();
    assert_eq!((order[16], order[33]), (100, 101));
}
