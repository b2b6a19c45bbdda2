//! Waiting for a reply: spinning, sleeping, or as a future.

use std::cell::OnceCell;
use std::future::Future;
use std::hint;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use warpring_core::message::Kind;
use warpring_core::ring::Lines;
use warpring_core::{ActorId, KernelError, RingMessage};

use crate::barrier;
use crate::cells::Held;
use crate::error::AskError;
use crate::lock::lock;
use crate::shared::Shared;

/// Looks at the cell before the first look at the clock; some microseconds.
const FAST_SPINS: u32 = 2048;
/// Looks at the cell in the first poll of a lone awaited ask: one to three microseconds, by the length of the pause.
const AWAIT_SPINS: u32 = 64;
/// After so long, other threads may have the core between two looks.
const YIELD_AFTER: Duration = Duration::from_micros(30);
/// After so long, the thread sleeps until the worker wakes it.
const PARK_AFTER: Duration = Duration::from_micros(300);

/// Why a wait ended without a reply.
pub(crate) enum NoReply {
    Deadline(Duration),
    /// The runtime has ended, and nobody took the message.
    Ended,
    /// The device has failed.
    Lost(String),
}

/// The runtime has ended and the reply is not there.
#[cold]
fn ended(shared: &Shared) -> NoReply {
    match shared.engine.get().and_then(|engine| engine.fault()) {
        Some(fault) => NoReply::Lost(fault.to_owned()),
        None => NoReply::Ended,
    }
}

/// Waits for the reply in a cell that the caller holds.
#[inline(always)]
pub(crate) fn wait(shared: &Shared, held: Held, limit: Duration) -> Result<Lines, NoReply> {
    for _ in 0..FAST_SPINS {
        if let Some(lines) = shared.cells.reply(held) {
            return Ok(lines);
        }
        hint::spin_loop();
    }
    wait_long(shared, held, limit)
}

#[cold]
fn wait_long(shared: &Shared, held: Held, limit: Duration) -> Result<Lines, NoReply> {
    let start = Instant::now();
    // The workers' clock is the simulator's own where there is one: what has passed on either counts.
    let from = shared.now();
    let until = from.saturating_add(nanoseconds(limit));
    let wakes = shared.engine.get().is_some_and(|engine| engine.wakes());
    loop {
        shared.pump_until(until, &|| shared.cells.reply(held).is_some());
        for _ in 0..64 {
            if let Some(lines) = shared.cells.reply(held) {
                return Ok(lines);
            }
            hint::spin_loop();
        }
        let waited = start.elapsed().max(Duration::from_nanos(shared.now().saturating_sub(from)));
        if waited >= limit {
            return Err(NoReply::Deadline(waited));
        }
        if shared.ended.load(Ordering::Acquire) {
            // Everything that was accepted has been answered before `ended` was set.
            return shared.cells.reply(held).ok_or_else(|| ended(shared));
        }
        if waited < YIELD_AFTER {
            continue;
        }
        if waited < PARK_AFTER || !wakes {
            thread::yield_now();
            continue;
        }
        let waker = shared.cells.waker(held.cell);
        OWN_WAKER.with(|own| waker.register(own.get_or_init(|| Waker::from(Arc::new(ThreadWaker(thread::current()))))));
        shared.cells.park(held.cell, true);
        shared.engine.get().iter().for_each(|engine| engine.await_cell(held.cell));
        // SYNC: sleep (pairs with the light barrier after the worker's reply).
        barrier::heavy();
        if shared.cells.reply(held).is_none() {
            thread::park_timeout((limit - waited).min(barrier::longest_sleep()));
        }
        shared.cells.park(held.cell, false);
        shared.engine.get().iter().for_each(|engine| engine.forget_cell(held.cell));
        waker.take();
    }
}

fn nanoseconds(limit: Duration) -> u64 {
    limit.as_nanos().min(u128::from(u64::MAX)) as u64
}

struct ThreadWaker(Thread);
impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static OWN_WAKER: OnceCell<Waker> = const { OnceCell::new() };
}

