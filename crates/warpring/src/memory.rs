//! Device memory of the host backends: zeroed, aligned to 128 bytes, touched only when used.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Every block starts at a multiple of this: two cache lines, which some machines fetch together.
const ALIGN: usize = 128;

/// A block of zeroed memory.
pub(crate) struct Block {
    /// What the allocator gave.
    base: NonNull<u8>,
    /// The first aligned byte of it.
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a block is plain memory; who may touch it is up to its users.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// `count` values of `bytes` bytes each. Large blocks come straight from the kernel, so what is never used costs nothing.
    pub(crate) fn new(bytes: usize, count: usize) -> Self {
        let size = bytes.checked_mul(count).expect("limits are checked by the builder").max(ALIGN);
        // Not aligned by the allocator: for more than its own alignment, `alloc_zeroed` writes the zeros itself, and so touches every
        // page of a table that may never be filled.
        let layout = Layout::from_size_align(size + ALIGN, 16).expect("limits are checked by the builder");
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { handle_alloc_error(layout) };
        // SAFETY: at most `ALIGN` bytes further, which the layout has beyond `size`.
        let at = unsafe { base.add(base.align_offset(ALIGN)) };
        Self { base, at, layout }
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
        self.layout.size() - ALIGN
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}
