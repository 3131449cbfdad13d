//! The judge: compares what the workers wrote down with the page server's log, by the oracles of
//! the simulator, which do not care whether time was virtual.
//!
//! ```text
//!   histories of all lives ──► attempts, each with its fate ─┐
//!                                                            ├─► in the order of commits: oracles
//!   copy of the heap's directory ──► records ────────────────┘
//! ```
//!
//! What an attempt without an answer came to, the log says, by its commit's id: it is unknown until
//! it is looked up, never assumed.

pub mod evidence;
mod exactly_once;
pub mod falsify;
mod log;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use plurix_sim::oracle::numbering::Numbering;
use plurix_sim::oracle::session::Sight;
use plurix_sim::oracle::{Attempt as Judged, Model, Moment, Violation, opacity, serializability};
use plurix_wire::{
    CommitId, CommitNumber, CommitSequence, Generation, Incarnation, PageBytes, PageNumber,
};
use serde::Serialize;

use crate::history::{Attempt, Purpose, Step};
use crate::tables::{ACCOUNTS, BALANCE};
use evidence::{Evidence, Fate, Files, Ground};
use exactly_once::ExactlyOnce;
use log::Log;

/// Fails with a violation unless the condition holds.
macro_rules! demand {
    ($condition:expr, $oracle:expr, $($what:tt)+) => {
        if !$condition {
            return Err(plurix_sim::oracle::Violation {
                oracle: $oracle,
                what: format!($($what)+),
            });
        }
    };
}
use demand;

/// What was judged, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Commits in the log.
    pub commits: u64,
    /// Attempts in the histories.
    pub attempts: u64,
    /// Those whose commit was answered.
    pub answered: u64,
    /// Those that were refused or gave up.
    pub failed: u64,
    /// Those without an answer that the log has.
    pub unknown_committed: u64,
    /// Those without an answer that the log has not.
    pub unknown_lost: u64,
    /// Words read, and compared with the log.
    pub words_read: u64,
    /// Audits of the bank.
    pub audits: u64,
    /// Reads that asked for the newest snapshot.
    pub strict_reads: u64,
    /// Activities completed.
    pub activities: u64,
    /// Lives of workers.
    pub lives: u64,
    /// Leaderships of the page server.
    pub terms: u64,
}

/// Judges a run piece by piece.
#[derive(Debug)]
pub struct Judge {
    ground: Ground,
    files: Files,
    model: Model,
    numbering: Numbering,
    log: Log,
    /// What each life of a worker, which has one handle, has seen.
    sights: BTreeMap<PathBuf, Sight>,
    exactly_once: ExactlyOnce,
    /// When commits were answered, and the newest answered by then.
    answered: Vec<(u64, u64)>,
    tally: Tally,
}

impl Judge {
    /// Knows what was there before the workers began.
    #[must_use]
    pub fn new(ground: Ground) -> Self {
        Self {
            log: Log::new(ground.clone()),
            ground,
            files: Files::default(),
            model: Model::default(),
            numbering: Numbering::default(),
            sights: BTreeMap::new(),
            exactly_once: ExactlyOnce::default(),
            answered: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// What was judged so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let lives = self.files.count();
        Tally {
            lives,
            ..self.tally
        }
    }

    /// What has been added to the histories in `histories` and to the log in `heap`, a copy of the
    /// heap's directory.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn gather(&mut self, histories: &Path, heap: &Path) -> anyhow::Result<Evidence> {
        Ok(Evidence {
            lives: self.files.news(histories)?,
            records: evidence::records(heap)?,
        })
    }

    /// Judges. All workers must be quiet, and no activity be left to run.
    ///
    /// # Errors
    /// The first violation.
    pub fn judge(&mut self, evidence: &Evidence) -> Result<(), Violation> {
        let fresh = self.log.continues(&evidence.records)?;
        let ids = self.log.index(fresh);
        self.remember_answers(evidence);
        let mut due: BTreeMap<u64, Vec<(&Attempt, Fate)>> = BTreeMap::new();
        let mut asked = BTreeSet::new();
        for life in &evidence.lives {
            self.sessions(life)?;
            self.exactly_once.effects(life, &ids)?;
            for (attempt, fate) in life.fates(&ids) {
                self.refused(life, attempt, fate)?;
                self.count(attempt, fate);
                let at = fate.number().unwrap_or(attempt.snapshot);
                due.entry(at).or_default().push((attempt, fate));
                asked.insert(id_of(attempt));
            }
        }
        // An attempt at a snapshot that was judged before sees nothing new.
        let newest = self.model.newest().number.0;
        let later = due.split_off(&(newest + 1));
        self.attempts(due.into_values().flatten())?;
        let mut later = later;
        for record in fresh {
            let terms = self
                .log
                .append(&self.model, &mut self.numbering, record, &asked)?;
            self.model.replay(record);
            self.tally.terms += terms;
            let number = self.model.newest().number.0;
            self.attempts(later.remove(&number).into_iter().flatten())?;
        }
        let newest = self.model.newest();
        self.tally.commits = newest.number.0;
        if let Some((number, _)) = later.first_key_value() {
            demand!(
                false,
                "durability",
                "c{number} was seen, but the log ends at {newest}"
            );
        }
        self.exactly_once.all_done()
    }

    /// Pages that the log has written, with what it says is in them now.
    pub fn pages(&self) -> impl Iterator<Item = (PageNumber, Box<PageBytes>)> {
        let model = &self.model;
        let pages = self.log.pages().iter();
        pages.map(|page| (*page, model.page(*page, model.newest())))
    }

