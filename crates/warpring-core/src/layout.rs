//! Layout fingerprints: what host and device compare before anything is launched.

/// Starts a fingerprint (FNV-1a, 64 bits).
pub const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// Adds bytes to a fingerprint.
pub const fn mix_bytes(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

/// Adds a number to a fingerprint.
pub const fn mix(hash: u64, value: u64) -> u64 {
    mix_bytes(hash, &value.to_le_bytes())
}

/// Rounds `n` up to a multiple of `align`, a power of two.
pub const fn round_up(n: usize, align: usize) -> usize {
    (n + align - 1) & !(align - 1)
}

/// The larger of two, in constants.
pub const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}
