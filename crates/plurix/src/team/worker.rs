//! What a worker has: its part of the work, slices of weak memory, and the means to meet others.

use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;
use std::time::Duration;

use plurix_memory::{Access, Exclusive, Shared, ViewHandle};
use plurix_protocol::team::Boundary;
use plurix_wire::{Rank, SyncId};

use super::TeamError;
use super::engine::Engine;
use super::region::Region;
use super::waits::WaitClock;
use crate::error::{Error, ErrorKind, Result};
use crate::plain::Plain;

/// One worker of a team, which runs on one thread of one station.
///
/// Slices that it lends end before it meets others: to come to a [`barrier`](Self::barrier) or take a
/// [`lock`](Self::lock) needs the worker itself, which is borrowed as long as a slice lives.
pub struct Worker<'t> {
    pub(super) engine: &'t Engine,
    pub(super) view: ViewHandle,
    pub(super) index: usize,
    pub(super) count: usize,
    /// The workers at its station.
    pub(super) crew: Range<usize>,
    pub(super) waits: WaitClock<'t>,
    /// It waits for recovery lines.
    pub(super) holds_up: bool,
}

impl<'t> Worker<'t> {
    /// Which worker it is, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many workers the team has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// This worker's part of `len` things: blocks of equal size, the first for the first worker.
    #[must_use]
    pub fn part(&self, len: usize) -> Range<usize> {
        let begin = |index| (len as u128 * index as u128 / self.count as u128) as usize;
        begin(self.index)..begin(self.index + 1)
    }

