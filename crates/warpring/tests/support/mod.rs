//! Kernels, gates and tallies that the tests of the host runtime share, and the list of backends that they run on.
//!
//! What a test wants to know beyond the replies, the kernels count in `TALLIES`; where a test wants a handler to wait, the handler
//! waits for a gate. Both are touched only inside `ctx.update`, which runs once whatever the size of the team.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod folder;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use warpring::RuntimeBuilder;
use warpring::prelude::*;

/// Runs each test on each backend of this build.
#[allow(unused_macros, reason = "each test file uses a part")]
macro_rules! on_every_backend {
    ($($name:ident)*) => {
        mod cpu {
            $(#[test]
            fn $name() {
                super::$name(&warpring::Backend::Cpu)
            })*
        }
        /// The host's side of the CUDA backend, over threads in place of blocks.
        #[cfg(all(feature = "sim", feature = "cuda"))]
        mod cuda_on_threads {
            $(#[test]
            fn $name() {
                super::$name(&warpring::Backend::Cuda(warpring::CudaOptions::default().on_threads()))
            })*
        }
        #[cfg(feature = "sim")]
        mod sim {
            $(#[test]
            fn $name() {
                super::$name(&warpring::Backend::Sim(Default::default()))
            })*
        }
    };
}
#[allow(unused_imports, reason = "each test file uses a part")]
pub(crate) use on_every_backend;

/// Whether the workers run while no host thread waits.
pub fn has_threads(on: &Backend) -> bool {
    !on.to_string().starts_with("sim")
}

/// Whether it is the CUDA backend, on whatever stands for the device.
pub fn is_grid(on: &Backend) -> bool {
    on.to_string() == "cuda"
}

/// Two workers that are not pinned, because tests run beside each other.
pub fn builder(on: &Backend) -> RuntimeBuilder {
    Runtime::builder().module(&MODULE).backend(on.clone()).workers(2).pin(false).max_actors(1 << 16)
}

pub fn runtime(on: &Backend) -> Runtime {
    builder(on).build().expect("the settings are in range")
}

/// Waits for something that is certain to come; only a hang fails, after a minute.
pub fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(60), "not reached within a minute: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A small generator: what a seed gives, it gives again.
pub struct Dice(u64);
impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// What the actors with one number have done.
#[derive(Default)]
pub struct Tally {
    pub initialized: AtomicU64,
    pub handled: AtomicU64,
    pub shut: AtomicU64,
    /// Something happened out of order.
    pub wrong: AtomicU64,
    /// Handlers that wait at the gate now or have done so.
    pub arrived: AtomicU64,
    pub open: AtomicBool,
}

impl Tally {
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::SeqCst)
    }
    pub fn wrong(&self) -> u64 {
        self.wrong.load(Ordering::SeqCst)
    }
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::SeqCst)
    }
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

static TALLIES: [Tally; 4096] = [const {
    Tally {
        initialized: AtomicU64::new(0),
        handled: AtomicU64::new(0),
        shut: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
        arrived: AtomicU64::new(0),
        open: AtomicBool::new(false),
    }
}; 4096];

/// A tally that nobody else has.
pub fn tally() -> (u32, &'static Tally) {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    (number, at(number))
}

pub fn at(number: u32) -> &'static Tally {
    &TALLIES[number as usize]
}

fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Add {
    pub n: u64,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Get;
/// Fails with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Fail {
    pub code: u32,
}
/// Panics, after a pause if it is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Crash {
    pub pause_ns: u64,
}
/// Adds `n` after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Nap {
    pub ns: u64,
    pub n: u64,
}
/// Waits, suspended, until the gate of tally `gate` is open, then adds `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Wait {
    pub gate: u32,
    pub n: u64,
}
/// As `Wait`, but keeps the worker's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Block {
    pub gate: u32,
}
/// Number `seq` of sender `from`: they must come in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Note {
    pub from: u32,
    pub seq: u64,
}
/// What has come, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Order {
    pub count: u32,
    pub seen: [u8; 60],
}

