//! OKX's `books` channel: `{"arg": {"channel", "instId"}, "action", "data": [{"asks", "bids", "checksum"}]}`.

use super::{BookEvent, levels, unexpected};
use crate::input::Problem;
use serde_json::Value;
use warpring_kernels::market::book::{BookRules, Exchange};

/// How many levels of each side the channel keeps.
const DEPTH: u32 = 400;

/// The event in a message, or `None` if the message is not about a book.
pub(super) fn book_event(line: u64, message: &Value) -> Result<Option<BookEvent>, Problem> {
    if message["arg"]["channel"] != "books" || message.get("data").is_none() {
        return Ok(None);
    }
    let instrument = &message["arg"]["instId"];
    let pair = instrument.as_str().ok_or_else(|| unexpected("arg.instId", "a name", instrument))?;
    let snapshot = match message["action"].as_str() {
        Some("snapshot") => true,
        Some("update") => false,
        _ => {
            return Err(unexpected("action", "snapshot or update", &message["action"]));
        }
    };
    // The channel sends one book a message; a second one would be lost silently, so it is refused.
    let Some([data]) = message["data"].as_array().map(Vec::as_slice) else {
        return Err(unexpected("data", "a list of one book", &message["data"]));
    };
    let checksum = match &data["checksum"] {
        Value::Null => None,
        value => {
            let signed = value.as_i64().and_then(|number| i32::try_from(number).ok());
            let signed = signed.ok_or_else(|| unexpected("data[0].checksum", "a signed 32-bit number", value))?;
            Some(signed.cast_unsigned())
        }
    };
    Ok(Some(BookEvent {
        line,
        pair: pair.to_owned(),
        rules: BookRules { exchange: Exchange::Okx, depth: DEPTH },
        snapshot,
        asks: levels("data[0].asks", &data["asks"])?,
        bids: levels("data[0].bids", &data["bids"])?,
        checksum,
    }))
}
