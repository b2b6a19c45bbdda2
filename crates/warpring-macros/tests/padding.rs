//! Values as bytes: what no field covers becomes zeros, wherever the fields and the elements of arrays lie.

use warpring::__private::warpring_core::module::KernelLayout;
use warpring::prelude::*;

#[derive(Clone, Copy, State)]
struct Narrow {
    wide: u32,
    small: u8,
}

#[derive(Clone, Copy, State)]
struct Outer {
    list: [Narrow; 3],
    kind: u8,
    full: Full,
    at: u64,
}

#[derive(Clone, Copy, State)]
struct Full {
    a: u32,
    b: [u16; 2],
}

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "padding/keeper")]
struct Keeper {
    small: u16,
    state: Resident<Outer>,
}

#[derive(Clone, Copy, Debug, RingMessage)]
struct Nothing;

impl RingKernelHandler<Nothing, ()> for Keeper {
    async fn handle(&self, _: &mut RingContext<'_>, _: Nothing) -> Result<()> {
        Ok(())
    }
}

warpring::export! {
    Keeper { Nothing => () }
}

/// The bytes of a value that lay in memory full of sevens, after its padding was cleared.
fn bytes<T>(value: T, clear: unsafe fn(*mut u8)) -> Vec<u8> {
    let mut bytes = vec![7u64; size_of::<T>().div_ceil(8)];
    let at = bytes.as_mut_ptr();
    // SAFETY: room and alignment for a `T`, all of it initialised: by the sevens, by the value, and its padding by `clear`.
    unsafe {
        at.cast::<T>().write(value);
        clear(at.cast());
        std::slice::from_raw_parts(at.cast::<u8>(), size_of::<T>()).to_vec()
    }
}

/// As many bytes of each value as the fields have, whatever their order; all others are 0.
fn holds(bytes: &[u8], fields: usize) {
    assert_eq!(bytes.iter().filter(|byte| **byte == 0xff).count(), fields, "{bytes:?}");
    assert!(bytes.iter().all(|byte| matches!(byte, 0 | 0xff)), "{bytes:?}");
}

const NARROW: Narrow = Narrow { wide: u32::MAX, small: u8::MAX };
const FULL: Full = Full { a: u32::MAX, b: [u16::MAX; 2] };
const OUTER: Outer = Outer { list: [NARROW; 3], kind: u8::MAX, full: FULL, at: u64::MAX };

#[test]
fn padding_becomes_zeros() {
    holds(&bytes(NARROW, Narrow::clear_padding), 5);
    holds(&bytes(FULL, Full::clear_padding), 8);
    holds(&bytes([OUTER; 2], <[Outer; 2]>::clear_padding), 2 * (3 * 5 + 1 + 8 + 8));
    let keeper = Keeper { small: u16::MAX, state: Resident::new(OUTER) };
    holds(&bytes(keeper, Keeper::clear_padding), 2 + 3 * 5 + 1 + 8 + 8);
}

#[test]
fn a_type_without_padding_says_so() {
    const {
        assert!(!Full::PADDED && !<[Full; 3]>::PADDED && !u64::PADDED);
        assert!(Narrow::PADDED && <[Narrow; 1]>::PADDED && Outer::PADDED && Keeper::PADDED);
    }
    assert_eq!(MODULE.kinds.len(), 1);
}
