//! Handles to actors: ask and tell from any host thread or task.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use warpring_core::message::{encode, lines_for};
use warpring_core::module::{Exported, Handles};
use warpring_core::{ActorId, Address, GroupAddress, Priority, RingMessage};

use crate::cells::Held;
use crate::error::{AskError, Refusal, TellError};
use crate::reply::{self, Pending, Reply};
use crate::shared::{SendOptions, Shared};

/// A handle to a running actor. Cheap to clone; may be shared between threads and tasks.
///
/// All handles of a runtime share one ring per worker, so messages arrive in the order in which they were sent, also if the
/// sending task moves between threads. A [`Port`](crate::Port) is faster for a thread that sends a lot.
pub struct ActorRef<K> {
    shared: Arc<Shared>,
    id: ActorId,
    kernel: PhantomData<fn() -> K>,
}

impl<K> Clone for ActorRef<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), id: self.id, kernel: PhantomData }
    }
}

impl<K> fmt::Debug for ActorRef<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorRef({})", self.id)
    }
}

impl<K: Exported> ActorRef<K> {
    pub(crate) fn new(shared: Arc<Shared>, id: ActorId) -> Self {
        Self { shared, id, kernel: PhantomData }
    }

    /// The actor's id.
    pub fn id(&self) -> ActorId {
        self.id
    }

    pub(crate) fn shared_arc(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn shared(&self) -> *const Shared {
        Arc::as_ptr(&self.shared)
    }

    /// The actor's address, to be sent to other actors.
    pub fn address(&self) -> Address<K> {
        Address::new(self.id)
    }

    /// Asks the actor: await the result, or `.wait()` for it, or `.send()` to have many asks under way.
    pub fn ask<M: RingMessage>(&self, message: M) -> Ask<'_, K, M>
    where
        K: Handles<M>,
    {
        Ask { actor: self, message, limit: None, priority: Priority::Normal }
    }

    /// Sends a message that wants no reply: await the result, or `.wait()` for it. Waits only while the ring to the worker is full.
    pub fn tell<M: RingMessage>(&self, message: M) -> Tell<'_, K, M>
    where
        K: Handles<M>,
    {
        Tell { actor: self, message, priority: Priority::Normal }
    }

    /// As [`tell`](Self::tell), now or not at all.
    ///
    /// # Errors
    /// The message comes back with the reason, [`Refusal::RingFull`] while the ring to the worker is full.
    #[inline]
    pub fn try_tell<M: RingMessage>(&self, message: M) -> Result<(), TellError<M>>
    where
        K: Handles<M>,
    {
        self.post_tell(&message, Priority::Normal).map_err(|reason| TellError { reason, message })
    }

    #[inline]
    fn post_tell<M: RingMessage>(&self, message: &M, priority: Priority) -> Result<(), Refusal>
    where
        K: Handles<M>,
    {
        let options = SendOptions { priority, ..SendOptions::default() };
        let header = self.shared.header(self.id, K::TAG, const { lines_for(M::SIZE) as u8 }, options, None);
        encode(message, |parcel| self.shared.post(self.id, &header, parcel))
    }

    #[inline(always)]
    fn post_ask<M: RingMessage>(&self, message: &M, options: SendOptions) -> Result<Held, Refusal>
    where
        K: Handles<M>,
    {
        let Some(held) = self.shared.cells.take() else {
            return Err(Refusal::TooManyAsks { limit: self.shared.cells.count() });
        };
        let header = self.shared.header(self.id, K::TAG, const { lines_for(M::SIZE) as u8 }, options, Some(held));
        match encode(message, |parcel| self.shared.post(self.id, &header, parcel)) {
            Ok(()) => Ok(held),
            Err(reason) => {
                self.shared.cells.give(held.cell);
                Err(reason)
            }
        }
    }
}

/// Whether waiting helps.
fn passes(reason: Refusal) -> bool {
    matches!(reason, Refusal::RingFull { .. } | Refusal::TooManyAsks { .. })
}

/// An ask that is not sent yet.
#[must_use = "an ask is sent by `.await`, `.wait()` or `.send()`"]
pub struct Ask<'r, K, M> {
    actor: &'r ActorRef<K>,
    message: M,
    limit: Option<Duration>,
    priority: Priority,
}

