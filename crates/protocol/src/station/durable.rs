//! What a station knows of the page server's disk, and how it asks.

use plurix_wire::message::{Batch, Request};
use plurix_wire::{CommitNumber, Generation};

use super::Station;

impl Station {
    /// The newest commit that is known to survive a loss of power of the page server's machine, and
    /// everything before it. Only a person who restores a checkpoint takes the heap back behind it.
    #[must_use]
    pub fn durable(&self) -> CommitNumber {
        self.durable
    }

    /// Whether it has asked for what it was not told yet. For oracles.
    #[must_use]
    pub fn awaits_durable(&self) -> bool {
        self.awaits_durable.is_some()
    }

    /// Asks to hear soon when [`durable`](Self::durable) has reached `through`. Until then the wish
    /// holds, also in later sessions, unless the heap is rolled back. Answers `false`, and asks
    /// nothing, if the station has not heard of that commit.
    pub fn ask_durable(&mut self, through: CommitNumber) -> bool {
        if through > self.cache.through() {
            return false;
        }
        if through > self.durable && self.awaits_durable.is_none_or(|wish| wish < through) {
            self.awaits_durable = Some(through);
            self.request(Request::Durable { through });
        }
        true
    }

    /// A session begins or goes on in `generation`, whose heap is surely the one that this station
    /// knows through commit `common`. Commits of another generation behind it have other numbers.
    pub(super) fn doubt_durable(&mut self, generation: Generation, common: CommitNumber) {
        if std::mem::replace(&mut self.durable_in, generation) != generation {
            self.durable = self.durable.min(common);
        }
    }

    /// A batch says how far the disk is.
    pub(super) fn hear_durable(&mut self, batch: &Batch) {
        self.durable = self.durable.max(batch.durable);
        self.awaits_durable = self.awaits_durable.filter(|wish| *wish > self.durable);
    }

    /// A session begins or goes on: what was asked before may never have been heard.
    pub(super) fn ask_durable_again(&mut self) {
        if let Some(through) = self.awaits_durable {
            self.request(Request::Durable { through });
        }
    }
}
