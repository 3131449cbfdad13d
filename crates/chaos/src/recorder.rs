//! Transactions that write down what they do: the same calls as the library's, and a line in the
//! history for each attempt, also for those that come to nothing.

use std::cell::RefCell;
use std::rc::Rc;

use plurix::{ErrorKind, Plain, Ptr, Result, Station, Transaction};

use crate::history::{Attempt, Entry, Journal, Purpose, Step, now_ns};

/// A running transaction whose accesses to words are noted.
pub(crate) struct Recorder<'a, 's> {
    /// For what is not noted.
    pub(crate) tx: &'a mut Transaction<'s>,
    steps: Rc<RefCell<Vec<Step>>>,
    journal: Journal,
    number: u64,
}

impl Recorder<'_, '_> {
    /// Reads a word.
    pub(crate) fn get(&self, at: Ptr<u64>) -> Result<u64> {
        let value = *self.tx.get(at)?;
        self.note(Step::Read(at.offset(), value));
        Ok(value)
    }

    /// Writes a word without looking at it.
    pub(crate) fn set(&mut self, at: Ptr<u64>, value: u64) -> Result<()> {
        self.tx.set(at, value)?;
        self.note(Step::Write(at.offset(), value));
        Ok(())
    }

    /// Adds to a word, round the end of the numbers if need be.
    pub(crate) fn add(&mut self, at: Ptr<u64>, more: u64) -> Result<()> {
        let value = self.tx.get_mut(at)?;
        let before = *value;
        *value = before.wrapping_add(more);
        self.note(Step::Read(at.offset(), before));
        self.note(Step::Write(at.offset(), before.wrapping_add(more)));
        Ok(())
    }

    /// Writes a value of any type and notes its words.
    pub(crate) fn set_plain<T: Plain>(&mut self, at: Ptr<T>, value: T) -> Result<()> {
        self.tx.set(at, value)?;
        for word in words_of(at) {
            let value = *self.tx.get(word)?;
            self.note(Step::Write(word.offset(), value));
        }
        Ok(())
    }

    /// Reads a value of any type and notes its words.
    pub(crate) fn get_plain<T: Plain + Copy>(&self, at: Ptr<T>) -> Result<T> {
        for word in words_of(at) {
            self.get(word)?;
        }
        Ok(*self.tx.get(at)?)
    }

    /// Leaves a line in the history once the transaction has happened.
    pub(crate) fn effect(&mut self) {
        let (journal, attempt) = (self.journal.clone(), self.number);
        self.tx.on_commit(move || {
            journal.happened(attempt);
            journal.write(&Entry::Effect { attempt });
        });
    }

    /// Notes that something is in the heap that nobody put there. It is a violation even if this
    /// attempt comes to nothing: no attempt sees what never was.
    pub(crate) fn broken(&self, what: String) {
        self.journal.write(&Entry::Broken { what });
    }

    fn note(&self, step: Step) {
        self.steps.borrow_mut().push(step);
    }
}

/// The words of a value; values that are noted consist of whole words.
fn words_of<T: Plain>(at: Ptr<T>) -> impl Iterator<Item = Ptr<u64>> {
    let words = size_of::<T>() as u64 / 8;
    (0..words).map(move |index| Ptr::at(at.offset() + index * 8))
}

/// Runs one attempt of `transaction`, and writes it down before it can ask to commit.
pub(crate) fn attempt<R>(
    journal: &Journal,
    tx: &mut Transaction<'_>,
    (purpose, transaction, asked): (Purpose, u64, Option<u64>),
    body: &mut dyn FnMut(&mut Recorder<'_, '_>) -> Result<R>,
) -> Result<R> {
    let (id, snapshot) = (tx.id(), tx.snapshot());
    let steps = Rc::new(RefCell::new(Vec::new()));
    let number = journal.begin_attempt();
    let result = body(&mut Recorder {
        tx,
        steps: Rc::clone(&steps),
        journal: journal.clone(),
        number,
    });
    journal.write(&Entry::Attempt(Attempt {
        number,
        transaction,
        purpose,
        asked,
        at: now_ns(),
        whole: result.is_ok(),
        incarnation: id.incarnation.0,
        sequence: id.sequence.0,
        snapshot: snapshot.0,
        steps: steps.take(),
    }));
    result
}

/// Runs a transaction and writes down how it ended.
///
/// # Errors
/// As [`Station::transaction`].
pub(crate) fn transaction<R>(
    journal: &Journal,
    station: &mut Station,
    purpose: Purpose,
    asked: Option<u64>,
    mut body: impl FnMut(&mut Recorder<'_, '_>) -> Result<R>,
) -> Result<R> {
    let transaction = journal.begin_transaction();
    let commits = station.statistics().commits;
    let what = (purpose, transaction, asked);
    let result = station.transaction(|tx| attempt(journal, tx, what, &mut body));
    let attempt = journal.last_attempt();
    match &result {
        Ok(_) => {
            let statistics = station.statistics();
            let number = (statistics.commits > commits).then_some(statistics.last_commit.0);
            let at = now_ns();
            journal.write(&Entry::Done {
                attempt,
                at,
                number,
            });
        }
        Err(error) if matches!(error.kind(), ErrorKind::OutcomeUnknown) => {
            journal.write(&Entry::Unknown { attempt });
        }
        Err(_) => {}
    }
    result
}