/// A counter with every way to answer, and both hooks.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/counter", validate = Counter::check)]
pub struct Counter {
    pub tally: u32,
    /// `initialize` sleeps so long; with 1 it fails, with 2 it panics.
    pub initialize_ns: u64,
    pub shutdown_ns: u64,
    /// Hears the actor's address from `initialize`.
    pub poker: Address<Poker>,
    pub invalid: bool,
    pub up: Resident<u32>,
    pub down: Resident<u32>,
    pub total: Resident<u64>,
    pub last: Resident<[u64; 16]>,
    pub seen: Resident<[u8; 60]>,
    pub count: Resident<u32>,
}

impl Counter {
    pub fn new(tally: u32) -> Self {
        Self {
            tally,
            initialize_ns: 0,
            shutdown_ns: 0,
            poker: Address::default(),
            invalid: false,
            up: 0.into(),
            down: 0.into(),
            total: 0.into(),
            last: [0; 16].into(),
            seen: [0; 60].into(),
            count: 0.into(),
        }
    }

    fn check(&self) -> Result<()> {
        if self.invalid { Err(KernelError::rejected(41)) } else { Ok(()) }
    }

    /// Books a message, and that it came between `initialize` and `shutdown`.
    fn book(&self, ctx: &mut RingContext<'_>, n: u64) -> u64 {
        let between = *ctx.read(&self.up) == 1 && *ctx.read(&self.down) == 0;
        ctx.update(&self.total, |total| {
            bump(&at(self.tally).handled);
            if !between {
                bump(&at(self.tally).wrong);
            }
            *total += n;
            *total
        })
    }
}

impl RingKernelHandler<Add, u64> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: Add) -> Result<u64> {
        Ok(self.book(ctx, add.n))
    }
    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        if self.poker != Address::default() {
            let me = ctx.address(self);
            ctx.tell(self.poker, Poke { who: me }).await?;
        }
        match self.initialize_ns {
            0 => {}
            1 => return Err(KernelError::rejected(17)),
            2 => panic!("initialize is broken"),
            ns => ctx.sleep(Duration::from_nanos(ns)).await,
        }
        ctx.update(&self.up, |up| {
            *up += 1;
            bump(&at(self.tally).initialized);
        });
        Ok(())
    }
    async fn shutdown(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        ctx.update(&self.down, |down| {
            *down += 1;
            bump(&at(self.tally).shut);
            if *down > 1 {
                bump(&at(self.tally).wrong);
            }
        });
        if self.shutdown_ns > 0 {
            ctx.sleep(Duration::from_nanos(self.shutdown_ns)).await;
        }
        Ok(())
    }
}
impl RingKernelHandler<Get, u64> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Get) -> Result<u64> {
        Ok(*ctx.read(&self.total))
    }
}
impl RingKernelHandler<Fail, ()> for Counter {
    async fn handle(&self, _: &mut RingContext<'_>, fail: Fail) -> Result<()> {
        Err(KernelError::rejected(fail.code))
    }
}
/// The line below, as the test wants to hear it.
pub const CRASH_LINE: u32 = line!() + 6;
impl RingKernelHandler<Crash, ()> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, crash: Crash) -> Result<()> {
        if crash.pause_ns > 0 {
            ctx.sleep(Duration::from_nanos(crash.pause_ns)).await;
        }
        panic!("crashed as asked, after {} ns", crash.pause_ns);
    }
}
impl RingKernelHandler<Nap, u64> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, nap: Nap) -> Result<u64> {
        ctx.sleep(Duration::from_nanos(nap.ns)).await;
        Ok(self.book(ctx, nap.n))
    }
}
impl RingKernelHandler<Wait, u64> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, wait: Wait) -> Result<u64> {
        ctx.update(&self.total, |_| bump(&at(wait.gate).arrived));
        while !ctx.update(&self.total, |_| at(wait.gate).open.load(Ordering::SeqCst)) {
            ctx.sleep(Duration::from_micros(100)).await;
        }
        Ok(self.book(ctx, wait.n))
    }
}
impl RingKernelHandler<Block, ()> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, block: Block) -> Result<()> {
        ctx.update(&self.total, |_| {
            bump(&at(block.gate).arrived);
            while !at(block.gate).open.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
        Ok(())
    }
}
impl RingKernelHandler<Note, ()> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, note: Note) -> Result<()> {
        self.book(ctx, 1);
        ctx.update(&self.last, |last| {
            if note.seq != last[note.from as usize] + 1 {
                bump(&at(self.tally).wrong);
            }
            last[note.from as usize] = note.seq;
        });
        let at = ctx.update(&self.count, |count| {
            *count += 1;
            *count - 1
        });
        if at < 60 {
            ctx.update(&self.seen, |seen| seen[at as usize] = note.seq as u8);
        }
        Ok(())
    }
}
impl RingKernelHandler<(), Order> for Counter {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ()) -> Result<Order> {
        Ok(Order { count: *ctx.read(&self.count), seen: *ctx.read(&self.seen) })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Poke {
    pub who: Address<Counter>,
}
/// Sends `count` notes to `to`.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Spread {
    pub to: Address<Counter>,
    pub from: u32,
    pub count: u64,
}
/// Asks `to` to add `n`.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Forward {
    pub to: Address<Counter>,
    pub n: u64,
    /// 0: the runtime's limit.
    pub within_ns: u64,
}
/// Asks `to` to go on to `then`, which is asked for nothing: a cycle if `then` is the first.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Through {
    pub to: Address<Poker>,
    pub then: Address<Poker>,
    pub depth: u32,
}
/// Answers what an ask to itself gives.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Mirror;
/// Goes `rows` further rows through a group of `width` in a row.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Travel {
    pub group: GroupAddress<Poker>,
    pub index: u32,
    pub width: u32,
    pub rows: u32,
}
/// Tells `to` to do what it does on this message.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Tell {
    pub to: Address<Counter>,
    /// 0 add, 1 fail, 2 crash, 3 nap.
    pub what: u32,
}

