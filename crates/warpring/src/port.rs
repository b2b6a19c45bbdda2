//! `Port`: one host thread's own rings to the workers, and its own reply cells. No lock and no read-modify-write per message.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use warpring_core::message::{Header, Parcel, encode, lines_for};
use warpring_core::module::Handles;
use warpring_core::scoped::System;
use warpring_core::{ActorId, Address, RingMessage};

use crate::barrier;
use crate::cells::Held;
use crate::error::{AskError, PortError, Refusal, TellError};
use crate::lock::lock;
use crate::reply;
use crate::shared::{PortSeat, SendOptions, Shared};

/// A host thread's own connection to the workers: rings that nobody else writes into, and a window of reply cells.
///
/// Messages sent through one port to one actor arrive in order. There is no order between a port and an
/// [`ActorRef`](crate::ActorRef), or between two ports.
pub struct Port {
    shared: Arc<Shared>,
    seat: Option<PortSeat>,
    cells: Vec<u32>,
    free: Vec<u32>,
    /// Cells of asks that were given up and whose reply is still to come.
    late: Vec<Held>,
    window: u32,
    /// No other port of the process has it: says whose a ticket is.
    number: u64,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({} of {} asks outstanding)", self.window as usize - self.free.len(), self.window)
    }
}

/// An ask on its way through a port: give it back to [`Port::wait`] or [`Port::poll`]. A ticket that is dropped keeps one ask of
/// the window until the port is dropped.
#[must_use = "the reply is fetched with `Port::wait` or `Port::poll`"]
#[derive(Debug)]
pub struct Ticket<M, R> {
    held: Held,
    port: u64,
    to: ActorId,
    message: M,
    reply: PhantomData<fn() -> R>,
}

