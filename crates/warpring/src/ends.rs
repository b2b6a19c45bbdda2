//! The ends of actors: who wants to hear of them, and how the host ends one.
//!
//! A worker tells the host with a [`Notice`]; [`Shared::hear`] frees the slot of one that will not come back, and tells who waits:
//! monitors of the host, actors that monitor (by a message), actors that are linked (by a kill), and the supervisor.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use warpring_core::message::{encode, lines_for};
use warpring_core::module::Exported;
use warpring_core::worker::{CONTROL_END, CONTROL_WATCH, End, Notice};
use warpring_core::{ActorId, Down, ExitReason, How, KernelError, RingMessage};

use crate::actor_ref::ActorRef;
use crate::backend::Engine;
use crate::error::Refusal;
use crate::lock::lock;
use crate::recent::Recent;
use crate::runtime::{Runtime, answered, control, yield_once};
use crate::shared::{SendOptions, Shared};
use crate::slots::Place;
use crate::supervise::Nest;

/// Why an actor could not be ended or watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndError {
    /// It had ended before, for this reason if it is still known: of the last 1,024 ends, and of actors that the host launched or
    /// somebody watched.
    Ended(ActorId, Option<ExitReason>),
    /// It is of another runtime.
    OtherRuntime(ActorId),
    /// The runtime is stopping or has stopped.
    Stopped,
}

impl fmt::Display for EndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(actor, Some(reason)) => write!(f, "actor {actor} had ended before: {reason}"),
            Self::Ended(actor, None) => write!(f, "there is no actor {actor}, or not any more"),
            Self::OtherRuntime(actor) => write!(f, "actor {actor} is of another runtime"),
            Self::Stopped => f.write_str("the runtime is stopping or has stopped"),
        }
    }
}
impl std::error::Error for EndError {}

/// Who is told when an actor ends.
enum Watcher {
    Host(Arc<Wait>),
    /// An actor, by a message for this handler.
    Actor(ActorId, u16),
    Linked(ActorId),
}

#[derive(Default)]
struct Wait {
    reason: Mutex<Option<ExitReason>>,
    waker: AtomicWaker,
}

impl Wait {
    fn set(&self, reason: ExitReason) {
        lock(&self.reason).get_or_insert(reason);
        self.waker.wake();
    }
}

#[derive(Default)]
pub(crate) struct Ends {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    watchers: HashMap<ActorId, Vec<Watcher>>,
    /// Whom an actor monitors: with its own end it watches nobody any more.
    watching: HashMap<ActorId, Vec<ActorId>>,
    supervised: HashMap<ActorId, Arc<Nest>>,
    recent: Recent<ExitReason>,
    /// All supervisors.
    nests: Vec<Weak<Nest>>,
    over: bool,
}

impl State {
    /// Takes out who wants to hear of an actor's end.
    fn watchers_of(&mut self, actor: ActorId) -> Vec<Watcher> {
        let watchers = self.watchers.remove(&actor).unwrap_or_default();
        for watcher in &watchers {
            if let Watcher::Actor(to, _) = watcher
                && let Some(others) = self.watching.get_mut(to)
            {
                others.retain(|other| *other != actor);
                if others.is_empty() {
                    self.watching.remove(to);
                }
            }
        }
        watchers
    }

    /// An actor has ended: what it monitored, its next life or its slot's next tenant does not.
    fn watches_no_more(&mut self, actor: ActorId) {
        for watched in self.watching.remove(&actor).unwrap_or_default() {
            if let Some(watchers) = self.watchers.get_mut(&watched) {
                watchers.retain(|watcher| !matches!(watcher, Watcher::Actor(to, _) if *to == actor));
                if watchers.is_empty() {
                    self.watchers.remove(&watched);
                }
            }
        }
    }
}

impl Ends {
    pub(crate) fn supervise(&self, actor: ActorId, nest: &Arc<Nest>) {
        lock(&self.state).supervised.insert(actor, Arc::clone(nest));
    }

