//! Compares two versions of a line, byte by byte, into a 64-bit mask: with it the exact bytes that
//! a transaction changed are found in a few instructions a line.

#![allow(unsafe_code)]

use plurix_wire::LINE_BYTES;

/// The bytes of one line.
pub(crate) type Line = [u8; LINE_BYTES];

/// A way to compare lines that this processor is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Comparer(Kind);

/// Private, so that only [`Comparer::available`] makes one: the vector kinds must be present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Comparer {
    /// The fastest way on this processor.
    pub(crate) fn detect() -> Self {
        *Self::available()
            .last()
            .expect("the portable way is always there")
    }

    /// All ways on this processor, the fastest last. Under Miri, the portable one.
    fn available() -> Vec<Self> {
        let mut available = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                available.push(Self(Kind::Avx2));
            }
            if is_x86_feature_detected!("avx512bw") {
                available.push(Self(Kind::Avx512));
            }
        }
        available
    }

    /// The bytes that differ, bit `i` for byte `i`.
    #[inline]
    pub(crate) fn changed(self, old: &Line, new: &Line) -> u64 {
        match self.0 {
            Kind::Portable => changed_portable(old, new),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kind is made only where the processor has AVX2.
            Kind::Avx2 => unsafe { x86::changed_avx2(old, new) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kind is made only where the processor has AVX-512BW.
            Kind::Avx512 => unsafe { x86::changed_avx512(old, new) },
        }
    }
}

fn changed_portable(old: &Line, new: &Line) -> u64 {
    const LOW_SEVEN: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    /// Moves bit 8·i to bit 56 + i, for each of the eight bytes.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let words = old
        .as_chunks::<8>()
        .0
        .iter()
        .zip(new.as_chunks::<8>().0)
        .enumerate();
    words.fold(0, |mask, (word, (old, new))| {
        let differing = u64::from_le_bytes(*old) ^ u64::from_le_bytes(*new);
        // The highest bit of each byte is set if any of its bits is: adding 0x7f carries into it.
        let high = (((differing & LOW_SEVEN) + LOW_SEVEN) | differing) & !LOW_SEVEN;
        mask | ((high >> 7).wrapping_mul(GATHER) >> 56) << (8 * word)
    })
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same with vector instructions.

    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
        _mm512_cmpneq_epi8_mask, _mm512_loadu_si512,
    };

    use super::Line;

    #[target_feature(enable = "avx512bw")]
    pub(super) fn changed_avx512(old: &Line, new: &Line) -> u64 {
        let load = |line: &Line| -> __m512i {
            // SAFETY: a line has the 64 bytes of the vector; the load needs no alignment.
            unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
        };
        _mm512_cmpneq_epi8_mask(load(old), load(new))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn changed_avx2(old: &Line, new: &Line) -> u64 {
        let load = |half: &[u8; 32]| -> __m256i {
            // SAFETY: half a line has the 32 bytes of the vector; the load needs no alignment.
            unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
        };
        let (old, new) = (old.as_chunks::<32>().0, new.as_chunks::<32>().0);
        let equal = |half: usize| {
            let lanes = _mm256_cmpeq_epi8(load(&old[half]), load(&new[half]));
            u64::from(_mm256_movemask_epi8(lanes).cast_unsigned())
        };
        !(equal(0) | equal(1) << 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(old: &Line, new: &Line) -> u64 {
        (0..LINE_BYTES).fold(0, |mask, at| mask | u64::from(old[at] != new[at]) << at)
    }

    fn config() -> ProptestConfig {
        if cfg!(miri) {
            ProptestConfig {
                cases: 4,
                failure_persistence: None,
                ..ProptestConfig::default()
            }
        } else {
            ProptestConfig::with_cases(2000)
        }
    }

    #[test]
    fn each_single_byte_is_seen_by_every_comparer() {
        for comparer in Comparer::available() {
            for at in 0..LINE_BYTES {
                for value in [1, 0x7f, 0x80, 0xff] {
                    let mut new = [0; LINE_BYTES];
                    new[at] = value;
                    assert_eq!(
                        comparer.changed(&[0; LINE_BYTES], &new),
                        1 << at,
                        "{comparer:?}"
                    );
                }
            }
        }
    }

    proptest! {
        #![proptest_config(config())]
        #[test]
        fn every_comparer_agrees_with_the_naive_one(
            old in proptest::array::uniform32(any::<[u8; 2]>()),
            change in proptest::array::uniform32(any::<[Option<u8>; 2]>()),
        ) {
            let old: Line = old.concat().try_into().unwrap();
            let mut new = old;
            for (byte, change) in new.iter_mut().zip(change.concat()) {
                *byte = change.unwrap_or(*byte);
            }
            for comparer in Comparer::available() {
                prop_assert_eq!(comparer.changed(&old, &new), naive(&old, &new));
            }
        }
    }
}
