//! Kernel `market/book`: a level-2 order book that checks itself against the exchange's checksum.
//!
//! A snapshot fills the book, updates set or delete levels, and after each update the book is cut back to the depth
//! that the feed was subscribed with. A message holds up to [`LEVELS_PER_UPDATE`] levels; a larger update goes as
//! several messages, of which the last carries the checksum. Only after the last part is the book cut and checked: cut
//! in between, it could drop a level that the rest of the update still makes room for.
//!
//! State: 36,120 bytes. Capacity 1,128 levels of each side: the deepest feed, Kraken's, has 1,000, and one update may
//! add 128 before it deletes any. (In the recordings at hand an update changes at most 2 levels of a side on Kraken and
//! 72 on OKX, whose depth is 400.) Beyond that the answer is [`BOOK_FULL`], and the book then waits for a snapshot.

use super::checksum;
use super::decimal::Decimal;
use super::side::{Best, Side};
use warpring::prelude::*;

/// Levels in one message, asks and bids together.
pub const LEVELS_PER_UPDATE: usize = 24;
/// Greatest depth that a book keeps.
pub const MAX_DEPTH: u32 = 1000;

/// Error code: an update came before any snapshot, or after an update that failed. State is unchanged.
pub const NO_SNAPSHOT: u32 = 1;
/// Error code: the update held more levels than there is room for. The book waits for a snapshot.
pub const BOOK_FULL: u32 = 2;
/// Error code: the message claims more levels than it holds. The book waits for a snapshot.
pub const TOO_MANY_LEVELS: u32 = 3;
/// Error code: the rules ask for a depth of 0 or beyond [`MAX_DEPTH`]. State is unchanged.
pub const BAD_DEPTH: u32 = 4;

/// Whose rules the checksum follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, State)]
#[repr(u8)]
pub enum Exchange {
    /// Digits of the ten best asks, then of the ten best bids.
    Kraken = 0,
    /// Texts of the 25 best bids and asks in turn, joined by colons.
    Okx = 1,
}

/// What stays the same for the whole life of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, State)]
pub struct BookRules {
    /// How the checksum is formed.
    pub exchange: Exchange,
    /// How many levels of each side the feed keeps, 1 to [`MAX_DEPTH`].
    pub depth: u32,
}

impl BookRules {
    const fn check_depth(&self) -> core::result::Result<(), u32> {
        if self.depth == 0 || self.depth > MAX_DEPTH { Err(BAD_DEPTH) } else { Ok(()) }
    }
}

/// A price and the volume there. A volume of zero deletes the price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RingMessage, State)]
#[repr(C)]
pub struct Level {
    /// Price.
    pub price: Decimal,
    /// Volume.
    pub volume: Decimal,
}

impl Level {
    /// Price and volume zero.
    pub const EMPTY: Self = Self { price: Decimal::ZERO, volume: Decimal::ZERO };
}

/// A snapshot or an update, or one part of it.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct BookUpdate {
    /// `ask_count` asks, then `bid_count` bids, each in the order in which the exchange sent them.
    pub levels: [Level; LEVELS_PER_UPDATE],
    /// The exchange's checksum, as bits; counts only if `has_checksum` and `last_part`.
    pub checksum: u32,
    /// How many of the levels are asks.
    pub ask_count: u8,
    /// How many of the levels, after the asks, are bids.
    pub bid_count: u8,
    /// Whether the book is emptied first; in a snapshot of several parts, of the first part only.
    pub starts_snapshot: bool,
    /// Whether this part ends the update.
    pub last_part: bool,
    /// Whether the exchange sent a checksum.
    pub has_checksum: bool,
}

/// How the checksum came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
#[repr(u8)]
pub enum Verdict {
    /// The exchange sent none, or the update goes on with a further part.
    NotChecked = 0,
    /// Ours equals the exchange's.
    Matched = 1,
    /// Ours differs.
    Mismatched = 2,
}

/// What a book answers to each part of an update.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct BookReply {
    /// The best ask, or [`Level::EMPTY`].
    pub best_ask: Level,
    /// The best bid, or [`Level::EMPTY`].
    pub best_bid: Level,
    /// Number of asks.
    pub asks: u32,
    /// Number of bids.
    pub bids: u32,
    /// Checksum of our book after the update; 0 while the update goes on with a further part.
    pub checksum: u32,
    /// Whether it is the exchange's.
    pub verdict: Verdict,
}

