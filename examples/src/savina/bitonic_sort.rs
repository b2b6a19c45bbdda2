//! Bitonic Sort: a sorting network (K. Batcher, 1968) with an actor for each of its N wires. At each comparator the actors of both wires
//! send each other their numbers; one keeps the smaller and the other the larger.
//!
//! Bound: a wire has log N (log N + 1) / 2 comparators, at each of which it gets one number: 78 for 4,096 wires. A number that comes
//! before its turn is kept. All wires finish at about the same time, and the mailbox of who counts them has room for all, and for the
//! host's question.

use warpring::prelude::*;

use super::finish::{Finish, Finished};
use super::random::Random;

/// Most comparators of a wire: those of 4,096 wires.
const COMPARATORS: usize = 78;

/// Where the others are.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// The wires, in order.
    pub wires: GroupAddress<Wire>,
    /// Who wants to know when it is done.
    pub finish: Address<Finish>,
}

/// A number of another wire.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Offer {
    /// The number.
    pub value: u32,
    /// How many comparators the wires have behind them.
    pub step: u32,
}

/// What number is on the wire?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct GetValue;

#[derive(Clone, Copy, Debug, State)]
struct Sorting {
    wires: GroupAddress<Wire>,
    finish: Address<Finish>,
    value: u32,
    /// This wire's next comparator: it merges runs of `run` numbers, and goes to the wire at `distance`.
    step: u32,
    run: u32,
    distance: u32,
    /// The number was sent to that wire.
    sent: bool,
    offers: [u32; COMPARATORS],
    came: [bool; COMPARATORS],
}

impl Sorting {
    /// Number `index` passes the next comparator, if the other wire's number is there.
    fn compare(&mut self, index: u32) -> bool {
        let step = self.step as usize;
        if !self.came[step] {
            return false;
        }
        let (ascending, is_first) = (index & self.run == 0, index & self.distance == 0);
        self.value = if ascending == is_first { self.value.min(self.offers[step]) } else { self.value.max(self.offers[step]) };
        self.step += 1;
        self.sent = false;
        self.distance /= 2;
        if self.distance == 0 {
            self.distance = self.run;
            self.run *= 2;
        }
        true
    }
}

/// A wire of the network, and the number on it.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/bitonic-wire")]
pub struct Wire {
    index: u32,
    sorting: Resident<Sorting>,
}

impl Wire {
    /// Number `index`, with a number on it.
    pub fn new(index: u32, value: u32) -> Self {
        let (wires, finish) = (GroupAddress::default(), Address::default());
        let (offers, came) = ([0; COMPARATORS], [false; COMPARATORS]);
        let sorting = Sorting { wires, finish, value, step: 0, run: 2, distance: 1, sent: false, offers, came };
        Self { index, sorting: Resident::new(sorting) }
    }

    /// Passes all comparators for which the other wire's number is there.
    async fn go_on(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let index = self.index;
        loop {
            let sorting = ctx.read(&self.sorting);
            let (wires, finish, sent) = (sorting.wires, sorting.finish, sorting.sent);
            let (offer, run, other) = (Offer { value: sorting.value, step: sorting.step }, sorting.run, index ^ sorting.distance);
            if wires.is_empty() {
                return Ok(());
            }
            if run > wires.len() {
                return ctx.tell(finish, Finished { value: 1 }).await;
            }
            if !sent {
                ctx.tell(wires.get(other).unwrap_or_default(), offer).await?;
                ctx.update(&self.sorting, |sorting| sorting.sent = true);
            }
            if !ctx.update(&self.sorting, |sorting| sorting.compare(index)) {
                return Ok(());
            }
        }
    }
}

impl RingKernelHandler<Begin, ()> for Wire {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        ctx.update(&self.sorting, |sorting| (sorting.wires, sorting.finish) = (msg.wires, msg.finish));
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<Offer, ()> for Wire {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Offer) -> Result<()> {
        ctx.update(&self.sorting, |sorting| {
            let step = msg.step as usize;
            if let (Some(offer), Some(came)) = (sorting.offers.get_mut(step), sorting.came.get_mut(step)) {
                (*offer, *came) = (msg.value, true);
            }
        });
        self.go_on(ctx).await
    }
}

impl RingKernelHandler<GetValue, u32> for Wire {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: GetValue) -> Result<u32> {
        Ok(ctx.read(&self.sorting).value)
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: numbers, a power of two, 2 to 4,096.
    pub numbers: u32,
    /// S: the seed of the numbers.
    pub seed: u32,
}

impl Params {
    /// The suite's, but with numbers of 16 bits instead of 60.
    pub const SAVINA: Self = Self { numbers: 4096, seed: 2048 };
    /// For slow backends.
    pub const SMALL: Self = Self { numbers: 64, seed: 2048 };

    /// The sum of the numbers.
    pub const fn answer(self) -> i64 {
        let (mut random, mut sum, mut i) = (Random::new(self.seed), 0, 0);
        while i < self.numbers {
            sum += random.draw() as i64;
            i += 1;
        }
        sum
    }
}

/// Runs it: neighbours on different workers, where there are several.
///
/// # Errors
/// What failed, or that the numbers are not those of the beginning in order.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let options = LaunchOptions::default;
    let mut random = Random::new(params.seed);
    let mut numbers: Vec<u32> = (0..params.numbers).map(|_| random.draw()).collect();
    let room = u16::try_from(params.numbers + 1)?;
    let finish = warpring::block_on(runtime.launch(Finish::new(), options().mailbox(room)))?;
    let wire = |index| Wire::new(index, numbers[index as usize]);
    let wires = warpring::block_on(runtime.launch_many(params.numbers, options(), wire))?.address();
    let all = || (0..params.numbers).filter_map(|i| wires.get(i));
    let start = std::time::Instant::now();
    let mut port = runtime.port(1)?;
    for wire in all() {
        port.tell(wire, Begin { wires, finish: finish.address() })?;
    }
    super::finish::wait(&finish, params.numbers)?;
    let time = start.elapsed();
    let sorted = super::suite::ask_each(runtime, all().map(|wire| (wire, GetValue)))?;
    numbers.sort_unstable();
    if sorted != numbers {
        return Err("the numbers are not those of the beginning in order".into());
    }
    let stages = params.numbers.trailing_zeros();
    // A number from each wire at each of its comparators; each wire begins and finishes.
    let messages = u64::from(params.numbers) * u64::from(stages * (stages + 1) / 2 + 2);
    Ok(super::Outcome { answer: sorted.iter().map(|value| i64::from(*value)).sum(), messages, time })
}
