//! The book kernel on small books made by hand, and against a model of two ordered maps.

use proptest::prelude::*;
use std::collections::BTreeMap;
use warpring_kernels::market::book::{
    BOOK_FULL, BookReply, BookRules, BookState, BookUpdate, Exchange, LEVELS_PER_UPDATE, Level, MAX_DEPTH, NO_SNAPSHOT,
    TOO_MANY_LEVELS, Verdict,
};
use warpring_kernels::market::decimal::Decimal;

const KRAKEN: BookRules = BookRules { exchange: Exchange::Kraken, depth: MAX_DEPTH };
const OKX: BookRules = BookRules { exchange: Exchange::Okx, depth: 400 };

fn level(price: &str, volume: &str) -> Level {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).unwrap();
    Level { price: decimal(price), volume: decimal(volume) }
}

fn update(asks: &[Level], bids: &[Level], checksum: Option<u32>) -> BookUpdate {
    let mut levels = [Level::EMPTY; LEVELS_PER_UPDATE];
    for (place, level) in levels.iter_mut().zip(asks.iter().chain(bids)) {
        *place = *level;
    }
    BookUpdate {
        levels,
        checksum: checksum.unwrap_or(0),
        ask_count: asks.len() as u8,
        bid_count: bids.len() as u8,
        starts_snapshot: false,
        last_part: true,
        has_checksum: checksum.is_some(),
    }
}

fn snapshot(asks: &[Level], bids: &[Level], checksum: Option<u32>) -> BookUpdate {
    BookUpdate { starts_snapshot: true, ..update(asks, bids, checksum) }
}

/// The book and the checksum of Kraken's own documentation, with two deeper levels that must not count.
#[test]
fn krakens_checksum_covers_ten_levels_of_each_side() {
    let side = |prices: [u32; 12]| prices.map(|price| level(&format!("0.0{price}"), "0.00000500"));
    let asks = side([5005, 5010, 5015, 5020, 5025, 5030, 5035, 5040, 5045, 5050, 5055, 5060]);
    let bids = side([5000, 4995, 4990, 4980, 4975, 4970, 4965, 4960, 4955, 4950, 4945, 4940]);
    let reply = BookState::new().apply(&KRAKEN, &snapshot(&asks, &bids, Some(974_947_235))).unwrap();
    assert_eq!(reply.verdict, Verdict::Matched);
    assert_eq!((reply.best_ask, reply.best_bid), (asks[0], bids[0]));
    assert_eq!((reply.asks, reply.bids), (12, 12));
}

#[test]
fn okxs_checksum_interleaves_the_texts_and_goes_on_with_the_longer_side() {
    let mut book = BookState::new();
    let asks = [level("3366.8", "9"), level("3368", "8")];
    let bids = [level("3366.1", "7"), level("3366", "6")];
    let reply = book.apply(&OKX, &snapshot(&asks, &bids, Some(-1_881_014_294_i32 as u32))).unwrap();
    assert_eq!(reply.verdict, Verdict::Matched);
    // 3366 is deleted in another spelling, and a price comes with a zero at its end, which must stay.
    let change = update(&[level("3370.50", "1")], &[level("3366.0", "0")], Some(1));
    let reply = book.apply(&OKX, &change).unwrap();
    assert_eq!(reply.checksum, crc32fast::hash(b"3366.1:7:3366.8:9:3368:8:3370.50:1"));
    assert_eq!(reply.verdict, Verdict::Mismatched);
    assert_eq!((reply.asks, reply.bids), (3, 1));
}

#[test]
fn an_update_before_the_snapshot_is_refused() {
    let mut book = BookState::new();
    assert_eq!(book.apply(&KRAKEN, &update(&[level("1.0", "1.0")], &[], None)), Err(NO_SNAPSHOT));
}

#[test]
fn an_empty_book_answers_empty_levels() {
    let reply = BookState::new().apply(&KRAKEN, &snapshot(&[], &[], None)).unwrap();
    assert_eq!((reply.best_ask, reply.best_bid), (Level::EMPTY, Level::EMPTY));
    assert_eq!((reply.checksum, reply.verdict), (0, Verdict::NotChecked));
}

