//! What one seed tries: each seed draws its own mix of sizes, limits, faults and contention, so
//! that together they reach edges that no single mix would.
//!
//! Source: Groce, Zhang, Eide, Chen, Regehr, "Swarm Testing", ISSTA 2012.

mod describe;
mod mix;
mod situation;

use std::ops::Range;

use plurix_protocol::leader::{self, CheckpointSettings, Durability};
use plurix_protocol::{Span, station};
use plurix_store::Compression;
use plurix_wire::PAGE_BYTES;

use crate::library;
use crate::member::Role;
use crate::nemesis::Fault;
use crate::network::Weather;
use crate::random::{Purpose, Random};
use crate::workload::Kind;
use mix::Mix;
use situation::Situation;

/// Pages of the heap; a script touches the first few of them.
const HEAP_PAGES: u64 = 64;
/// Pages of the heap that the library manages.
const LIBRARY_HEAP_PAGES: u64 = 512;

/// The library looks after its session every 20 ms while a program computes; a leader that bears
/// little more silence than that would drop it now and then.
const LIBRARY_SILENCE: Span = Span::from_millis(100);
/// Activities that compute do so for less than this, in milliseconds.
const ACTIVITY_MS_MAX: u64 = 40;
/// Mean time between two faults of a kind in a long run.
const RARELY: Span = Span::from_millis(400);

/// How many of a hundred seeds collect what programs saw.
const HISTORY_PERCENT: u64 = 25;

/// Everything that a seed decides before the run begins.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    mix: Mix,
    situation: Option<Situation>,
    pub(crate) stations: usize,
    /// So many of them, the last ones, are observers; every other one of these never writes.
    observers: usize,
    /// The stations run the library with these programs, rather than scripts.
    pub(crate) library: Option<library::Kind>,
    /// Activities that compute do so for less than this, in milliseconds.
    pub(crate) activity_ms_max: u64,
    /// Stations ask for their number from the first join on.
    pub(crate) numbered: bool,
    pub(crate) leader: leader::Settings,
    pub(crate) station: station::Settings,
    pub(crate) weather: Weather,
    pub(crate) workload: Workload,
    pub(crate) disk: DiskPlan,
    /// The faults tried, and the mean time from one of a kind to the next.
    pub(crate) faults: Vec<(Fault, Span)>,
    /// How long faults go on.
    pub(crate) chaos: Span,
    /// How many of a hundred transactions begin with a look at every page.
    pub(crate) audit_percent: u64,
    /// Some of those that come after a crash ask for no number, and may be given that of a station
    /// which is only away.
    pub(crate) strangers: bool,
    /// The rates of clocks that nothing disturbs, in thousandths. They differ so little that a
    /// member that says something in time, by its own clock, is heard in time by every other.
    pub(crate) clock_permille: Range<u64>,
    /// In memory mode, a sync follows so many of a hundred occasions: the more of them, the less a
    /// power cut takes back, and the sooner others have new commits under the same numbers.
    pub(crate) sync_percent: u64,
    /// Scripts want to hear when so many of a hundred of their commits are durable.
    pub(crate) durable_percent: u64,
}

/// The log's disk.
#[derive(Debug, Clone)]
pub(crate) struct DiskPlan {
    pub(crate) segment_bytes: u64,
    pub(crate) commit_bytes_max: u64,
    pub(crate) sync_us: Range<u64>,
    /// How long a piece of background work takes.
    pub(crate) job_us: Range<u64>,
    /// Pages collected for a checkpoint in one turn.
    pub(crate) pages_a_turn: usize,
    /// Checkpoints that are kept.
    pub(crate) checkpoints_kept: usize,
    pub(crate) compression: Compression,
    /// Pages are loaded before they are asked for.
    pub(crate) preloads: bool,
}

impl DiskPlan {
    /// The shortest segment that takes the largest commit.
    fn segment_bytes_min(&self) -> u64 {
        segment_bytes(self.commit_bytes_max, 1)
    }
}

