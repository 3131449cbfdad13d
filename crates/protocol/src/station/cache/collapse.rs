//! How what waits to be applied stays bounded: changes of the same bytes become one.

use std::collections::VecDeque;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::Lines;
use plurix_wire::{CommitNumber, WriteSet};

use super::super::overlay::Overlay;
use super::{Cache, Entry};

impl Cache {
    /// Takes back what the group that has not ended has said of the same page before, and lays
    /// `lines` over it. While a page is written faster than a slow link brings it, its lines come
    /// again and again until the group can end.
    pub(super) fn merge(&mut self, mut lines: Box<Lines>) -> Box<Lines> {
        let Some(page) = lines.writes.sections().next().map(|s| s.page()) else {
            return lines;
        };
        let names = |writes: &WriteSet| writes.sections().any(|section| section.page() == page);
        let open = self.queue.range(self.finished..).enumerate().rev();
        // Nothing may overtake what was said of the page in between, nor an answer.
        let mut said = open.filter(|(_, entry)| match entry {
            Entry::Delta(delta) => names(&delta.writes),
            Entry::Lines(older) => names(&older.writes),
            Entry::Page(number) => *number == page,
            Entry::Own(..) => true,
            Entry::Joined(_) | Entry::Left(_) | Entry::Members(_) | Entry::End(_) => false,
        });
        let Some((at, Entry::Lines(older))) = said.next() else {
            return lines;
        };
        let mut overlay = Overlay::default();
        overlay.add(&older.writes);
        overlay.add(&lines.writes);
        self.queued_bytes -= older.writes.as_bytes().len() + lines.writes.as_bytes().len();
        lines.writes = overlay.finish();
        self.queued_bytes += lines.writes.as_bytes().len();
        self.queue.remove(self.finished + at);
        lines
    }

    /// Merges the queued changes of a finished queue into one, bounded by the pages held. An answer
    /// is not moved, so that what is behind the last one is merged: there are as many as requests in
    /// flight at most.
    pub(super) fn collapse(&mut self) {
        let answered = self
            .queue
            .iter()
            .rposition(|entry| matches!(entry, Entry::Own(..)))
            .map_or(0, |last| last + 1);
        let mut overlay = Overlay::default();
        let mut kept: VecDeque<_> = self.queue.drain(..answered).collect();
        let mut end = self.snapshot;
        let mut number = CommitNumber(0);
        for entry in self.queue.drain(..) {
            match entry {
                Entry::Delta(delta) => overlay.add(&delta.writes),
                Entry::Lines(lines) => {
                    number = lines.number;
                    overlay.add(&lines.writes);
                }
                Entry::Page(page) => {
                    if !canary::strikes(Canary::KeepOldChanges) {
                        overlay.forget(page);
                    }
                    kept.push_back(Entry::Page(page));
                }
                Entry::End(through) => end = through,
                other => kept.push_back(other),
            }
        }
        let writes = overlay.finish();
        kept.push_back(Entry::Lines(Box::new(Lines { number, writes })));
        kept.push_back(Entry::End(end));
        self.finished = kept.len();
        self.queue = kept;
        self.skip_noticed();
        self.queued_bytes = self.count();
        self.collapse_at = self.collapse_at.max(2 * self.queued_bytes);
    }
}
