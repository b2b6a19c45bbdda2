//! Device memory of the host backends: zeroed, aligned to 128 bytes, touched only when used.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// A block of zeroed memory.
pub(crate) struct Block {
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
        let size = bytes.checked_mul(count).expect("limits are checked by the builder").max(128);
        let layout = Layout::from_size_align(size, 128).expect("limits are checked by the builder");
        // SAFETY: the layout is not empty.
        let at = unsafe { alloc_zeroed(layout) };
        let Some(at) = NonNull::new(at) else { handle_alloc_error(layout) };
        Self { at, layout }
    }

    /// `count` values of type `T`.
    pub(crate) fn of<T>(count: usize) -> Self {
        const { assert!(align_of::<T>() <= 128) };
        Self::new(size_of::<T>(), count)
    }

    pub(crate) fn ptr<T>(&self) -> *mut T {
        self.at.as_ptr().cast()
    }

    /// Bytes of the block.
    pub(crate) fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.at.as_ptr(), self.layout) }
    }
}
