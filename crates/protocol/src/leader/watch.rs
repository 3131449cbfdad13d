//! Stations that wait for a change. What nobody waits for is held back a little, so that many changes
//! leave in one batch; whoever sleeps until something changes would sleep that little longer.
//!
//! ```text
//!  Request::Watch --> watches --a change of a page that it holds--> a batch at once --> no more
//!                        ^                                                             |
//!                        +-------- asked again, if that was not the change wanted -----+
//! ```
//!
//! A wish is worth one batch: a station that is told of many changes it does not want gets them
//! together, with the time of a round trip in between.

use super::Leader;
use super::members::Turn;
use super::pages::Slot;

impl Leader {
    /// A member sleeps until something changes; what was held back for it leaves now.
    pub(super) fn watch(&mut self, slot: Slot) {
        let state = self.members.get_mut(slot);
        state.watches = true;
        if state.turn == Turn::Lazy {
            self.make_urgent(slot);
        }
    }
}
