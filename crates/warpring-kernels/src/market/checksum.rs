//! The CRC32 that an exchange sends with each update, computed from our book.
//!
//! `crc32fast` without its default features is used: it is `no_std`, builds for the GPU target, and for the short
//! pieces hashed here goes byte by byte through one kilobyte of its table.

use super::decimal::{Decimal, MAX_TEXT_BYTES};
use super::side::Side;

/// Levels of each side that Kraken's checksum covers.
const KRAKEN_LEVELS: u32 = 10;
/// Levels of each side that OKX's checksum covers.
const OKX_LEVELS: u32 = 25;

/// Ten best asks, then ten best bids; of each the digits of price and volume without point and leading zeros.
pub(super) fn kraken(asks: &Side, bids: &Side) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for side in [asks, bids] {
        for rank in 0..side.count().min(KRAKEN_LEVELS) {
            let level = side.best(rank);
            for number in [level.price, level.volume] {
                hasher.update(number.write_digits(&mut [0; MAX_TEXT_BYTES]));
            }
        }
    }
    hasher.finalize()
}

/// 25 levels, best bid and best ask in turn, of each price and size as the exchange wrote them, all joined by colons.
/// Where one side is shorter, the other goes on alone. OKX sends the result as a signed number; these are its bits.
pub(super) fn okx(asks: &Side, bids: &Side) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut separator: &[u8] = b"";
    let mut update = |number: Decimal| {
        hasher.update(separator);
        hasher.update(number.write_text(&mut [0; MAX_TEXT_BYTES]));
        separator = b":";
    };
    for rank in 0..OKX_LEVELS {
        for side in [bids, asks] {
            if rank < side.count() {
                let level = side.best(rank);
                update(level.price);
                update(level.volume);
            }
        }
    }
    hasher.finalize()
}
