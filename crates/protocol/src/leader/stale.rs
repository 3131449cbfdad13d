//! The lines that a collapsed backlog must tell of, and how they are told: in passes, each of which
//! tells every line as of what is logged when its turn comes.
//!
//! ```text
//!   mark --> later --(a pass begins)--> now --(told, as of logged)--> gone
//!              ^                                     |
//!              +-- written above logged meanwhile ---+
//! ```
//!
//! A pass that ends with what was logged when it began has told everything up to there. Else what
//! changed under it takes another pass. So a page that is written all the time does not hold up the
//! stream, and no page is told twice as of one commit.

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
    /// What was logged when this pass began.
    pass: Option<CommitNumber>,
    /// The station knows everything before this commit.
    since: CommitNumber,
    /// No pass begins before more than this is logged.
    tried: CommitNumber,
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
    }

    /// How many pages there is something to tell of; a page of both passes counts twice.
    pub(crate) fn pages(&self) -> usize {
        self.now.len() + self.later.len()
    }

    /// Whether there is something to tell that is logged.
    pub(crate) fn has_news(&self, logged: CommitNumber) -> bool {
        self.pass.is_some() || (self.since <= logged && self.tried < logged)
    }

    /// Hands lines as of `logged` to `tell` as long as it answers that there is room. Answers
    /// whether the station is then told of everything up to `logged`.
    pub(crate) fn tell(
        &mut self,
        logged: CommitNumber,
        heap: Heap<'_>,
        mut room: bool,
        mut tell: impl FnMut(Lines) -> bool,
    ) -> bool {
        while self.since <= logged {
            let began = match self.pass {
                Some(began) => began,
                None if self.tried >= logged => return false,
                None => self.begin_pass(logged),
            };
            while let Some((page, lines)) = self.now.pop_first() {
                if !room {
                    self.now.insert(page, lines);
                    return false;
                }
                let newer = match lines_as_of(heap, page, lines, logged) {
                    Some(told) => {
                        room = tell(told);
                        heap.pages.written_since(page, logged).0 & lines.0
                    }
                    None => {
                        self.tried = logged;
                        lines.0
                    }
                };
                if newer != 0 {
                    self.later.entry(page).or_default().0 |= newer;
                }
            }
            self.pass = None;
            if self.tried < logged && began == logged {
                self.since = logged.next();
            }
        }
        true
    }

    fn begin_pass(&mut self, logged: CommitNumber) -> CommitNumber {
        debug_assert!(self.now.is_empty());
        std::mem::swap(&mut self.now, &mut self.later);
        self.pass = Some(logged);
        logged
    }
}

/// `lines` of `page` as of `logged`; `None` if the history no longer reaches back to it.
fn lines_as_of(
    heap: Heap<'_>,
    page: PageNumber,
    lines: LineMask,
    logged: CommitNumber,
) -> Option<Lines> {
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
        None => &heap.pages.image(page).expect("a stale page was written")[..],
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
    }

    impl Busy {
        fn new(pages: u32, history_bytes_max: usize) -> Self {
            Self {
                table: PageTable::new(1 << 20, 64),
                history: History::new(CommitNumber(1), history_bytes_max),
                commits: 0,
                pages,
                stale: Stale::new(CommitNumber(1), Masks::new()),
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
        fn tell(&mut self, logged: u64, most: usize) -> (Vec<(u32, u8)>, bool) {
            let heap = Heap {
                pages: &self.table,
                history: &self.history,
                number: CommitNumber(self.commits),
            };
            let mut told = Vec::new();
            let complete = self.stale.tell(CommitNumber(logged), heap, true, |lines| {
                let section = lines.writes.sections().next().unwrap();
                told.push((section.page().0, section.payload()[0]));
                told.len() < most
            });
            (told, complete)
        }
    }

    #[test]
    fn a_group_of_small_batches_ends_although_every_page_is_written_meanwhile() {
        let mut busy = Busy::new(3, 1 << 20);
        (0..5).for_each(|_| busy.commit());
        assert_eq!(busy.tell(4, 2), (vec![(1, 4), (2, 4)], false));
        assert_eq!(busy.tell(4, 2), (vec![(3, 4)], true));
        assert!(
            !busy.stale.has_news(CommitNumber(4)),
            "commit 5 is not logged"
        );
        assert_eq!(busy.tell(5, 9), (vec![(1, 5), (2, 5), (3, 5)], true));
        assert_eq!(busy.stale.pages(), 0);
    }

    #[test]
    fn what_is_logged_during_a_pass_takes_another_one() {
        let mut busy = Busy::new(2, 1 << 20);
        busy.commit();
        assert_eq!(busy.tell(1, 1), (vec![(1, 1)], false));
        busy.commit();
        assert_eq!(busy.tell(2, 9), (vec![(2, 2), (1, 2), (2, 2)], true));
    }

    #[test]
    fn what_the_history_has_forgotten_waits_for_the_log() {
        let mut busy = Busy::new(1, 0);
        (0..5).for_each(|_| busy.commit());
        assert_eq!(busy.tell(3, 9), (vec![], false));
        assert!(!busy.stale.has_news(CommitNumber(3)));
        assert!(busy.stale.has_news(CommitNumber(5)));
        assert_eq!(busy.tell(5, 9), (vec![(1, 5)], true));
    }
}