#[test]
fn a_part_with_more_levels_than_it_holds_fails_and_the_book_waits_for_a_snapshot() {
    let mut book = BookState::new();
    book.apply(&KRAKEN, &snapshot(&[], &[], None)).unwrap();
    let lying = BookUpdate { ask_count: 20, bid_count: 20, ..update(&[], &[], None) };
    assert_eq!(book.apply(&KRAKEN, &lying), Err(TOO_MANY_LEVELS));
    assert_eq!(book.apply(&KRAKEN, &update(&[], &[], None)), Err(NO_SNAPSHOT));
    book.apply(&KRAKEN, &snapshot(&[], &[], None)).unwrap();
}

#[test]
fn the_worst_levels_are_cut_only_when_the_update_is_complete() {
    let rules = BookRules { depth: 2, ..KRAKEN };
    let mut book = BookState::new();
    book.apply(&rules, &snapshot(&[level("1.0", "1.0"), level("2.0", "1.0")], &[], None)).unwrap();
    // The new best level comes first; the deletion that makes room for it, in the next part.
    let first = BookUpdate { last_part: false, ..update(&[level("0.9", "1.0")], &[], None) };
    assert_eq!(book.apply(&rules, &first).unwrap().asks, 3);
    let reply = book.apply(&rules, &update(&[level("1.0", "0.0")], &[], None)).unwrap();
    assert_eq!((reply.asks, reply.best_ask), (2, level("0.9", "1.0")));
    let reply = book.apply(&rules, &update(&[level("0.8", "1.0")], &[], None)).unwrap();
    assert_eq!((reply.asks, reply.best_ask), (2, level("0.8", "1.0")));
}

#[test]
fn a_book_without_room_says_so_and_waits_for_a_snapshot() {
    let mut book = BookState::new();
    let mut number = 0;
    let mut part = || {
        let levels: Vec<_> = (0..24).map(|i| level(&(number + i).to_string(), "1")).collect();
        number += 24;
        BookUpdate { last_part: false, ..update(&levels, &[], None) }
    };
    book.apply(&KRAKEN, &BookUpdate { starts_snapshot: true, ..part() }).unwrap();
    for _ in 1..47 {
        book.apply(&KRAKEN, &part()).unwrap();
    }
    assert_eq!(book.apply(&KRAKEN, &part()), Err(BOOK_FULL));
    assert_eq!(book.apply(&KRAKEN, &part()), Err(NO_SNAPSHOT));
}

/// Two maps by price in hundredths, cut to the depth after each update.
#[derive(Default)]
struct Model {
    asks: BTreeMap<u64, Level>,
    bids: BTreeMap<u64, Level>,
}

impl Model {
    fn apply(&mut self, depth: usize, asks: &[(u64, Level)], bids: &[(u64, Level)]) {
        for (side, changes) in [(&mut self.asks, asks), (&mut self.bids, bids)] {
            for (price, level) in changes {
                side.remove(price);
                if !level.volume.is_zero() {
                    side.insert(*price, *level);
                }
            }
        }
        while self.asks.len() > depth {
            self.asks.pop_last();
        }
        while self.bids.len() > depth {
            self.bids.pop_first();
        }
    }

    fn kraken(&self) -> u32 {
        let levels = self.asks.values().take(10).chain(self.bids.values().rev().take(10));
        let text: String = levels
            .flat_map(|level| [level.price.to_string(), level.volume.to_string()])
            .map(|text| text.replace('.', "").trim_start_matches('0').to_string())
            .collect();
        crc32fast::hash(text.as_bytes())
    }

    fn okx(&self) -> u32 {
        let mut asks = self.asks.values();
        let mut bids = self.bids.values().rev();
        let turns = (0..25).flat_map(|_| [bids.next(), asks.next()]);
        let texts: Vec<_> = turns.flatten().map(|level| format!("{}:{}", level.price, level.volume)).collect();
        crc32fast::hash(texts.join(":").as_bytes())
    }

