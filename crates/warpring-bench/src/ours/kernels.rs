//! The actors that are measured.

use std::sync::Mutex;
use std::time::Duration;

use warpring::prelude::*;

use crate::{BATCH, Clock, Recorder, Slice, step};

/// Not recorded at the start of each slice: caches and predictors adapt, parked workers wake.
pub(super) const WARM_UP: Duration = Duration::from_millis(5);

/// Answers with [`step`] of its state and the message; `()` asks for the state.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bench/cell", description = "A number that every message changes")]
pub struct Cell {
    value: Resident<u64>,
}

impl Cell {
    /// A cell with the state 0.
    pub fn new() -> Self {
        Self { value: Resident::new(0) }
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<u64, u64> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, message: u64) -> Result<u64> {
        Ok(ctx.update(&self.value, |value| {
            *value = step(*value, message);
            *value
        }))
    }
}

impl RingKernelHandler<(), u64> for Cell {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ()) -> Result<u64> {
        Ok(*ctx.read(&self.value))
    }
}

/// 64 bytes of state, of which `()` asks for the first eight.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bench/wide", description = "A cache line of state")]
pub struct Wide {
    values: Resident<[u64; 8]>,
}

impl Wide {
    /// Number `index`.
    pub fn new(index: u32) -> Self {
        Self { values: Resident::new([u64::from(index); 8]) }
    }
}

impl RingKernelHandler<(), u64> for Wide {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ()) -> Result<u64> {
        Ok(ctx.read(&self.values)[0])
    }
}

/// What an [`Asker`] is to do, and what came of it: clocks and histograms are no messages.
pub(super) static JOB: Mutex<Option<(Clock, Duration)>> = Mutex::new(None);
/// The slice that the last [`Asker`] measured.
pub(super) static DONE: Mutex<Option<Slice>> = Mutex::new(None);

/// Tells a number of messages one after the other.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct TellAll {
    /// How many.
    pub messages: u64,
}

/// Measures, in its handler, how long its asks to another actor take. A wrong answer is refusal 1.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bench/asker", description = "Asks another actor and times the answers")]
pub struct Asker {
    target: Address<Cell>,
}

impl Asker {
    /// Asks `target`.
    pub fn new(target: Address<Cell>) -> Self {
        Self { target }
    }
}

const WRONG: KernelError = KernelError::rejected(1);

impl RingKernelHandler<(), u64> for Asker {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ()) -> Result<u64> {
        let job = *JOB.lock().unwrap_or_else(|e| e.into_inner());
        let (clock, lasting) = job.ok_or(WRONG)?;
        let mut state = ctx.ask(self.target, ()).await?;
        let mut request = 0u64;
        let warm = clock.now() + clock.ticks(WARM_UP);
        while clock.now() < warm {
            request += 1;
            state = step(state, request);
            if ctx.ask(self.target, request).await? != state {
                return Err(WRONG);
            }
        }
        let mut recorder = Recorder::new(clock, lasting);
        while recorder.more() {
            request += 1;
            state = step(state, request);
            let started = recorder.start();
            let answer = ctx.ask(self.target, request).await?;
            recorder.stop(started);
            if answer != state {
                return Err(WRONG);
            }
        }
        while recorder.more_batches() {
            let started = recorder.start();
            for _ in 0..BATCH {
                request += 1;
                state = step(state, request);
                if ctx.ask(self.target, request).await? != state {
                    return Err(WRONG);
                }
            }
            recorder.stop_batch(started);
        }
        *DONE.lock().unwrap_or_else(|e| e.into_inner()) = Some(recorder.finish());
        Ok(request)
    }
}

impl RingKernelHandler<TellAll, u64> for Asker {
    async fn handle(&self, ctx: &mut RingContext<'_>, message: TellAll) -> Result<u64> {
        let mut state = ctx.ask(self.target, ()).await?;
        for request in 1..message.messages {
            state = step(state, request);
            ctx.tell(self.target, request).await?;
        }
        state = step(state, message.messages);
        if ctx.ask(self.target, message.messages).await? != state { Err(WRONG) } else { Ok(state) }
    }
}

warpring::export! {
    Cell { u64 => u64, () => u64 }
    Asker { () => u64, TellAll => u64 }
    Wide { () => u64 }
}
