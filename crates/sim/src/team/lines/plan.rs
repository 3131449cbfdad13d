//! What a seed decides of recovery lines: whether there are any, how often, how fast they are handed over,
//! what the page server keeps, and what of it breaks.

use std::ops::Range;

use plurix_protocol::leader::{CheckpointSettings, Strategy};
use plurix_protocol::{Span, Time};

use crate::random::{Purpose, Random};
use crate::team::plan::{Stroke, Weather};

/// See the module's text.
#[derive(Debug, Clone)]
pub(in crate::team) struct LinePlan {
    /// Whether the barrier of an interval ends a phase.
    pub(in crate::team) phase_ends: Vec<bool>,
    /// How many of a hundred of these shall be cuts.
    pub(in crate::team) wish_percent: u64,
    /// Pages that are collected at a time,
    pub(super) collected: usize,
    /// and time between two of them, in microseconds.
    pub(super) collect_us: Range<u64>,
    /// Workers wait until a line is on disk.
    pub(super) is_blocking: bool,
    pub(super) checkpoint: Option<CheckpointSettings>,
    pub(super) resident_pages_max: usize,
    /// How long the disk takes for a piece of work, in microseconds,
    pub(super) disk_us: Range<u64>,
    /// and how many pages that is.
    pub(super) disk_pages: usize,
    /// How many of a hundred messages find no room in the log.
    pub(super) full_percent: u64,
    pub(super) weather: Weather,
    /// What breaks when keepers have sent so many messages, ascending.
    pub(super) triggers: Vec<(u64, Stroke)>,
}

impl LinePlan {
    /// The plan of a team with so many barriers, if it has lines, and what breaks beside what breaks
    /// without them.
    pub(in crate::team) fn of(
        seed: u64,
        barriers: usize,
        weather: &Weather,
    ) -> Option<(Self, Vec<(Time, Stroke)>)> {
        let random = &mut Random::new(seed, Purpose::Team(5));
        let story = Story::of(random.below(100))?;
        let ends_percent = random.pick(&[50, 100, 100]);
        let barriers = barriers + random.pick(&[0, 2, 6]);
        let checkpoint = random.chance(75).then(|| CheckpointSettings {
            strategy: random.pick(&[Strategy::NonBlocking, Strategy::NonBlocking, Strategy::Log]),
            every: Span::from_micros(random.log_within(50..50_000)),
            changed_bytes: random.pick(&[4096, 1 << 20]),
        });
        let plan = Self {
            phase_ends: (0..barriers).map(|_| random.chance(ends_percent)).collect(),
            wish_percent: random.pick(&[30, 100, 100]),
            collected: random.pick(&[1, 2, 64]),
            collect_us: random.pick(&[(1, 5), (10, 200), (100, 3_000)]).into_range(),
            is_blocking: random.chance(25),
            checkpoint,
            resident_pages_max: random.pick(&[usize::MAX, usize::MAX, 3]),
            disk_us: random.pick(&[(1, 50), (20, 2_000)]).into_range(),
            disk_pages: random.pick(&[1, 4, 100]),
            full_percent: random.pick(&[0, 0, 0, 10]),
            weather: Weather {
                delay_us: random.pick(&[(1, 5), (5, 100), (50, 2_000)]).into_range(),
                ..weather.clone()
            },
            triggers: triggers(random, story),
        };
        let strokes = strokes(random);
        Some((story.told_by(plan), strokes))
    }
}

/// What the faults of a plan make likely.
#[derive(Debug, Clone, Copy)]
enum Story {
    /// Everything.
    Any,
    /// Parts of a line are still under way when the next formation begins, with the same lives.
    SlowParts,
    /// The page server forgets lines that the team goes on to build on.
    LostLines,
}

impl Story {
    /// The story of a team, of each hundred; for some there are no lines at all.
    fn of(percent: u64) -> Option<Self> {
        match percent {
            0..55 => Some(Self::Any),
            55..63 => Some(Self::SlowParts),
            63..71 => Some(Self::LostLines),
            _ => None,
        }
    }

    /// How much breaks while lines are being handed over,
    fn triggers(self) -> &'static [usize] {
        match self {
            Self::Any => &[0, 1, 3, 8],
            Self::SlowParts => &[1, 3, 8],
            Self::LostLines => &[3, 8, 16],
        }
    }

    /// and what.
    fn kinds(self) -> &'static [Stroke] {
        use Stroke::{Kill, KillServer, Part};
        match self {
            Self::Any => &KINDS,
            Self::SlowParts => &[Part],
            Self::LostLines => &[Kill, KillServer, KillServer, KillServer],
        }
    }

    fn told_by(self, mut plan: LinePlan) -> LinePlan {
        match self {
            Self::Any => return plan,
            Self::SlowParts => plan.weather.delay_us = 1_000..8_000,
            Self::LostLines => {
                (plan.disk_us, plan.disk_pages) = (2_000..20_000, 4);
                plan.is_blocking = false;
                let some = 4 + plan.phase_ends.len();
                plan.phase_ends.resize(some, true);
            }
        }
        plan.wish_percent = 100;
        plan.collected = 64;
        plan.phase_ends.fill(true);
        plan
    }
}

const KINDS: [Stroke; 8] = [
    Stroke::Kill,
    Stroke::Kill,
    Stroke::KillServer,
    Stroke::KillServer,
    Stroke::BreakLine,
    Stroke::BreakLine,
    Stroke::Part,
    Stroke::Part,
];

trait IntoRange {
    fn into_range(self) -> Range<u64>;
}

impl IntoRange for (u64, u64) {
    fn into_range(self) -> Range<u64> {
        self.0..self.1
    }
}

fn strokes(random: &mut Random) -> Vec<(Time, Stroke)> {
    let most = random.pick(&[0, 1, 2, 4]);
    let stroke = |random: &mut Random| {
        let time = Time(Span::from_micros(random.log_within(1_000..400_000)).0);
        (time, random.pick(&KINDS))
    };
    (0..most).map(|_| stroke(random)).collect()
}

/// Most of what can go wrong does so while a line is being handed over.
fn triggers(random: &mut Random, story: Story) -> Vec<(u64, Stroke)> {
    let most = random.pick(story.triggers());
    let trigger = |random: &mut Random| (random.log_within(1..150), random.pick(story.kinds()));
    let mut triggers: Vec<_> = (0..most).map(|_| trigger(random)).collect();
    triggers.sort_by_key(|(messages, _)| *messages);
    triggers
}
