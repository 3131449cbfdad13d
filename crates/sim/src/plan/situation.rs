//! Situations that need several things at once, each of which a seed draws by itself, and all of
//! them together hardly ever: some seeds are made for them. Everything that a situation does not need
//! stays as the seed has drawn it.

use plurix_protocol::Span;
use plurix_protocol::leader::{CheckpointSettings, Durability, Strategy};

use super::{IntoRange, Plan};
use crate::library;
use crate::nemesis::Fault;
use crate::random::Random;
use crate::workload::Kind;

/// What a seed is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Situation {
    /// Commits that everybody has seen are lost with the machine's power, while somebody who has
    /// seen them may be away: little syncs the log.
    LostTail,
    /// Stations are given up while they run activities, and know nothing of it.
    TakenForDead,
    /// The page server dies when answers are under way, and its successor hears the same requests
    /// again.
    AskedAgain,
    /// Power fails in the middle of writing checkpoints.
    TornCheckpoint,
    /// The newest checkpoint decays, and the log behind the one before it is in more than one segment.
    SpareCheckpoint,
}

impl Situation {
    /// The situation of a seed, if it is made for one.
    pub(super) fn draw(random: &mut Random) -> Option<Self> {
        match random.below(100) {
            0..12 => Some(Self::LostTail),
            12..18 => Some(Self::TakenForDead),
            18..24 => Some(Self::AskedAgain),
            24..30 => Some(Self::TornCheckpoint),
            30..40 => Some(Self::SpareCheckpoint),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LostTail => "lost tail",
            Self::TakenForDead => "taken for dead",
            Self::AskedAgain => "asked again",
            Self::TornCheckpoint => "torn checkpoint",
            Self::SpareCheckpoint => "spare checkpoint",
        }
    }

    /// What the stations run, where `drawn` is what they would run else.
    pub(super) fn library(
        self,
        drawn: Option<library::Kind>,
        random: &mut Random,
    ) -> Option<library::Kind> {
        match self {
            // What has left the heap by an outbox, no new generation can take back.
            Self::LostTail if random.chance(50) => Some(library::Kind::Outbox),
            Self::LostTail | Self::TornCheckpoint => drawn,
            Self::TakenForDead => Some(library::Kind::Activities),
            Self::AskedAgain | Self::SpareCheckpoint => None,
        }
    }

    /// Makes a plan that is drawn to its end fit for the situation.
    pub(super) fn arrange(self, plan: &mut Plan, random: &mut Random) {
        match self {
            Self::LostTail => lose_tail(plan, random),
            Self::TakenForDead => take_for_dead(plan, random),
            Self::AskedAgain => ask_again(plan, random),
            Self::TornCheckpoint => tear_checkpoint(plan, random),
            Self::SpareCheckpoint => need_spare_checkpoint(plan, random),
        }
    }
}

/// The plan's checkpoints; whoever asks says how often they are taken.
fn checkpoints(plan: &mut Plan) -> &mut CheckpointSettings {
    plan.leader.checkpoint.get_or_insert(CheckpointSettings {
        strategy: Strategy::NonBlocking,
        every: Span(0),
        changed_bytes: u64::MAX,
    })
}

/// Half of the plans have no checkpoints, and the others fewer than there are ends of the page server.
fn thin_out_checkpoints(plan: &mut Plan, random: &mut Random) {
    if random.chance(50) {
        plan.leader.checkpoint = None;
    }
    if let Some(checkpoint) = &mut plan.leader.checkpoint {
        checkpoint.every = Span::from_millis(random.within(200..2_000));
        checkpoint.changed_bytes = u64::MAX;
    }
    // A leader that may keep few pages in memory takes checkpoints to be rid of them.
    plan.leader.resident_pages_max = usize::MAX;
}

