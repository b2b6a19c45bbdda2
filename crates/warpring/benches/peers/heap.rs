//! Heap bytes, counted on demand.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

static COUNTING: AtomicBool = AtomicBool::new(false);
static BYTES: AtomicI64 = AtomicI64::new(0);

/// The system's allocator with a count of the bytes that its users ask for.
///
/// It counts only within [`bytes_during`]: a shared counter that every allocation moves would slow exactly those peers
/// down that allocate for every message. Outside it costs the load of a flag that never changes.
pub struct Counting;

/// Bytes that `work` has allocated and not freed. Allocations of other threads count too.
pub fn bytes_during<T>(work: impl FnOnce() -> T) -> (i64, T) {
    // Relaxed: the flag and the sum publish nothing else. `work` runs on this thread, or hands over to threads and
    // back through synchronisation of its own, so that they see the flag.
    BYTES.store(0, Ordering::Relaxed);
    COUNTING.store(true, Ordering::Relaxed);
    let result = work();
    COUNTING.store(false, Ordering::Relaxed);
    (BYTES.load(Ordering::Relaxed), result)
}

#[inline]
fn count(bytes: i64) {
    if COUNTING.load(Ordering::Relaxed) {
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every method hands its arguments to the system's allocator unchanged and returns what that returns, so its
// guarantees hold here. Counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as in `alloc`; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: as in `alloc`; the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
