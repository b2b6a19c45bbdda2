//! A module: the kinds of actors that are exported together. `export!` implements [`Module`]; the generic pieces it calls are
//! here, so that the macro only writes tables.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::context::RingContext;
use crate::error::{KernelError, Result};
use crate::fields::{FieldTable, Scalar};
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
/// Every field is [`State`] or [`Resident`], so that the value may be moved to the device byte by byte and is never dropped;
/// `FINGERPRINT` changes when the layout does; as many bytes as it has are a value of it wherever `valid` says so, and it has no
/// padding, or `PADDED` and `clear_padding` say where.
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
    /// Its fields.
    const FIELDS: &'static [FieldTable];
    /// Whether some bytes of it belong to no field.
    const PADDED: bool = false;

    /// Whether these bytes are a value of it.
    #[cfg(not(target_arch = "nvptx64"))]
    #[doc(hidden)]
    fn valid(bytes: &[u8]) -> bool;

    /// Writes zeros into the bytes that belong to no field, after which all may be read as bytes.
    ///
    /// # Safety
    /// `at` points to a value of it, which belongs to the caller alone.
    #[doc(hidden)]
    unsafe fn clear_padding(at: *mut u8) {
        let _ = at;
    }
}

/// What a field of a kernel may be: [`State`], which then does not change, or `Resident<T>`.
///
/// # Safety
/// As for [`State`], except that the content of a `Resident` changes.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a ring kernel",
    label = "this is not plain data of the same layout on host and device",
    note = "a kernel's fields are `Resident<T>` (what changes) or plain `T`, where `T` is a fixed-size integer, a float, `bool`, an array, `ActorId`, `Address<K>`, or your own struct or `#[repr(u8)]` enum of these with `#[derive(Clone, Copy, State)]`"
)]
pub unsafe trait KernelField: Sized {
    const FINGERPRINT: u64;
    const SCALAR: Scalar;
    const FIELDS: &'static [FieldTable];
    const PADDED: bool;
    fn valid(bytes: &[u8]) -> bool;
    /// # Safety
    /// As for [`State::clear_padding`].
    unsafe fn clear_padding(at: *mut u8);
}
// SAFETY: the contract of `State`.
unsafe impl<T: State> KernelField for T {
    const FINGERPRINT: u64 = T::FINGERPRINT;
    const SCALAR: Scalar = T::SCALAR;
    const FIELDS: &'static [FieldTable] = T::FIELDS;
    const PADDED: bool = T::PADDED;
    fn valid(bytes: &[u8]) -> bool {
        T::valid(bytes)
    }
    unsafe fn clear_padding(at: *mut u8) {
        // SAFETY: contract.
        unsafe { T::clear_padding(at) }
    }
}
// SAFETY: `Resident<T>` is a `T` in memory, and `T` is `State`.
unsafe impl<T: State> KernelField for Resident<T> {
    const FINGERPRINT: u64 = layout::mix(T::FINGERPRINT, 0x2e51);
    const SCALAR: Scalar = T::SCALAR;
    const FIELDS: &'static [FieldTable] = T::FIELDS;
    const PADDED: bool = T::PADDED;
    fn valid(bytes: &[u8]) -> bool {
        T::valid(bytes)
    }
    unsafe fn clear_padding(at: *mut u8) {
        // SAFETY: contract.
        unsafe { T::clear_padding(at) }
    }
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
    /// Hash over kinds, messages and the framework's own layouts.
    const FINGERPRINT: u64;
    /// What the host knows about the module.
    fn table() -> &'static ModuleTable;
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
    /// Hash over its layout.
    pub fingerprint: u64,
    /// Its fields, in the order of the source.
    pub fields: &'static [FieldTable],
    /// Whether these bytes are a value of it that its `validate` accepts.
    #[cfg(not(target_arch = "nvptx64"))]
    pub check: fn(&[u8]) -> Result<()>,
    /// Writes zeros into the padding of a value, if it has some; see [`KernelLayout::clear_padding`].
    #[cfg(not(target_arch = "nvptx64"))]
    pub clear_padding: Option<unsafe fn(*mut u8)>,
    /// Whether `initialize` is written.
    pub has_initialize: bool,
    /// Whether `shutdown` is written.
    pub has_shutdown: bool,
    /// Request and response type of each handler, with its number.
    pub handlers: &'static [(&'static str, &'static str, u16)],
    /// The request of each handler, in the same order.
    pub messages: &'static [MessageTable],
}

