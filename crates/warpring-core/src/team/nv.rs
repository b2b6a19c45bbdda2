//! `NvWarp`: the 32 lanes of a CUDA warp. `NvBlock`: all lanes of a block.
//!
//! Collectives go through LLVM's convergent intrinsics: a barrier in `asm!` is no barrier to LLVM, which copies it into both arms
//! of a divergent branch.
//!
//! **When a lane panics.** A GPU cannot unwind, so the whole team ends, and another takes over the worker. Each collective begins
//! with a vote: all lanes say that they are well. A lane that panics votes, too (`fall`), wherever it is, and says that it is not.
//! So no lane ever waits for one that has ended, and none goes on with one that has fallen.

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

/// What a worker's team is in this module.
#[cfg(not(warpring_team = "block"))]
pub type NvTeam = NvWarp;
#[cfg(warpring_team = "block")]
pub use block::NvBlock as NvTeam;

/// Workers are blocks of one grid; the mesh is at device scope, the host at system scope.
pub struct Cuda;
impl Fabric for Cuda {
    type Team = NvTeam;
    type Mesh = Device;
    type Host = System;
    const GRID: bool = true;
    const LISTEN_ROUNDS: u32 = 64;
    const IDLE_ROUNDS: u32 = 1;
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

impl NvWarp {
    /// The warp that runs this code, in a block of one warp.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: reads a special register.
        Self { rank: unsafe { core::arch::nvptx::_thread_idx_x() } as u32 % LANES }
    }

    /// All lanes say that they are well; if one is not, none comes back.
    #[inline(always)]
    fn vote(self) {
        // SAFETY: all lanes of the warp are here, or in `fall`.
        if unsafe { ballot(ALL, true) } != ALL {
            self.end();
        }
    }

    /// A lane panics: the others learn of it at their next collective, and all end.
    #[cfg(not(warpring_team = "block"))]
    pub(crate) fn fall(self) -> ! {
        // SAFETY: pairs with `vote`.
        unsafe { ballot(ALL, false) };
        self.end()
    }

    #[cold]
    #[inline(never)]
    fn end(self) -> ! {
        // SAFETY: all lanes have voted, and all come here. What they wrote before is visible to the leader after.
        unsafe { bar_warp_sync(ALL) }
        #[cfg(not(warpring_team = "block"))]
        crate::device::fell(self);
        #[cfg(warpring_team = "block")]
        crate::scoped::exit()
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
        self.vote();
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
        exchange(value, |word| unsafe { shfl_idx(ALL, word, 0, 31) })
    }
    #[inline(always)]
    fn ballot(self, predicate: bool) -> u32 {
        self.vote();
        // SAFETY: all lanes of the warp are here.
        unsafe { ballot(ALL, predicate) }
    }
    #[inline(always)]
    fn broadcast<R: Copy>(self, value: R, from: u32) -> R {
        self.vote();
        // SAFETY: all lanes of the warp are here.
        exchange(MaybeUninit::new(value), |word| unsafe { shfl_idx(ALL, word, from % LANES, 31) })
    }
    #[inline(always)]
    fn shift_up<R: Copy>(self, value: R, distance: u32) -> R {
        self.vote();
        // SAFETY: all lanes of the warp are here.
        exchange(MaybeUninit::new(value), |word| unsafe { shfl_up(ALL, word, distance, 0) })
    }
}

/// The team of a module that was compiled with `--cfg warpring_team="block"`.
#[cfg(warpring_team = "block")]
mod block {
    use super::*;

    unsafe extern "unadjusted" {
        // Not the aligned form: a lane that panics comes to it from elsewhere than the rest of its warp.
        #[link_name = "llvm.nvvm.barrier.cta.red.or.all"]
        fn any_of_block(barrier: u32, predicate: bool) -> bool;
    }

    /// A block of the persistent grid: one worker.
    #[derive(Clone, Copy)]
    pub struct NvBlock {
        rank: u32,
        size: u32,
        /// A word for each lane, in shared memory.
        words: *mut u32,
    }

    impl NvBlock {
        /// The block that runs this code.
        #[inline(always)]
        pub fn current() -> Self {
            // SAFETY: reads special registers.
            let (rank, size) = unsafe { (core::arch::nvptx::_thread_idx_x() as u32, core::arch::nvptx::_block_dim_x() as u32) };
            Self { rank, size, words: crate::scoped::shared_words() }
        }

        /// As for a warp. It is a barrier, too: memory written before is visible to all after.
        #[inline(always)]
        fn meet(self) {
            // SAFETY: all lanes of the block are here, or in `fall`.
            if unsafe { any_of_block(0, false) } {
                crate::device::fell(self);
            }
        }

        /// As for a warp.
        pub(crate) fn fall(self) -> ! {
            // SAFETY: pairs with `meet`.
            unsafe { any_of_block(0, true) };
            crate::device::fell(self)
        }

        /// Each lane gets the value of the lane that `from` names, 32 bits at a time.
        #[inline(always)]
        fn pass<R: Copy>(self, value: MaybeUninit<R>, from: u32) -> R {
            exchange(value, |word| {
                // SAFETY: each lane writes its own word, and reads between two meetings.
                unsafe {
                    self.words.add(self.rank as usize).write_volatile(word);
                    self.meet();
                    let word = self.words.add(from as usize).read_volatile();
                    self.meet();
                    word
                }
            })
        }
    }

    impl Team for NvBlock {
        #[inline(always)]
        fn rank(self) -> u32 {
            self.rank
        }
        #[inline(always)]
        fn size(self) -> u32 {
            self.size
        }
        #[inline(always)]
        fn sync(self) {
            self.meet();
        }
        #[inline(always)]
        fn lead<R: Copy>(self, f: impl FnOnce() -> R) -> R {
            let mut value = MaybeUninit::uninit();
            self.meet();
            if self.rank == 0 {
                value.write(f());
            }
            self.meet();
            self.pass(value, 0)
        }
        #[inline(always)]
        fn ballot(self, predicate: bool) -> u32 {
            // SAFETY: as in `pass`.
            unsafe {
                self.words.add(self.rank as usize).write_volatile(u32::from(predicate));
                self.meet();
                let mut votes = 0;
                let mut lane = 0;
                while lane < self.size.min(32) {
                    votes |= self.words.add(lane as usize).read_volatile() << lane;
                    lane += 1;
                }
                self.meet();
                votes
            }
        }
        #[inline(always)]
        fn broadcast<R: Copy>(self, value: R, from: u32) -> R {
            self.pass(MaybeUninit::new(value), from % self.size)
        }
        #[inline(always)]
        fn shift_up<R: Copy>(self, value: R, distance: u32) -> R {
            let from = self.rank.checked_sub(distance).unwrap_or(self.rank);
            self.pass(MaybeUninit::new(value), from)
        }
    }
}

/// Nanoseconds on the device's clock. It may tick as coarsely as a microsecond.
#[inline(always)]
pub fn clock_ns() -> u64 {
    crate::scoped::global_timer()
}
