//! The heap as the log tells it, at every commit that anybody may still see: what a program reads
//! is compared with this.
//!
//! ```text
//!   generation 0   c1 c2 c3 c4 c5         lost by generation 1: c4 c5
//!   generation 1            c4' c5'       a station of generation 0 still sees c4 and c5
//! ```

use std::collections::BTreeMap;

use plurix_wire::record::{Body, Record};
use plurix_wire::{
    CommitId, CommitNumber, Generation, LINE_BYTES, LINES_PER_PAGE, LineNumber, PageBytes,
    PageNumber, WriteSet,
};

/// A commit as seen by those who live in a generation; ordered by generation, then number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment {
    /// Whose eyes it is seen with.
    pub generation: Generation,
    /// The commit; zero before the first.
    pub number: CommitNumber,
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.generation, self.number)
    }
}

type Line = [u8; LINE_BYTES];

/// When something was written, and which generation lost it.
#[derive(Debug, Clone, Copy)]
struct Era {
    written: Moment,
    lost_by: Option<Generation>,
}

impl Era {
    /// Whether it belongs to what `generation` sees.
    fn is_seen_by(&self, generation: Generation) -> bool {
        self.written.generation <= generation
            && self.lost_by.is_none_or(|lost_by| lost_by > generation)
    }
}

/// What a line held from a commit on.
type Version = (Era, Line);

/// A commit in the log.
#[derive(Debug)]
pub struct Truth {
    era: Era,
    /// Who asked for it.
    pub id: CommitId,
    /// The bytes changed.
    pub writes: WriteSet,
}

/// Every version of every line.
#[derive(Debug, Default)]
pub struct Model {
    /// By number, then by the generation that wrote it.
    commits: BTreeMap<(CommitNumber, Generation), Truth>,
    lines: BTreeMap<LineNumber, Vec<Version>>,
    /// The ids that the log holds now.
    ids: BTreeMap<CommitId, CommitNumber>,
    newest: Moment,
}

impl Model {
    /// The newest commit of the log.
    #[must_use]
    pub fn newest(&self) -> Moment {
        self.newest
    }

    /// The number under which the log holds `id`.
    #[must_use]
    pub fn number_of(&self, id: CommitId) -> Option<CommitNumber> {
        self.ids.get(&id).copied()
    }

    /// The commit that has number `at.number` in the eyes of `at.generation`.
    #[must_use]
    pub fn commit(&self, at: Moment) -> Option<&Truth> {
        let written = self
            .commits
            .range((at.number, Generation(0))..=(at.number, at.generation));
        let mut truths = written.rev().map(|(_, truth)| truth);
        truths.find(|truth| truth.era.is_seen_by(at.generation))
    }

    /// The next record of the log; see [`in_order`](super::numbering::in_order) for whether it may
    /// be that.
    pub fn replay(&mut self, record: &Record) {
        let stamp = record.stamp;
        match &record.body {
            Body::Commit { id, writes, .. } => {
                let at = Moment {
                    generation: stamp.generation,
                    number: stamp.number,
                };
                self.append(at, *id, writes.clone());
            }
            Body::Generation if stamp.generation > self.newest.generation => {
                self.begin_generation(stamp.generation, stamp.number);
            }
            _ => {}
        }
    }

    /// A commit is appended to the log.
    pub fn append(&mut self, at: Moment, id: CommitId, writes: WriteSet) {
        let era = Era {
            written: at,
            lost_by: None,
        };
        for section in writes.sections() {
            for line in section.lines().lines() {
                let number = LineNumber::new(section.page(), line as u32);
                let versions = self.lines.entry(number).or_default();
                let before = versions.iter().rev().find(|(era, _)| era.lost_by.is_none());
                let mut bytes = before.map_or([0; LINE_BYTES], |(_, bytes)| *bytes);
                let start = line * LINE_BYTES;
                for run in section.runs() {
                    let at = usize::from(run.offset);
                    let from = at.max(start);
                    let to = (at + run.bytes.len()).min(start + LINE_BYTES);
                    if from < to {
                        bytes[from - start..to - start]
                            .copy_from_slice(&run.bytes[from - at..to - at]);
                    }
                }
                versions.push((era, bytes));
            }
        }
        self.ids.insert(id, at.number);
        let truth = Truth { era, id, writes };
        self.commits.insert((at.number, at.generation), truth);
        self.newest = at;
    }

    /// `generation` begins at `cut`: what came after it is seen by older generations only.
    pub fn begin_generation(&mut self, generation: Generation, cut: CommitNumber) {
        let later = (cut.next(), Generation(0))..;
        for truth in self.commits.range_mut(later).map(|(_, truth)| truth) {
            if truth.era.lost_by.is_none() {
                truth.era.lost_by = Some(generation);
                self.ids.remove(&truth.id);
            }
        }
        for versions in self.lines.values_mut() {
            let from = kept(versions, cut);
            let lost = versions[from..].iter_mut().map(|(era, _)| era);
            for era in lost.filter(|era| era.lost_by.is_none()) {
                era.lost_by = Some(generation);
            }
        }
        self.newest = Moment {
            generation,
            number: cut,
        };
    }

