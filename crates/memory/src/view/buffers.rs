//! Buffers for copies of many pages, which are used again: memory that is new costs a page fault and zeros
//! for each page, which takes longer than to copy one.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::{Bytes, BytesMut};
use plurix_wire::PAGE_BYTES;

use super::{PageRun, View};

/// Pages of a buffer: as many as are opened to stores at once, and collected for a recovery line.
const BUFFER_PAGES: usize = 64;
/// Copies of fewer pages are memory of their own.
const POOLED_PAGES_MIN: usize = 16;
/// Buffers that are kept while nobody has them: 64 MiB.
const KEPT_MAX: usize = 256;

/// The buffers that nobody has.
#[derive(Default)]
pub(super) struct Buffers(Arc<Pool>);

type Pool = Mutex<Vec<Vec<u8>>>;

impl Buffers {
    /// A buffer of which the first `length` bytes count; they are what they were.
    fn take(&self, length: usize) -> Buffer {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer {
            bytes: known.unwrap_or_else(|| vec![0; BUFFER_PAGES * PAGE_BYTES]),
            length,
            pool: Arc::downgrade(&self.0),
        }
    }
}

/// Returns to its pool when it is dropped.
struct Buffer {
    bytes: Vec<u8>,
    length: usize,
    pool: Weak<Pool>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < KEPT_MAX {
            pool.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl View {
    /// Copies a run of pages, as [`copy_out`](Self::copy_out) does each.
    ///
    /// # Panics
    /// If the run leaves the view.
    #[must_use]
    pub fn copy_run(&self, run: PageRun) -> Bytes {
        let count = run.count as usize;
        if (POOLED_PAGES_MIN..=BUFFER_PAGES).contains(&count) {
            let mut buffer = self.buffers.take(count * PAGE_BYTES);
            self.copy_into(run, &mut buffer.bytes);
            return Bytes::from_owner(buffer);
        }
        let mut bytes = BytesMut::zeroed(count * PAGE_BYTES);
        self.copy_into(run, &mut bytes);
        bytes.freeze()
    }

    fn copy_into(&self, run: PageRun, bytes: &mut [u8]) {
        let (pages, _) = bytes.as_chunks_mut();
        for (page, bytes) in run.pages().zip(pages) {
            self.copy_out(page, bytes);
        }
    }
}