/// A message type, as the host sees it: what it takes to know its bytes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTable {
    /// [`RingMessage::FINGERPRINT`].
    pub fingerprint: u64,
    /// [`RingMessage::SIZE`].
    pub bytes: u32,
}

impl MessageTable {
    /// The table of `M`. For `export!`.
    #[doc(hidden)]
    pub const fn new<M: RingMessage>() -> Self {
        assert!(M::SIZE <= MAX_PAYLOAD);
        Self { fingerprint: M::FINGERPRINT, bytes: M::SIZE as u32 }
    }
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
    /// The text of its PTX module, if its crate was compiled for the GPU: see `export!`.
    pub ptx: Option<&'static str>,
    /// [`Module::FUTURE_BYTES`] on the host.
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
    /// A launch of one worker of a grid whose blocks are threads.
    ///
    /// # Safety
    /// As for `run_cpu`.
    #[cfg(feature = "sim")]
    pub run_thread_grid: unsafe fn(*mut Worker, &crate::worker::Launch),
}

impl KindTable {
    /// The table of kernel `K`. For `export!`.
    #[doc(hidden)]
    pub const fn new<K: Exported>(
        has_initialize: bool,
        has_shutdown: bool,
        handlers: &'static [(&'static str, &'static str, u16)],
        messages: &'static [MessageTable],
    ) -> Self {
        assert!(size_of::<K>() <= u32::MAX as usize, "a kernel holds less than 4 GiB");
        Self {
            metadata: K::METADATA,
            bytes: size_of::<K>() as u32,
            align: align_of::<K>() as u32,
            fingerprint: K::FINGERPRINT,
            fields: K::FIELDS,
            #[cfg(not(target_arch = "nvptx64"))]
            check: check::<K>,
            #[cfg(not(target_arch = "nvptx64"))]
            clear_padding: if K::PADDED { Some(K::clear_padding) } else { None },
            has_initialize,
            has_shutdown,
            handlers,
            messages,
        }
    }
}

impl ModuleTable {
    /// The table of module `M`. For `export!`, which cannot see this crate's features and target.
    #[doc(hidden)]
    pub const fn new<M: Module>(name: &'static str, kinds: &'static [KindTable], ptx: Option<&'static str>) -> Self {
        Self {
            name,
            fingerprint: M::FINGERPRINT,
            kinds,
            ptx,
            future_bytes: M::FUTURE_BYTES,
            max_lines: M::MAX_LINES,
            #[cfg(not(target_arch = "nvptx64"))]
            run_cpu: run_cpu::<M>,
            #[cfg(feature = "sim")]
            run_sim: crate::run::run::<M, crate::team::sim::Sim>,
            #[cfg(feature = "sim")]
            run_thread_grid: run_thread_grid::<M>,
        }
    }
}

#[cfg(not(target_arch = "nvptx64"))]
fn check<K: Exported>(bytes: &[u8]) -> Result<()> {
    if bytes.len() != size_of::<K>() || !K::valid(bytes) {
        return Err(KernelError::Malformed);
    }
    // SAFETY: as many bytes as a kernel has, and `valid` says that they are one (contract of `KernelLayout`).
    unsafe { bytes.as_ptr().cast::<K>().read_unaligned() }.validate()
}

/// # Safety
/// As for [`ModuleTable::run_cpu`].
#[cfg(not(target_arch = "nvptx64"))]
unsafe fn run_cpu<M: Module>(worker: *mut Worker) {
    // SAFETY: contract.
    unsafe { crate::run::run::<M, crate::team::Cpu>(worker, crate::team::Solo) }
}

