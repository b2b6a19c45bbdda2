//! `NvWarp`: the 32 lanes of a CUDA warp.
//!
//! Collectives go through LLVM's convergent intrinsics: a barrier in `asm!` is no barrier to LLVM, which copies it into both arms
//! of a divergent branch.

use core::arch::nvptx::_thread_idx_x;
use core::mem::MaybeUninit;

use super::{Fabric, Team};
use crate::scoped::{Device, System};

unsafe extern "unadjusted" {
    #[link_name = "llvm.nvvm.bar.warp.sync"]
    fn bar_warp_sync(mask: u32);
    #[link_name = "llvm.nvvm.shfl.sync.idx.i32"]
    fn shfl_idx(mask: u32, value: u32, lane: u32, clamp: u32) -> u32;
    #[link_name = "llvm.nvvm.shfl.sync.up.i32"]
    fn shfl_up(mask: u32, value: u32, distance: u32, clamp: u32) -> u32;
    #[link_name = "llvm.nvvm.vote.ballot.sync"]
    fn ballot(mask: u32, predicate: bool) -> u32;
}

const ALL: u32 = u32::MAX;
/// Lanes of a warp.
pub const LANES: u32 = 32;

/// A warp of the persistent grid: one worker.
#[derive(Clone, Copy)]
pub struct NvWarp {
    rank: u32,
}

/// Workers are warps of one grid; the mesh is at device scope, the host at system scope.
pub struct Cuda;
impl Fabric for Cuda {
    type Team = NvWarp;
    type Mesh = Device;
    type Host = System;
}

impl NvWarp {
    /// The warp that runs this code.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: reads a special register.
        Self { rank: unsafe { _thread_idx_x() } as u32 % LANES }
    }

    /// Moves a value between lanes, 32 bits at a time.
    #[inline(always)]
    fn exchange<R: Copy>(value: MaybeUninit<R>, word: impl Fn(u32) -> u32) -> R {
        const { assert!(size_of::<R>() <= 256, "a value that lanes exchange has at most 256 bytes") };
        let mut words = [0u32; 64];
        let mut out = MaybeUninit::<R>::uninit();
        // SAFETY: copies the bytes of `value` into the buffer, and as many back after the exchange; lanes that hold no value
        // exchange whatever their bytes are, and the reader takes the bytes of a lane that does.
        unsafe {
            core::ptr::copy_nonoverlapping(value.as_ptr().cast::<u8>(), words.as_mut_ptr().cast::<u8>(), size_of::<R>());
            let mut i = 0;
            while i < size_of::<R>().div_ceil(4) {
                words[i] = word(words[i]);
                i += 1;
            }
            core::ptr::copy_nonoverlapping(words.as_ptr().cast::<u8>(), out.as_mut_ptr().cast::<u8>(), size_of::<R>());
            out.assume_init()
        }
    }
}

impl Team for NvWarp {
    #[inline(always)]
    fn rank(self) -> u32 {
        self.rank
    }
    #[inline(always)]
    fn size(self) -> u32 {
        LANES
    }
    #[inline(always)]
    fn sync(self) {
        // SAFETY: all lanes of the warp are here (the contract of a collective).
        unsafe { bar_warp_sync(ALL) }
    }
    #[inline(always)]
    fn lead<R: Copy>(self, f: impl FnOnce() -> R) -> R {
        let mut value = MaybeUninit::uninit();
        // All lanes have read what the leader is about to change.
        self.sync();
        if self.rank == 0 {
            value.write(f());
        }
        self.sync();
        // SAFETY: all lanes of the warp are here; lane 0 has written its value.
        Self::exchange(value, |word| unsafe { shfl_idx(ALL, word, 0, 31) })
    }
    #[inline(always)]
    fn ballot(self, predicate: bool) -> u32 {
        // SAFETY: all lanes of the warp are here.
        unsafe { ballot(ALL, predicate) }
    }
    #[inline(always)]
    fn broadcast<R: Copy>(self, value: R, from: u32) -> R {
        // SAFETY: all lanes of the warp are here.
        Self::exchange(MaybeUninit::new(value), |word| unsafe { shfl_idx(ALL, word, from % LANES, 31) })
    }
    #[inline(always)]
    fn shift_up<R: Copy>(self, value: R, distance: u32) -> R {
        // SAFETY: all lanes of the warp are here.
        Self::exchange(MaybeUninit::new(value), |word| unsafe { shfl_up(ALL, word, distance, 0) })
    }
}

/// Nanoseconds on the device's clock. It may tick as coarsely as a microsecond.
#[inline(always)]
pub fn clock_ns() -> u64 {
    crate::scoped::global_timer()
}
