//! What the protocol of weak pages asks of a station's memory.

use bytes::{Bytes, BytesMut};
use plurix_wire::diff::{DiffsBuilder, PageDiff};
use plurix_wire::message::PageRun;
use plurix_wire::{PAGE_BYTES, PageBytes, PageNumber};

/// What the program may do with a page without the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Access {
    /// Nothing.
    #[default]
    None,
    /// Load.
    Read,
    /// Load and store.
    Write,
}

/// A station's memory of weak pages. The program may load and store all the time, as far as each
/// page's [`Access`] lets it; what is done here is done beneath it.
pub trait View {
    /// Changes what the program may do with the pages of a run, all of which were
    /// [filled](Self::fill).
    fn set_access(&mut self, run: PageRun, access: Access);

    /// Sets all bytes of a page with [`Access::None`], to zero if there are none.
    fn fill(&mut self, page: PageNumber, bytes: Option<&PageBytes>);

    /// Fills pages with [`Access::None`] and opens them, which memory may do at once. `bytes` are those of
    /// all pages, one after the other; without any they are zero.
    fn bring(&mut self, run: PageRun, bytes: &[u8], access: Access) {
        let (pages, _) = bytes.as_chunks();
        let bytes = pages.iter().map(Some).chain(std::iter::repeat(None));
        for (page, bytes) in run.pages().zip(bytes) {
            self.fill(page, bytes);
        }
        self.set_access(run, access);
    }

    /// Copies a page. Of bytes that the program is storing, either value may be found.
    fn copy_out(&self, page: PageNumber, into: &mut PageBytes);

    /// Copies all pages of a run, as [`copy_out`](Self::copy_out) does.
    fn copy_run(&self, run: PageRun) -> Bytes {
        let mut bytes = BytesMut::with_capacity(run.count as usize * PAGE_BYTES);
        for page in run.pages() {
            let begin = bytes.len();
            // Page by page: to clear all of it first would take it through the cache twice.
            bytes.resize(begin + PAGE_BYTES, 0);
            if let Some(into) = bytes[begin..].first_chunk_mut() {
                self.copy_out(page, into);
            }
        }
        bytes.freeze()
    }

    /// Keeps the bytes of a page that the program cannot store to.
    fn keep_twin(&mut self, page: PageNumber);

    /// Appends what has changed since [`keep_twin`](Self::keep_twin) in a page that the program
    /// cannot store to, and forgets the twin; answers whether anything has.
    fn take_diff(&mut self, page: PageNumber, into: &mut DiffsBuilder) -> bool;

    /// Stores exactly the changed bytes of a page, whatever the program may do with it.
    fn apply(&mut self, diff: &PageDiff<'_>);
}
