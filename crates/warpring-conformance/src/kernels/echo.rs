//! An actor that answers messages of every size and shape with what it makes of them.

use warpring::prelude::*;

use super::gate::pass;
use super::subject::Hold;

/// A message of `N` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Bytes<const N: usize> {
    /// The bytes.
    pub bytes: [u8; N],
}

impl<const N: usize> Bytes<N> {
    /// Bytes that depend on the seed and on their place.
    #[must_use]
    pub fn seeded(seed: u8) -> Self {
        let mut bytes = [0; N];
        let mut at = 0;
        while at < N {
            bytes[at] = seed.wrapping_mul(31).wrapping_add((at as u8).wrapping_mul(7)).wrapping_add((at >> 8) as u8);
            at += 1;
        }
        Self { bytes }
    }

    /// What the echo makes of it: each byte becomes another, depending on its place.
    #[must_use]
    pub fn changed(mut self) -> Self {
        let mut at = 0;
        while at < N {
            self.bytes[at] = self.bytes[at].wrapping_mul(3) ^ at as u8;
            at += 1;
        }
        self
    }
}

/// An enum of one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
#[repr(u8)]
pub enum Side {
    /// 0.
    Buy,
    /// 7.
    Sell = 7,
}
/// An enum of two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
#[repr(u16)]
pub enum Place {
    /// 1.
    Here = 1,
    /// 40,000.
    There = 40_000,
}
/// A struct inside a message.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Point {
    /// One byte, with padding behind it.
    pub tag: u8,
    /// Eight bytes.
    pub x: f64,
    /// Four bytes.
    pub y: f32,
}
/// A message of every kind of field.
#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
pub struct Fields {
    /// A bool.
    pub flag: bool,
    /// Signed, two bytes.
    pub small: i16,
    /// An enum.
    pub side: Side,
    /// Signed, eight bytes.
    pub large: i64,
    /// An enum of two bytes.
    pub place: Place,
    /// An array of bools.
    pub flags: [bool; 3],
    /// An array of structs.
    pub points: [Point; 2],
    /// An array of arrays.
    pub table: [[u16; 3]; 2],
    /// An actor's id.
    pub who: ActorId,
    /// An actor's address.
    pub echo: Address<Echo>,
}

impl Fields {
    /// What the echo makes of it: every field is another.
    #[must_use]
    pub fn changed(self) -> Self {
        let [first, second] = self.points;
        let [low, high] = self.table;
        let [a, b, c] = self.flags;
        let id = self.echo.id();
        Self {
            flag: !self.flag,
            small: self.small.wrapping_neg(),
            side: match self.side {
                Side::Buy => Side::Sell,
                Side::Sell => Side::Buy,
            },
            large: self.large.wrapping_sub(1),
            place: match self.place {
                Place::Here => Place::There,
                Place::There => Place::Here,
            },
            flags: [!c, !a, !b],
            points: [Point { tag: second.tag.wrapping_add(1), ..second }, Point { x: first.x * 2.0, y: first.y + 0.5, ..first }],
            table: [high, low],
            who: id,
            echo: Address::new(self.who),
        }
    }
}

/// Answers with what it makes of a message; with an address that is not the default, of what that echo makes of it.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "conformance/echo")]
pub struct Echo {
    /// Whom it asks first.
    pub next: Address<Echo>,
}

macro_rules! echoes {
    ($($message:ty)*) => {$(
        impl RingKernelHandler<$message, $message> for Echo {
            async fn handle(&self, ctx: &mut RingContext<'_>, message: $message) -> Result<$message> {
                let message = if self.next == Address::default() { message } else { ctx.ask(self.next, message).await? };
                Ok(message.changed())
            }
        }
    )*};
}
echoes!(Bytes<0> Bytes<1> Bytes<32> Bytes<33> Bytes<88> Bytes<89> Bytes<424> Fields);

impl RingKernelHandler<Hold, u64> for Echo {
    async fn handle(&self, ctx: &mut RingContext<'_>, hold: Hold) -> Result<u64> {
        pass(ctx, hold.gate).await?;
        Ok(hold.n)
    }
}
