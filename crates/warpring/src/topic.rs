//! Topics: messages that go to all actors which have subscribed.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use warpring_core::directory::Subscriber;
use warpring_core::message::{FROM_HOST, Header, Kind, NO_SENDER, encode, lines_for};
use warpring_core::module::Handles;
use warpring_core::worker::{CONTROL_COUNTS, CONTROL_PUBLISH};
use warpring_core::{ActorId, KernelError, Published, RingMessage};

use crate::actor_ref::ActorRef;
use crate::directory::{Directory, Listed};
use crate::ends::{EndError, hear_of};
use crate::reply::Reply;
use crate::runtime::{Runtime, control};
use crate::shared::Shared;

/// Why a topic could not be opened, subscribed to, or published on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// The text is no name.
    Invalid {
        /// The text.
        topic: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is a topic whose name travels as the same number.
    SameNumber {
        /// The name.
        topic: String,
        /// The other one.
        other: String,
    },
    /// The topic takes messages of another type.
    OtherMessage {
        /// Its name.
        topic: String,
        /// The type of its messages.
        takes: &'static str,
        /// The type that was given.
        given: &'static str,
    },
    /// There are as many topics as there is room for.
    TooManyTopics {
        /// `RuntimeBuilder::max_topics`.
        limit: u32,
    },
    /// The topic has as many subscribers as there is room for.
    TooManySubscribers {
        /// Its name.
        topic: String,
        /// `RuntimeBuilder::max_subscribers`.
        limit: u32,
    },
    /// The actor is a subscriber already.
    AlreadySubscribed {
        /// Of this topic.
        topic: String,
        /// The actor.
        actor: ActorId,
    },
    /// The actor is no subscriber.
    NotSubscribed {
        /// Of this topic.
        topic: String,
        /// The actor.
        actor: ActorId,
    },
    /// The actor has ended.
    Ended(ActorId),
    /// The actor is of another runtime.
    OtherRuntime(ActorId),
    /// The runtime is stopping or has stopped.
    Stopped,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { topic, why } => write!(f, "{topic:?} is no name of a topic: it {why}"),
            Self::SameNumber { topic, other } => {
                write!(f, "the topics `{topic}` and `{other}` travel as the same number: choose another name for one of them")
            }
            Self::OtherMessage { topic, takes, given } => {
                write!(f, "topic `{topic}` takes messages of type `{takes}`, not `{given}`: open another topic for those")
            }
            Self::TooManyTopics { limit } => write!(f, "there are {limit} topics: raise it with `RuntimeBuilder::max_topics`"),
            Self::TooManySubscribers { topic, limit } => {
                write!(f, "topic `{topic}` has {limit} subscribers: raise it with `RuntimeBuilder::max_subscribers`")
            }
            Self::AlreadySubscribed { topic, actor } => write!(f, "actor {actor} is a subscriber of topic `{topic}` already"),
            Self::NotSubscribed { topic, actor } => write!(f, "actor {actor} is no subscriber of topic `{topic}`"),
            Self::Ended(actor) => write!(f, "actor {actor} has ended, so it gets no messages"),
            Self::OtherRuntime(actor) => write!(f, "actor {actor} is of another runtime than the topic"),
            Self::Stopped => f.write_str("the runtime is stopping or has stopped"),
        }
    }
}
impl std::error::Error for TopicError {}

/// What happened on a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStats {
    /// Its name.
    pub name: String,
    /// The type of its messages, as the compiler calls it.
    pub message: &'static str,
    /// How many subscribers it has.
    pub subscribers: u32,
    /// Messages that were published, by the host and by handlers.
    pub published: u64,
    /// Messages that a subscriber lost, each counted once for each subscriber that lost it.
    pub lost: u64,
}