    /// How long it has waited at barriers and for locks so far.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waits.waited()
    }

    /// Makes an error of the program's own; return it from the phase, and the team ends with it.
    #[must_use]
    pub fn abort(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        TeamError::Aborted(Arc::from(why.into())).into()
    }

    /// Lends part of a region, to be read. What others write there meanwhile may or may not be seen;
    /// a program without races does not look.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRegion`] if the range leaves the region; [`ErrorKind::Lent`] if another worker
    /// of this station writes to some of it.
    pub fn read<T: Plain>(&self, region: Region<T>, range: Range<usize>) -> Result<Shared<'_, T>> {
        let (offset, count) = locate(region, &range)?;
        Ok(self.view.slice(offset, count).map_err(ErrorKind::from)?)
    }

    /// Lends part of a region, to be changed.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`ErrorKind::Lent`] also if another worker of this station reads some
    /// of it.
    pub fn write<T: Plain>(
        &self,
        region: Region<T>,
        range: Range<usize>,
    ) -> Result<Exclusive<'_, T>> {
        let (offset, count) = locate(region, &range)?;
        Ok(self
            .view
            .slice_mut(offset, count)
            .map_err(ErrorKind::from)?)
    }

    /// Asks for part of a region that will be needed soon, and does not wait for it.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRegion`].
    pub fn prefetch<T: Plain>(&self, region: Region<T>, range: Range<usize>) -> Result<()> {
        locate(region, &range)?;
        if let Some(pages) = region.pages(&range) {
            self.engine.wait(|core| {
                core.member.prefetch(pages);
                Ok(Some(()))
            })?;
        }
        Ok(())
    }

    /// Copies part of a region, from value `start` on, as far as `into` is long. All pages are asked for
    /// at once, which no page fault could do.
    ///
    /// # Errors
    /// As [`read`](Self::read); if the team cannot go on.
    pub fn read_into<T: Plain>(
        &self,
        region: Region<T>,
        start: usize,
        into: &mut [T],
    ) -> Result<()> {
        let range = start..start.saturating_add(into.len());
        let part = self.read(region, range.clone())?;
        self.open(region, &range, Access::Read)?;
        into.copy_from_slice(&part);
        Ok(())
    }

    /// Sets part of a region, from value `start` on, to the values of `from`.
    ///
    /// # Errors
    /// As [`write`](Self::write); if the team cannot go on.
    pub fn write_from<T: Plain>(&self, region: Region<T>, start: usize, from: &[T]) -> Result<()> {
        let range = start..start.saturating_add(from.len());
        let mut part = self.write(region, range.clone())?;
        self.open(region, &range, Access::Write)?;
        part.copy_from_slice(from);
        Ok(())
    }

    /// Waits until this worker can load from, or store to, part of a region without a page fault.
    fn open<T: Plain>(&self, region: Region<T>, range: &Range<usize>, wants: Access) -> Result<()> {
        if let Some(pages) = region.pages(range) {
            self.engine.wait(|core| {
                let is_ready = core.member.access_run(pages, wants, &mut core.view)?;
                Ok(is_ready.then_some(()))
            })?;
        }
        Ok(())
    }

    /// Sends home what was stored to part of a region, and waits until it is there: from then on
    /// whoever [refreshes](Self::refresh) it sees that. For programs that order their accesses
    /// themselves.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRegion`]; if the team cannot go on.
    pub fn publish<T: Plain>(&mut self, region: Region<T>, range: Range<usize>) -> Result<()> {
        locate(region, &range)?;
        let mut pages = region.pages(&range);
        self.engine.wait(|core| {
            if let Some(pages) = pages.take() {
                core.member.publish_run(pages, &mut core.view);
            }
            Ok(core.member.is_published().then_some(()))
        })?;
        Ok(())
    }

    /// Forgets what this station has copied of part of a region: what is read next is what is at home.
    /// What was stored here and not published is sent home before.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn refresh<T: Plain>(&mut self, region: Region<T>, range: Range<usize>) -> Result<()> {
        locate(region, &range)?;
        if let Some(pages) = region.pages(&range) {
            self.engine.wait(|core| {
                core.member.refresh_run(pages, &mut core.view)?;
                Ok(Some(()))
            })?;
        }
        Ok(())
    }

    /// Raises a flag of the team to `value`, if it is not as high already. Flags begin at zero; the
    /// number is the program's choice.
    ///
    /// # Errors
    /// If the team cannot go on.
    pub fn raise(&mut self, flag: u32, value: u64) -> Result<()> {
        Ok(self.engine.wait(|core| {
            core.member.raise(SyncId(flag), value, &mut core.view)?;
            Ok(Some(()))
        })?)
    }

    /// Waits until a flag is `least` or higher, and then sees what whoever raised it had written before.
    ///
    /// # Errors
    /// If the team cannot go on.
    pub fn wait_raised(&mut self, flag: u32, least: u64) -> Result<()> {
        let start = self.waits.start();
        self.engine.wait(|core| {
            let is_raised = core.member.is_raised(SyncId(flag), least, &mut core.view)?;
            Ok(is_raised.then_some(()))
        })?;
        self.waits.stop(start);
        Ok(())
    }

    /// A barrier to which one worker brings a value, which all have afterwards.
    ///
    /// # Errors
    /// If the team cannot go on.
    pub fn broadcast<T: Plain>(&mut self, from: usize, value: T) -> Result<T> {
        let values = self.gather(value)?;
        Ok(*values.get(from).ok_or(TeamError::Disagreement)?)
    }

    /// Waits until all workers of the team have come here. Then everybody sees what anybody has
    /// written before.
    ///
    /// # Errors
    /// If the team cannot go on.
    pub fn barrier(&mut self) -> Result<()> {
        self.meet(&[], None).map(drop)
    }

    /// A barrier to which each worker brings a value; folds them in the workers' order, so that all
    /// have the same result, whoever came first.
    ///
    /// # Errors
    /// If the team cannot go on.
    pub fn reduce<T: Plain>(&mut self, value: T, fold: impl Fn(T, T) -> T) -> Result<T> {
        let values = self.gather(value)?;
        let result = values.into_iter().reduce(fold);
        Ok(result.expect("this worker has brought one"))
    }

    /// A barrier to which each worker brings a value; answers all of them, by worker.
    ///
    /// # Errors
    /// If the team cannot go on.
    pub fn gather<T: Plain>(&mut self, value: T) -> Result<Vec<T>> {
        self.gather_at(value, None)
    }

    /// The barrier behind a phase, which may be a cut unless it was the last one. Each says whether it
    /// was; answers whether all say the same.
    pub(super) fn end_phase(&mut self, phase: u64, is_done: bool) -> Result<bool> {
        let next = (!is_done).then_some(phase + 1);
        let all = self.gather_at(u64::from(is_done), next)?;
        if self.holds_up {
            let start = self.waits.start();
            let engine = self.engine;
            engine.wait(|core| Ok((!core.lines.holds_up()).then_some(())))?;
            self.waits.stop(start);
        }
        Ok(all.iter().all(|done| *done == u64::from(is_done)))
    }

    fn gather_at<T: Plain>(&mut self, value: T, next: Option<u64>) -> Result<Vec<T>> {
        const { assert!(size_of::<T>() > 0, "a value has bytes") };
        let brought = self.meet(value.as_bytes(), next)?;
        let values: Vec<T> = brought
            .chunks(size_of::<T>())
            .filter_map(|bytes| T::read_from_bytes(bytes).ok())
            .collect();
        if values.len() == self.count {
            Ok(values)
        } else {
            Err(TeamError::Disagreement.into())
        }
    }

    /// Comes to a barrier and brings some bytes; answers what all have brought, one after the other. The
    /// barrier may be a cut if it leads to the `next` phase.
    fn meet(&mut self, bytes: &[u8], next: Option<u64>) -> Result<Vec<u8>> {
        let start = self.waits.start();
        let (crew, place) = (self.crew.len(), self.index - self.crew.start);
        let mut before = None;
        let brought = self.engine.wait(|core| {
            let interval = core.member.interval();
            let Some(before) = before else {
                before = Some(interval);
                core.roll.arrived += 1;
                if !bytes.is_empty() {
                    core.roll.brings.resize(crew * bytes.len(), 0);
                    let at = place * bytes.len();
                    if let Some(to) = core.roll.brings.get_mut(at..at + bytes.len()) {
                        to.copy_from_slice(bytes);
                    }
                }
                if usize::from(core.roll.arrived) < crew {
                    return Ok(None);
                }
                core.roll.arrived = 0;
                let brings = std::mem::take(&mut core.roll.brings);
                let brings = (!brings.is_empty()).then_some(brings);
                let boundary = match next {
                    Some(phase) => core.lines.boundary(phase, core.member.rank() == Rank(0)),
                    None => Boundary::Within,
                };
                core.member.arrive(brings, boundary, &mut core.view)?;
                return Ok((core.member.interval() > interval).then(|| brought(core)));
            };
            Ok((interval > before).then(|| brought(core)))
        })?;
        self.waits.stop(start);
        Ok(brought)
    }

    /// Takes a lock: nobody else of the team has it until the guard is dropped, and what whoever had it
    /// before has written is seen. The number is the program's choice.
    ///
    /// # Errors
    /// If the team cannot go on.
    pub fn lock(&mut self, lock: u32) -> Result<Locked<'_, 't>> {
        let start = self.waits.start();
        let id = SyncId(lock);
        self.engine.wait(|core| {
            let has = core.member.acquire(id, &mut core.view)?;
            Ok(has.then_some(()))
        })?;
        self.waits.stop(start);
        Ok(Locked { worker: self, id })
    }

    /// Adds to a counter of the team, which begins at zero, and answers what it was before. It orders
    /// nothing else: what others have written is not seen by that. The number is the program's choice.
    ///
    /// # Errors
    /// If the team cannot go on.
    pub fn fetch_add(&self, counter: u32, value: u64) -> Result<u64> {
        let id = SyncId(counter);
        let mut ticket = None;
        Ok(self.engine.wait(|core| {
            let ticket = match ticket {
                Some(ticket) => ticket,
                None => *ticket.insert(core.member.add(id, value, &mut core.view)?),
            };
            Ok(core.member.before(ticket))
        })?)
    }
}

/// What was brought to the barrier that has just opened.
fn brought(core: &super::engine::Core) -> Vec<u8> {
    core.member
        .brought()
        .iter()
        .flatten()
        .flatten()
        .copied()
        .collect()
}

fn locate<T: Plain>(region: Region<T>, range: &Range<usize>) -> Result<(u64, usize)> {
    let located = region.locate(range);
    located.ok_or_else(|| {
        let (start, end, len) = (range.start, range.end, region.len());
        ErrorKind::OutOfRegion { start, end, len }.into()
    })
}

/// A worker that has a lock, until this is dropped.
pub struct Locked<'w, 't> {
    worker: &'w mut Worker<'t>,
    id: SyncId,
}

impl<'t> Deref for Locked<'_, 't> {
    type Target = Worker<'t>;

    fn deref(&self) -> &Worker<'t> {
        self.worker
    }
}

impl DerefMut for Locked<'_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.worker
    }
}

impl Drop for Locked<'_, '_> {
    fn drop(&mut self) {
        // If the team cannot go on, the worker learns that from whatever it does next.
        let _ = self.worker.engine.wait(|core| {
            core.member.unlock(self.id, &mut core.view)?;
            Ok(Some(()))
        });
    }
}
