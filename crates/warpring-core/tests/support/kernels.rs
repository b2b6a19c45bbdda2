//! Actors that do what their messages say, and the module that holds them, written by hand as `export!` would write it.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::panic::resume_unwind;

use warpring_core::message::{RingMessage, lines_for};
use warpring_core::module::{
    Exported, Handles, KernelLayout, KindTable, Lane, MessageTable, Module, ModuleTable, Op, begin_handle, begin_hook,
    cancel_handle, cancel_hook, future_bytes, handler_bytes, resume_handle, resume_hook,
};
use warpring_core::ring::Lines;
use warpring_core::{
    ActorId, Address, FieldTable, GpuKernel, How, KernelError, KernelMetadata, KernelMode, Malformed, Outcome, Priority,
    Resident, Result, RingContext, RingKernelHandler, TryTellError, layout,
};

use super::{Boom, Event, log};

/// What to do. A command to another actor is `below << 8 | command`, where `below` is what the other is to do.
pub mod op {
    /// Reply with `a`.
    pub const ECHO: u32 = 0;
    /// Add `a` to the state and reply with the sum.
    pub const ADD: u32 = 1;
    /// Ask `to`, and reply with its reply.
    pub const ASK: u32 = 2;
    /// The same with a limit of `a` nanoseconds.
    pub const ASK_WITHIN: u32 = 3;
    /// The same with high priority.
    pub const ASK_HIGH: u32 = 4;
    /// Tell `to`, waiting for room.
    pub const TELL: u32 = 5;
    /// Tell `to` now; 1 when there is no room.
    pub const TRY_TELL: u32 = 6;
    /// Sleep `a` nanoseconds.
    pub const SLEEP: u32 = 7;
    /// Yield `a` times.
    pub const YIELD: u32 = 8;
    pub const PANIC: u32 = 9;
    /// Fail with code `a`.
    pub const FAIL: u32 = 10;
    /// Start to ask `to`, do not await the reply, sleep `a` nanoseconds, then ask again.
    pub const DROP_ASK: u32 = 11;
    /// Tell `to` `a` times.
    pub const TELL_MANY: u32 = 12;
    /// Ask `to` with a message of several lines.
    pub const ASK_BIG: u32 = 13;
    /// Start to ask `to`, drop that, then yield once.
    pub const DROP_ASK_THEN_YIELD: u32 = 14;
    /// Sleep `a`, then panic.
    pub const SLEEP_PANIC: u32 = 15;
    /// Ask `to` until it has replied `a` times; the number of the next is one more.
    pub const ASK_MANY: u32 = 16;
    /// Run the worker that the rig named, from inside this handler.
    pub const RUN_INSIDE: u32 = 17;
    /// Work for `a` nanoseconds, then ask `to`.
    pub const WORK_ASK: u32 = 18;
    /// Stop its own actor.
    pub const STOP: u32 = 19;
    /// The same, after it has slept for `a`.
    pub const STOP_AFTER_SLEEP: u32 = 20;
    /// Spawn a probe with number `a`; reply with its id.
    pub const SPAWN: u32 = 21;
    /// The same, with hooks and a mailbox of two messages.
    pub const SPAWN_FUSSY: u32 = 22;
    /// The same, on the worker of `to`.
    pub const SPAWN_ON: u32 = 23;
    /// Stop `to`.
    pub const END: u32 = 24;
    /// Kill `to`.
    pub const KILL: u32 = 25;
}

/// A message of one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cmd {
    pub id: u32,
    pub op: u32,
    pub a: u64,
    pub to: Address<Probe>,
    /// A byte that may be malformed.
    pub valid: bool,
}

impl Cmd {
    pub fn new(id: u32, op: u32, a: u64) -> Self {
        Self { id, op, a, to: Address::default(), valid: true }
    }
    pub fn to(self, to: Address<Probe>) -> Self {
        Self { to, ..self }
    }
}

impl RingMessage for Cmd {
    const SIZE: usize = 32;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 1;
    fn encode(&self, out: &mut [u8]) {
        self.id.encode(&mut out[..4]);
        self.op.encode(&mut out[4..8]);
        self.a.encode(&mut out[8..16]);
        self.to.encode(&mut out[16..24]);
        self.valid.encode(&mut out[24..25]);
    }
    fn decode(bytes: &[u8]) -> core::result::Result<Self, Malformed> {
        Ok(Self {
            id: u32::decode(&bytes[..4])?,
            op: u32::decode(&bytes[4..8])?,
            a: u64::decode(&bytes[8..16])?,
            to: Address::decode(&bytes[16..24])?,
            valid: bool::decode(&bytes[24..25])?,
        })
    }
}

/// A message of four lines.
pub type Big = [u64; 24];

pub const CMD: u16 = 0;
pub const BIG: u16 = 1;

