//! What a station must be able to do with its pages.

use plurix_wire::message::PageRun;
use plurix_wire::{CommitSequence, PageBytes, PageNumber, Section, WriteSet};

/// Memory into which missing pages can be put while a transaction runs.
pub trait Install {
    /// Makes an absent page present with these bytes.
    fn install(&self, page: PageNumber, bytes: &PageBytes);
    /// Makes an absent page present, all zero.
    fn install_zero(&self, page: PageNumber);
}

/// Memory between transactions.
pub trait Pages: Install {
    /// Writes all runs of the section into a present page.
    fn apply(&mut self, section: &Section<'_>);
    /// Makes a present page absent.
    fn evict(&mut self, page: PageNumber);
    /// Makes the pages of a run absent, all of which may be present.
    fn evict_run(&mut self, run: PageRun) {
        run.pages().for_each(|page| self.evict(page));
    }
    /// At most `most` present pages that the station can best do without; none if nobody keeps a
    /// record of what is used.
    fn unused(&mut self, most: usize) -> Vec<PageNumber> {
        let _ = most;
        Vec::new()
    }
    /// The transaction's bytes stay.
    fn finish(&mut self);
    /// The transaction's bytes are replaced by those before it.
    fn rollback(&mut self);
    /// The transaction's bytes stay, as those of a request in flight; `writes` are all of them. What
    /// is applied from now on goes beneath.
    /// Those who never have requests in flight need not have this, nor the two below.
    fn pend(&mut self, sequence: CommitSequence, writes: &WriteSet) {
        unreachable!("request {sequence} with {writes:?} is in flight");
    }
    /// One section of the oldest request in flight is settled: its bytes belong to what lies beneath,
    /// or to nothing at all if they are not to be `put` there.
    fn keep(&mut self, sequence: CommitSequence, section: &Section<'_>, put: bool) {
        unreachable!("request {sequence} with {section:?}, {put}, is in flight");
    }
    /// The bytes of all requests in flight are replaced by what lies beneath.
    fn take_back(&mut self) {
        unreachable!("something is in flight");
    }
}
