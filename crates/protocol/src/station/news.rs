//! What a station between transactions wants to hear of: the newest snapshot, or a change of what its
//! last transaction has read.

use plurix_wire::message::{PageLines, Request};

use super::{Pages, State, Station, Transaction};

impl Station {
    /// Whether changes of others wait to be applied.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.cache.is_idle()
    }

    /// Asks for the newest snapshot; [`has_latest`](Self::has_latest) tells when the next
    /// transaction will have it. Nothing is asked while the station is no member.
    pub fn ask_latest(&mut self) {
        if matches!(self.state, State::Active) {
            self.cache.ask_latest();
            self.request(Request::Latest);
        }
    }

    /// Whether the newest snapshot, as of [`ask_latest`](Self::ask_latest), waits to be applied.
    #[must_use]
    pub fn has_latest(&self) -> bool {
        self.cache.has_latest()
    }

    /// Whether the snapshot is the newest that has arrived.
    #[must_use]
    pub fn is_newest(&self) -> bool {
        self.cache.through() == self.cache.snapshot()
    }

    /// Ends the running transaction without a trace, and waits for a change of what it has read:
    /// [`has_changed`](Self::has_changed) tells of it until the next one begins.
    pub fn abort_until_change(&mut self, reads: &[PageLines], memory: &mut impl Pages) {
        // What was read in a life that has ended may have changed before this one began.
        let is_of_this_life = matches!(self.transaction, Transaction::Running);
        self.abort(memory);
        if is_of_this_life {
            self.cache.watch(reads);
            self.ask_to_watch();
        }
    }

    /// Whether a transaction that begins now may find another value in one of the lines that are
    /// waited for.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.cache.has_changed()
    }

    /// The leader tells of one change at once for each time that it is asked.
    pub(super) fn ask_to_watch(&mut self) {
        if !self.cache.has_changed() {
            self.request(Request::Watch);
        }
    }
}
