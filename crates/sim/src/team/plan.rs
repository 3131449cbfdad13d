//! What a seed decides of a team before it begins: how large everything is, how slow, and what breaks.

use std::fmt;
use std::ops::Range;

use plurix_protocol::team::{Placement, Region, Settings};
use plurix_protocol::{Span, Time};
use plurix_wire::PageNumber;
use plurix_wire::message::PageRun;

use super::lines::plan::LinePlan;
use crate::random::{Purpose, Random};

/// Regions begin so many pages apart, so that some pages belong to none.
const REGION_STRIDE: u64 = 24;

/// Sizes, delays and faults of one run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) stations: usize,
    /// The station of each worker.
    pub(super) worker_at: Vec<usize>,
    pub(super) regions: Vec<Region>,
    pub(super) settings: Settings,
    pub(super) intervals: usize,
    pub(super) locks: u64,
    /// Phrases of a worker in an interval, at most.
    pub(super) phrases: u64,
    /// How many of a hundred pages have one writer alone for some intervals.
    pub(super) sole_percent: u64,
    /// How many of a hundred intervals end with a reduction.
    pub(super) brings_percent: u64,
    pub(super) weather: Weather,
    pub(super) strokes: Vec<(Time, Stroke)>,
    pub(super) lines: Option<LinePlan>,
    /// Two workers race, on purpose.
    pub(super) has_race: bool,
}

/// How long things take.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    /// Time that a message travels, in microseconds.
    pub(super) delay_us: Range<u64>,
    /// How many of a hundred messages travel for long.
    pub(super) late_percent: u64,
    pub(super) late_us: Range<u64>,
    /// How many of a hundred connections take ten times as long for everything.
    pub(super) slow_percent: u64,
    /// Between two steps of a worker, in nanoseconds.
    pub(super) think_ns: Range<u64>,
}

/// What breaks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stroke {
    /// A member is killed, and so the team ends.
    Kill,
    /// A connection between members breaks: all live, and so does not the team.
    Part,
    /// The page server is killed.
    KillServer,
    /// A keeper's connection to the page server breaks.
    BreakLine,
    /// A member gives up, and says so.
    GiveUp,
    /// A station notices nothing for a while.
    Freeze(Span),
    /// Somebody says what he must not.
    Forge,
}

impl Stroke {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill-member",
            Self::Part => "part-team",
            Self::KillServer => "kill-server",
            Self::BreakLine => "break-line",
            Self::GiveUp => "give-up",
            Self::Freeze(_) => "freeze-station",
            Self::Forge => "forge-message",
        }
    }
}

impl Plan {
    pub(super) fn of(seed: u64) -> Self {
        let random = &mut Random::new(seed, Purpose::Team(0));
        let stations = random.pick(&[1, 2, 2, 2, 3, 3, 3, 4, 5, 6]);
        let several = random.chance(60);
        let mut worker_at = Vec::new();
        for station in 0..stations {
            let workers = if several { random.within(1..4) } else { 1 };
            worker_at.extend((0..workers).map(|_| station));
        }
        let regions = (0..random.within(1..4)).map(|index| region(index, random));
        let mut plan = Self {
            stations,
            worker_at,
            regions: regions.collect(),
            settings: Settings {
                read_ahead: random.pick(&[1, 2, 4, 16]),
                change_bytes: random.pick(&[1, 40, 200, 100_000]),
                ..Settings::default()
            },
            intervals: random.within(1..8) as usize,
            locks: random.within(1..4),
            phrases: random.pick(&[2, 6, 12]),
            sole_percent: random.pick(&[0, 20, 50, 90]),
            brings_percent: random.pick(&[0, 30, 100]),
            weather: weather(random),
            strokes: strokes(random),
            has_race: random.chance(15),
            lines: None,
        };
        plan.settings.under_way = random.pick(&[1, 3, 512]);
        plan.with_lines(seed)
    }

    /// Has recovery lines, or not.
    fn with_lines(mut self, seed: u64) -> Self {
        // In the end all is read, and nobody goes on from there.
        if let Some((lines, strokes)) = LinePlan::of(seed, self.intervals, &self.weather) {
            self.intervals = lines.phase_ends.len();
            self.lines = Some(lines);
            self.strokes.extend(strokes);
            self.strokes.sort_by_key(|(time, _)| *time);
        }
        self
    }

    /// The region of a page, counted from 0, and the page's place in it.
    pub(super) fn place(&self, page: PageNumber) -> (usize, u32) {
        let is_before = |region: &Region| region.run.first <= page;
        let region = self.regions.partition_point(is_before).saturating_sub(1);
        (region, page.0 - self.regions[region].run.first.0)
    }

    /// All weak pages.
    pub(super) fn pages(&self) -> impl Iterator<Item = PageNumber> {
        self.regions.iter().flat_map(|region| region.run.pages())
    }

    /// Pages of the memory that holds all regions.
    pub(super) fn heap_pages(&self) -> u32 {
        let end = |region: &Region| region.run.first.0 + region.run.count;
        self.regions.iter().map(end).max().unwrap_or(1)
    }
}

fn region(index: u64, random: &mut Random) -> Region {
    Region {
        run: PageRun::new(
            PageNumber((index * REGION_STRIDE + random.below(4)) as u32),
            random.within(1..13) as u32,
        ),
        unit: random.pick(&[1, 1, 2, 4]),
        placement: random.pick(&[
            Placement::FirstTouch,
            Placement::FirstTouch,
            Placement::Block,
            Placement::Cyclic(1),
            Placement::Cyclic(3),
        ]),
    }
}

fn weather(random: &mut Random) -> Weather {
    Weather {
        delay_us: range(random.pick(&[(1, 5), (5, 50), (20, 500)])),
        late_percent: random.pick(&[0, 3, 20]),
        late_us: range(random.pick(&[(100, 1_000), (500, 20_000)])),
        slow_percent: random.pick(&[0, 10, 40]),
        think_ns: range(random.pick(&[(100, 1_000), (1_000, 20_000), (100, 300_000)])),
    }
}

fn range((start, end): (u64, u64)) -> Range<u64> {
    start..end
}

/// Faults come early or late; a run of which nothing is left to break is not lengthened by them.
fn strokes(random: &mut Random) -> Vec<(Time, Stroke)> {
    let most = random.pick(&[0, 0, 1, 2, 6]);
    let stroke = |random: &mut Random| {
        let time = Time(Span::from_micros(random.log_within(5..40_000)).0);
        let freeze = Stroke::Freeze(Span::from_micros(random.log_within(10..50_000)));
        let kinds = [
            Stroke::Kill,
            Stroke::GiveUp,
            Stroke::Forge,
            freeze,
            freeze,
            freeze,
        ];
        (time, random.pick(&kinds))
    };
    let mut strokes: Vec<_> = (0..most).map(|_| stroke(random)).collect();
    strokes.sort_by_key(|(time, _)| *time);
    strokes
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a team of {} stations and {} workers, {} regions, {} intervals{}",
            self.stations,
            self.worker_at.len(),
            self.regions.len(),
            self.intervals,
            if self.has_race { ", with a race" } else { "" }
        )
    }
}
