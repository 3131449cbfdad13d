//! Running a transaction to its end: begin, attempt, commit, back off, again.

use std::cell::Cell;
use std::time::{Duration, Instant};

use plurix_memory::HeapMemory;
use plurix_protocol::station::{Outcome, State};
use plurix_wire::message::{COMMIT_BYTES_MAX, CommitRefusal};
use plurix_wire::{CommitId, CommitNumber};
use tracing::debug_span;
use tracing::field::Empty;

use super::fairness::Fairness;
use super::promises::Promises;
use super::waiting::{Waits, Wish};
use super::{Poison, Transaction};
use crate::error::{ErrorKind, Result};
use crate::heap::{OWN_BYTES_MAX, Taken};
use crate::station::{Driver, Station};

/// The first back-off; doubled with each conflict in a row. About the time of one commit.
const BACKOFF_MIN: Duration = Duration::from_micros(10);
/// The longest back-off.
const BACKOFF_MAX: Duration = Duration::from_millis(5);
/// After so many times in a row that nothing could be zeroed beforehand, the transaction zeroes
/// itself: the pages are free only in its own eyes. That another station took them each time is
/// unlikely.
const FRUITLESS_SCRUBS_MAX: u32 = 8;
/// The pause between two attempts when the log is full.
const LOG_FULL_PAUSE: Duration = Duration::from_millis(20);

/// How one attempt ended.
enum Attempt<R> {
    Done(R),
    /// Others were faster.
    Conflict,
    LogFull,
    SnapshotTooOld,
    /// Memory that it was to have must be zeroed first.
    Unscrubbed(Taken),
    /// It waits until what it read has changed.
    Waits(Wish),
    /// It read before it asked for the newest snapshot.
    Stale,
    /// The session ended under it; it has not happened.
    Lost,
}

impl<R> Attempt<R> {
    /// For those who trace.
    fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Conflict => "conflict",
            Self::LogFull => "log full",
            Self::SnapshotTooOld => "snapshot too old",
            Self::Unscrubbed(_) => "unscrubbed",
            Self::Waits(_) => "waits",
            Self::Stale => "stale",
            Self::Lost => "lost",
        }
    }
}

/// What is settled when an attempt begins.
pub(crate) struct Begun {
    pub(super) arena: usize,
    pub(super) snapshot: CommitNumber,
    pub(super) id: CommitId,
}

/// A closure has run; its transaction has not ended.
pub(crate) struct Executed<R> {
    result: Result<R>,
    poison: Option<Poison>,
    pub(crate) on_commit: Effects,
    promises: Promises,
}

/// What happens once a transaction has.
pub(crate) type Effects = Vec<Box<dyn FnOnce() + Send>>;

impl<R> Executed<R> {
    /// What the closure has answered; `None` if the transaction must run again, or asks for what it
    /// cannot have with others in flight.
    pub(crate) fn answer(&self) -> Option<Result<&R, ()>> {
        if self.poison.is_some() || self.promises.is_durable {
            return None;
        }
        match &self.result {
            Ok(value) => Some(Ok(value)),
            Err(error) if matches!(error.kind(), ErrorKind::Restart) => None,
            Err(_) => Some(Err(())),
        }
    }
}

/// What has gone wrong with the attempts so far.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    conflicts: u32,
    too_old: u32,
    fruitless_scrubs: u32,
    log_full_since: Option<Instant>,
    pub(super) fairness: Fairness,
    pub(super) waits: Waits,
    /// What the program has asked for in an attempt holds for those that follow.
    promises: Promises,
}

impl Station {
    /// Runs `body` as a transaction: it sees one snapshot of the heap, and what it changes is there
    /// for everybody, at once, when this call answers; or it has not happened. `body` runs again
    /// whenever others were faster, so it must have no effects of its own.
    ///
    /// A body that changes nothing is a read at one snapshot and sends nothing; the snapshot is
    /// never older than this station's own commits.
    ///
    /// ```
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let counter = station.transaction(|tx| tx.alloc(0u64))?;
    /// let now = station.transaction(|tx| {
    ///     let counter = tx.get_mut(counter)?;
    ///     *counter += 1;
    ///     Ok(*counter)
    /// })?;
    /// assert_eq!(now, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `body` answers; [`ErrorKind::OutcomeUnknown`], [`ErrorKind::TooLarge`],
    /// [`ErrorKind::LogFull`], [`ErrorKind::SnapshotTooOld`], [`ErrorKind::TimedOut`],
    /// [`ErrorKind::TooLong`]; or why the station can no longer be a
    /// member.
    pub fn transaction<R>(
        &mut self,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<R>,
    ) -> Result<R> {
        self.empty_pipeline()?;
        self.run(&mut body)
    }

