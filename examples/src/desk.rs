//! A feed that publishes prices, and strategies that have subscribed to them. The feed knows neither how many there are nor where.

use warpring::prelude::*;

/// The topic of all prices.
pub const PRICES: Name = Name::new("prices");
/// The name of the actor that counts orders.
pub const BOOK: Name = Name::new("book");

/// What something costs now.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Price {
    /// Cents.
    pub cents: u32,
}

/// A trade was seen on the market: publish its price.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Trade {
    /// Cents.
    pub cents: u32,
}

/// How many strategies a price was sent to.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Audience {
    /// So many got it.
    pub sent: u32,
    /// So many had no room for it.
    pub lost: u32,
}

/// A strategy wants to buy.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Order {
    /// Cents.
    pub cents: u32,
}

/// What has been bought?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Bought;

/// What has been bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage, State)]
pub struct Holdings {
    /// How many orders.
    pub orders: u32,
    /// What they cost.
    pub cents: u32,
}

/// The code of the refusal of a [`Trade`] while nobody has opened the topic.
pub const NO_TOPIC: u32 = 1;
/// The code of the failure of a strategy that finds no book.
pub const NO_BOOK: u32 = 2;

/// Publishes each trade's price.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "desk/feed")]
pub struct Feed;

impl RingKernelHandler<Trade, Audience> for Feed {
    async fn handle(&self, ctx: &mut RingContext<'_>, trade: Trade) -> Result<Audience> {
        let price = Price { cents: trade.cents };
        let published = ctx.publish(PRICES, &price).map_err(|_| KernelError::rejected(NO_TOPIC))?;
        Ok(Audience { sent: published.sent, lost: published.lost })
    }
}

/// Buys below a limit.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "desk/strategy")]
pub struct Strategy {
    limit: u32,
}

impl Strategy {
    /// Buys what costs less.
    pub fn new(limit: u32) -> Self {
        Self { limit }
    }
}

impl RingKernelHandler<Price, ()> for Strategy {
    async fn handle(&self, ctx: &mut RingContext<'_>, price: Price) -> Result<()> {
        if price.cents >= self.limit {
            return Ok(());
        }
        let book = ctx.lookup::<Book>(BOOK).ok_or(KernelError::rejected(NO_BOOK))?;
        ctx.ask(book, Order { cents: price.cents }).await
    }
}

/// Counts orders.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "desk/book")]
pub struct Book {
    holdings: Resident<Holdings>,
}

impl Book {
    /// Nothing bought yet.
    pub fn new() -> Self {
        Self { holdings: Resident::new(Holdings { orders: 0, cents: 0 }) }
    }
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

impl RingKernelHandler<Order, ()> for Book {
    async fn handle(&self, ctx: &mut RingContext<'_>, order: Order) -> Result<()> {
        ctx.update(&self.holdings, |holdings| {
            holdings.orders += 1;
            holdings.cents += order.cents;
        });
        Ok(())
    }
}

impl RingKernelHandler<Bought, Holdings> for Book {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Bought) -> Result<Holdings> {
        Ok(*ctx.read(&self.holdings))
    }
}
