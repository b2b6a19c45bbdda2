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

// The host's part, which no device has: a module for the one `cfg`. Its files lie beside this one, and its names are the crate's own.
#[cfg(not(target_arch = "nvptx64"))]
#[path = ""]
mod host {
    pub(crate) mod actor_ref;
    pub(crate) mod ask_cycle;
    pub(crate) mod backend;
    pub(crate) mod barrier;
    pub(crate) mod cells;
    pub(crate) mod dead_letter;
    pub(crate) mod deadlines;
    pub(crate) mod directory;
    pub(crate) mod ends;
    pub mod error;
    pub(crate) mod keeper;
    pub(crate) mod launch;
    pub(crate) mod lock;
    pub(crate) mod memory;
    pub(crate) mod port;
    pub(crate) mod recent;
    pub(crate) mod registry;
    pub(crate) mod reply;
    pub(crate) mod runtime;
    pub(crate) mod shared;
    pub(crate) mod slots;
    pub mod snapshot;
    pub(crate) mod staging;
    pub(crate) mod state;
    pub(crate) mod stuck;
    pub(crate) mod supervise;
    pub(crate) mod topic;

    #[cfg(feature = "sim")]
    pub use backend::SimOptions;
    #[cfg(feature = "cuda")]
    pub use backend::{CudaError, CudaOptions, DeviceInfo, devices};
    pub use {
        actor_ref::{ActorRef, Ask, Asking, Group, Tell, Telling},
        ask_cycle::AskCycle,
        backend::{Backend, IdlePolicy},
        dead_letter::{DeadLetter, DeadLetterLog, Resend},
        ends::{EndError, Monitor},
        error::{
            AskError, BuildError, DeadLetterLogError, LaunchError, PayloadError, PortError, Refusal, ShutdownError, TellError,
        },
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
}
#[cfg(not(target_arch = "nvptx64"))]
pub use host::*;

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
