//! What one station still has to be told, in order and bounded.
//!
//! ```text
//!              push                       batch
//!   commits ---------> queue of items ------------> Batch { items, through }
//!                        | backlog beyond its bound
//!                        v
//!                      stale: page -> lines  ------> Batch { Lines, ... }
//! ```
//!
//! While a station keeps up, it receives each commit's bytes. When its backlog exceeds the bound,
//! the deltas collapse to the set of lines that changed; when it can receive again it gets those
//! lines' newest bytes. Answers and served pages never collapse; they are bounded by what a
//! station may have in flight. Lines follow after the queue, and the station applies nothing of a
//! collapsed backlog before its last batch, so it never sees a mixture of two commits.
//!
//! **Invariant**: no item numbered above `logged` leaves, and no line whose page was written by a
//! commit above it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use plurix_wire::message::{Batch, Content, Delta, Item, Lines};
use plurix_wire::{
    CommitNumber, Generation, LINE_BYTES, LineMask, PAGE_BYTES, PageNumber, StreamSequence, Term,
    WriteSetBuilder,
};

use super::pages::PageTable;

/// What an item costs beside its bytes, for the bounds.
const ITEM_BYTES: usize = 64;
/// A batch ends after the item that takes it beyond this.
const BATCH_BYTES: usize = 256 << 10;

/// The stream from the leader to one session of a station.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Items and the newest commit when each was queued, ascending.
    queue: VecDeque<(CommitNumber, Item)>,
    /// Bytes of the deltas in `queue`.
    delta_bytes: usize,
    /// Bytes of everything else in `queue`.
    answer_bytes: usize,
    /// Set while the backlog is collapsed: the lines that changed since the station was told.
    stale: Option<BTreeMap<PageNumber, LineMask>>,
    sequence: StreamSequence,
    /// The last batch sent was not the last of its group.
    open: bool,
    announced: CommitNumber,
}

/// What a batch says of its sender.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) term: Term,
    pub(crate) generation: Generation,
    /// The newest commit that may be revealed.
    pub(crate) logged: CommitNumber,
}

impl Stream {
    /// The stream of a session that knows everything of its pages through `announced`, but for the
    /// lines in `stale`.
    pub(crate) fn new(announced: CommitNumber, stale: BTreeMap<PageNumber, LineMask>) -> Self {
        Self {
            queue: VecDeque::new(),
            delta_bytes: 0,
            answer_bytes: 0,
            stale: (!stale.is_empty()).then_some(stale),
            sequence: StreamSequence(0),
            open: false,
            announced,
        }
    }

    /// Queues an item that is not a delta.
    pub(crate) fn push(&mut self, now: CommitNumber, item: Item) {
        self.answer_bytes += cost(&item);
        self.enqueue(now, item);
    }

    /// Queues what a commit changed in pages of this station, or, beyond `backlog_max` bytes, only
    /// remembers which lines it was.
    pub(crate) fn push_delta(&mut self, delta: Delta, backlog_max: usize) {
        if let Some(stale) = &mut self.stale {
            mark(stale, &delta);
            return;
        }
        let number = delta.number;
        let item = Item::Delta(delta);
        self.delta_bytes += cost(&item);
        self.enqueue(number, item);
        if self.delta_bytes > backlog_max {
            self.collapse();
        }
    }

    fn enqueue(&mut self, number: CommitNumber, item: Item) {
        debug_assert!(self.queue.back().is_none_or(|(last, _)| *last <= number));
        self.queue.push_back((number, item));
    }

    fn collapse(&mut self) {
        let mut stale = BTreeMap::new();
        self.queue.retain(|(_, item)| match item {
            Item::Delta(delta) => {
                mark(&mut stale, delta);
                false
            }
            _ => true,
        });
        self.delta_bytes = 0;
        self.stale = Some(stale);
    }

    /// The station has forgotten `page`; nothing need be said of it before it asks again.
    pub(crate) fn forget(&mut self, page: PageNumber) {
        if let Some(stale) = &mut self.stale {
            stale.remove(&page);
        }
    }

    /// Bytes that wait for the station and do not collapse.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Bytes that wait for the station.
    pub(crate) fn backlog_bytes(&self) -> usize {
        let stale = self.stale.as_ref().map_or(0, BTreeMap::len);
        self.answer_bytes + self.delta_bytes + stale * ITEM_BYTES
    }

    /// Whether a batch would tell the station anything but that the leader is alive.
    pub(crate) fn has_news(&self, sender: Sender) -> bool {
        let queued = self
            .queue
            .front()
            .is_some_and(|(number, _)| *number <= sender.logged);
        queued || self.stale.is_some() || self.open
    }

