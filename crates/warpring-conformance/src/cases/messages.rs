//! Section 8: messages.

use warpring::block_on;
use warpring::prelude::*;

use crate::kernels::echo::{Bytes, Echo, Fields, Place, Point, Side};
use crate::kernels::gate::{Arrived, Gate, Open};
use crate::kernels::subject::Hold;
use crate::setup::{Named, Setup, end, eventually, launch_on, same};

/// Runs the block for each size, with a message type of that size as `$message`.
macro_rules! for_every_size {
    ($bytes:ident => $block:block) => {{
        for_every_size!(@each $bytes $block 0 1 32 33 88 89 424);
    }};
    (@each $bytes:ident $block:block $($n:literal)*) => {$({
        type $bytes = Bytes<$n>;
        $block
    })*};
}

pub(super) fn every_size_from_the_host(setup: &Setup) -> Result<(), String> {
    // The largest takes eight lines: the end of the ring falls into the middle of some.
    let runtime = setup.builder().ring_lines(16).build().named("building the runtime")?;
    let echo = launch_on(&runtime, 0, Echo::default())?;
    let mut port = runtime.port(8).named("opening a port")?;
    for seed in 0..setup.scale(60, 3) as u8 {
        for_every_size!(Message => {
            let message = Message::seeded(seed);
            same("a blocking ask", echo.ask(message).wait(), Ok(message.changed()))?;
            same("an awaited ask", block_on(echo.ask(message).into_future()), Ok(message.changed()))?;
            same("a port's ask", port.ask(echo.address(), message), Ok(message.changed()))?;
        });
    }
    end(runtime)
}

pub(super) fn every_size_between_actors(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().ring_lines(16).build().named("building the runtime")?;
    let last = launch_on(&runtime, 0, Echo::default())?;
    let near = launch_on(&runtime, 0, Echo { next: last.address() })?;
    let far = launch_on(&runtime, 1, Echo { next: last.address() })?;
    for seed in 0..setup.scale(60, 3) as u8 {
        for_every_size!(Message => {
            let message = Message::seeded(seed);
            same("through the same worker", near.ask(message).wait(), Ok(message.changed().changed()))?;
            same("through another worker", far.ask(message).wait(), Ok(message.changed().changed()))?;
        });
    }
    end(runtime)
}

pub(super) fn every_size_in_a_mailbox(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let gate = launch_on(&runtime, 1, Gate::default())?;
    let echo = launch_on(&runtime, 0, Echo::default())?;
    let first = echo.ask(Hold { gate: gate.address(), n: 5 }).send().named("asking")?;
    eventually("the handler waits at its gate", || Ok(gate.ask(Arrived).wait().named("asking the gate")? == 1))?;
    // Each is a closure that waits for its own kind of reply.
    let mut checks: Vec<Box<dyn FnOnce() -> Result<(), String>>> = Vec::new();
    for seed in 0..3 {
        for_every_size!(Message => {
            let message = Message::seeded(seed);
            let reply = echo.ask(message).send().named("asking")?;
            checks.push(Box::new(move || same("from the mailbox", reply.wait(), Ok(message.changed()))));
        });
    }
    gate.ask(Open).wait().named("opening the gate")?;
    same("the handler that was held", first.wait(), Ok(5))?;
    checks.into_iter().try_for_each(|check| check())?;
    end(runtime)
}

pub(super) fn every_kind_of_field(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let echo = launch_on(&runtime, 0, Echo::default())?;
    let far = launch_on(&runtime, 1, Echo { next: echo.address() })?;
    let fields = Fields {
        flag: true,
        small: -12_345,
        side: Side::Sell,
        large: i64::MIN + 5,
        place: Place::There,
        flags: [true, false, true],
        points: [Point { tag: 255, x: -0.1, y: 1.5e-38 }, Point { tag: 1, x: f64::MAX / 4.0, y: f32::INFINITY }],
        table: [[1, 2, 65_535], [4, 5, 6]],
        who: ActorId { slot: u32::MAX, generation: 3, worker: 65_535 },
        echo: echo.address(),
    };
    let mut message = fields;
    for _ in 0..4 {
        same("from the host", echo.ask(message).wait(), Ok(message.changed()))?;
        same("through two workers", far.ask(message).wait(), Ok(message.changed().changed()))?;
        message = message.changed();
    }
    end(runtime)
}
