//! The page server's log as it grows: what it had it still has, its numbers are dense, no id is in
//! it twice, and nothing is in it that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use plurix_sim::oracle::numbering::Numbering;
use plurix_sim::oracle::{Model, Moment, Violation};
use plurix_wire::record::{Body, Record};
use plurix_wire::{CommitId, PageNumber, WriteSet};

use super::demand;
use super::evidence::Ground;

/// What has been judged of the log.
#[derive(Debug)]
pub(super) struct Log {
    ground: Ground,
    /// The records that were judged.
    judged: Vec<Record>,
    pages: BTreeSet<PageNumber>,
}

impl Log {
    pub(super) fn new(ground: Ground) -> Self {
        Self {
            ground,
            judged: Vec::new(),
            pages: BTreeSet::new(),
        }
    }

    /// The records that are new; the others must be those that were there.
    pub(super) fn continues<'a>(&self, records: &'a [Record]) -> Result<&'a [Record], Violation> {
        let known = self.judged.len();
        let differs = (0..known).find(|index| records.get(*index) != self.judged.get(*index));
        demand!(
            differs.is_none(),
            "durability",
            "record {differs:?} of the log is not what it was"
        );
        Ok(&records[known..])
    }

    /// The commits of `fresh`, by id.
    pub(super) fn index(&self, fresh: &[Record]) -> BTreeMap<CommitId, u64> {
        let commits = fresh.iter().filter_map(|record| match record.body {
            Body::Commit { id, .. } => Some((id, record.stamp.number.0)),
            _ => None,
        });
        commits.collect()
    }

    /// Pages that commits have changed.
    pub(super) fn pages(&self) -> &BTreeSet<PageNumber> {
        &self.pages
    }

    /// Judges the next record; `asked` are the ids under which workers asked. Answers how many
    /// terms it began.
    pub(super) fn append(
        &mut self,
        model: &Model,
        numbering: &mut Numbering,
        record: &Record,
        asked: &BTreeSet<CommitId>,
    ) -> Result<u64, Violation> {
        let mut terms = 0;
        match &record.body {
            Body::Term => {
                numbering.began(record.stamp.term)?;
                terms = 1;
            }
            Body::Commit { id, writes, .. } => {
                // The station's own transactions are in no history; their bytes are the library's.
                numbering.asked(*id, writes)?;
                let ours = record.stamp.number.0 <= self.ground.before || asked.contains(id);
                let touched = (!ours).then(|| self.touches(writes)).flatten();
                demand!(
                    touched.is_none(),
                    "numbering",
                    "{id} changes {touched:x?} at {}, but no worker asked for it",
                    record.stamp.number
                );
                self.pages.extend(writes.sections().map(|s| s.page()));
            }
            Body::RecoveryLine(team) => demand!(
                false,
                "numbering",
                "{team} has a recovery line, but no worker asked for one"
            ),
            Body::Generation => demand!(
                false,
                "durability",
                "{} begins although only processes died",
                record.stamp.generation
            ),
            Body::Joined(_) | Body::Left(_) | Body::Clean => {}
        }
        numbering.appended(model, record)?;
        self.judged.push(record.clone());
        Ok(terms)
    }

    /// Bytes of the workers' own that `writes` changes.
    fn touches(&self, writes: &WriteSet) -> Option<Range<u64>> {
        let owned = &self.ground.owned;
        changed(writes).find(|range| {
            let meets = |own: &Range<u64>| own.start < range.end && range.start < own.end;
            owned.iter().any(meets)
        })
    }

    /// Adds to what an attempt wrote what the library wrote for it, outside the workers' own, which
    /// nobody wrote down.
    pub(super) fn add_unseen(&self, model: &Model, at: Moment, own: &mut BTreeMap<u64, u8>) {
        let Some(truth) = model.commit(at) else {
            return;
        };
        for section in truth.writes.sections() {
            for run in section.runs() {
                let start = section.page().offset() + u64::from(run.offset);
                for (at, byte) in (start..).zip(run.bytes) {
                    if !self.ground.owned.iter().any(|range| range.contains(&at)) {
                        own.entry(at).or_insert(*byte);
                    }
                }
            }
        }
    }
}

/// The bytes that a write set changes.
fn changed(writes: &WriteSet) -> impl Iterator<Item = Range<u64>> {
    writes.sections().flat_map(|section| {
        section.runs().map(move |run| {
            let start = section.page().offset() + u64::from(run.offset);
            start..start + run.bytes.len() as u64
        })
    })
}
