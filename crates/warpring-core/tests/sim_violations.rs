//! Each rule of team code, and what the simulator says when a handler breaks it.
#![cfg(feature = "sim")]

#[macro_use]
mod rig;

use rig::simulated::Simulated;
use warpring_core::team::sim::{SimOptions, Violation, What};
use warpring_core::{ActorId, Address, KernelError, Resident, Result, RingContext, RingKernelHandler};

#[derive(Debug)]
struct Faulty {
    count: Resident<u64>,
    table: Resident<[u32; 64]>,
    big: Resident<[[u64; 32]; 512]>,
}

impl Faulty {
    fn new() -> Self {
        Self { count: Resident::new(0), table: Resident::new([0; 64]), big: Resident::new([[0; 32]; 512]) }
    }
}

type Words = [u64; 4];
type Long = [u64; 40];

/// The same without the big state, so that its writes are checked by default.
#[derive(Debug)]
struct Small {
    count: Resident<u64>,
    table: Resident<[u32; 64]>,
}

impl Small {
    fn new() -> Self {
        Self { count: Resident::new(0), table: Resident::new([0; 64]) }
    }
}

module_by_hand! {
    MODULE: Small = 0 { 0: Words => Words, 1: u64 => Long } Faulty = 1 { 0: Words => Words }
}

const FINE: u64 = 0;
const DIVERGENT: u64 = 1;
const LEFT_EARLY: u64 = 2;
const LEFT_BY_ERROR: u64 = 3;
const SUSPENDED: u64 = 4;
const OTHER_REPLY: u64 = 5;
const OTHER_ARGUMENT: u64 = 6;
const OTHER_STATE: u64 = 7;
const OTHER_MESSAGE: u64 = 8;
const OTHER_COUNT: u64 = 9;
const WRITE: u64 = 10;
const WRITE_IN_EACH: u64 = 11;
const WRITE_AT_END: u64 = 12;
const OTHER_LENGTH: u64 = 13;
const TO_NOBODY: u64 = 14;
const LEADER_WRITE: u64 = 15;

/// Lines of the places that the tests look for, relative to `HERE`: so the formatter must leave what follows as it is.
const HERE: u32 = line!();
#[rustfmt::skip]
impl RingKernelHandler<Words, Words> for Small {
    async fn handle(&self, ctx: &mut RingContext<'_>, [what, who, ..]: Words) -> Result<Words> {
        let me = u64::from(ctx.lane()) == who;
        ctx.for_each(1, |_| ()); // HERE + 5
        let mut reply = 0;
        match what {
            FINE => reply = ctx.update(&self.count, |count| {
                *count += 1;
                *count
            }),
            DIVERGENT => {
                if me {
                    ctx.ballot(true); // HERE + 14
                } else {
                    ctx.ballot(true); // HERE + 16
                }
            }
            LEFT_EARLY => {
                if me {
                    return Ok([0; 4]);
                }
                ctx.ballot(true); // HERE + 23
            }
            LEFT_BY_ERROR => {
                if me {
                    return Err(KernelError::rejected(1));
                }
                ctx.now(); // HERE + 29
            }
            SUSPENDED => {
                if me {
                    ctx.yield_now().await; // HERE + 33
                }
            }
            OTHER_REPLY => reply = u64::from(me),
            OTHER_ARGUMENT => {
                ctx.broadcast(7, if me { 3 } else { 4 }); // HERE + 38
            }
            OTHER_STATE => {
                let piece = if me { 1 } else { 0 };
                // SAFETY: both are inside `table`.
                let state = unsafe { &*(&raw const self.table).cast::<Resident<u32>>().add(piece) };
                ctx.update(state, |x| *x += 1); // HERE + 44
            }
            OTHER_MESSAGE => {
                let to = Address::<Self>::new(ActorId { slot: 1, generation: 1, worker: 0 });
                let _: Words = ctx.ask(to, [FINE, 99, u64::from(me), 0]).await?; // HERE + 48
            }
            OTHER_COUNT => {
                ctx.for_each(if me { 10 } else { 11 }, |_| ()); // HERE + 51
            }
            WRITE => {
                if me {
                    // Not what safe code can do.
                    // SAFETY: an `UnsafeCell`, and nobody else writes it now.
                    unsafe { (&raw const self.count).cast_mut().cast::<u64>().write(99) }
                }
                ctx.ballot(true); // HERE + 59
            }
            WRITE_IN_EACH => {
                let table = (&raw const self.table).cast_mut().cast::<u32>();
                ctx.update_each(&self.table, |i, x| { // HERE + 63
                    *x = i + 1;
                    if me && i == who as u32 {
                        // SAFETY: inside the table; element 50 is another lane's.
                        unsafe { table.add(50).write(7) }
                    }
                });
            }
            WRITE_AT_END | LEADER_WRITE => {
                if me {
                    // SAFETY: as above.
                    unsafe { (&raw const self.count).cast_mut().cast::<u64>().write(99) }
                }
            }
            OTHER_LENGTH => {
                if me {
                    ctx.broadcast([1u32; 2], 0);
                } else {
                    ctx.broadcast([1u32; 3], 0);
                }
            }
            TO_NOBODY => {
                let to = Address::<Self>::new(ActorId { slot: if me { 40 } else { 41 }, generation: 1, worker: 0 });
                let _ = ctx.try_tell(to, [FINE, 0, 0, 0]);
            }
            _ => return Err(KernelError::rejected(2)),
        }
        Ok([reply, 0, 0, 0])
    }
}

