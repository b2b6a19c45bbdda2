//! Supervision: what becomes of actors that end. The words are OTP's.
//!
//! A supervised actor that ends is *held*: its address stays valid, its messages wait, and its supervisor is told. The supervisor starts
//! it again, with the state it launched with or the state it has, or lets it go; then what waits comes back to its senders.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use warpring_core::module::Exported;
use warpring_core::worker::CONTROL_RESTART;
use warpring_core::{ActorId, ExitReason, How};

use crate::actor_ref::{ActorRef, Group};
use crate::backend::Engine;
use crate::ends::{EndError, ask, end};
use crate::error::LaunchError;
use crate::keeper::Keeper;
use crate::launch::{self, LaunchOptions};
use crate::lock::lock;
use crate::runtime::Runtime;
use crate::shared::Shared;
use crate::snapshot::Source;
use crate::state::{MOST, Transfer, copy_bytes};

/// Which children a supervisor starts again when one has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// That one.
    #[default]
    OneForOne,
    /// All: the others are stopped first, in the opposite order of their start.
    OneForAll,
    /// That one, and those that were started after it.
    RestForOne,
}

/// When a child is started again; see the table in [`Supervisor`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// After a crash or a kill.
    Transient,
    /// Never. OTP calls it `temporary`.
    Never,
}

impl Restart {
    /// Whether a child that ended for this reason is started again.
    pub const fn wants(self, reason: ExitReason) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => reason.is_abnormal(),
            Self::Never => false,
        }
    }
}

/// The state that a child starts again with; then its `initialize` runs, as at its launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartFrom {
    /// What it was launched with. The host keeps a copy.
    #[default]
    Initial,
    /// What it has: also after a panic in the middle of an `update`.
    Kept,
    /// What a snapshot has, as it is at the restart; while there is no such file, what it was launched with. With a file that cannot be
    /// used the supervisor gives up.
    Snapshot {
        /// The file.
        path: PathBuf,
        /// The entry: of one actor, or of the group for a group.
        entry: String,
    },
}

/// How a child is started and started again.
#[derive(Clone, Debug, Default)]
pub struct ChildSpec {
    restart: Restart,
    from: RestartFrom,
    launch: LaunchOptions,
}

impl ChildSpec {
    /// Started again whenever it ends.
    pub fn permanent() -> Self {
        Self::default()
    }
    /// Started again after a crash or a kill.
    pub fn transient() -> Self {
        Self { restart: Restart::Transient, ..Self::default() }
    }
    /// Never started again.
    pub fn never() -> Self {
        Self { restart: Restart::Never, ..Self::default() }
    }
    /// With this state. Default: [`RestartFrom::Initial`].
    pub fn from(mut self, from: RestartFrom) -> Self {
        self.from = from;
        self
    }
    /// The snapshot that it starts again with, if that is said.
    fn source(&self) -> Option<Arc<Source>> {
        match &self.from {
            RestartFrom::Snapshot { path, entry } => Some(Arc::new(Source::new(path.clone(), entry.clone()))),
            RestartFrom::Initial | RestartFrom::Kept => None,
        }
    }
    /// Where and how it is launched.
    pub fn launch(mut self, options: LaunchOptions) -> Self {
        self.launch = options;
        self
    }
}

/// What a supervisor does, and when it gives up.
#[derive(Clone, Debug)]
pub struct Supervision {
    strategy: Strategy,
    restarts: u32,
    within: Duration,
    backoff: (Duration, Duration),
    stop_limit: Duration,
}

impl Supervision {
    /// With this strategy: at most 3 restarts within 5 s, without a pause before them, and 5 s for a child to stop.
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            restarts: 3,
            within: Duration::from_secs(5),
            backoff: (Duration::ZERO, Duration::ZERO),
            stop_limit: Duration::from_secs(5),
        }
    }

    /// With more than so many restarts within this time, on the workers' clock, it stops all its children and gives up: its own
    /// supervisor has to decide, or the host, see [`Supervisor::failed`]. OTP calls it intensity and period.
    pub fn limit(mut self, restarts: u32, within: Duration) -> Self {
        (self.restarts, self.within) = (restarts, within);
        self
    }

    /// Pauses before a restart: `least` at first, twice as long with each restart within the time of [`limit`](Self::limit), at most
    /// `most`. Messages wait meanwhile.
    pub fn backoff(mut self, least: Duration, most: Duration) -> Self {
        self.backoff = (least, most.max(least));
        self
    }

    /// How long a child that is told to stop may take for its suspended handler and its `shutdown`; then it is killed.
    pub fn stop_limit(mut self, limit: Duration) -> Self {
        self.stop_limit = limit;
        self
    }
}

