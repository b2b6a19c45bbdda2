//! What `derive(RingMessage)` encodes: all values come back, the layout is that of C, and what is no value is refused.
#![allow(missing_docs)]

use std::mem::offset_of;

use proptest::prelude::*;
use warpring::__private::warpring_core::message::{MAX_PAYLOAD, lines_for};
use warpring::{Malformed, RingMessage, State};

fn encoded<M: RingMessage>(message: &M) -> Vec<u8> {
    let mut bytes = vec![0; M::SIZE];
    message.encode(&mut bytes);
    bytes
}

#[derive(Clone, Copy, Debug, PartialEq, RingMessage, State)]
#[repr(u8)]
enum Side {
    Buy = 3,
    Sell,
    Cross = 200,
}

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
#[repr(u16)]
enum Venue {
    Near,
    Far = 0x1234,
}

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
#[repr(u32)]
enum Wide {
    Low = 1,
    High = u32::MAX,
}

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
struct Inner {
    flag: bool,
    ratio: f64,
    side: Side,
    small: [u16; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
struct Outer {
    a: u8,
    inner: Inner,
    b: u8,
    pairs: [Pair; 3],
    c: u16,
    wide: Wide,
    d: u8,
    venue: Venue,
    last: i64,
    tail: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
struct Pair(u8, u32);

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
struct Unit;

#[derive(Clone, Copy, Debug, PartialEq, RingMessage)]
struct Batch<const N: usize> {
    head: u8,
    items: [u32; N],
}

/// `Outer` as C lays it out.
#[repr(C)]
struct OuterInC {
    a: u8,
    inner: InnerInC,
    b: u8,
    pairs: [PairInC; 3],
    c: u16,
    wide: u32,
    d: u8,
    venue: u16,
    last: i64,
    tail: bool,
}
#[repr(C)]
struct InnerInC {
    flag: bool,
    ratio: f64,
    side: u8,
    small: [u16; 3],
}
#[repr(C)]
struct PairInC(u8, u32);

fn sides() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell), Just(Side::Cross)]
}

fn inners() -> impl Strategy<Value = Inner> {
    (any::<bool>(), any::<f64>(), sides(), any::<[u16; 3]>()).prop_map(|(flag, ratio, side, small)| Inner {
        flag,
        ratio,
        side,
        small,
    })
}

fn outers() -> impl Strategy<Value = Outer> {
    let pairs = any::<[(u8, u32); 3]>().prop_map(|pairs| pairs.map(|(a, b)| Pair(a, b)));
    let wide = prop_oneof![Just(Wide::Low), Just(Wide::High)];
    let venue = prop_oneof![Just(Venue::Near), Just(Venue::Far)];
    (any::<(u8, u8, u16, u8, i64, bool)>(), inners(), pairs, wide, venue).prop_map(
        |((a, b, c, d, last, tail), inner, pairs, wide, venue)| Outer { a, inner, b, pairs, c, wide, d, venue, last, tail },
    )
}

proptest! {
    #[test]
    fn every_value_comes_back(value in outers()) {
        prop_assert_eq!(Outer::decode(&encoded(&value)), Ok(value));
    }

    #[test]
    fn batches_come_back(head: u8, items: [u32; 7]) {
        let value = Batch { head, items };
        prop_assert_eq!(Batch::decode(&encoded(&value)), Ok(value));
    }

    #[test]
    fn any_bytes_are_a_value_or_malformed(bytes in proptest::collection::vec(any::<u8>(), Outer::SIZE)) {
        // What decodes says the same again, so nothing of the value came from outside its bytes.
        if let Ok(value) = Outer::decode(&bytes) {
            prop_assert_eq!(encoded(&Outer::decode(&encoded(&value)).unwrap()), encoded(&value));
        }
    }

    #[test]
    fn a_number_is_a_variant_or_malformed(number: u8) {
        let expected = match number { 3 => Ok(Side::Buy), 4 => Ok(Side::Sell), 200 => Ok(Side::Cross), _ => Err(Malformed) };
        prop_assert_eq!(Side::decode(&[number]), expected);
    }

    #[test]
    fn fields_lie_where_c_puts_them(value in outers()) {
        let bytes = encoded(&value);
        let at = |offset: usize, expected: &[u8]| bytes[offset..offset + expected.len()] == *expected;
        prop_assert!(at(offset_of!(OuterInC, a), &[value.a]));
        let inner = offset_of!(OuterInC, inner);
        prop_assert!(at(inner + offset_of!(InnerInC, flag), &[u8::from(value.inner.flag)]));
        prop_assert!(at(inner + offset_of!(InnerInC, ratio), &value.inner.ratio.to_le_bytes()));
        prop_assert!(at(inner + offset_of!(InnerInC, side), &[value.inner.side as u8]));
        for (i, small) in value.inner.small.iter().enumerate() {
            prop_assert!(at(inner + offset_of!(InnerInC, small) + 2 * i, &small.to_le_bytes()));
        }
        prop_assert!(at(offset_of!(OuterInC, b), &[value.b]));
        for (i, Pair(first, second)) in value.pairs.iter().enumerate() {
            let pair = offset_of!(OuterInC, pairs) + i * size_of::<PairInC>();
            prop_assert!(at(pair + offset_of!(PairInC, 0), &[*first]));
            prop_assert!(at(pair + offset_of!(PairInC, 1), &second.to_le_bytes()));
        }
        prop_assert!(at(offset_of!(OuterInC, c), &value.c.to_le_bytes()));
        prop_assert!(at(offset_of!(OuterInC, wide), &(value.wide as u32).to_le_bytes()));
        prop_assert!(at(offset_of!(OuterInC, d), &[value.d]));
        prop_assert!(at(offset_of!(OuterInC, venue), &(value.venue as u16).to_le_bytes()));
        prop_assert!(at(offset_of!(OuterInC, last), &value.last.to_le_bytes()));
        prop_assert!(at(offset_of!(OuterInC, tail), &[u8::from(value.tail)]));
    }
}

