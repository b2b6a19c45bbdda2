//! Everything of Warpring that runs inside a worker, on a CPU thread as on the GPU: messages, rings, mailboxes, frames, the
//! scheduler, the context, and the loop in [`run`](mod@run). No allocation, no dependency on the host.
//!
//! Users name the crate `warpring`, which exports what they need of this one.
#![cfg_attr(not(feature = "sim"), no_std)]
#![cfg_attr(target_arch = "nvptx64", feature(asm_experimental_arch, stdarch_nvptx, link_llvm_intrinsics, abi_unadjusted))]
#![cfg_attr(target_arch = "nvptx64", allow(internal_features))]

#[cfg(any(loom, test))]
extern crate std;

mod address;
mod context;
pub mod device;
pub mod directory;
mod error;
mod exit;
mod fields;
mod frame;
mod handler;
pub mod layout;
mod mailbox;
pub mod message;
pub mod module;
mod name;
#[doc(hidden)]
pub mod padding;
pub mod plan;
pub mod post;
mod resident;
pub mod ring;
pub mod run;
pub mod scoped;
mod shown;
pub mod team;
pub mod worker;

pub use address::{ActorId, Address, GroupAddress};
pub use context::{Ask, Counts, Priority, PublishError, RingContext, SPAWNED_MAILBOX, Sleep, SpawnOn, TryTellError};
pub use error::{KernelError, Result};
pub use exit::{Down, ExitReason};
pub use fields::{FieldTable, Scalar};
pub use frame::{Frame, Outcome};
pub use handler::{GpuKernel, KernelMetadata, KernelMode, RingKernelHandler};
pub use mailbox::Actor;
pub use message::{Malformed, RingMessage};
pub use name::Name;
pub use resident::{Resident, State};
pub use shown::Doing;
pub use worker::{How, Published, Timer};
