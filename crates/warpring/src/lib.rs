//! **Warpring**: ring kernels, which are persistent GPU actors, written once in plain Rust.
//!
//! A kernel is a type that implements [`RingKernelHandler`]; its state lives in [`Resident`] fields that only the
//! [`RingContext`] can open. A runtime launches it, and hands out [`ActorRef`]s to ask it and tell it things. The same source
//! runs on CPU threads, in the warp simulator (feature `sim`), and, compiled to PTX, inside a persistent kernel on the GPU.
#![cfg_attr(target_arch = "nvptx64", no_std)]

// What the macros generate names this crate `::warpring`, also in here.
extern crate self as warpring;

pub use warpring_core::{
    ActorId, Address, Counts, Down, ExitReason, GpuKernel, GroupAddress, How, KernelError, KernelMetadata, KernelMode, Malformed,
    Name, Priority, PublishError, Published, Resident, Result, RingContext, RingKernelHandler, RingMessage, State, Timer,
    TryTellError, module,
};
pub use warpring_macros::{RingKernel, RingMessage, State, export};

#[cfg(not(target_arch = "nvptx64"))]
mod actor_ref;
#[cfg(not(target_arch = "nvptx64"))]
mod ask_cycle;
#[cfg(not(target_arch = "nvptx64"))]
mod backend;
#[cfg(not(target_arch = "nvptx64"))]
mod barrier;
#[cfg(not(target_arch = "nvptx64"))]
mod cells;
#[cfg(not(target_arch = "nvptx64"))]
mod dead_letter;
#[cfg(not(target_arch = "nvptx64"))]
mod deadlines;
#[cfg(not(target_arch = "nvptx64"))]
mod directory;
#[cfg(not(target_arch = "nvptx64"))]
mod ends;
#[cfg(not(target_arch = "nvptx64"))]
pub mod error;
#[cfg(not(target_arch = "nvptx64"))]
mod keeper;
#[cfg(not(target_arch = "nvptx64"))]
mod launch;
#[cfg(not(target_arch = "nvptx64"))]
mod lock;
#[cfg(not(target_arch = "nvptx64"))]
mod memory;
#[cfg(not(target_arch = "nvptx64"))]
mod port;
#[cfg(not(target_arch = "nvptx64"))]
mod recent;
#[cfg(not(target_arch = "nvptx64"))]
mod registry;
#[cfg(not(target_arch = "nvptx64"))]
mod reply;
#[cfg(not(target_arch = "nvptx64"))]
mod runtime;
#[cfg(not(target_arch = "nvptx64"))]
mod shared;
#[cfg(not(target_arch = "nvptx64"))]
mod slots;
#[cfg(not(target_arch = "nvptx64"))]
pub mod snapshot;
#[cfg(not(target_arch = "nvptx64"))]
mod staging;
#[cfg(not(target_arch = "nvptx64"))]
mod state;
#[cfg(not(target_arch = "nvptx64"))]
mod stuck;
#[cfg(not(target_arch = "nvptx64"))]
mod supervise;
#[cfg(not(target_arch = "nvptx64"))]
mod topic;

#[cfg(not(target_arch = "nvptx64"))]
pub use {
    actor_ref::{ActorRef, Ask, Asking, Group, Tell, Telling},
    ask_cycle::AskCycle,
    backend::{Backend, IdlePolicy},
    dead_letter::{DeadLetter, DeadLetterLog, Resend},
    ends::{EndError, Monitor},
    error::{AskError, BuildError, DeadLetterLogError, LaunchError, PayloadError, PortError, Refusal, ShutdownError, TellError},
    launch::LaunchOptions,
    pollster::block_on,
    port::{Port, Ticket},
    registry::{RegisteredName, RegistryError},
    reply::Reply,
    runtime::{Launches, Runtime, RuntimeBuilder, Stats},
    state::StateError,
    stuck::StuckHandler,
    supervise::{ChildSpec, Escalation, Restart, RestartFrom, Strategy, Supervision, Supervisor},
    topic::{Topic, TopicError, TopicStats},
    warpring_core::worker::{Counters, Report},
};

#[cfg(all(feature = "sim", not(target_arch = "nvptx64")))]
pub use backend::SimOptions;
#[cfg(all(feature = "cuda", not(target_arch = "nvptx64")))]
pub use backend::{CudaError, CudaOptions, DeviceInfo, devices};

/// What a kernel's source needs: `use warpring::prelude::*;`.
pub mod prelude {
    pub use warpring_core::{
        ActorId, Address, GpuKernel, GroupAddress, KernelError, Name, Priority, Resident, Result, RingContext, RingKernelHandler,
        RingMessage, State, Timer, TryTellError,
    };
    pub use warpring_macros::{RingKernel, RingMessage, State};

    #[cfg(not(target_arch = "nvptx64"))]
    pub use crate::{ActorRef, AskError, Backend, Group, LaunchOptions, Port, Runtime};
}

/// For generated code only.
#[doc(hidden)]
pub mod __private {
    pub use warpring_core;
}

/// The README's program compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