/// A segment for some of the largest commits.
fn segment_bytes(commit_bytes_max: u64, commits: u64) -> u64 {
    let least = (commit_bytes_max + 1024) * 16 / 15;
    (least * commits).next_multiple_of(4096)
}

/// What programs do.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    /// Ranges consist of whole registers, so that each value tells who wrote it.
    pub(crate) aligned: bool,
    /// The kinds of scripts, and how likely each is, relative to the others.
    pub(crate) scripts: Vec<(Kind, u64)>,
    pub(crate) accounts: u64,
    /// Bytes from one account to the next.
    pub(crate) account_stride: u64,
    pub(crate) pages: u64,
    /// Registers lie in so many lines of each page.
    pub(crate) lines: u64,
    /// Registers in one line.
    pub(crate) registers: u64,
    pub(crate) steps_max: u64,
    /// How likely each kind of step is, relative to the others.
    pub(crate) read: u64,
    pub(crate) modify: u64,
    pub(crate) silent: u64,
    pub(crate) restored: u64,
    pub(crate) blind: u64,
    pub(crate) think: u64,
    pub(crate) read_only_percent: u64,
    pub(crate) abort_percent: u64,
    /// How many of a hundred transactions ask for the newest snapshot before they begin.
    pub(crate) latest_percent: u64,
    pub(crate) evict_percent: u64,
    pub(crate) prefetch_percent: u64,
    /// How many of a thousand transactions are preceded by the station's end in order.
    pub(crate) leave_permille: u64,
    /// How many of a thousand commits are given up if they are not answered in time, and that time
    /// in microseconds.
    pub(crate) give_up_permille: u64,
    pub(crate) patience_us: Range<u64>,
    /// Between the steps of a slow transaction, in microseconds.
    pub(crate) think_us: Range<u64>,
    /// Between transactions, in microseconds.
    pub(crate) pause_us: Range<u64>,
}

impl Plan {
    /// What this seed tries.
    pub(crate) fn of(seed: u64) -> Self {
        let mut rare = Random::new(seed, Purpose::Situation);
        let mut plan = Self::draw(&mut Random::new(seed, Purpose::Plan), &mut rare);
        plan.draw_history(&mut Random::new(seed, Purpose::History));
        plan.draw_checkpoints(&mut Random::new(seed, Purpose::Checkpoints));
        plan.draw_caches(&mut Random::new(seed, Purpose::Caches));
        if let Some(situation) = plan.situation {
            situation.arrange(&mut plan, &mut rare);
        }
        plan
    }

    /// Some stations have memory for a few pages only, so that pages are given up all the time.
    fn draw_caches(&mut self, random: &mut Random) {
        if random.chance(40) {
            self.station.cache_pages_max = random.pick(&[1, 2, 3, 5, 8, 16]);
        }
    }