impl RingKernelHandler<u64, Long> for Small {
    async fn handle(&self, ctx: &mut RingContext<'_>, who: u64) -> Result<Long> {
        let me = u64::from(ctx.lane()) == who;
        let mut reply = [5; 40];
        reply[30] += u64::from(me);
        Ok(reply)
    }
}

impl RingKernelHandler<Words, Words> for Faulty {
    async fn handle(&self, ctx: &mut RingContext<'_>, [_, who, ..]: Words) -> Result<Words> {
        let _ = (&self.table, &self.big);
        if u64::from(ctx.lane()) == who {
            // SAFETY: an `UnsafeCell`, and nobody else writes it now.
            unsafe { (&raw const self.count).cast_mut().cast::<u64>().write(99) }
        }
        ctx.ballot(true);
        Ok([0; 4])
    }
}

/// Breaks a rule under many seeds; checks what must be the same under all, and hands out each violation.
fn broken(what: u64, who: u64, tag: u16, check: impl Fn(&Violation, Result<()>)) {
    for seed in 0..30 {
        let mut sim = Simulated::new(&MODULE, 1, SimOptions { seed, ..SimOptions::default() });
        let (bad, good) = (sim.launch(0, 0, Small::new()), sim.launch(0, 0, Small::new()));
        let reply = match tag {
            0 => sim.ask::<_, Words>(bad, 0, [what, who, 0, 0]).map(drop),
            _ => sim.ask::<_, Long>(bad, 1, who).map(drop),
        };
        let violations = sim.machine.violations().to_vec();
        assert_eq!(violations.len(), 1, "seed {seed}: {violations:?}");
        let violation = &violations[0];
        assert_eq!((violation.actor, violation.worker), (Some(bad), 0));
        let line = violation.place().map_or(0, |place| place.line);
        assert_eq!(reply, Err(KernelError::Panicked { line }), "{violation}");
        check(violation, reply);
        // The actor is failed, its neighbour on the same warp goes on.
        assert_eq!(sim.ask::<_, Words>(bad, 0, [FINE, 99, 0, 0]), Err(KernelError::Stopped));
        assert_eq!(sim.ask::<_, Words>(good, 0, [FINE, 99, 0, 0]), Ok([1, 0, 0, 0]));
        let failures = sim.machine.take_failures();
        assert_eq!(failures.len(), 1);
        assert!(failures[0].violation && failures[0].actor == bad && failures[0].message == violation.to_string());
        assert_eq!(sim.machine.violations().len(), 1);
    }
}

/// The lines of both places of a violation, relative to `HERE`.
fn lines(violation: &Violation) -> (Option<u32>, Option<u32>) {
    let line = |place: &Option<warpring_core::team::sim::Place>| {
        place.as_ref().map(|place| {
            assert!(place.file.ends_with("sim_violations.rs"), "{place}");
            place.line - HERE
        })
    };
    (line(&violation.location), line(&violation.other_location))
}

#[test]
fn lanes_in_different_collectives() {
    broken(DIVERGENT, 6, 0, |violation, _| {
        assert_eq!(violation.what, What::Divergent);
        let (here, there) = lines(violation);
        assert!(matches!((here, there), (Some(14), Some(16)) | (Some(16), Some(14))), "{violation}");
        let text = violation.to_string();
        let place = violation.location.as_ref().unwrap();
        assert!(
            text.starts_with(&format!("{place}: lane "))
                && text.contains(&violation.other_location.as_ref().unwrap().to_string()),
            "{text}"
        );
        assert!(text.contains("sim_violations.rs:") && place.column > 1, "{text}");
    });
}

