//! Device memory of the host backends: zeroed, aligned to 128 bytes, touched only when used.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// What every block is aligned to.
const ALIGN: usize = 128;
/// What the system's `calloc` aligns to by itself. For more, the standard library allocates and then clears by hand, which
/// touches every page; so a block asks for no more, and takes the first aligned address in a little more memory.
const GIVEN: usize = 16;
/// Areas of so many bytes are mapped.
#[cfg(all(target_os = "linux", not(miri)))]
const LARGE: usize = 1 << 26;
/// A large page, where the system has such: one fault instead of 512.
#[cfg(all(target_os = "linux", not(miri)))]
const LARGE_PAGE: usize = 1 << 21;

/// A block of zeroed memory.
pub(crate) struct Block {
    /// The first aligned address.
    at: NonNull<u8>,
    bytes: usize,
    /// What was allocated.
    start: NonNull<u8>,
    layout: Layout,
    /// By `mmap`, else by the allocator.
    mapped: bool,
}

// SAFETY: a block is plain memory; who may touch it is up to its users.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    /// `count` values of `bytes` bytes each; `None` where the system does not give so much.
    pub(crate) fn try_new(bytes: usize, count: usize) -> Option<Self> {
        let bytes = bytes.checked_mul(count)?.max(ALIGN);
        if let Some(mapped) = Self::map(bytes) {
            return Some(mapped);
        }
        let layout = Layout::from_size_align(bytes.checked_add(ALIGN - GIVEN)?, GIVEN).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        // SAFETY: `start` is a multiple of `GIVEN`, so at most `ALIGN - GIVEN` bytes are skipped, and `bytes` are left.
        let at = unsafe { start.add(start.align_offset(ALIGN)) };
        Some(Self { at, bytes, start, layout, mapped: false })
    }

    /// As [`try_new`](Self::try_new), for sizes that the caller has memory for already.
    pub(crate) fn new(bytes: usize, count: usize) -> Self {
        let Some(block) = Self::try_new(bytes, count) else {
            handle_alloc_error(Layout::from_size_align(bytes.saturating_mul(count), 1).unwrap_or(Layout::new::<u8>()))
        };
        block
    }

    /// As [`new`](Self::new), for memory that is filled at once.
    pub(crate) fn filled(bytes: usize, count: usize) -> Self {
        Self::in_large_pages(bytes.saturating_mul(count)).unwrap_or_else(|| Self::new(bytes, count))
    }

    /// From the beginning of a large page on. The last one may be used in part only: that is little of so large a block.
    #[cfg(all(target_os = "linux", not(miri)))]
    fn in_large_pages(bytes: usize) -> Option<Self> {
        if bytes < 4 * LARGE_PAGE {
            return None;
        }
        let mut block = Self::map_all(bytes.checked_add(LARGE_PAGE)?)?;
        // SAFETY: there is one large page more than is used.
        block.at = unsafe { block.start.add(block.start.align_offset(LARGE_PAGE)) };
        block.bytes = bytes;
        block.prefer_large_pages(0, bytes);
        Some(block)
    }

    /// A large area straight from the system, of which only what is used counts: it may be larger than the machine's memory.
    #[cfg(all(target_os = "linux", not(miri)))]
    fn map(bytes: usize) -> Option<Self> {
        if bytes < LARGE { None } else { Self::map_all(bytes) }
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    fn map_all(bytes: usize) -> Option<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: asks for new memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start = NonNull::new(start.cast())?;
        let layout = Layout::from_size_align(bytes, GIVEN).ok()?;
        Some(Self { at: start, bytes, start, layout, mapped: true })
    }

    #[cfg(any(not(target_os = "linux"), miri))]
    fn in_large_pages(_: usize) -> Option<Self> {
        None
    }

    #[cfg(any(not(target_os = "linux"), miri))]
    fn map(_: usize) -> Option<Self> {
        None
    }

    /// Large pages for these bytes, which are used side by side: whole ones of a block that is mapped, where the system has such.
    pub(crate) fn prefer_large_pages(&self, from: usize, bytes: usize) {
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            let first = self.at.as_ptr() as usize;
            let start = (first + from).next_multiple_of(LARGE_PAGE);
            let end = (first + (from + bytes).min(self.bytes)) / LARGE_PAGE * LARGE_PAGE;
            if self.mapped && start < end {
                // SAFETY: these pages belong to this block alone, and what they hold stays.
                let _ = unsafe { libc::madvise(std::ptr::without_provenance_mut(start), end - start, libc::MADV_HUGEPAGE) };
            }
        }
        #[cfg(any(not(target_os = "linux"), miri))]
        let _ = (from, bytes);
    }

    pub(crate) fn ptr<T>(&self) -> *mut T {
        self.at.as_ptr().cast()
    }

    /// Where it is, for a plan.
    pub(crate) fn address(&self) -> u64 {
        self.at.as_ptr().expose_provenance() as u64
    }

    /// Bytes of the block.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        #[cfg(all(target_os = "linux", not(miri)))]
        if self.mapped {
            // SAFETY: mapped in `map_all` with this length.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.layout.size()) };
            return;
        }
        // SAFETY: allocated in `try_new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_and_zero() {
        for (bytes, count) in [(0, 0), (1, 1), (64, 3), (128, 1), (4096, 1000), (1, 1 << 20), (64, 1 << 21)] {
            for block in [Block::new(bytes, count), Block::filled(bytes, count)] {
                assert!(block.bytes() >= bytes * count && block.bytes() >= ALIGN);
                assert_eq!(block.ptr::<u8>() as usize % ALIGN, 0);
                // SAFETY: the block has so many bytes, and they are initialised.
                let all = unsafe { std::slice::from_raw_parts_mut(block.ptr::<u8>(), block.bytes()) };
                assert!(all.iter().all(|byte| *byte == 0));
                all.fill(1);
            }
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
