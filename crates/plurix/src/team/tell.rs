//! What a station writes into the heap while its workers run: how far they are, where the program wants
//! that, and what they have done, for whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use zerocopy::FromZeros;

use super::TeamOptions;
use super::engine::Engine;
use super::statistics::{self, Slot};
use super::waits::{Waits, ns};
use crate::error::{ErrorKind, Result, is_of_station};
use crate::ptr::Ptr;
use crate::station::Station;

/// How often the heap is told how far a team is, if it shall be.
const PROGRESS_PERIOD: Duration = Duration::from_millis(100);
/// How often the heap is told what a station does.
const STATISTICS_PERIOD: Duration = Duration::from_millis(250);

/// A station's workers, as it tells of them.
pub(super) struct Teller<'t> {
    pub(super) engine: &'t Engine,
    pub(super) waits: &'t Waits,
    /// How many phases they have run,
    pub(super) phases: &'t AtomicU64,
    /// and with which they began.
    pub(super) first_phase: u64,
}

/// Where, and what was told last.
struct Told {
    progress: Option<Ptr<u64>>,
    phases: Option<u64>,
    progress_due: Instant,
    slot: Option<Ptr<Slot>>,
    began: u64,
    computed: Vec<Duration>,
    busiest: Duration,
    statistics_due: Instant,
}

impl Teller<'_> {
    /// Tells now and then, until the workers have ended.
    ///
    /// # Errors
    /// Those that say that the station can never be a member again; as a
    /// [`transaction`](Station::transaction) if progress cannot be told.
    pub(super) fn tell(
        &self,
        station: &mut Station,
        team: &TeamOptions,
        rank: u16,
        ended: &Receiver<()>,
    ) -> Result<()> {
        let slot = station.transaction(|tx| statistics::slot(tx, &team.name, rank));
        let now = Instant::now();
        let mut told = Told {
            progress: team.progress.filter(|_| rank == 0),
            phases: None,
            progress_due: now + PROGRESS_PERIOD,
            slot: passed_over(slot)?.flatten(),
            began: station.snapshot().0,
            computed: vec![Duration::ZERO; self.waits.count()],
            busiest: Duration::ZERO,
            statistics_due: now + STATISTICS_PERIOD,
        };
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(told.pause()) {
            let now = Instant::now();
            if told.progress.is_some() && now >= told.progress_due {
                told.progress_due = now + PROGRESS_PERIOD;
                self.tell_progress(station, &mut told)?;
            }
            if now >= told.statistics_due {
                told.statistics_due = now + STATISTICS_PERIOD;
                passed_over(self.tell_statistics(station, &mut told))?;
            }
        }
        passed_over(self.tell_statistics(station, &mut told))?;
        Ok(())
    }

    fn tell_progress(&self, station: &mut Station, told: &mut Told) -> Result<()> {
        let now = self.phases.load(Ordering::Relaxed);
        let Some(progress) = told.progress.filter(|_| told.phases != Some(now)) else {
            return Ok(());
        };
        station.transaction(|tx| tx.set(progress, now))?;
        told.phases = Some(now);
        Ok(())
    }

    fn tell_statistics(&self, station: &mut Station, told: &mut Told) -> Result<()> {
        let Some(slot) = told.slot else {
            return Ok(());
        };
        let mut now = self.sample(told);
        let has_failed = self.engine.with(|core| {
            let counts = core.counts();
            now.faults = counts.faults;
            now.fetches = counts.fetches;
            now.pages = counts.pages;
            now.changes = counts.changes;
            now.notices = counts.notices;
            now.messages = counts.messages;
            now.bytes = counts.bytes;
            now.lines = core.lines.taken;
            now.line_pages = core.lines.pages;
            core.failure().is_some()
        });
        if has_failed {
            // The team begins again, or has ended; either is soon known.
            return Ok(());
        }
        now.incarnation = station.incarnation().0;
        station.transaction(|tx| tx.set(slot, now))
    }

    /// What the workers do; what the protocol does is left out.
    fn sample(&self, told: &mut Told) -> Slot {
        let elapsed = self.waits.elapsed();
        let waited: Vec<Duration> = self.waits.at(elapsed).collect();
        let since = told
            .computed
            .iter_mut()
            .zip(&waited)
            .map(|(before, waited)| {
                let computed = elapsed.saturating_sub(*waited);
                computed.saturating_sub(std::mem::replace(before, computed))
            });
        told.busiest += since.max().unwrap_or_default();
        let extreme = |waited: Option<&Duration>| ns(waited.copied().unwrap_or_default());
        let mut slot = Slot::new_zeroed();
        slot.began = told.began;
        slot.elapsed_ns = ns(elapsed);
        slot.phases = self.phases.load(Ordering::Relaxed);
        slot.first_phase = self.first_phase;
        slot.workers = waited.len() as u64;
        slot.waited_ns = ns(waited.iter().sum());
        slot.waited_least_ns = extreme(waited.iter().min());
        slot.waited_most_ns = extreme(waited.iter().max());
        slot.busiest_ns = ns(told.busiest);
        slot
    }
}

impl Told {
    /// Until something is due.
    fn pause(&self) -> Duration {
        let due = match self.progress {
            Some(_) => self.progress_due.min(self.statistics_due),
            None => self.statistics_due,
        };
        due.saturating_duration_since(Instant::now())
    }
}

/// Statistics are not worth a team that could go on: without room for them it does.
fn passed_over<T>(told: Result<T>) -> Result<Option<T>> {
    match told {
        Err(error)
            if is_of_station(error.kind()) && !matches!(error.kind(), ErrorKind::LogFull) =>
        {
            Err(error)
        }
        told => Ok(told.ok()),
    }
}
