//! The trait family that a user implements.

use core::fmt::Debug;
use core::future::Future;

use crate::context::RingContext;
use crate::error::Result;
use crate::message::RingMessage;

/// How a kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelMode {
    /// A persistent actor that handles messages.
    Ring,
}

impl core::fmt::Display for KernelMode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ring")
    }
}

/// What a kernel says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelMetadata {
    /// `domain/name`, stable over versions.
    pub id: &'static str,
    /// Field of use.
    pub domain: &'static str,
    /// How it runs.
    pub mode: KernelMode,
    /// One sentence.
    pub description: &'static str,
    /// Grows when messages or state change.
    pub version: u32,
    /// The kernel is of no use on another backend than a GPU, which refuses to launch it.
    pub requires_gpu_native: bool,
}

/// What every kernel has. Derive it with `#[derive(RingKernel)]`.
pub trait GpuKernel: Send + Sync + Debug {
    /// What the kernel says about itself.
    fn metadata(&self) -> &KernelMetadata;

    /// Checks the kernel's configuration; called by `launch` before anything else.
    ///
    /// # Errors
    /// What is wrong, as a code that the kernel documents.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// `metadata().id`.
    fn id(&self) -> &str {
        self.metadata().id
    }

    /// `metadata().requires_gpu_native`.
    fn requires_gpu_native(&self) -> bool {
        self.metadata().requires_gpu_native
    }
}

/// A ring kernel: a persistent GPU actor. `M` is the request and `R` the response message.
///
/// An actor that handles several message types implements the trait once for each. `initialize` and `shutdown` belong to the
/// actor, not to the message type: write each in at most one of the implementations (`export!` refuses a second one).
pub trait RingKernelHandler<M, R>: GpuKernel
where
    M: RingMessage + Send + Sync,
    R: RingMessage + Send + Sync,
{
    /// Handles one message. Write it as `async fn`. `&self` is shared by all lanes and read-only; state is opened by `ctx`.
    ///
    /// An error is a reply like any other; a panic ends the actor, which a supervisor may start again.
    fn handle(&self, ctx: &mut RingContext<'_>, msg: M) -> impl Future<Output = Result<R>>;

    /// Called once when the kernel is first activated, before any message, and after each restart. Write it as `async fn`.
    fn initialize(&self, ctx: &mut RingContext<'_>) -> impl Future<Output = Result<()>> {
        let _ = ctx;
        NoHook
    }

    /// Called once when the kernel is being shut down; clean up resources. Not after a kill or a crash. Write it as `async fn`.
    fn shutdown(&self, ctx: &mut RingContext<'_>) -> impl Future<Output = Result<()>> {
        let _ = ctx;
        NoHook
    }
}

/// The future of a hook that nobody wrote. It is the only hook future without a size (one that is written captures `self` and
/// `ctx`), which is how `export!` knows which implementation has a hook.
#[derive(Debug)]
struct NoHook;

impl Future for NoHook {
    type Output = Result<()>;
    #[inline(always)]
    fn poll(self: core::pin::Pin<&mut Self>, _: &mut core::task::Context<'_>) -> core::task::Poll<Result<()>> {
        core::task::Poll::Ready(Ok(()))
    }
}
