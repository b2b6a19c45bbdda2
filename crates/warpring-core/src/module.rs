//! A module: the kinds of actors that are exported together. `export!` implements [`Module`]; the generic pieces it calls are
//! here, so that the macro only writes tables.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::context::RingContext;
use crate::error::{KernelError, Result};
use crate::frame::Outcome;
use crate::handler::{GpuKernel, KernelMetadata, RingKernelHandler};
use crate::message::RingMessage;
use crate::ring::Lines;
use crate::worker::Worker;

/// A kernel type of plain data. `derive(RingKernel)` implements it.
///
/// # Safety
/// Every field is [`State`] or [`Resident`](crate::Resident), so that the value may be moved to the device byte by byte and is never dropped;
/// `FINGERPRINT` changes when the layout does.
pub unsafe trait KernelLayout: GpuKernel + Sized + 'static {
    /// Hash over the fields, their offsets and their types.
    const FINGERPRINT: u64;
    /// What the kernel says about itself.
    const METADATA: KernelMetadata;
}

/// A kernel that a module exports.
pub trait Exported: KernelLayout {
    /// Number of the kind in its module.
    const KIND: u16;
    /// The module.
    fn module() -> &'static ModuleTable;
}

/// An exported kernel that takes messages of type `M`.
pub trait Handles<M: RingMessage>: Exported + RingKernelHandler<M, Self::Reply> {
    /// The response message.
    type Reply: RingMessage;
    /// Number of the handler in its module.
    const TAG: u16;
}

/// What a frame runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The handler with this number.
    Handle(u16),
    /// The actor's `initialize`.
    Initialize,
    /// The actor's `shutdown`.
    Shutdown,
}

/// One lane's part of a frame, as the functions below need it.
#[derive(Clone, Copy)]
pub struct Lane {
    /// The actor.
    pub(crate) state: *const u8,
    pub(crate) ctx: *mut RingContext<'static>,
    pub(crate) future: *mut u8,
    /// Where the words of a long reply go.
    pub(crate) rest: *mut u64,
}

/// The kinds of actors of one PTX module or one host vtable. Implemented by `export!`.
///
/// # Safety
/// `begin` and `resume` agree on the future type of each `(kind, op)`, and `LANE_BYTES` fits the largest of them.
pub unsafe trait Module: 'static {
    /// Bytes for the largest future, at alignment 16.
    const FUTURE_BYTES: usize;
    /// Most lines of any request or reply.
    const MAX_LINES: usize;

    /// Starts the handler or hook and runs it up to its first suspension. `None`: this kind has no such handler.
    ///
    /// # Safety
    /// `lane` is a free lane of a frame; `request` holds the message (for `Op::Handle`) and has `lines` lines.
    unsafe fn begin(kind: u16, op: Op, lane: &Lane, request: Lines, lines: u8) -> Option<Poll<Outcome>>;

    /// Goes on with a suspended one.
    ///
    /// # Safety
    /// `begin` was called for the same kind, op and lane and gave `Pending`, as did every `resume` since.
    unsafe fn resume(kind: u16, op: Op, lane: &Lane) -> Poll<Outcome>;

    /// Drops a suspended one.
    ///
    /// # Safety
    /// As for `resume`; nothing may run it afterwards.
    unsafe fn cancel(kind: u16, op: Op, lane: &Lane);
}

/// One kind of actor, as the host sees it.
#[derive(Debug)]
pub struct KindTable {
    /// What the kernel says about itself.
    pub metadata: KernelMetadata,
    /// Bytes of the actor, state included.
    pub bytes: u32,
    /// Its alignment.
    pub align: u32,
    /// Whether `initialize` is written.
    pub has_initialize: bool,
    /// Whether `shutdown` is written.
    pub has_shutdown: bool,
    /// Request and response type of each handler, with its number.
    pub handlers: &'static [(&'static str, &'static str, u16)],
}

/// A module, as the host sees it: what `Runtime::builder().module(..)` takes.
#[derive(Debug)]
pub struct ModuleTable {
    /// Name of the crate that exports it.
    pub name: &'static str,
    /// Hash over kinds, messages and the framework's own layouts.
    pub fingerprint: u64,
    /// The kinds; the index is [`Exported::KIND`].
    pub kinds: &'static [KindTable],
    /// [`Module::FUTURE_BYTES`].
    pub future_bytes: usize,
    /// [`Module::MAX_LINES`].
    pub max_lines: usize,
    /// The worker loop for one CPU thread.
    ///
    /// # Safety
    /// The pointer is a worker that nobody else runs.
    pub run_cpu: unsafe fn(*mut Worker),
    /// The worker loop for one lane of the simulator.
    ///
    /// # Safety
    /// As for `run_cpu`; called once in each lane of a simulated warp.
    #[cfg(feature = "sim")]
    pub run_sim: unsafe fn(*mut Worker, crate::team::sim::SimWarp),
}

