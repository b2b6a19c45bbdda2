//! The directory of names and topics, of which the host has the truth and each worker a copy.
//!
//! A change is made here first, under the lock, and put at the end of a queue. Whoever waits for it tells all workers what is in the
//! queue, in its order, and a change leaves the queue when all have answered. A call that is given up in between leaves the change
//! where it is, and the next call tells it again: said twice it changes nothing more.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use warpring_core::directory::{Change, DirectorySize, Subscriber, message_type};
use warpring_core::worker::CONTROL_CHANGE;
use warpring_core::{ActorId, Name, RingMessage};

use crate::backend::Engine;
use crate::error::Refusal;
use crate::lock::lock;
use crate::registry::RegistryError;
use crate::reply::Reply;
use crate::runtime::control;
use crate::shared::Shared;
use crate::topic::TopicError;

/// An actor with a name.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    pub(crate) text: String,
    pub(crate) actor: ActorId,
    pub(crate) kind: u16,
    /// The kernel's id.
    pub(crate) kernel: &'static str,
}

/// A topic.
pub(crate) struct Listed {
    pub(crate) text: String,
    /// Its number.
    pub(crate) topic: u32,
    message: u64,
    /// The type of its messages, as the compiler calls it.
    pub(crate) message_name: &'static str,
    /// In the order of [`Subscriber::rank`].
    pub(crate) subscribers: Mutex<Vec<Subscriber>>,
    /// Messages that the host published.
    pub(crate) published: AtomicU64,
    /// Messages that the host could not send to a subscriber.
    pub(crate) lost: AtomicU64,
}

#[derive(Default)]
struct State {
    /// In an order that is always the same, and so are the changes where an actor with many of them ends.
    names: BTreeMap<Name, Registered>,
    topics: BTreeMap<Name, Arc<Listed>>,
    /// How many names and subscriptions an actor has, if any.
    mentions: HashMap<ActorId, u32>,
    /// Changes that not all workers have answered yet.
    queue: VecDeque<Change>,
    /// How many changes were ever put into the queue, and how many have left it.
    queued: u64,
    settled: u64,
}

/// The host's side of all directories.
#[derive(Default)]
pub(crate) struct Directory {
    size: DirectorySize,
    state: Mutex<State>,
    /// Somebody tells the workers what is in the queue.
    telling: AtomicBool,
    /// Who waits for the end of that.
    waiting: Mutex<Vec<Waker>>,
}

impl State {
    fn put(&mut self, change: Change) -> u64 {
        self.queue.push_back(change);
        self.queued += 1;
        self.queued
    }

    fn mention(&mut self, actor: ActorId) {
        *self.mentions.entry(actor).or_default() += 1;
    }

    fn forget_one(&mut self, actor: ActorId) {
        if let Some(count) = self.mentions.get_mut(&actor) {
            *count -= 1;
            if *count == 0 {
                self.mentions.remove(&actor);
            }
        }
    }
}

