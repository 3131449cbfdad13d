//! What the heap holds of a team's run: what it was begun with, what was found, and what each station
//! did for that.
//!
//! ```text
//!  root NAME ─► Record ─┬─► progress   phases run, written by the team as it goes
//!                       └─► members    one for each station, by its activity
//!  root NAME/settings ─► what the program is made from
//! ```

use std::time::Duration;

use plurix::team::{LineOptions, Report};
use plurix::{CheckpointStrategy, Plain, Ptr, Result, Transaction, plain};

use super::Places;
use crate::run::{Fingerprint, element};

/// Room for what a program has found.
pub(super) const FOUND_BYTES: usize = 64;

/// A run.
#[plain]
pub(super) struct Record {
    pub(super) fingerprint: Fingerprint,
    pub(super) stations: u64,
    /// At each station.
    pub(super) workers: u64,
    pub(super) progress: Ptr<u64>,
    pub(super) members: Ptr<[Member]>,
    /// From one recovery line to the next, in nanoseconds; zero for none.
    line_every_ns: u64,
    /// 1 if workers wait for them.
    line_blocks: u64,
    /// 1 if stations that are lost are not replaced.
    pub(super) spreads: u64,
    /// 1 once something was found.
    pub(super) has_found: u64,
    /// What all workers answered, with zeros behind.
    pub(super) found: [u8; FOUND_BYTES],
    /// Workers who answered something else.
    pub(super) others: u64,
}

/// What a station did for the run, in lines of its own.
#[plain]
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct Member {
    /// 1 once its activity is done.
    pub(super) is_done: u64,
    /// 1 if what follows was written down. It is not if it was killed after the last barrier.
    pub(super) is_reported: u64,
    pub(super) phases: u64,
    pub(super) restarts: u64,
    pub(super) elapsed_ns: u64,
    /// What its workers waited, in all.
    pub(super) waited_ns: u64,
    /// What its workers did not wait, in all.
    pub(super) busy_ns: u64,
    /// What that worker did not wait who waited least.
    pub(super) busiest_ns: u64,
    pub(super) faults: u64,
    pub(super) fetches: u64,
    pub(super) changes: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) lines: u64,
    /// Its pages in them.
    pub(super) line_pages: u64,
    /// Workers that it had at last,
    pub(super) workers: u64,
    /// and the phase that they began with.
    pub(super) first_phase: u64,
    reserved: [u64; 7],
}

impl Record {
    /// Of a run that begins.
    pub(super) fn new(
        tx: &mut Transaction<'_>,
        fingerprint: Fingerprint,
        (stations, workers): (u16, u16),
        places: Places,
    ) -> Result<Self> {
        let lines = places.lines;
        Ok(Self {
            line_every_ns: lines.map_or(0, |lines| ns(lines.every).max(1)),
            line_blocks: lines.is_some_and(LineOptions::is_blocking).into(),
            spreads: places.spread.into(),
            fingerprint,
            stations: stations.into(),
            workers: workers.into(),
            progress: tx.alloc(0)?,
            members: tx.alloc_slice(stations.into())?,
            has_found: 0,
            found: [0; FOUND_BYTES],
            others: 0,
        })
    }

    /// When the team takes recovery lines.
    pub(super) fn lines(&self) -> Option<LineOptions> {
        let lines = LineOptions::every(Duration::from_nanos(self.line_every_ns));
        (self.line_every_ns > 0).then(|| {
            lines.strategy(match self.line_blocks {
                0 => CheckpointStrategy::NonBlocking,
                _ => CheckpointStrategy::Blocking,
            })
        })
    }

    /// What was found, if something was.
    pub(super) fn found<T: Plain>(&self) -> Option<T> {
        let bytes = &self.found[..size_of::<T>()];
        let found = T::read_from_bytes(bytes).ok();
        found.filter(|_| self.has_found != 0)
    }

    /// Enters what a worker has answered.
    fn enter<T: Plain>(&mut self, found: &T) {
        const {
            assert!(
                size_of::<T>() <= FOUND_BYTES,
                "what is found fits in the record"
            )
        };
        let mut bytes = [0; FOUND_BYTES];
        bytes[..size_of::<T>()].copy_from_slice(found.as_bytes());
        if std::mem::replace(&mut self.has_found, 1) == 0 {
            self.found = bytes;
        }
        self.others += u64::from(self.found != bytes);
    }
}

impl Member {
    fn of<T>(report: &Report<T>) -> Self {
        let busy = |waited: &Duration| ns(report.elapsed.saturating_sub(*waited));
        let counts = report.counts;
        Self {
            is_done: 0,
            is_reported: 1,
            phases: report.phases,
            restarts: report.restarts.into(),
            elapsed_ns: ns(report.elapsed),
            waited_ns: ns(report.waited.iter().sum()),
            busy_ns: report.waited.iter().map(busy).sum(),
            busiest_ns: report.waited.iter().map(busy).max().unwrap_or(0),
            faults: counts.faults,
            fetches: counts.fetches,
            changes: counts.changes,
            messages: counts.messages,
            bytes: counts.bytes,
            lines: report.lines,
            line_pages: report.line_pages,
            workers: report.outputs.len() as u64,
            first_phase: report.first_phase,
            reserved: [0; 7],
        }
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Enters what the station of activity `number` has come to.
pub(super) fn report<T: Plain>(
    tx: &mut Transaction<'_>,
    name: &str,
    number: u64,
    report: &Report<T>,
) -> Result<()> {
    let ptr = tx.root::<Record>(name)?;
    let record = tx.get_mut(ptr)?;
    report.outputs.iter().for_each(|found| record.enter(found));
    let member = element(record.members, number as usize)?;
    tx.set(member, Member::of(report))
}

/// Enters that activity `number` is done.
pub(super) fn complete(tx: &mut Transaction<'_>, name: &str, number: u64) -> Result<()> {
    let members = tx.get(tx.root::<Record>(name)?)?.members;
    tx.get_mut(element(members, number as usize)?)?.is_done = 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use plurix::Cluster;

    use super::*;

    #[test]
    fn all_must_have_found_the_same() {
        let mut cluster = Cluster::local(1).unwrap();
        let station = &mut cluster.stations()[0];
        let record = station.transaction(|tx| Record::new(tx, [7; 32], (2, 1), Places::new(2)));
        let mut record = record.unwrap();
        assert_eq!(record.found::<[u64; 2]>(), None);
        record.enter(&[1_u64, 2]);
        record.enter(&[1_u64, 2]);
        assert_eq!((record.found(), record.others), (Some([1_u64, 2]), 0));
        record.enter(&[1_u64, 3]);
        assert_eq!((record.found(), record.others), (Some([1_u64, 2]), 1));
    }
}
