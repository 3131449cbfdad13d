//! Waiting for a change of some lines: what has arrived since the snapshot, and what arrives from now
//! on, is compared with them, each change once.
//!
//! Changes count when their group is finished: before, a transaction that began for their sake would
//! not see them, and wait again.

use std::collections::BTreeMap;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Delta, PageLines};
use plurix_wire::{LineMask, PageNumber, WriteSet};

use super::{Arrived, Cache, Entry};

/// The lines waited for.
#[derive(Debug, Clone, Hash)]
pub(super) struct Watch {
    lines: BTreeMap<PageNumber, LineMask>,
    /// How many entries of the queue have been looked at.
    noticed: usize,
    changed: bool,
}

impl Watch {
    fn names(&self, writes: &WriteSet) -> bool {
        writes.sections().any(|section| {
            let lines = self.lines.get(&section.page());
            lines.is_some_and(|lines| lines.0 & section.lines().0 != 0)
        })
    }

    /// Whether a served page holds more than what was read of it.
    fn is_in(&self, arrived: &Arrived) -> bool {
        if !self.lines.contains_key(&arrived.page.page) {
            return false;
        }
        let is_new = |delta: &&Delta| arrived.installed.is_none_or(|at| delta.number > at);
        let mut since = arrived.page.since.iter().filter(is_new);
        // Nobody has read a copy that was not installed: what was read was another one.
        arrived.installed.is_none() || since.any(|delta| self.names(&delta.writes))
    }
}

impl Cache {
    /// Waits for a change of `lines` behind the snapshot, also one that is queued already.
    pub(in crate::station) fn watch(&mut self, lines: &[PageLines]) {
        let lines = lines.iter().map(|read| (read.page, read.lines)).collect();
        self.watch = Some(Watch {
            lines,
            noticed: 0,
            changed: false,
        });
        if canary::strikes(Canary::LoseWakeUp) {
            self.skip_noticed();
        }
        self.notice();
    }

    pub(in crate::station) fn unwatch(&mut self) {
        self.watch = None;
    }

    /// Whether there is nothing to wait for, or no more.
    pub(in crate::station) fn has_changed(&self) -> bool {
        self.watch.as_ref().is_none_or(|watch| watch.changed)
    }

    /// Looks at what groups have brought that are finished now.
    pub(super) fn notice(&mut self) {
        let Some(watch) = &mut self.watch else {
            return;
        };
        let mut entries = self.queue.range(watch.noticed..self.finished);
        watch.changed = watch.changed
            || entries.any(|entry| match entry {
                Entry::Delta(delta) => watch.names(&delta.writes),
                Entry::Lines(lines) => watch.names(&lines.writes),
                Entry::Page(page) => watch.is_in(&self.arrived[page]),
                Entry::Own(..)
                | Entry::Joined(_)
                | Entry::Left(_)
                | Entry::Members(_)
                | Entry::End(_) => false,
            });
        watch.noticed = self.finished;
    }

    /// The queue was merged, and all of it had been looked at.
    pub(super) fn skip_noticed(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.noticed = self.finished;
        }
    }

    /// Changes of this page are not told any more.
    pub(super) fn lose_sight(&mut self, page: PageNumber) {
        if let Some(watch) = &mut self.watch {
            watch.changed |= watch.lines.contains_key(&page);
        }
    }
}
