//! What `export!` writes, run: each request reaches its own handler, hooks run once, and a suspended handler goes on.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use warpring::prelude::*;
use warpring::{Backend, LaunchOptions, Runtime, block_on};

/// Hooks that ran, over all actors of this test: a static is what a CPU backend can see and a device cannot.
static INITIALIZED: AtomicU32 = AtomicU32::new(0);
static SHUT: AtomicU32 = AtomicU32::new(0);

#[derive(Clone, Copy, Debug, RingMessage)]
struct Add {
    n: i64,
}

/// Two lines.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
struct Seen {
    first: u8,
    numbers: [i64; 7],
    sum: Sum,
}

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
struct Sum(i64);

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
#[repr(u8)]
enum Look {
    AtAll,
    AtNothing,
}

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/adder")]
struct Adder {
    start: i64,
    sum: Resident<i64>,
    seen: Resident<[i64; 7]>,
    next: Resident<u32>,
}

impl Adder {
    fn new(start: i64) -> Self {
        Self { start, sum: Resident::new(0), seen: Resident::new([0; 7]), next: Resident::new(0) }
    }
}

impl RingKernelHandler<Add, Sum> for Adder {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: Add) -> Result<Sum> {
        let at = ctx.update(&self.next, |next| {
            *next += 1;
            *next as usize - 1
        });
        ctx.update(&self.seen, |seen| seen[at % 7] = add.n);
        Ok(Sum(ctx.update(&self.sum, |sum| {
            *sum += add.n;
            *sum
        })))
    }
}

impl RingKernelHandler<Look, Seen> for Adder {
    async fn handle(&self, ctx: &mut RingContext<'_>, look: Look) -> Result<Seen> {
        match look {
            Look::AtAll => Ok(Seen { first: 9, numbers: *ctx.read(&self.seen), sum: Sum(*ctx.read(&self.sum)) }),
            Look::AtNothing => Err(KernelError::rejected(4)),
        }
    }
    async fn initialize(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        ctx.update(&self.sum, |sum| *sum = self.start);
        INITIALIZED.fetch_add(1, Relaxed);
        Ok(())
    }
}

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/forwarder")]
struct Forwarder {
    to: Address<Adder>,
}

impl RingKernelHandler<Add, Sum> for Forwarder {
    async fn handle(&self, ctx: &mut RingContext<'_>, add: Add) -> Result<Sum> {
        let Sum(once) = ctx.ask(self.to, add).await?;
        ctx.sleep(Duration::from_micros(50)).await;
        let Sum(twice) = ctx.ask(self.to, add).await?;
        Ok(Sum(once * 1000 + twice))
    }
    async fn shutdown(&self, _: &mut RingContext<'_>) -> Result<()> {
        SHUT.fetch_add(1, Relaxed);
        Ok(())
    }
}

warpring::export! {
    Adder { Add => Sum, Look => Seen }
    Forwarder { Add => Sum }
}

#[test]
fn messages_reach_their_handlers_and_hooks_run_once() {
    let runtime = Runtime::builder().module(&MODULE).backend(Backend::Cpu).workers(2).build().unwrap();
    block_on(async {
        let adder = runtime.launch(Adder::new(100), LaunchOptions::default().on_worker(0)).await.unwrap();
        let forwarder = runtime.launch(Forwarder { to: adder.address() }, LaunchOptions::default().on_worker(1)).await.unwrap();
        assert_eq!(adder.ask(Add { n: 1 }).await.unwrap(), Sum(101));
        assert_eq!(forwarder.ask(Add { n: 2 }).await.unwrap(), Sum(103 * 1000 + 105));
        let seen = Seen { first: 9, numbers: [1, 2, 2, 0, 0, 0, 0], sum: Sum(105) };
        assert_eq!(adder.ask(Look::AtAll).await.unwrap(), seen);
        assert!(adder.ask(Look::AtNothing).await.is_err());
        assert_eq!((INITIALIZED.load(Relaxed), SHUT.load(Relaxed)), (1, 0));
        runtime.shutdown().await.unwrap();
    });
    assert_eq!((INITIALIZED.load(Relaxed), SHUT.load(Relaxed)), (1, 1));
}
