//! Scoped atomics: the words that two workers, or a worker and the host, both touch.
//!
//! The only file that may use `asm!`. On the host a scoped operation is a core atomic (or loom's, under `cfg(loom)`); on the
//! GPU it is a PTX instruction with an explicit scope, because core atomics compile to system scope there, and to a
//! *relaxed* read-modify-write. Only loads and stores exist here: over PCIe nothing else is atomic, and between workers
//! nothing else is needed.

/// How far a write has to be visible: the set of threads that may synchronise through a word.
///
/// `point` is called before every scoped access, `changed` after every store. They do nothing except in the simulator, which
/// may let another worker run at the one and learns from the other that there may be something to do.
pub trait Scope: 'static {
    /// Called before each access; a place where the simulator may switch.
    #[inline(always)]
    fn point() {}
    /// Called after each store.
    #[inline(always)]
    fn changed() {}
    /// 0: the block, 1: the device, 2: the system. Selects the PTX instruction.
    const LEVEL: u8;
}

/// Threads of one block of the grid.
pub struct Block;
/// All workers of one device.
pub struct Device;
/// All workers and the host.
pub struct System;

impl Scope for Block {
    const LEVEL: u8 = 0;
}
impl Scope for Device {
    const LEVEL: u8 = 1;
}
impl Scope for System {
    const LEVEL: u8 = 2;
}

#[cfg(all(not(loom), not(target_arch = "nvptx64")))]
#[allow(missing_docs)]
mod imp {
    use core::cell::UnsafeCell;
    use core::sync::atomic::{AtomicU32, Ordering};

    #[repr(transparent)]
    pub struct Word32(AtomicU32);
    impl Word32 {
        pub const fn new(v: u32) -> Self {
            Self(AtomicU32::new(v))
        }
        #[inline(always)]
        pub fn acquire<S: super::Scope>(&self) -> u32 {
            S::point();
            self.0.load(Ordering::Acquire)
        }
        #[inline(always)]
        pub fn relaxed<S: super::Scope>(&self) -> u32 {
            S::point();
            self.0.load(Ordering::Relaxed)
        }
        /// A relaxed load at which the simulator does not switch: for looks that are repeated, of which most see nothing.
        #[inline(always)]
        pub fn glance<S: super::Scope>(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
        #[inline(always)]
        pub fn release<S: super::Scope>(&self, v: u32) {
            S::point();
            self.0.store(v, Ordering::Release);
            S::changed();
        }
        #[inline(always)]
        pub fn set_relaxed<S: super::Scope>(&self, v: u32) {
            S::point();
            self.0.store(v, Ordering::Relaxed);
            S::changed();
        }
    }

    #[repr(transparent)]
    pub struct Data<T: Copy>(UnsafeCell<T>);
    impl<T: Copy> Data<T> {
        pub const fn new(v: T) -> Self {
            Self(UnsafeCell::new(v))
        }
        /// # Safety
        /// No thread may write the cell at the same time.
        #[inline(always)]
        pub unsafe fn get(&self) -> T {
            // SAFETY: no concurrent writer (contract); the cell is always initialised. Volatile: the compiler must not join
            // neighbouring words into a wider access, which the store buffer could not forward.
            unsafe { self.0.get().read_volatile() }
        }
        /// # Safety
        /// No other thread may touch the cell at the same time.
        #[inline(always)]
        pub unsafe fn set(&self, v: T) {
            // SAFETY: exclusive by contract. Volatile, as in `get`.
            unsafe { self.0.get().write_volatile(v) }
        }
    }
}

#[cfg(loom)]
#[allow(missing_docs)]
mod imp {
    use loom::cell::UnsafeCell;
    use loom::sync::atomic::{AtomicU32, Ordering};