    pub(crate) fn add_nest(&self, nest: &Arc<Nest>) {
        let nests = &mut lock(&self.state).nests;
        nests.retain(|nest| nest.strong_count() > 0);
        nests.push(Arc::downgrade(nest));
    }

    /// Why it ended, if that is still known.
    fn reason(&self, actor: ActorId) -> Option<ExitReason> {
        lock(&self.state).recent.get(&actor).copied()
    }

    /// The runtime is down: nobody is told anything any more.
    pub(crate) fn stop(&self) {
        let mut state = lock(&self.state);
        state.over = true;
        state.supervised.clear();
        state.nests.iter().filter_map(Weak::upgrade).for_each(|nest| nest.wake_all());
        for watcher in std::mem::take(&mut state.watchers).into_values().flatten() {
            if let Watcher::Host(wait) = watcher {
                wait.set(ExitReason::Shutdown);
            }
        }
    }

    fn add(&self, actor: ActorId, watcher: Watcher) {
        let mut state = lock(&self.state);
        if state.over {
            if let Watcher::Host(wait) = watcher {
                wait.set(ExitReason::Shutdown);
            }
            return;
        }
        state.watchers.entry(actor).or_default().push(watcher);
    }

    /// A monitor of the host that nobody has any more.
    fn forget(&self, actor: ActorId, wait: &Arc<Wait>) {
        let mut state = lock(&self.state);
        if let Some(watchers) = state.watchers.get_mut(&actor) {
            watchers.retain(|watcher| !matches!(watcher, Watcher::Host(other) if Arc::ptr_eq(other, wait)));
            if watchers.is_empty() {
                state.watchers.remove(&actor);
            }
        }
    }
}

impl Shared {
    /// A worker tells something. On its own thread, or on the one that takes a grid's letters: nothing here waits.
    pub(crate) fn hear(&self, notice: &Notice) {
        let Some(shared) = self.arc() else { return };
        match *notice {
            Notice::Ended { actor, reason, held } => {
                if !held {
                    shared.vacate(actor);
                }
                shared.ended(actor, reason, held);
            }
            Notice::Monitor { watcher, watched, tag } => {
                shared.ends.add(watched, Watcher::Actor(watcher, tag));
                lock(&shared.ends.state).watching.entry(watcher).or_default().push(watched);
                for one in [watched, watcher] {
                    shared.keeper.spawn(&shared, watch(Arc::clone(&shared), one));
                }
            }
            Notice::Link { actor, other } => shared.link(actor, other),
            _ => {}
        }
    }

    fn link(self: &Arc<Self>, actor: ActorId, other: ActorId) {
        self.ends.add(other, Watcher::Linked(actor));
        self.ends.add(actor, Watcher::Linked(other));
        for one in [actor, other] {
            self.keeper.spawn(self, watch(Arc::clone(self), one));
        }
    }

    /// An actor that the host launched is gone for good.
    pub(crate) fn vacate(&self, actor: ActorId) {
        let place = lock(&self.slots).give_back(actor);
        match place {
            #[cfg(feature = "cuda")]
            Some(Place::Device { at, bytes }) => {
                if let Some(Engine::Cuda(cuda)) = self.engine.get() {
                    cuda.give_back(at, bytes);
                }
            }
            Some(Place::Heap(_)) | None => {}
        }
    }

