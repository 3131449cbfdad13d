//! The heap as the protocol asks for it: `plurix-protocol` says what a station must be able to do
//! with pages, and everybody who drives a station does it with this heap.

use plurix_protocol::station::{Install, Pages};
use plurix_wire::{PageBytes, PageNumber, Section};

use crate::HeapMemory;

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

    fn finish(&mut self) {
        self.finish();
    }

    fn rollback(&mut self) {
        self.rollback();
    }
}
