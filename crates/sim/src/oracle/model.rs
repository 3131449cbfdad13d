//! The heap as the log tells it, at every commit that anybody may still see: what a program reads
//! is compared with this.
//!
//! ```text
//!   generation 0   c1 c2 c3 c4 c5         generation 1 went back to c3: it does not see c4 and c5,
//!   generation 1            c4' c5'       which a station of generation 0 still sees
//!   generation 2                  c6"     went back to c5 of generation 0, and sees none of 1
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

/// What a line held from a commit on.
type Version = (Moment, Line);

/// A commit in the log.
#[derive(Debug)]
pub struct Truth {
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
    /// Through which commit each generation sees each of those that it goes back to.
    sights: BTreeMap<Generation, BTreeMap<Generation, CommitNumber>>,
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

    /// The commits that the log holds now, in order.
    pub(crate) fn ids(&self) -> Vec<(CommitNumber, CommitId)> {
        let ids = self.ids.iter();
        let mut ids: Vec<_> = ids.map(|(id, number)| (*number, *id)).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether what was there `at` a moment is behind what `generation` sees, or is just that.
    pub(crate) fn is_seen(&self, generation: Generation, at: Moment) -> bool {
        self.sees(generation, at)
    }

    /// The commit that has number `at.number` in the eyes of `at.generation`.
    #[must_use]
    pub fn commit(&self, at: Moment) -> Option<&Truth> {
        let written = self
            .commits
            .range((at.number, Generation(0))..=(at.number, at.generation));
        let mut truths = written.rev();
        let seen = truths.find(|((number, written), _)| {
            let written = Moment {
                generation: *written,
                number: *number,
            };
            self.sees(at.generation, written)
        });
        seen.map(|(_, truth)| truth)
    }

    /// Whether what was `written` belongs to what `generation` sees.
    fn sees(&self, generation: Generation, written: Moment) -> bool {
        sees(&self.sights, generation, written)
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
        for section in writes.sections() {
            for line in section.lines().lines() {
                let number = LineNumber::new(section.page(), line as u32);
                let versions = self.lines.entry(number).or_default();
                let mut before = versions.iter().rev();
                let before =
                    before.find(|(written, _)| sees(&self.sights, at.generation, *written));
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
                versions.push((at, bytes));
            }
        }
        self.ids.insert(id, at.number);
        let truth = Truth { id, writes };
        self.commits.insert((at.number, at.generation), truth);
        self.newest = at;
    }

    /// `generation` begins at `cut`: what came after it is seen by older generations only.
    pub fn begin_generation(&mut self, generation: Generation, cut: CommitNumber) {
        let ended = self.newest.generation;
        self.branch(generation, ended, cut);
        let later = self.commits.range((cut.next(), Generation(0))..);
        let later: Vec<_> = later.map(|(key, truth)| (*key, truth.id)).collect();
        for ((number, written), id) in later {
            let at = Moment {
                generation: written,
                number,
            };
            if self.sees(ended, at) {
                self.ids.remove(&id);
            }
        }
    }

    /// `generation` begins at `cut`, as its generation saw it: what others did since is not seen, and
    /// what was taken back from it is seen again.
    pub fn go_back(&mut self, generation: Generation, cut: Moment) {
        self.branch(generation, cut.generation, cut.number);
        let all = self.commits.iter();
        let seen = all.filter(|((number, written), _)| {
            let written = Moment {
                generation: *written,
                number: *number,
            };
            self.sees(generation, written)
        });
        self.ids = seen
            .map(|((number, _), truth)| (truth.id, *number))
            .collect();
    }

    /// `generation` sees what `from` does, through commit `cut`.
    fn branch(&mut self, generation: Generation, from: Generation, cut: CommitNumber) {
        let mut sight = self.sights.get(&from).cloned().unwrap_or_default();
        sight
            .values_mut()
            .for_each(|through| *through = cut.min(*through));
        sight.insert(from, cut);
        self.sights.insert(generation, sight);
        self.newest = Moment {
            generation,
            number: cut,
        };
    }

    /// What came after `number` never happened: nobody can have seen it.
    pub(crate) fn forget_after(&mut self, number: CommitNumber) {
        let (sights, living) = (&self.sights, self.newest.generation);
        let later = self.commits.split_off(&(number.next(), Generation(0)));
        for (key, truth) in later {
            let written = Moment {
                generation: key.1,
                number: key.0,
            };
            if sees(sights, living, written) {
                self.ids.remove(&truth.id);
            } else {
                self.commits.insert(key, truth);
            }
        }
        for versions in self.lines.values_mut() {
            // What nobody sees any more stands at the end of its generation, so this looks at what is
            // cut off and little more.
            let last = versions.iter().rposition(|(written, _)| {
                sees(sights, living, *written) && written.number <= number
            });
            let later = versions.split_off(last.map_or(0, |last| last + 1));
            let lost = later.into_iter();
            versions.extend(lost.filter(|(written, _)| !sees(sights, living, *written)));
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
        version.map_or(CommitNumber(0), |(written, _)| written.number)
    }

    /// The newest version of `line` at `at`. Versions are in order of the moment they were written, so
    /// only those of older generations behind their successors' beginning are looked at in vain.
    fn version(&self, line: LineNumber, at: Moment) -> Option<&Version> {
        let versions = self.lines.get(&line)?;
        let end = versions.partition_point(|(written, _)| *written <= at);
        let mut seen = versions[..end].iter().rev();
        seen.find(|(written, _)| written.number <= at.number && self.sees(at.generation, *written))
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

fn sees(
    sights: &BTreeMap<Generation, BTreeMap<Generation, CommitNumber>>,
    generation: Generation,
    written: Moment,
) -> bool {
    if written.generation == generation {
        return true;
    }
    let sight = sights.get(&generation);
    let through = sight.and_then(|sight| sight.get(&written.generation));
    through.is_some_and(|through| written.number <= *through)
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
    fn what_was_taken_back_can_be_gone_back_to() {
        let id = |n| CommitId {
            sequence: plurix_wire::CommitSequence(n),
            ..CommitId::default()
        };
        let mut model = Model::default();
        (1..=4).for_each(|n| model.append(at(0, n), id(n), write(n as u8)));
        model.go_back(Generation(1), at(0, 2));
        model.append(at(1, 3), id(9), write(9));
        assert_eq!(model.number_of(id(3)), None);
        model.go_back(Generation(3), at(0, 3));
        model.append(at(3, 4), id(4), write(8));
        for (moment, value) in [
            (at(0, 4), 4),
            (at(1, 2), 2),
            (at(1, 3), 9),
            (at(3, 3), 3),
            (at(3, 4), 8),
        ] {
            assert_eq!(model.byte(60, moment), value, "{moment}");
        }
        let numbers = [3, 4, 9].map(|n| model.number_of(id(n)).map(|number| number.0));
        assert_eq!(numbers, [Some(3), Some(4), None]);
        model.forget_after(CommitNumber(3));
        assert_eq!(model.byte(60, at(3, 3)), 3);
        assert_eq!(model.byte(60, at(1, 3)), 9);
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
