//! The lines that a collapsed backlog must tell of, and how they are told: in passes.
//!
//! ```text
//!   mark --> later --(a pass begins)--> now --(told, as of logged)--> gone
//!              ^                         |            |
//!              +---- written above logged meanwhile --+
//!                                        |
//!                        few enough: frozen, as of logged --(told)--> gone, the group ends
//! ```
//!
//! Lines that are few enough are copied when the pass begins. However long they take to leave, and
//! whatever is written meanwhile, they are of one commit, and the group ends with the last of them: a
//! station whose link is slower than the others write still goes from snapshot to snapshot.
//!
//! More lines than that are told in passes, each line as of what is logged when its turn comes: a
//! pass that ends with what was logged when it began has told everything up to there. Else what
//! changed under it takes another pass, of fewer lines if the link is faster than the writers, until
//! they are few enough.

use std::collections::BTreeMap;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{Content, Delta, Lines};
use plurix_wire::{CommitNumber, LINE_BYTES, LineMask, PAGE_BYTES, PageNumber, WriteSetBuilder};

use super::history::History;
use super::pages::PageTable;

type Masks = BTreeMap<PageNumber, LineMask>;

/// Lines that changed since the station was told.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Stale {
    /// To be told in this pass.
    now: Masks,
    /// To be told in the next one.
    later: Masks,
    pass: Option<Pass>,
    /// The station knows everything before this commit.
    since: CommitNumber,
    /// No pass begins before more than this is logged.
    tried: CommitNumber,
}

/// How the lines of this pass are told.
#[derive(Debug, Clone, Hash)]
enum Pass {
    /// Those of `now`, as of what is logged when their turn comes.
    Moving {
        /// What was logged when the pass began.
        began: CommitNumber,
    },
    Frozen(Frozen),
}

/// Lines as of one commit, copied.
#[derive(Debug, Clone, Hash)]
struct Frozen {
    at: CommitNumber,
    pages: BTreeMap<PageNumber, Lines>,
    bytes: usize,
}

/// The heap that lines are taken from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heap<'a> {
    pub(crate) pages: &'a PageTable,
    pub(crate) history: &'a History,
    /// The newest commit.
    pub(crate) number: CommitNumber,
}

impl Stale {
    /// The station knows everything before commit `since`; `lines` have changed from there on.
    pub(crate) fn new(since: CommitNumber, lines: Masks) -> Self {
        Self {
            now: Masks::new(),
            later: lines,
            pass: None,
            since,
            tried: CommitNumber(0),
        }
    }

    /// A commit changed these lines.
    pub(crate) fn mark(&mut self, delta: &Delta) {
        for section in delta.writes.sections() {
            let mut lines = section.lines().0;
            if canary::strikes(Canary::LoseCollapsedLine) {
                lines &= lines - 1;
            }
            self.later.entry(section.page()).or_default().0 |= lines;
        }
    }

    /// Nothing need be said of `page`.
    pub(crate) fn forget(&mut self, page: PageNumber) {
        self.now.remove(&page);
        self.later.remove(&page);
        if let Some(Pass::Frozen(frozen)) = &mut self.pass {
            frozen.remove(page);
        }
    }

    /// Whether nothing is to be told.
    pub(crate) fn is_empty(&self) -> bool {
        self.pages() == 0
    }

    /// How many pages there is something to tell of; a page of several passes counts as several.
    fn pages(&self) -> usize {
        self.now.len() + self.later.len() + self.frozen().map_or(0, |frozen| frozen.pages.len())
    }

    /// What it takes, with `page_bytes` for each page.
    pub(crate) fn bytes(&self, page_bytes: usize) -> usize {
        self.pages() * page_bytes + self.frozen().map_or(0, |frozen| frozen.bytes)
    }

    /// The commit as of which everything is told until the group ends, once that is decided.
    pub(crate) fn frozen_at(&self) -> Option<CommitNumber> {
        self.frozen().map(|frozen| frozen.at)
    }

    fn frozen(&self) -> Option<&Frozen> {
        match &self.pass {
            Some(Pass::Frozen(frozen)) => Some(frozen),
            _ => None,
        }
    }

    /// Whether there is something to tell that is logged.
    pub(crate) fn has_news(&self, logged: CommitNumber) -> bool {
        self.pass.is_some() || (self.since <= logged && self.tried < logged)
    }

