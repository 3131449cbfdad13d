//! The oracles: each knows one property of the heap and watches the run for the first sign that it
//! does not hold. What the leader appends to its log is the truth that programs are judged by;
//! what the log holds after a crash is the truth that the leader is judged by.
//!
//! A commit whose answer was lost is *unknown*: it is looked up in the log, never assumed to have
//! happened or not.

pub(crate) mod bounds;
pub(crate) mod convergence;
pub(crate) mod durability;
pub(crate) mod model;
pub(crate) mod numbering;
pub(crate) mod opacity;
pub(crate) mod serializability;
pub(crate) mod session;

use std::collections::BTreeMap;

use plurix_protocol::leader;
use plurix_wire::record::{Body, Record};
use plurix_wire::{CommitId, Generation};

use durability::Loss;

pub(crate) use model::{Model, Moment};

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
pub(crate) struct Attempt {
    /// The snapshot that it began at.
    pub(crate) at: Moment,
    /// The newest commit answered to anybody before it began.
    pub(crate) answered_before: Moment,
    /// The bytes it read from the heap, as half-open ranges of offsets.
    pub(crate) reads: Vec<std::ops::Range<u64>>,
    /// The bytes it wrote.
    pub(crate) own: BTreeMap<u64, u8>,
    /// The id it asked to commit under, once it did.
    pub(crate) id: Option<CommitId>,
}

/// All oracles that watch while the run goes on, and the model they share.
#[derive(Debug, Default)]
pub(crate) struct Oracles {
    pub(crate) model: Model,
    pub(crate) numbering: numbering::Numbering,
    pub(crate) durability: durability::Durability,
    /// The newest commit answered to anybody.
    pub(crate) answered: Moment,
}

impl Oracles {
    /// The leader appends a record.
    pub(crate) fn appended(&mut self, record: &Record) -> Result<(), Violation> {
        self.numbering.appended(&self.model, record)?;
        let stamp = record.stamp;
        match &record.body {
            Body::Commit { id, writes, .. } => {
                let at = Moment {
                    generation: stamp.generation,
                    number: stamp.number,
                };
                self.model.append(at, *id, writes.clone());
            }
            Body::Generation if stamp.generation > self.model.newest().generation => {
                self.model.begin_generation(stamp.generation, stamp.number);
            }
            _ => {}
        }
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

    /// A program's commit was answered.
    pub(crate) fn committed(&mut self, attempt: &Attempt, at: Moment) -> Result<(), Violation> {
        serializability::committed(&self.model, attempt, at)?;
        self.answered = self.answered.max(at);
        Ok(())
    }

    /// A program's commit was refused.
    pub(crate) fn refused(&mut self, attempt: &Attempt) -> Result<(), Violation> {
        self.numbering.refused(&self.model, attempt)
    }
}
