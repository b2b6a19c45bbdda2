//! `memcmp` for the GPU. `==` on arrays and slices calls it, and a device has no C library to take it from.

/// As C's `memcmp`: by words where both sides are aligned to them, by bytes where they differ and at the end.
///
/// # Safety
/// Both sides may be read, `count` initialised bytes of each.
#[inline(always)]
unsafe fn compare(a: *const u8, b: *const u8, count: usize) -> i32 {
    let mut at = 0;
    // SAFETY: `at` stays below `count`, and words are read where both sides are aligned to them.
    unsafe {
        if a.addr().is_multiple_of(4) && b.addr().is_multiple_of(4) {
            while at + 4 <= count && a.add(at).cast::<u32>().read() == b.add(at).cast::<u32>().read() {
                at += 4;
            }
        }
        while at < count {
            let (x, y) = (a.add(at).read(), b.add(at).read());
            if x != y {
                return i32::from(x) - i32::from(y);
            }
            at += 1;
        }
    }
    0
}

/// # Safety
/// As for C's `memcmp`.
#[cfg(target_arch = "nvptx64")]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> i32 {
    // SAFETY: contract.
    unsafe { compare(a, b, count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_orders_as_slices_do() {
        // Every start within a word, every length up to three words, and every place of the difference.
        let base: [u32; 5] = [0x0403_0201, 0x087f_80ff, 0, u32::MAX, 0x1234_5678];
        for (left, right, count) in (0..4).flat_map(|l| (0..4).flat_map(move |r| (0..=12).map(move |n| (l, r, n)))) {
            for differs in 0..=count {
                let (mut a, mut b) = ([0u32; 5], [0u32; 5]);
                let (x, y) = (bytes(&mut a), bytes(&mut b));
                let mut from = base;
                x[left..left + count].copy_from_slice(&bytes(&mut from)[..count]);
                y[right..right + count].copy_from_slice(&bytes(&mut from)[..count]);
                if differs < count {
                    y[right + differs] ^= 0x80;
                }
                let (x, y) = (&x[left..left + count], &y[right..right + count]);
                // SAFETY: two slices of this length.
                let sign = unsafe { compare(x.as_ptr(), y.as_ptr(), count) };
                assert_eq!(sign.cmp(&0), x.cmp(y), "{left} {right} {count} {differs}");
            }
        }
    }

    fn bytes(words: &mut [u32; 5]) -> &mut [u8] {
        zerocopy::IntoBytes::as_mut_bytes(words)
    }
}