    pub struct Word32(AtomicU32);
    impl Word32 {
        pub fn new(v: u32) -> Self {
            Self(AtomicU32::new(v))
        }
        pub fn acquire<S: super::Scope>(&self) -> u32 {
            self.0.load(Ordering::Acquire)
        }
        pub fn relaxed<S: super::Scope>(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
        pub fn glance<S: super::Scope>(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
        pub fn release<S: super::Scope>(&self, v: u32) {
            self.0.store(v, Ordering::Release)
        }
        pub fn set_relaxed<S: super::Scope>(&self, v: u32) {
            self.0.store(v, Ordering::Relaxed)
        }
    }

    pub struct Data<T: Copy>(UnsafeCell<T>);
    impl<T: Copy> Data<T> {
        pub fn new(v: T) -> Self {
            Self(UnsafeCell::new(v))
        }
        /// # Safety
        /// No thread may write the cell at the same time (loom checks it).
        pub unsafe fn get(&self) -> T {
            // SAFETY: by contract, and loom reports a violation.
            self.0.with(|p| unsafe { *p })
        }
        /// # Safety
        /// No other thread may touch the cell at the same time (loom checks it).
        pub unsafe fn set(&self, v: T) {
            // SAFETY: by contract, and loom reports a violation.
            self.0.with_mut(|p| unsafe { *p = v })
        }
    }
}

#[cfg(target_arch = "nvptx64")]
#[allow(missing_docs)]
mod imp {
    use core::arch::asm;
    use core::cell::UnsafeCell;

    #[repr(transparent)]
    pub struct Word32(UnsafeCell<u32>);
    impl Word32 {
        pub const fn new(v: u32) -> Self {
            Self(UnsafeCell::new(v))
        }
        #[inline(always)]
        pub fn acquire<S: super::Scope>(&self) -> u32 {
            let v: u32;
            // SAFETY: the pointer comes from a live reference to an aligned u32; the instruction reads four bytes of it.
            unsafe {
                match S::LEVEL {
                    0 => asm!("ld.acquire.cta.u32 {0}, [{1}];", out(reg32) v, in(reg64) self.0.get()),
                    1 => asm!("ld.acquire.gpu.u32 {0}, [{1}];", out(reg32) v, in(reg64) self.0.get()),
                    _ => asm!("ld.acquire.sys.u32 {0}, [{1}];", out(reg32) v, in(reg64) self.0.get()),
                }
            }
            v
        }
        #[inline(always)]
        pub fn relaxed<S: super::Scope>(&self) -> u32 {
            let v: u32;
            // SAFETY: as in `acquire`.
            unsafe {
                match S::LEVEL {
                    0 => asm!("ld.relaxed.cta.u32 {0}, [{1}];", out(reg32) v, in(reg64) self.0.get()),
                    1 => asm!("ld.relaxed.gpu.u32 {0}, [{1}];", out(reg32) v, in(reg64) self.0.get()),
                    _ => asm!("ld.relaxed.sys.u32 {0}, [{1}];", out(reg32) v, in(reg64) self.0.get()),
                }
            }
            v
        }
        #[inline(always)]
        pub fn glance<S: super::Scope>(&self) -> u32 {
            self.relaxed::<S>()
        }
        #[inline(always)]
        pub fn release<S: super::Scope>(&self, v: u32) {
            // SAFETY: the pointer comes from a live reference to an aligned u32 behind an UnsafeCell.
            unsafe {
                match S::LEVEL {
                    0 => asm!("st.release.cta.u32 [{1}], {0};", in(reg32) v, in(reg64) self.0.get()),
                    1 => asm!("st.release.gpu.u32 [{1}], {0};", in(reg32) v, in(reg64) self.0.get()),
                    _ => asm!("st.release.sys.u32 [{1}], {0};", in(reg32) v, in(reg64) self.0.get()),
                }
            }
        }
        #[inline(always)]
        pub fn set_relaxed<S: super::Scope>(&self, v: u32) {
            // SAFETY: as in `release`.
            unsafe {
                match S::LEVEL {
                    0 => asm!("st.relaxed.cta.u32 [{1}], {0};", in(reg32) v, in(reg64) self.0.get()),
                    1 => asm!("st.relaxed.gpu.u32 [{1}], {0};", in(reg32) v, in(reg64) self.0.get()),
                    _ => asm!("st.relaxed.sys.u32 [{1}], {0};", in(reg32) v, in(reg64) self.0.get()),
                }
            }
        }
    }