    /// What came after `number` never happened: nobody can have seen it.
    pub(crate) fn forget_after(&mut self, number: CommitNumber) {
        let later = self.commits.split_off(&(number.next(), Generation(0)));
        for (key, truth) in later {
            if truth.era.lost_by.is_some() {
                self.commits.insert(key, truth);
            } else {
                self.ids.remove(&truth.id);
            }
        }
        for versions in self.lines.values_mut() {
            let later = versions.split_off(kept(versions, number));
            versions.extend(later.into_iter().filter(|(era, _)| era.lost_by.is_some()));
        }
        self.newest.number = self.newest.number.min(number);
    }

    /// The newest commit before `at` that wrote `line`; zero if there is none.
    #[must_use]
    pub fn last_writer(&self, line: LineNumber, at: Moment) -> CommitNumber {
        let before = Moment {
            number: CommitNumber(at.number.0.saturating_sub(1)),
            ..at
        };
        let version = self.version(line, before);
        version.map_or(CommitNumber(0), |(era, _)| era.written.number)
    }

    /// The newest version of `line` at `at`. Versions are in order of the moment they were written, so
    /// only those of older generations behind their successors' beginning are looked at in vain.
    fn version(&self, line: LineNumber, at: Moment) -> Option<&Version> {
        let versions = self.lines.get(&line)?;
        let end = versions.partition_point(|(era, _)| era.written <= at);
        let mut seen = versions[..end].iter().rev();
        seen.find(|(era, _)| era.is_seen_by(at.generation) && era.written.number <= at.number)
    }

    /// The bytes of `line` after commit `at`.
    pub(crate) fn line(&self, line: LineNumber, at: Moment) -> Line {
        let version = self.version(line, at);
        version.map_or([0; LINE_BYTES], |(_, bytes)| *bytes)
    }

    /// The byte at `offset` of the heap after commit `at`.
    #[must_use]
    pub fn byte(&self, offset: u64, at: Moment) -> u8 {
        let line = self.line(LineNumber(offset / LINE_BYTES as u64), at);
        line[(offset % LINE_BYTES as u64) as usize]
    }

    /// The bytes of `page` after commit `at`.
    #[must_use]
    pub fn page(&self, page: PageNumber, at: Moment) -> Box<PageBytes> {
        let mut bytes = Box::new([0; plurix_wire::PAGE_BYTES]);
        let first = LineNumber::new(page, 0);
        let last = LineNumber::new(page, LINES_PER_PAGE as u32 - 1);
        for (line, _) in self.lines.range(first..=last) {
            let start = line.index() * LINE_BYTES;
            bytes[start..start + LINE_BYTES].copy_from_slice(&self.line(*line, at));
        }
        bytes
    }
}

/// How many of `versions` come before the first living one after `number`. The living ones ascend,
/// and what is lost stands at the end of its generation, so this looks at what is cut off and little
/// more.
fn kept(versions: &[Version], number: CommitNumber) -> usize {
    let last = versions
        .iter()
        .rposition(|(era, _)| era.lost_by.is_none() && era.written.number <= number);
    last.map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plurix_wire::WriteSetBuilder;

    fn write(value: u8) -> WriteSet {
        let mut builder = WriteSetBuilder::new();
        builder.push(PageNumber(0), 60, &[value; 8]);
        builder.finish()
    }

    fn at(generation: u32, number: u64) -> Moment {
        Moment {
            generation: Generation(generation),
            number: CommitNumber(number),
        }
    }

    #[test]
    fn each_generation_sees_its_own_story() {
        let mut model = Model::default();
        (1..=3).for_each(|n| model.append(at(0, n), CommitId::default(), write(n as u8)));
        model.begin_generation(Generation(1), CommitNumber(2));
        model.append(at(1, 3), CommitId::default(), write(9));
        for (moment, value) in [(at(0, 2), 2), (at(0, 3), 3), (at(1, 2), 2), (at(1, 3), 9)] {
            assert_eq!(model.byte(60, moment), value, "{moment}");
            assert_eq!(model.byte(67, moment), value, "{moment}");
        }
        assert_eq!(model.last_writer(LineNumber(0), at(1, 4)), CommitNumber(3));
        assert_eq!(model.last_writer(LineNumber(0), at(1, 3)), CommitNumber(2));
    }

    #[test]
    fn what_nobody_saw_never_happened() {
        let mut model = Model::default();
        (1..=3).for_each(|n| model.append(at(0, n), CommitId::default(), write(n as u8)));
        model.forget_after(CommitNumber(1));
        model.append(at(0, 2), CommitId::default(), write(7));
        assert_eq!(model.byte(60, at(0, 2)), 7);
        assert_eq!(model.newest(), at(0, 2));
    }
}