#[test]
fn sizes_and_alignments_are_those_of_c() {
    assert_eq!((Outer::SIZE, Outer::ALIGN), (size_of::<OuterInC>(), align_of::<OuterInC>()));
    assert_eq!((Inner::SIZE, Inner::ALIGN), (size_of::<InnerInC>(), align_of::<InnerInC>()));
    assert_eq!((Pair::SIZE, Pair::ALIGN), (size_of::<PairInC>(), align_of::<PairInC>()));
    assert_eq!((Unit::SIZE, Unit::ALIGN), (0, 1));
    assert_eq!((Batch::<5>::SIZE, Batch::<5>::ALIGN), (24, 4));
}

#[test]
fn padding_is_zero() {
    let bytes = encoded(&[Pair(0xff, u32::MAX); 2]);
    assert_eq!(bytes, [0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
}

#[test]
fn a_bad_value_deep_inside_is_malformed() {
    let inner = Inner { flag: true, ratio: 1.5, side: Side::Sell, small: [1, 2, 3] };
    let value = Outer {
        a: 1,
        inner,
        b: 2,
        pairs: [Pair(1, 2); 3],
        c: 3,
        wide: Wide::High,
        d: 4,
        venue: Venue::Far,
        last: -1,
        tail: true,
    };
    let inner = offset_of!(OuterInC, inner);
    for (at, bad) in [
        (inner + offset_of!(InnerInC, flag), 2),
        (inner + offset_of!(InnerInC, side), 0),
        (offset_of!(OuterInC, wide), 7),
        (offset_of!(OuterInC, venue) + 1, 1),
        (offset_of!(OuterInC, tail), 0x80),
    ] {
        let mut bytes = encoded(&value);
        bytes[at] = bad;
        assert_eq!(Outer::decode(&bytes), Err(Malformed), "byte {at}");
    }
    assert_eq!(Unit::decode(&[]), Ok(Unit));
}

#[test]
fn the_largest_message_fits_and_has_eight_lines() {
    #[derive(Clone, Copy, RingMessage)]
    struct Largest {
        words: [u64; MAX_PAYLOAD / 8],
    }
    assert_eq!((Largest::SIZE, lines_for(Largest::SIZE)), (424, 8));
}

#[test]
fn fingerprints_see_names_types_and_order() {
    mod a {
        #[derive(Clone, Copy, warpring::RingMessage)]
        pub struct M {
            pub x: u32,
            pub y: u32,
        }
    }
    mod b {
        #[derive(Clone, Copy, warpring::RingMessage)]
        pub struct M {
            pub y: u32,
            pub x: u32,
        }
    }
    mod c {
        #[derive(Clone, Copy, warpring::RingMessage)]
        pub struct M {
            pub x: u32,
            pub y: i32,
        }
    }
    mod d {
        #[derive(Clone, Copy, warpring::RingMessage)]
        pub struct N {
            pub x: u32,
            pub y: u32,
        }
    }
    mod e {
        // The same as `a::M`, in another module and behind another name for its type.
        type Word = u32;
        #[derive(Clone, Copy, warpring::RingMessage)]
        pub struct M {
            pub x: Word,
            pub y: Word,
        }
    }
    let all = [a::M::FINGERPRINT, b::M::FINGERPRINT, c::M::FINGERPRINT, d::N::FINGERPRINT];
    for (i, one) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|other| other != one));
    }
    assert_eq!(a::M::FINGERPRINT, e::M::FINGERPRINT);
    assert_ne!(<Batch<2> as RingMessage>::FINGERPRINT, <Batch<3> as RingMessage>::FINGERPRINT);
}