/// What a handler sees of its call.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Seen {
    pub from_host: bool,
    pub sender: ActorId,
    pub own: ActorId,
    pub now: u64,
    pub deadline: u64,
    pub handled: u32,
    pub waiting: u32,
    pub workers: u32,
    pub lanes: u32,
}
/// Asks for `Seen`; with `via`, `via` asks for it.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Look {
    pub via: Address<Poker>,
}

/// Sends to other actors.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "test/poker")]
pub struct Poker {
    pub sent: Resident<u64>,
}

impl RingKernelHandler<Poke, ()> for Poker {
    async fn handle(&self, ctx: &mut RingContext<'_>, poke: Poke) -> Result<()> {
        ctx.tell(poke.who, Add { n: 1 }).await?;
        ctx.tell(poke.who, Note { from: 0, seq: 1 }).await?;
        ctx.ask(poke.who, Add { n: 1 }).await?;
        Ok(())
    }
}
impl RingKernelHandler<Spread, u64> for Poker {
    async fn handle(&self, ctx: &mut RingContext<'_>, spread: Spread) -> Result<u64> {
        for seq in 1..=spread.count {
            // The mailbox on the own worker is no ring: it refuses, and the sender has to wait by itself.
            while let Err(error) = ctx.tell(spread.to, Note { from: spread.from, seq }).await {
                match error {
                    KernelError::MailboxFull { .. } | KernelError::Overloaded => ctx.yield_now().await,
                    error => return Err(error),
                }
            }
        }
        Ok(spread.count)
    }
}
impl RingKernelHandler<Forward, u64> for Poker {
    async fn handle(&self, ctx: &mut RingContext<'_>, forward: Forward) -> Result<u64> {
        let ask = ctx.ask(forward.to, Add { n: forward.n });
        if forward.within_ns > 0 { ask.within(Duration::from_nanos(forward.within_ns)).await } else { ask.await }
    }
}
impl RingKernelHandler<Through, u32> for Poker {
    async fn handle(&self, ctx: &mut RingContext<'_>, through: Through) -> Result<u32> {
        if through.depth == 0 {
            return Ok(0);
        }
        let next = Through { to: through.then, then: through.to, depth: through.depth - 1 };
        Ok(1 + ctx.ask(through.to, next).await?)
    }
}
impl RingKernelHandler<Mirror, u32> for Poker {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Mirror) -> Result<u32> {
        let me = ctx.address(self);
        let asked = ctx.ask(me, Mirror).await;
        Ok(if asked == Err(KernelError::AskedItself) { 1 } else { 0 })
    }
}
impl RingKernelHandler<Travel, u32> for Poker {
    async fn handle(&self, ctx: &mut RingContext<'_>, travel: Travel) -> Result<u32> {
        ctx.update(&self.sent, |sent| *sent += 1);
        if travel.rows == 0 {
            return Ok(1);
        }
        let row = travel.index / travel.width;
        let column = (travel.index * 7 + 3) % travel.width;
        let index = (row + 1) * travel.width + column;
        let to = travel.group.get(index).ok_or(KernelError::rejected(index))?;
        Ok(1 + ctx.ask(to, Travel { index, rows: travel.rows - 1, ..travel }).await?)
    }
}
impl RingKernelHandler<Tell, ()> for Poker {
    async fn handle(&self, ctx: &mut RingContext<'_>, tell: Tell) -> Result<()> {
        match tell.what {
            0 => ctx.tell(tell.to, Add { n: 1 }).await,
            1 => ctx.tell(tell.to, Fail { code: 3 }).await,
            2 => ctx.tell(tell.to, Crash { pause_ns: 0 }).await,
            _ => ctx.tell(tell.to, Nap { ns: 50_000, n: 1 }).await,
        }
    }
}
impl RingKernelHandler<Look, Seen> for Poker {
    async fn handle(&self, ctx: &mut RingContext<'_>, look: Look) -> Result<Seen> {
        if look.via != Address::default() {
            return ctx.ask(look.via, Look { via: Address::default() }).await;
        }
        let counts = ctx.counts();
        Ok(Seen {
            from_host: ctx.sender().is_none(),
            sender: ctx.sender().unwrap_or_default(),
            own: ctx.actor(),
            now: ctx.now(),
            deadline: ctx.deadline().unwrap_or_default(),
            handled: counts.handled,
            waiting: counts.waiting,
            workers: ctx.workers(),
            lanes: ctx.team_size(),
        })
    }
}

