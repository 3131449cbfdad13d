//! The hash of a trace: equal for two runs that were the same, and cheap, because every event of
//! every run goes into it.

use std::fmt;
use std::hash::Hasher;

/// Odd, with as many ones as zeros, and no pattern. Source: the first secret of wyhash.
const MULTIPLIER: u64 = 0xa076_1d64_78bd_642f;

/// Takes eight bytes at a time: multiplies to 128 bits and folds the halves.
///
/// Source: Wang Yi, wyhash (<https://github.com/wangyi-fudan/wyhash>), whose mixing step this is. It
/// tells runs apart that differ by chance; against an adversary it is no defence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(MULTIPLIER)
    }

    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(MULTIPLIER);
        self.0 = (product as u64 ^ (product >> 64) as u64).wrapping_add(MULTIPLIER);
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        self.mix(u64::from_le_bytes(last));
        self.mix(bytes.len() as u64);
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Text goes in without ever being put together.
impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts_and_so_does_where_a_piece_ends() {
        let of = |pieces: &[&[u8]]| {
            let mut digest = Digest::new();
            pieces.iter().for_each(|piece| digest.write(piece));
            digest.finish()
        };
        let all = [
            of(&[]),
            of(&[b""]),
            of(&[b"\0"]),
            of(&[b"\0\0"]),
            of(&[b"12345678"]),
            of(&[b"12345678\0"]),
            of(&[b"1234567", b"8"]),
            of(&[b"123456789"]),
            of(&[b"12345678", b"9"]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }
}