impl<'r, K: Handles<M>, M: RingMessage> Ask<'r, K, M> {
    /// Waits at most this long for the reply; the actor does not handle the message after the deadline. Without it, the runtime's
    /// `ask_limit` holds for the wait.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Order in the actor's mailbox.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sends it and blocks the thread until the reply is there: spins at first, for the lowest latency, then sleeps.
    ///
    /// # Errors
    /// See [`AskError`].
    #[inline]
    pub fn wait(self) -> Result<K::Reply, AskError<M>> {
        let shared = &*self.actor.shared;
        let (limit, deadline) = shared.limit(self.limit);
        let options = SendOptions { priority: self.priority, deadline, wake: false };
        let held = match self.actor.post_ask(&self.message, options) {
            Ok(held) => held,
            Err(reason) => self.post_later(reason, options, limit)?,
        };
        let id = self.actor.id;
        match reply::wait(shared, held, limit) {
            Ok(lines) => {
                let result = reply::read(shared, lines, id, self.message);
                shared.cells.give(held.cell);
                result
            }
            Err(no_reply) => {
                shared.cells.abandon(held);
                Err(no_reply.into_error(id, self.message))
            }
        }
    }

    /// The ring was full: try until it has room, or the limit is over.
    #[cold]
    fn post_later(&self, reason: Refusal, options: SendOptions, limit: Duration) -> Result<Held, AskError<M>> {
        let start = std::time::Instant::now();
        let mut reason = reason;
        while passes(reason) && start.elapsed() < limit {
            self.actor.shared.pump();
            std::thread::yield_now();
            match self.actor.post_ask(&self.message, options) {
                Ok(held) => return Ok(held),
                Err(again) => reason = again,
            }
        }
        Err(AskError::NotHandled { reason, message: self.message })
    }

    /// Sends it now and gives the reply to wait for, so that many asks can be under way.
    ///
    /// # Errors
    /// [`AskError::NotHandled`] with the message, if it was not accepted; [`Refusal::RingFull`] and `TooManyAsks` pass.
    pub fn send(self) -> Result<Reply<M, K::Reply>, AskError<M>> {
        let shared = &self.actor.shared;
        let (limit, deadline) = shared.limit(self.limit);
        let options = SendOptions { priority: self.priority, deadline, wake: true };
        match self.actor.post_ask(&self.message, options) {
            Ok(held) => Ok(Reply::new(Pending::new(Arc::clone(shared), held, limit), self.actor.id, self.message)),
            Err(reason) => Err(AskError::NotHandled { reason, message: self.message }),
        }
    }
}

impl<K: Handles<M>, M: RingMessage> IntoFuture for Ask<'_, K, M> {
    type Output = Result<K::Reply, AskError<M>>;
    type IntoFuture = Asking<K, M>;
    fn into_future(self) -> Asking<K, M> {
        let (limit, deadline) = self.actor.shared.limit(self.limit);
        Asking {
            options: SendOptions { priority: self.priority, deadline, wake: true },
            actor: self.actor.clone(),
            message: self.message,
            limit,
            since: None,
            reply: None,
        }
    }
}

/// The future of an awaited [`Ask`].
#[must_use = "an ask is sent when it is awaited"]
pub struct Asking<K: Handles<M>, M: RingMessage> {
    actor: ActorRef<K>,
    message: M,
    options: SendOptions,
    limit: Duration,
    since: Option<std::time::Instant>,
    reply: Option<Reply<M, K::Reply>>,
}

