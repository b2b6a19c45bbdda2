//! Device memory of the host backends: zeroed, aligned to 128 bytes, touched only when used.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// What every block is aligned to.
const ALIGN: usize = 128;
/// What the system's `calloc` aligns to by itself. For more, the standard library allocates and then clears by hand, which
/// touches every page; so a block asks for no more, and takes the first aligned address in a little more memory.
const GIVEN: usize = 16;

/// A block of zeroed memory.
pub(crate) struct Block {
    /// The first aligned address.
    at: NonNull<u8>,
    bytes: usize,
    /// What was allocated.
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block is plain memory; who may touch it is up to its users.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// `count` values of `bytes` bytes each. Large blocks come straight from the kernel, so what is never used costs nothing.
    pub(crate) fn new(bytes: usize, count: usize) -> Self {
        let bytes = bytes.checked_mul(count).expect("limits are checked by the builder").max(ALIGN);
        let layout = Layout::from_size_align(bytes + (ALIGN - GIVEN), GIVEN).expect("limits are checked by the builder");
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        // SAFETY: `start` is a multiple of `GIVEN`, so at most `ALIGN - GIVEN` bytes are skipped, and `bytes` are left.
        let at = unsafe { start.add(start.align_offset(ALIGN)) };
        Self { at, bytes, start, layout }
    }

    /// `count` values of type `T`.
    pub(crate) fn of<T>(count: usize) -> Self {
        const { assert!(align_of::<T>() <= ALIGN) };
        Self::new(size_of::<T>(), count)
    }

    pub(crate) fn ptr<T>(&self) -> *mut T {
        self.at.as_ptr().cast()
    }

    /// Bytes of the block.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_zero() {
        for (bytes, count) in [(0, 0), (1, 1), (64, 3), (128, 1), (4096, 1000), (1, 1 << 20)] {
            let block = Block::new(bytes, count);
            assert!(block.bytes() >= bytes * count && block.bytes() >= ALIGN);
            assert_eq!(block.ptr::<u8>() as usize % ALIGN, 0);
            // SAFETY: the block has so many bytes, and they are initialised.
            let all = unsafe { std::slice::from_raw_parts(block.ptr::<u8>(), block.bytes()) };
            assert!(all.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn what_is_not_used_is_not_there() {
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux says how many pages are resident");
            pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages") * 4096
        };
        let before = resident();
        let block = Block::new(64, 1 << 22);
        let after = resident();
        let added = after.saturating_sub(before);
        assert!(added < block.bytes() / 4, "{added} of {} bytes are resident", block.bytes());
    }
}
