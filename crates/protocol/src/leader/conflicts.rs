//! Which lines transactions conflict about, and what stations do there: for people, nothing in the
//! protocol depends on it.
//!
//! Lines are counted by the Space-Saving algorithm (Metwally, Agrawal, El Abbadi 2005): of the most
//! contended lines none is missed, whatever else happens, and a count is at most too high by what is told
//! with it. Of a line that is counted, who was refused is known from the refusal, and who wrote it from
//! the newest commits. The bytes that each of them writes tell a true conflict from false sharing.
//!
//! It costs a commit one store, and work only where somebody is refused.

use plurix_wire::message::PageLines;
use plurix_wire::message::insight::{Conflicts, LINE_STATIONS_MAX, LineConflicts, LineStation};
use plurix_wire::{CommitNumber, LINE_BYTES, LineNumber, PageNumber, Section, StationId, WriteSet};
use rustc_hash::FxHashMap;

use super::Leader;
use super::pages::Slot;
use crate::Time;

/// Lines counted at a time.
const LINES_MAX: usize = 256;
/// Lines counted for one refusal.
const LINES_PER_REFUSAL_MAX: usize = 8;
/// Commits whose stations are remembered; a power of two.
const WRITERS: usize = 1024;

/// The counts since somebody asked to begin anew.
#[derive(Debug, Clone)]
pub(super) struct ConflictCounts {
    lines: Vec<LineConflicts>,
    index: FxHashMap<LineNumber, usize>,
    refused: u64,
    since: Time,
    writers: Box<[(CommitNumber, StationId); WRITERS]>,
}

impl Default for ConflictCounts {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            index: FxHashMap::default(),
            refused: 0,
            since: Time(0),
            writers: Box::new([(CommitNumber(0), StationId(0)); WRITERS]),
        }
    }
}

/// A station's part in a conflict.
#[derive(Debug, Clone, Copy)]
enum Part {
    Refused,
    Wrote,
}

impl ConflictCounts {
    /// `station` made commit `number`.
    #[inline]
    pub(super) fn wrote(&mut self, number: CommitNumber, station: StationId) {
        self.writers[number.0 as usize % WRITERS] = (number, station);
    }

    fn writer(&self, number: CommitNumber) -> Option<StationId> {
        let (known, station) = self.writers[number.0 as usize % WRITERS];
        (known == number && number > CommitNumber(0)).then_some(station)
    }

    /// Counts a refusal for a line; its place takes that of the line counted least if there is no other.
    fn count(&mut self, page: PageNumber, line: usize) -> &mut LineConflicts {
        let number = LineNumber::new(page, line as u32);
        let at = match self.index.get(&number) {
            Some(at) => *at,
            None => {
                let fresh = LineConflicts {
                    page,
                    line: line as u8,
                    ..LineConflicts::default()
                };
                let at = self.place(fresh);
                self.index.insert(number, at);
                at
            }
        };
        let counted = &mut self.lines[at];
        counted.count += 1;
        counted
    }

    fn place(&mut self, fresh: LineConflicts) -> usize {
        if self.lines.len() < LINES_MAX {
            self.lines.push(fresh);
            return self.lines.len() - 1;
        }
        let least = (0..LINES_MAX).min_by_key(|&at| self.lines[at].count);
        let at = least.expect("there are lines");
        let count = self.lines[at].count;
        let evicted = std::mem::replace(
            &mut self.lines[at],
            LineConflicts {
                count,
                error: count,
                ..fresh
            },
        );
        let number = LineNumber::new(evicted.page, evicted.line.into());
        self.index.remove(&number);
        at
    }

    fn told(&self, now: Time, limit: usize) -> Conflicts {
        let mut lines = self.lines.clone();
        lines.sort_unstable_by_key(|line| (u64::MAX - line.count, line.page, line.line));
        lines.truncate(limit);
        Conflicts {
            refused: self.refused,
            since_ms: now.since(self.since).as_millis(),
            lines,
        }
    }

    fn reset(&mut self, now: Time) {
        self.lines.clear();
        self.index.clear();
        self.refused = 0;
        self.since = now;
    }
}

impl Leader {
    /// Counting begins `now`.
    pub(super) fn begin_counting(&mut self, now: Time) {
        self.conflict_counts.since = now;
    }