/// What the lines of a reply say.
#[inline(always)]
pub(crate) fn read<M, R: RingMessage>(shared: &Shared, lines: Lines, to: ActorId, message: M) -> Result<R, AskError<M>> {
    // SAFETY: the cell's reply was seen, and the caller still holds the cell.
    let header = unsafe { lines.header() };
    if header.kind() == Kind::Reply as u8 {
        // SAFETY: as above.
        return unsafe { lines.decode::<R>(header.lines) }.map_err(|_| AskError::Handler(KernelError::Malformed));
    }
    Err(error(shared, header.kind(), KernelError::from_parts(header.tag, header.sender), to, message))
}

#[cold]
fn error<M>(shared: &Shared, kind: u8, error: KernelError, to: ActorId, message: M) -> AskError<M> {
    if kind == Kind::Refused as u8 {
        return AskError::NotHandled { reason: shared.refusal(to, error), message };
    }
    match error {
        KernelError::Interrupted => AskError::Interrupted { actor: to },
        KernelError::AskCycle { report } => {
            // The worker has posted its report before the ask failed.
            shared.take_letters();
            shared.cycles.find(report).map_or(AskError::Handler(error), AskError::Cycle)
        }
        KernelError::Panicked { .. } => {
            // The simulator's record is there when its turn is over.
            shared.pump_until(0, &|| true);
            let panics = lock(&shared.panics);
            match panics.get(&to) {
                Some(site) => {
                    AskError::Panicked { actor: to, file: site.file.clone(), line: site.line, message: site.message.clone() }
                }
                None => AskError::Handler(error),
            }
        }
        error => AskError::Handler(error),
    }
}

/// The reply to an ask that is on its way. Await it, or [`wait`](Self::wait) for it; dropped, the reply is thrown away.
#[must_use = "the reply is lost unless it is awaited"]
pub struct Reply<M, R> {
    pending: Pending,
    to: ActorId,
    message: M,
    reply: PhantomData<fn() -> R>,
}

impl<M: RingMessage, R: RingMessage> Reply<M, R> {
    pub(crate) fn new(pending: Pending, to: ActorId, message: M) -> Self {
        Self { pending, to, message, reply: PhantomData }
    }

    /// Blocks the thread until the reply is there: spins at first, for the lowest latency, then sleeps.
    ///
    /// # Errors
    /// See [`AskError`].
    pub fn wait(mut self) -> Result<R, AskError<M>> {
        match self.pending.wait() {
            Ok(lines) => {
                let result = read(&self.pending.shared, lines, self.to, self.message);
                self.pending.done();
                result
            }
            Err(no_reply) => Err(no_reply.into_error(self.to, self.message)),
        }
    }
}

// Nothing in a reply is pinned by address.
impl<M, R> Unpin for Reply<M, R> {}

impl<M: RingMessage, R: RingMessage> Future for Reply<M, R> {
    type Output = Result<R, AskError<M>>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.pending.poll_lines(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(lines)) => {
                let result = read(&this.pending.shared, lines, this.to, this.message);
                this.pending.done();
                Poll::Ready(result)
            }
            Poll::Ready(Err(no_reply)) => Poll::Ready(Err(no_reply.into_error(this.to, this.message))),
        }
    }
}

impl NoReply {
    pub(crate) fn into_error<M>(self, actor: ActorId, message: M) -> AskError<M> {
        match self {
            Self::Deadline(waited) => AskError::Deadline { actor, waited },
            Self::Lost(message) => AskError::BackendLost { message },
            Self::Ended => AskError::NotHandled { reason: crate::error::Refusal::RuntimeStopped, message },
        }
    }
}

/// A cell whose reply is awaited; gives the cell back, whatever happens.
pub(crate) struct Pending {
    pub(crate) shared: Arc<Shared>,
    held: Option<Held>,
    limit: Duration,
    /// When it was first polled, in nanoseconds since the epoch and on the workers' clock.
    sent: Option<(u64, u64)>,
}