#[test]
fn a_lane_that_returns_while_others_wait() {
    for who in [0, 5] {
        broken(LEFT_EARLY, who, 0, |violation, _| {
            assert_eq!((violation.what, lines(violation)), (What::Left, (Some(23), Some(5))));
            assert_eq!(u64::from(violation.lane), who);
        });
        broken(LEFT_BY_ERROR, who, 0, |violation, _| {
            assert_eq!((violation.what, lines(violation)), (What::Left, (Some(29), Some(5))));
            assert_eq!(u64::from(violation.lane), who);
        });
    }
}

#[test]
fn a_lane_that_awaits_while_others_end() {
    broken(SUSPENDED, 9, 0, |violation, _| {
        assert_eq!(violation.what, What::Suspended);
        assert!(matches!(lines(violation), (Some(33), Some(5)) | (Some(5), Some(33))), "{violation}");
    });
}

#[test]
fn lanes_with_different_replies() {
    broken(OTHER_REPLY, 31, 0, |violation, _| {
        assert_eq!((violation.what, lines(violation)), (What::Replies, (Some(5), Some(5))));
    });
    // In the words behind the first line, too. There is no collective in that handler to name.
    broken(0, 31, 1, |violation, _| assert_eq!((violation.what, lines(violation)), (What::Replies, (None, None))));
}

#[test]
fn lanes_with_different_arguments() {
    for (what, line) in [(OTHER_ARGUMENT, 38), (OTHER_STATE, 44), (OTHER_MESSAGE, 48), (OTHER_COUNT, 51)] {
        broken(what, 3, 0, |violation, _| {
            assert_eq!((violation.what, lines(violation)), (What::Arguments, (Some(line), Some(line))), "{violation}");
        });
    }
    broken(TO_NOBODY, 3, 0, |violation, _| assert_eq!(violation.what, What::Arguments));
    broken(OTHER_LENGTH, 3, 0, |violation, _| assert_eq!(violation.what, What::Divergent));
}

#[test]
fn writes_outside_update() {
    for who in [0, 1, 31] {
        broken(WRITE, who, 0, |violation, _| {
            assert!(
                matches!(violation.what, What::Write { offset } if offset as usize == std::mem::offset_of!(Small, count)),
                "{violation}"
            );
            assert_eq!((lines(violation), u64::from(violation.lane)), ((Some(59), Some(5)), who));
        });
    }
    broken(WRITE_AT_END, 4, 0, |violation, _| {
        assert!(matches!(violation.what, What::Write { .. }));
        assert_eq!((lines(violation), violation.lane), ((None, Some(5)), 4));
    });
}

#[test]
fn an_element_written_by_a_lane_that_it_was_not_given_to() {
    broken(WRITE_IN_EACH, 3, 0, |violation, _| {
        let offset = std::mem::offset_of!(Small, table) + 50 * 4;
        assert!(matches!(violation.what, What::Write { offset: at } if at as usize == offset), "{violation}");
        assert_eq!((lines(violation), violation.lane), ((Some(63), Some(63)), 3));
    });
}

#[test]
fn writes_are_looked_for_where_the_options_say() {
    let run = |options: SimOptions, kind| {
        let mut sim = Simulated::new(&MODULE, 1, options);
        let actor = if kind == 0 { sim.launch(0, 0, Small::new()) } else { sim.launch(0, 1, Faulty::new()) };
        let _ = sim.ask::<_, Words>(actor, 0, [WRITE, 2, 0, 0]);
        sim.machine.violations().len()
    };
    assert_eq!(run(SimOptions::default(), 0), 1);
    assert_eq!(run(SimOptions { check_writes: false, ..SimOptions::default() }, 0), 0);
    assert_eq!(run(SimOptions::default(), 1), 0, "a state of more than 64 KiB");
    assert_eq!(run(SimOptions { check_limit: 1 << 20, ..SimOptions::default() }, 1), 1);
}

#[test]
fn a_handler_that_follows_the_rules_breaks_none() {
    for lanes in [1, 2, 32] {
        let mut sim = Simulated::new(&MODULE, 1, SimOptions { lanes, ..SimOptions::default() });
        let actor = sim.launch(0, 0, Small::new());
        for i in 1..20 {
            assert_eq!(sim.ask::<_, Words>(actor, 0, [FINE, 99, 0, 0]), Ok([i, 0, 0, 0]));
        }
        assert_eq!(sim.machine.violations(), []);
    }
}