/// An actor without hooks. It has no padding, which a kernel that travels in a message takes along as it is.
#[derive(Debug)]
pub struct Probe {
    number: u64,
    sum: Resident<u64>,
}

impl Probe {
    pub fn new(number: u32) -> Self {
        Self { number: number.into(), sum: Resident::new(0) }
    }
}

/// What a hook does.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(u32)]
pub enum Hook {
    Ok,
    Fail,
    Panic,
    Sleep,
    SleepFail,
    /// Fails where the state is not 0.
    FailLater,
}

/// An actor with hooks.
#[derive(Debug)]
pub struct Fussy {
    number: u32,
    start: Hook,
    end: Hook,
    sum: Resident<u64>,
}

impl Fussy {
    pub fn new(number: u32, start: Hook, end: Hook) -> Self {
        Self { number, start, end, sum: Resident::new(0) }
    }
}

pub const HOOK_SLEEP: u64 = 5_000;

async fn perform_hook(hook: Hook, ctx: &mut RingContext<'_>, done: Event) -> Result<()> {
    match hook {
        Hook::Ok | Hook::FailLater => {}
        Hook::Fail => return Err(KernelError::rejected(5)),
        Hook::Panic => resume_unwind(Box::new(Boom)),
        Hook::Sleep => ctx.sleep(Duration::from_nanos(HOOK_SLEEP)).await,
        Hook::SleepFail => {
            ctx.sleep(Duration::from_nanos(HOOK_SLEEP)).await;
            return Err(KernelError::rejected(6));
        }
    }
    log(done);
    Ok(())
}

struct Guard(u32, u32, bool);
impl Drop for Guard {
    fn drop(&mut self) {
        if !self.2 {
            log(Event::Dropped(self.0, self.1));
        }
    }
}

async fn perform(number: u32, sum: &Resident<u64>, ctx: &mut RingContext<'_>, cmd: Cmd) -> Result<u64> {
    log(Event::Began(number, cmd.id));
    let mut guard = Guard(number, cmd.id, false);
    let result = carry_out(sum, ctx, cmd).await;
    guard.2 = true;
    log(Event::Ended(number, cmd.id, result));
    result
}

async fn carry_out(sum: &Resident<u64>, ctx: &mut RingContext<'_>, cmd: Cmd) -> Result<u64> {
    let below = Cmd { id: cmd.id + 1000, op: cmd.op >> 8, a: cmd.a, to: Address::new(ctx.actor()), valid: true };
    match cmd.op & 0xff {
        op::ECHO => Ok(cmd.a),
        op::ADD => Ok(ctx.update(sum, |sum| {
            *sum += cmd.a;
            *sum
        })),
        op::ASK => ctx.ask(cmd.to, below).await,
        op::ASK_WITHIN => ctx.ask(cmd.to, below).within(Duration::from_nanos(cmd.a)).await,
        op::ASK_HIGH => ctx.ask(cmd.to, below).priority(Priority::High).await,
        op::TELL => ctx.tell(cmd.to, below).await.map(|()| 0),
        op::TRY_TELL => match ctx.try_tell(cmd.to, below) {
            Ok(()) => Ok(0),
            Err(TryTellError::Full(back)) => {
                assert_eq!(back, below);
                Ok(1)
            }
            Err(TryTellError::Refused(error, back)) => {
                assert_eq!(back, below);
                Err(error)
            }
        },
        op::SLEEP => {
            ctx.sleep(Duration::from_nanos(cmd.a)).await;
            Ok(0)
        }
        op::YIELD => {
            for _ in 0..cmd.a {
                ctx.yield_now().await;
            }
            Ok(0)
        }
        op::PANIC => resume_unwind(Box::new(Boom)),
        op::FAIL => Err(KernelError::rejected(cmd.a as u32)),
        op::DROP_ASK => {
            start_and_drop(ctx, cmd.to, below).await;
            ctx.sleep(Duration::from_nanos(cmd.a)).await;
            ctx.ask(cmd.to, Cmd { id: below.id + 1, a: cmd.a + 1, ..below }).await
        }
        op::TELL_MANY => {
            for i in 0..cmd.a {
                ctx.tell(cmd.to, Cmd { id: below.id + i as u32, a: i, ..below }).await?;
            }
            Ok(cmd.a)
        }
        op::ASK_BIG => {
            let big: Big = core::array::from_fn(|i| cmd.a + i as u64);
            let back = ctx.ask(cmd.to, big).await?;
            assert_eq!(back, big.map(|word| word + 1));
            Ok(back[0])
        }
        op::DROP_ASK_THEN_YIELD => {
            start_and_drop(ctx, cmd.to, below).await;
            ctx.yield_now().await;
            Ok(1)
        }
        op::SLEEP_PANIC => {
            ctx.sleep(Duration::from_nanos(cmd.a)).await;
            resume_unwind(Box::new(Boom))
        }
        op::ASK_MANY => {
            let mut total = 0;
            for i in 0..cmd.a {
                total += ctx.ask(cmd.to, Cmd { id: below.id + i as u32, a: i, ..below }).await?;
            }
            Ok(total)
        }
        op::WORK_ASK => {
            super::work(cmd.a);
            ctx.ask(cmd.to, below).await
        }
        op::STOP => {
            ctx.stop();
            Ok(0)
        }
        op::STOP_AFTER_SLEEP => {
            ctx.sleep(Duration::from_nanos(cmd.a)).await;
            ctx.stop();
            Ok(1)
        }
        op::SPAWN => ctx.spawn(Probe::new(cmd.a as u32)).map(|new| word(new.id())),
        op::SPAWN_FUSSY => ctx.spawn_with_mailbox(Fussy::new(cmd.a as u32, Hook::Ok, Hook::Ok), 2).map(|new| word(new.id())),
        op::SPAWN_ON => ctx.spawn_on(u32::from(cmd.to.id().worker), Probe::new(cmd.a as u32)).await.map(|new| word(new.id())),
        op::END => ctx.end(cmd.to.id(), How::Stop).map(|()| 0),
        op::KILL => ctx.end(cmd.to.id(), How::Kill).map(|()| 0),
        op::RUN_INSIDE => {
            super::run_inside();
            Ok(0)
        }
        _ => Err(KernelError::rejected(u32::MAX)),
    }
}