    fn check(&self, rules: &BookRules, reply: &BookReply) -> Result<(), TestCaseError> {
        let checksum = if rules.exchange == Exchange::Kraken { self.kraken() } else { self.okx() };
        prop_assert_eq!(reply.checksum, checksum);
        prop_assert_eq!((reply.asks as usize, reply.bids as usize), (self.asks.len(), self.bids.len()));
        prop_assert_eq!(reply.best_ask, self.asks.first_key_value().map_or(Level::EMPTY, |(_, level)| *level));
        prop_assert_eq!(reply.best_bid, self.bids.last_key_value().map_or(Level::EMPTY, |(_, level)| *level));
        Ok(())
    }
}

/// Each new best level pushes the worst one out, so the levels wander round their circular buffer three times.
#[test]
fn levels_may_wander_round_their_buffer() {
    let rules = BookRules { depth: 7, ..OKX };
    let mut book = BookState::new();
    let mut model = Model::default();
    book.apply(&rules, &snapshot(&[], &[], None)).unwrap();
    for number in 0..3400_u64 {
        let level = |price: u64| {
            (price, Level { price: Decimal::new(price, 2).unwrap(), volume: Decimal::new(1 + number % 9, 0).unwrap() })
        };
        let (ask, bid) = (level(100_000 - 2 * number), level(2 * number));
        // Behind the best, too, so that both ends of the buffer move.
        let behind = level(100_003 - 2 * number);
        let reply = book.apply(&rules, &update(&[ask.1, behind.1], &[bid.1], None)).unwrap();
        model.apply(7, &[ask, behind], &[bid]);
        model.check(&rules, &reply).unwrap();
    }
}

/// A price in hundredths, written with two decimals or, where that is the same value, with fewer; half are deletions.
fn change() -> impl Strategy<Value = (u64, Level)> {
    (0..120u64, 0..3u32, 0..40u64).prop_map(|(price, shorten, volume)| {
        let (mut digits, mut decimals) = (price, 2);
        for _ in 0..shorten {
            if digits % 10 == 0 {
                (digits, decimals) = (digits / 10, decimals - 1);
            }
        }
        let price_text = Decimal::new(digits, decimals).unwrap();
        let volume = Decimal::new(volume.saturating_sub(20), 1).unwrap();
        (price, Level { price: price_text, volume })
    })
}

proptest! {
    #[test]
    fn any_sequence_of_updates(
        updates in prop::collection::vec((prop::collection::vec(change(), 0..12), prop::collection::vec(change(), 0..12)), 1..80),
        depth in 1..40u32,
        kraken in any::<bool>(),
    ) {
        let rules = BookRules { exchange: if kraken { Exchange::Kraken } else { Exchange::Okx }, depth };
        let mut book = BookState::new();
        let mut model = Model::default();
        book.apply(&rules, &snapshot(&[], &[], None)).unwrap();
        for (asks, bids) in &updates {
            let levels = |side: &[(u64, Level)]| side.iter().map(|(_, level)| *level).collect::<Vec<_>>();
            let reply = book.apply(&rules, &update(&levels(asks), &levels(bids), None)).unwrap();
            model.apply(depth as usize, asks, bids);
            model.check(&rules, &reply)?;
        }
    }

    #[test]
    fn any_bytes_of_a_decimal(text in prop::collection::vec(any::<u8>(), 0..24)) {
        if let Ok(decimal) = Decimal::parse(&text) {
            prop_assert_eq!(decimal.to_string().into_bytes(), text);
        }
    }

    #[test]
    fn any_decimal_comes_back(digits in 0..1u64 << 60, decimals in 0..16u32) {
        let decimal = Decimal::new(digits, decimals).unwrap();
        prop_assert_eq!(Decimal::parse(decimal.to_string().as_bytes()), Ok(decimal));
    }

    #[test]
    fn values_order_as_fractions(a in 0..1u64 << 60, b in 0..1u64 << 60, da in 0..16u32, db in 0..16u32) {
        let exact = (u128::from(a) * 10u128.pow(db)).cmp(&(u128::from(b) * 10u128.pow(da)));
        prop_assert_eq!(Decimal::new(a, da).unwrap().compare(Decimal::new(b, db).unwrap()), exact);
    }
}
