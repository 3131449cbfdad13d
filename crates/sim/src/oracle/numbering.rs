//! Commit numbers are dense within a generation, records belong to the leadership that writes
//! them, no id commits twice, and nothing commits that no program asked for or that was refused.
//!
//! Source: ARCHITECTURE.md, invariants 1 and 2.

use std::collections::{BTreeMap, BTreeSet};

use plurix_wire::record::{Body, Record};
use plurix_wire::{CommitId, Incarnation, StationId, Term, WriteSet};

use super::{Attempt, Model, Violation, demand};

const ORACLE: &str = "numbering";

/// Judges whether a record may follow those that the model was built from.
///
/// # Errors
/// A violation if a number is left out or given twice, an id commits twice, or a generation begins
/// at a commit that is not there.
pub fn in_order(model: &Model, record: &Record) -> Result<(), Violation> {
    let (stamp, newest) = (record.stamp, model.newest());
    match &record.body {
        Body::Commit { id, .. } => {
            demand!(
                stamp.generation == newest.generation && stamp.number == newest.number.next(),
                ORACLE,
                "commit {}{} follows {newest}",
                stamp.generation,
                stamp.number
            );
            demand!(
                model.number_of(*id).is_none(),
                ORACLE,
                "{id} commits twice, at {:?} and {}",
                model.number_of(*id),
                stamp.number
            );
        }
        Body::Generation => {
            let due = stamp.generation == newest.generation && stamp.number == newest.number;
            let raised = stamp.generation > newest.generation && stamp.number <= newest.number;
            demand!(
                due || raised,
                ORACLE,
                "generation {} begins at {} after {newest}",
                stamp.generation,
                stamp.number
            );
        }
        Body::Joined(_) | Body::Left(_) | Body::Term | Body::Clean => {}
    }
    Ok(())
}

/// What was asked, answered and given out.
#[derive(Debug, Default)]
pub struct Numbering {
    term: Term,
    asked: BTreeMap<CommitId, WriteSet>,
    refused: BTreeSet<CommitId>,
    incarnations: BTreeSet<Incarnation>,
    living: BTreeMap<Incarnation, StationId>,
}

impl Numbering {
    /// A station asks to commit; asked again, it asks the same.
    ///
    /// # Errors
    /// A violation if it asks for something else under the same id.
    pub fn asked(&mut self, id: CommitId, writes: &WriteSet) -> Result<(), Violation> {
        let before = self.asked.insert(id, writes.clone());
        demand!(
            before.is_none_or(|before| before == *writes),
            ORACLE,
            "{id} was asked for twice with different bytes"
        );
        Ok(())
    }

    /// A leadership begins.
    ///
    /// # Errors
    /// A violation if its term is not above all before it.
    pub fn began(&mut self, term: Term) -> Result<(), Violation> {
        demand!(
            term > self.term,
            ORACLE,
            "term {term} follows {}",
            self.term
        );
        self.term = term;
        Ok(())
    }

    /// A log was replayed: these live.
    pub fn replayed(&mut self, records: &[Record]) {
        self.living.clear();
        for record in records {
            match &record.body {
                Body::Joined(member) => {
                    self.living.insert(member.incarnation, member.station);
                }
                Body::Left(incarnation) => {
                    self.living.remove(incarnation);
                }
                _ => {}
            }
        }
    }

    /// The leader appends a record.
    ///
    /// # Errors
    /// A violation if it may not follow, or commits what nobody asked for or what was refused.
    pub fn appended(&mut self, model: &Model, record: &Record) -> Result<(), Violation> {
        in_order(model, record)?;
        let stamp = record.stamp;
        demand!(
            stamp.term == self.term,
            ORACLE,
            "a record of {} in {}",
            stamp.term,
            self.term
        );
        match &record.body {
            Body::Commit { id, writes, .. } => {
                demand!(
                    !self.refused.contains(id),
                    ORACLE,
                    "{id} commits at {}, but was refused",
                    stamp.number
                );
                demand!(
                    self.asked.get(id) == Some(writes),
                    ORACLE,
                    "{id} commits at {}, but not what was asked",
                    stamp.number
                );
            }
            Body::Joined(member) => {
                demand!(
                    self.incarnations.insert(member.incarnation),
                    ORACLE,
                    "incarnation {} joins twice",
                    member.incarnation
                );
                demand!(
                    self.living.values().all(|number| *number != member.station),
                    ORACLE,
                    "{} joins while its predecessor lives",
                    member.station
                );
                self.living.insert(member.incarnation, member.station);
            }
            Body::Left(incarnation) => {
                demand!(
                    self.living.remove(incarnation).is_some(),
                    ORACLE,
                    "{incarnation} ends, but did not live"
                );
            }
            Body::Generation | Body::Term | Body::Clean => {}
        }
        Ok(())
    }

    /// A program was told that its commit did not happen.
    ///
    /// # Errors
    /// A violation if the log has it.
    pub fn refused(&mut self, model: &Model, attempt: &Attempt) -> Result<(), Violation> {
        if let Some(id) = attempt.id {
            demand!(
                model.number_of(id).is_none(),
                ORACLE,
                "{id} was refused, but the log has it at {:?}",
                model.number_of(id)
            );
            self.refused.insert(id);
        }
        Ok(())
    }
}
