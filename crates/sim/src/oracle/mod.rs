//! The oracles: each knows one property of the heap and watches the run for the first sign that it
//! does not hold. What the leader appends to its log is the truth that programs are judged by;
//! what the log holds after a crash is the truth that the leader is judged by.
//!
//! A commit whose answer was lost is *unknown*: it is looked up in the log, never assumed to have
//! happened or not.
//!
//! Those that are public judge any run whose log and attempts are known, for instance that of real
//! processes. [`from_log`] reads the log; each [`Attempt`] of each station then goes through the
//! functions that know it:
//!
//! ```
//! use plurix_sim::oracle::{self, Attempt, Moment, opacity, serializability};
//! use plurix_wire::record::{Body, Record, Stamp};
//! use plurix_wire::{CommitId, CommitNumber, PageNumber, WriteSetBuilder};
//!
//! let mut writes = WriteSetBuilder::new();
//! writes.push(PageNumber(0), 8, &[7; 8]);
//! let (id, number) = (CommitId::default(), CommitNumber(1));
//! let record = Record {
//!     stamp: Stamp { number, ..Stamp::default() },
//!     body: Body::Commit { id, acknowledged: Default::default(), writes: writes.finish() },
//! };
//! let model = oracle::from_log([&record])?;
//!
//! // A program read 0..8 at the beginning, wrote 8..16, and was told that this is commit 1.
//! let mut attempt = Attempt { id: Some(id), ..Attempt::default() };
//! opacity::read(&model, &attempt, 0..8, &[0; 8])?;
//! attempt.reads.push(0..8);
//! attempt.own.extend((8..16).map(|offset| (offset, 7)));
//! serializability::committed(&model, &attempt, Moment { number, ..Moment::default() })?;
//! # Ok::<(), oracle::Violation>(())
//! ```

pub(crate) mod bank;
pub mod blackbox;
pub(crate) mod bounds;
pub(crate) mod checkpoints;
pub(crate) mod collections;
pub(crate) mod convergence;
pub(crate) mod decay;
pub(crate) mod durability;
mod model;
pub mod numbering;
pub mod opacity;
pub(crate) mod outbox;
pub(crate) mod progress;
pub mod serializability;
pub mod session;
pub(crate) mod strangers;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;

use plurix_protocol::leader;
use plurix_wire::record::Record;
use plurix_wire::{CheckpointId, CommitId, Generation};

use durability::Loss;

pub use model::{Model, Moment, Truth};

/// A property that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{oracle}: {what}")]
pub struct Violation {
    /// The oracle that noticed.
    pub oracle: &'static str,
    /// What it saw.
    pub what: String,
}

/// Fails with a violation unless the condition holds.
macro_rules! demand {
    ($condition:expr, $oracle:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::oracle::Violation {
                oracle: $oracle,
                what: format!($($what)+),
            });
        }
    };
}
pub(crate) use demand;

/// What a program did in one run of a transaction, as its oracles need it.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// The snapshot that it began at.
    pub at: Moment,
    /// The newest commit answered to anybody before it began.
    pub answered_before: Moment,
    /// The bytes it read from the heap, as half-open ranges of offsets.
    pub reads: Vec<std::ops::Range<u64>>,
    /// The bytes it wrote, by offset.
    pub own: BTreeMap<u64, u8>,
    /// The id it asked to commit under, once it did.
    pub id: Option<CommitId>,
}

/// The heap as the records of a whole log tell it, from the first record to the last.
///
/// # Errors
/// A violation if the records cannot follow each other: see [`numbering::in_order`].
pub fn from_log<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Model, Violation> {
    let mut model = Model::default();
    for record in records {
        numbering::in_order(&model, record)?;
        model.replay(record);
    }
    Ok(model)
}

/// All oracles that watch while the run goes on, and the model they share.
#[derive(Debug, Default)]
pub(crate) struct Oracles {
    pub(crate) model: Model,
    pub(crate) numbering: numbering::Numbering,
    pub(crate) durability: durability::Durability,
    pub(crate) outbox: outbox::Outbox,
    pub(crate) collections: collections::Collections,
    /// The newest commit answered to anybody.
    pub(crate) answered: Moment,
    /// What is found by way of the log counts for nothing, so that one sees what the black-box check
    /// finds alone.
    pub(crate) deaf: bool,
}

impl Oracles {
    /// The leader appends a record.
    pub(crate) fn appended(&mut self, record: &Record) -> Result<(), Violation> {
        self.numbering.appended(&self.model, record)?;
        self.durability.appended(record);
        self.model.replay(record);
        Ok(())
    }

    /// A new process has read the log, which holds `records`; it will begin `generation`, if any.
    pub(crate) fn recovered(
        &mut self,
        mode: leader::Durability,
        loss: Loss,
        records: &[Record],
        generation: Option<Generation>,
    ) -> Result<(), Violation> {
        let number = self
            .durability
            .recovered(&self.model, mode, loss, records, generation)?;
        self.numbering.replayed(records);
        // The generation counts from here, even if the process dies before it has logged it.
        match generation.filter(|generation| *generation > self.model.newest().generation) {
            Some(generation) => self.model.begin_generation(generation, number),
            None => self.model.forget_after(number),
        }
        Ok(())
    }

    /// A person took the heap back to what checkpoint `id` covers, cut at `cut`; it goes on in
    /// `generation`.
    pub(crate) fn went_back(&mut self, id: CheckpointId, cut: Moment, generation: Generation) {
        self.durability.went_back(id, cut.number);
        self.model.go_back(generation, cut);
    }

    /// A program's commit was answered.
    pub(crate) fn committed(&mut self, attempt: &Attempt, at: Moment) -> Result<(), Violation> {
        self.heed(serializability::committed(&self.model, attempt, at))?;
        self.answered = self.answered.max(at);
        Ok(())
    }

    /// A program's commit was answered; beside what the program wrote, it changed what the library
    /// keeps in the heap for itself.
    pub(crate) fn committed_among_others(
        &mut self,
        attempt: &Attempt,
        at: Moment,
    ) -> Result<(), Violation> {
        serializability::in_order(&self.model, attempt, at)?;
        self.answered = self.answered.max(at);
        Ok(())
    }

    /// A program's commit was refused.
    pub(crate) fn refused(&mut self, attempt: &Attempt) -> Result<(), Violation> {
        let verdict = self.numbering.refused(&self.model, attempt);
        self.heed(verdict)
    }

    /// What counts of a verdict on what a program saw.
    pub(crate) fn heed(&self, verdict: Result<(), Violation>) -> Result<(), Violation> {
        if self.deaf { Ok(()) } else { verdict }
    }
}
