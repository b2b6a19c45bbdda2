//! A supervisor and its children, and the loop in which it answers their ends.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use warpring_core::module::KindTable;
use warpring_core::worker::{CONTROL_REST, CONTROL_RESTART};
use warpring_core::{ActorId, ExitReason, How};

use super::{ChildSpec, Escalation, Restart, Strategy, Supervision};
use crate::ends::{EndError, ask, end};
use crate::keeper::Keeper;
use crate::lock::lock;
use crate::shared::Shared;
use crate::snapshot::Source;
use crate::state::{MOST, StateError, Transfer, copy_bytes};

/// The bytes of kernels, side by side.
pub(super) struct Initial {
    bytes: Box<[MaybeUninit<u8>]>,
    stride: usize,
}

impl Initial {
    /// Room for so many.
    pub(super) fn of<K>(count: usize) -> Self {
        Self { bytes: Box::new_uninit_slice(size_of::<K>() * count), stride: size_of::<K>() }
    }

    /// Keeps the bytes of a kernel.
    pub(super) fn put<K>(&mut self, row: usize, kernel: &K) {
        let at = &mut self.bytes[row * self.stride..][..self.stride];
        // SAFETY: room for the bytes of a `K`, which is plain data; bytes of its padding stay uninitialised.
        unsafe { at.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(std::ptr::from_ref(kernel).cast(), at.len()) }
    }

    fn row(&self, row: usize) -> &[MaybeUninit<u8>] {
        &self.bytes[row * self.stride..][..self.stride]
    }
}

/// What a child can start again with.
pub(super) struct Values {
    pub(super) kind: u16,
    pub(super) initial: Option<Arc<Initial>>,
    pub(super) snapshot: Option<Arc<Source>>,
}

pub(super) enum Child {
    Actor {
        id: ActorId,
        restart: Restart,
        initial: Option<(Arc<Initial>, usize)>,
        snapshot: Option<Arc<Source>>,
        kind: u16,
        /// It has ended for this reason, and is held or rests.
        held: Option<ExitReason>,
        /// Its supervisor has told it to end: that is no news.
        told: bool,
    },
    Supervisor(Arc<Nest>),
}

pub(super) enum Event {
    Ended(u64, ExitReason),
    /// A supervisor below gave up.
    Failed(u64, Escalation),
    Shutdown,
}

/// A supervisor and its children.
pub(crate) struct Nest {
    pub(super) what: Supervision,
    parent: Option<(Weak<Nest>, u64)>,
    pub(super) state: Mutex<NestState>,
    waker: AtomicWaker,
}

#[derive(Default)]
pub(super) struct NestState {
    /// In the order of their start.
    pub(super) children: BTreeMap<u64, Child>,
    pub(super) next: u64,
    numbers: HashMap<ActorId, u64>,
    events: VecDeque<Event>,
    /// When the last restarts were, on the workers' clock.
    restarts: VecDeque<u64>,
    pub(super) total: u64,
    pub(super) failed: Option<Escalation>,
    /// It ends, and takes no children any more.
    pub(super) closing: bool,
    pub(super) down: bool,
    /// Who waits for the end.
    pub(super) waiting: Vec<Waker>,
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
    /// A supervisor that nobody runs yet; `parent` with its number there.
    pub(super) fn new(what: Supervision, parent: Option<(Weak<Self>, u64)>) -> Arc<Self> {
        Arc::new(Self { what, parent, state: Mutex::default(), waker: AtomicWaker::new() })
    }

    /// New children, which are about to be launched. False: the supervisor ends, and takes none.
    pub(super) fn adopt(self: &Arc<Self>, shared: &Shared, ids: &[ActorId], spec: &ChildSpec, values: Values) -> bool {
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
    pub(super) fn disown(&self, shared: &Shared, id: ActorId) {
        shared.ends.let_go(id);
        let mut state = lock(&self.state);
        if let Some(number) = state.numbers.remove(&id) {
            state.children.remove(&number);
        }
        drop(state);
        // Its supervisor may wait for its end.
        self.waker.wake();
    }

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
    pub(super) fn close(&self) {
        lock(&self.state).closing = true;
    }

    pub(super) fn push(&self, event: Event) {
        lock(&self.state).events.push_back(event);
        self.waker.wake();
    }

    /// The supervisor's own loop.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>) {
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
        if let Some((parent, number)) = &self.parent
            && let Some(parent) = parent.upgrade()
        {
            lock(&parent.state).children.remove(number);
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
            // A transient child may be started again with others.
            let rests = restart == Restart::Transient && (self.what.strategy != Strategy::OneForOne || self.parent.is_some());
            return if rests { self.let_rest(shared, number, id).await } else { self.let_go(shared, id).await };
        }
        self.start_again(shared, number, Escalation { actor: id, reason, restarts: 0, error: None }).await
    }

