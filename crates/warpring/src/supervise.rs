//! Supervision: what becomes of actors that end. The words are OTP's.
//!
//! A supervised actor that ends is *held*: its address stays valid, its messages wait, and its supervisor is told. The supervisor starts
//! it again, with the state it launched with or the state it has, or lets it go; then what waits comes back to its senders.
//!
//! `supervise/policy.rs` is what a supervisor is told, `supervise/nest.rs` its loop.

mod nest;
mod policy;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Poll;

use warpring_core::module::Exported;
use warpring_core::{ActorId, How};

use crate::actor_ref::{ActorRef, Group};
use crate::backend::Engine;
use crate::ends::end;
use crate::error::LaunchError;
use crate::launch;
use crate::lock::lock;
use crate::runtime::Runtime;
use crate::shared::Shared;
pub(crate) use nest::Nest;
use nest::{Child, Event, Initial, Values};
pub use policy::{ChildSpec, Escalation, Restart, RestartFrom, Strategy, Supervision};

/// A supervisor: it launches its children and starts them again when they end.
///
/// It is no actor: it lives on the host, beside the runtime, and costs nothing while nobody ends. Dropped, it goes on; see
/// [`shutdown`](Self::shutdown).
///
/// | the actor ended because | [`Restart::Permanent`] | [`Restart::Transient`] | [`Restart::Never`] |
/// |---|---|---|---|
/// | it stopped itself ([`ExitReason::Normal`](crate::ExitReason::Normal)) | restarted | gone | gone |
/// | it was told to stop ([`ExitReason::Shutdown`](crate::ExitReason::Shutdown)) | restarted | gone | gone |
/// | it was killed ([`ExitReason::Killed`](crate::ExitReason::Killed)) | restarted | restarted | gone |
/// | a handler panicked ([`ExitReason::Panicked`](crate::ExitReason::Panicked)) | restarted | restarted | gone |
/// | `initialize` failed at a restart ([`ExitReason::Initialize`](crate::ExitReason::Initialize)) | restarted | restarted | gone |
///
/// While it is decided, messages for the actor wait in its mailbox, and its address stays valid. What its supervisor stops because of
/// another child's end is started again with that one, whatever its policy, unless that is `Never`; so is a transient child that had
/// ended before. An error that a handler returns is a
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
        let nest = Nest::new(what, parent);
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
            initial.put(0, &kernel);
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
            child.iter().for_each(|id| self.nest.disown(&self.shared, *id));
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
        launch::check_group::<K>(&self.shared, &spec.launch)?;
        launch::check_rows(&self.shared, count)?;
        let mut initial = self.initial::<K>(count as usize, &spec);
        let values = launch::Values::of_group(&self.shared, count, |index| {
            let kernel = kernel(index);
            if let Some(initial) = &mut initial {
                initial.put(index as usize, &kernel);
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
                self.nest.disown(&self.shared, id);
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
        kept.then(|| Initial::of::<K>(count))
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

#[cfg(test)]
mod tests;
