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
//! lines' bytes, as of `logged` or, copied, as of what was logged when they began to leave. Answers and served pages never collapse; they are bounded by what a
//! station may have in flight. Lines follow after the queue, and the station applies nothing of a
//! collapsed backlog before its last batch, so it never sees a mixture of two commits.
//!
//! **Invariant**: no item numbered above `logged` leaves, and no line holds bytes of a commit above
//! it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Batch, Content, Delta, Item, Lines};
use plurix_wire::{
    CommitNumber, Generation, LineMask, PAGE_BYTES, PageNumber, StreamSequence, Term,
};

use super::stale::{Heap, Stale};

/// What an item costs beside its bytes, for the bounds.
const ITEM_BYTES: usize = 64;
/// Items for which a batch has room from the beginning, at most.
const ITEMS_MAX: usize = 256;

/// The stream from the leader to one session of a station.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Stream {
    /// Items and the newest commit when each was queued, ascending.
    queue: VecDeque<(CommitNumber, Item)>,
    /// Bytes of the deltas in `queue`.
    delta_bytes: usize,
    /// Bytes of everything else in `queue`.
    answer_bytes: usize,
    /// Set while the backlog is collapsed: the lines that changed since the station was told.
    stale: Option<Stale>,
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
    /// The newest commit that a loss of power cannot take back.
    pub(crate) durable: CommitNumber,
    /// A batch ends after the item that takes it beyond this.
    pub(crate) batch_bytes: usize,
    /// Lines of at most so many bytes are copied to leave as of one commit.
    pub(crate) frozen_bytes_max: usize,
}

