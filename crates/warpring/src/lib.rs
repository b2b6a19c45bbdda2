//! Warpring: ring kernels, which are persistent GPU actors, written once in plain Rust.
#![cfg_attr(target_arch = "nvptx64", no_std)]

// What the macros generate names this crate `::warpring`, also in here.
extern crate self as warpring;

pub use warpring_core::{
    ActorId, Address, Ask, Counts, GpuKernel, GroupAddress, KernelError, KernelMetadata, KernelMode, Malformed, Priority, Resident,
    Result, RingContext, RingKernelHandler, RingMessage, Sleep, State, TryTellError,
};
pub use warpring_macros::{RingKernel, RingMessage, State, export};

/// What a kernel's source needs: `use warpring::prelude::*;`.
pub mod prelude {
    pub use warpring_core::{
        ActorId, Address, GpuKernel, GroupAddress, KernelError, Priority, Resident, Result, RingContext, RingKernelHandler, RingMessage,
        State, TryTellError,
    };
    pub use warpring_macros::{RingKernel, RingMessage, State};
}

/// For generated code only.
#[doc(hidden)]
pub mod __private {
    pub use warpring_core;
}