    /// The activities that were spawned.
    pub fn spawned(&self) -> impl Iterator<Item = u64> {
        self.exactly_once.spawned()
    }

    /// Orders the answers by time: a commit that is asked for later has a higher number.
    fn remember_answers(&mut self, evidence: &Evidence) {
        let lives = evidence.lives.iter();
        let answers = lives.flat_map(|life| life.answers());
        self.answered.extend(answers);
        self.answered.sort_unstable();
        let mut newest = 0;
        for (_, number) in &mut self.answered {
            newest = newest.max(*number);
            *number = newest;
        }
    }

    /// The newest commit answered to anybody before `time`.
    fn answered_before(&self, time: u64) -> Moment {
        let after = self.answered.partition_point(|(at, _)| *at < time);
        let last = after.checked_sub(1);
        moment(last.map_or(0, |last| self.answered[last].1))
    }

    fn sessions(&mut self, life: &evidence::Life) -> Result<(), Violation> {
        for attempt in life.attempts() {
            let incarnation = Incarnation(attempt.incarnation);
            let at = moment(attempt.snapshot);
            let strict = attempt.asked.map(|asked| self.answered_before(asked));
            let sight = self.sights.entry(life.path.clone()).or_default();
            sight.began(incarnation, at)?;
            if let Some(answered) = strict {
                sight.strict(at, answered)?;
            }
            if let Some(number) = life.answer(attempt) {
                sight.committed(moment(number));
            }
        }
        Ok(())
    }

    /// An attempt after which its transaction ran again has not happened, and never will.
    fn refused(
        &mut self,
        life: &evidence::Life,
        attempt: &Attempt,
        fate: Fate,
    ) -> Result<(), Violation> {
        if fate == Fate::Failed && attempt.whole && attempt.writes() && life.asks_once(attempt) {
            let judged = self.judged(attempt);
            self.numbering.refused(&self.model, &judged)?;
        }
        Ok(())
    }

    fn attempts<'a>(
        &mut self,
        attempts: impl Iterator<Item = (&'a Attempt, Fate)>,
    ) -> Result<(), Violation> {
        for (attempt, fate) in attempts {
            self.attempt(attempt, fate)?;
        }
        Ok(())
    }

    fn attempt(&mut self, attempt: &Attempt, fate: Fate) -> Result<(), Violation> {
        if attempt.purpose == Purpose::Audit && attempt.whole {
            audit(attempt)?;
        }
        let mut judged = self.judged(attempt);
        let model = &self.model;
        for step in &attempt.steps {
            match *step {
                Step::Read(at, value) => {
                    let range = at..at + 8;
                    opacity::read(model, &judged, range.clone(), &value.to_le_bytes())?;
                    judged.reads.push(range);
                }
                Step::Write(at, value) => judged.own.extend((at..).zip(value.to_le_bytes())),
            }
        }
        let Some(number) = fate.number() else {
            return Ok(());
        };
        if !attempt.purpose.is_seen_whole() {
            self.log.add_unseen(model, moment(number), &mut judged.own);
        }
        serializability::committed(model, &judged, moment(number))?;
        self.exactly_once
            .committed(&self.ground, attempt, CommitNumber(number))
    }

    fn judged(&self, attempt: &Attempt) -> Judged {
        Judged {
            at: moment(attempt.snapshot),
            answered_before: self.answered_before(attempt.at),
            reads: Vec::new(),
            own: BTreeMap::new(),
            id: Some(id_of(attempt)),
        }
    }

    fn count(&mut self, attempt: &Attempt, fate: Fate) {
        let tally = &mut self.tally;
        tally.attempts += 1;
        match fate {
            Fate::Answered(_) => tally.answered += 1,
            Fate::Read => {}
            Fate::Failed => tally.failed += 1,
            Fate::FoundInLog(_) => tally.unknown_committed += 1,
            Fate::NotInLog => tally.unknown_lost += 1,
        }
        let reads = |step: &&Step| matches!(step, Step::Read(..));
        tally.words_read += attempt.steps.iter().filter(reads).count() as u64;
        tally.audits += u64::from(attempt.purpose == Purpose::Audit && attempt.whole);
        tally.strict_reads += u64::from(attempt.asked.is_some());
        let task = matches!(attempt.purpose, Purpose::Task(_));
        tally.activities += u64::from(task && fate.number().is_some());
    }
}

/// Transfers change no sum, so whoever reads all accounts at one commit sees the first one.
fn audit(attempt: &Attempt) -> Result<(), Violation> {
    let values = attempt.steps.iter().map(|step| match step {
        Step::Read(_, value) | Step::Write(_, value) => *value,
    });
    let sum = values.fold(0, u64::wrapping_add);
    let due = ACCOUNTS as u64 * BALANCE;
    demand!(
        sum == due,
        "bank",
        "an audit at c{} finds {sum} instead of {due}",
        attempt.snapshot
    );
    Ok(())
}

/// The id under which an attempt asks to commit.
fn id_of(attempt: &Attempt) -> CommitId {
    CommitId {
        incarnation: Incarnation(attempt.incarnation),
        sequence: CommitSequence(attempt.sequence),
    }
}

/// No process of a run loses what another one was told, so all of it is one generation.
fn moment(number: u64) -> Moment {
    Moment {
        generation: Generation(0),
        number: CommitNumber(number),
    }
}
