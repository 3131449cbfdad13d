//! The heap and the view as the protocol asks for them: `plurix-protocol` says what a station must be
//! able to do with pages, and everybody who drives a station does it with these.

use bytes::Bytes;
use plurix_protocol::station::{Install, Pages};
use plurix_protocol::team;
use plurix_wire::diff::{DiffsBuilder, PageDiff};
use plurix_wire::message::PageRun;
use plurix_wire::{CommitSequence, PageBytes, PageNumber, Section, WriteSet};

use crate::{HeapMemory, View};

impl Install for HeapMemory {
    fn install(&self, page: PageNumber, bytes: &PageBytes) {
        self.install(page, bytes);
    }

    fn install_zero(&self, page: PageNumber) {
        self.install_zero(page);
    }
}

impl Pages for HeapMemory {
    fn apply(&mut self, section: &Section<'_>) {
        self.apply(section);
    }

    fn evict(&mut self, page: PageNumber) {
        self.evict(page);
    }

    fn evict_run(&mut self, run: PageRun) {
        self.evict_run(run);
    }

    fn unused(&mut self, most: usize) -> Vec<PageNumber> {
        self.unused(most)
    }

    fn finish(&mut self) {
        self.finish();
    }

    fn rollback(&mut self) {
        self.rollback();
    }

    fn pend(&mut self, sequence: CommitSequence, writes: &WriteSet) {
        self.pend(sequence, writes);
    }

    fn keep(&mut self, sequence: CommitSequence, section: &Section<'_>, put: bool) {
        self.keep(sequence, section, put);
    }

    fn take_back(&mut self) {
        self.take_back();
    }
}

impl team::View for View {
    fn set_access(&mut self, run: PageRun, access: team::Access) {
        if let Err(error) = self.set_access(run, access) {
            self.failure.get_or_insert(error);
        }
    }

    fn fill(&mut self, page: PageNumber, bytes: Option<&PageBytes>) {
        self.fill(page, bytes);
    }

    fn bring(&mut self, run: PageRun, bytes: &[u8], access: team::Access) {
        if let Err(error) = self.bring(run, bytes, access) {
            self.failure.get_or_insert(error);
        }
    }

    fn copy_out(&self, page: PageNumber, into: &mut PageBytes) {
        self.copy_out(page, into);
    }

    fn copy_run(&self, run: PageRun) -> Bytes {
        self.copy_run(run)
    }

    fn keep_twin(&mut self, page: PageNumber) {
        self.keep_twin(page);
    }

    fn take_diff(&mut self, page: PageNumber, into: &mut DiffsBuilder) -> bool {
        let before = into.encoded_bytes();
        self.diff(page, into);
        self.drop_twin(page);
        into.encoded_bytes() > before
    }

    fn apply(&mut self, diff: &PageDiff<'_>) {
        self.apply(diff);
    }
}
