//! Locks whose holder may have panicked.

use std::sync::{Mutex, MutexGuard};

/// Locks, also after a panic in a thread that held it: what our locks guard is whole between any two statements, and one panic of the
/// user's must not become a panic of everybody.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