    /// The member's transaction, which wanted to write `wanted`, was refused for `lines`.
    pub(super) fn count_conflict(&mut self, slot: Slot, lines: PageLines, wanted: &WriteSet) {
        let refused = self.members.get(slot).member.station;
        let (page, lines) = (lines.page, lines.lines);
        let mut sections = wanted.sections();
        let wanted = sections.find(|section| section.page() == page);
        self.conflict_counts.refused += 1;
        for line in lines.lines().take(LINES_PER_REFUSAL_MAX) {
            let last = self.pages.last_writer(page, line);
            let written = self.history.section(last, page);
            let written = written.map_or(0, |section| bytes_in(&section, line));
            let writer = self.conflict_counts.writer(last);
            let counted = self.conflict_counts.count(page, line);
            let wanted = wanted.as_ref().map_or(0, |section| bytes_in(section, line));
            note(counted, refused, Part::Refused, wanted);
            if let Some(writer) = writer {
                note(counted, writer, Part::Wrote, written);
            }
        }
    }

    /// The lines that transactions conflict about most.
    pub(super) fn conflicts(&mut self, now: Time, limit: u32, reset: bool) -> Conflicts {
        let told = self.conflict_counts.told(now, limit as usize);
        if reset {
            self.conflict_counts.reset(now);
        }
        told
    }
}

/// Adds what a station did with a line.
fn note(line: &mut LineConflicts, station: StationId, part: Part, bytes: u64) {
    let known = line
        .stations
        .iter_mut()
        .position(|s| s.station == station.0);
    let at = match known {
        Some(at) => at,
        None if line.stations.len() < LINE_STATIONS_MAX => {
            line.stations.push(LineStation {
                station: station.0,
                ..LineStation::default()
            });
            line.stations.len() - 1
        }
        None => {
            line.others = true;
            return;
        }
    };
    let station = &mut line.stations[at];
    station.bytes |= bytes;
    match part {
        Part::Refused => station.refused += 1,
        Part::Wrote => station.wrote += 1,
    }
}

/// The bytes of a line that a section changes, bit `i` for byte `i`.
fn bytes_in(section: &Section<'_>, line: usize) -> u64 {
    let (begin, end) = (line * LINE_BYTES, (line + 1) * LINE_BYTES);
    section.runs().fold(0, |mask, run| {
        let first = usize::from(run.offset).max(begin);
        let last = (usize::from(run.offset) + run.bytes.len()).min(end);
        if first >= last {
            return mask;
        }
        mask | (u64::MAX >> (LINE_BYTES - (last - first))) << (first - begin)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use plurix_wire::WriteSetBuilder;

    #[test]
    fn the_lines_with_most_conflicts_stay_whatever_else_is_counted() {
        let mut counts = ConflictCounts::default();
        for round in 0..4000u32 {
            counts.count(PageNumber(7), 3);
            counts.count(PageNumber(1000 + round), (round % 64) as usize);
        }
        assert_eq!(counts.lines.len(), LINES_MAX);
        assert_eq!(counts.index.len(), LINES_MAX);
        let told = counts.told(Time(0), 2);
        assert_eq!((told.lines[0].page, told.lines[0].line), (PageNumber(7), 3));
        assert_eq!((told.lines[0].count, told.lines[0].error), (4000, 0));
        assert!(told.lines[1].count - told.lines[1].error < 64, "{told:?}");
        assert_eq!(told.lines.len(), 2);
        counts.reset(Time(5));
        assert_eq!(counts.told(Time(5), 9), Conflicts::default());
    }

    #[test]
    fn bytes_are_those_of_the_line_alone() {
        let mut builder = WriteSetBuilder::new();
        builder.push(PageNumber(1), 60, &[1; 8]);
        builder.push(PageNumber(1), 128, &[1; 64]);
        let writes = builder.finish();
        let section = writes.sections().next().unwrap();
        let bytes = |line| bytes_in(&section, line);
        assert_eq!((bytes(0), bytes(1)), (0xf << 60, 0xf));
        assert_eq!((bytes(2), bytes(3)), (u64::MAX, 0));
    }

    #[test]
    fn stations_beyond_the_bound_are_others() {
        let mut line = LineConflicts::default();
        for station in 0..20 {
            note(&mut line, StationId(station), Part::Refused, 1 << station);
            note(&mut line, StationId(0), Part::Wrote, 2);
        }
        assert_eq!(
            (line.stations.len(), line.others),
            (LINE_STATIONS_MAX, true)
        );
        let first = line.stations[0];
        assert_eq!((first.refused, first.wrote, first.bytes), (1, 20, 3));
    }
}
