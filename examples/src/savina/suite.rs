//! The list of the programs, and what their host parts share.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use warpring::module::Handles;
use warpring::{Address, RingMessage, Runtime};

use super::{
    bank_transaction, big, bitonic_sort, bounded_buffer, chameneos, cigarette_smokers, counting, dictionary,
    fork_join_throughput, logistic_map, nqueens, over_relaxation, philosophers, ping_pong, radix_sort, shortest_path, sieve,
    sleeping_barber, sorted_list, thread_ring, trapezoid,
};

/// Why a program failed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long a program may take before it counts as hung.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// What a program found out.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// To be compared with the answer of the parameters.
    pub answer: i64,
    /// Messages that the program consists of; a reply counts as one.
    pub messages: u64,
    /// From the first message to the answer; without the launch.
    pub time: Duration,
}

/// Which parameters a program runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Those of the suite.
    Savina,
    /// Small ones.
    Small,
}

/// A program of the suite.
#[derive(Debug)]
pub struct Program {
    /// Its name, which is also its file's.
    pub name: &'static str,
    /// The answer that it must give.
    pub answer: fn(Scale) -> i64,
    /// Runs it on a runtime of this crate's module.
    pub run: fn(&Runtime, Scale) -> Result<Outcome, Failure>,
}

macro_rules! program {
    ($name:ident) => {{
        fn params(scale: Scale) -> $name::Params {
            match scale {
                Scale::Savina => $name::Params::SAVINA,
                Scale::Small => $name::Params::SMALL,
            }
        }
        Program {
            name: stringify!($name),
            answer: |scale| params(scale).answer(),
            run: |runtime, scale| $name::run(runtime, params(scale)),
        }
    }};
}

/// All of them, in the order of the suite.
pub static PROGRAMS: [Program; 21] = [
    program!(ping_pong),
    program!(counting),
    program!(fork_join_throughput),
    program!(thread_ring),
    program!(chameneos),
    program!(big),
    program!(bank_transaction),
    program!(dictionary),
    program!(sorted_list),
    program!(bounded_buffer),
    program!(philosophers),
    program!(sleeping_barber),
    program!(cigarette_smokers),
    program!(logistic_map),
    program!(radix_sort),
    program!(sieve),
    program!(trapezoid),
    program!(shortest_path),
    program!(over_relaxation),
    program!(nqueens),
    program!(bitonic_sort),
];

/// Looks every now and then until `look` finds something. An actor cannot send to the host, so the host has to look.
///
/// # Errors
/// What `look` says, or that [`LIMIT`] is over.
pub(super) fn until<T>(mut look: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
    let start = Instant::now();
    while start.elapsed() < LIMIT {
        if let Some(found) = look()? {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Err(format!("not finished after {LIMIT:?}").into())
}

/// Asks each actor once, with many asks under way, and gives the replies in order.
///
/// # Errors
/// The first failure.
pub(super) fn ask_each<K, M>(runtime: &Runtime, asks: impl IntoIterator<Item = (Address<K>, M)>) -> Result<Vec<K::Reply>, Failure>
where
    K: Handles<M>,
    M: RingMessage + std::fmt::Debug + Send + Sync + 'static,
{
    const WINDOW: usize = 64;
    let mut port = runtime.port(WINDOW as u32)?;
    let mut under_way = VecDeque::with_capacity(WINDOW);
    let mut replies = Vec::new();
    for (actor, message) in asks {
        if under_way.len() == WINDOW
            && let Some(oldest) = under_way.pop_front()
        {
            replies.push(port.wait(oldest)?);
        }
        under_way.push_back(port.send(actor, message)?);
    }
    for ticket in under_way {
        replies.push(port.wait(ticket)?);
    }
    Ok(replies)
}
