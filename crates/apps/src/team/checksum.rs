//! One word that tells results apart which differ in a single bit, so that runs of any kind and with
//! any number of workers can be compared.

use crate::bank::SplitMix64;

/// A checksum of words and their places: the sum of what a good mixer makes of each. So every worker
/// takes that of its part, and they are added in any order. It is no defence against somebody who wants
/// two results to look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksum(u64);

impl Checksum {
    /// Adds the word at a place of the result.
    #[inline]
    pub fn add(&mut self, place: usize, word: u64) {
        // A word of zero counts as well, hence the one.
        let mixed = SplitMix64::new(word).skip(place as u64 + 1).draw();
        self.0 = self.0.wrapping_add(mixed);
    }

    /// Adds numbers bit for bit: zeros of both signs differ. The first is at the place `first`.
    pub fn add_numbers(&mut self, first: usize, numbers: &[f64]) {
        for (place, number) in (first..).zip(numbers) {
            self.add(place, number.to_bits());
        }
    }

    /// The checksum of what was added.
    #[must_use]
    pub fn finish(self) -> u64 {
        self.0
    }

    /// The checksum of `numbers` alone.
    #[must_use]
    pub fn of_numbers(numbers: &[f64]) -> u64 {
        Self::of_part(0, numbers)
    }

    /// What `numbers`, from the place `first` on, add to the checksum of a result.
    #[must_use]
    pub fn of_part(first: usize, numbers: &[f64]) -> u64 {
        let mut checksum = Self::default();
        checksum.add_numbers(first, numbers);
        checksum.finish()
    }

    /// That of a result, of which these two are parts.
    #[must_use]
    pub fn sum(one: u64, other: u64) -> u64 {
        one.wrapping_add(other)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bit_makes_a_difference(
            numbers in prop::collection::vec(any::<f64>(), 1..50), at: prop::sample::Index, bit in 0u32..64,
        ) {
            let mut other = numbers.clone();
            let number = &mut other[at.index(numbers.len())];
            *number = f64::from_bits(number.to_bits() ^ 1 << bit);
            prop_assert_ne!(Checksum::of_numbers(&numbers), Checksum::of_numbers(&other));
        }

        #[test]
        fn parts_add_up(numbers in prop::collection::vec(any::<f64>(), 0..50), cut: prop::sample::Index) {
            let cut = cut.index(numbers.len() + 1);
            let (one, other) = numbers.split_at(cut);
            let parts = [Checksum::of_part(0, one), Checksum::of_part(cut, other)];
            let whole = Checksum::of_numbers(&numbers);
            prop_assert_eq!(Checksum::sum(parts[1], parts[0]), whole);
        }
    }

    #[test]
    fn order_and_length_make_a_difference() {
        let of = Checksum::of_numbers;
        assert_ne!(of(&[1.0, 2.0]), of(&[2.0, 1.0]));
        assert_ne!(of(&[0.0]), of(&[0.0, 0.0]));
        assert_ne!(of(&[0.0]), of(&[-0.0]));
    }
}