    /// Runs `body` to its end, with nothing in flight.
    pub(crate) fn run<R>(
        &mut self,
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<R>,
    ) -> Result<R> {
        let mut patience = Patience::default();
        loop {
            self.ask_to_be_next(&mut patience.fairness)?;
            let attempt = self.attempt(body, &mut patience);
            self.judge_attempt(
                &mut patience.fairness,
                matches!(attempt, Ok(Attempt::Conflict)),
            )?;
            match attempt? {
                Attempt::Done(value) => return Ok(value),
                Attempt::Waits(wish) => {
                    self.wait_until_changed(&mut patience.waits, wish)?;
                    continue;
                }
                failed => self.pause(&mut patience, &failed)?,
            }
            self.statistics.restarts += 1;
        }
    }

    /// One attempt. An error is final; everything else leaves the station between transactions.
    fn attempt<R>(
        &mut self,
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<R>,
        patience: &mut Patience,
    ) -> Result<Attempt<R>> {
        let begun = self.begin()?;
        let span = debug_span!(
            target: "plurix::transaction",
            "attempt",
            snapshot = begun.snapshot.0,
            outcome = Empty,
            commit = Empty
        );
        let commits = self.statistics.commits;
        let attempt = span.in_scope(|| self.attempt_begun(begun, body, patience));
        if !span.is_disabled() {
            span.record("outcome", attempt.as_ref().map_or("error", Attempt::name));
            if self.statistics.commits > commits {
                span.record("commit", self.statistics.last_commit.0);
            }
        }
        attempt
    }

    /// [`attempt`](Self::attempt), from the closure on.
    fn attempt_begun<R>(
        &mut self,
        begun: Begun,
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<R>,
        patience: &mut Patience,
    ) -> Result<Attempt<R>> {
        let Executed {
            result,
            poison,
            on_commit,
            promises,
        } = self.execute(begun, body, patience, false);
        patience.promises.is_latest = promises.is_latest;
        let value = match (poison, result) {
            (None, Ok(value)) => value,
            (Some(Poison::Waits(wish)), _) => {
                self.end_until_changed(&wish)?;
                return Ok(Attempt::Waits(wish));
            }
            (poison, result) => {
                self.shared.driver().machine.abort(&mut self.pages);
                return match (poison, result) {
                    (Some(Poison::SnapshotTooOld), _) => Ok(Attempt::SnapshotTooOld),
                    (Some(Poison::Unscrubbed(taken)), _) => Ok(Attempt::Unscrubbed(taken)),
                    (Some(Poison::Stale), _) => Ok(Attempt::Stale),
                    (Some(_), _) => Ok(Attempt::Lost),
                    (None, Err(error)) if matches!(error.kind(), ErrorKind::Restart) => {
                        Ok(Attempt::Conflict)
                    }
                    (None, Err(error)) => Err(error),
                    (None, Ok(_)) => unreachable!("matched above"),
                };
            }
        };
        self.commit(value, on_commit, promises)
    }