    /// Tells who wants to know that an actor has ended.
    fn ended(self: &Arc<Self>, actor: ActorId, reason: ExitReason, held: bool) {
        let (watchers, nest) = {
            let mut state = lock(&self.ends.state);
            if state.over {
                return;
            }
            state.recent.insert(actor, reason);
            state.watches_no_more(actor);
            let nest = if held { state.supervised.get(&actor).cloned() } else { state.supervised.remove(&actor) };
            (state.watchers_of(actor), nest)
        };
        if !held {
            self.directory.forget_actor(self, actor);
        }
        for watcher in watchers {
            match watcher {
                Watcher::Host(wait) => wait.set(reason),
                Watcher::Actor(to, tag) => self.keeper.spawn(self, tell_down(Arc::clone(self), to, tag, Down { actor, reason })),
                Watcher::Linked(other) => {
                    self.unlink(other, actor);
                    if reason.is_abnormal() {
                        let shared = Arc::clone(self);
                        // One that has ended has ended.
                        self.keeper.spawn(self, async move { _ = end(&shared, other, How::Kill, false).await });
                    }
                }
            }
        }
        if let Some(nest) = nest {
            nest.child_ended(actor, reason, held);
        }
    }

    /// The other half of a link.
    fn unlink(&self, of: ActorId, to: ActorId) {
        let mut state = lock(&self.ends.state);
        if let Some(watchers) = state.watchers.get_mut(&of) {
            let at = watchers.iter().position(|watcher| matches!(watcher, Watcher::Linked(other) if *other == to));
            if let Some(at) = at {
                watchers.swap_remove(at);
            }
            if watchers.is_empty() {
                state.watchers.remove(&of);
            }
        }
    }
}

/// Makes sure that the worker tells of an actor's end; if it has ended, says so.
async fn watch(shared: Arc<Shared>, actor: ActorId) {
    if let Err(EndError::Ended(_, reason)) = ask(&shared, actor, CONTROL_WATCH, How::Drain, false).await {
        shared.ended(actor, reason.unwrap_or(ExitReason::Gone), false);
    }
}

/// Tells an actor that one that it monitors has ended; waits for room.
async fn tell_down(shared: Arc<Shared>, to: ActorId, tag: u16, down: Down) {
    let header = shared.header(to, tag, const { lines_for(Down::SIZE) as u8 }, SendOptions::default(), None);
    while let Err(Refusal::RingFull { worker }) = encode(&down, |parcel| shared.post(to, &header, parcel)) {
        if shared.seats[worker as usize].lost.load(Ordering::Acquire) {
            return;
        }
        yield_once().await;
    }
}

/// From here on the host hears of the actor's end; an error if it has ended before.
pub(crate) async fn hear_of(shared: &Arc<Shared>, actor: ActorId) -> Result<(), EndError> {
    ask(shared, actor, CONTROL_WATCH, How::Drain, false).await
}

/// Asks the actor's worker to begin its end, or to watch it; the answer says that it was alive.
pub(crate) async fn ask(shared: &Arc<Shared>, actor: ActorId, tag: u16, how: How, for_good: bool) -> Result<(), EndError> {
    if usize::from(actor.worker) >= shared.seats.len() {
        return Err(EndError::Ended(actor, None));
    }
    let what = End { slot: actor.slot, generation: actor.generation, how, for_good };
    let Ok(question) = control(shared, actor.worker.into(), tag, &what, Duration::MAX).await else {
        return Err(EndError::Stopped);
    };
    let Ok(answer) = answered(question).await else { return Err(EndError::Stopped) };
    answer.map_err(|error| match error {
        KernelError::Stopped if shared.closing.load(Ordering::Acquire) => EndError::Stopped,
        _ => {
            // A grid's worker has posted the end before it refused this.
            shared.take_letters();
            EndError::Ended(actor, shared.ends.reason(actor))
        }
    })
}

/// Begins the end of an actor.
pub(crate) async fn end(shared: &Arc<Shared>, actor: ActorId, how: How, for_good: bool) -> Result<(), EndError> {
    ask(shared, actor, CONTROL_END, how, for_good).await
}

/// A monitor of the host: await it for the reason of the actor's end. Dropped, it watches no more.
#[must_use = "await it to hear of the end"]
pub struct Monitor {
    shared: Arc<Shared>,
    actor: ActorId,
    wait: Arc<Wait>,
}

