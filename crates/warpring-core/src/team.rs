//! `Team`: the lanes that execute one handler together, and `Solo`, the team of one.
//!
//! All lanes of a team call its collectives in the same order. The scheduler and every change of state run on the leader
//! (rank 0) inside [`Team::lead`]; its result goes to all lanes.
//!
//! What lanes share, and when it may change (lanes need not be in step between two collectives):
//!
//! | memory | writer | readers |
//! |---|---|---|
//! | worker, actor table, frame, rings | the leader, inside `lead` | all lanes, between collectives |
//! | the running actor's state | the leader inside `lead`, or each lane its own elements between the two syncs of `update_each` | all lanes, between collectives |
//! | the frame's buffer, with an ask's reply | the leader, inside `lead` | all lanes, up to the sync at the end of `Ask::poll` |
//! | the frame's buffer, with a long reply of the handler | every lane, the same bytes, after its last collective | the leader, in the next `lead` |
//! | a lane's context and future | that lane | that lane |

#[cfg(target_arch = "nvptx64")]
pub mod nv;
#[cfg(feature = "sim")]
pub mod sim;

use crate::frame::Outcome;
use crate::scoped::{Device, Scope, System};
#[cfg(not(target_arch = "nvptx64"))]
use crate::worker::Worker;

/// The lanes that execute one handler together.
///
/// Values that travel between lanes are `Copy` and are moved as bytes. `sync`, `lead`, `ballot`, `broadcast` and `shift_up` are
/// collectives; the provided methods tell the simulator what it checks, and are nothing on every other team.
pub trait Team: Copy {
    /// This lane's number, from 0.
    fn rank(self) -> u32;
    /// How many lanes there are.
    fn size(self) -> u32;
    /// All lanes arrive, then all go on; memory written before is visible to all after.
    #[track_caller]
    fn sync(self);
    /// Runs `f` on the leader and gives its result to all. `f` starts after all lanes have arrived, and no lane goes on before it
    /// has ended: so it has everything that the lanes share to itself.
    #[track_caller]
    fn lead<R: Copy>(self, f: impl FnOnce() -> R) -> R;
    /// A bit for each lane whose `predicate` is true, lane 0 lowest; of a team with more than 32 lanes, for the first 32.
    #[track_caller]
    fn ballot(self, predicate: bool) -> u32;
    /// The value of lane `from`, taken modulo the size.
    #[track_caller]
    fn broadcast<R: Copy>(self, value: R, from: u32) -> R;
    /// The value of the lane `distance` below, or this lane's own where there is none.
    #[track_caller]
    fn shift_up<R: Copy>(self, value: R, distance: u32) -> R;

    /// The user's call that the next collective belongs to, where it is not on the stack.
    #[inline(always)]
    fn at(self, site: Site) {
        let _ = site;
    }
    /// A digest of the arguments that all lanes must give to the next collective alike.
    #[inline(always)]
    fn note(self, arguments: impl FnOnce() -> u64) {
        let _ = arguments;
    }
    /// Up to its next collective this lane may change the elements `rank`, `rank + size`, .. of an array of the actor's state.
    #[inline(always)]
    fn owns(self, base: *const u8, stride: usize, count: usize) {
        let _ = (base, stride, count);
    }
    /// This lane's part of a handler's step has ended, with this outcome or suspended (`None`). `rest`: the words of a long reply.
    #[inline(always)]
    fn ended(self, outcome: Option<&Outcome>, rest: *const u64) {
        let _ = (outcome, rest);
    }
}

/// Where the user called a method whose work is done later, in a future's poll. Empty without the simulator.
#[derive(Clone, Copy)]
pub struct Site {
    #[cfg(feature = "sim")]
    at: &'static core::panic::Location<'static>,
}

impl Site {
    /// The caller of the function that calls this.
    #[inline(always)]
    #[track_caller]
    pub fn caller() -> Self {
        Self {
            #[cfg(feature = "sim")]
            at: core::panic::Location::caller(),
        }
    }
}

/// The team of one: a CPU worker.
#[derive(Clone, Copy, Debug)]
pub struct Solo;

impl Team for Solo {
    #[inline(always)]
    fn rank(self) -> u32 {
        0
    }
    #[inline(always)]
    fn size(self) -> u32 {
        1
    }
    #[inline(always)]
    fn sync(self) {}
    #[inline(always)]
    fn lead<R: Copy>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
    #[inline(always)]
    fn ballot(self, predicate: bool) -> u32 {
        u32::from(predicate)
    }
    #[inline(always)]
    fn broadcast<R: Copy>(self, value: R, _: u32) -> R {
        value
    }
    #[inline(always)]
    fn shift_up<R: Copy>(self, value: R, _: u32) -> R {
        value
    }
}

