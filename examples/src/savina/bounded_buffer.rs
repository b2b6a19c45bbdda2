//! Producer-Consumer with a bounded buffer: a manager takes items from P producers and gives them to C consumers; a producer makes the
//! next item only when it is told to.
//!
//! Bound: each producer has one item under way, and each consumer one. The buffer never holds more than its room, because the manager
//! tells producers to go on only while there is a place for the item of each.

use warpring::prelude::*;

use super::random::Random;

/// Most items in the buffer, and most producers and consumers.
pub const MOST: usize = 64;

/// Have everything produced and consumed.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Begin {
    /// By these.
    pub producers: GroupAddress<Producer>,
    /// And these.
    pub consumers: GroupAddress<Consumer>,
    /// Room of the buffer.
    pub room: u32,
}

/// Make another item.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Produce;

/// An item.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Item {
    /// Its value.
    pub value: f64,
}

/// I make no more items.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Gone;

/// I have consumed an item.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Free;

/// Is everything consumed?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct IsDone;

/// What was consumed?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct GetTotal;

/// What a consumer has had.
#[derive(Clone, Copy, Debug, Default, RingMessage, State)]
pub struct Total {
    /// The sum of its items.
    pub sum: f64,
    /// How many.
    pub items: u32,
}

/// Which places of a fixed room are used, first in, first out.
#[derive(Clone, Copy, Debug, Default, State)]
struct Turns {
    first: u32,
    count: u32,
}

impl Turns {
    /// The place of another entry, of which there is always one: see the bound.
    fn push(&mut self) -> usize {
        self.count += 1;
        (self.first + self.count - 1) as usize % MOST
    }

    /// The place of the oldest entry.
    fn pop(&mut self) -> Option<usize> {
        self.count = self.count.checked_sub(1)?;
        self.first += 1;
        Some((self.first - 1) as usize % MOST)
    }
}

#[derive(Clone, Copy, Debug, State)]
struct Buffer {
    items: [f64; MOST],
    kept: Turns,
    /// Who waits to be told to go on.
    producers: [ActorId; MOST],
    held: Turns,
    /// Who waits for an item.
    consumers: [ActorId; MOST],
    free: Turns,
    /// From so many items on producers have to wait.
    most: u32,
    working: u32,
    all_consumers: u32,
}

impl Buffer {
    fn wake_producer(&mut self) -> Option<ActorId> {
        self.held.pop().map(|at| self.producers[at])
    }
}

/// What the manager has to send: an item to a consumer, and a producer to tell to go on.
type Next = (Option<(ActorId, f64)>, Option<ActorId>);

/// Has the buffer.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/buffer-manager")]
pub struct Manager {
    buffer: Resident<Buffer>,
}

impl Manager {
    /// Its buffer is empty.
    pub fn new() -> Self {
        let (nobody, none) = ([ActorId::default(); MOST], Turns::default());
        let buffer = Buffer {
            items: [0.0; MOST],
            kept: none,
            producers: nobody,
            held: none,
            consumers: nobody,
            free: none,
            most: 0,
            working: 0,
            all_consumers: 0,
        };
        Self { buffer: Resident::new(buffer) }
    }

    async fn send(&self, ctx: &mut RingContext<'_>, (item, producer): Next) -> Result<()> {
        if let Some((consumer, value)) = item {
            ctx.tell(Address::<Consumer>::new(consumer), Item { value }).await?;
        }
        match producer {
            Some(producer) => ctx.tell(Address::<Producer>::new(producer), Produce).await,
            None => Ok(()),
        }
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Begin, ()> for Manager {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Begin) -> Result<()> {
        ctx.update(&self.buffer, |buffer| {
            buffer.most = msg.room.saturating_sub(msg.producers.len());
            (buffer.working, buffer.all_consumers) = (msg.producers.len(), msg.consumers.len());
            for consumer in 0..msg.consumers.len() {
                let at = buffer.free.push();
                buffer.consumers[at] = msg.consumers.get(consumer).unwrap_or_default().id();
            }
        });
        for producer in 0..msg.producers.len() {
            ctx.tell(msg.producers.get(producer).unwrap_or_default(), Produce).await?;
        }
        Ok(())
    }
}

impl RingKernelHandler<Item, ()> for Manager {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Item) -> Result<()> {
        let producer = ctx.sender().ok_or(KernelError::Stopped)?;
        let next = ctx.update(&self.buffer, |buffer| {
            let consumer = buffer.free.pop().map(|at| buffer.consumers[at]);
            if consumer.is_none() {
                let at = buffer.kept.push();
                buffer.items[at] = msg.value;
            }
            let waits = buffer.kept.count >= buffer.most;
            if waits {
                let at = buffer.held.push();
                buffer.producers[at] = producer;
            }
            (consumer.map(|consumer| (consumer, msg.value)), (!waits).then_some(producer))
        });
        self.send(ctx, next).await
    }
}

