//! One word that tells results apart which differ in a single bit, so that runs of any kind and with
//! any number of workers can be compared.

/// A checksum of words in their order. It is no defence against somebody who wants two results to
/// look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum(u64);

/// Odd, so that the product loses nothing: two states never become one by the same word.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Default for Checksum {
    fn default() -> Self {
        Self(FACTOR)
    }
}

impl Checksum {
    /// Adds a word.
    pub fn add(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(FACTOR);
        // A product's low bits know nothing of the high ones; turning it lets them meet.
        self.0 = mixed.rotate_left(29) ^ (mixed >> 17);
    }

    /// Adds numbers, bit for bit: zeros of both signs differ.
    pub fn add_numbers(&mut self, numbers: &[f64]) {
        for number in numbers {
            self.add(number.to_bits());
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
        let mut checksum = Self::default();
        checksum.add_numbers(numbers);
        checksum.finish()
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
    }

    #[test]
    fn order_and_length_make_a_difference() {
        let of = Checksum::of_numbers;
        assert_ne!(of(&[1.0, 2.0]), of(&[2.0, 1.0]));
        assert_ne!(of(&[0.0]), of(&[0.0, 0.0]));
        assert_ne!(of(&[0.0]), of(&[-0.0]));
    }
}
