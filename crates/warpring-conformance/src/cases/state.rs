//! Section 7: state and teams.

use std::collections::VecDeque;

use warpring::block_on;
use warpring::prelude::*;

use crate::kernels::cell::{Cell, Mix, mixed};
use crate::kernels::gate::Gate;
use crate::kernels::subject::{Carried, Carry, Get, Subject};
use crate::kernels::team::{Bump, Bumped, Fill, Filled, Sums, Team, Together, Vote, Votes};
use crate::setup::{Named, Setup, end, launch_on, same};

/// For each size of team that the backend offers.
fn with_teams(setup: &Setup, mut look: impl FnMut(&ActorRef<Team>) -> Result<(), String>) -> Result<(), String> {
    for setup in setup.teams() {
        let runtime = setup.runtime()?;
        for worker in [0, 1] {
            let team = launch_on(&runtime, worker, Team::default())?;
            let lanes = team.ask(Vote).wait().named("asking for the size of the team")?.lanes;
            look(&team).named(format_args!("a team of {lanes}"))?;
        }
        end(runtime)?;
    }
    Ok(())
}

pub(super) fn update_runs_once(setup: &Setup) -> Result<(), String> {
    with_teams(setup, |team| {
        (1..=10).try_for_each(|round| {
            let expected = Bumped { changed: 3 * round, read: 3 * round, others: 0 };
            same("three changes more", team.ask(Bump).wait(), Ok(expected))
        })
    })
}

pub(super) fn each_element_once(setup: &Setup) -> Result<(), String> {
    with_teams(setup, |team| {
        (0..5).try_for_each(|by| {
            let sum = by * (0..100).sum::<u64>();
            let expected = Filled { by_reading: sum, by_reduce: sum, largest: 99 * by };
            same("the cells", team.ask(Fill { by }).wait(), Ok(expected))
        })
    })
}

pub(super) fn loops_over_lanes(setup: &Setup) -> Result<(), String> {
    with_teams(setup, |team| {
        for n in [0_u32, 1, 2, 31, 32, 33, 64, 100] {
            let squares = || (0..u64::from(n)).map(|i| i * i);
            let sum = squares().sum();
            let mut prefix = 0;
            let mut prefixes = 0;
            for (i, square) in (1..).zip(squares()) {
                prefix += square;
                prefixes += i * prefix;
            }
            let found = team.ask(Together { n }).wait().named("asking")?;
            let expected = Sums { each: sum, calls: n, reduced: sum, scanned: sum, prefixes, lanes: found.lanes };
            same(format_args!("over {n}"), found, expected)?;
        }
        Ok(())
    })
}

pub(super) fn votes(setup: &Setup) -> Result<(), String> {
    with_teams(setup, |team| {
        let found = team.ask(Vote).wait().named("asking")?;
        let lanes = found.lanes;
        if !(1..=32).contains(&lanes) {
            return Err(format!("a team of {lanes} lanes"));
        }
        let all = u32::MAX >> (32 - lanes);
        same("votes", found, Votes { all, odd: all & 0xaaaa_aaaa, none: 0, last: 99 + lanes, lanes })
    })
}

pub(super) fn state_survives(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (here, there) = (launch_on(&runtime, 0, Gate::default())?, launch_on(&runtime, 1, Gate::default())?);
    let subject = launch_on(&runtime, 0, Subject::default())?;
    for round in 1..=u64::from(setup.scale(50, 8)) {
        let gate = if round % 2 == 0 { &here } else { &there };
        let carried = subject.ask(Carry { gate: gate.address(), n: 7 }).wait().named("asking")?;
        same("after the awaits", carried, Carried { local: 7 * round, state: 7 * round })?;
        same("by another message", subject.ask(Get).wait(), Ok(7 * round))?;
    }
    end(runtime)
}

pub(super) fn many_states(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let count = setup.scale(10_000, 300);
    let launched = runtime.launch_many(count, LaunchOptions::default(), |i| Cell::new(u64::from(i)));
    let group = block_on(launched).named("launching a group")?.address();
    let mut port = runtime.port(64).named("opening a port")?;
    let mut asked: VecDeque<(u32, u64, _)> = VecDeque::new();
    let mut states: Vec<u64> = (0..count).map(u64::from).collect();
    for round in 0..2 {
        for i in 0..count {
            if asked.len() == 64
                && let Some((i, expected, ticket)) = asked.pop_front()
            {
                same(format_args!("actor {i}"), port.wait(ticket), Ok(expected))?;
            }
            let n = u64::from(i) * 3 + round;
            let state = &mut states[i as usize];
            *state = mixed(*state, n);
            let to = group.get(i).ok_or("the group is too small")?;
            asked.push_back((i, *state, port.send(to, Mix { n }).named("asking")?));
        }
    }
    for (i, expected, ticket) in asked {
        same(format_args!("actor {i}"), port.wait(ticket), Ok(expected))?;
    }
    end(runtime)
}
