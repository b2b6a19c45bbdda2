//! A till that asks another actor for the rate of each sale. While it waits, its worker serves other actors.

use warpring::prelude::*;

/// A currency of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
#[repr(u8)]
pub enum Currency {
    /// Euro.
    Euro,
    /// Yen.
    Yen,
    /// A currency that the rates do not list.
    Cowrie,
}

/// What is one unit of this currency worth?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Rate {
    /// Of which.
    pub currency: Currency,
}

/// What a unit is worth, and who says so.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Quote {
    /// Millionths of a dollar.
    pub micros: i64,
    /// The worker that runs the rates.
    pub worker: u32,
}

/// Something was sold.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Sale {
    /// Price in units of the currency.
    pub units: i64,
    /// Which currency.
    pub currency: Currency,
}

/// What the till has after a sale.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Receipt {
    /// All sales so far, in millionths of a dollar.
    pub total_micros: i64,
    /// The worker that runs the till.
    pub till: u32,
    /// The worker that runs the rates.
    pub rates: u32,
}

/// The code of the refusal of a currency that is not listed.
pub const NOT_LISTED: u32 = 1;

/// Knows what currencies are worth.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "shop/rates")]
pub struct Rates {
    euro: i64,
    yen: i64,
}

impl Rates {
    /// What a euro and a yen are worth, in millionths of a dollar.
    pub fn new(euro: i64, yen: i64) -> Self {
        Self { euro, yen }
    }
}

impl RingKernelHandler<Rate, Quote> for Rates {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Rate) -> Result<Quote> {
        let micros = match msg.currency {
            Currency::Euro => self.euro,
            Currency::Yen => self.yen,
            Currency::Cowrie => return Err(KernelError::rejected(NOT_LISTED)),
        };
        Ok(Quote { micros, worker: ctx.worker_index() })
    }
}

/// Adds up sales in dollars.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "shop/till")]
pub struct Till {
    rates: Address<Rates>,
    total_micros: Resident<i64>,
}

impl Till {
    /// An empty till that asks `rates`.
    pub fn new(rates: Address<Rates>) -> Self {
        Self { rates, total_micros: Resident::new(0) }
    }
}

impl RingKernelHandler<Sale, Receipt> for Till {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Sale) -> Result<Receipt> {
        let quote = ctx.ask(self.rates, Rate { currency: msg.currency }).await?;
        let total_micros = ctx.update(&self.total_micros, |total| {
            *total += msg.units * quote.micros;
            *total
        });
        Ok(Receipt { total_micros, till: ctx.worker_index(), rates: quote.worker })
    }
}
