//! Kraken's `book` channel: `[id, {"a": levels, "b": levels, "c": checksum}, "book-1000", "PAIR"]`, where asks and bids
//! may come as two objects, and a snapshot has `as` and `bs` and no checksum.

use super::{BookEvent, levels, unexpected};
use crate::input::Problem;
use serde_json::Value;
use warpring_kernels::market::book::{BookRules, Exchange, MAX_DEPTH};

/// The event in a message, or `None` if the message is not about a book.
pub(super) fn book_event(line: u64, message: &Value) -> Result<Option<BookEvent>, Problem> {
    // Everything else is an object: heartbeats, status, subscriptions.
    let Some([_, parts @ .., channel, pair]) = message.as_array().map(Vec::as_slice) else {
        return Ok(None);
    };
    let Some(depth) = channel.as_str().and_then(|name| name.strip_prefix("book-")) else {
        return Ok(None);
    };
    let depth = depth
        .parse()
        .ok()
        .filter(|depth| (1..=MAX_DEPTH).contains(depth))
        .ok_or_else(|| unexpected("channelName", "book- with a depth from 1 to 1000", channel))?;
    let pair = pair.as_str().ok_or_else(|| unexpected("pair", "a name", pair))?;

    let mut event = BookEvent {
        line,
        pair: pair.to_owned(),
        rules: BookRules { exchange: Exchange::Kraken, depth },
        snapshot: false,
        asks: Vec::new(),
        bids: Vec::new(),
        checksum: None,
    };
    for part in parts {
        let part = part.as_object().ok_or_else(|| unexpected("update", "an object", part))?;
        for (key, value) in part {
            match key.as_str() {
                "a" | "as" => event.asks.extend(levels(key, value)?),
                "b" | "bs" => event.bids.extend(levels(key, value)?),
                "c" => {
                    let text = value.as_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                    let checksum = text.and_then(|text| text.parse().ok());
                    event.checksum = Some(checksum.ok_or_else(|| unexpected("c", "a whole number below 2^32 in quotes", value))?);
                }
                _ => {}
            }
            event.snapshot |= matches!(key.as_str(), "as" | "bs");
        }
    }
    Ok(Some(event))
}