    /// The next batch; empty if there is nothing to tell. `None` if a group of batches cannot be
    /// continued before more is logged.
    pub(crate) fn batch(&mut self, sender: Sender, pages: &PageTable) -> Option<Batch> {
        let mut items = Vec::new();
        let mut room = BATCH_BYTES as isize;
        while room > 0
            && self
                .queue
                .front()
                .is_some_and(|(number, _)| *number <= sender.logged)
        {
            let (_, item) = self.queue.pop_front().expect("checked above");
            let bytes = cost(&item);
            match item {
                Item::Delta(_) => self.delta_bytes -= bytes,
                _ => self.answer_bytes -= bytes,
            }
            room -= bytes as isize;
            items.push(item);
        }
        let drained = self
            .queue
            .front()
            .is_none_or(|(number, _)| *number > sender.logged);
        if drained {
            self.refresh(sender.logged, pages, &mut items, room);
        }
        let last = drained && self.stale.is_none();
        if items.is_empty() && !last {
            return None;
        }
        self.open = !last;
        if last {
            assert!(self.announced <= sender.logged, "a stream never goes back");
            self.announced = sender.logged;
        }
        self.sequence = self.sequence.next();
        Some(Batch {
            term: sender.term,
            generation: sender.generation,
            sequence: self.sequence,
            through: sender.logged,
            last,
            items,
        })
    }

    /// Moves stale lines, as far as there is room, into `items`; ends the collapse with the last.
    fn refresh(
        &mut self,
        logged: CommitNumber,
        pages: &PageTable,
        items: &mut Vec<Item>,
        mut room: isize,
    ) {
        let Some(stale) = &mut self.stale else { return };
        while room > 0
            && let Some(entry) = stale.first_entry()
            && pages.version(*entry.key()) <= logged
        {
            let (page, lines) = entry.remove_entry();
            let item = Item::Lines(Box::new(newest_lines(pages, page, lines, logged)));
            room -= cost(&item) as isize;
            items.push(item);
        }
        if stale.is_empty() {
            self.stale = None;
        }
    }
}

fn mark(stale: &mut BTreeMap<PageNumber, LineMask>, delta: &Delta) {
    for section in delta.writes.sections() {
        stale.entry(section.page()).or_default().0 |= section.lines().0;
    }
}

fn newest_lines(
    pages: &PageTable,
    page: PageNumber,
    lines: LineMask,
    number: CommitNumber,
) -> Lines {
    let image = pages.image(page).expect("a stale page was written");
    let mut builder = WriteSetBuilder::new();
    for line in lines.lines() {
        let at = line * LINE_BYTES;
        builder.push(page, at, &image[at..at + LINE_BYTES]);
    }
    Lines {
        number,
        writes: builder.finish(),
    }
}

fn cost(item: &Item) -> usize {
    let content = |content: &Content| match content {
        Content::Zero => 0,
        Content::Bytes(bytes) => Bytes::len(bytes).max(PAGE_BYTES),
    };
    let delta = |delta: &Delta| ITEM_BYTES + delta.writes.as_bytes().len();
    ITEM_BYTES
        + match item {
            Item::Delta(one) => delta(one),
            Item::Page(page) => {
                content(&page.content) + page.since.iter().map(delta).sum::<usize>()
            }
            Item::Lines(lines) => lines.writes.as_bytes().len(),
            Item::Committed { .. }
            | Item::Refused { .. }
            | Item::Latest
            | Item::Joined(_)
            | Item::Left(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(number: u64, page: u32, value: u8) -> Delta {
        let mut builder = WriteSetBuilder::new();
        builder.push(PageNumber(page), 0, &[value; 8]);
        Delta {
            number: CommitNumber(number),
            writes: builder.finish(),
        }
    }

    fn sender(logged: u64) -> Sender {
        Sender {
            term: Term(1),
            generation: Generation(0),
            logged: CommitNumber(logged),
        }
    }

    /// A stream and the pages after commits 1 to `commits`, all of which wrote page 1.
    fn behind(commits: u64, backlog_max: usize) -> (Stream, PageTable) {
        let mut pages = PageTable::new(1 << 20, 4);
        let mut stream = Stream::new(CommitNumber(0), BTreeMap::new());
        for number in 1..=commits {
            let delta = delta(number, 1, number as u8);
            pages.apply(delta.number, &delta.writes, &mut Vec::new());
            stream.push_delta(delta, backlog_max);
        }
        (stream, pages)
    }

    #[test]
    fn nothing_above_the_log_leaves() {
        let (mut stream, pages) = behind(3, usize::MAX);
        let batch = stream.batch(sender(2), &pages).unwrap();
        assert_eq!(
            (batch.items.len(), batch.through, batch.last),
            (2, CommitNumber(2), true)
        );
        assert!(!stream.has_news(sender(2)));
        assert_eq!(stream.batch(sender(3), &pages).unwrap().items.len(), 1);
    }

    #[test]
    fn a_long_backlog_collapses_to_the_newest_bytes() {
        let (mut stream, pages) = behind(100, 1000);
        assert!(stream.backlog_bytes() < 1000);
        assert_eq!(
            stream.batch(sender(99), &pages),
            None,
            "page 1 was written by commit 100"
        );
        let batch = stream.batch(sender(100), &pages).unwrap();
        let [Item::Lines(lines)] = &batch.items[..] else {
            panic!("{:?}", batch.items)
        };
        assert_eq!(
            lines.writes.sections().next().unwrap().payload()[..8],
            [100; 8]
        );
        assert!(batch.last && stream.batch(sender(100), &pages).unwrap().items.is_empty());
    }

    #[test]
    fn a_forgotten_page_is_not_refreshed() {
        let (mut stream, pages) = behind(100, 1000);
        stream.forget(PageNumber(1));
        assert!(stream.batch(sender(100), &pages).unwrap().items.is_empty());
    }
}