impl Pending {
    pub(crate) fn new(shared: Arc<Shared>, held: Held, limit: Duration) -> Self {
        shared.awaited.fetch_add(1, Ordering::Relaxed);
        Self { shared, held: Some(held), limit, sent: None }
    }

    /// Looks for the reply for about as long as a round trip between far cores takes; far less than a wake-up.
    fn spin(&self, held: Held) -> Option<Lines> {
        for _ in 0..AWAIT_SPINS {
            if let Some(lines) = self.shared.cells.reply(held) {
                return Some(lines);
            }
            hint::spin_loop();
        }
        None
    }

    /// The reply was read.
    pub(crate) fn done(&mut self) {
        if let Some(held) = self.held.take() {
            self.shared.awaited.fetch_sub(1, Ordering::Relaxed);
            if self.sent.is_some() {
                self.shared.deadlines.clear(held.cell);
                self.shared.engine.get().iter().for_each(|engine| engine.forget_cell(held.cell));
                // Or the cell keeps the task alive until its next use.
                self.shared.cells.waker(held.cell).take();
            }
            self.shared.cells.release(held.cell);
        }
    }

    pub(crate) fn wait(&mut self) -> Result<Lines, NoReply> {
        let Some(held) = self.held else { return Err(NoReply::Ended) };
        wait(&self.shared, held, self.limit)
    }

    /// The reply's lines; the caller reads them and calls [`done`](Self::done).
    pub(crate) fn poll_lines(&mut self, cx: &mut Context<'_>) -> Poll<Result<Lines, NoReply>> {
        // Polled again after its end: there is nothing to give any more.
        let Some(held) = self.held else { return Poll::Ready(Err(NoReply::Ended)) };
        if let Some(lines) = self.shared.cells.reply(held) {
            return Poll::Ready(Ok(lines));
        }
        let first = self.sent.is_none();
        // A lone ask is answered in less time than it takes to sleep and be woken.
        if first
            && self.shared.awaited.load(Ordering::Relaxed) == 1
            && let Some(lines) = self.spin(held)
        {
            return Poll::Ready(Ok(lines));
        }
        self.shared.cells.waker(held.cell).register(cx.waker());
        // The ask was sent before the waker was there, so the worker must be told to look for one.
        let wakes = self.shared.engine.get().is_some_and(|engine| engine.wakes());
        if first {
            let now = self.shared.epoch.elapsed().as_nanos() as u64;
            self.sent = Some((now, if wakes { now } else { self.shared.now() }));
            let due = now.saturating_add(nanoseconds(self.limit));
            self.shared.deadlines.set(held.cell, due, &self.shared);
        }
        self.shared.engine.get().iter().for_each(|engine| engine.await_cell(held.cell));
        let (sent, from) = self.sent.unwrap_or_default();
        let shared = &self.shared;
        shared.pump_until(from.saturating_add(nanoseconds(self.limit)), &|| shared.cells.reply(held).is_some());
        if let Some(lines) = self.shared.cells.reply(held) {
            return Poll::Ready(Ok(lines));
        }
        // The end wakes whoever has registered before it, and it is seen by who comes later.
        if first && wakes && !self.shared.ended.load(Ordering::Acquire) {
            // Woken by the worker, or when the limit is over.
            return Poll::Pending;
        }
        let real = (self.shared.epoch.elapsed().as_nanos() as u64).saturating_sub(sent);
        let waited = Duration::from_nanos(real.max(self.shared.now().saturating_sub(from)));
        if waited >= self.limit {
            return Poll::Ready(Err(NoReply::Deadline(waited)));
        }
        if self.shared.ended.load(Ordering::Acquire) {
            return Poll::Ready(self.shared.cells.reply(held).ok_or_else(|| ended(&self.shared)));
        }
        if !wakes {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.shared.awaited.fetch_sub(1, Ordering::Relaxed);
            if self.sent.is_some() {
                self.shared.deadlines.clear(held.cell);
                self.shared.engine.get().iter().for_each(|engine| engine.forget_cell(held.cell));
            }
            self.shared.cells.abandon(held);
        }
    }
}