    /// Draws everything but checkpoints, caches and history from `random`, and from `rare` the situation, if
    /// any, that the seed is made for.
    fn draw(random: &mut Random, rare: &mut Random) -> Self {
        let situation = Situation::draw(rare);
        let mix = Mix::draw(random);
        let stations = mix.stations(random);
        let heartbeat = Span::from_millis(random.within(5..30));
        let mut library = random.chance(30).then(|| random.pick(&library::Kind::ALL));
        if let Some(situation) = situation {
            library = situation.library(library, rare);
        }
        let leader = leader(stations, heartbeat, library.is_some(), random);
        let station = station::Settings {
            heartbeat: Span(heartbeat.0 * random.within(1..3)),
            silence_max: leader.silence_max,
            queue_bytes_max: random.log_within(64..1 << 18) as usize,
            read_ahead: random.pick(&[1, 2, 8, 32]),
            ..station::Settings::default()
        };
        let commit_bytes_max = match library {
            Some(_) => 256 << 10,
            None => random.pick(&[8 << 10, 16 << 10]),
        };
        Self {
            mix,
            situation,
            stations,
            library,
            activity_ms_max: ACTIVITY_MS_MAX,
            observers: match random.chance(25) && library.is_none() {
                true => random.below(stations as u64) as usize,
                false => 0,
            },
            numbered: random.chance(50),
            leader,
            station,
            weather: weather(random),
            workload: workload(random),
            disk: DiskPlan {
                segment_bytes: segment_bytes(commit_bytes_max, random.within(1..5)),
                commit_bytes_max,
                sync_us: random.pick(&[20, 200, 2000]).into_range(),
                job_us: 100.into_range(),
                pages_a_turn: 1,
                checkpoints_kept: 2,
                compression: Compression::None,
                preloads: false,
            },
            faults: mix.faults(random),
            chaos: mix.chaos(random),
            audit_percent: random.pick(&[0, 5, 30]),
            strangers: random.pick(&[false, true, false]),
            clock_permille: random
                .pick(&[(1000, 1001), (999, 1002), (800, 1300)])
                .into_range(),
            sync_percent: random.pick(&[0, 1, 20]),
            durable_percent: random.pick(&[0, 10, 100]),
        }
    }

    /// What a station is for.
    pub(crate) fn role(&self, index: usize) -> Role {
        match self.stations - index {
            rest if rest > self.observers => Role::Worker,
            rest if rest % 2 == 0 => Role::Observer,
            _ => Role::Reader,
        }
    }
}

fn leader(
    stations: usize,
    heartbeat: Span,
    is_library: bool,
    random: &mut Random,
) -> leader::Settings {
    let durability = random.pick(&[Durability::Memory, Durability::Durable]);
    let heap_pages = match is_library {
        true => LIBRARY_HEAP_PAGES,
        false => HEAP_PAGES,
    };
    let heap_bytes = heap_pages * PAGE_BYTES as u64;
    let mut leader = leader::Settings::new(heap_bytes, durability);
    // Where it is full, who comes back must wait until its predecessor is given up. The library
    // does not wait: its user is told.
    if !is_library {
        leader.stations_max = stations as u32 + random.pick(&[0, 1, 2, 1000]);
    }
    leader.recent_pages = random.log_within(1..64) as usize;
    leader.history_bytes_max = random.log_within(1..1 << 20) as usize;
    leader.backlog_bytes_max = random.log_within(256..1 << 20) as usize;
    // Each page of the heap may be under way to a station, with all that happened to it since.
    leader.answer_bytes_max = 2 * (heap_bytes as usize + leader.history_bytes_max) + (64 << 10);
    leader.batch_bytes = random.log_within(1..1 << 18) as usize;
    leader.outcomes_max = random.within(1..8) as usize;
    leader.heartbeat = heartbeat;
    leader.silence_max = Span(heartbeat.0 * random.within(4..10));
    if is_library {
        leader.silence_max = leader.silence_max.max(LIBRARY_SILENCE);
    }
    leader.resume_max = Span(heartbeat.0 * random.within(2..10));
    leader.stream_delay = random.pick(&[
        Span(0),
        Span::from_micros(50),
        Span::from_micros(300),
        Span::from_millis(5),
    ]);
    leader
}

impl Plan {
    /// Makes a seed fit for a long run, which few are as they are drawn: scripts without pauses, quick
    /// links and syncs, and faults so rare that most of the time something gets done.
    pub(crate) fn hasten(&mut self) {
        self.library = None;
        self.weather.delay_us = (10, 50).into_range();
        self.weather.slow_percent = 0;
        self.disk.sync_us = 20.into_range();
        self.workload.pause_us = (0, 1).into_range();
        self.workload.think_us = (1, 100).into_range();
        for (_, mean) in &mut self.faults {
            *mean = (*mean).max(RARELY);
        }
    }

    /// Makes the seed collect a history, for which it must run scripts whose values are unique.
    pub(crate) fn collect_history(&mut self) {
        self.library = None;
        self.workload.aligned = true;
        self.workload
            .scripts
            .retain(|(kind, _)| kind.writes_unique_values());
    }

