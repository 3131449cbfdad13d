//! Stores some bytes of a line and touches no other, while another thread may be storing to those.
//! To load the line, blend it and store it back would undo what that thread stores meanwhile.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use plurix_wire::LINE_BYTES;

use crate::diff::Line;

/// The words of a line in shared memory.
pub(super) type LineWords = [AtomicU64; LINE_BYTES / size_of::<AtomicU64>()];

/// A way to store bytes of a line that this processor is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patcher(Kind);

/// Private, so that only [`Patcher::available`] makes one: the vector kind must be present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Patcher {
    /// The fastest way on this processor.
    pub(super) fn detect() -> Self {
        *Self::available()
            .last()
            .expect("the portable way is always there")
    }

    /// All ways on this processor, the fastest last. Under Miri, the portable one.
    pub(super) fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bw") && !cfg!(miri) {
            return vec![Self(Kind::Portable), Self(Kind::Avx512)];
        }
        vec![Self(Kind::Portable)]
    }

    /// Stores the bytes of `new` that are in `changed`, bit `i` for byte `i`.
    #[inline]
    pub(super) fn store(self, line: &LineWords, changed: u64, new: &Line) {
        match self.0 {
            Kind::Portable => store_portable(line, changed, new),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this kind is made only where the processor has AVX-512BW.
            Kind::Avx512 => unsafe { x86::store_avx512(line, changed, new) },
        }
    }
}

fn store_portable(line: &LineWords, changed: u64, new: &Line) {
    for (index, (word, new)) in line.iter().zip(new.as_chunks::<8>().0).enumerate() {
        match changed >> (8 * index) & 0xff {
            0 => {}
            0xff => word.store(u64::from_ne_bytes(*new), Ordering::Relaxed),
            changed => (0..8)
                .filter(|byte| changed >> byte & 1 != 0)
                .for_each(|byte| store_byte(word, byte, new[byte])),
        }
    }
}

fn store_byte(word: &AtomicU64, byte: usize, value: u8) {
    let byte = word.as_ptr().cast::<u8>().wrapping_add(byte);
    // SAFETY: the byte is one of the word's eight; it is shared by atomic accesses alone.
    let byte = unsafe { AtomicU8::from_ptr(byte) };
    byte.store(value, Ordering::Relaxed);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The same with one instruction.

    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_mask_storeu_epi8};

    use super::{Line, LineWords};

    #[target_feature(enable = "avx512bw")]
    pub(super) fn store_avx512(line: &LineWords, changed: u64, new: &Line) {
        // SAFETY: a line has the 64 bytes of the vector; the load needs no alignment.
        let new = unsafe { _mm512_loadu_si512(new.as_ptr().cast()) };
        let line = line.as_ptr().cast_mut();
        // SAFETY: the line's 64 bytes are shared and writable, and bytes that are masked out are
        // not touched (Intel SDM, VMOVDQU8: no store where the mask is zero).
        unsafe { _mm512_mask_storeu_epi8(line.cast(), changed, new) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: Line) -> LineWords {
        let words = bytes.as_chunks().0.iter();
        let words: Vec<_> = words
            .map(|word| AtomicU64::new(u64::from_ne_bytes(*word)))
            .collect();
        words.try_into().unwrap()
    }

    #[test]
    fn exactly_the_bytes_of_the_mask_are_stored() {
        let masks = (0..64).map(|bit| 1 << bit);
        let masks = masks.chain([0, u64::MAX, 0xff00_0f0f_8001_ff00, !1]);
        for (patcher, changed) in masks.flat_map(|mask| {
            Patcher::available()
                .into_iter()
                .map(move |patcher| (patcher, mask))
        }) {
            let line = words([1; LINE_BYTES]);
            patcher.store(&line, changed, &[2; LINE_BYTES]);
            let expected: Line = std::array::from_fn(|at| 1 + (changed >> at & 1) as u8);
            let stored: Vec<u8> = line
                .iter()
                .flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes())
                .collect();
            assert_eq!(stored, expected, "{patcher:?} {changed:#x}");
        }
    }
}
