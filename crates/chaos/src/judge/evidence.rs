//! What a run has left behind: the histories of its workers, and the page server's log.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use plurix_store::{Options, RealDisk, Store, boot_id};
use plurix_wire::record::Record;
use plurix_wire::{ClusterId, CommitId};
use serde::{Deserialize, Serialize};

use super::id_of;
use crate::history::{Attempt, Entry, Reader};
use crate::tables::Tables;

/// Size of the heap of a run, which its log says nothing of.
pub const HEAP_BYTES: u64 = 1 << 30;

/// What was there before the workers began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The last commit before.
    pub before: u64,
    /// The bytes of the heap that only the workers' own transactions change.
    pub owned: Vec<Range<u64>>,
    /// Where the handles of activities are, by their numbers.
    pub results: Range<u64>,
}

impl Ground {
    /// The ground of a run whose tables were made at commit `before`.
    #[must_use]
    pub fn of(before: u64, tables: &Tables) -> Self {
        let owned = tables.owned().to_vec();
        let results = tables.results;
        Self {
            before,
            owned,
            results: results.offset()..results.offset() + results.len() as u64 * 8,
        }
    }
}

/// What a run, or a piece of it, has left behind.
#[derive(Debug)]
pub struct Evidence {
    /// The pieces of the histories.
    pub lives: Vec<Life>,
    /// The whole log.
    pub records: Vec<Record>,
}

/// A piece of the history of one life of a worker.
#[derive(Debug)]
pub struct Life {
    /// Its file.
    pub path: PathBuf,
    /// What it holds.
    pub entries: Vec<Entry>,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was answered that it is this commit.
    Answered(u64),
    /// It changed nothing.
    Read,
    /// It was answered that it has not happened.
    Failed,
    /// Nobody was answered; the log has it as this commit.
    FoundInLog(u64),
    /// Nobody was answered, and the log does not have it.
    NotInLog,
}

impl Fate {
    /// Its commit, if it is one.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Answered(number) | Self::FoundInLog(number) => Some(number),
            Self::Read | Self::Failed | Self::NotInLog => None,
        }
    }
}

impl Life {
    /// Its attempts, in order.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Attempt(attempt) => Some(attempt),
            _ => None,
        })
    }

    /// When its commits were answered, and their numbers.
    pub fn answers(&self) -> impl Iterator<Item = (u64, u64)> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Done {
                at,
                number: Some(number),
                ..
            } => Some((*at, *number)),
            _ => None,
        })
    }

    /// The number that was answered to an attempt.
    #[must_use]
    pub fn answer(&self, attempt: &Attempt) -> Option<u64> {
        self.done(attempt.number).flatten()
    }

    /// What was answered: nothing, that nothing was changed, or a number. The answer stands close
    /// behind the attempt, and every later attempt has a higher number.
    fn done(&self, number: u64) -> Option<Option<u64>> {
        let order = |entry: &Entry| match entry {
            Entry::Attempt(attempt) => attempt.number,
            Entry::Done { attempt, .. }
            | Entry::Unknown { attempt }
            | Entry::Effect { attempt } => *attempt,
            Entry::Broken { .. } => 0,
        };
        let first = self.entries.partition_point(|entry| order(entry) < number);
        let of_it = self.entries[first..].iter();
        of_it
            .take_while(|entry| order(entry) == number)
            .find_map(|entry| match entry {
                Entry::Done { number, .. } => Some(*number),
                _ => None,
            })
    }

    /// Its attempts with what became of them; `ids` are those of the log.
    pub fn fates<'a>(
        &'a self,
        ids: &BTreeMap<CommitId, u64>,
    ) -> impl Iterator<Item = (&'a Attempt, Fate)> {
        let mut attempts = self.attempts().peekable();
        std::iter::from_fn(move || {
            let attempt = attempts.next()?;
            let again = attempts
                .peek()
                .is_some_and(|next| next.transaction == attempt.transaction);
            let fate = match self.done(attempt.number) {
                Some(Some(number)) => Fate::Answered(number),
                Some(None) => Fate::Read,
                None if again || !attempt.whole => Fate::Failed,
                None if !attempt.writes() => Fate::Read,
                None => match ids.get(&id_of(attempt)) {
                    Some(number) => Fate::FoundInLog(*number),
                    None => Fate::NotInLog,
                },
            };
            Some((attempt, fate))
        })
    }

    /// Whether no later attempt asks under the same id, which one that asked for nothing leaves to
    /// the next.
    #[must_use]
    pub fn asks_once(&self, attempt: &Attempt) -> bool {
        let next = self
            .attempts()
            .find(|other| other.number == attempt.number + 1);
        next.is_none_or(|next| id_of(next) != id_of(attempt))
    }
}

/// The files of all histories.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<PathBuf, Reader>);

impl Files {
    /// What has been added to those in `directory`.
    pub(super) fn news(&mut self, directory: &Path) -> Result<Vec<Life>> {
        for entry in fs::read_dir(directory).context("cannot list the histories")? {
            let path = entry?.path();
            let reader = Reader::new(path.clone());
            self.0.entry(path).or_insert(reader);
        }
        let lives = self.0.values_mut().map(|reader| {
            Ok(Life {
                entries: reader.news()?,
                path: reader.path().to_owned(),
            })
        });
        lives.collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }
}

/// All records of the log in `heap`, a copy of a heap's directory: to open it changes it. Checkpoints
/// are left out, so that the log is read from its first record.
pub(super) fn records(heap: &Path) -> Result<Vec<Record>> {
    for name in ["manifest.0", "manifest.1"] {
        let manifest = heap.join(name);
        if manifest.exists() {
            fs::remove_file(manifest)?;
        }
    }
    let options = Options::new(HEAP_BYTES, ClusterId::default(), boot_id()?);
    let mut store = Store::create_or_open(RealDisk::new(heap), options)?;
    let mut records = Vec::new();
    store.replay(|record| {
        records.push(record.clone());
        Ok::<_, std::convert::Infallible>(())
    })?;
    Ok(records)
}
