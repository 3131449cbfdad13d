//! A station's pages, as the protocol sees them: the emulated heap of `plurix-memory`, which keeps
//! the read and write sets exactly as a real station does.

use plurix_memory::HeapMemory;
use plurix_protocol::station::{Install, Pages};
use plurix_wire::message::PageLines;
use plurix_wire::{PageBytes, PageNumber, Section};

/// The heap of one station process.
#[derive(Debug)]
pub(crate) struct Memory(pub(crate) HeapMemory);

impl Memory {
    pub(crate) fn new(heap_bytes: u64) -> Self {
        Self(HeapMemory::emulated(heap_bytes).expect("a small heap can be allocated"))
    }

    /// The lines that the running transaction read, as a commit names them.
    pub(crate) fn reads(&self) -> Vec<PageLines> {
        self.0.read_set()
    }
}

impl Install for Memory {
    fn install(&self, page: PageNumber, bytes: &PageBytes) {
        self.0.install(page, bytes);
    }

    fn install_zero(&self, page: PageNumber) {
        self.0.install_zero(page);
    }
}

impl Pages for Memory {
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