    /// Hands lines to `tell` as long as it answers that there is `room`. Answers, if the station is
    /// then told of everything up to a commit, which one that is: `logged`, or an earlier one.
    pub(crate) fn tell(
        &mut self,
        logged: CommitNumber,
        heap: Heap<'_>,
        frozen_bytes_max: usize,
        mut room: bool,
        mut tell: impl FnMut(Lines) -> bool,
    ) -> Option<CommitNumber> {
        while self.since <= logged {
            match &mut self.pass {
                None if self.tried >= logged => return None,
                None => self.begin_pass(logged, heap, frozen_bytes_max),
                Some(Pass::Moving { began }) => {
                    let began = *began;
                    if !self.move_on(logged, heap, &mut room, &mut tell) {
                        return None;
                    }
                    self.pass = None;
                    if self.tried < logged && began == logged {
                        self.since = logged.next();
                    }
                }
                Some(Pass::Frozen(frozen)) => {
                    while room && let Some(lines) = frozen.next() {
                        room = tell(lines);
                    }
                    if !frozen.pages.is_empty() {
                        return None;
                    }
                    let told = frozen.at;
                    self.pass = None;
                    self.since = told.next();
                    return Some(told);
                }
            }
        }
        Some(logged)
    }

    fn begin_pass(&mut self, logged: CommitNumber, heap: Heap<'_>, frozen_bytes_max: usize) {
        debug_assert!(self.now.is_empty());
        std::mem::swap(&mut self.now, &mut self.later);
        self.pass = Some(match self.freeze(logged, heap, frozen_bytes_max) {
            Some(frozen) => Pass::Frozen(frozen),
            None => Pass::Moving { began: logged },
        });
    }

    /// Copies the lines of this pass as of `at`, if they take at most `bytes_max` and the history
    /// reaches back to it.
    fn freeze(&mut self, at: CommitNumber, heap: Heap<'_>, bytes_max: usize) -> Option<Frozen> {
        let mut bytes = 0;
        for lines in self.now.values() {
            bytes += lines.count() * LINE_BYTES;
            if bytes > bytes_max {
                return None;
            }
        }
        let copy = |(page, lines): (&PageNumber, &LineMask)| {
            Some((*page, lines_as_of(heap, *page, *lines, at)?))
        };
        let pages = self.now.iter().map(copy).collect::<Option<_>>()?;
        for (page, lines) in std::mem::take(&mut self.now) {
            self.mark_newer(page, lines, at, heap);
        }
        Some(Frozen { at, pages, bytes })
    }

    /// Tells lines of a moving pass; answers whether it has told all.
    fn move_on(
        &mut self,
        logged: CommitNumber,
        heap: Heap<'_>,
        room: &mut bool,
        mut tell: impl FnMut(Lines) -> bool,
    ) -> bool {
        while let Some((page, lines)) = self.now.pop_first() {
            if !*room {
                self.now.insert(page, lines);
                return false;
            }
            if let Some(told) = lines_as_of(heap, page, lines, logged) {
                *room = tell(told);
                self.mark_newer(page, lines, logged, heap);
            } else {
                self.tried = logged;
                self.later.entry(page).or_default().0 |= lines.0;
            }
        }
        true
    }

    /// Of `lines`, which are told as of `told`, those written since are told once more.
    fn mark_newer(
        &mut self,
        page: PageNumber,
        lines: LineMask,
        told: CommitNumber,
        heap: Heap<'_>,
    ) {
        let newer = heap.pages.written_since(page, told).0 & lines.0;
        if newer != 0 {
            self.later.entry(page).or_default().0 |= newer;
        }
    }
}

impl Frozen {
    fn next(&mut self) -> Option<Lines> {
        let (_, lines) = self.pages.pop_first()?;
        self.bytes -= payload_bytes(&lines);
        Some(lines)
    }

    fn remove(&mut self, page: PageNumber) {
        if let Some(lines) = self.pages.remove(&page) {
            self.bytes -= payload_bytes(&lines);
        }
    }
}

fn payload_bytes(lines: &Lines) -> usize {
    let sections = lines.writes.sections();
    sections.map(|section| section.payload().len()).sum()
}