    /// Decides how checkpoints are taken, if any; drawn apart from everything else.
    fn draw_checkpoints(&mut self, random: &mut Random) {
        use leader::Strategy::{Blocking, Log, NonBlocking};
        let strategy = random.pick(&[
            None,
            Some(Blocking),
            Some(NonBlocking),
            Some(NonBlocking),
            Some(Log),
        ]);
        self.leader.checkpoint = strategy.map(|strategy| CheckpointSettings {
            strategy,
            every: Span::from_micros(random.log_within(1_000..200_000)),
            changed_bytes: random.pick(&[PAGE_BYTES as u64, 8 * PAGE_BYTES as u64, u64::MAX]),
        });
        if strategy.is_some() {
            self.leader.resident_pages_max = random.pick(&[1, 4, 16, usize::MAX, usize::MAX]);
        }
        self.disk.job_us = random.pick(&[10, 100, 2000]).into_range();
        self.disk.pages_a_turn = random.pick(&[1, 3, 100]);
        self.disk.checkpoints_kept = random.pick(&[2, 3, 4]);
        self.disk.compression = random.pick(&[
            Compression::None,
            Compression::None,
            Compression::Lz4,
            Compression::Zstd,
        ]);
        self.leader.redo_bytes_max = random.pick(&[0, 500, 5_000, usize::MAX, usize::MAX]);
        self.disk.preloads = random.chance(20);
    }

    /// Lets a fault strike so often, whatever was drawn for it.
    fn strike(&mut self, fault: Fault, mean: Span) {
        self.faults.retain(|(drawn, _)| *drawn != fault);
        self.faults.push((fault, mean));
    }

    /// Decides whether the seed collects a history; drawn apart from everything else, which stays as
    /// it is. Some of these programs are slow, so that a short history reaches far into the run.
    fn draw_history(&mut self, random: &mut Random) {
        if self.library.is_none() && random.chance(HISTORY_PERCENT) {
            self.collect_history();
            if random.chance(50) {
                self.workload.pause_us = random.pick(&[(500, 5_000), (5_000, 60_000)]).into_range();
            }
        }
    }
}

trait IntoRange {
    fn into_range(self) -> Range<u64>;
}

impl IntoRange for u64 {
    /// From half of it to twice as much.
    fn into_range(self) -> Range<u64> {
        self / 2..2 * self
    }
}

fn weather(random: &mut Random) -> Weather {
    Weather {
        delay_us: random
            .pick(&[(10, 50), (20, 500), (100, 3000), (1, 10_000)])
            .into_range(),
        slow_ns: random.pick(&[100, 1_000, 10_000]),
        slow_percent: random.pick(&[0, 0, 20, 60]),
        window_bytes: random.log_within(64..1 << 20) as usize,
        notice_us: random
            .pick(&[(1, 100), (100, 20_000), (100, 400_000)])
            .into_range(),
    }
}

impl IntoRange for (u64, u64) {
    fn into_range(self) -> Range<u64> {
        self.0..self.1
    }
}

