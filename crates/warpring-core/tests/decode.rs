//! Bytes that anybody may have written: decoding them gives a value or an error, never a panic.
#![cfg(not(loom))]

use proptest::prelude::*;
use warpring_core::message::{MAX_PAYLOAD, RingMessage};
use warpring_core::worker::{Adopt, Report};
use warpring_core::{ActorId, Address, GroupAddress};

struct Nobody;

/// Decodes any bytes, and what decodes comes back from its encoding.
fn decodes<M: RingMessage>(bytes: &[u8]) {
    let _ = M::decode(bytes);
    let mut exact = [0; MAX_PAYLOAD];
    let n = bytes.len().min(M::SIZE);
    exact[..n].copy_from_slice(&bytes[..n]);
    let Ok(value) = M::decode(&exact[..M::SIZE]) else { return };
    let mut again = vec![0; M::SIZE];
    value.encode(&mut again);
    let Ok(same) = M::decode(&again) else { panic!("its own encoding is malformed") };
    let mut third = vec![0; M::SIZE];
    same.encode(&mut third);
    assert_eq!(again, third);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 1024 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_decode_or_are_malformed(bytes in prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => 0u8..3], 0..128)) {
        macro_rules! all {
            ($($t:ty),*) => { $( decodes::<$t>(&bytes); )* };
        }
        all!((), u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, bool);
        all!([bool; 3], [u16; 7], [[bool; 2]; 5], [f64; 9], [u64; 53], [(); 4], [u8; 0]);
        all!(ActorId, Address<Nobody>, GroupAddress<Nobody>, [Address<Nobody>; 3], Adopt, Report);
    }

    #[test]
    fn a_group_from_any_bytes_names_actors_or_none(words: [u64; 2], index: u32) {
        let mut bytes = [0; 16];
        words.encode(&mut bytes);
        let group = GroupAddress::<Nobody>::decode(&bytes).unwrap();
        prop_assert_eq!(group.get(index).is_some(), index < group.len() && words[1] as u32 != 0);
    }
}
