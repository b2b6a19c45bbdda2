//! The asymmetric barrier between those who send and those who go to sleep.
//!
//! A sender stores a message and then loads a "sleeps" flag; a sleeper stores the flag and then looks for messages once more.
//! One of them must see the other's store, which needs a full barrier on both sides. Sends are a million times as frequent as
//! sleeps, so the sleeper pays for both: `membarrier(2)` makes every running thread of the process execute a barrier. Where
//! the kernel does not offer it, sleeps are short instead (see [`longest_sleep`]), so a missed flag costs a millisecond.

use std::sync::OnceLock;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

/// Sender's side, between the message and the flag.
pub(crate) use warpring_core::scoped::light_barrier as light;

/// Sleeper's side, between the flag and the last look.
pub(crate) fn heavy() {
    fence(Ordering::SeqCst);
    #[cfg(target_os = "linux")]
    if available() {
        // SAFETY: the call takes no pointers. SYNC: sleep (pairs with `light`).
        unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) };
    }
}

/// How long a sleeper may sleep without looking.
pub(crate) fn longest_sleep() -> Duration {
    if available() { Duration::from_millis(100) } else { Duration::from_millis(1) }
}

/// Whether the kernel has the barrier; registers the process the first time.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        #[cfg(all(target_os = "linux", not(miri)))]
        {
            // SAFETY: the calls take no pointers.
            unsafe {
                let offered = libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_QUERY, 0, 0);
                let wanted = i64::from(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
                offered > 0
                    && offered & wanted != 0
                    && libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0
            }
        }
        #[cfg(not(all(target_os = "linux", not(miri))))]
        false
    })
}
