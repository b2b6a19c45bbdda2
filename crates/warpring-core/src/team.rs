//! `Team`: the lanes that execute one handler together, and `Solo`, the team of one.
//!
//! Every method is a collective: all lanes of the team must call it, in the same order. The scheduler and every change of
//! state run on the leader (rank 0) inside [`Team::lead`]; its result goes to all lanes.

#[cfg(target_arch = "nvptx64")]
pub mod nv;
#[cfg(feature = "sim")]
pub mod sim;

use crate::scoped::{Device, Scope, System};

/// The lanes that execute one handler together.
///
/// Values that travel between lanes are `Copy` and are moved as bytes.
pub trait Team: Copy {
    /// This lane's number, from 0.
    fn rank(self) -> u32;
    /// How many lanes there are.
    fn size(self) -> u32;
    /// All lanes arrive, then all go on; memory written before is visible to all after.
    fn sync(self);
    /// Runs `f` on the leader and gives its result to all. Includes a [`sync`](Self::sync).
    fn lead<R: Copy>(self, f: impl FnOnce() -> R) -> R;
    /// A bit for each lane whose `predicate` is true, lane 0 lowest.
    fn ballot(self, predicate: bool) -> u32;
    /// The value of lane `from`, taken modulo the size.
    fn broadcast<R: Copy>(self, value: R, from: u32) -> R;
    /// The value of the lane `distance` below, or this lane's own where there is none.
    fn shift_up<R: Copy>(self, value: R, distance: u32) -> R;
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
}

/// CPU threads.
pub struct Cpu;
impl Fabric for Cpu {
    type Team = Solo;
    type Mesh = Device;
    type Host = System;
}

/// Which team runs a context: `RingContext` has no type parameter, so on the host it asks here. On the device there is one
/// kind of team and nothing to ask.
#[derive(Clone, Copy)]
pub struct AnyTeam {
    #[cfg(feature = "sim")]
    sim: Option<sim::SimWarp>,
    #[cfg(target_arch = "nvptx64")]
    nv: nv::NvWarp,
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
impl From<nv::NvWarp> for AnyTeam {
    #[inline(always)]
    fn from(nv: nv::NvWarp) -> Self {
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
    pub(crate) fn on_device(self) -> nv::NvWarp {
        self.nv
    }
}