/// Why a supervisor gave up: the last of too many restarts, or one that could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// The child that ended last.
    pub actor: ActorId,
    /// Why.
    pub reason: ExitReason,
    /// Restarts within the time of [`Supervision::limit`], the one that was not carried out included.
    pub restarts: u32,
    /// Why the snapshot that it was to start with could not be used, if that is the reason.
    pub error: Option<Arc<str>>,
}

impl fmt::Display for Escalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.error {
            return write!(f, "actor {} ended, because {}, and could not be started again: {error}", self.actor, self.reason);
        }
        write!(f, "{} restarts: actor {} ended last, because {}", self.restarts, self.actor, self.reason)
    }
}
impl std::error::Error for Escalation {}

/// The bytes of kernels, side by side.
struct Initial {
    bytes: Box<[MaybeUninit<u8>]>,
    stride: usize,
}

/// What a child can start again with.
struct Values {
    kind: u16,
    initial: Option<Arc<Initial>>,
    snapshot: Option<Arc<Source>>,
}

enum Child {
    Actor {
        id: ActorId,
        restart: Restart,
        initial: Option<(Arc<Initial>, usize)>,
        snapshot: Option<Arc<Source>>,
        kind: u16,
        /// It has ended and is held, for this reason.
        held: Option<ExitReason>,
        /// Its supervisor has told it to end: that is no news.
        told: bool,
    },
    Supervisor(Arc<Nest>),
}

enum Event {
    Ended(u64, ExitReason),
    /// A supervisor below gave up.
    Failed(u64, Escalation),
    Shutdown,
}

/// A supervisor and its children.
pub(crate) struct Nest {
    what: Supervision,
    parent: Option<(Weak<Nest>, u64)>,
    state: Mutex<NestState>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct NestState {
    /// In the order of their start.
    children: BTreeMap<u64, Child>,
    next: u64,
    numbers: HashMap<ActorId, u64>,
    events: VecDeque<Event>,
    /// When the last restarts were, on the workers' clock.
    restarts: VecDeque<u64>,
    total: u64,
    failed: Option<Escalation>,
    /// It ends, and takes no children any more.
    closing: bool,
    down: bool,
    /// Who waits for the end.
    waiting: Vec<Waker>,
}

/// Between two kills of a child that does not end.
const LEAST_PAUSE: Duration = Duration::from_micros(100);

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a supervisor cannot go on.
enum Halt {
    /// The runtime ends: there is nothing more to supervise.
    Over,
    /// A state could not be restored.
    Restore(Arc<str>),
}

impl Nest {
    /// A worker told that a child has ended.
    pub(crate) fn child_ended(&self, actor: ActorId, reason: ExitReason, is_held: bool) {
        let mut state = lock(&self.state);
        let Some(&number) = state.numbers.get(&actor) else { return };
        if is_held {
            if let Some(Child::Actor { held, told, .. }) = state.children.get_mut(&number) {
                *held = Some(reason);
                if !*told {
                    state.events.push_back(Event::Ended(number, reason));
                }
            }
        } else {
            state.children.remove(&number);
            state.numbers.remove(&actor);
        }
        drop(state);
        self.waker.wake();
    }

