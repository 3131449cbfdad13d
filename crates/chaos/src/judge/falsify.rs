//! Lies about a run, one for each thing that the judge looks at. A judge that believes one of them
//! proves nothing.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use plurix_wire::record::{Body, Record};
use plurix_wire::{PageNumber, WriteSet, WriteSetBuilder};

use super::evidence::Evidence;
use crate::history::{Attempt, Entry, Purpose, Step};

/// A lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lie {
    /// An answered commit was not in the log.
    LostCommit,
    /// A commit stands in the log twice, under two numbers.
    RepeatedCommit,
    /// A word was read that nobody had written.
    WrongRead,
    /// An audit found a sum that never was.
    WrongSum,
    /// Another value was written than the log has.
    WrongWrite,
    /// A commit was answered with the number of its neighbour.
    WrongNumber,
    /// A commit was answered that was refused.
    Refused,
    /// A commit was begun after a later one was answered.
    OutOfOrder,
    /// Between the snapshot of a commit and its number, another one wrote what it had read.
    StaleRead,
    /// An attempt began before its station's own commit.
    ForgottenOwn,
    /// A read that asked for the newest snapshot got an old one.
    StaleLatest,
    /// An activity that was spawned has not run.
    NotRun,
    /// An activity has run twice.
    RanTwice,
    /// An effect was done twice.
    RepeatedEffect,
    /// An effect was done although its transaction was refused.
    EarlyEffect,
    /// The log has a commit that no worker asked for.
    Phantom,
}

impl Lie {
    /// The oracle that must notice.
    #[must_use]
    pub fn oracle(self) -> &'static str {
        match self {
            Self::LostCommit | Self::RepeatedCommit | Self::Refused | Self::Phantom => "numbering",
            Self::WrongRead => "opacity",
            Self::WrongSum => "bank",
            Self::WrongWrite | Self::WrongNumber | Self::OutOfOrder | Self::StaleRead => {
                "strict serializability"
            }
            Self::ForgottenOwn | Self::StaleLatest => "session",
            Self::NotRun | Self::RanTwice => "activities",
            Self::RepeatedEffect | Self::EarlyEffect => "on_commit",
        }
    }

    /// Falsifies the evidence; answers whether there was something that it could say.
    pub fn tell(self, evidence: &mut Evidence) -> bool {
        match self {
            Self::LostCommit | Self::RepeatedCommit => self.tell_of_log(evidence),
            Self::StaleRead => write_between(evidence),
            Self::RepeatedEffect | Self::EarlyEffect => self.tell_of_effects(evidence),
            Self::Phantom => forget(evidence, |attempt| attempt.purpose == Purpose::Mark),
            Self::NotRun | Self::RanTwice => self.tell_of_tasks(evidence),
            _ => self.tell_of_attempts(evidence),
        }
    }

    fn tell_of_log(self, evidence: &mut Evidence) -> bool {
        let answered = answered(evidence);
        let records = &mut evidence.records;
        let commit = |record: &Record| matches!(record.body, Body::Commit { .. });
        let Some(last) = records.iter().rposition(commit) else {
            return false;
        };
        let known = |record: &Record| commit(record) && answered.contains(&record.stamp.number.0);
        let Some(before) = records[..last].iter().rposition(known) else {
            return false;
        };
        if self == Self::LostCommit {
            records.remove(before);
        } else {
            let mut again = records[before].clone();
            again.stamp.number = records[last].stamp.number.next();
            records.insert(last + 1, again);
        }
        true
    }

    fn tell_of_effects(self, evidence: &mut Evidence) -> bool {
        for life in &mut evidence.lives {
            let entries = &mut life.entries;
            let wished = |entry: &Entry| match self {
                Self::EarlyEffect => refused(entry, entries),
                _ => matches!(entry, Entry::Effect { .. }),
            };
            if let Some(index) = entries.iter().position(wished) {
                let attempt = match &entries[index] {
                    Entry::Attempt(attempt) => attempt.number,
                    Entry::Effect { attempt } => *attempt,
                    _ => continue,
                };
                entries.insert(index + 1, Entry::Effect { attempt });
                return true;
            }
        }
        false
    }

    fn tell_of_tasks(self, evidence: &mut Evidence) -> bool {
        let mut first = None;
        for life in &mut evidence.lives {
            let tasks = life.attempts().filter_map(|attempt| {
                let answered = life.answer(attempt).is_some();
                let Purpose::Task(task) = attempt.purpose else {
                    return None;
                };
                answered.then_some((attempt.number, task))
            });
            for (number, task) in Vec::from_iter(tasks) {
                let purpose = match (self, first) {
                    (Self::NotRun, _) => Purpose::Churn,
                    (_, Some(first)) => Purpose::Task(first),
                    (_, None) => {
                        first = Some(task);
                        continue;
                    }
                };
                let mut entries = life.entries.iter_mut();
                return entries.any(|entry| match entry {
                    Entry::Attempt(attempt) if attempt.number == number => {
                        attempt.purpose = purpose;
                        true
                    }
                    _ => false,
                });
            }
        }
        false
    }

    fn tell_of_attempts(self, evidence: &mut Evidence) -> bool {
        let newest = answered(evidence).last().copied().unwrap_or_default();
        for life in &mut evidence.lives {
            let entries = &mut life.entries;
            for index in (1..entries.len()).rev() {
                let (before, rest) = entries.split_at_mut(index);
                let (Some(Entry::Attempt(attempt)), Some(Entry::Done { at, number, .. })) =
                    (before.last_mut(), rest.first_mut())
                else {
                    continue;
                };
                if self.falsify(attempt, at, number, newest) {
                    if self == Self::Refused {
                        // The transaction ran again, it says, and came to nothing.
                        let Entry::Attempt(attempt) = entries[index - 1].clone() else {
                            unreachable!("matched above");
                        };
                        let again = Attempt {
                            sequence: u64::MAX,
                            whole: false,
                            steps: Vec::new(),
                            ..attempt
                        };
                        entries[index] = Entry::Attempt(again);
                    }
                    return true;
                }
            }
        }
        false
    }

    /// Changes what is said of one attempt and of its answer, if this lie can.
    fn falsify(
        self,
        attempt: &mut Attempt,
        answered: &mut u64,
        number: &mut Option<u64>,
        newest: u64,
    ) -> bool {
        let purpose = attempt.purpose;
        let first_read = attempt.steps.iter_mut().find_map(|step| match step {
            Step::Read(_, value) => Some(value),
            Step::Write(..) => None,
        });
        match (self, number) {
            (Self::WrongRead, _) if purpose == Purpose::Look => first_read.is_some_and(|value| {
                *value ^= 1 << 40;
                true
            }),
            (Self::WrongSum, _) if purpose == Purpose::Audit => first_read.is_some_and(|value| {
                *value += 1;
                true
            }),
            (Self::WrongWrite, Some(_)) if purpose == Purpose::Mark => {
                let Some(Step::Write(_, value)) = attempt.steps.last_mut() else {
                    return false;
                };
                *value ^= 1;
                true
            }
            (Self::WrongNumber, Some(number)) if purpose.is_seen_whole() && *number < newest => {
                *number += 1;
                true
            }
            (Self::Refused, Some(_)) => purpose.is_seen_whole(),
            (Self::OutOfOrder, Some(number)) if *number < newest => {
                attempt.at = u64::MAX;
                *answered = u64::MAX;
                true
            }
            (Self::ForgottenOwn, _) if purpose == Purpose::Look && attempt.number > 50 => {
                attempt.snapshot = 1;
                true
            }
            (Self::StaleLatest, _) if purpose == Purpose::Audit => {
                attempt.asked = Some(u64::MAX);
                attempt.snapshot < newest
            }
            _ => false,
        }
    }
}

