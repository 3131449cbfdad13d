//! Which commits a loss of power cannot take back, and how those who need to know are told.
//!
//! ```text
//!  Request::Durable --of a later commit--> Command::Sync --> the driver's disk --> Event::Durable
//!        |                                   ^ one at a time; who asks meanwhile      |
//!        | known already                     +------- is served by the next one ------+
//!        v                                                                            |
//!   a batch at once, which says through which commit <------ each whose wish is met --+
//! ```
//!
//! With [`Durability::Durable`] nothing is revealed before it is on disk, so that is known already.
//! Every batch says how far it is; who has not asked learns it with the next one.
//!
//! **Invariant**: `durable` never goes back, also not when the heap does, for that happens at a
//! commit that the disk has.

use plurix_wire::CommitNumber;
use plurix_wire::message::Violation;

use super::pages::Slot;
use super::{Command, Durability, Leader};

impl Leader {
    /// The newest commit that a loss of power cannot take back.
    #[must_use]
    pub fn durable(&self) -> CommitNumber {
        match self.settings.durability {
            Durability::Durable => self.logged,
            Durability::Memory => self.synced,
        }
    }

    /// A member wants to hear when everything through this commit is durable.
    pub(super) fn ask_durable(
        &mut self,
        slot: Slot,
        through: CommitNumber,
    ) -> Result<(), Violation> {
        if through > self.logged {
            return Err(Violation::SnapshotFromTheFuture);
        }
        let durable = self.durable();
        let state = self.members.get_mut(slot);
        if through <= durable {
            state.pulse = true;
            self.make_urgent(slot);
            return Ok(());
        }
        state.awaits_durable = state.awaits_durable.max(Some(through));
        self.sync();
        Ok(())
    }

    /// The disk has everything through this commit.
    pub(super) fn durable_through(&mut self, through: CommitNumber) {
        assert!(
            through <= self.number,
            "the disk cannot hold a commit that was not made"
        );
        self.synced = self.synced.max(through);
        if self.syncing.is_some_and(|covered| covered <= self.synced) {
            self.syncing = None;
        }
        let durable = self.durable();
        let mut others_wait = false;
        for slot in self.members.slots() {
            let state = self.members.get_mut(slot);
            match state.awaits_durable {
                Some(awaited) if awaited <= durable => {
                    state.awaits_durable = None;
                    state.pulse = true;
                    self.make_urgent(slot);
                }
                Some(_) => others_wait = true,
                None => {}
            }
        }
        if others_wait {
            self.sync();
        }
    }

    fn sync(&mut self) {
        if self.syncing.is_none() {
            self.syncing = Some(self.number);
            self.commands.push_back(Command::Sync);
        }
    }
}
