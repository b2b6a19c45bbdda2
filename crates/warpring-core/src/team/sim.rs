//! The warp simulator: the lanes of each worker as stackful coroutines, all on the thread that calls [`Machine::run`].
//!
//! It runs the code that the GPU runs (the worker loop, the context, the rings) with a team of up to 32 lanes, switches between
//! lanes and workers in an order that a seed decides, and checks at every collective what a GPU would not: that all lanes came to
//! the same one with the same arguments, and that nobody but the leader wrote the actor's state.
//!
//! `sim/warp.rs` is a warp and how its lanes meet, `sim/machine.rs` chooses who runs, `sim/violation.rs` is what is reported.
//!
//! ```text
//!              chosen                       arrives, others missing
//!  runnable ───────────► running ───────────────────────────────────► waiting
//!     ▲  ▲                 │                                             │
//!     │  └─────────────────┘ a scoped access, an idle round, by chance   │
//!     └──────────────────────────────────────────────────────────────────┘ the last one arrives, or the leader has led
//! ```
//!
//! What it does not do: reorder memory accesses (it interleaves; loom reorders), end a handler that loops for ever without a
//! collective, or notice a race inside a lane's slice between two collectives of the same lane.

mod machine;
mod stack;
mod violation;
mod warp;

use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use machine::{Machine, Progress, SimOptions};
pub use violation::{Failure, MAX_KEPT, Place, Violation, What};

use crate::frame::Outcome;
use crate::scoped::Scope;
use crate::team::{Fabric, Site, Team};
use crate::worker::Worker;
use warp::{LaneRecord, Meeting, Method};

/// A lane of a simulated warp. It names its warp for as long as the [`Machine`] lives.
#[derive(Clone, Copy, Debug)]
pub struct SimWarp(NonNull<LaneRecord>);

/// All workers of the simulated device.
pub struct SimDevice;
/// All workers of the simulated device, and the host.
pub struct SimSystem;

impl Scope for SimDevice {
    #[inline]
    fn point() {
        warp::point();
    }
    #[inline]
    fn changed() {
        warp::changed();
    }
    const LEVEL: u8 = 1;
}

impl Scope for SimSystem {
    #[inline]
    fn point() {
        warp::point();
    }
    #[inline]
    fn changed() {
        warp::changed();
    }
    const LEVEL: u8 = 2;
}

/// The simulator's fabric.
pub struct Sim;

impl Fabric for Sim {
    type Team = SimWarp;
    type Mesh = SimDevice;
    type Host = SimSystem;
    const GRID: bool = true;
    // A worker that finds nothing gives way at once, and looks at the virtual clock when its turn comes.
    const IDLE_ROUNDS: u32 = 1;

    fn idle(worker: &Worker, _wake: u64) {
        // The clock may have made something resumable just now.
        warp::idle(worker.steps.get(), worker.resumable.is_empty());
    }
}

/// The virtual clock of a machine, in nanoseconds. Clones share the time; the host's `now` hook reads it.
#[derive(Clone, Debug, Default)]
pub struct SimClock(Arc<AtomicU64>);

impl SimClock {
    /// Nanoseconds since the machine was built.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn set(&self, ns: u64) {
        self.0.store(ns, Ordering::Relaxed);
    }
}

impl SimWarp {
    pub(in crate::team::sim) fn new(lane: &LaneRecord) -> Self {
        Self(NonNull::from(lane))
    }

    #[inline(always)]
    fn lane<'a>(self) -> &'a LaneRecord {
        // SAFETY: the machine keeps its lane records at one address until it is dropped, after all code that could hold a
        // `SimWarp` has ended (contract of `Machine::new`); they are only ever shared.
        unsafe { self.0.as_ref() }
    }

    /// A collective in which a value of each lane goes to others.
    #[inline(always)]
    fn exchange<R: Copy>(self, method: Method, argument: u32, value: R, at: &'static core::panic::Location<'static>) -> R {
        let mut out = MaybeUninit::<R>::uninit();
        let meeting = Meeting { method, bytes: size_of::<R>(), argument, note: 0, at };
        if !self.lane().meet(meeting, (&raw const value).cast(), out.as_mut_ptr().cast()) {
            return value;
        }
        // SAFETY: the lane that arrived last has copied another lane's `R`, or our own, to `out`.
        unsafe { out.assume_init() }
    }
}

impl Team for SimWarp {
    #[inline(always)]
    fn rank(self) -> u32 {
        self.lane().rank
    }

    #[inline(always)]
    fn size(self) -> u32 {
        self.lane().warp().size
    }

    #[inline(always)]
    #[track_caller]
    fn sync(self) {
        let at = core::panic::Location::caller();
        self.lane().meet(Meeting { method: Method::Sync, bytes: 0, argument: 0, note: 0, at }, ptr::null(), ptr::null_mut());
    }

    #[inline(always)]
    #[track_caller]
    fn lead<R: Copy>(self, f: impl FnOnce() -> R) -> R {
        let at = core::panic::Location::caller();
        let lane = self.lane();
        let mut out = MaybeUninit::<R>::uninit();
        let meeting = Meeting { method: Method::Lead, bytes: size_of::<R>(), argument: 0, note: 0, at };
        if !lane.meet(meeting, ptr::null(), out.as_mut_ptr().cast()) {
            return f();
        }
        if lane.rank == 0 {
            let running = lane.warp().running();
            let value = f();
            // SAFETY: all other lanes wait in this collective with an `out` of type `R` (their meeting has its size and place).
            unsafe { lane.led((&raw const value).cast(), size_of::<R>(), running) }
            return value;
        }
        // SAFETY: the leader has copied its result to `out`.
        unsafe { out.assume_init() }
    }

    #[inline(always)]
    #[track_caller]
    fn ballot(self, predicate: bool) -> u32 {
        let at = core::panic::Location::caller();
        let lane = self.lane();
        let mut votes = 0u32;
        let meeting = Meeting { method: Method::Ballot, bytes: size_of::<u32>(), argument: 0, note: 0, at };
        let value = u32::from(predicate) << lane.rank;
        if !lane.meet(meeting, (&raw const value).cast(), (&raw mut votes).cast()) {
            return value;
        }
        votes
    }

    #[inline(always)]
    #[track_caller]
    fn broadcast<R: Copy>(self, value: R, from: u32) -> R {
        self.exchange(Method::Broadcast, from, value, core::panic::Location::caller())
    }

    #[inline(always)]
    #[track_caller]
    fn shift_up<R: Copy>(self, value: R, distance: u32) -> R {
        self.exchange(Method::ShiftUp, distance, value, core::panic::Location::caller())
    }

    #[inline(always)]
    fn at(self, site: Site) {
        self.lane().site.set(Some(site.at));
    }

    #[inline(always)]
    fn note(self, arguments: impl FnOnce() -> u64) {
        self.lane().note.set(arguments());
    }

    #[inline(always)]
    fn owns(self, base: *const u8, stride: usize, count: usize) {
        self.lane().own.set(Some(warp::Elements { base, stride, count }));
    }

    #[inline(always)]
    fn ended(self, outcome: Option<&Outcome>, rest: *const u64) {
        self.lane().ended(outcome, rest);
    }
}
