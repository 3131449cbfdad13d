//! How submissions get on: closures that run, requests that are sent, answers that are taken.

use std::sync::Arc;

use plurix_protocol::station::{Outcome, State};
use plurix_wire::WriteSet;
use plurix_wire::message::{COMMIT_BYTES_MAX, CommitRefusal};
use tracing::{debug, debug_span};

use super::job::keep_unheard;
use super::{InFlight, Job, Waiting};
use crate::error::{Error, ErrorKind, Result};
use crate::station::Station;
use crate::transaction::{Begun, Effects, Patience};

/// So many requests are sent together while others are under way.
const SENT_TOGETHER: u32 = 8;
/// One that was refused so often runs alone, where it backs off and may ask for its turn.
const REFUSALS_MAX: u32 = 3;

/// How far the oldest waiting submission got.
enum Step {
    /// It is in flight, or settled.
    Done,
    /// Others have to be answered first.
    Blocked,
    /// It has to run with nothing in flight.
    Alone,
}

impl Station {
    /// Runs the closures that wait, as far as there is room.
    pub(super) fn advance(&mut self) -> Result<()> {
        while !self.pipeline.waiting.is_empty() {
            match self.launch()? {
                Step::Done => {}
                Step::Blocked => self.await_answers()?,
                Step::Alone => {
                    while !self.pipeline.in_flight.is_empty() {
                        self.await_answers()?;
                    }
                    self.run_alone();
                }
            }
        }
        Ok(())
    }

    /// Waits until something in flight is settled; if nothing is, there is nothing to wait for.
    pub(super) fn await_answers(&mut self) -> Result<()> {
        let before = self.pipeline.in_flight.len();
        while !self.pipeline.in_flight.is_empty() && self.pipeline.in_flight.len() == before {
            self.pipeline.unsent = 0;
            let mut driver = self.shared.driver();
            driver.wait(None, |machine| machine.has_answers())?;
            driver.machine.absorb(&mut self.pages);
            drop(driver);
            self.settle_answers();
        }
        Ok(())
    }

    /// Begins the oldest that waits.
    fn launch(&mut self) -> Result<Step> {
        if self.pipeline.waiting[0].refusals >= REFUSALS_MAX {
            return Ok(Step::Alone);
        }
        let mut driver = self.shared.driver();
        driver.check()?;
        driver.freshen()?;
        driver.machine.absorb(&mut self.pages);
        if driver.machine.has_answers() {
            drop(driver);
            self.settle_answers();
            driver = self.shared.driver();
        }
        if !driver.machine.may_submit() {
            return Ok(Step::Blocked);
        }
        if driver.machine.begin(&mut self.pages).is_none() {
            if !self.pipeline.in_flight.is_empty() {
                return Ok(Step::Blocked);
            }
            driver.wait(None, |machine| matches!(machine.state(), State::Active))?;
            let begun = driver.machine.begin(&mut self.pages);
            begun.expect("an active station has a session, and nothing clashes");
        }
        let begun = Begun::of(&driver);
        driver.tally.attempt(&self.statistics);
        drop(driver);
        self.attempt_oldest(begun)
    }

    /// Runs the closure of the oldest that waits, in a transaction that has begun.
    fn attempt_oldest(&mut self, begun: Begun) -> Result<Step> {
        let waiting = self.pipeline.waiting.pop_front();
        let mut waiting = Unfinished(waiting);
        let job = Arc::clone(waiting.job());
        let is_pipelined = !self.pipeline.in_flight.is_empty();
        let span =
            debug_span!(target: "plurix::pipeline", "attempt", snapshot = begun.snapshot().0);
        let executed = span.in_scope(|| {
            self.execute(
                begun,
                &mut |tx| job.run(tx),
                &Patience::default(),
                is_pipelined,
            )
        });
        let waiting = waiting.0.take().expect("not finished yet");
        drop(job);
        let writes = match executed.answer() {
            Some(Ok(())) => Some(self.pages.write_set()),
            // It is no less read for that: what it has seen may come to nothing.
            Some(Err(())) => Some(WriteSet::default()),
            None => None,
        };
        let writes = writes.filter(|writes| writes.as_bytes().len() <= COMMIT_BYTES_MAX);
        let Some(writes) = writes else {
            self.shared.driver().machine.abort(&mut self.pages);
            self.pipeline.waiting.push_front(waiting);
            return Ok(Step::Alone);
        };
        if writes.is_empty() && !is_pipelined {
            let mut driver = self.shared.driver();
            driver.machine.abort(&mut self.pages);
            driver.tally.read();
            drop(driver);
            self.statistics.reads += 1;
            let answered = executed.answer().is_some_and(|answer| answer.is_ok());
            let effects = if answered {
                executed.on_commit
            } else {
                Vec::new()
            };
            self.settle(waiting.job, None, effects);
            return Ok(Step::Done);
        }
        self.send(
            waiting,
            writes,
            executed.answer().is_some_and(|a| a.is_ok()),
            executed.on_commit,
        );
        Ok(Step::Done)
    }

