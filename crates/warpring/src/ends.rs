//! The ends of actors: who wants to hear of them, and how the host ends one.
//!
//! A worker tells the host with a [`Notice`]; [`Shared::hear`] frees the slot of one that will not come back, and tells who waits:
//! monitors of the host, actors that monitor (by a message), actors that are linked (by a kill), and the supervisor.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use warpring_core::message::{Header, encode, lines_for};
use warpring_core::module::Exported;
use warpring_core::worker::{CONTROL_END, CONTROL_WATCH, End, Notice};
use warpring_core::{ActorId, Down, ExitReason, How, KernelError, RingMessage};

use crate::actor_ref::ActorRef;
use crate::backend::Engine;
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

/// Who is told when an actor ends. Actors in their order, so that a run in the simulator repeats itself; and each once, however often it
/// said so.
#[derive(Default)]
struct Watchers {
    hosts: Vec<Arc<Wait>>,
    /// By a message for this handler.
    actors: BTreeSet<(ActorId, u16)>,
    linked: BTreeSet<ActorId>,
}

impl Watchers {
    fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.actors.is_empty() && self.linked.is_empty()
    }

    /// The actor monitors no more.
    fn forget(&mut self, watcher: ActorId) {
        let handlers: Vec<_> = self.actors.range((watcher, 0)..=(watcher, u16::MAX)).copied().collect();
        for handler in handlers {
            self.actors.remove(&handler);
        }
    }
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
    watchers: HashMap<ActorId, Watchers>,
    /// Whom an actor monitors: with its own end it watches nobody any more.
    watching: HashMap<ActorId, BTreeSet<ActorId>>,
    supervised: HashMap<ActorId, Arc<Nest>>,
    recent: Recent<ExitReason>,
    /// All supervisors.
    nests: Vec<Weak<Nest>>,
    over: bool,
}

impl State {
    /// Takes out who wants to hear of an actor's end.
    fn watchers_of(&mut self, actor: ActorId) -> Watchers {
        let watchers = self.watchers.remove(&actor).unwrap_or_default();
        for (watcher, _) in &watchers.actors {
            if let Some(watched) = self.watching.get_mut(watcher) {
                watched.remove(&actor);
                if watched.is_empty() {
                    self.watching.remove(watcher);
                }
            }
        }
        watchers
    }

    /// An actor has ended: what it monitored, its next life or its slot's next tenant does not.
    fn watches_no_more(&mut self, actor: ActorId) {
        for watched in self.watching.remove(&actor).unwrap_or_default() {
            self.change(watched, |watchers| watchers.forget(actor));
        }
    }

    /// Fewer want to hear of an actor's end.
    fn change(&mut self, actor: ActorId, less: impl FnOnce(&mut Watchers)) {
        if let Some(watchers) = self.watchers.get_mut(&actor) {
            less(watchers);
            if watchers.is_empty() {
                self.watchers.remove(&actor);
            }
        }
    }
}

impl Ends {
    pub(crate) fn supervise(&self, actor: ActorId, nest: &Arc<Nest>) {
        lock(&self.state).supervised.insert(actor, Arc::clone(nest));
    }

    /// An actor that was not launched after all has no supervisor.
    pub(crate) fn let_go(&self, actor: ActorId) {
        lock(&self.state).supervised.remove(&actor);
    }

    /// Actors that have a supervisor.
    #[cfg(test)]
    pub(crate) fn supervised(&self) -> usize {
        lock(&self.state).supervised.len()
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
        state.watching.clear();
        for wait in std::mem::take(&mut state.watchers).into_values().flat_map(|watchers| watchers.hosts) {
            wait.set(ExitReason::Shutdown);
        }
    }

    /// A monitor of the host. Of a runtime that is down it hears at once.
    fn add(&self, actor: ActorId, wait: &Arc<Wait>) {
        let mut state = lock(&self.state);
        if state.over {
            return wait.set(ExitReason::Shutdown);
        }
        state.watchers.entry(actor).or_default().hosts.push(Arc::clone(wait));
    }

    /// A monitor of the host that nobody has any more.
    fn forget(&self, actor: ActorId, wait: &Arc<Wait>) {
        lock(&self.state).change(actor, |watchers| watchers.hosts.retain(|other| !Arc::ptr_eq(other, wait)));
    }

    /// An actor monitors another. False: it did before, or the runtime is down.
    fn monitor(&self, watcher: ActorId, tag: u16, watched: ActorId) -> bool {
        let state = &mut *lock(&self.state);
        let new = !state.over && state.watchers.entry(watched).or_default().actors.insert((watcher, tag));
        if new {
            state.watching.entry(watcher).or_default().insert(watched);
        }
        new
    }