/// A topic, as the host publishes on it. Cheap to clone; may be shared between threads and tasks.
///
/// A message that is published goes to each subscriber's mailbox as a tell of normal priority. Publishing never waits: the queues
/// are the mailboxes and the rings to the workers, and a subscriber whose mailbox is full, or the ring to whose worker is, loses
/// the message. That becomes a dead letter with the reason and is counted; the other subscribers get the message. What one
/// publisher publishes reaches each subscriber in its order.
///
/// ```
/// use warpring::{Name, block_on, prelude::*};
///
/// #[derive(Clone, Copy, Debug, RingMessage)]
/// struct Price { cents: u32 }
/// #[derive(Clone, Copy, Debug, RingMessage)]
/// struct Highest;
/// #[derive(Clone, Copy, Debug, RingMessage)]
/// struct Quote { cents: u32 }
///
/// #[derive(Debug, Default, RingKernel)]
/// #[ring_kernel(id = "doc/watcher")]
/// struct Watcher { highest: Resident<u32> }
/// impl RingKernelHandler<Price, ()> for Watcher {
///     async fn handle(&self, ctx: &mut RingContext<'_>, price: Price) -> Result<()> {
///         ctx.update(&self.highest, |highest| *highest = price.cents.max(*highest));
///         Ok(())
///     }
/// }
/// impl RingKernelHandler<Highest, u32> for Watcher {
///     async fn handle(&self, ctx: &mut RingContext<'_>, _: Highest) -> Result<u32> {
///         Ok(*ctx.read(&self.highest))
///     }
/// }
///
/// #[derive(Debug, RingKernel)]
/// #[ring_kernel(id = "doc/feed")]
/// struct Feed;
/// impl RingKernelHandler<Quote, u32> for Feed {
///     async fn handle(&self, ctx: &mut RingContext<'_>, quote: Quote) -> Result<u32> {
///         const PRICES: Name = Name::new("prices");
///         Ok(ctx.publish(PRICES, &Price { cents: quote.cents }).map_or(0, |published| published.sent))
///     }
/// }
/// warpring::export! {
///     Watcher { Price => (), Highest => u32 }
///     Feed { Quote => u32 }
/// }
///
/// # fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let runtime = Runtime::builder().module(&MODULE).workers(2).build()?;
/// block_on(async {
///     let watcher = runtime.launch(Watcher::default(), LaunchOptions::default()).await?;
///     let prices = runtime.topic::<Price>("prices").await?;
///     prices.subscribe(&watcher).await?;
///     assert_eq!(prices.publish(&Price { cents: 101 })?.sent, 1);
///     assert_eq!(watcher.ask(Highest).await?, 101);
///
///     let feed = runtime.launch(Feed, LaunchOptions::default()).await?;
///     assert_eq!(feed.ask(Quote { cents: 99 }).await?, 1);
///     assert_eq!(runtime.topics().await?[0].published, 2);
///     runtime.shutdown().await?;
///     Ok(())
/// })
/// # }
/// ```
pub struct Topic<M> {
    shared: Arc<Shared>,
    listed: Arc<Listed>,
    message: PhantomData<fn(M)>,
}

impl<M> Clone for Topic<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), listed: Arc::clone(&self.listed), message: PhantomData }
    }
}

impl<M> fmt::Debug for Topic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.listed.text)
    }
}

