//! Chance, all of it from the seed. Each part of the simulation draws from a stream of its own, so
//! that leaving out one, as the shrinking of a failure does, does not shift what the others draw.

use std::ops::Range;

use plurix_protocol::Span;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream is drawn for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Plan,
    Network,
    Faults,
    Disk,
    Audit,
    History,
    Clocks,
    Strangers,
    Decay,
    Checkpoints,
    Situation,
    /// How much memory stations have.
    Caches,
    /// When faults strike.
    Schedule,
    /// What one fault does.
    Stroke(u64),
    /// The program of one station.
    Program(usize),
    /// The machine of one station.
    Machine(usize),
    /// The links of one station.
    Links(usize),
    /// A part of a team.
    Team(u64),
}

/// One stream of random numbers.
#[derive(Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let stream = match purpose {
            Purpose::Plan => 0,
            Purpose::Network => 1,
            Purpose::Faults => 2,
            Purpose::Disk => 3,
            Purpose::Audit => 5,
            Purpose::History => 6,
            Purpose::Clocks => 7,
            Purpose::Strangers => 8,
            Purpose::Decay => 9,
            Purpose::Schedule => 10,
            Purpose::Checkpoints => 11,
            Purpose::Situation => 12,
            Purpose::Caches => 13,
            Purpose::Program(station) => 16 + station as u64,
            Purpose::Machine(station) => 1 << 32 | station as u64,
            Purpose::Links(station) => 2 << 32 | station as u64,
            Purpose::Stroke(stroke) => 3 << 32 | stroke,
            Purpose::Team(part) => 4 << 32 | part,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number below `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(limit)) >> 64) as u64
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// A number of `range`, small ones as likely as large ones.
    pub(crate) fn log_within(&mut self, range: Range<u64>) -> u64 {
        let (low, high) = ((range.start + 1).ilog2(), range.end.ilog2());
        let top = 1u64 << self.within(u64::from(low)..u64::from(high) + 1);
        self.within(top..2 * top)
            .saturating_sub(1)
            .clamp(range.start, range.end - 1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// A span up to twice `mean`, and longer than none.
    pub(crate) fn around(&mut self, mean: Span) -> Span {
        Span(1 + self.below(2 * mean.0))
    }

    pub(crate) fn micros(&mut self, range: Range<u64>) -> Span {
        Span::from_micros(self.within(range))
    }
}
