//! The kinds of scripts, each a small program of its own. A seed runs a few of them side by side.

use plurix_wire::{LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES};

use super::{Author, REGISTER_BYTES, Step, range, register, step};
use crate::plan::Workload;
use crate::random::Random;

/// Where the accounts begin, the counter is, each station has a line, and few lines are overwritten.
const BANK_AT: u64 = 44 * PAGE_BYTES as u64;
const COUNTER_AT: u64 = 56 * PAGE_BYTES as u64;
const LINES_AT: u64 = 57 * PAGE_BYTES as u64;
const BLIND_AT: u64 = 58 * PAGE_BYTES as u64;
/// The lines that blind writers share.
const BLIND_LINES: u64 = 3;

/// A kind of script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Kind {
    /// Anything on random registers.
    #[default]
    Registers,
    /// Transfers between accounts, and readers of all of them.
    Bank,
    /// Half of the stations read much and slowly, the others write little and often.
    LongReaders,
    /// Few lines are overwritten without being read.
    BlindLines,
    /// What is written is what was there.
    SilentStores,
    /// Each station writes a line of its own, all of one page.
    MergingWriters,
    /// Everybody counts in one place.
    HotCounter,
    /// One in ten writes.
    ReadMostly,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Registers,
        Self::Bank,
        Self::LongReaders,
        Self::BlindLines,
        Self::SilentStores,
        Self::MergingWriters,
        Self::HotCounter,
        Self::ReadMostly,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Registers => "registers",
            Self::Bank => "bank",
            Self::LongReaders => "long-readers",
            Self::BlindLines => "blind-lines",
            Self::SilentStores => "silent-stores",
            Self::MergingWriters => "merging-writers",
            Self::HotCounter => "hot-counter",
            Self::ReadMostly => "read-mostly",
        }
    }

    /// Whether every value in whole registers tells who wrote it.
    pub(crate) fn writes_unique_values(self) -> bool {
        !matches!(self, Self::Bank | Self::BlindLines | Self::HotCounter)
    }

    /// The steps of one transaction.
    pub(super) fn steps(
        self,
        workload: &Workload,
        author: Author,
        random: &mut Random,
    ) -> Vec<Step> {
        let Author { index, writes } = author;
        match self {
            Self::Registers => {
                let read_only = !writes || random.chance(workload.read_only_percent);
                let count = random.within(1..workload.steps_max + 1);
                let steps = (0..count).map(|_| step(workload, read_only, random));
                steps.collect()
            }
            Self::Bank if writes && random.chance(60) => transfers(workload, random),
            Self::Bank => audit(workload, random),
            Self::LongReaders if writes && index % 2 == 1 => {
                vec![Step::Modify(register(workload, random))]
            }
            Self::LongReaders => reads(workload, 60, workload.think, random),
            Self::BlindLines if writes => blind(random),
            Self::BlindLines => (0..BLIND_LINES)
                .map(|line| Step::Read(line_at(line)))
                .collect(),
            Self::SilentStores if writes => silent(workload, random),
            Self::MergingWriters if writes => own_line(index, random),
            Self::MergingWriters => vec![Step::Read(LINES_AT..LINES_AT + PAGE_BYTES as u64)],
            Self::HotCounter if writes => vec![Step::Add(COUNTER_AT, 1)],
            Self::HotCounter => vec![Step::Read(COUNTER_AT..COUNTER_AT + REGISTER_BYTES)],
            Self::ReadMostly if writes && random.chance(10) => {
                vec![Step::Modify(register(workload, random))]
            }
            Self::SilentStores | Self::ReadMostly => reads(workload, 10, 0, random),
        }
    }
}

fn account(workload: &Workload, number: u64) -> u64 {
    BANK_AT + number * workload.account_stride
}

/// Moves money between pairs of accounts; sometimes looks at all of them afterwards.
fn transfers(workload: &Workload, random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..random.within(1..4) {
        let amount = random.within(1..1000) as i64;
        let from = random.below(workload.accounts);
        let to = random.below(workload.accounts);
        steps.push(Step::Add(account(workload, from), -amount));
        steps.extend(pause(workload, workload.think, random));
        steps.push(Step::Add(account(workload, to), amount));
    }
    if random.chance(10) {
        steps.extend(audit(workload, random));
    }
    steps
}

/// Reads every balance, sometimes slowly.
fn audit(workload: &Workload, random: &mut Random) -> Vec<Step> {
    let think = if random.chance(30) { workload.think } else { 0 };
    let mut steps = Vec::new();
    for number in 0..workload.accounts {
        steps.push(Step::Tally(account(workload, number)));
        steps.extend(pause(workload, think, random));
    }
    steps.push(Step::Balanced);
    steps
}

/// Sometimes a pause, the more likely the higher the weight.
fn pause(workload: &Workload, weight: u64, random: &mut Random) -> Option<Step> {
    let thinks = random.chance(10 * weight);
    thinks.then(|| Step::Think(random.micros(workload.think_us.clone())))
}

fn reads(workload: &Workload, most: u64, think: u64, random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..random.within(1..most + 1) {
        steps.push(Step::Read(range(workload, random)));
        steps.extend(pause(workload, think, random));
    }
    steps
}

fn line_at(line: u64) -> std::ops::Range<u64> {
    let at = BLIND_AT + line * LINE_BYTES as u64;
    at..at + LINE_BYTES as u64
}

/// Overwrites parts of the lines, whoever else does.
fn blind(random: &mut Random) -> Vec<Step> {
    let end = BLIND_LINES * LINE_BYTES as u64;
    let one = |random: &mut Random| {
        let from = random.below(end);
        let to = random.within(from + 1..end + 1);
        Step::Blind(BLIND_AT + from..BLIND_AT + to)
    };
    (0..random.within(1..4)).map(|_| one(random)).collect()
}

fn silent(workload: &Workload, random: &mut Random) -> Vec<Step> {
    let one = |random: &mut Random| {
        let at = register(workload, random);
        match random.below(10) {
            0..6 => Step::Silent(at),
            6..8 => Step::Restored(at),
            8 => Step::Read(at..at + REGISTER_BYTES),
            _ => Step::Modify(at),
        }
    };
    (0..random.within(1..6)).map(|_| one(random)).collect()
}

/// Writes into the station's own line.
fn own_line(index: usize, random: &mut Random) -> Vec<Step> {
    let line = index as u64 % LINES_PER_PAGE as u64;
    let at = LINES_AT + line * LINE_BYTES as u64;
    let registers = LINE_BYTES as u64 / REGISTER_BYTES;
    let one = |random: &mut Random| {
        let at = at + random.below(registers) * REGISTER_BYTES;
        match random.chance(70) {
            true => Step::Modify(at),
            false => Step::Blind(at..at + REGISTER_BYTES),
        }
    };
    (0..random.within(1..4)).map(|_| one(random)).collect()
}