impl Port {
    pub(crate) fn open(shared: Arc<Shared>, window: u32) -> Result<Self, PortError> {
        if shared.closing.load(Ordering::Acquire) {
            return Err(PortError::Stopped);
        }
        if window == 0 {
            return Err(PortError::Window { wanted: 0, free: shared.cells.count() });
        }
        let mut free = Vec::with_capacity(window.min(shared.cells.count()) as usize);
        while free.len() < window as usize {
            let Some(held) = shared.cells.take() else {
                let got = free.len() as u32;
                free.into_iter().for_each(|cell| shared.cells.give(cell));
                return Err(PortError::Window { wanted: window, free: got });
            };
            free.push(held.cell);
        }
        let seat = lock(&shared.ports).pop();
        let Some(seat) = seat else {
            free.into_iter().for_each(|cell| shared.cells.give(cell));
            return Err(PortError::NoneFree { limit: shared.plan.limits.ports as usize });
        };
        // SYNC: port (release): the port's rings are in place since the runtime was built.
        shared.open_ports().fetch_or(1 << seat.index, Ordering::AcqRel);
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Self { shared, seat: Some(seat), cells: free.clone(), free, late: Vec::new(), window, number })
    }

    #[inline(always)]
    fn push(&mut self, to: ActorId, header: &Header, parcel: Parcel<'_>) -> Result<(), Refusal> {
        let worker = u32::from(to.worker);
        let producer = self.seat.as_mut().and_then(|seat| seat.producers.get_mut(worker as usize));
        let Some(producer) = producer else { return Err(Refusal::ActorStopped(to)) };
        if self.shared.closing.load(Ordering::Relaxed) {
            return Err(self.shared.stopped());
        }
        if !producer.push::<System>(header, parcel) {
            return Err(Refusal::RingFull { worker });
        }
        // SYNC: sleep: the worker executes the barrier for both sides before it sleeps.
        barrier::light();
        if self.shared.seats[worker as usize].parked().load(Ordering::Relaxed) != 0 {
            self.shared.unpark(worker);
        }
        Ok(())
    }

    /// Sends an ask, now or not at all.
    ///
    /// # Errors
    /// The message comes back: [`Refusal::TooManyAsks`] while the window is full, [`Refusal::RingFull`] while the ring is.
    #[inline]
    pub fn try_ask<K: Handles<M>, M: RingMessage>(
        &mut self,
        to: Address<K>,
        message: M,
    ) -> Result<Ticket<M, K::Reply>, TellError<M>> {
        if self.free.is_empty() {
            self.reclaim();
        }
        let Some(&cell) = self.free.last() else {
            return Err(TellError { reason: Refusal::TooManyAsks { limit: self.window }, message });
        };
        let held = self.shared.cells.renew(cell);
        let header = self.shared.header(to.id(), K::TAG, const { lines_for(M::SIZE) as u8 }, SendOptions::default(), Some(held));
        match encode(&message, |parcel| self.push(to.id(), &header, parcel)) {
            Ok(()) => {
                self.free.pop();
                Ok(Ticket { held, port: self.number, to: to.id(), message, reply: PhantomData })
            }
            Err(reason) => Err(TellError { reason, message }),
        }
    }

    /// Sends an ask and gives its ticket; waits while the ring to the worker is full, at most for the runtime's `ask_limit`.
    ///
    /// # Errors
    /// The message comes back with the reason: [`Refusal::TooManyAsks`] at once while the window is full, because only this thread
    /// can empty it.
    #[inline]
    pub fn send<K: Handles<M>, M: RingMessage>(
        &mut self,
        to: Address<K>,
        message: M,
    ) -> Result<Ticket<M, K::Reply>, TellError<M>> {
        self.retry(|port| port.try_ask(to, message))
    }

    /// The reply to an ask, if it is there; else the ticket comes back.
    ///
    /// # Errors
    /// The outer error is the ticket of an ask whose reply is not there yet; the inner one says why there is no reply.
    ///
    /// # Panics
    /// If the ticket is another port's.
    #[inline]
    pub fn poll<M: RingMessage, R: RingMessage>(&mut self, ticket: Ticket<M, R>) -> Result<Result<R, AskError<M>>, Ticket<M, R>> {
        self.own(&ticket);
        match self.shared.cells.reply(ticket.held) {
            Some(lines) => {
                let result = reply::read(&self.shared, lines, ticket.to, ticket.message);
                self.free.push(ticket.held.cell);
                Ok(result)
            }
            None => {
                self.shared.pump();
                Err(ticket)
            }
        }
    }

    /// Waits for the reply to an ask: spins at first, then sleeps; at most for the runtime's `ask_limit`.
    ///
    /// # Errors
    /// See [`AskError`].
    ///
    /// # Panics
    /// If the ticket is another port's.
    #[inline]
    pub fn wait<M: RingMessage, R: RingMessage>(&mut self, ticket: Ticket<M, R>) -> Result<R, AskError<M>> {
        self.own(&ticket);
        match reply::wait(&self.shared, ticket.held, self.shared.settings.ask_limit) {
            Ok(lines) => {
                let result = reply::read(&self.shared, lines, ticket.to, ticket.message);
                self.free.push(ticket.held.cell);
                result
            }
            Err(no_reply) => {
                self.late.push(ticket.held);
                Err(no_reply.into_error(ticket.to, ticket.message))
            }
        }
    }

    /// A ticket names a cell of its port. With another's, two asks would share a cell, or the cell would not be there at all.
    #[inline(always)]
    #[track_caller]
    fn own<M, R>(&self, ticket: &Ticket<M, R>) {
        assert!(ticket.port == self.number, "the ticket is another port's");
    }

    /// Sends an ask and waits for its reply.
    ///
    /// # Errors
    /// See [`AskError`].
    #[inline]
    pub fn ask<K: Handles<M>, M: RingMessage>(&mut self, to: Address<K>, message: M) -> Result<K::Reply, AskError<M>> {
        match self.send(to, message) {
            Ok(ticket) => self.wait(ticket),
            Err(TellError { reason, message }) => Err(AskError::NotHandled { reason, message }),
        }
    }

    /// Sends a message that wants no reply; waits while the ring to the worker is full, at most for the runtime's `ask_limit`.
    ///
    /// # Errors
    /// The message comes back with the reason.
    #[inline]
    pub fn tell<K: Handles<M>, M: RingMessage>(&mut self, to: Address<K>, message: M) -> Result<(), TellError<M>> {
        self.retry(|port| port.try_tell(to, message))
    }

    /// Sends a message that wants no reply, now or not at all.
    ///
    /// # Errors
    /// The message comes back with the reason, [`Refusal::RingFull`] while the ring to the worker is full.
    #[inline]
    pub fn try_tell<K: Handles<M>, M: RingMessage>(&mut self, to: Address<K>, message: M) -> Result<(), TellError<M>> {
        let header = self.shared.header(to.id(), K::TAG, const { lines_for(M::SIZE) as u8 }, SendOptions::default(), None);
        encode(&message, |parcel| self.push(to.id(), &header, parcel)).map_err(|reason| TellError { reason, message })
    }

    /// Takes back the cells of given-up asks whose replies have come.
    #[cold]
    fn reclaim(&mut self) {
        let (shared, free) = (&self.shared, &mut self.free);
        self.late.retain(|held| {
            let late = shared.cells.reply(*held).is_some();
            if late {
                free.push(held.cell);
            }
            !late
        });
    }

    #[inline]
    fn retry<T, M>(&mut self, mut send: impl FnMut(&mut Self) -> Result<T, TellError<M>>) -> Result<T, TellError<M>> {
        let mut start: Option<Instant> = None;
        let mut spins = 0u32;
        loop {
            match send(self) {
                Err(TellError { reason: reason @ Refusal::RingFull { .. }, message }) => {
                    spins += 1;
                    if spins.is_multiple_of(256) {
                        self.shared.pump();
                        let since = *start.get_or_insert_with(Instant::now);
                        let waited: Duration = since.elapsed();
                        if waited > self.shared.settings.ask_limit {
                            return Err(TellError { reason, message });
                        }
                        if waited > Duration::from_micros(50) {
                            std::thread::yield_now();
                        }
                    }
                    std::hint::spin_loop();
                }
                other => return other,
            }
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.shared.return_port(seat);
        }
        self.reclaim();
        self.free.sort_unstable();
        for cell in self.cells.drain(..) {
            if self.free.binary_search(&cell).is_ok() {
                self.shared.cells.give(cell);
            } else {
                // Given up, or its ticket was dropped: free again when the reply comes.
                self.shared.cells.abandon(self.shared.cells.current(cell));
            }
        }
    }
}
