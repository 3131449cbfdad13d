//! The mixes that a seed draws from: what is tried in one run is not tried in another, since faults
//! of one kind hide those of another.

use plurix_protocol::Span;

use crate::nemesis::Fault;
use crate::random::Random;

/// What kind of a run it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mix {
    /// Some faults of many kinds.
    Standard,
    /// No fault at all, for long.
    Calm,
    /// One kind of fault alone, often.
    Single(Fault),
    /// Many stations.
    Crowd,
}

impl Mix {
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(20) {
            0 => Self::Calm,
            1..5 => Self::Single(random.pick(Fault::ALL)),
            5..7 => Self::Crowd,
            _ => Self::Standard,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Calm => "calm",
            Self::Single(_) => "single fault",
            Self::Crowd => "crowd",
        }
    }

    pub(super) fn stations(self, random: &mut Random) -> usize {
        match self {
            Self::Crowd => random.within(9..25) as usize,
            _ => random.pick(&[1, 2, 2, 3, 3, 4, 5, 8]),
        }
    }

    /// How long faults go on.
    pub(super) fn chaos(self, random: &mut Random) -> Span {
        Span::from_millis(match self {
            Self::Calm => random.within(3000..9000),
            Self::Crowd => random.within(200..1200),
            _ => random.within(300..4000),
        })
    }

    /// The faults tried, and the mean time from one of a kind to the next. More kinds strike more
    /// rarely each: between faults there must be time for something to go wrong.
    pub(super) fn faults(self, random: &mut Random) -> Vec<(Fault, Span)> {
        let chosen: Vec<Fault> = match self {
            Self::Calm => Vec::new(),
            Self::Single(fault) => vec![fault],
            Self::Standard | Self::Crowd => {
                let percent = random.pick(&[10, 20, 40]);
                let all = Fault::ALL.iter().copied();
                all.filter(|_| random.chance(percent)).collect()
            }
        };
        let apart_ms = random.pick(&[10, 30, 100]) * chosen.len() as u64;
        let mean =
            |random: &mut Random| Span::from_millis(random.within(apart_ms / 2..2 * apart_ms));
        chosen.iter().map(|fault| (*fault, mean(random))).collect()
    }
}