    /// Runs the closure, once. The transaction goes on.
    pub(crate) fn execute<R>(
        &mut self,
        begun: Begun,
        body: &mut dyn FnMut(&mut Transaction<'_>) -> Result<R>,
        patience: &Patience,
        is_pipelined: bool,
    ) -> Executed<R> {
        let mut rollback = Rollback(Some(self));
        let station = rollback.station();
        let mut tx = Transaction {
            pages: &mut station.pages,
            shared: &station.shared,
            poison: Cell::new(None),
            misses: Cell::new(0),
            on_commit: Vec::new(),
            arena: begun.arena,
            incarnation: begun.id.incarnation,
            snapshot: begun.snapshot,
            id: begun.id,
            zeroing_left: match patience.fruitless_scrubs {
                FRUITLESS_SCRUBS_MAX.. => u64::MAX,
                _ => OWN_BYTES_MAX,
            },
            has_timed_out: patience.waits.timed_out,
            promises: patience.promises,
            is_pipelined,
        };
        let result = body(&mut tx);
        let (poison, misses) = (tx.poison.get(), tx.misses.get());
        let on_commit = std::mem::take(&mut tx.on_commit);
        let promises = tx.promises;
        drop(tx);
        rollback.disarm().statistics.misses += misses;
        Executed {
            result,
            poison,
            on_commit,
            promises,
        }
    }

    /// Brings memory to the newest snapshot and begins.
    fn begin(&mut self) -> Result<Begun> {
        let mut driver = self.shared.driver();
        driver.check()?;
        driver.freshen()?;
        driver.tally.attempt(&self.statistics);
        Begun::on(&mut driver, &mut self.pages)
    }

    fn commit<R>(
        &mut self,
        value: R,
        on_commit: Effects,
        promises: Promises,
    ) -> Result<Attempt<R>> {
        let changed = self.pages.has_writes();
        let writes = if changed {
            self.pages.write_set()
        } else {
            Default::default()
        };
        let bytes = writes.as_bytes().len();
        let mut driver = self.shared.driver();
        if bytes == 0 || bytes > COMMIT_BYTES_MAX {
            driver.machine.abort(&mut self.pages);
            if bytes == 0 {
                driver.tally.read();
            }
            drop(driver);
            if bytes > 0 {
                return Err(ErrorKind::TooLarge {
                    bytes,
                    limit: COMMIT_BYTES_MAX,
                }
                .into());
            }
            self.statistics.reads += 1;
        } else {
            driver.machine.commit(self.pages.read_set(), writes);
            if let Err(error) = driver.wait(None, |machine| machine.is_answered()) {
                // The station cannot go on; whether this commit happened, nobody here can say.
                driver.abandon(&mut self.pages);
                return Err(error);
            }
            let outcome = driver.machine.settle(&mut self.pages);
            let committed = matches!(outcome, Outcome::Committed(_));
            driver.tally.answered(committed);
            drop(driver);
            match outcome {
                Outcome::Committed(number) => {
                    self.statistics.commits += 1;
                    self.statistics.last_commit = number;
                }
                Outcome::Refused(CommitRefusal::Conflict(_) | CommitRefusal::Behind) => {
                    return Ok(Attempt::Conflict);
                }
                Outcome::Refused(CommitRefusal::LogFull) => return Ok(Attempt::LogFull),
                Outcome::Lost => return Ok(Attempt::Lost),
                Outcome::Unknown => return Err(ErrorKind::OutcomeUnknown.into()),
            }
        }
        if promises.is_durable {
            self.wait_durable(self.snapshot(), None)?;
        }
        on_commit.into_iter().for_each(|effect| effect());
        Ok(Attempt::Done(value))
    }

    /// Waits as long as the failed attempt makes sensible, or does what it lacked.
    fn pause<R>(&mut self, patience: &mut Patience, failed: &Attempt<R>) -> Result<()> {
        let pause = match failed {
            Attempt::Conflict if self.is_to_be_next(&patience.fairness) => Duration::ZERO,
            Attempt::Conflict => {
                patience.conflicts += 1;
                // The first repetition has the newest snapshot and mostly succeeds.
                let doublings = patience.conflicts.saturating_sub(2).min(16);
                let most = (BACKOFF_MIN * (1 << doublings)).min(BACKOFF_MAX);
                if patience.conflicts == 1 {
                    Duration::ZERO
                } else {
                    self.random_below(most)
                }
            }
            Attempt::LogFull => {
                let driver = self.shared.driver();
                let now = driver.host.now();
                let since = *patience.log_full_since.get_or_insert(now);
                if now - since > driver.options().log_full_patience {
                    return Err(ErrorKind::LogFull.into());
                }
                LOG_FULL_PAUSE
            }
            Attempt::SnapshotTooOld => {
                patience.too_old += 1;
                if patience.too_old >= self.shared.driver().options().snapshot_tries {
                    return Err(ErrorKind::SnapshotTooOld {
                        tries: patience.too_old,
                    }
                    .into());
                }
                Duration::ZERO
            }
            Attempt::Unscrubbed(taken) => {
                if self.scrub(*taken)? {
                    patience.fruitless_scrubs = 0;
                } else {
                    patience.fruitless_scrubs += 1;
                }
                Duration::ZERO
            }
            Attempt::Lost | Attempt::Stale | Attempt::Waits(_) | Attempt::Done(_) => Duration::ZERO,
        };
        if pause > Duration::ZERO {
            self.shared.driver().wait(Some(pause), |_| false)?;
        }
        Ok(())
    }

    /// A random span up to `most` (xorshift64*, Vigna 2016); spreads stations that collided.
    fn random_below(&mut self, most: Duration) -> Duration {
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        let random = self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        Duration::from_nanos((most.as_nanos() as u64 * random) >> 32)
    }
}

impl Begun {
    pub(crate) fn snapshot(&self) -> CommitNumber {
        self.snapshot
    }

    /// Begins at the newest snapshot that has arrived; waits for a session if there is none.
    pub(super) fn on(driver: &mut Driver, pages: &mut HeapMemory) -> Result<Self> {
        if driver.machine.begin(pages).is_none() {
            driver.wait(None, |machine| matches!(machine.state(), State::Active))?;
            let begun = driver.machine.begin(pages);
            begun.expect("an active station has a session");
        }
        Ok(Self::of(driver))
    }

    /// A transaction has just begun.
    pub(crate) fn of(driver: &Driver) -> Self {
        let machine = &driver.machine;
        let station = machine.station();
        let id = machine.next_commit();
        Self {
            arena: station.expect("an active station has a number").0 as usize,
            snapshot: machine.snapshot(),
            id: id.expect("an active station lives"),
        }
    }
}

/// Rolls the transaction back if the program's closure panics.
struct Rollback<'s>(Option<&'s mut Station>);

impl<'s> Rollback<'s> {
    fn station(&mut self) -> &mut Station {
        self.0.as_mut().expect("armed until it is disarmed")
    }

    fn disarm(mut self) -> &'s mut Station {
        self.0.take().expect("armed until it is disarmed")
    }
}

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        if let Some(station) = &mut self.0 {
            station.shared.driver().machine.abort(&mut station.pages);
        }
    }
}
