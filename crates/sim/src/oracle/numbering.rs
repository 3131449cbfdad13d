//! Commit numbers are dense within a generation, records belong to the leadership that writes
//! them, no id commits twice, and nothing commits that no program asked for, that was refused, or
//! in a life that has ended.
//!
//! Source: ARCHITECTURE.md, invariants 1, 2 and 5.

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
        Body::RecoveryLine(team) => demand!(
            false,
            ORACLE,
            "{team} has a recovery line, but there is no team"
        ),
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
                demand!(
                    self.living.contains_key(&id.incarnation),
                    ORACLE,
                    "{id} commits at {} in a life that has ended",
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
            Body::Generation | Body::Term | Body::Clean | Body::RecoveryLine(_) => {}
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

#[cfg(test)]
mod tests {
    use super::super::testing::{at, commit, id, model, objects, record, write};
    use super::*;
    use plurix_wire::message::Member;

    fn member(station: u32, incarnation: u64) -> Body {
        Body::Joined(Member {
            station: StationId(station),
            incarnation: Incarnation(incarnation),
            observer: false,
        })
    }

    #[test]
    fn numbers_that_are_not_dense_are_noticed() {
        let model = model(&[(0, 1), (0, 2)]);
        let next = |number, name| commit(at(0, number), name, write(0, 3));
        assert_eq!(in_order(&model, &next(3, 3)), Ok(()));
        objects(in_order(&model, &next(2, 3)), "follows");
        objects(in_order(&model, &next(4, 3)), "follows");
        objects(in_order(&model, &next(3, 1)), "commits twice");
    }

    #[test]
    fn a_generation_that_begins_where_nothing_is_is_noticed() {
        let model = model(&[(0, 1), (0, 2)]);
        let begins = |generation, number| record(at(generation, number), Body::Generation);
        assert_eq!(in_order(&model, &begins(1, 1)), Ok(()));
        objects(in_order(&model, &begins(1, 3)), "generation");
        objects(in_order(&model, &begins(0, 1)), "generation");
    }

    #[test]
    fn a_whole_log_is_judged() {
        let one = commit(at(0, 1), 1, write(0, 1));
        let two = commit(at(0, 2), 2, write(0, 2));
        let back = record(at(1, 1), Body::Generation);
        let again = commit(at(1, 2), 2, write(0, 3));
        let model = super::super::from_log([&one, &two, &back, &again]).expect("it is right");
        assert_eq!(model.byte(0, at(1, 2)), 3);
        assert_eq!(model.byte(0, at(0, 2)), 2);
        objects(super::super::from_log([&two]), "follows");
    }

    #[test]
    fn a_commit_that_nobody_asked_for_is_noticed() {
        let mut numbering = Numbering::default();
        let model = model(&[]);
        let first = commit(at(0, 1), 1, write(0, 1));
        objects(numbering.appended(&model, &first), "not what was asked");
        numbering.asked(id(1), &write(0, 1)).expect("the first");
        let joined = record(at(0, 0), member(1, 1));
        assert_eq!(numbering.appended(&model, &joined), Ok(()));
        assert_eq!(numbering.appended(&model, &first), Ok(()));
        let other = commit(at(0, 1), 1, write(0, 2));
        objects(numbering.appended(&model, &other), "not what was asked");
        objects(numbering.asked(id(1), &write(0, 2)), "twice");
    }

    #[test]
    fn a_commit_that_was_refused_is_noticed() {
        let mut numbering = Numbering::default();
        numbering.asked(id(1), &write(0, 1)).expect("the first");
        let attempt = Attempt {
            id: Some(id(1)),
            ..Attempt::default()
        };
        objects(
            numbering.refused(&model(&[(0, 1)]), &attempt),
            "the log has",
        );
        assert_eq!(numbering.refused(&model(&[]), &attempt), Ok(()));
        let late = commit(at(0, 1), 1, write(0, 1));
        objects(numbering.appended(&model(&[]), &late), "was refused");
    }

    #[test]
    fn a_commit_of_a_life_that_has_ended_is_noticed() {
        let mut numbering = Numbering::default();
        let model = model(&[]);
        numbering.asked(id(1), &write(0, 1)).expect("the first");
        let late = commit(at(0, 1), 1, write(0, 1));
        for body in [member(1, 1), Body::Left(Incarnation(1))] {
            let of_members = record(at(0, 0), body);
            assert_eq!(numbering.appended(&model, &of_members), Ok(()));
        }
        objects(numbering.appended(&model, &late), "has ended");
    }

    #[test]
    fn lives_and_terms_that_are_used_again_are_noticed() {
        let mut numbering = Numbering::default();
        let model = model(&[]);
        let mut log = |body| numbering.appended(&model, &record(at(0, 0), body));
        assert_eq!(log(member(1, 1)), Ok(()));
        objects(log(member(2, 1)), "joins twice");
        objects(log(member(1, 2)), "predecessor lives");
        assert_eq!(log(Body::Left(Incarnation(1))), Ok(()));
        objects(log(Body::Left(Incarnation(1))), "did not live");
        assert_eq!(numbering.began(Term(2)), Ok(()));
        objects(numbering.began(Term(2)), "follows");
        let old = record(at(0, 0), Body::Clean);
        objects(numbering.appended(&model, &old), "a record of");
    }
}