    /// Ends a held child for good.
    async fn let_go(&self, shared: &Arc<Shared>, id: ActorId) -> Result<(), Halt> {
        if end(shared, id, How::Stop, true).await == Err(EndError::Stopped) {
            return Err(Halt::Over);
        }
        // Until the worker has told that it is gone, its place here stays.
        self.wait_until(shared, None, |state| !state.numbers.contains_key(&id)).await;
        Ok(())
    }

    /// A held child takes no messages any more, and keeps its place.
    async fn let_rest(&self, shared: &Arc<Shared>, number: u64, id: ActorId) -> Result<(), Halt> {
        if let Some(Child::Actor { held, told, .. }) = lock(&self.state).children.get_mut(&number) {
            (*held, *told) = (None, true);
        }
        if ask(shared, id, CONTROL_REST, How::Stop, false).await == Err(EndError::Stopped) {
            return Err(Halt::Over);
        }
        shared.directory.forget_actor(shared, id);
        // The worker tells again that it is held when it has refused what waited.
        let rests = |state: &NestState| !matches!(state.children.get(&number), Some(Child::Actor { held: None, .. }));
        self.wait_until(shared, None, rests).await;
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
                Some(Child::Actor { id, initial, snapshot, kind, .. }) => Ok((*id, initial.clone(), snapshot.clone(), *kind)),
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
                Some(source) => saved(source, &shared.module.kinds[usize::from(kind)], row as u64)?,
                None => None,
            };
            // From here on its next end is news. Not before: a child whose snapshot cannot be used is still held.
            if let Some(Child::Actor { held, told, .. }) = lock(&self.state).children.get_mut(&number) {
                (*held, *told) = (None, false);
            }
            if let Some(saved) = saved {
                let bytes: Vec<MaybeUninit<u8>> = saved.into_iter().map(MaybeUninit::new).collect();
                put_state(shared, id, &bytes).await?;
            } else if let Some((initial, row)) = initial {
                put_state(shared, id, initial.row(row)).await?;
            }
            match ask(shared, id, CONTROL_RESTART, How::Stop, false).await {
                Err(EndError::Stopped) => Err(Halt::Over),
                // One that was ended for good meanwhile is gone.
                _ => Ok(()),
            }
        })
    }
}

/// The state that a child starts again with, if the snapshot is there. Its `validate` is the user's: a panic in it must not end all
/// supervisors of the runtime.
fn saved(source: &Source, kind: &KindTable, row: u64) -> Result<Option<Vec<u8>>, Halt> {
    match catch_unwind(AssertUnwindSafe(|| source.state(kind, row))) {
        Ok(state) => state.map_err(|error| Halt::Restore(error.to_string().into())),
        Err(_) => Err(Halt::Restore(format!("`validate` of `{}` panicked", kind.metadata.id).into())),
    }
}

/// Gives a held actor a state; nobody sees it between two pieces. It waits for as long as a handler keeps the worker.
async fn put_state(shared: &Arc<Shared>, id: ActorId, state: &[MaybeUninit<u8>]) -> Result<(), Halt> {
    for (i, bytes) in state.chunks(MOST).enumerate() {
        loop {
            match copy_bytes(shared, id, (i * MOST) as u32, Transfer::Write(bytes)).await {
                Err(StateError::Stopped) => return Err(Halt::Over),
                Err(StateError::NoAnswer { .. } | StateError::Busy { .. }) => {}
                // One that was ended for good meanwhile is gone.
                _ => break,
            }
        }
    }
    Ok(())
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().min(u128::from(u64::MAX / 2)) as u64
}