/// Only a leader in memory mode shows what is not on disk. Whoever starts on a log syncs what is left
/// of it, and so does a checkpoint, so that there must be none of either between showing and losing.
fn lose_tail(plan: &mut Plan, random: &mut Random) {
    plan.leader.durability = Durability::Memory;
    plan.sync_percent = 0;
    thin_out_checkpoints(plan, random);
    if random.chance(50) {
        plan.faults.clear();
    }
    let mean = Span::from_millis(random.within(50..300));
    plan.strike(Fault::PowerCut, mean);
    if random.chance(50) {
        // Whoever is away then comes back when others have used the lost numbers again.
        plan.strike(Fault::PartBothWays, Span(mean.0 / 2));
    }
}

/// Activities compute for longer than silence is borne, so that a station which is given up meanwhile
/// may begin a new life before it comes to their end. A freeze lasts at most twice as long as silence
/// is borne, so the leader must not wait much longer for who comes back; and there must be somebody to
/// take over.
fn take_for_dead(plan: &mut Plan, random: &mut Random) {
    let silence = plan.leader.silence_max;
    plan.stations = plan.stations.clamp(2, 8);
    plan.leader.resume_max = Span(silence.0 / random.within(4..20));
    plan.activity_ms_max = 2 * silence.as_millis();
    if random.chance(50) {
        plan.faults.clear();
    }
    let silencing = [Fault::FreezeStation, Fault::PartBothWays, Fault::BlackHole];
    for fault in [Fault::FreezeStation, random.pick(&silencing)] {
        plan.strike(fault, Span(silence.0 * random.within(1..4) / 2));
    }
}

/// Outcomes must come from the log, for a checkpoint has them, too; and what is asked again must not be
/// refused for its own writes, as it is where it has read what it wrote.
fn ask_again(plan: &mut Plan, random: &mut Random) {
    thin_out_checkpoints(plan, random);
    plan.weather.delay_us = random.pick(&[(20, 500), (100, 3_000)]).into_range();
    // A history needs values that are unique.
    if !plan.workload.aligned {
        plan.workload.scripts.push((Kind::BlindLines, 4));
    }
    if random.chance(50) {
        plan.faults.clear();
    }
    plan.strike(Fault::LoseAnswer, Span::from_millis(random.within(20..100)));
    plan.strike(Fault::KillLeader, Span::from_millis(random.within(50..200)));
}

/// A process that is killed leaves what it wrote, synced or not; it is lost if power fails before the
/// next one starts. Both happen so often that some of it was part of a checkpoint.
fn tear_checkpoint(plan: &mut Plan, random: &mut Random) {
    let checkpoint = checkpoints(plan);
    checkpoint.every = Span::from_micros(random.log_within(500..8_000));
    plan.disk.job_us = random.pick(&[(5, 20), (50, 200)]).into_range();
    plan.faults.clear();
    let mean = Span::from_millis(random.within(10..40));
    plan.strike(Fault::KillLeaderWriting, mean);
    plan.strike(Fault::PowerCut, mean);
}

/// What is behind the older of two checkpoints must be read when the newer one has decayed. That it is
/// in more than one segment takes small segments, and so many commits that one is full between two
/// checkpoints: quick stations on a quick network.
fn need_spare_checkpoint(plan: &mut Plan, random: &mut Random) {
    let checkpoint = checkpoints(plan);
    checkpoint.every = Span::from_millis(random.within(20..60));
    checkpoint.changed_bytes = u64::MAX;
    plan.leader.resident_pages_max = usize::MAX;
    plan.disk.segment_bytes = plan.disk.segment_bytes_min();
    plan.disk.checkpoints_kept = 2;
    plan.disk.job_us = random.pick(&[(5, 20), (50, 200)]).into_range();
    plan.weather.delay_us = (10, 50).into_range();
    plan.workload.pause_us = (0, 1).into_range();
    plan.workload.think_us = (1, 100).into_range();
    plan.faults.clear();
    plan.strike(Fault::FlipBits, Span::from_millis(random.within(20..100)));
}
