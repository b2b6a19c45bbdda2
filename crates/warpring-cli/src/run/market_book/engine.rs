//! The job on a Warpring runtime: one actor for each book, launched when the book first appears.
//!
//! Up to [`WINDOW`] asks are under way; replies are taken in the order of the messages.

use super::{Part, Parts, Sink, reason};
use crate::run::JobError;
use crate::run::pipeline::{STALL_LIMIT, WINDOW, try_ask, wait};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use warpring::{Address, LaunchOptions, Port, Runtime, Ticket, block_on};
use warpring_kernels::market::book::{Book, BookReply, BookUpdate};

/// Sends the messages to their books on this runtime.
///
/// # Errors
/// [`JobError`]: from the input, after all messages before it were answered; from an actor; or from the sink.
pub(super) fn run(runtime: &Runtime, parts: &mut Parts<'_>, sink: &mut Sink<'_>) -> Result<(), JobError> {
    let port = runtime.port(WINDOW).map_err(JobError::Port)?;
    let mut job = Job { runtime, port, books: HashMap::new(), under_way: VecDeque::with_capacity(WINDOW as usize) };
    let fed = job.feed(parts, sink);
    // Messages before an unreadable one are answered all the same. Where an answer itself failed, nothing is left to finish.
    while !job.under_way.is_empty() {
        job.take_reply(sink)?;
    }
    fed
}

struct Job<'r> {
    runtime: &'r Runtime,
    port: Port,
    /// By pair and depth: a subscription of another depth is another book.
    books: HashMap<(Arc<str>, u32), Address<Book>>,
    /// Oldest first.
    under_way: VecDeque<(Part, Ticket<BookUpdate, BookReply>)>,
}

impl Job<'_> {
    fn feed(&mut self, parts: &mut Parts<'_>, sink: &mut Sink<'_>) -> Result<(), JobError> {
        for part in parts {
            let part = part?;
            let book = self.book(&part)?;
            let ticket = self.ask(book, part.update, sink)?;
            self.under_way.push_back((part, ticket));
        }
        Ok(())
    }

    fn book(&mut self, part: &Part) -> Result<Address<Book>, JobError> {
        let key = (Arc::clone(&part.pair), part.rules.depth);
        if let Some(book) = self.books.get(&key) {
            return Ok(*book);
        }
        let launched = self.runtime.launch(Book::new(part.rules), LaunchOptions::default());
        let book = block_on(launched).map_err(JobError::Launch)?.address();
        self.books.insert(key, book);
        Ok(book)
    }

    fn ask(
        &mut self,
        book: Address<Book>,
        update: BookUpdate,
        sink: &mut Sink<'_>,
    ) -> Result<Ticket<BookUpdate, BookReply>, JobError> {
        let mut stalled: Option<Instant> = None;
        loop {
            if let Some(ticket) = try_ask(&mut self.port, book, update)? {
                return Ok(ticket);
            }
            if !self.under_way.is_empty() {
                self.take_reply(sink)?;
            } else if stalled.get_or_insert_with(Instant::now).elapsed() > STALL_LIMIT {
                return Err(JobError::stalled());
            } else {
                std::thread::yield_now();
            }
        }
    }

    /// Takes in the reply to the oldest message, if there is one.
    fn take_reply(&mut self, sink: &mut Sink<'_>) -> Result<(), JobError> {
        let Some((part, ticket)) = self.under_way.pop_front() else { return Ok(()) };
        let what = || format!("line {}, {}", part.line, part.pair);
        wait(&mut self.port, ticket, what, reason).and_then(|reply| sink(&part, &reply)).inspect_err(|_| self.under_way.clear())
    }
}