impl<M: RingMessage> Topic<M> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.listed.text
    }

    /// Makes an actor a subscriber. It gets every message that is published after this has returned, and may get some that are
    /// published before. An actor that ends for good is no subscriber any more; one that a supervisor starts again still is.
    ///
    /// # Errors
    /// See [`TopicError`]; the actor is then no subscriber, or was one before.
    pub async fn subscribe<K: Handles<M>>(&self, actor: &ActorRef<K>) -> Result<(), TopicError> {
        self.check(actor)?;
        let change = self.shared.directory.subscribe(&self.listed, Subscriber { actor: actor.id(), tag: K::TAG })?;
        // After it was added, so that no end slips through between.
        if let Err(error) = hear_of(&self.shared, actor.id()).await {
            self.shared.directory.forget_actor(&self.shared, actor.id());
            return Err(if let EndError::Ended(..) = error { TopicError::Ended(actor.id()) } else { TopicError::Stopped });
        }
        Directory::settle(&self.shared, change).await.map_err(|_| TopicError::Stopped)
    }

    /// Makes an actor no subscriber any more. It gets no message that is published after this has returned, and may miss some that
    /// are published before.
    ///
    /// # Errors
    /// [`TopicError::NotSubscribed`], `OtherRuntime` or `Stopped`.
    pub async fn unsubscribe<K: Handles<M>>(&self, actor: &ActorRef<K>) -> Result<(), TopicError> {
        self.check(actor)?;
        let change = self.shared.directory.unsubscribe(&self.listed, actor.id())?;
        Directory::settle(&self.shared, change).await.map_err(|_| TopicError::Stopped)
    }

    fn check<K: Handles<M>>(&self, actor: &ActorRef<K>) -> Result<(), TopicError> {
        if !std::ptr::eq(actor.shared(), &*self.shared) {
            return Err(TopicError::OtherRuntime(actor.id()));
        }
        if self.shared.closing.load(Ordering::Acquire) { Err(TopicError::Stopped) } else { Ok(()) }
    }

    /// Sends a message to all subscribers, now and without waiting: once into the ring of each worker that has some, where each of
    /// them gets a copy. The result counts those whose worker's ring took it, and those whose worker's ring was full; who loses it
    /// later, because its mailbox is full, is counted by [`Runtime::topics`].
    ///
    /// # Errors
    /// [`TopicError::Stopped`]: the runtime is stopping or has stopped, and nobody gets it.
    pub fn publish(&self, message: &M) -> Result<Published, TopicError> {
        let (shared, listed) = (&*self.shared, &*self.listed);
        if shared.closing.load(Ordering::Relaxed) {
            return Err(TopicError::Stopped);
        }
        let header = Header {
            kind: Kind::Control as u8,
            lines: const { lines_for(M::SIZE) as u8 },
            tag: CONTROL_PUBLISH,
            slot: listed.topic,
            origin: FROM_HOST,
            sender: NO_SENDER,
            ..Header::default()
        };
        let mut published = Published::default();
        // Told of when the lock is free again: a dead letter calls what the user wrote.
        let mut lost = Vec::new();
        encode(message, |parcel| {
            let subscribers = listed.subscribers();
            for group in subscribers.chunk_by(|a, b| a.actor.worker == b.actor.worker) {
                let worker = u32::from(group[0].actor.worker);
                let reason = match shared.push(&shared.seats[worker as usize], worker, &header, parcel) {
                    Ok(true) => {
                        published.sent += group.len() as u32;
                        continue;
                    }
                    Ok(false) => KernelError::RingFull { worker },
                    Err(_) => KernelError::Stopped,
                };
                lost.extend(group.iter().map(|who| (*who, reason)));
            }
        });
        published.lost = lost.len() as u32;
        listed.published.fetch_add(1, Ordering::Relaxed);
        listed.lost.fetch_add(lost.len() as u64, Ordering::Relaxed);
        for (Subscriber { actor, tag }, reason) in lost {
            let header = Header { kind: Kind::Tell as u8, tag, slot: actor.slot, generation: actor.generation, ..header };
            let mut bytes = vec![0; M::SIZE];
            message.encode(&mut bytes);
            shared.dead.keep(actor.worker.into(), &header, Some(bytes.into()), reason);
        }
        Ok(published)
    }
}

impl Runtime {
    /// The topic with this name, for messages of type `M`; it is opened if it is not there yet, and then stays until the runtime
    /// ends. Names follow the rules of [`register`](Self::register). Once this has returned, handlers on every worker can publish
    /// on it with [`RingContext::publish`](crate::RingContext::publish). See [`Topic`].
    ///
    /// # Errors
    /// See [`TopicError`].
    pub async fn topic<M: RingMessage>(&self, name: &str) -> Result<Topic<M>, TopicError> {
        let shared = self.shared();
        if shared.closing.load(Ordering::Acquire) {
            return Err(TopicError::Stopped);
        }
        let (listed, change) = shared.directory.open::<M>(name)?;
        Directory::settle(shared, change).await.map_err(|_| TopicError::Stopped)?;
        Ok(Topic { shared: Arc::clone(shared), listed, message: PhantomData })
    }

    /// What happened on each topic so far, sorted by name; asks each worker.
    ///
    /// # Errors
    /// [`TopicError::Stopped`] once the runtime is stopping.
    pub async fn topics(&self) -> Result<Vec<TopicStats>, TopicError> {
        let shared = self.shared();
        let mut all = Vec::new();
        for listed in shared.directory.topics() {
            let mut pending = Vec::with_capacity(shared.seats.len());
            for worker in 0..shared.seats.len() as u32 {
                let answer = control(shared, worker, CONTROL_COUNTS, &listed.topic, Duration::MAX).await;
                let nobody = ActorId { slot: u32::MAX, generation: 0, worker: worker as u16 };
                pending.push(Reply::<(), [u64; 2]>::new(answer.map_err(|_| TopicError::Stopped)?, nobody, ()));
            }
            let (mut published, mut lost) = (listed.published.load(Ordering::Relaxed), listed.lost.load(Ordering::Relaxed));
            for answer in pending {
                let [by_handlers, here] = answer.await.map_err(|_| TopicError::Stopped)?;
                published += by_handlers;
                lost += here;
            }
            let subscribers = listed.subscribers().len() as u32;
            let (name, message) = (listed.text.clone(), listed.message_name);
            all.push(TopicStats { name, message, subscribers, published, lost });
        }
        Ok(all)
    }
}