/// Bytes of the future that a handler or hook returns. For `export!`.
#[doc(hidden)]
pub const fn future_bytes<A, B, Fut>(_: &impl Fn(A, B) -> Fut) -> usize {
    size_of::<Fut>()
}
/// As [`future_bytes`], for a handler.
#[doc(hidden)]
pub const fn handler_bytes<A, B, C, Fut>(_: &impl Fn(A, B, C) -> Fut) -> usize {
    const { assert!(align_of::<Fut>() <= 16, "the handler holds a value aligned to more than 16 bytes across an await") };
    size_of::<Fut>()
}

impl Lane {
    /// # Safety
    /// `self.state` is a live actor of type `K` that outlives the frame's use of it.
    unsafe fn kernel<K>(&self) -> &'static K {
        // SAFETY: contract; the runtime keeps the actor's memory until all frames are gone.
        unsafe { &*self.state.cast::<K>() }
    }

    /// Writes the future and polls it for the first time.
    ///
    /// # Safety
    /// `self.future` has room for it.
    #[inline(always)]
    unsafe fn start<R: RingMessage, Fut: Future<Output = Result<R>>>(&self, future: Fut) -> Poll<Outcome> {
        let at = self.future.cast::<Fut>();
        // SAFETY: room by contract, alignment checked by `handler_bytes`.
        unsafe {
            at.write(future);
            self.poll::<R, Fut>()
        }
    }

    /// # Safety
    /// `self.future` holds a live `Fut`.
    #[inline(always)]
    unsafe fn poll<R: RingMessage, Fut: Future<Output = Result<R>>>(&self) -> Poll<Outcome> {
        let at = self.future.cast::<Fut>();
        let mut cx = Context::from_waker(Waker::noop());
        // SAFETY: the future does not move until it is dropped here, after its end.
        unsafe {
            match Pin::new_unchecked(&mut *at).poll(&mut cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(result) => {
                    at.drop_in_place();
                    Poll::Ready(match result {
                        Ok(reply) => Outcome::reply(&reply, self.rest),
                        Err(error) => Outcome::failed(error),
                    })
                }
            }
        }
    }
}

/// Starts `K`'s handler for `M`.
///
/// # Safety
/// As for [`Module::begin`], for an actor of type `K`.
#[doc(hidden)]
#[inline(always)]
pub unsafe fn begin_handle<K, M, R>(lane: &Lane, request: Lines, lines: u8) -> Poll<Outcome>
where
    K: RingKernelHandler<M, R> + 'static,
    M: RingMessage,
    R: RingMessage,
{
    // SAFETY: contract. The lane's context lives as long as the frame, and no other future uses it.
    unsafe {
        match request.decode::<M>(lines) {
            Ok(message) => lane.start::<R, _>(K::handle(lane.kernel::<K>(), &mut *lane.ctx, message)),
            Err(_) => Poll::Ready(Outcome::refused(KernelError::Malformed)),
        }
    }
}

/// Goes on with a handler. `_handler` names the future's type.
///
/// # Safety
/// As for [`Module::resume`].
#[doc(hidden)]
#[inline(always)]
pub unsafe fn resume_handle<A, B, C, R, Fut>(lane: &Lane, _handler: impl Fn(A, B, C) -> Fut) -> Poll<Outcome>
where
    R: RingMessage,
    Fut: Future<Output = Result<R>>,
{
    // SAFETY: contract.
    unsafe { lane.poll::<R, Fut>() }
}

/// Drops a suspended handler.
///
/// # Safety
/// As for [`Module::cancel`].
#[doc(hidden)]
#[inline(always)]
pub unsafe fn cancel_handle<A, B, C, Fut>(lane: &Lane, _handler: impl Fn(A, B, C) -> Fut) {
    // SAFETY: contract.
    unsafe { lane.future.cast::<Fut>().drop_in_place() }
}

/// Starts a hook.
///
/// # Safety
/// As for [`Module::begin`], for an actor of type `K`.
#[doc(hidden)]
#[inline(always)]
pub unsafe fn begin_hook<K: 'static, Fut: Future<Output = Result<()>>>(
    lane: &Lane,
    hook: impl FnOnce(&'static K, &'static mut RingContext<'static>) -> Fut,
) -> Poll<Outcome> {
    // SAFETY: as in `begin_handle`.
    unsafe { lane.start::<(), _>(hook(lane.kernel::<K>(), &mut *lane.ctx)) }
}

/// Goes on with a hook.
///
/// # Safety
/// As for [`Module::resume`].
#[doc(hidden)]
#[inline(always)]
pub unsafe fn resume_hook<A, B, Fut: Future<Output = Result<()>>>(lane: &Lane, _hook: impl Fn(A, B) -> Fut) -> Poll<Outcome> {
    // SAFETY: contract.
    unsafe { lane.poll::<(), Fut>() }
}

/// Drops a suspended hook.
///
/// # Safety
/// As for [`Module::cancel`].
#[doc(hidden)]
#[inline(always)]
pub unsafe fn cancel_hook<A, B, Fut>(lane: &Lane, _hook: impl Fn(A, B) -> Fut) {
    // SAFETY: contract.
    unsafe { lane.future.cast::<Fut>().drop_in_place() }
}