    /// Two actors end together. False: they did before, or the runtime is down.
    fn link(&self, a: ActorId, b: ActorId) -> bool {
        let state = &mut *lock(&self.state);
        let new = !state.over && state.watchers.entry(a).or_default().linked.insert(b);
        if new {
            state.watchers.entry(b).or_default().linked.insert(a);
        }
        new
    }
}

impl Shared {
    /// A worker tells something. On its own thread, or on the one that takes a grid's letters: nothing here waits.
    pub(crate) fn hear(&self, notice: &Notice) {
        if let Notice::Cycle { report, length, actors } = notice {
            return self.cycles.add(*report, *length, actors);
        }
        let Some(shared) = self.arc() else { return };
        match *notice {
            Notice::Ended { actor, reason, held } => {
                if !held {
                    shared.vacate(actor);
                }
                shared.ended(actor, reason, held);
            }
            Notice::Monitor { watcher, watched, tag } => shared.monitor(watcher, tag, watched),
            Notice::Link { actor, other } => shared.link(actor, other),
            _ => {}
        }
    }

    fn monitor(self: &Arc<Self>, watcher: ActorId, tag: u16, watched: ActorId) {
        if self.ends.monitor(watcher, tag, watched) {
            self.watch([watched, watcher]);
        }
    }

    fn link(self: &Arc<Self>, a: ActorId, b: ActorId) {
        if self.ends.link(a, b) {
            self.watch([a, b]);
        }
    }

    fn watch(self: &Arc<Self>, actors: [ActorId; 2]) {
        actors.into_iter().for_each(|actor| self.keeper.spawn(self, watch(Arc::clone(self), actor)));
    }

    /// An actor that the host launched is gone for good.
    pub(crate) fn vacate(&self, actor: ActorId) {
        let place = lock(&self.slots).give_back(actor);
        place.into_iter().for_each(|place| self.free(place));
    }

    /// Nobody uses the memory of these values any more.
    pub(crate) fn free(&self, place: Place) {
        match place {
            #[cfg(feature = "cuda")]
            Place::Device { at, bytes } => {
                if let Some(Engine::Cuda(cuda)) = self.engine.get() {
                    cuda.give_back(at, bytes);
                }
            }
            Place::Heap(block) => drop(block),
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
        watchers.hosts.iter().for_each(|wait| wait.set(reason));
        for (to, tag) in watchers.actors {
            let mut word = Word::new(self, to, tag, Down { actor, reason });
            if !word.tell() {
                self.keeper.spawn(self, word.tell_when_there_is_room());
            }
        }
        for other in watchers.linked {
            // The other half of the link.
            lock(&self.ends.state).change(other, |watchers| _ = watchers.linked.remove(&actor));
            if reason.is_abnormal() {
                let shared = Arc::clone(self);
                // One that has ended has ended.
                self.keeper.spawn(self, async move { _ = end(&shared, other, How::Kill, false).await });
            }
        }
        if let Some(nest) = nest {
            nest.child_ended(actor, reason, held);
        }
    }
}

/// Makes sure that the worker tells of an actor's end; if it has ended, says so.
async fn watch(shared: Arc<Shared>, actor: ActorId) {
    if let Err(EndError::Ended(_, reason)) = ask(&shared, actor, CONTROL_WATCH, How::Drain, false).await {
        shared.ended(actor, reason.unwrap_or(ExitReason::Gone), false);
    }
}

/// What an actor is told of the end of one that it monitors. Also while the runtime drains, since it comes of what was accepted: so it
/// goes out at once, before the worker of the one that has ended says that nothing is left to do. What is not told is a dead letter.
struct Word {
    shared: Arc<Shared>,
    to: ActorId,
    header: Header,
    down: Down,
    told: bool,
}

impl Word {
    fn new(shared: &Arc<Shared>, to: ActorId, tag: u16, down: Down) -> Self {
        let header = shared.header(to, tag, const { lines_for(Down::SIZE) as u8 }, SendOptions::default(), None);
        Self { shared: Arc::clone(shared), to, header, down, told: false }
    }

    /// False: the ring is full.
    fn tell(&mut self) -> bool {
        let worker = self.to.worker.into();
        let seat = &self.shared.seats[usize::from(self.to.worker)];
        let pushed = encode(&self.down, |parcel| self.shared.push(seat, worker, &self.header, parcel));
        self.told |= pushed == Ok(true);
        pushed.unwrap_or(true)
    }

    async fn tell_when_there_is_room(mut self) {
        while !self.tell() && !self.shared.seats[usize::from(self.to.worker)].lost.load(Ordering::Acquire) {
            yield_once().await;
        }
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        if !self.told {
            let mut bytes = vec![0; Down::SIZE];
            self.down.encode(&mut bytes);
            self.shared.dead.keep(self.to.worker.into(), &self.header, Some(bytes.into()), KernelError::Stopped);
        }
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
        shared.ends.add(actor, &wait);
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
