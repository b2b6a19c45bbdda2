//! A module: the kinds of actors that are exported together. `export!` implements [`Module`]; the generic pieces it calls are
//! here, so that the macro only writes tables.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::context::RingContext;
use crate::error::{KernelError, Result};
use crate::frame::{Frame, Outcome};
use crate::handler::{GpuKernel, KernelMetadata, RingKernelHandler};
use crate::layout;
use crate::mailbox::Actor;
use crate::message::{self, Header, MAX_PAYLOAD, RingMessage, lines_for};
use crate::resident::{Resident, State};
use crate::ring::{Line, Lines};
use crate::worker::{Peer, Worker};

/// A kernel type of plain data. `derive(RingKernel)` implements it.
///
/// # Safety
/// Every field is [`State`] or [`Resident`](crate::Resident), so that the value may be moved to the device byte by byte and is never dropped;
/// `FINGERPRINT` changes when the layout does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ring kernel",
    label = "`RingKernel` is not derived for this",
    note = "add `#[derive(Debug, RingKernel)]` and `#[ring_kernel(id = \"domain/name\")]` to `{Self}`"
)]
pub unsafe trait KernelLayout: GpuKernel + Sized + 'static {
    /// Hash over the fields, their offsets and their types.
    const FINGERPRINT: u64;
    /// What the kernel says about itself.
    const METADATA: KernelMetadata;
}

/// What a field of a kernel may be: [`State`], which then does not change, or `Resident<T>`.
///
/// # Safety
/// As for [`State`], except that the content of a `Resident` changes.
#[doc(hidden)]
pub unsafe trait KernelField {
    const FINGERPRINT: u64;
}
// SAFETY: the contract of `State`.
unsafe impl<T: State> KernelField for T {
    const FINGERPRINT: u64 = T::FINGERPRINT;
}
// SAFETY: `Resident<T>` is a `T` in memory, and `T` is `State`.
unsafe impl<T: State> KernelField for Resident<T> {
    const FINGERPRINT: u64 = layout::mix(T::FINGERPRINT, 0x2e51);
}

/// A kernel that a module exports.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not exported",
    label = "no `warpring::export!` lists this kernel",
    note = "list `{Self}` in the `warpring::export!` of its crate"
)]
pub trait Exported: KernelLayout {
    /// Number of the kind in its module.
    const KIND: u16;
    /// The module.
    fn module() -> &'static ModuleTable;
}

/// An exported kernel that takes messages of type `M`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` takes no messages of type `{M}`",
    label = "not listed in `warpring::export!`",
    note = "implement `RingKernelHandler<{M}, Reply>` for `{Self}`, and list `{M} => Reply` under `{Self}` in `warpring::export!`"
)]
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
/// `begin`, `resume` and `cancel` agree on the future type of each `(kind, op)`, and `FUTURE_BYTES` fits the largest of them.
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
    #[cfg(not(target_arch = "nvptx64"))]
    pub run_cpu: unsafe fn(*mut Worker),
    /// The worker loop for one lane of the simulator.
    ///
    /// # Safety
    /// As for `run_cpu`; called once in each lane of a simulated warp.
    #[cfg(feature = "sim")]
    pub run_sim: unsafe fn(*mut Worker, crate::team::sim::SimWarp),
}

impl KindTable {
    /// The table of kernel `K`. For `export!`.
    #[doc(hidden)]
    pub const fn new<K: KernelLayout>(
        has_initialize: bool,
        has_shutdown: bool,
        handlers: &'static [(&'static str, &'static str, u16)],
    ) -> Self {
        assert!(size_of::<K>() <= u32::MAX as usize, "a kernel holds less than 4 GiB");
        Self { metadata: K::METADATA, bytes: size_of::<K>() as u32, align: align_of::<K>() as u32, has_initialize, has_shutdown, handlers }
    }
}

impl ModuleTable {
    /// The table of module `M`. For `export!`, which cannot see this crate's features and target.
    #[doc(hidden)]
    pub const fn new<M: Module>(name: &'static str, fingerprint: u64, kinds: &'static [KindTable]) -> Self {
        Self {
            name,
            fingerprint,
            kinds,
            future_bytes: M::FUTURE_BYTES,
            max_lines: M::MAX_LINES,
            #[cfg(not(target_arch = "nvptx64"))]
            run_cpu: run_cpu::<M>,
            #[cfg(feature = "sim")]
            run_sim: crate::run::run::<M, crate::team::sim::Sim>,
        }
    }
}

/// # Safety
/// As for [`ModuleTable::run_cpu`].
#[cfg(not(target_arch = "nvptx64"))]
unsafe fn run_cpu<M: Module>(worker: *mut Worker) {
    // SAFETY: contract.
    unsafe { crate::run::run::<M, crate::team::Cpu>(worker, crate::team::Solo) }
}

/// Hash over the framework's own layouts and the given parts. For `export!`.
///
/// The sizes of futures are no part of it: host and device may lay out a future differently, and only the device's own counts.
#[doc(hidden)]
pub const fn fingerprint(parts: &[u64]) -> u64 {
    let mut hash = layout::mix_bytes(layout::EMPTY, env!("CARGO_PKG_VERSION").as_bytes());
    let own = [
        size_of::<Header>(),
        size_of::<Line>(),
        size_of::<Actor>(),
        size_of::<Frame>(),
        size_of::<Outcome>(),
        size_of::<Peer>(),
        size_of::<Worker>(),
        message::LINE_BYTES,
        message::FIRST_PAYLOAD,
        message::NEXT_PAYLOAD,
    ];
    let mut i = 0;
    while i < own.len() {
        hash = layout::mix(hash, own[i] as u64);
        i += 1;
    }
    i = 0;
    while i < parts.len() {
        hash = layout::mix(hash, parts[i]);
        i += 1;
    }
    hash
}

/// The largest of these, and at least `least`. For `export!`.
#[doc(hidden)]
pub const fn largest(least: usize, sizes: &[usize]) -> usize {
    let mut most = least;
    let mut i = 0;
    while i < sizes.len() {
        most = layout::max(most, sizes[i]);
        i += 1;
    }
    most
}

/// Lines of a message of type `M`. For `export!`.
#[doc(hidden)]
pub const fn message_lines<M: RingMessage>() -> usize {
    const {
        assert!(
            M::SIZE <= MAX_PAYLOAD,
            "a ring message holds at most 424 bytes: send it in parts, or keep it in resident state and send an index"
        )
    };
    lines_for(M::SIZE)
}

/// How many of a kernel's hook futures somebody wrote, and the number of the first; `usize::MAX` if there is none. A hook that
/// nobody wrote has a future without a size. For `export!`.
#[doc(hidden)]
pub const fn written(sizes: &[usize]) -> (usize, usize) {
    let mut count = 0;
    let mut first = usize::MAX;
    let mut i = sizes.len();
    while i > 0 {
        i -= 1;
        if sizes[i] > 0 {
            count += 1;
            first = i;
        }
    }
    (count, first)
}

/// What [`Module::resume`] gives for what was never begun, which its contract excludes. For `export!`.
#[doc(hidden)]
#[cold]
pub fn not_begun() -> Poll<Outcome> {
    Poll::Ready(Outcome::failed(KernelError::Malformed))
}

/// Bytes of the future that a hook returns. For `export!`.
#[doc(hidden)]
pub const fn future_bytes<A, B, Fut>(_: &impl Fn(A, B) -> Fut) -> usize {
    const { assert!(align_of::<Fut>() <= 16, "the hook holds a value aligned to more than 16 bytes across an await") };
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