impl Stream {
    /// The stream of a session that knows everything of its pages through `announced`, but for the
    /// lines in `stale`.
    pub(crate) fn new(announced: CommitNumber, stale: BTreeMap<PageNumber, LineMask>) -> Self {
        Self {
            queue: VecDeque::new(),
            delta_bytes: 0,
            answer_bytes: 0,
            stale: (!stale.is_empty()).then(|| Stale::new(announced.next(), stale)),
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
            stale.mark(&delta);
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
        let mut stale = Stale::new(self.announced.next(), BTreeMap::new());
        self.queue.retain(|(_, item)| match item {
            Item::Delta(delta) => {
                stale.mark(delta);
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
            stale.forget(page);
        }
    }

    /// Bytes that wait for the station and do not collapse.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Bytes that wait for the station.
    pub(crate) fn backlog_bytes(&self) -> usize {
        let stale = self.stale.as_ref();
        let stale = stale.map_or(0, |stale| stale.bytes(ITEM_BYTES));
        self.answer_bytes + self.delta_bytes + stale
    }

    /// Whether a batch would tell the station anything but that the leader is alive.
    pub(crate) fn has_news(&self, sender: Sender) -> bool {
        let queued = self
            .queue
            .front()
            .is_some_and(|(number, _)| *number <= sender.logged);
        let stale = self.stale.as_ref();
        queued || self.open || stale.is_some_and(|stale| stale.has_news(sender.logged))
    }

    /// The next batch; empty if there is nothing to tell. `None` if a group of batches cannot be
    /// continued before more is logged.
    pub(crate) fn batch(&mut self, sender: Sender, heap: Heap<'_>) -> Option<Batch> {
        // Mostly all of the queue leaves; of a long one the batch takes a part.
        let mut items = Vec::with_capacity(self.queue.len().min(ITEMS_MAX));
        let mut room = sender.batch_bytes as isize;
        let mut sent = CommitNumber(0);
        let newest = self.told_as_of(sender);
        while room > 0
            && self
                .queue
                .front()
                .is_some_and(|(number, _)| *number <= newest)
        {
            let (number, item) = self.queue.pop_front().expect("checked above");
            sent = number;
            let bytes = cost(&item);
            match item {
                Item::Delta(_) => self.delta_bytes -= bytes,
                _ => self.answer_bytes -= bytes,
            }
            room -= bytes as isize;
            if room <= 0 && canary::strikes(Canary::DropTail) {
                break;
            }
            items.push(item);
        }
        let waiting = self.queue.front().filter(|(number, _)| *number <= newest);
        let (last, through) = match waiting {
            // A group ends before the next commit. One that ended only when nothing waits might
            // never end for a station that is just fast enough, and grow there without bound.
            Some((next, _)) if sent < *next && self.stale.is_none() => {
                let promised = match canary::strikes(Canary::EarlyThrough) {
                    true => next.0,
                    false => next.0 - 1,
                };
                (true, CommitNumber(promised))
            }
            // It ends before a page, too, for somebody who asks for many of them all the time: what
            // a commit changed precedes the pages that were asked for after it.
            Some((_, Item::Page(_))) if self.stale.is_none() => (true, sent),
            // A later batch of the group may end it, and say less than what is logged now.
            Some(_) => (false, sent),
            None => match self.refresh(sender, heap, &mut items, room) {
                Some(through) => (true, through),
                // A later batch says as much or more.
                None => (false, self.told_as_of(sender)),
            },
        };
        if items.is_empty() && !last {
            return None;
        }
        self.open = !last;
        if last {
            assert!(self.announced <= through, "a stream never goes back");
            self.announced = through;
        }
        self.sequence = self.sequence.next();
        Some(Batch {
            term: sender.term,
            generation: sender.generation,
            sequence: self.sequence,
            through,
            durable: sender.durable,
            last,
            items,
        })
    }

    /// The newest commit that the group under way, or else the next one, may tell of: what follows
    /// frozen lines belongs to another.
    fn told_as_of(&self, sender: Sender) -> CommitNumber {
        let frozen_at = self.stale.as_ref().and_then(Stale::frozen_at);
        frozen_at.unwrap_or(sender.logged)
    }

    /// Adds stale lines, as far as there is room; answers through which commit the station is then
    /// told of everything, unless there is more to tell first.
    fn refresh(
        &mut self,
        sender: Sender,
        heap: Heap<'_>,
        items: &mut Vec<Item>,
        mut room: isize,
    ) -> Option<CommitNumber> {
        let Some(stale) = &mut self.stale else {
            return Some(sender.logged);
        };
        let begins = room > 0;
        let told = |lines: Lines| {
            let item = Item::Lines(Box::new(lines));
            room -= cost(&item) as isize;
            items.push(item);
            room > 0
        };
        let through = stale.tell(sender.logged, heap, sender.frozen_bytes_max, begins, told);
        if stale.is_empty() {
            self.stale = None;
        }
        through
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
            | Item::Token
            | Item::Joined(_)
            | Item::Left(_) => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leader::history::History;
    use crate::leader::pages::PageTable;
    use plurix_wire::WriteSetBuilder;
    use plurix_wire::message::Page;

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
            durable: CommitNumber(0),
            batch_bytes: 1 << 18,
            frozen_bytes_max: 0,
        }
    }

    /// A stream behind a heap after commits 1 to `commits`, all of which wrote page 1.
    struct Behind {
        stream: Stream,
        pages: PageTable,
        history: History,
        commits: u64,
    }

    impl Behind {
        fn new(commits: u64, backlog_max: usize) -> Self {
            let mut behind = Self {
                stream: Stream::new(CommitNumber(0), BTreeMap::new()),
                pages: PageTable::in_memory(1 << 20, 4),
                history: History::new(CommitNumber(1), 1 << 20),
                commits: 0,
            };
            (0..commits).for_each(|_| behind.commit(backlog_max));
            behind
        }

        fn commit(&mut self, backlog_max: usize) {
            self.commits += 1;
            let delta = delta(self.commits, 1, self.commits as u8);
            let mut undo = Vec::new();
            self.pages.apply(delta.number, &delta.writes, &mut undo);
            self.history.push(delta.number, &delta.writes, &undo);
            self.stream.push_delta(delta, backlog_max);
        }

        fn batch(&mut self, logged: u64) -> Option<Batch> {
            let heap = Heap {
                pages: &self.pages,
                history: &self.history,
                number: CommitNumber(self.commits),
            };
            self.stream.batch(sender(logged), heap)
        }
    }

    fn told(batch: &Batch) -> u8 {
        let [Item::Lines(lines)] = &batch.items[..] else {
            panic!("{:?}", batch.items)
        };
        lines.writes.sections().next().unwrap().payload()[0]
    }

    #[test]
    fn nothing_above_the_log_leaves() {
        let mut behind = Behind::new(3, usize::MAX);
        let batch = behind.batch(2).unwrap();
        assert_eq!(
            (batch.items.len(), batch.through, batch.last),
            (2, CommitNumber(2), true)
        );
        assert!(!behind.stream.has_news(sender(2)));
        assert_eq!(behind.batch(3).unwrap().items.len(), 1);
    }

    #[test]
    fn a_group_ends_although_more_waits() {
        let mut behind = Behind::new(3, usize::MAX);
        for number in 1..=3 {
            behind.commit(usize::MAX);
            let heap = Heap {
                pages: &behind.pages,
                history: &behind.history,
                number: CommitNumber(behind.commits),
            };
            let small = Sender {
                batch_bytes: 1,
                ..sender(behind.commits)
            };
            let batch = behind.stream.batch(small, heap).unwrap();
            assert_eq!((batch.items.len(), batch.last), (1, true));
            assert_eq!(batch.through, CommitNumber(number));
            assert!(behind.stream.has_news(small));
        }
    }

    #[test]
    fn what_belongs_to_one_commit_is_one_group() {
        let mut behind = Behind::new(1, usize::MAX);
        let latest = |behind: &mut Behind| behind.stream.push(CommitNumber(1), Item::Latest);
        latest(&mut behind);
        latest(&mut behind);
        behind.commit(usize::MAX);
        let mut told = Vec::new();
        for _ in 0..4 {
            let heap = Heap {
                pages: &behind.pages,
                history: &behind.history,
                number: CommitNumber(2),
            };
            let small = Sender {
                batch_bytes: 1,
                ..sender(2)
            };
            let batch = behind.stream.batch(small, heap).unwrap();
            told.push((batch.through.0, batch.last));
        }
        assert_eq!(told, [(1, false), (1, false), (1, true), (2, true)]);
    }

    #[test]
    fn a_group_ends_before_a_page() {
        let mut behind = Behind::new(1, usize::MAX);
        for page in 2..4 {
            let page = Item::Page(Box::new(Page {
                page: PageNumber(page),
                base: CommitNumber(1),
                held_from: CommitNumber(1),
                content: Content::Zero,
                since: Vec::new(),
            }));
            behind.stream.push(CommitNumber(1), page);
        }
        behind.stream.push(CommitNumber(1), Item::Latest);
        let small = Sender {
            batch_bytes: 1,
            ..sender(1)
        };
        let mut told = Vec::new();
        for _ in 0..4 {
            let heap = Heap {
                pages: &behind.pages,
                history: &behind.history,
                number: CommitNumber(1),
            };
            let batch = behind.stream.batch(small, heap).unwrap();
            told.push((batch.through.0, batch.last));
        }
        // What is not a page is part of the group that ends behind it.
        assert_eq!(told, [(1, true), (1, true), (1, false), (1, true)]);
    }

    #[test]
    fn a_long_backlog_collapses_to_the_newest_bytes() {
        let mut behind = Behind::new(100, 1000);
        assert!(behind.stream.backlog_bytes() < 1000);
        let batch = behind.batch(100).unwrap();
        assert_eq!((told(&batch), batch.last), (100, true));
        assert!(behind.batch(100).unwrap().items.is_empty());
    }

    #[test]
    fn a_page_that_is_always_being_written_does_not_hold_up_the_stream() {
        let mut behind = Behind::new(100, 1000);
        for logged in 99..120 {
            let batch = behind.batch(logged).unwrap();
            assert_eq!((told(&batch), batch.last), (logged as u8, true));
            assert_eq!(batch.through, CommitNumber(logged));
            assert!(
                !behind.stream.has_news(sender(logged)),
                "until more is logged"
            );
            behind.commit(1000);
        }
    }

    #[test]
    fn a_forgotten_page_is_not_refreshed() {
        let mut behind = Behind::new(100, 1000);
        behind.stream.forget(PageNumber(1));
        assert!(behind.batch(100).unwrap().items.is_empty());
    }
}
