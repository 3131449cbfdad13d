//! What a station's program does: scripts of reads and writes. Registers get values that are unique
//! in the run, so that what was read tells who wrote it; accounts and counters get sums.
//!
//! ```text
//!   pages 0..40       44..52     56        57               58
//!   registers         accounts   counter   a line for each  few lines,
//!                                          station          overwritten
//! ```

mod scripts;

use std::ops::Range;

use plurix_protocol::Span;
use plurix_wire::{LINE_BYTES, LINES_PER_PAGE, PAGE_BYTES};

use crate::plan::Workload;
use crate::random::Random;
pub(crate) use scripts::Kind;

/// Bytes of a register.
pub(crate) const REGISTER_BYTES: u64 = 8;
/// The longest blind write or read of a range, in bytes.
const RANGE_BYTES_MAX: u64 = 200;

/// One step of a transaction. Offsets are those of the heap, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reads a range.
    Read(Range<u64>),
    /// Reads a register and writes a new value.
    Modify(u64),
    /// Opens a register for writing and writes what is there.
    Silent(u64),
    /// Writes a new value into a register, then the old one again.
    Restored(u64),
    /// Overwrites a range without reading it.
    Blind(Range<u64>),
    /// Adds to the number in a register.
    Add(u64, i64),
    /// Adds the number in a register to the total of this attempt.
    Tally(u64),
    /// The total must be that of all accounts.
    Balanced,
    /// Does nothing for a while.
    Think(Span),
}

/// Whose script it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Author {
    /// The index of the station.
    pub(crate) index: usize,
    /// Whether it may write.
    pub(crate) writes: bool,
}

/// One transaction; run again with new values when it is refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) kind: Kind,
    pub(crate) steps: Vec<Step>,
    /// The program changes its mind at the end.
    pub(crate) abort: bool,
}

impl Script {
    pub(crate) fn draw(workload: &Workload, author: Author, random: &mut Random) -> Self {
        let weights = workload
            .scripts
            .iter()
            .map(|(_, weight)| weight)
            .sum::<u64>();
        let mut ticket = random.below(weights.max(1));
        let chosen = workload.scripts.iter().find(|(_, weight)| {
            let is_here = ticket < *weight;
            ticket = ticket.wrapping_sub(*weight);
            is_here
        });
        let kind = chosen.map_or(Kind::default(), |(kind, _)| *kind);
        Self {
            kind,
            steps: kind.steps(workload, author, random),
            abort: random.chance(workload.abort_percent),
        }
    }

    /// One increment, for the time after the faults: everybody must get it done. Who never writes
    /// reads.
    pub(crate) fn duty(workload: &Workload, author: Author, random: &mut Random) -> Self {
        let at = register(workload, random);
        let step = match author.writes {
            true => Step::Modify(at),
            false => Step::Read(at..at + REGISTER_BYTES),
        };
        Self {
            kind: Kind::Registers,
            steps: vec![step],
            abort: false,
        }
    }
}

fn step(workload: &Workload, read_only: bool, random: &mut Random) -> Step {
    let writes = if read_only { 0 } else { 1 };
    let weights = [
        workload.read,
        workload.think,
        workload.modify * writes,
        workload.silent * writes,
        workload.restored * writes,
        workload.blind * writes,
    ];
    let mut ticket = random.below(weights.iter().sum());
    let kind = weights.iter().position(|weight| {
        let here = ticket < *weight;
        ticket = ticket.wrapping_sub(*weight);
        here
    });
    match kind {
        Some(1) => Step::Think(random.micros(workload.think_us.clone())),
        Some(2) => Step::Modify(register(workload, random)),
        Some(3) => Step::Silent(register(workload, random)),
        Some(4) => Step::Restored(register(workload, random)),
        Some(5) => Step::Blind(range(workload, random)),
        _ => Step::Read(range(workload, random)),
    }
}

fn register(workload: &Workload, random: &mut Random) -> u64 {
    let page = random.below(workload.pages) * PAGE_BYTES as u64;
    let spread = LINES_PER_PAGE as u64 / workload.lines;
    let line = random.below(workload.lines) * spread * LINE_BYTES as u64;
    page + line + random.below(workload.registers) * REGISTER_BYTES
}

/// A register, or sometimes a longer range that begins there and may leave its page.
fn range(workload: &Workload, random: &mut Random) -> Range<u64> {
    let start = register(workload, random);
    if random.chance(70) {
        return start..start + REGISTER_BYTES;
    }
    let start = start + random.below(REGISTER_BYTES);
    let end = workload.pages * PAGE_BYTES as u64;
    let range = start..(start + random.within(1..RANGE_BYTES_MAX)).min(end);
    if workload.aligned {
        let first = range.start - range.start % REGISTER_BYTES;
        return first..range.end.next_multiple_of(REGISTER_BYTES);
    }
    range
}

/// The value that a step writes: unique in the run.
pub(crate) fn value(member: usize, attempt: u64, step: usize) -> [u8; 8] {
    let number = (member as u64 + 1) << 48 | attempt << 8 | step as u64;
    number.to_le_bytes()
}

/// The bytes of a blind write of `length`: the value, over and over.
pub(crate) fn fill(value: [u8; 8], length: usize) -> Vec<u8> {
    value.iter().copied().cycle().take(length).collect()
}