/// An id as a number, and back.
pub fn word(id: ActorId) -> u64 {
    id.to_bits()
}
pub fn unword(word: u64) -> Address<Probe> {
    Address::new(ActorId::from_bits(word))
}

async fn start_and_drop(ctx: &mut RingContext<'_>, to: Address<Probe>, cmd: Cmd) {
    let mut ask = pin!(ctx.ask(to, cmd));
    poll_fn(|cx| {
        let _ = ask.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

static PROBE: KernelMetadata = KernelMetadata {
    id: "test/probe",
    domain: "test",
    mode: KernelMode::Ring,
    description: "Does what its messages say.",
    version: 1,
    requires_gpu_native: false,
};

impl GpuKernel for Probe {
    fn metadata(&self) -> &KernelMetadata {
        &PROBE
    }
}
impl GpuKernel for Fussy {
    fn metadata(&self) -> &KernelMetadata {
        &PROBE
    }
}

impl RingKernelHandler<Cmd, u64> for Probe {
    async fn handle(&self, ctx: &mut RingContext<'_>, cmd: Cmd) -> Result<u64> {
        perform(self.number as u32, &self.sum, ctx, cmd).await
    }
}
impl RingKernelHandler<Big, Big> for Probe {
    async fn handle(&self, ctx: &mut RingContext<'_>, big: Big) -> Result<Big> {
        log(Event::BeganBig(self.number as u32, big[0]));
        ctx.yield_now().await;
        Ok(big.map(|word| word + 1))
    }
}
impl RingKernelHandler<Cmd, u64> for Fussy {
    async fn handle(&self, ctx: &mut RingContext<'_>, cmd: Cmd) -> Result<u64> {
        perform(self.number, &self.sum, ctx, cmd).await
    }
    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        if self.start == Hook::FailLater && *ctx.read(&self.sum) > 0 {
            return Err(KernelError::rejected(5));
        }
        perform_hook(self.start, ctx, Event::Initialized(self.number)).await
    }
    async fn shutdown(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        perform_hook(self.end, ctx, Event::ShutDown(self.number)).await
    }
}

// SAFETY: a u32 and a Resident.
unsafe impl KernelLayout for Probe {
    const FINGERPRINT: u64 = 1;
    const FIELDS: &'static [FieldTable] = &[];
    fn valid(_: &[u8]) -> bool {
        true
    }
    const METADATA: KernelMetadata = PROBE_METADATA;
}
const PROBE_METADATA: KernelMetadata = KernelMetadata {
    id: "test/probe",
    domain: "test",
    mode: KernelMode::Ring,
    description: "Does what its messages say.",
    version: 1,
    requires_gpu_native: false,
};
impl Exported for Probe {
    const KIND: u16 = 0;
    fn module() -> &'static ModuleTable {
        &MODULE
    }
}
// SAFETY: a u32, two enums without fields, and a Resident.
unsafe impl KernelLayout for Fussy {
    const FINGERPRINT: u64 = 2;
    const FIELDS: &'static [FieldTable] = &[];
    fn valid(_: &[u8]) -> bool {
        true
    }
    const METADATA: KernelMetadata = PROBE_METADATA;
}
impl Exported for Fussy {
    const KIND: u16 = 1;
    fn module() -> &'static ModuleTable {
        &MODULE
    }
}
impl Handles<Cmd> for Probe {
    type Reply = u64;
    const TAG: u16 = CMD;
}
impl Handles<Big> for Probe {
    type Reply = Big;
    const TAG: u16 = BIG;
}

