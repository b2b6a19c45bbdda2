//! The figures of other actor libraries and rings, each against the floor of this machine in the same run.
//!
//! ```text
//! cargo bench -p warpring --bench peers                              # all, about a minute and a half
//! cargo bench -p warpring --bench peers -- --quick                   # a smoke test: the figures are not worth keeping
//! cargo bench -p warpring --bench peers -- ask kameo --json out.json # names that contain "ask" or "kameo"
//! ```
//!
//! | figure | who asks or sends | where the actor runs |
//! |---|---|---|
//! | `thread-asks-actor` | a plain thread, which blocks for each answer | a runtime of two workers |
//! | `task-asks-actor` | a task | the same runtime of two workers; the scheduler may put both on one |
//! | `actor-asks-same-worker` | an actor, in its handler | the same runtime of one worker |
//! | `actor-asks-other-worker` | an actor, in its handler | the same runtime of two workers |
//! | `actor-asks-other-runtime` | an actor, in its handler | another runtime, so surely another thread |
//! | `pair-one-way` | a plain thread | a runtime of one worker |
//! | `pair-one-way-tasks` | a task | the same runtime of two workers |
//! | `ask-64-outstanding` | a task, 64 requests under way | the same runtime of two workers |
//! | `spray-10000` | a task, one message to each of 10,000 actors per round | the same runtime of two workers |
//! | `million-actors` | a task, one ask to each of 100,000 actors | the same runtime of one worker |
//!
//! Every actor holds a `u64` and answers with [`warpring_bench::step`] of it and the message; every answer is compared
//! with what it must be, and every stream ends with an ask that proves all its messages arrived in order.

mod figures;
mod heap;
mod ours;
mod peer;
mod peers;
mod plan;
mod ringkernel_peer;
mod rings;

use std::process::ExitCode;

use plan::Plan;
use warpring_bench::{Figure, Floor};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

fn main() -> ExitCode {
    let mut plan = match Plan::from_arguments(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    for floor in Floor::ALL {
        plan.figure(floor.name(), "floor", |stage| Figure::alone(floor.name(), &stage.floor_alone(floor)));
    }
    rings::measure(&mut plan);
    figures::measure::<peers::Tokio>(&mut plan);
    figures::measure::<peers::Ractor>(&mut plan);
    figures::measure::<peers::Kameo>(&mut plan);
    figures::measure::<peers::Actix>(&mut plan);
    ringkernel_peer::measure(&mut plan);
    ours::measure(&mut plan);
    match plan.finish() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