/// A payload of `N` words: 4 fill one line, each 7 more another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Big<const N: usize> {
    pub words: [u64; N],
}
impl<const N: usize> Big<N> {
    pub fn from(start: u64) -> Self {
        Self { words: std::array::from_fn(|i| start.wrapping_add((i as u64).wrapping_mul(0x0101_0101_0101_0101))) }
    }
    pub fn next(self) -> Self {
        Self { words: self.words.map(|word| word.wrapping_add(1)) }
    }
}

/// Answers a `Big` with every word one more; with an address that is not its own, by asking there.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/echo")]
pub struct Echo {
    pub next: Address<Echo>,
}
macro_rules! echoes {
    ($($n:literal)*) => {$(
        impl RingKernelHandler<Big<$n>, Big<$n>> for Echo {
            async fn handle(&self, ctx: &mut RingContext<'_>, big: Big<$n>) -> Result<Big<$n>> {
                let big = if self.next == Address::default() { big } else { ctx.ask(self.next, big).await? };
                Ok(big.next())
            }
        }
    )*};
}
echoes!(4 11 18 25 32 39 46 53);
impl RingKernelHandler<Wait, ()> for Echo {
    async fn handle(&self, ctx: &mut RingContext<'_>, wait: Wait) -> Result<()> {
        let me = ctx.actor();
        let _ = me;
        ctx.for_each(1, |_| bump(&at(wait.gate).arrived));
        loop {
            let open = ctx.reduce(1, 0u32, |_| u32::from(at(wait.gate).open.load(Ordering::SeqCst)), |a, b| a | b);
            if open == 1 {
                return Ok(());
            }
            ctx.sleep(Duration::from_micros(100)).await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Together {
    pub n: u32,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Sums {
    pub reduced: u64,
    pub scanned: u64,
    pub prefix_of_prefixes: u64,
    pub each: u64,
    pub ballot: u32,
    pub broadcast: u32,
    pub lanes: u32,
}
/// Uses every collective.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/team")]
pub struct TeamWork {
    pub cells: Resident<[u64; 100]>,
}
impl RingKernelHandler<Together, Sums> for TeamWork {
    async fn handle(&self, ctx: &mut RingContext<'_>, together: Together) -> Result<Sums> {
        let n = together.n;
        ctx.update_each(&self.cells, |i, cell| *cell = u64::from(i) * 3);
        let reduced = ctx.reduce(n, 0u64, u64::from, |a, b| a + b);
        let mut own = 0u64;
        let scanned = ctx.scan(n, 0u64, u64::from, |a, b| a + b, |i, prefix| own += prefix * u64::from(i + 1));
        let lane = ctx.lane();
        // Each lane's share, put together.
        let lanes = ctx.team_size();
        let shares = ctx.reduce(lanes, 0u64, |i| if i == lane { own } else { 0 }, |a, b| a.wrapping_add(b));
        let mut seen = 0u64;
        ctx.for_each(n, |i| seen += u64::from(i));
        let _ = seen;
        let each = ctx.read(&self.cells).iter().sum();
        let ballot = ctx.ballot(true);
        let broadcast = ctx.broadcast(lane + 5, 0);
        Ok(Sums { reduced, scanned, prefix_of_prefixes: shares, each, ballot, broadcast, lanes })
    }
}

/// Runs on a GPU only.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "test/gpu", requires_gpu_native = true)]
pub struct GpuOnly {
    pub x: Resident<u64>,
}
impl RingKernelHandler<Get, u64> for GpuOnly {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Get) -> Result<u64> {
        Ok(*ctx.read(&self.x))
    }
}

/// Eight bytes of state and nothing else.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "test/cell")]
pub struct Cell {
    pub x: Resident<u64>,
}
impl RingKernelHandler<Add, u64> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: Add) -> Result<u64> {
        Ok(ctx.update(&self.x, |x| {
            *x += add.n;
            *x
        }))
    }
}

warpring::export! {
    Counter {
        Add => u64, Get => u64, Fail => (), Crash => (), Nap => u64, Wait => u64, Block => (), Note => (), () => Order
    }
    Poker {
        Poke => (), Spread => u64, Forward => u64, Through => u32, Mirror => u32, Travel => u32, Tell => (), Look => Seen
    }
    Echo {
        Big<4> => Big<4>, Big<11> => Big<11>, Big<18> => Big<18>, Big<25> => Big<25>,
        Big<32> => Big<32>, Big<39> => Big<39>, Big<46> => Big<46>, Big<53> => Big<53>,
        Wait => ()
    }
    TeamWork { Together => Sums }
    GpuOnly { Get => u64 }
    Cell { Add => u64 }
}

/// A kernel of another module.
pub mod other {
    use warpring::prelude::*;

    #[derive(Debug, Default, RingKernel)]
    #[ring_kernel(id = "other/stranger")]
    pub struct Stranger {
        pub x: Resident<u64>,
    }
    impl RingKernelHandler<u64, u64> for Stranger {
        async fn handle(&self, _: &mut RingContext<'_>, n: u64) -> Result<u64> {
            Ok(n)
        }
    }
    warpring::export! { Stranger { u64 => u64 } }
}