/// # Safety
/// As for [`ModuleTable::run_thread_grid`].
#[cfg(feature = "sim")]
unsafe fn run_thread_grid<M: Module>(worker: *mut Worker, launch: &crate::worker::Launch) {
    // SAFETY: contract.
    unsafe {
        (*worker).enter::<crate::team::ThreadGrid>(launch);
        crate::run::run::<M, crate::team::ThreadGrid>(worker, crate::team::Solo)
    }
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
        size_of::<crate::worker::TimerSlot>(),
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

const fn message_lines<M: RingMessage>() -> usize {
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

/// Bytes of the future of `K`'s handler for `M`, or of a hook in that implementation. For `export!`, as are the three below:
/// they ask only for `K: Handles<M>`, so that a kernel without the handler is one error, at the line that lists it.
#[doc(hidden)]
pub const fn bytes_of<K: Handles<M>, M: RingMessage>(op: Op) -> usize {
    match op {
        Op::Handle(_) => handler_bytes(&<K as RingKernelHandler<M, K::Reply>>::handle),
        Op::Initialize => future_bytes(&<K as RingKernelHandler<M, K::Reply>>::initialize),
        Op::Shutdown => future_bytes(&<K as RingKernelHandler<M, K::Reply>>::shutdown),
    }
}

/// # Safety
/// As for [`Module::begin`], for an actor of type `K`.
#[doc(hidden)]
#[cfg_attr(target_arch = "nvptx64", inline)]
#[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
pub unsafe fn begin_op<K: Handles<M>, M: RingMessage>(op: Op, lane: &Lane, request: Lines, lines: u8) -> Poll<Outcome> {
    // SAFETY: contract.
    unsafe {
        match op {
            Op::Handle(_) => begin_handle::<K, M, K::Reply>(lane, request, lines),
            Op::Initialize => begin_hook(lane, <K as RingKernelHandler<M, K::Reply>>::initialize),
            Op::Shutdown => begin_hook(lane, <K as RingKernelHandler<M, K::Reply>>::shutdown),
        }
    }
}

/// # Safety
/// As for [`Module::resume`], for an actor of type `K`.
#[doc(hidden)]
#[cfg_attr(target_arch = "nvptx64", inline)]
#[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
pub unsafe fn resume_op<K: Handles<M>, M: RingMessage>(op: Op, lane: &Lane) -> Poll<Outcome> {
    // SAFETY: contract.
    unsafe {
        match op {
            Op::Handle(_) => resume_handle(lane, <K as RingKernelHandler<M, K::Reply>>::handle),
            Op::Initialize => resume_hook(lane, <K as RingKernelHandler<M, K::Reply>>::initialize),
            Op::Shutdown => resume_hook(lane, <K as RingKernelHandler<M, K::Reply>>::shutdown),
        }
    }
}

/// # Safety
/// As for [`Module::cancel`], for an actor of type `K`.
#[doc(hidden)]
#[cfg_attr(target_arch = "nvptx64", inline)]
#[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
pub unsafe fn cancel_op<K: Handles<M>, M: RingMessage>(op: Op, lane: &Lane) {
    // SAFETY: contract.
    unsafe {
        match op {
            Op::Handle(_) => cancel_handle(lane, <K as RingKernelHandler<M, K::Reply>>::handle),
            Op::Initialize => cancel_hook(lane, <K as RingKernelHandler<M, K::Reply>>::initialize),
            Op::Shutdown => cancel_hook(lane, <K as RingKernelHandler<M, K::Reply>>::shutdown),
        }
    }
}

/// Hash over a handler's number, request and reply. For `export!`.
#[doc(hidden)]
pub const fn handler_print<K: Handles<M>, M: RingMessage>() -> u64 {
    layout::mix(layout::mix(layout::mix(layout::EMPTY, K::TAG as u64), M::FINGERPRINT), <K::Reply as RingMessage>::FINGERPRINT)
}

/// Lines of a handler's request or reply, whichever has more. For `export!`.
#[doc(hidden)]
pub const fn handler_lines<K: Handles<M>, M: RingMessage>() -> usize {
    layout::max(message_lines::<M>(), message_lines::<K::Reply>())
}

/// Hash over a kernel. For `export!`.
#[doc(hidden)]
pub const fn kernel_print<K: Exported>() -> u64 {
    layout::mix(K::FINGERPRINT, K::KIND as u64)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::cell::Cell;
    use core::future::poll_fn;
    use core::ptr;
    use std::boxed::Box;
    use std::rc::Rc;
    use std::thread_local;

    use super::*;
    use crate::handler::KernelMode;
    use crate::team::Solo;

    thread_local! {
        /// Lives in every suspended future of `Pauses`: the count says how many there are.
        static HELD: Rc<()> = Rc::new(());
        static SHUT: Cell<bool> = const { Cell::new(false) };
    }

    #[derive(Debug)]
    struct Pauses {
        add: u32,
    }

    impl GpuKernel for Pauses {
        fn metadata(&self) -> &KernelMetadata {
            &Self::METADATA
        }
    }
    // SAFETY: the only field is a number.
    unsafe impl KernelLayout for Pauses {
        const FINGERPRINT: u64 = 1;
        const FIELDS: &'static [FieldTable] = &[];
        fn valid(_: &[u8]) -> bool {
            true
        }
        const METADATA: KernelMetadata = KernelMetadata {
            id: "test/pauses",
            domain: "test",
            mode: KernelMode::Ring,
            description: "",
            version: 1,
            requires_gpu_native: false,
        };
    }
    impl Exported for Pauses {
        const KIND: u16 = 0;
        fn module() -> &'static ModuleTable {
            unreachable!("no test asks")
        }
    }
    impl Handles<u32> for Pauses {
        type Reply = u32;
        const TAG: u16 = 0;
    }

    impl RingKernelHandler<u32, u32> for Pauses {
        async fn handle(&self, _: &mut RingContext<'_>, n: u32) -> Result<u32> {
            let held = HELD.with(Rc::clone);
            let mut polls = 0;
            poll_fn(|_| {
                polls += 1;
                if polls == 3 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            drop(held);
            Ok(n + self.add)
        }
        async fn shutdown(&self, _: &mut RingContext<'_>) -> Result<()> {
            SHUT.set(true);
            Err(KernelError::rejected(self.add))
        }
    }

    /// A lane for `Pauses`, with room for its futures.
    fn with_lane<R>(f: impl FnOnce(&Lane) -> R) -> R {
        let bytes = largest(0, &[bytes_of::<Pauses, u32>(Op::Handle(0)), bytes_of::<Pauses, u32>(Op::Shutdown)]);
        let mut room = std::vec![0u128; bytes.div_ceil(16)];
        let actor = Box::new(Pauses { add: 7 });
        let mut ctx = RingContext::new(ptr::null_mut(), ptr::null_mut(), Solo.into());
        f(&Lane { state: (&raw const *actor).cast(), ctx: &raw mut ctx, future: room.as_mut_ptr().cast(), rest: ptr::null_mut() })
    }

    fn held() -> usize {
        HELD.with(Rc::strong_count) - 1
    }

    #[test]
    fn a_handler_is_suspended_resumed_and_dropped() {
        let line = Line::default();
        with_lane(|lane| {
            // SAFETY: the lane is free; the line holds the message 0; each resume follows a `Pending`.
            unsafe {
                assert!(begin_op::<Pauses, u32>(Op::Handle(0), lane, Lines::flat(&line), 1).is_pending());
                assert_eq!(held(), 1);
                assert!(resume_op::<Pauses, u32>(Op::Handle(0), lane).is_pending());
                let Poll::Ready(outcome) = resume_op::<Pauses, u32>(Op::Handle(0), lane) else {
                    panic!("it ends at the third poll")
                };
                assert_eq!((outcome.kind(), outcome.first[0]), (message::Kind::Reply, 7));
                assert_eq!(held(), 0);
            }
        });
    }

    #[test]
    fn a_cancelled_handler_is_dropped() {
        let line = Line::default();
        with_lane(|lane| {
            // SAFETY: as above; nothing runs it after the cancel.
            unsafe {
                assert!(begin_op::<Pauses, u32>(Op::Handle(0), lane, Lines::flat(&line), 1).is_pending());
                assert_eq!(held(), 1);
                cancel_op::<Pauses, u32>(Op::Handle(0), lane);
                assert_eq!(held(), 0);
            }
        });
    }

    #[test]
    fn a_hook_runs_and_its_error_is_the_outcome() {
        with_lane(|lane| {
            let line = Line::default();
            // SAFETY: the lane is free.
            let ended = unsafe { begin_op::<Pauses, u32>(Op::Shutdown, lane, Lines::flat(&line), 1) };
            let Poll::Ready(outcome) = ended else { panic!("it does not wait") };
            assert!(SHUT.get());
            assert_eq!((outcome.kind(), outcome.code, outcome.detail), (message::Kind::Failed, 1, 7));
        });
    }

    #[test]
    fn only_hooks_that_are_written_have_a_size() {
        assert_eq!(bytes_of::<Pauses, u32>(Op::Initialize), 0);
        assert!(bytes_of::<Pauses, u32>(Op::Shutdown) > 0);
        assert_eq!(written(&[0, 8, 0, 8]), (2, 1));
        assert_eq!(written(&[0, 0]), (0, usize::MAX));
    }
}
