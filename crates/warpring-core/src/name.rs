//! Names, as they travel: numbers that are made of text.

use crate::layout;
use crate::message::{Malformed, RingMessage};
use crate::resident::State;

/// The name of an actor or of a topic: eight bytes, computed from its text, also at compile time. It may be kept in state and sent
/// in messages. The two kinds of names do not meet: an actor and a topic may have the same.
///
/// A text is a name if it has 1 to 64 bytes, each an ASCII letter, a digit, or one of `_ - . / :`. The host refuses what is none
/// (and a second text that gives the same number), so that here any text will do: what was never registered is never found.
///
/// ```
/// # use warpring_core::Name;
/// const LIMITS: Name = Name::new("risk/limits");
/// assert_eq!(LIMITS, Name::new("risk/limits"));
/// assert_ne!(LIMITS, Name::new("risk/limit"));
/// assert_eq!(Name::check("risk/limits"), Ok(()));
/// assert_eq!(Name::check("risk limits"), Err("has a character other than ASCII letters, digits and _ - . / :"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Name(u64);

impl Name {
    /// Most bytes of a name's text.
    pub const MAX_BYTES: usize = 64;

    /// The name with this text (FNV-1a over its bytes).
    #[inline]
    pub const fn new(text: &str) -> Self {
        let hash = layout::mix_bytes(layout::EMPTY, text.as_bytes());
        // 0 is a free place of a table.
        Self(if hash == 0 { 1 } else { hash })
    }

    /// Whether a text may be a name.
    ///
    /// # Errors
    /// What is wrong with it, to be said behind the text.
    pub const fn check(text: &str) -> core::result::Result<(), &'static str> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err("is empty");
        }
        if bytes.len() > Self::MAX_BYTES {
            return Err("is longer than 64 bytes");
        }
        let mut i = 0;
        while i < bytes.len() {
            if !(bytes[i].is_ascii_alphanumeric() || matches!(bytes[i], b'_' | b'-' | b'.' | b'/' | b':')) {
                return Err("has a character other than ASCII letters, digits and _ - . / :");
            }
            i += 1;
        }
        Ok(())
    }

    /// The number.
    #[inline(always)]
    pub const fn number(self) -> u64 {
        self.0
    }
}

// SAFETY: an integer.
unsafe impl State for Name {
    const FINGERPRINT: u64 = layout::mix_bytes(layout::EMPTY, b"Name 8");
}

impl RingMessage for Name {
    const SIZE: usize = 8;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = <Self as State>::FINGERPRINT;
    #[inline(always)]
    fn encode(&self, out: &mut [u8]) {
        self.0.encode(out)
    }
    #[inline(always)]
    fn decode(bytes: &[u8]) -> core::result::Result<Self, Malformed> {
        u64::decode(bytes).map(Self)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_name() {
        let longest = "n".repeat(Name::MAX_BYTES);
        for text in ["a", "risk/limits", "EU.prices:1-2_3", &longest] {
            assert_eq!(Name::check(text), Ok(()), "{text}");
        }
        let longer = "n".repeat(Name::MAX_BYTES + 1);
        for text in ["", " ", "a b", "a\n", "ä", "a\0", &longer] {
            assert!(Name::check(text).is_err(), "{text:?}");
        }
    }
}