/// `lines` of `page` as of `logged`; `None` if the history no longer reaches back to it.
fn lines_as_of(
    heap: Heap<'_>,
    page: PageNumber,
    lines: LineMask,
    logged: CommitNumber,
) -> Option<Lines> {
    let newest = heap.pages.image(page);
    let content = if heap.pages.version(page) <= logged {
        None
    } else {
        let served = heap
            .history
            .page_as_of(heap.pages, page, logged, heap.number);
        if served.base > logged {
            return None;
        }
        Some(served.content)
    };
    let image: &[u8] = match &content {
        None => &newest.as_ref().expect("a stale page was written")[..],
        Some(Content::Zero) => &[0; PAGE_BYTES],
        Some(Content::Bytes(bytes)) => bytes,
    };
    let mut builder = WriteSetBuilder::new();
    for line in lines.lines() {
        let at = line * LINE_BYTES;
        builder.push(page, at, &image[at..at + LINE_BYTES]);
    }
    Some(Lines {
        number: logged,
        writes: builder.finish(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heap whose pages 1 to `pages` were all written by each commit.
    struct Busy {
        table: PageTable,
        history: History,
        commits: u64,
        pages: u32,
        stale: Stale,
        frozen_bytes_max: usize,
    }

    impl Busy {
        fn new(pages: u32, history_bytes_max: usize) -> Self {
            Self {
                table: PageTable::in_memory(1 << 20, 64),
                history: History::new(CommitNumber(1), history_bytes_max),
                commits: 0,
                pages,
                stale: Stale::new(CommitNumber(1), Masks::new()),
                frozen_bytes_max: 0,
            }
        }

        fn commit(&mut self) {
            self.commits += 1;
            let mut builder = WriteSetBuilder::new();
            (1..=self.pages)
                .for_each(|page| builder.push(PageNumber(page), 0, &[self.commits as u8]));
            let number = CommitNumber(self.commits);
            let delta = Delta {
                number,
                writes: builder.finish(),
            };
            let mut undo = Vec::new();
            self.table.apply(number, &delta.writes, &mut undo);
            self.history.push(number, &delta.writes, &undo);
            self.stale.mark(&delta);
        }

        /// The pages and values told by one batch of at most `most`, and whether that was all.
        fn tell(&mut self, logged: u64, most: usize) -> (Vec<(u32, u8)>, Option<u64>) {
            let heap = Heap {
                pages: &self.table,
                history: &self.history,
                number: CommitNumber(self.commits),
            };
            let mut told = Vec::new();
            let tell = |lines: Lines| {
                let section = lines.writes.sections().next().unwrap();
                told.push((section.page().0, section.payload()[0]));
                told.len() < most
            };
            let logged = CommitNumber(logged);
            let through = self
                .stale
                .tell(logged, heap, self.frozen_bytes_max, true, tell);
            (told, through.map(|number| number.0))
        }
    }

    #[test]
    fn a_group_of_small_batches_ends_although_every_page_is_written_meanwhile() {
        let mut busy = Busy::new(3, 1 << 20);
        (0..5).for_each(|_| busy.commit());
        assert_eq!(busy.tell(4, 2), (vec![(1, 4), (2, 4)], None));
        assert_eq!(busy.tell(4, 2), (vec![(3, 4)], Some(4)));
        assert!(
            !busy.stale.has_news(CommitNumber(4)),
            "commit 5 is not logged"
        );
        assert_eq!(busy.tell(5, 9), (vec![(1, 5), (2, 5), (3, 5)], Some(5)));
        assert!(busy.stale.is_empty());
    }

    #[test]
    fn what_is_logged_during_a_pass_takes_another_one() {
        let mut busy = Busy::new(2, 1 << 20);
        busy.commit();
        assert_eq!(busy.tell(1, 1), (vec![(1, 1)], None));
        busy.commit();
        assert_eq!(busy.tell(2, 9), (vec![(2, 2), (1, 2), (2, 2)], Some(2)));
    }

    #[test]
    fn what_the_history_has_forgotten_waits_for_the_log() {
        let mut busy = Busy::new(1, 0);
        (0..5).for_each(|_| busy.commit());
        assert_eq!(busy.tell(3, 9), (vec![], None));
        assert!(!busy.stale.has_news(CommitNumber(3)));
        assert!(busy.stale.has_news(CommitNumber(5)));
        assert_eq!(busy.tell(5, 9), (vec![(1, 5)], Some(5)));
    }
    #[test]
    fn lines_that_are_few_are_of_one_commit_however_long_they_take() {
        let mut busy = Busy::new(3, 0);
        busy.frozen_bytes_max = 3 * LINE_BYTES;
        busy.commit();
        assert_eq!(busy.tell(1, 1), (vec![(1, 1)], None));
        assert_eq!(busy.stale.bytes(0), 2 * LINE_BYTES);
        busy.commit();
        assert_eq!(busy.tell(2, 1), (vec![(2, 1)], None));
        busy.commit();
        assert_eq!(busy.tell(3, 1), (vec![(3, 1)], Some(1)));
        assert!(busy.stale.has_news(CommitNumber(3)));
        assert_eq!(busy.tell(3, 9), (vec![(1, 3), (2, 3), (3, 3)], Some(3)));
        assert!(busy.stale.is_empty());
    }

    #[test]
    fn a_page_that_is_forgotten_is_not_told_although_it_is_frozen() {
        let mut busy = Busy::new(3, 0);
        busy.frozen_bytes_max = usize::MAX;
        busy.commit();
        assert_eq!(busy.tell(1, 1), (vec![(1, 1)], None));
        busy.stale.forget(PageNumber(2));
        assert_eq!(busy.tell(1, 1), (vec![(3, 1)], Some(1)));
    }

    #[test]
    fn what_is_written_and_not_logged_when_lines_freeze_is_told_later() {
        let mut busy = Busy::new(1, 1 << 20);
        busy.frozen_bytes_max = usize::MAX;
        (0..2).for_each(|_| busy.commit());
        assert_eq!(busy.tell(1, 9), (vec![(1, 1)], Some(1)));
        assert_eq!(busy.tell(2, 9), (vec![(1, 2)], Some(2)));
    }
}
