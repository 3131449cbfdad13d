//! A small random number generator of our own, so that the transfers of a seed never change with a
//! library's version: a run that is repeated after a crash must draw the same numbers.

/// What each number adds to the state.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The generator that starts at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The generator that has drawn `count` numbers more.
    #[must_use]
    pub fn skip(self, count: u64) -> Self {
        Self::new(self.state.wrapping_add(STEP.wrapping_mul(count)))
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, by the upper half of a product (Lemire 2019, without his rejection:
    /// the bias is below bound / 2⁶⁴).
    ///
    /// # Panics
    /// If `bound` is zero, because no number is below it.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below zero");
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_reference_implementation() {
        let mut generator = SplitMix64::new(1_234_567);
        let drawn: Vec<u64> = (0..5).map(|_| generator.draw()).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn numbers_can_be_skipped() {
        let mut drawn = SplitMix64::new(9);
        let sixth = (0..6).map(|_| drawn.draw()).last();
        assert_eq!(Some(SplitMix64::new(9).skip(5).draw()), sixth);
    }

    #[test]
    fn bounded_numbers_reach_both_ends_and_no_further() {
        let mut generator = SplitMix64::new(7);
        let drawn: Vec<u64> = (0..1000).map(|_| generator.below(3)).collect();
        assert!((0..3).all(|n| drawn.contains(&n)) && drawn.iter().all(|&n| n < 3));
    }
}
