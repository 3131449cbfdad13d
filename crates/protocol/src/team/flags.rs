//! Flags: numbers that only rise. Whoever waits for one sees what was written before it was raised.
//!
//! ```text
//!   raise ──► publish ──► all applied ──► Raise ──► coordinator ──► Raised ──► drop copies ──► goes on
//!                                         Await ──►
//! ```

use std::collections::BTreeMap;

use plurix_wire::message::PageRun;
use plurix_wire::message::peer::ToPeer;
use plurix_wire::{PageNumber, Rank, SyncId};

use super::publish::Kept;
use super::{COORDINATOR, Error, Member, View};

/// What this station knows of flags.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags {
    /// As the coordinator has told, with what was written before.
    known: BTreeMap<SyncId, u64>,
    /// Asked for.
    awaited: Vec<(SyncId, u64)>,
    /// To be raised as soon as all that was published is in its pages.
    pub(super) raising: Vec<(SyncId, u64)>,
}

impl Member {
    /// Raises a flag to `value`, if it is not as high already, for all who wait for it or will. What
    /// the program has stored before is seen by them.
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    pub fn raise(&mut self, flag: SyncId, value: u64, view: &mut impl View) -> Result<(), Error> {
        self.publish(Kept::Closed, |_| true, view);
        self.flags.raising.push((flag, value));
        self.tell_published();
        self.settle(view)
    }

    /// A worker waits until a flag is `least` or higher; answers whether it is. Else it asks again when
    /// a message was [handled](Self::handle), or when another worker of this station has raised the
    /// flag.
    ///
    /// # Errors
    /// [`Error`] if the team cannot go on.
    pub fn is_raised(
        &mut self,
        flag: SyncId,
        least: u64,
        view: &mut impl View,
    ) -> Result<bool, Error> {
        let known = |member: &Self| member.flags.known.get(&flag).is_some_and(|v| *v >= least);
        if !known(self) && !self.flags.awaited.contains(&(flag, least)) {
            self.flags.awaited.push((flag, least));
            self.tell(COORDINATOR, ToPeer::Await { flag, least });
            self.settle(view)?;
        }
        Ok(known(self))
    }

    /// A flag is as high as a worker wants.
    pub(super) fn raised(
        &mut self,
        from: Rank,
        flag: SyncId,
        value: u64,
        written: &[PageRun],
        view: &mut impl View,
    ) -> Result<(), Error> {
        let is_reached = |awaited: &(SyncId, u64)| awaited.0 == flag && awaited.1 <= value;
        if from != COORDINATOR || !self.flags.awaited.iter().any(is_reached) {
            return Err(Error::Violation(from, "a flag that nobody waits for"));
        }
        let pages: Vec<PageNumber> = written.iter().flat_map(|run| run.pages()).collect();
        self.notices += pages.len() as u64;
        self.drop_copies(&pages, view);
        // One answer for each question.
        if let Some(at) = self.flags.awaited.iter().position(is_reached) {
            self.flags.awaited.remove(at);
        }
        self.flags.known.insert(flag, value);
        Ok(())
    }
}
