//! Sleeping Barber: a factory sends N customers into a waiting room with W seats; a barber cuts their hair, one after the other, and
//! sleeps when nobody waits. Who finds all seats taken is sent again.
//!
//! Bound: the factory has one ask under way to the room, and the room calls the next customer when the one before has left: so at most
//! two messages are under way among room, barber and customer, the two to the customer.

use warpring::prelude::*;

use super::random::Random;

/// Most seats.
pub const MOST: usize = 1000;

/// Send all these.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// Customers.
    pub customers: GroupAddress<Customer>,
}

/// May this customer sit down?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Enter {
    /// Who.
    pub customer: Address<Customer>,
}

/// Cut this customer's hair.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Cut {
    /// Whose.
    pub customer: Address<Customer>,
}

/// Your haircut begins.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Start;

/// Your haircut is done.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Done;

/// A customer with a haircut has left.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Left;

/// How many haircuts?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct HowMany;

/// What does the barber draw next?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct GetNext;

/// Draws once for how long it takes, 10 steps at least, and once for each step.
fn work(random: &mut Random, rate: u32) {
    for _ in 0..random.draw() % rate + 10 {
        random.draw();
    }
}

/// Sends the customers.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/barber-factory")]
pub struct Factory {
    room: Address<Room>,
    rate: u32,
    random: Resident<Random>,
}

impl RingKernelHandler<Begin, ()> for Factory {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        let rate = self.rate;
        for i in 0..msg.customers.len() {
            let customer = msg.customers.get(i).unwrap_or_default();
            while !ctx.ask(self.room, Enter { customer }).await? {
                ctx.yield_now().await;
            }
            ctx.update(&self.random, |random| work(random, rate));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, State)]
struct Waiting {
    /// Who waits, round the seats.
    customers: [Address<Customer>; MOST],
    first: u32,
    count: u32,
    asleep: bool,
    haircuts: u32,
}

/// The waiting room.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/barber-room")]
pub struct Room {
    barber: Address<Barber>,
    seats: u32,
    waiting: Resident<Waiting>,
}

impl Room {
    /// Nobody is there, and the barber sleeps. At most [`MOST`] seats.
    pub fn new(barber: Address<Barber>, seats: u32) -> Self {
        let waiting = Waiting { customers: [Address::default(); MOST], first: 0, count: 0, asleep: true, haircuts: 0 };
        Self { barber, seats: seats.min(MOST as u32), waiting: Resident::new(waiting) }
    }

    /// Calls who has waited longest, or lets the barber sleep.
    async fn call(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let next = ctx.update(&self.waiting, |waiting| {
            waiting.asleep = waiting.count == 0;
            waiting.count = waiting.count.checked_sub(1)?;
            waiting.first += 1;
            Some(waiting.customers[(waiting.first - 1) as usize % MOST])
        });
        match next {
            Some(customer) => ctx.tell(self.barber, Cut { customer }).await,
            None => Ok(()),
        }
    }
}

impl RingKernelHandler<Enter, bool> for Room {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Enter) -> Result<bool> {
        let seats = self.seats;
        let (seated, asleep) = ctx.update(&self.waiting, |waiting| {
            let seated = waiting.count < seats;
            if seated {
                waiting.customers[(waiting.first + waiting.count) as usize % MOST] = msg.customer;
                waiting.count += 1;
            }
            (seated, waiting.asleep)
        });
        if asleep {
            self.call(ctx).await?;
        }
        Ok(seated)
    }
}

impl RingKernelHandler<Left, ()> for Room {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Left) -> Result<()> {
        ctx.update(&self.waiting, |waiting| waiting.haircuts += 1);
        self.call(ctx).await
    }
}

impl RingKernelHandler<HowMany, u32> for Room {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: HowMany) -> Result<u32> {
        Ok(ctx.read(&self.waiting).haircuts)
    }
}

/// Cuts hair.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/barber")]
pub struct Barber {
    rate: u32,
    random: Resident<Random>,
}

impl RingKernelHandler<Cut, ()> for Barber {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Cut) -> Result<()> {
        let rate = self.rate;
        ctx.tell(msg.customer, Start).await?;
        ctx.update(&self.random, |random| work(random, rate));
        ctx.tell(msg.customer, Done).await
    }
}

impl RingKernelHandler<GetNext, u32> for Barber {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: GetNext) -> Result<u32> {
        Ok(ctx.update(&self.random, Random::draw))
    }
}

/// The code of the end of a customer whose haircut was done before it began.
pub const NOT_BEGUN: u32 = 1;

/// Wants a haircut.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/barber-customer")]
pub struct Customer {
    room: Address<Room>,
    begun: Resident<bool>,
}

impl RingKernelHandler<Start, ()> for Customer {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Start) -> Result<()> {
        ctx.update(&self.begun, |begun| *begun = true);
        Ok(())
    }
}

impl RingKernelHandler<Done, ()> for Customer {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Done) -> Result<()> {
        if !*ctx.read(&self.begun) {
            return Err(KernelError::rejected(NOT_BEGUN));
        }
        ctx.tell(self.room, Left).await
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: haircuts.
    pub haircuts: u32,
    /// W: seats, 1 to [`MOST`].
    pub seats: u32,
    /// APR: behind each customer the factory does 10 steps, and some more, less than so many.
    pub production: u32,
    /// AHR: so does the barber on each.
    pub haircut: u32,
    /// The number that the barber draws after all haircuts: a fact of the suite.
    pub next: i64,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { haircuts: 5000, seats: 1000, production: 1000, haircut: 1000, next: 32_109 };
    /// For slow backends; few seats, so that some customers find none.
    pub const SMALL: Self = Self { haircuts: 800, seats: 8, production: 200, haircut: 200, next: 11_357 };

    /// The number that the barber draws after all haircuts.
    pub const fn answer(self) -> i64 {
        self.next
    }
}

/// Runs it: the customers spread over all workers, and the others on one each, where there are several.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let options = LaunchOptions::default;
    let random = || Resident::new(Random::SEED);
    let barber = warpring::block_on(runtime.launch(Barber { rate: params.haircut, random: random() }, options()))?;
    let room = warpring::block_on(runtime.launch(Room::new(barber.address(), params.seats), options()))?;
    let address = room.address();
    let customer = |_| Customer { room: address, begun: Resident::new(false) };
    let customers = warpring::block_on(runtime.launch_many(params.haircuts, options(), customer))?.address();
    let factory = Factory { room: address, rate: params.production, random: random() };
    let factory = warpring::block_on(runtime.launch(factory, options()))?;
    let start = std::time::Instant::now();
    factory.tell(Begin { customers }).wait()?;
    super::suite::until(|| Ok(Some(room.ask(HowMany).wait()?).filter(|haircuts| *haircuts == params.haircuts)))?;
    let time = start.elapsed();
    let next = barber.ask(GetNext).wait()?;
    // An enter and its reply, a cut, a start, a done and a left; how often somebody finds no seat is chance.
    Ok(super::Outcome { answer: next.into(), messages: 6 * u64::from(params.haircuts), time })
}