impl<K: Handles<M>, M: RingMessage> Future for Asking<K, M> {
    type Output = Result<K::Reply, AskError<M>>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing in an Asking is pinned by address.
        let this = unsafe { self.get_unchecked_mut() };
        if this.reply.is_none() {
            match this.actor.post_ask(&this.message, this.options) {
                Ok(held) => {
                    let pending = Pending::new(Arc::clone(&this.actor.shared), held, this.limit);
                    this.reply = Some(Reply::new(pending, this.actor.id, this.message));
                }
                Err(reason)
                    if passes(reason) && this.since.get_or_insert_with(std::time::Instant::now).elapsed() < this.limit =>
                {
                    // A ring drains in microseconds: let the other tasks run and come back.
                    this.actor.shared.pump();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(reason) => return Poll::Ready(Err(AskError::NotHandled { reason, message: this.message })),
            }
        }
        match &mut this.reply {
            Some(reply) => Pin::new(reply).poll(cx),
            None => Poll::Pending,
        }
    }
}

/// A tell that is not sent yet.
#[must_use = "a tell is sent by `.await` or `.wait()`"]
pub struct Tell<'r, K, M> {
    actor: &'r ActorRef<K>,
    message: M,
    priority: Priority,
}

impl<K: Handles<M>, M: RingMessage> Tell<'_, K, M> {
    /// Order in the actor's mailbox.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sends it; blocks the thread while the ring to the worker is full.
    ///
    /// # Errors
    /// The message comes back with the reason, if the runtime is stopping or the ring stays full for the runtime's `ask_limit`.
    #[inline]
    pub fn wait(self) -> Result<(), TellError<M>> {
        match self.actor.post_tell(&self.message, self.priority) {
            Ok(()) => Ok(()),
            Err(reason) => self.wait_for_room(reason),
        }
    }

    #[cold]
    fn wait_for_room(self, reason: Refusal) -> Result<(), TellError<M>> {
        let start = std::time::Instant::now();
        let mut reason = reason;
        while passes(reason) && start.elapsed() < self.actor.shared.settings.ask_limit {
            self.actor.shared.pump();
            std::thread::yield_now();
            match self.actor.post_tell(&self.message, self.priority) {
                Ok(()) => return Ok(()),
                Err(again) => reason = again,
            }
        }
        Err(TellError { reason, message: self.message })
    }
}

impl<K: Handles<M>, M: RingMessage> IntoFuture for Tell<'_, K, M> {
    type Output = Result<(), TellError<M>>;
    type IntoFuture = Telling<K, M>;
    fn into_future(self) -> Telling<K, M> {
        Telling { actor: self.actor.clone(), message: self.message, priority: self.priority, since: None }
    }
}

/// The future of an awaited [`Tell`].
#[must_use = "a tell is sent when it is awaited"]
pub struct Telling<K, M> {
    actor: ActorRef<K>,
    message: M,
    priority: Priority,
    since: Option<std::time::Instant>,
}

impl<K: Handles<M>, M: RingMessage> Future for Telling<K, M> {
    type Output = Result<(), TellError<M>>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing in a Telling is pinned by address.
        let this = unsafe { self.get_unchecked_mut() };
        match this.actor.post_tell(&this.message, this.priority) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(reason)
                if passes(reason)
                    && this.since.get_or_insert_with(std::time::Instant::now).elapsed()
                        < this.actor.shared.settings.ask_limit =>
            {
                this.actor.shared.pump();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(reason) => Poll::Ready(Err(TellError { reason, message: this.message })),
        }
    }
}

/// A group of actors of one kind, addressed by index.
pub struct Group<K> {
    shared: Arc<Shared>,
    address: GroupAddress<K>,
}

impl<K> Clone for Group<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), address: self.address }
    }
}

impl<K> fmt::Debug for Group<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({} actors)", self.address.len())
    }
}

impl<K: Exported> Group<K> {
    pub(crate) fn new(shared: Arc<Shared>, address: GroupAddress<K>) -> Self {
        Self { shared, address }
    }

    /// How many actors there are.
    pub fn len(&self) -> u32 {
        self.address.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.address.is_empty()
    }

    /// A handle to actor `index`, or `None` beyond the end.
    pub fn get(&self, index: u32) -> Option<ActorRef<K>> {
        Some(ActorRef::new(Arc::clone(&self.shared), self.address.get(index)?.id()))
    }

    /// The group's address, to be sent to actors.
    pub fn address(&self) -> GroupAddress<K> {
        self.address
    }
}