/// What a backend chooses for the code that all backends share.
pub trait Fabric: 'static {
    /// The lanes of a worker.
    type Team: Team;
    /// Scope of the rings between workers.
    type Mesh: Scope;
    /// Scope of the rings and cells between workers and host.
    type Host: Scope;
    /// The workers are warps of a grid: all lanes look at the rings together, and what the host has to know is posted for it.
    const GRID: bool = false;
    /// How often the lanes of an idle worker look at the rings before the leader looks at the clock.
    const LISTEN_ROUNDS: u32 = 1;
    /// Idle rounds from one call of [`idle`](Self::idle) and look at the clock to the next; a power of two.
    const IDLE_ROUNDS: u32 = if cfg!(miri) { 4 } else { 256 };

    /// The worker has nothing to do: on the host, its hook spins or sleeps, at most until `wake`.
    #[cfg(not(target_arch = "nvptx64"))]
    #[inline(always)]
    fn idle(worker: &Worker, wake: u64) {
        worker.rest(wake);
    }
}

/// CPU threads.
pub struct Cpu;
impl Fabric for Cpu {
    type Team = Solo;
    type Mesh = Device;
    type Host = System;
}

/// CPU threads that behave as the workers of a grid do: they look, post and leave like the device's. For tests of the host's side.
#[cfg(feature = "sim")]
pub struct ThreadGrid;
#[cfg(feature = "sim")]
impl Fabric for ThreadGrid {
    type Team = Solo;
    type Mesh = Device;
    type Host = System;
    const GRID: bool = true;
    const LISTEN_ROUNDS: u32 = 64;
    const IDLE_ROUNDS: u32 = 1;
}

/// Which team runs a context: `RingContext` has no type parameter, so on the host it asks here. On the device there is one
/// kind of team and nothing to ask.
#[derive(Clone, Copy)]
pub struct AnyTeam {
    #[cfg(feature = "sim")]
    sim: Option<sim::SimWarp>,
    #[cfg(target_arch = "nvptx64")]
    nv: nv::NvTeam,
}

/// Runs the body with `$team` bound to the concrete team and `$fabric` to its fabric. The one place where a context chooses.
macro_rules! with_team {
    ($any:expr, |$team:ident, $fabric:ident| $body:expr) => {{
        #[cfg(target_arch = "nvptx64")]
        {
            #[allow(dead_code)]
            type $fabric = $crate::team::nv::Cuda;
            let $team = $any.on_device();
            $body
        }
        #[cfg(all(not(target_arch = "nvptx64"), feature = "sim"))]
        {
            if let Some($team) = $any.simulated() {
                #[allow(dead_code)]
                type $fabric = $crate::team::sim::Sim;
                $body
            } else {
                #[allow(dead_code)]
                type $fabric = $crate::team::Cpu;
                let $team = $crate::team::Solo;
                $body
            }
        }
        #[cfg(all(not(target_arch = "nvptx64"), not(feature = "sim")))]
        {
            #[allow(dead_code)]
            type $fabric = $crate::team::Cpu;
            let $team = $crate::team::Solo;
            let _ = $any;
            $body
        }
    }};
}
pub(crate) use with_team;

#[cfg(not(target_arch = "nvptx64"))]
impl From<Solo> for AnyTeam {
    #[inline(always)]
    fn from(_: Solo) -> Self {
        Self {
            #[cfg(feature = "sim")]
            sim: None,
        }
    }
}

#[cfg(target_arch = "nvptx64")]
impl From<nv::NvTeam> for AnyTeam {
    #[inline(always)]
    fn from(nv: nv::NvTeam) -> Self {
        Self { nv }
    }
}

#[cfg(feature = "sim")]
impl From<sim::SimWarp> for AnyTeam {
    fn from(warp: sim::SimWarp) -> Self {
        Self { sim: Some(warp) }
    }
}

impl AnyTeam {
    #[cfg(feature = "sim")]
    #[inline(always)]
    pub(crate) fn simulated(self) -> Option<sim::SimWarp> {
        self.sim
    }

    #[cfg(target_arch = "nvptx64")]
    #[inline(always)]
    pub(crate) fn on_device(self) -> nv::NvTeam {
        self.nv
    }
}
