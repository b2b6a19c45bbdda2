//! Radix Sort: N numbers go through one actor for each of their bits, the lowest first. An actor passes numbers without its bit on at
//! once, and those with it when all have come; so they are sorted by one more bit behind each.
//!
//! Bound: every 256th number that an actor passes on is an ask, so at most 256 are under way to the next one.

use warpring::prelude::*;

use super::random::Random;

/// Most numbers.
pub const MOST: usize = 10_000;
/// Numbers under way between two actors at most.
const WINDOW: u32 = 256;

/// Send so many numbers.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// How many; at most [`MOST`].
    pub count: u32,
    /// What they are less than: a power of two.
    pub limit: u32,
}

/// A number.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Number {
    /// Its value, of 16 bits.
    pub value: u32,
}

/// What came through?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct GetSorted;

/// What came through.
#[derive(Clone, Copy, Debug, Default, RingMessage, State)]
pub struct Sorted {
    /// How many numbers.
    pub count: u32,
    /// How many were less than the one before.
    pub wrong: u32,
    /// The last.
    pub last: u32,
    /// Their sum.
    pub sum: u64,
}

/// Draws the numbers.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/radix-source")]
pub struct Source {
    first: Address<Sorter>,
    random: Resident<Random>,
}

impl RingKernelHandler<Begin, ()> for Source {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        for sent in 1..=msg.count {
            let value = ctx.update(&self.random, Random::draw) & (msg.limit - 1);
            if sent.is_multiple_of(WINDOW) {
                ctx.ask(self.first, Number { value }).await?;
            } else {
                ctx.tell(self.first, Number { value }).await?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, State)]
struct Held {
    values: [u16; MOST],
    count: u32,
    came: u32,
}

/// Sorts by one bit.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/radix-sorter")]
pub struct Sorter {
    bit: u32,
    numbers: u32,
    /// The next one; nobody behind the last, which has the [`Sink`].
    next: Address<Sorter>,
    sink: Address<Sink>,
    held: Resident<Held>,
}

impl Sorter {
    async fn pass(&self, ctx: &mut RingContext<'_>, sent: u32, value: u32) -> Result<()> {
        let number = Number { value };
        match (self.next == Address::default(), sent.is_multiple_of(WINDOW)) {
            (false, false) => ctx.tell(self.next, number).await,
            (false, true) => ctx.ask(self.next, number).await,
            (true, false) => ctx.tell(self.sink, number).await,
            (true, true) => ctx.ask(self.sink, number).await,
        }
    }
}

impl RingKernelHandler<Number, ()> for Sorter {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Number) -> Result<()> {
        let keep = msg.value >> self.bit & 1 == 1;
        let (came, held) = ctx.update(&self.held, |held| {
            held.came += 1;
            if keep && let Some(place) = held.values.get_mut(held.count as usize) {
                *place = msg.value as u16;
                held.count += 1;
            }
            (held.came, held.count)
        });
        if !keep {
            self.pass(ctx, came - held, msg.value).await?;
        }
        if came == self.numbers {
            for i in 0..held {
                let value = ctx.read(&self.held).values[i as usize].into();
                self.pass(ctx, came - held + i + 1, value).await?;
            }
        }
        Ok(())
    }
}

/// Looks at what came through.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/radix-sink")]
pub struct Sink {
    sorted: Resident<Sorted>,
}

impl RingKernelHandler<Number, ()> for Sink {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Number) -> Result<()> {
        ctx.update(&self.sorted, |sorted| {
            sorted.count += 1;
            sorted.wrong += u32::from(msg.value < sorted.last);
            sorted.last = msg.value;
            sorted.sum += u64::from(msg.value);
        });
        Ok(())
    }
}

impl RingKernelHandler<GetSorted, Sorted> for Sink {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: GetSorted) -> Result<Sorted> {
        Ok(*ctx.read(&self.sorted))
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: numbers, at most [`MOST`].
    pub numbers: u32,
    /// What they are less than: a power of two, at most 65,536.
    pub limit: u32,
    /// The sum of the numbers: a fact of these parameters and the suite's random numbers.
    pub sum: i64,
}

impl Params {
    /// Fewer and smaller numbers than the suite's own 100,000 of 60 bits, for which it names no sum.
    pub const SAVINA: Self = Self { numbers: 10_000, limit: 65_536, sum: 329_373_752 };
    /// For slow backends.
    pub const SMALL: Self = Self { numbers: 100, limit: 256, sum: 13_606 };

    /// The sum of the numbers.
    pub const fn answer(self) -> i64 {
        self.sum
    }
}

/// Runs it: neighbours on different workers, where there are several.
///
/// # Errors
/// What failed, or that the numbers are not sorted.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let options = LaunchOptions::default;
    let bits = params.limit.trailing_zeros();
    let sink = warpring::block_on(runtime.launch(Sink { sorted: Resident::new(Sorted::default()) }, options()))?;
    let mut next = Address::default();
    for bit in (0..bits).rev() {
        let held = Resident::new(Held { values: [0; MOST], count: 0, came: 0 });
        let sorter = Sorter { bit, numbers: params.numbers, next, sink: sink.address(), held };
        next = warpring::block_on(runtime.launch(sorter, options()))?.address();
    }
    let source = warpring::block_on(runtime.launch(Source { first: next, random: Resident::new(Random::SEED) }, options()))?;
    let start = std::time::Instant::now();
    source.tell(Begin { count: params.numbers, limit: params.limit }).wait()?;
    let all = |sorted: &Sorted| sorted.count == params.numbers;
    let sorted = super::suite::until(|| Ok(Some(sink.ask(GetSorted).wait()?).filter(all)))?;
    let time = start.elapsed();
    if sorted.wrong > 0 {
        return Err(format!("{} numbers are less than the one before", sorted.wrong).into());
    }
    let messages = u64::from(params.numbers) * u64::from(bits + 1);
    Ok(super::Outcome { answer: sorted.sum as i64, messages, time })
}