/// Whether an entry is an attempt that was refused: its transaction runs again.
fn refused(entry: &Entry, entries: &[Entry]) -> bool {
    let Entry::Attempt(attempt) = entry else {
        return false;
    };
    entries.iter().any(|other| {
        matches!(other, Entry::Attempt(next)
            if next.transaction == attempt.transaction && next.number == attempt.number + 1)
    })
}

/// Leaves out an attempt that was answered, and its answer.
fn forget(evidence: &mut Evidence, which: impl Fn(&Attempt) -> bool) -> bool {
    for life in &mut evidence.lives {
        let found = life
            .attempts()
            .find(|attempt| which(attempt) && life.answer(attempt).is_some());
        let Some(forgotten) = found.map(|attempt| attempt.number) else {
            continue;
        };
        life.entries.retain(|entry| match entry {
            Entry::Attempt(attempt) => attempt.number != forgotten,
            Entry::Done { attempt, .. } | Entry::Effect { attempt } => *attempt != forgotten,
            _ => true,
        });
        return true;
    }
    false
}

/// Lets a commit between the snapshot and the number of another write what that one has read. It
/// writes what is there anyway, so that nobody sees another value.
fn write_between(evidence: &mut Evidence) -> bool {
    let answered = answered(evidence);
    let mut reads = evidence.lives.iter().flat_map(|life| {
        life.attempts().filter_map(|attempt| {
            let read = attempt.steps.iter().find_map(|step| match step {
                Step::Read(at, value) => Some((*at, *value)),
                Step::Write(..) => None,
            });
            let mut between = answered.range(attempt.snapshot + 1..life.answer(attempt)?);
            Some((*between.next()?, read?))
        })
    });
    let Some((between, (at, value))) = reads.next() else {
        return false;
    };
    for record in &mut evidence.records {
        if let Body::Commit { writes, .. } = &mut record.body
            && record.stamp.number.0 == between
        {
            *writes = with_word(writes, at, value);
            return true;
        }
    }
    false
}

/// The commits that were answered.
fn answered(evidence: &Evidence) -> BTreeSet<u64> {
    let answers = evidence.lives.iter().flat_map(|life| life.answers());
    answers.map(|(_, number)| number).collect()
}

/// A write set that writes the word at `at`, too.
fn with_word(writes: &WriteSet, at: u64, value: u64) -> WriteSet {
    let mut bytes: BTreeMap<u64, u8> = (at..).zip(value.to_le_bytes()).collect();
    for section in writes.sections() {
        for run in section.runs() {
            let start = section.page().offset() + u64::from(run.offset);
            bytes.extend((start..).zip(run.bytes.iter().copied()));
        }
    }
    let mut builder = WriteSetBuilder::new();
    for (at, byte) in bytes {
        let page = PageNumber::of(at);
        builder.push(page, (at - page.offset()) as usize, &[byte]);
    }
    builder.finish()
}