impl RingKernelHandler<Free, ()> for Manager {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Free) -> Result<()> {
        let consumer = ctx.sender().ok_or(KernelError::Stopped)?;
        let next = ctx.update(&self.buffer, |buffer| {
            let item = buffer.kept.pop().map(|at| (consumer, buffer.items[at]));
            if item.is_none() {
                let at = buffer.free.push();
                buffer.consumers[at] = consumer;
            }
            (item, buffer.wake_producer())
        });
        self.send(ctx, next).await
    }
}

impl RingKernelHandler<Gone, ()> for Manager {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Gone) -> Result<()> {
        ctx.update(&self.buffer, |buffer| buffer.working -= 1);
        Ok(())
    }
}

impl RingKernelHandler<IsDone, bool> for Manager {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: IsDone) -> Result<bool> {
        let buffer = ctx.read(&self.buffer);
        Ok(buffer.working == 0 && buffer.kept.count == 0 && buffer.free.count == buffer.all_consumers)
    }
}

#[derive(Clone, Copy, Debug, State)]
struct Work {
    value: f64,
    left: u32,
}

/// Makes items, each from the one before.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/buffer-producer")]
pub struct Producer {
    manager: Address<Manager>,
    cost: u32,
    work: Resident<Work>,
}

impl RingKernelHandler<Produce, ()> for Producer {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Produce) -> Result<()> {
        let cost = self.cost;
        let (value, made) = ctx.update(&self.work, |work| {
            let Some(left) = work.left.checked_sub(1) else { return (0.0, false) };
            *work = Work { value: process(work.value, cost), left };
            (work.value, true)
        });
        if made { ctx.tell(self.manager, Item { value }).await } else { ctx.tell(self.manager, Gone).await }
    }
}

/// What the suite does to an item: it adds logarithms of random numbers, whose seed is the cost.
fn process(value: f64, cost: u32) -> f64 {
    let mut random = Random::new(cost);
    (0..cost * 100).fold(value, |sum, _| sum + libm::log(f64::from(random.draw()) / 65_536.0 + 0.01))
}

/// Adds up items. What the suite computes here besides does not come into its answer, and is left out.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/buffer-consumer")]
pub struct Consumer {
    manager: Address<Manager>,
    total: Resident<Total>,
}

impl RingKernelHandler<Item, ()> for Consumer {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Item) -> Result<()> {
        ctx.update(&self.total, |total| {
            total.sum += msg.value;
            total.items += 1;
        });
        ctx.tell(self.manager, Free).await
    }
}

impl RingKernelHandler<GetTotal, Total> for Consumer {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: GetTotal) -> Result<Total> {
        Ok(*ctx.read(&self.total))
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// Room of the buffer: more than there are producers.
    pub room: u32,
    /// P: producers.
    pub producers: u32,
    /// C: consumers.
    pub consumers: u32,
    /// Items of each producer.
    pub items: u32,
    /// The sum of all items, rounded: a fact of these parameters.
    pub sum: i64,
}

impl Params {
    /// Fewer items than the suite's own 40 producers make, for which it names no sum.
    pub const SAVINA: Self = Self { room: 50, producers: 20, consumers: 20, items: 100, sum: -240_206_069 };
    /// For slow backends.
    pub const SMALL: Self = Self { room: 40, producers: 5, consumers: 5, items: 10, sum: -654_026 };

    /// The sum of all items, rounded.
    pub const fn answer(self) -> i64 {
        self.sum
    }
}

/// Runs it: producers and consumers spread over all workers, the manager on the first.
///
/// # Errors
/// What failed, or that items were lost.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    const COST: u32 = 25;
    let options = LaunchOptions::default;
    let manager = warpring::block_on(runtime.launch(Manager::new(), options().on_worker(0)))?;
    let address = manager.address();
    let work = Work { value: 0.0, left: params.items };
    let producer = |_| Producer { manager: address, cost: COST, work: Resident::new(work) };
    let producers = warpring::block_on(runtime.launch_many(params.producers, options(), producer))?.address();
    let consumer = |_| Consumer { manager: address, total: Resident::new(Total::default()) };
    let consumers = warpring::block_on(runtime.launch_many(params.consumers, options(), consumer))?.address();
    let start = std::time::Instant::now();
    manager.ask(Begin { producers, consumers, room: params.room }).wait()?;
    super::suite::until(|| Ok(Some(manager.ask(IsDone).wait()?).filter(|done| *done)))?;
    let time = start.elapsed();
    let all = (0..params.consumers).filter_map(|i| Some((consumers.get(i)?, GetTotal)));
    let totals = super::suite::ask_each(runtime, all)?;
    let items: u32 = totals.iter().map(|total| total.items).sum();
    if items != params.producers * params.items {
        return Err(format!("{items} items of {} were consumed", params.producers * params.items).into());
    }
    let sum: f64 = totals.iter().map(|total| total.sum).sum();
    // A produce, an item twice, and a free for each; a produce and a gone for each producer.
    let messages = 4 * u64::from(items) + 2 * u64::from(params.producers);
    Ok(super::Outcome { answer: sum.round() as i64, messages, time })
}
