//! The station's memory as the protocol sees it.

use plurix_memory::HeapMemory;
use plurix_protocol::station::{Install, Pages};
use plurix_wire::{PageBytes, PageNumber, Section};

/// The pages of one station.
#[derive(Debug)]
pub(crate) struct LocalPages(pub(crate) HeapMemory);

impl Install for LocalPages {
    fn install(&self, page: PageNumber, bytes: &PageBytes) {
        self.0.install(page, bytes);
    }

    fn install_zero(&self, page: PageNumber) {
        self.0.install_zero(page);
    }
}

impl Pages for LocalPages {
    fn apply(&mut self, section: &Section<'_>) {
        self.0.apply(section);
    }

    fn evict(&mut self, page: PageNumber) {
        self.0.evict(page);
    }

    fn finish(&mut self) {
        self.0.finish();
    }

    fn rollback(&mut self) {
        self.0.rollback();
    }
}