fn workload(random: &mut Random) -> Workload {
    let weight = |random: &mut Random, most: u64| {
        if random.chance(30) {
            0
        } else {
            random.within(1..most + 1)
        }
    };
    // Accounts lie in one line, in several, or on several pages.
    let (account_stride, accounts_max) = random.pick(&[(8, 64), (64, 64), (512, 32), (4096, 8)]);
    Workload {
        aligned: false,
        scripts: scripts(random),
        accounts: random.within(2..accounts_max + 1),
        account_stride,
        pages: random.pick(&[2, 3, 5, 8, 12, 40]),
        lines: random.pick(&[1, 2, 8, 64]),
        registers: random.pick(&[1, 2, 8]),
        steps_max: random.log_within(2..24),
        read: random.within(1..6),
        modify: random.within(1..5),
        silent: weight(random, 2),
        restored: weight(random, 1),
        blind: weight(random, 4),
        think: weight(random, 2),
        read_only_percent: random.pick(&[0, 20, 60]),
        abort_percent: random.pick(&[0, 5, 30]),
        latest_percent: random.pick(&[0, 0, 20]),
        evict_percent: random.pick(&[0, 5, 50]),
        prefetch_percent: random.pick(&[0, 0, 10]),
        leave_permille: random.pick(&[0, 0, 5, 50]),
        give_up_permille: random.pick(&[0, 0, 10, 100]),
        patience_us: random.pick(&[(1, 200), (100, 20_000)]).into_range(),
        think_us: random
            .pick(&[(1, 100), (50, 2_000), (100, 50_000)])
            .into_range(),
        pause_us: random.pick(&[(0, 1), (1, 200), (50, 5_000)]).into_range(),
    }
}

/// One kind of script alone, or some of them side by side.
fn scripts(random: &mut Random) -> Vec<(Kind, u64)> {
    if random.chance(30) {
        return vec![(Kind::Registers, 1)];
    }
    if random.chance(30) {
        return vec![(random.pick(&Kind::ALL), 1)];
    }
    let mut chosen = vec![(Kind::Registers, 1)];
    for kind in Kind::ALL {
        if random.chance(30) {
            chosen.push((kind, random.within(1..5)));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// How many different ones there are of what the seeds draw.
    fn varieties<T: Ord>(of: impl Fn(&Plan) -> T) -> usize {
        let plans = (1..400).map(Plan::of);
        plans.map(|plan| of(&plan)).collect::<BTreeSet<_>>().len()
    }

    #[test]
    fn seeds_made_for_a_situation_leave_the_others_all_there_is() {
        let strategy = |plan: &Plan| {
            let checkpoint = plan.leader.checkpoint;
            format!("{:?}", checkpoint.map(|checkpoint| checkpoint.strategy))
        };
        assert_eq!(varieties(strategy), 4);
        assert_eq!(varieties(|plan| plan.leader.resident_pages_max), 4);
        assert_eq!(varieties(|plan| format!("{:?}", plan.disk.compression)), 3);
        assert_eq!(varieties(|plan| plan.sync_percent), 3);
        assert_eq!(varieties(|plan| plan.faults.is_empty()), 2);
        assert_eq!(varieties(|plan| plan.mix.name()), 4);
        let mode = |plan: &Plan| (plan.library, plan.leader.durability == Durability::Memory);
        assert_eq!(varieties(mode), 2 * (library::Kind::ALL.len() + 1));
        let situation = |plan: &Plan| plan.situation.map(Situation::name);
        assert_eq!(varieties(situation), 6);
    }

    #[test]
    fn what_a_situation_needs_is_there() {
        for plan in (1..400).map(Plan::of) {
            let has = |wanted| plan.faults.iter().any(|(fault, _)| *fault == wanted);
            match plan.situation {
                Some(Situation::LostTail) => {
                    assert_eq!(plan.leader.durability, Durability::Memory);
                    assert!(has(Fault::PowerCut));
                }
                Some(Situation::TakenForDead) => {
                    assert_eq!(plan.library, Some(library::Kind::Activities));
                    assert!(plan.stations > 1 && has(Fault::FreezeStation));
                }
                Some(Situation::AskedAgain) => {
                    assert_eq!(plan.library, None);
                    assert!(has(Fault::LoseAnswer) && has(Fault::KillLeader));
                }
                Some(Situation::TornCheckpoint) => {
                    assert!(plan.leader.checkpoint.is_some());
                    assert!(has(Fault::KillLeaderWriting) && has(Fault::PowerCut));
                }
                Some(Situation::SpareCheckpoint) => {
                    assert!(plan.leader.checkpoint.is_some());
                    assert!(has(Fault::FlipBits));
                }
                None => {}
            }
        }
    }
}