/// A level-2 order book that checks itself against the exchange's checksum.
///
/// One actor for each book. Ask it with every [`BookUpdate`], in the exchange's order; it answers [`BookReply`].
///
/// # Errors
/// [`KernelError::Rejected`] with code [`NO_SNAPSHOT`], [`TOO_MANY_LEVELS`] or [`BOOK_FULL`]. A launch with a depth of 0 or
/// beyond [`MAX_DEPTH`] fails with code [`BAD_DEPTH`].
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "market/book", validate = Book::has_a_depth)]
pub struct Book {
    rules: BookRules,
    state: Resident<BookState>,
}

impl Book {
    /// A book that waits for its snapshot.
    #[must_use]
    pub const fn new(rules: BookRules) -> Self {
        Self { rules, state: Resident::new(BookState::new()) }
    }

    fn has_a_depth(&self) -> Result<()> {
        self.rules.check_depth().map_err(KernelError::rejected)
    }
}

impl RingKernelHandler<BookUpdate, BookReply> for Book {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn moves its arguments before it begins, and a move of so large a message is a loop over bytes on the \
                  GPU; a block uses them where they are"
    )]
    fn handle(&self, ctx: &mut RingContext<'_>, update: BookUpdate) -> impl Future<Output = Result<BookReply>> {
        async move { ctx.update(&self.state, |state| state.apply(&self.rules, &update)).map_err(KernelError::rejected) }
    }
}

/// The state of one book. All zeros is a book that waits for its snapshot.
#[derive(Clone, Copy, Debug, State)]
#[repr(C)]
pub struct BookState {
    /// 1 once a snapshot has begun, 0 before and after a failed update.
    ready: u32,
    unused: u32,
    asks: Side,
    bids: Side,
}

const _: () = assert!(size_of::<BookState>() == 36_120);

impl BookState {
    /// A book that waits for its snapshot.
    #[must_use]
    pub const fn new() -> Self {
        Self { ready: 0, unused: 0, asks: Side::new(), bids: Side::new() }
    }

    /// Takes in one part of an update. A price is found by bisection, and the levels between it and the nearer end of
    /// its side move by one.
    ///
    /// # Errors
    /// [`BAD_DEPTH`], [`NO_SNAPSHOT`], [`TOO_MANY_LEVELS`] or [`BOOK_FULL`]. A checksum that differs is no error here:
    /// the reply says so, and whether to subscribe anew is the asker's decision.
    pub fn apply(&mut self, rules: &BookRules, update: &BookUpdate) -> core::result::Result<BookReply, u32> {
        rules.check_depth()?;
        if update.starts_snapshot {
            self.asks.clear();
            self.bids.clear();
        } else if self.ready == 0 {
            return Err(NO_SNAPSHOT);
        }
        // Only a part that goes through leaves the book usable.
        self.ready = 0;
        self.take_in(update)?;
        self.ready = 1;

        let mut checksum = 0;
        let mut verdict = Verdict::NotChecked;
        if update.last_part {
            self.asks.cut_to(rules.depth);
            self.bids.cut_to(rules.depth);
            checksum = match rules.exchange {
                Exchange::Kraken => checksum::kraken(&self.asks, &self.bids),
                Exchange::Okx => checksum::okx(&self.asks, &self.bids),
            };
            verdict = match (update.has_checksum, checksum == update.checksum) {
                (false, _) => Verdict::NotChecked,
                (true, true) => Verdict::Matched,
                (true, false) => Verdict::Mismatched,
            };
        }
        Ok(BookReply {
            best_ask: self.best(&self.asks),
            best_bid: self.best(&self.bids),
            asks: self.asks.count(),
            bids: self.bids.count(),
            checksum,
            verdict,
        })
    }

    fn take_in(&mut self, update: &BookUpdate) -> core::result::Result<(), u32> {
        let asks = usize::from(update.ask_count);
        let both = asks + usize::from(update.bid_count);
        let levels = update.levels.get(..both).ok_or(TOO_MANY_LEVELS)?;
        for (at, level) in levels.iter().enumerate() {
            if at < asks {
                self.asks.set(Best::Lowest, *level)?;
            } else {
                self.bids.set(Best::Highest, *level)?;
            }
        }
        Ok(())
    }

    const fn best(&self, side: &Side) -> Level {
        if side.count() == 0 { Level::EMPTY } else { side.best(0) }
    }
}

impl Default for BookState {
    fn default() -> Self {
        Self::new()
    }
}