impl Monitor {
    fn new(shared: &Arc<Shared>, actor: ActorId) -> Self {
        let wait = Arc::new(Wait::default());
        shared.ends.add(actor, Watcher::Host(Arc::clone(&wait)));
        Self { shared: Arc::clone(shared), actor, wait }
    }

    /// The actor.
    pub fn actor(&self) -> ActorId {
        self.actor
    }

    /// Why it has ended, if it has.
    pub fn reason(&self) -> Option<ExitReason> {
        self.shared.take_letters();
        *lock(&self.wait.reason)
    }

    /// Blocks until it has ended.
    pub fn wait(self) -> ExitReason {
        pollster::block_on(self)
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Monitor({})", self.actor)
    }
}

impl Future for Monitor {
    type Output = ExitReason;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ExitReason> {
        self.wait.waker.register(cx.waker());
        if let Some(reason) = *lock(&self.wait.reason) {
            return Poll::Ready(reason);
        }
        if !self.shared.engine.get().is_some_and(Engine::wakes) {
            self.shared.pump_until(u64::MAX, &|| lock(&self.wait.reason).is_some());
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.shared.ends.forget(self.actor, &self.wait);
    }
}

impl<K: Exported> ActorRef<K> {
    /// Ends the actor and waits for it: what waits in its mailbox comes back to its senders or becomes a dead letter, a suspended handler
    /// goes on to its end, `shutdown` runs. What is sent from now on is refused. A supervised actor may be started again.
    ///
    /// # Errors
    /// [`EndError`].
    pub async fn stop(&self) -> Result<ExitReason, EndError> {
        self.end(How::Stop).await
    }

    /// As [`stop`](Self::stop), but what this thread has sent before, and all else that waits, is handled first.
    ///
    /// # Errors
    /// [`EndError`].
    pub async fn drain(&self) -> Result<ExitReason, EndError> {
        self.end(How::Drain).await
    }

    /// As [`stop`](Self::stop), but a suspended handler is dropped (who asked it gets [`AskError::Interrupted`](crate::AskError)), and
    /// `shutdown` does not run. A handler that runs without awaiting anything is not interrupted: it goes on to its end or its next await.
    ///
    /// # Errors
    /// [`EndError`].
    pub async fn kill(&self) -> Result<ExitReason, EndError> {
        self.end(How::Kill).await
    }

    async fn end(&self, how: How) -> Result<ExitReason, EndError> {
        let shared = self.shared_arc();
        // Before the question, so that no end slips through between.
        let monitor = Monitor::new(shared, self.id());
        end(shared, self.id(), how, false).await?;
        Ok(monitor.await)
    }

    /// Watches the actor from now on: await the [`Monitor`] for the reason of its end. Of a supervised actor every end counts, also if it
    /// is started again.
    ///
    /// # Errors
    /// [`EndError`], if it has ended before.
    pub async fn monitor(&self) -> Result<Monitor, EndError> {
        let shared = self.shared_arc();
        let monitor = Monitor::new(shared, self.id());
        ask(shared, self.id(), CONTROL_WATCH, How::Drain, false).await?;
        Ok(monitor)
    }
}

impl Runtime {
    /// From here on the two actors end together: when the one crashes or is killed, the other is killed. An actor that stops, or is told
    /// to, takes nobody with it.
    ///
    /// # Errors
    /// [`EndError::OtherRuntime`], [`EndError::Stopped`]. A link to an actor that has ended kills the other.
    pub fn link<A: Exported, B: Exported>(&self, a: &ActorRef<A>, b: &ActorRef<B>) -> Result<(), EndError> {
        for (shared, id) in [(a.shared(), a.id()), (b.shared(), b.id())] {
            if !std::ptr::eq(shared, Arc::as_ptr(self.shared())) {
                return Err(EndError::OtherRuntime(id));
            }
        }
        if self.shared().closing.load(Ordering::Acquire) {
            return Err(EndError::Stopped);
        }
        self.shared().link(a.id(), b.id());
        Ok(())
    }
}