pub struct TestModule;

// SAFETY: `begin`, `resume` and `cancel` name the same function for each kind and op, and the size is the largest of them.
unsafe impl Module for TestModule {
    const FINGERPRINT: u64 = 1;
    fn table() -> &'static ModuleTable {
        &MODULE
    }
    const FUTURE_BYTES: usize = layout::max(
        layout::max(
            handler_bytes(&<Probe as RingKernelHandler<Cmd, u64>>::handle),
            handler_bytes(&<Probe as RingKernelHandler<Big, Big>>::handle),
        ),
        layout::max(
            handler_bytes(&<Fussy as RingKernelHandler<Cmd, u64>>::handle),
            layout::max(
                future_bytes(&<Fussy as RingKernelHandler<Cmd, u64>>::initialize),
                future_bytes(&<Fussy as RingKernelHandler<Cmd, u64>>::shutdown),
            ),
        ),
    );
    const MAX_LINES: usize = lines_for(<Big as RingMessage>::SIZE);

    unsafe fn begin(kind: u16, op: Op, lane: &Lane, request: Lines, lines: u8) -> Option<Poll<Outcome>> {
        // SAFETY: contract.
        unsafe {
            match (kind, op) {
                (0, Op::Handle(CMD)) => Some(begin_handle::<Probe, Cmd, u64>(lane, request, lines)),
                (0, Op::Handle(BIG)) => Some(begin_handle::<Probe, Big, Big>(lane, request, lines)),
                (1, Op::Handle(CMD)) => Some(begin_handle::<Fussy, Cmd, u64>(lane, request, lines)),
                (1, Op::Initialize) => Some(begin_hook(lane, <Fussy as RingKernelHandler<Cmd, u64>>::initialize)),
                (1, Op::Shutdown) => Some(begin_hook(lane, <Fussy as RingKernelHandler<Cmd, u64>>::shutdown)),
                _ => None,
            }
        }
    }

    unsafe fn resume(kind: u16, op: Op, lane: &Lane) -> Poll<Outcome> {
        // SAFETY: contract.
        unsafe {
            match (kind, op) {
                (0, Op::Handle(CMD)) => resume_handle::<_, _, _, u64, _>(lane, <Probe as RingKernelHandler<Cmd, u64>>::handle),
                (0, Op::Handle(BIG)) => resume_handle::<_, _, _, Big, _>(lane, <Probe as RingKernelHandler<Big, Big>>::handle),
                (1, Op::Handle(CMD)) => resume_handle::<_, _, _, u64, _>(lane, <Fussy as RingKernelHandler<Cmd, u64>>::handle),
                (1, Op::Initialize) => resume_hook(lane, <Fussy as RingKernelHandler<Cmd, u64>>::initialize),
                (1, Op::Shutdown) => resume_hook(lane, <Fussy as RingKernelHandler<Cmd, u64>>::shutdown),
                _ => unreachable!("nothing else was begun"),
            }
        }
    }

    unsafe fn cancel(kind: u16, op: Op, lane: &Lane) {
        // SAFETY: contract.
        unsafe {
            match (kind, op) {
                (0, Op::Handle(CMD)) => cancel_handle(lane, <Probe as RingKernelHandler<Cmd, u64>>::handle),
                (0, Op::Handle(BIG)) => cancel_handle(lane, <Probe as RingKernelHandler<Big, Big>>::handle),
                (1, Op::Handle(CMD)) => cancel_handle(lane, <Fussy as RingKernelHandler<Cmd, u64>>::handle),
                (1, Op::Initialize) => cancel_hook(lane, <Fussy as RingKernelHandler<Cmd, u64>>::initialize),
                (1, Op::Shutdown) => cancel_hook(lane, <Fussy as RingKernelHandler<Cmd, u64>>::shutdown),
                _ => unreachable!("nothing else was begun"),
            }
        }
    }
}

const fn kind<K>(hooks: bool) -> KindTable {
    KindTable {
        metadata: PROBE_METADATA,
        bytes: size_of::<K>() as u32,
        align: align_of::<K>() as u32,
        fingerprint: 0,
        fields: &[],
        check: |_| Ok(()),
        clear_padding: None,
        has_initialize: hooks,
        has_shutdown: hooks,
        handlers: &[("Cmd", "u64", CMD)],
        messages: const { &[MessageTable::new::<Cmd>()] },
    }
}

pub static MODULE: ModuleTable = ModuleTable::new::<TestModule>("test", &[kind::<Probe>(false), kind::<Fussy>(true)], None);
