//! The job on a Warpring runtime: one actor for each customer and each terminal, launched as their keys appear.
//!
//! Both actors of a transaction are asked at once, and up to [`WINDOW`] asks are under way. Answers are taken in the order of
//! the rows, and each actor gets its transactions in that order too, so the result does not depend on workers or backend.

use super::{Answer, EngineReport, Rows, Sink, reason};
use crate::input::transactions::Row;
use crate::run::JobError;
use crate::run::pipeline::{STALL_LIMIT, WINDOW, try_ask, wait};
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::time::Instant;
use warpring::module::{Exported, Handles};
use warpring::{Address, GroupAddress, LaunchOptions, Port, Runtime, Ticket, block_on};
use warpring_kernels::fraud::Transaction;
use warpring_kernels::fraud::customer_window::{Customer, CustomerFeatures};
use warpring_kernels::fraud::terminal_risk::{Terminal, TerminalFeatures};

/// Actors are launched so many at a time, ahead of their keys. A launch waits for every worker, so one for each key would cost
/// more than the key's messages; of a larger block more would lie idle.
const BLOCK: u32 = 1024;

/// Two asks for each row.
const ROWS_UNDER_WAY: usize = WINDOW as usize / 2;

/// Latencies up to a minute are told apart, in three digits.
const MOST_NANOS: u64 = 60_000_000_000;

/// Answers the rows on this runtime.
///
/// # Errors
/// [`JobError`]: from the input, after all rows before it went to the sink; from an actor; or from the sink.
pub(super) fn run(runtime: &Runtime, rows: &mut Rows<'_>, sink: &mut Sink<'_>) -> Result<EngineReport, JobError> {
    let mut job = Job {
        runtime,
        port: runtime.port(WINDOW).map_err(JobError::Port)?,
        customers: Actors::new(Customer::new),
        terminals: Actors::new(Terminal::new),
        under_way: VecDeque::with_capacity(ROWS_UNDER_WAY),
        messages: 0,
        nanos: Histogram::new_with_bounds(1, MOST_NANOS, 3).expect("the bounds are valid"),
    };
    let start = Instant::now();
    let fed = job.feed(rows, sink);
    // Rows before an unreadable one are answered all the same. Where an answer itself failed, nothing is left to finish.
    job.finish(sink)?;
    fed?;
    let elapsed = start.elapsed();
    let stats = block_on(runtime.stats()).map_err(JobError::Launch)?;
    Ok(EngineReport {
        backend: runtime.backend(),
        workers: runtime.workers(),
        window: WINDOW,
        messages: job.messages,
        elapsed,
        ask_nanos: job.nanos,
        actors: (job.customers.by_key.len() + job.terminals.by_key.len()) as u64,
        launched: stats.actors,
        resident_bytes: stats.state_bytes,
    })
}

/// The actors of one kind, by key.
struct Actors<K> {
    by_key: HashMap<u64, Address<K>, foldhash::fast::RandomState>,
    block: GroupAddress<K>,
    used: u32,
    make: fn() -> K,
}

impl<K: Exported> Actors<K> {
    fn new(make: fn() -> K) -> Self {
        Self { by_key: HashMap::default(), block: GroupAddress::default(), used: 0, make }
    }

    /// The key's actor; a new key gets the next of the block, and a used-up block is followed by a new one.
    fn get(&mut self, runtime: &Runtime, key: u64) -> Result<Address<K>, JobError> {
        let entry = match self.by_key.entry(key) {
            Entry::Occupied(entry) => return Ok(*entry.get()),
            Entry::Vacant(entry) => entry,
        };
        let next = match self.block.get(self.used) {
            Some(next) => next,
            None => {
                let make = self.make;
                let group =
                    block_on(runtime.launch_many(BLOCK, LaunchOptions::default(), |_| make())).map_err(JobError::Launch)?;
                (self.block, self.used) = (group.address(), 0);
                self.block.get(0).unwrap_or_default()
            }
        };
        self.used += 1;
        Ok(*entry.insert(next))
    }
}

/// A row whose two actors have been asked.
struct UnderWay {
    row: Row,
    /// When the first of the two was asked; a look at the clock for each would cost a twentieth of the job.
    asked: Instant,
    customer: Ticket<Transaction, CustomerFeatures>,
    terminal: Ticket<Transaction, TerminalFeatures>,
}

struct Job<'r> {
    runtime: &'r Runtime,
    port: Port,
    customers: Actors<Customer>,
    terminals: Actors<Terminal>,
    /// Oldest first.
    under_way: VecDeque<UnderWay>,
    messages: u64,
    nanos: Histogram<u64>,
}

impl Job<'_> {
    /// Asks the actors of every row, taking in old answers where there is no room for new asks.
    fn feed(&mut self, rows: &mut Rows<'_>, sink: &mut Sink<'_>) -> Result<(), JobError> {
        for row in rows {
            let row = row?;
            let customer = self.customers.get(self.runtime, row.customer)?;
            let terminal = self.terminals.get(self.runtime, row.terminal)?;
            if self.under_way.len() == ROWS_UNDER_WAY {
                self.take_answer(sink)?;
            }
            let asked = Instant::now();
            let customer = self.ask(customer, row.transaction, sink)?;
            let terminal = self.ask(terminal, row.transaction, sink)?;
            self.under_way.push_back(UnderWay { row, asked, customer, terminal });
        }
        Ok(())
    }

    /// Takes in all answers that are left.
    fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), JobError> {
        while !self.under_way.is_empty() {
            self.take_answer(sink)?;
        }
        Ok(())
    }

    fn ask<K: Handles<Transaction>>(
        &mut self,
        to: Address<K>,
        transaction: Transaction,
        sink: &mut Sink<'_>,
    ) -> Result<Ticket<Transaction, K::Reply>, JobError> {
        let mut stalled: Option<Instant> = None;
        loop {
            if let Some(ticket) = try_ask(&mut self.port, to, transaction)? {
                return Ok(ticket);
            }
            if !self.under_way.is_empty() {
                self.take_answer(sink)?;
            } else if stalled.get_or_insert_with(Instant::now).elapsed() > STALL_LIMIT {
                return Err(JobError::stalled());
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Takes in the answer of the oldest row, if there is one.
    fn take_answer(&mut self, sink: &mut Sink<'_>) -> Result<(), JobError> {
        let Some(row) = self.under_way.pop_front() else { return Ok(()) };
        self.answer(row, sink).inspect_err(|_| self.under_way.clear())
    }

    fn answer(&mut self, under_way: UnderWay, sink: &mut Sink<'_>) -> Result<(), JobError> {
        let UnderWay { row, asked, customer, terminal } = under_way;
        let what = |actor: &str, key: u64| format!("transaction {} at {actor} {key}", row.id);
        let customer = wait(&mut self.port, customer, || what("customer", row.customer), reason)?;
        let terminal = wait(&mut self.port, terminal, || what("terminal", row.terminal), reason)?;
        let nanos = asked.elapsed().as_nanos() as u64;
        self.nanos.saturating_record(nanos);
        self.messages += 2;
        sink(&row, &Answer { customer, terminal })
    }
}
