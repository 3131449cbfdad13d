//! The hash function of keys: part of the heap's format, so it is written out here, and its values
//! are fixed by a test.
//!
//! It multiplies words to twice their width and folds the halves together, as wyhash (Wang Yi, 2019)
//! and its descendants do. It has no seed: who can choose keys freely can choose ones that collide.

const SEEDS: [u64; 4] = [
    0xa076_1d64_78bd_642f,
    0xe703_7ed1_a0b4_28db,
    0x8ebc_6af0_9c88_c6e3,
    0x5899_65cc_7537_4cc3,
];

/// The hash of `bytes`.
#[inline]
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let length = bytes.len() as u64;
    let (low, high) = if length <= 8 {
        (short(bytes), length)
    } else if length <= 16 {
        let end = bytes.len() - 8;
        (word(bytes, 0), word(bytes, end).rotate_left(32) ^ length)
    } else {
        long(bytes)
    };
    fold(fold(low ^ SEEDS[0], high ^ SEEDS[1]) ^ SEEDS[2], SEEDS[3])
}

/// Up to eight bytes as a number.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// Words of more than 16 bytes; the last two overlap those before them.
fn long(bytes: &[u8]) -> (u64, u64) {
    let mut state = bytes.len() as u64;
    let (mut at, end) = (0, bytes.len() - 16);
    while at < end {
        state = fold(word(bytes, at) ^ SEEDS[1], word(bytes, at + 8) ^ state);
        at += 16;
    }
    (word(bytes, end) ^ state, word(bytes, end + 8) ^ SEEDS[2])
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    short(&bytes[at..at + 8])
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