    /// The supervisor or the runtime has ended.
    pub(crate) fn wake_all(&self) {
        let waiting = std::mem::take(&mut lock(&self.state).waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// From here on nobody becomes its child: who did while it ends would be nobody's.
    fn close(&self) {
        lock(&self.state).closing = true;
    }

    fn push(&self, event: Event) {
        lock(&self.state).events.push_back(event);
        self.waker.wake();
    }

    /// The supervisor's own loop.
    async fn run(self: Arc<Self>, shared: Arc<Shared>) {
        loop {
            let event = std::future::poll_fn(|cx| {
                self.waker.register(cx.waker());
                match lock(&self.state).events.pop_front() {
                    Some(event) => Poll::Ready(event),
                    None => Poll::Pending,
                }
            })
            .await;
            let done = match event {
                Event::Ended(index, reason) => self.on_end(&shared, index, reason).await,
                Event::Failed(index, escalation) => self.start_again(&shared, index, escalation).await,
                Event::Shutdown => self.terminate_all(&shared, true).await.and(Err(Halt::Over)),
            };
            if done.is_err() {
                break;
            }
        }
        lock(&self.state).down = true;
        self.wake_all();
    }

    async fn on_end(self: &Arc<Self>, shared: &Arc<Shared>, number: u64, reason: ExitReason) -> Result<(), Halt> {
        let (id, restart) = match lock(&self.state).children.get(&number) {
            // What was started again meanwhile, with others, is not held.
            Some(Child::Actor { id, restart, held: Some(_), .. }) => (*id, *restart),
            _ => return Ok(()),
        };
        if !restart.wants(reason) {
            return self.let_go(shared, id).await;
        }
        self.start_again(shared, number, Escalation { actor: id, reason, restarts: 0, error: None }).await
    }

    /// Ends a held child for good.
    async fn let_go(&self, shared: &Arc<Shared>, id: ActorId) -> Result<(), Halt> {
        end(shared, id, How::Stop, true).await.map_err(|_| Halt::Over)?;
        // Until the worker has told that it is gone, its place here stays.
        self.wait_until(shared, None, |state| !state.numbers.contains_key(&id)).await;
        Ok(())
    }

    /// Starts children again after one has ended or failed, or gives up.
    async fn start_again(self: &Arc<Self>, shared: &Arc<Shared>, number: u64, why: Escalation) -> Result<(), Halt> {
        let now = shared.now();
        let within = nanoseconds(self.what.within);
        let restarts = {
            let mut state = lock(&self.state);
            while state.restarts.front().is_some_and(|at| now.saturating_sub(*at) > within) {
                state.restarts.pop_front();
            }
            state.restarts.push_back(now);
            state.total += 1;
            state.restarts.len() as u32
        };
        if restarts > self.what.restarts {
            return self.give_up(shared, Escalation { restarts, ..why }).await;
        }
        let (least, most) = self.what.backoff;
        if !least.is_zero() {
            let pause = least.saturating_mul(1u32.checked_shl(restarts - 1).unwrap_or(u32::MAX)).min(most);
            Keeper::until(shared, now.saturating_add(nanoseconds(pause))).await;
        }
        let children = match self.what.strategy {
            Strategy::OneForOne => vec![number],
            Strategy::OneForAll => self.children_from(0),
            Strategy::RestForOne => self.children_from(number),
        };
        for other in children.iter().rev().filter(|other| **other != number) {
            self.terminate(shared, *other, false).await?;
        }
        for child in children {
            match self.revive(shared, child).await {
                Err(Halt::Restore(error)) => {
                    return self.give_up(shared, Escalation { restarts, error: Some(error), ..why }).await;
                }
                revived => revived?,
            }
        }
        Ok(())
    }

    /// The children from this one on, in the order of their start.
    fn children_from(&self, number: u64) -> Vec<u64> {
        lock(&self.state).children.range(number..).map(|(number, _)| *number).collect()
    }

    /// Too many restarts: all children stop, and somebody else decides.
    async fn give_up(&self, shared: &Arc<Shared>, why: Escalation) -> Result<(), Halt> {
        let parent = self.parent.as_ref().and_then(|(parent, index)| Some((parent.upgrade()?, *index)));
        if parent.is_none() {
            self.close();
        }
        // With a parent they are only held: it may start them again.
        self.terminate_all(shared, parent.is_none()).await?;
        {
            let mut state = lock(&self.state);
            state.restarts.clear();
            state.events.retain(|event| matches!(event, Event::Shutdown));
            if parent.is_none() {
                state.failed = Some(why.clone());
            }
        }
        match parent {
            Some((parent, number)) => {
                parent.push(Event::Failed(number, why));
                Ok(())
            }
            None => Err(Halt::Over),
        }
    }

    fn terminate_all<'a>(&'a self, shared: &'a Arc<Shared>, for_good: bool) -> Boxed<'a, Result<(), Halt>> {
        Box::pin(async move {
            for child in self.children_from(0).into_iter().rev() {
                self.terminate(shared, child, for_good).await?;
            }
            Ok(())
        })
    }

    /// Stops a child: it is held then, or gone.
    async fn terminate(&self, shared: &Arc<Shared>, number: u64, for_good: bool) -> Result<(), Halt> {
        let found = {
            let mut state = lock(&self.state);
            let NestState { children, events, .. } = &mut *state;
            match children.get_mut(&number) {
                None => return Ok(()),
                Some(Child::Supervisor(nest)) => Err(Arc::clone(nest)),
                Some(Child::Actor { id, held, told, restart, .. }) => {
                    *told = true;
                    events.retain(|event| !matches!(event, Event::Ended(other, _) if *other == number));
                    // One that is never started again goes for good.
                    Ok((*id, held.is_some(), for_good || *restart == Restart::Never))
                }
            }
        };
        let (id, is_held, for_good) = match found {
            Ok(actor) => actor,
            Err(nest) => {
                if for_good {
                    nest.close();
                }
                nest.terminate_all(shared, for_good).await?;
                if for_good {
                    lock(&self.state).children.remove(&number);
                    nest.push(Event::Shutdown);
                }
                return Ok(());
            }
        };
        if is_held && !for_good {
            return Ok(());
        }
        let over = |state: &NestState| match state.children.get(&number) {
            Some(Child::Actor { held, .. }) => !for_good && held.is_some(),
            _ => true,
        };
        let mut how = How::Stop;
        loop {
            // It may have ended by itself meanwhile; or its launch is still on its way to the worker, and it is told again.
            if end(shared, id, how, for_good).await == Err(EndError::Stopped) {
                shared.take_letters();
                return if over(&lock(&self.state)) { Ok(()) } else { Err(Halt::Over) };
            }
            let limit = shared.now().saturating_add(nanoseconds(self.what.stop_limit.max(LEAST_PAUSE)));
            if self.wait_until(shared, Some(limit), over).await {
                return Ok(());
            }
            how = How::Kill;
        }
    }

    /// Waits until the children are so, at most until `limit` on the workers' clock. While a runtime drains, supervisors go on: what
    /// waits for a held child would wait for good.
    async fn wait_until(&self, shared: &Arc<Shared>, limit: Option<u64>, mut so: impl FnMut(&NestState) -> bool) -> bool {
        let mut late = limit.map(|at| Box::pin(Keeper::until(shared, at)));
        std::future::poll_fn(|cx| {
            self.waker.register(cx.waker());
            if so(&lock(&self.state)) {
                return Poll::Ready(true);
            }
            match &mut late {
                Some(late) => late.as_mut().poll(cx).map(|()| false),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Starts a held child again; of a supervisor, all its children.
    fn revive<'a>(&'a self, shared: &'a Arc<Shared>, number: u64) -> Boxed<'a, Result<(), Halt>> {
        Box::pin(async move {
            let found = match lock(&self.state).children.get_mut(&number) {
                None | Some(Child::Actor { held: None, .. }) => return Ok(()),
                Some(Child::Supervisor(nest)) => Err(Arc::clone(nest)),
                Some(Child::Actor { id, initial, snapshot, kind, held, told, .. }) => {
                    // From here on its next end is news.
                    (*held, *told) = (None, false);
                    Ok((*id, initial.clone(), snapshot.clone(), *kind))
                }
            };
            let (id, initial, snapshot, kind) = match found {
                Ok(actor) => actor,
                Err(nest) => {
                    for child in nest.children_from(0) {
                        nest.revive(shared, child).await?;
                    }
                    return Ok(());
                }
            };
            let row = initial.as_ref().map_or(0, |(_, row)| *row);
            let saved = match &snapshot {
                Some(source) => source
                    .state(&shared.module.kinds[usize::from(kind)], row as u64)
                    .map_err(|error| Halt::Restore(error.to_string().into()))?,
                None => None,
            };
            if let Some(saved) = saved {
                let bytes: Vec<MaybeUninit<u8>> = saved.into_iter().map(MaybeUninit::new).collect();
                put_state(shared, id, &bytes).await?;
            } else if let Some((initial, row)) = initial {
                put_state(shared, id, &initial.bytes[row * initial.stride..][..initial.stride]).await?;
            }
            ask(shared, id, CONTROL_RESTART, How::Stop, false).await.map_err(|_| Halt::Over)
        })
    }
}

/// Gives a held actor a state; nobody sees it between two pieces.
async fn put_state(shared: &Arc<Shared>, id: ActorId, state: &[MaybeUninit<u8>]) -> Result<(), Halt> {
    for (i, bytes) in state.chunks(MOST).enumerate() {
        copy_bytes(shared, id, (i * MOST) as u32, Transfer::Write(bytes)).await.map_err(|_| Halt::Over)?;
    }
    Ok(())
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().min(u128::from(u64::MAX / 2)) as u64
}

/// A supervisor: it launches its children and starts them again when they end.
///
/// It is no actor: it lives on the host, beside the runtime, and costs nothing while nobody ends. Dropped, it goes on; see
/// [`shutdown`](Self::shutdown).
///
/// | the actor ended because | [`Restart::Permanent`] | [`Restart::Transient`] | [`Restart::Never`] |
/// |---|---|---|---|
/// | it stopped itself ([`ExitReason::Normal`]) | restarted | gone | gone |
/// | it was told to stop ([`ExitReason::Shutdown`]) | restarted | gone | gone |
/// | it was killed ([`ExitReason::Killed`]) | restarted | restarted | gone |
/// | a handler panicked ([`ExitReason::Panicked`]) | restarted | restarted | gone |
/// | `initialize` failed at a restart ([`ExitReason::Initialize`]) | restarted | restarted | gone |
///
/// While it is decided, messages for the actor wait in its mailbox, and its address stays valid. What its supervisor stops because of
/// another child's end is started again with that one, whatever its policy, unless that is `Never`. An error that a handler returns is a
/// reply, and no end.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
    nest: Arc<Nest>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervisor({:?}, {} children)", self.nest.what.strategy, lock(&self.nest.state).children.len())
    }
}

impl Runtime {
    /// A supervisor whose escalations the host gets to hear of: [`Supervisor::failed`].
    pub fn supervise(&self, what: Supervision) -> Supervisor {
        Supervisor::start(self.shared(), what, None)
    }
}

impl Supervisor {
    fn start(shared: &Arc<Shared>, what: Supervision, parent: Option<(Weak<Nest>, u64)>) -> Self {
        let nest = Arc::new(Nest { what, parent, state: Mutex::default(), waker: AtomicWaker::new() });
        shared.ends.add_nest(&nest);
        shared.keeper.spawn(shared, Arc::clone(&nest).run(Arc::clone(shared)));
        Self { shared: Arc::clone(shared), nest }
    }

    /// A supervisor below this one, as its next child. When it gives up, this one starts all its children again, as after a crash.
    pub fn supervise(&self, what: Supervision) -> Self {
        let mut state = lock(&self.nest.state);
        let number = state.next;
        state.next += 1;
        let below = Self::start(&self.shared, what, Some((Arc::downgrade(&self.nest), number)));
        if state.closing || state.down {
            below.nest.close();
            below.nest.push(Event::Shutdown);
        } else {
            state.children.insert(number, Child::Supervisor(Arc::clone(&below.nest)));
        }
        below
    }

    /// Launches an actor as the next child.
    ///
    /// # Errors
    /// As for [`Runtime::launch`]; [`LaunchError::Stopped`] also where the supervisor has ended.
    pub async fn launch<K: Exported>(&self, kernel: K, spec: ChildSpec) -> Result<ActorRef<K>, LaunchError> {
        self.open()?;
        let initial = self.initial::<K>(1, &spec).map(|mut initial| {
            put(&mut initial, 0, &kernel);
            Arc::new(initial)
        });
        let snapshot = spec.source();
        let mut child = Vec::new();
        let known = |ids: &[ActorId]| {
            child = ids.to_vec();
            self.nest.adopt(&self.shared, ids, &spec, Values { kind: K::KIND, initial, snapshot })
        };
        let launched = launch::one(&self.shared, kernel, &spec.launch, Some(known)).await;
        if launched.is_err() {
            child.iter().for_each(|id| self.nest.disown(*id));
        }
        launched
    }

    /// Launches a group, whose actors are the next children, each for itself.
    ///
    /// # Errors
    /// As for [`launch`](Self::launch). Then none of them is a child, and those that run are stopped.
    pub async fn launch_many<K: Exported>(
        &self,
        count: u32,
        spec: ChildSpec,
        mut kernel: impl FnMut(u32) -> K,
    ) -> Result<Group<K>, LaunchError> {
        self.open()?;
        let mut initial = self.initial::<K>(count as usize, &spec);
        let values = launch::Values::of_group(&self.shared, count, |index| {
            let kernel = kernel(index);
            if let Some(initial) = &mut initial {
                put(initial, index as usize, &kernel);
            }
            kernel
        })?;
        let initial = initial.map(Arc::new);
        let snapshot = spec.source();
        let mut children = Vec::new();
        let known = |ids: &[ActorId]| {
            let adopted = self.nest.adopt(&self.shared, ids, &spec, Values { kind: K::KIND, initial, snapshot });
            if adopted {
                children = ids.to_vec();
            }
            adopted
        };
        let launched = launch::group::<K>(&self.shared, count, &spec.launch, values, Some(known)).await;
        if launched.is_err() {
            for id in children {
                self.nest.disown(id);
                let shared = Arc::clone(&self.shared);
                // One whose `initialize` failed has ended.
                self.shared.keeper.spawn(&self.shared, async move { _ = end(&shared, id, How::Stop, true).await });
            }
        }
        launched
    }

    fn open(&self) -> Result<(), LaunchError> {
        let state = lock(&self.nest.state);
        if state.down || state.closing { Err(LaunchError::Stopped) } else { Ok(()) }
    }

    fn initial<K>(&self, count: usize, spec: &ChildSpec) -> Option<Initial> {
        let kept = spec.from != RestartFrom::Kept && spec.restart != Restart::Never;
        kept.then(|| Initial { bytes: Box::new_uninit_slice(size_of::<K>() * count), stride: size_of::<K>() })
    }

    /// Restarts so far, those of supervisors below not included.
    pub fn restarts(&self) -> u64 {
        lock(&self.nest.state).total
    }

    /// Waits until this supervisor has given up, and says why. `None` if it, or the runtime, was shut down. A supervisor below another
    /// does not give up by itself: it hands the decision up.
    pub async fn failed(&self) -> Option<Escalation> {
        self.ended().await;
        lock(&self.nest.state).failed.clone()
    }

    /// Stops all children for good, in the opposite order of their start, and ends.
    pub async fn shutdown(self) {
        self.nest.close();
        self.nest.push(Event::Shutdown);
        self.ended().await;
    }

    async fn ended(&self) {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.nest.state);
            if state.down || self.shared.ended.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            state.waiting.retain(|waker| !waker.will_wake(cx.waker()));
            state.waiting.push(cx.waker().clone());
            drop(state);
            if !self.shared.engine.get().is_some_and(Engine::wakes) {
                self.shared.pump_until(u64::MAX, &|| lock(&self.nest.state).down);
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }
}

/// Keeps the bytes of a kernel.
fn put<K>(initial: &mut Initial, row: usize, kernel: &K) {
    let at = &mut initial.bytes[row * initial.stride..][..initial.stride];
    // SAFETY: room for the bytes of a `K`, which is plain data; padding may be any.
    unsafe { at.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(std::ptr::from_ref(kernel).cast(), at.len()) }
}

impl Nest {
    /// New children, which are about to be launched. False: the supervisor ends, and takes none.
    fn adopt(self: &Arc<Self>, shared: &Shared, ids: &[ActorId], spec: &ChildSpec, values: Values) -> bool {
        let Values { kind, initial, snapshot } = values;
        let mut state = lock(&self.state);
        if state.closing || state.down {
            return false;
        }
        for (row, &id) in ids.iter().enumerate() {
            let number = state.next;
            state.next += 1;
            let initial = initial.clone().map(|initial| (initial, row));
            let snapshot = snapshot.clone();
            let child = Child::Actor { id, restart: spec.restart, initial, snapshot, kind, held: None, told: false };
            state.children.insert(number, child);
            state.numbers.insert(id, number);
        }
        drop(state);
        ids.iter().for_each(|id| shared.ends.supervise(*id, self));
        true
    }

    /// It was not launched after all.
    fn disown(&self, id: ActorId) {
        let mut state = lock(&self.state);
        if let Some(number) = state.numbers.remove(&id) {
            state.children.remove(&number);
        }
        drop(state);
        // Its supervisor may wait for its end.
        self.waker.wake();
    }
}