impl Directory {
    pub(crate) fn new(size: DirectorySize) -> Self {
        Self { size, ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Gives an actor a name. The number is the change to wait for, as with all that follows.
    pub(crate) fn register(&self, registered: Registered) -> Result<u64, RegistryError> {
        let text = &registered.text;
        Name::check(text).map_err(|why| RegistryError::Invalid { name: text.clone(), why })?;
        self.register_as(Name::new(text), registered)
    }

    fn register_as(&self, name: Name, registered: Registered) -> Result<u64, RegistryError> {
        let mut state = self.state();
        if let Some(other) = state.names.get(&name) {
            let name = registered.text;
            return Err(if other.text == name {
                RegistryError::Taken { name, by: other.actor }
            } else {
                RegistryError::SameNumber { name, other: other.text.clone() }
            });
        }
        if state.names.len() >= self.size.names as usize {
            return Err(RegistryError::Full { limit: self.size.names });
        }
        let change = Change::Register { name, actor: registered.actor, kind: registered.kind };
        state.mention(registered.actor);
        state.names.insert(name, registered);
        Ok(state.put(change))
    }

    /// Takes a name away; `None` if nobody has it.
    pub(crate) fn unregister(&self, text: &str) -> Option<u64> {
        let (name, mut state) = (Name::new(text), self.state());
        state.names.get(&name).filter(|registered| registered.text == text)?;
        let gone = state.names.remove(&name)?;
        state.forget_one(gone.actor);
        Some(state.put(Change::Unregister { name }))
    }

    /// Who has a name.
    pub(crate) fn lookup(&self, text: &str) -> Option<Registered> {
        self.state().names.get(&Name::new(text)).filter(|registered| registered.text == text).cloned()
    }

    /// All names, sorted.
    pub(crate) fn names(&self) -> Vec<Registered> {
        let mut names: Vec<_> = self.state().names.values().cloned().collect();
        names.sort_by(|a, b| a.text.cmp(&b.text));
        names
    }

    /// The topic with this name, which is opened if it is not there.
    pub(crate) fn open<M: RingMessage>(&self, text: &str) -> Result<(Arc<Listed>, u64), TopicError> {
        let owned = || text.to_owned();
        Name::check(text).map_err(|why| TopicError::Invalid { topic: owned(), why })?;
        let name = Name::new(text);
        let mut state = self.state();
        if let Some(topic) = state.topics.get(&name) {
            if topic.text != text {
                return Err(TopicError::SameNumber { topic: owned(), other: topic.text.clone() });
            }
            if topic.message != message_type::<M>() {
                let (takes, given) = (topic.message_name, std::any::type_name::<M>());
                return Err(TopicError::OtherMessage { topic: owned(), takes, given });
            }
            // It may have been opened by a call that still waits.
            return Ok((Arc::clone(topic), state.queued));
        }
        let topic = state.topics.len() as u32;
        if topic >= self.size.topics {
            return Err(TopicError::TooManyTopics { limit: self.size.topics });
        }
        let listed = Arc::new(Listed {
            text: owned(),
            topic,
            message: message_type::<M>(),
            message_name: std::any::type_name::<M>(),
            subscribers: Mutex::default(),
            published: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        state.topics.insert(name, Arc::clone(&listed));
        let change = state.put(Change::Open { name, topic, message: listed.message });
        Ok((listed, change))
    }

    /// All topics, sorted by name.
    pub(crate) fn topics(&self) -> Vec<Arc<Listed>> {
        let mut topics: Vec<_> = self.state().topics.values().cloned().collect();
        topics.sort_by(|a, b| a.text.cmp(&b.text));
        topics
    }

    /// Makes an actor a subscriber.
    pub(crate) fn subscribe(&self, topic: &Listed, who: Subscriber) -> Result<u64, TopicError> {
        let mut state = self.state();
        let mut subscribers = topic.subscribers();
        let Err(at) = subscribers.binary_search_by_key(&who.rank(), Subscriber::rank) else {
            return Err(TopicError::AlreadySubscribed { topic: topic.text.clone(), actor: who.actor });
        };
        let limit = self.size.subscribers;
        if subscribers.len() >= limit as usize {
            return Err(TopicError::TooManySubscribers { topic: topic.text.clone(), limit });
        }
        subscribers.insert(at, who);
        state.mention(who.actor);
        Ok(state.put(Change::Subscribe { topic: topic.topic, who }))
    }

    /// Makes an actor no subscriber any more.
    pub(crate) fn unsubscribe(&self, topic: &Listed, actor: ActorId) -> Result<u64, TopicError> {
        let mut state = self.state();
        let mut subscribers = topic.subscribers();
        let Some(at) = subscribers.iter().position(|who| who.actor == actor) else {
            return Err(TopicError::NotSubscribed { topic: topic.text.clone(), actor });
        };
        subscribers.remove(at);
        state.forget_one(actor);
        Ok(state.put(Change::Unsubscribe { topic: topic.topic, actor }))
    }

    /// Takes away the names of an actor that has ended for good, and its subscriptions; the keeper tells the workers. It does not wait,
    /// so that any thread may call it.
    pub(crate) fn forget_actor(&self, shared: &Arc<Shared>, actor: ActorId) {
        let mut state = self.state();
        if state.mentions.remove(&actor).is_none() {
            return;
        }
        let mut changes = Vec::new();
        state.names.retain(|name, registered| {
            let goes = registered.actor == actor;
            changes.extend(goes.then_some(Change::Unregister { name: *name }));
            !goes
        });
        for topic in state.topics.values() {
            let mut subscribers = topic.subscribers();
            if let Some(at) = subscribers.iter().position(|who| who.actor == actor) {
                subscribers.remove(at);
                changes.push(Change::Unsubscribe { topic: topic.topic, actor });
            }
        }
        let Some(last) = changes.into_iter().map(|change| state.put(change)).last() else { return };
        drop(state);
        let told = Arc::clone(shared);
        // A runtime that stops has no use for it.
        shared.keeper.spawn(shared, async move { _ = Self::settle(&told, last).await });
    }

    /// Waits until all workers know all changes up to this one.
    pub(crate) async fn settle(shared: &Arc<Shared>, change: u64) -> Result<(), Refusal> {
        let directory = &shared.directory;
        while directory.state().settled < change {
            let _telling = Telling::take(shared).await;
            while let Some(next) = directory.next() {
                tell_all(shared, next).await?;
                let mut state = directory.state();
                state.queue.pop_front();
                state.settled += 1;
            }
        }
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        lock(&self.waiting)
    }

    fn next(&self) -> Option<Change> {
        self.state().queue.front().copied()
    }
}

impl Listed {
    pub(crate) fn subscribers(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        lock(&self.subscribers)
    }
}

/// Tells all workers a change and waits for their answers.
async fn tell_all(shared: &Arc<Shared>, change: Change) -> Result<(), Refusal> {
    let mut pending = Vec::with_capacity(shared.seats.len());
    for worker in 0..shared.seats.len() as u32 {
        let nobody = ActorId { slot: u32::MAX, generation: 0, worker: worker as u16 };
        // It waits for as long as the worker is in a handler, like all that speaks to workers.
        let answer = control(shared, worker, CONTROL_CHANGE, &change, Duration::MAX).await?;
        pending.push(Reply::<(), ()>::new(answer, nobody, ()));
    }
    for answer in pending {
        answer.await.map_err(|_| Refusal::RuntimeStopped)?;
    }
    Ok(())
}

/// The right to tell the workers what is in the queue, which one call has at a time.
struct Telling<'a>(&'a Directory);

impl<'a> Telling<'a> {
    async fn take(shared: &'a Arc<Shared>) -> Self {
        let directory = &shared.directory;
        let taken = || !directory.telling.swap(true, Ordering::Acquire);
        std::future::poll_fn(|cx| {
            if taken() {
                return Poll::Ready(());
            }
            {
                let mut waiting = directory.waiting();
                // Once for each who waits, however often it is polled.
                if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
            }
            // It may have been given back before the waker was there.
            if taken() {
                return Poll::Ready(());
            }
            if !shared.engine.get().is_some_and(Engine::wakes) {
                shared.pump();
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        Self(directory)
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.telling.store(false, Ordering::Release);
        std::mem::take(&mut *self.0.waiting()).into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
