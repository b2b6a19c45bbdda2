//! A decimal number exactly as an exchange wrote it, in eight bytes.
//!
//! The checksum of some exchanges covers the original text of prices and sizes, so `30316` and `30316.0` must stay
//! apart although they are the same price. The text is fully given by its digits and by how many of them stand after
//! the point; that is all that is kept: 60 bits of digits and 4 bits of count. A feed with a fixed number of decimals
//! needs no more room for it, and no scale has to be agreed on before the first message.

use core::cmp::Ordering;
use warpring::{RingMessage, State};

/// Most digits after the point.
pub const MAX_DECIMALS: u32 = 15;
/// Largest number formed by all digits, the point left out.
pub const MAX_DIGITS: u64 = (1 << 60) - 1;
/// Longest text: 19 digits and a point.
pub const MAX_TEXT_BYTES: usize = 20;

const POWERS_OF_TEN: [u64; MAX_DECIMALS as usize + 1] = {
    let mut powers = [1; MAX_DECIMALS as usize + 1];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// A non-negative decimal number together with its way of writing. Equality (`==`) is equality of the text;
/// [`Decimal::compare`] compares values. Every bit pattern is a valid number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RingMessage, State)]
pub struct Decimal {
    /// Digits in the high 60 bits, number of decimals in the low 4.
    bits: u64,
}

/// Why a text is not a [`Decimal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Not of the form `0` or `12` or `0.5`: something else than digits and one point between them, or a leading zero.
    Malformed,
    /// More than [`MAX_DECIMALS`] digits after the point, or digits beyond [`MAX_DIGITS`].
    OutOfRange,
}

impl Decimal {
    /// `0`.
    pub const ZERO: Self = Self { bits: 0 };

    /// The number `digits / 10^decimals`, or `None` if out of range.
    #[must_use]
    pub const fn new(digits: u64, decimals: u32) -> Option<Self> {
        if digits > MAX_DIGITS || decimals > MAX_DECIMALS {
            return None;
        }
        Some(Self { bits: digits << 4 | decimals as u64 })
    }

    /// All digits as one integer: the fixed-point value at this number's own scale.
    #[must_use]
    pub const fn digits(self) -> u64 {
        self.bits >> 4
    }

    /// How many of the digits stand after the point.
    #[must_use]
    pub const fn decimals(self) -> u32 {
        (self.bits & 15) as u32
    }

    /// Whether the value is zero, however it is written.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.digits() == 0
    }

    /// Order by value: `1.0` and `1` are equal here.
    #[must_use]
    pub fn compare(self, other: Self) -> Ordering {
        // Most feeds write all their prices with the same number of decimals.
        if self.decimals() == other.decimals() {
            return self.bits.cmp(&other.bits);
        }
        // 60 bits times 10^15 (50 bits) fits.
        let scaled = |a: Self, b: Self| u128::from(a.digits()) * u128::from(POWERS_OF_TEN[b.decimals() as usize]);
        scaled(self, other).cmp(&scaled(other, self))
    }

    /// Reads a text that [`Decimal::write_text`] will give back unchanged.
    ///
    /// # Errors
    /// [`DecimalError`] by variant.
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        let point = text.iter().position(|byte| *byte == b'.');
        let whole = point.map_or(text.len(), |at| at);
        let decimals = point.map_or(0, |at| text.len() - at - 1);
        let redundant_zero = whole > 1 && text[0] == b'0';
        if whole == 0 || redundant_zero || (point.is_some() && decimals == 0) {
            return Err(DecimalError::Malformed);
        }
        let mut digits: u64 = 0;
        let mut too_large = decimals > MAX_DECIMALS as usize;
        for (at, byte) in text.iter().enumerate() {
            if Some(at) == point {
                continue;
            }
            if !byte.is_ascii_digit() {
                return Err(DecimalError::Malformed);
            }
            // Once too large it stays an error; saturating keeps the loop free of a second exit.
            digits = digits.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
            too_large |= digits > MAX_DIGITS;
        }
        if too_large {
            return Err(DecimalError::OutOfRange);
        }
        Self::new(digits, decimals as u32).ok_or(DecimalError::OutOfRange)
    }

    /// Writes the text into the buffer and returns it.
    pub fn write_text(self, buffer: &mut [u8; MAX_TEXT_BYTES]) -> &[u8] {
        let decimals = self.decimals() as usize;
        let mut rest = self.digits();
        let mut start = buffer.len();
        let mut written = 0;
        // At least one digit before the point, so `0.5` has its zero.
        while rest > 0 || written <= decimals {
            if written == decimals && decimals > 0 {
                start -= 1;
                buffer[start] = b'.';
            }
            start -= 1;
            buffer[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            written += 1;
        }
        &buffer[start..]
    }

    /// Writes the digits without the point and without leading zeros (nothing for zero) and returns them.
    pub fn write_digits(self, buffer: &mut [u8; MAX_TEXT_BYTES]) -> &[u8] {
        let mut rest = self.digits();
        let mut start = buffer.len();
        while rest > 0 {
            start -= 1;
            buffer[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &buffer[start..]
    }
}

impl core::fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut buffer = [0; MAX_TEXT_BYTES];
        formatter.pad(core::str::from_utf8(self.write_text(&mut buffer)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn texts_come_back_unchanged() {
        for text in ["0", "0.0", "7", "30316", "30316.0", "0.5000", "0.000000000000001", "1152921504606846975"] {
            assert_eq!(decimal(text).to_string(), text);
        }
    }

    #[test]
    fn texts_that_could_not_come_back_are_refused() {
        for text in ["", ".", ".5", "5.", "00", "01.5", "+1", "-1", "1e3", "1.2.3", " 1", "1,5", "\u{661}"] {
            assert_eq!(Decimal::parse(text.as_bytes()), Err(DecimalError::Malformed), "{text:?}");
        }
        for text in ["1152921504606846976", "0.0000000000000001", "99999999999999999999999999999999"] {
            assert_eq!(Decimal::parse(text.as_bytes()), Err(DecimalError::OutOfRange), "{text:?}");
        }
    }

    #[test]
    fn values_compare_whatever_their_decimals() {
        assert_eq!(decimal("30316").compare(decimal("30316.0")), Ordering::Equal);
        assert_eq!(decimal("30316.1").compare(decimal("30316")), Ordering::Greater);
        assert_eq!(decimal("1152921504606846975").compare(decimal("0.000000000000001")), Ordering::Greater);
    }

    #[test]
    fn digits_drop_the_point_and_leading_zeros() {
        let mut buffer = [0; MAX_TEXT_BYTES];
        assert_eq!(decimal("0.00753600").write_digits(&mut buffer), b"753600");
        assert_eq!(decimal("0.00000000").write_digits(&mut buffer), b"");
    }
}