    /// Asks the leader for what has run.
    fn send(&mut self, waiting: Waiting, writes: WriteSet, is_ok: bool, on_commit: Effects) {
        let reads = self.pages.read_set();
        if writes.is_empty() {
            self.pages.rollback();
        }
        let changes = !writes.is_empty();
        let mut driver = self.shared.driver();
        let Some(sequence) = driver.machine.submit(reads, writes, &mut self.pages) else {
            // The life in which it ran has ended: it runs again in the next one.
            self.pipeline.waiting.push_front(waiting);
            return;
        };
        self.pipeline.unsent += 1;
        // The leader has nothing else of this station to do, or enough has been collected.
        if self.pipeline.in_flight.is_empty() || self.pipeline.unsent >= SENT_TOGETHER {
            driver.dispatch();
            self.pipeline.unsent = 0;
        }
        drop(driver);
        self.pipeline.in_flight.push_back(InFlight {
            sequence,
            waiting,
            on_commit: if is_ok { on_commit } else { Vec::new() },
            writes: changes,
        });
    }

    /// Takes what the machine has settled.
    fn settle_answers(&mut self) {
        loop {
            let mut driver = self.shared.driver();
            let Some((sequence, outcome)) = driver.machine.next_settled() else {
                return;
            };
            let oldest = self.pipeline.in_flight.pop_front();
            let oldest = oldest.expect("only what is in flight is settled");
            assert_eq!(oldest.sequence, sequence, "in the order of submission");
            match outcome {
                Outcome::Committed(_) if oldest.writes => driver.tally.settled(),
                Outcome::Committed(_) => driver.tally.read(),
                Outcome::Refused(_) | Outcome::Lost | Outcome::Unknown => {}
            }
            drop(driver);
            debug!(target: "plurix::pipeline", sequence = sequence.0, ?outcome, "settled");
            match outcome {
                Outcome::Committed(number) => {
                    if oldest.writes {
                        self.statistics.commits += 1;
                        self.statistics.last_commit = number;
                    } else {
                        self.statistics.reads += 1;
                    }
                    self.settle(oldest.waiting.job, None, oldest.on_commit);
                }
                Outcome::Refused(why) => self.run_again(oldest.waiting, why),
                Outcome::Lost => self.run_again(oldest.waiting, CommitRefusal::Behind),
                Outcome::Unknown => {
                    let error = ErrorKind::OutcomeUnknown.into();
                    self.settle(oldest.waiting.job, Some(error), Vec::new());
                }
            }
        }
    }

    /// A submission was refused: it and all behind it wait again, in their order.
    fn run_again(&mut self, mut first: Waiting, why: CommitRefusal) {
        first.refusals += match why {
            CommitRefusal::Conflict(_) | CommitRefusal::Behind => 1,
            CommitRefusal::LogFull => REFUSALS_MAX,
        };
        let behind = self.pipeline.in_flight.drain(..).map(|other| other.waiting);
        let again: Vec<_> = std::iter::once(first).chain(behind).collect();
        self.statistics.restarts += again.len() as u64;
        debug!(target: "plurix::pipeline", count = again.len(), "run again");
        for waiting in again.into_iter().rev() {
            self.pipeline.waiting.push_front(waiting);
        }
    }

    /// Runs the oldest that waits as an ordinary transaction.
    fn run_alone(&mut self) {
        let mut waiting = Unfinished(self.pipeline.waiting.pop_front());
        let job = Arc::clone(waiting.job());
        let ended = self.run(&mut |tx| job.run(tx));
        drop(waiting.0.take());
        self.settle(job, ended.err(), Vec::new());
    }

    /// A submission has come to its end.
    fn settle(&mut self, job: Arc<dyn Job>, error: Option<Error>, effects: Effects) {
        job.settle(error);
        effects.into_iter().for_each(|effect| effect());
        // Only the handle would have another reference.
        if Arc::strong_count(&job) == 1
            && let Some(error) = job.take_error()
        {
            keep_unheard(&self.pipeline.unheard, error);
        }
    }

    /// The station cannot go on: nobody learns what becomes of what is in flight, and what waits is not
    /// run.
    pub(super) fn fail(&mut self, error: Error) {
        self.settle_answers();
        if self.pipeline.waiting.is_empty() {
            keep_unheard(&self.pipeline.unheard, error);
            self.lose_all(None);
        } else {
            self.lose_all(Some(error));
        }
    }

    /// The oldest that waits is told `why`.
    fn lose_all(&mut self, mut why: Option<Error>) {
        if !self.pipeline.in_flight.is_empty() {
            self.shared.driver().abandon_pipeline(&mut self.pages);
        }
        // The machine says of each that its outcome is unknown.
        self.settle_answers();
        let not_run: Vec<_> = self.pipeline.waiting.drain(..).collect();
        for waiting in not_run {
            let error = why.take().unwrap_or_else(|| ErrorKind::NotRun.into());
            self.settle(waiting.job, Some(error), Vec::new());
        }
    }
}

/// A submission that is settled as not run if its closure panics.
struct Unfinished(Option<Waiting>);

impl Unfinished {
    fn job(&mut self) -> &Arc<dyn Job> {
        &self.0.as_ref().expect("not finished yet").job
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(waiting) = &self.0 {
            waiting.job.settle(Some(ErrorKind::NotRun.into()));
        }
    }
}