    #[repr(transparent)]
    pub struct Data<T: Copy>(UnsafeCell<T>);
    impl<T: Copy> Data<T> {
        pub const fn new(v: T) -> Self {
            Self(UnsafeCell::new(v))
        }
        /// # Safety
        /// No thread may write the cell at the same time.
        #[inline(always)]
        pub unsafe fn get(&self) -> T {
            // SAFETY: no concurrent writer (contract). Volatile, so that a line is read again after each acquire.
            unsafe { self.0.get().read_volatile() }
        }
        /// # Safety
        /// No other thread may touch the cell at the same time.
        #[inline(always)]
        pub unsafe fn set(&self, v: T) {
            // SAFETY: exclusive by contract.
            unsafe { self.0.get().write_volatile(v) }
        }
    }
}

/// Keeps the compiler from moving a load before a store: the sender's side of the barrier for those who go to sleep, who execute
/// the processor's barrier for both sides. Nobody sleeps on the device, and LLVM has no such fence for it.
#[inline(always)]
pub fn light_barrier() {
    #[cfg(not(target_arch = "nvptx64"))]
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

/// The device's nanosecond counter. Here because this is the one file with `asm!`.
#[cfg(target_arch = "nvptx64")]
#[inline(always)]
pub(crate) fn global_timer() -> u64 {
    let now: u64;
    // SAFETY: reads a special register.
    unsafe { core::arch::asm!("mov.u64 {0}, %globaltimer;", out(reg64) now) }
    now
}

/// After a relaxed load of this thread has seen a release store: what was written before that store is visible from here on.
#[inline(always)]
pub(crate) fn acquire_fence<S: Scope>(_: core::marker::PhantomData<S>) {
    S::point();
    #[cfg(all(not(target_arch = "nvptx64"), not(loom)))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
    #[cfg(loom)]
    loom::sync::atomic::fence(loom::sync::atomic::Ordering::Acquire);
    #[cfg(target_arch = "nvptx64")]
    // SAFETY: orders memory accesses.
    unsafe {
        match S::LEVEL {
            0 => core::arch::asm!("fence.acq_rel.cta;"),
            1 => core::arch::asm!("fence.acq_rel.gpu;"),
            _ => core::arch::asm!("fence.acq_rel.sys;"),
        }
    }
}

/// Lets other warps of the multiprocessor run for about this time; at most twice as long, and at most a millisecond.
#[cfg(target_arch = "nvptx64")]
#[inline(always)]
pub(crate) fn pause(ns: u32) {
    // SAFETY: waits.
    unsafe { core::arch::asm!("nanosleep.u32 {0};", in(reg32) ns) }
}

/// Memory that the lanes of this block share: 4 bytes for each of 1,024 lanes. The one place that declares it, called once.
#[cfg(all(target_arch = "nvptx64", warpring_team = "block"))]
#[inline(never)]
pub(crate) fn shared_words() -> *mut u32 {
    let at: u64;
    // SAFETY: takes an address.
    unsafe {
        core::arch::asm!(
            "{{",
            ".shared .align 16 .b8 warpring_words[4096];",
            ".reg .u64 %words;",
            "mov.u64 %words, warpring_words;",
            "cvta.shared.u64 {0}, %words;",
            "}}",
            out(reg64) at
        )
    }
    core::ptr::with_exposed_provenance_mut(at as usize)
}

/// Ends this lane.
#[cfg(target_arch = "nvptx64")]
#[inline(always)]
pub(crate) fn exit() -> ! {
    // SAFETY: the lane runs nothing any more, and its stack goes with it.
    unsafe { core::arch::asm!("exit;", options(noreturn)) }
}

/// `Word32`: a word that one thread writes and others read, through scoped loads and stores. `Data<T>`: content that such a
/// word publishes; plain memory, read and written under the protocol of the structure that holds it.
pub use imp::{Data, Word32};

// SAFETY: a `Data` cell is only touched under the protocol of the structure that holds it (see ring.rs): one writer, and
// readers only after an acquire that pairs with the writer's release.
unsafe impl<T: Copy + Send> Sync for Data<T> {}
// SAFETY: on the device a Word32 is only touched by scoped instructions.
#[cfg(target_arch = "nvptx64")]
unsafe impl Sync for Word32 {}
