//! What differs between two checkpoints.

use std::sync::Arc;

use plurix_wire::{CheckpointId, LINE_BYTES, LineMask, PAGE_BYTES, PageBytes, PageNumber};

use super::{Inspection, Progress};
use crate::disk::Disk;
use crate::error::InspectError;

/// Pages that are compared before somebody is told.
const PAGES_AT_ONCE: u64 = 256;

/// What differs between two checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Pages that one of them has, or both.
    pub pages: u64,
    /// Those that differ, ascending.
    pub changed: Vec<PageDifference>,
}

/// A page that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageDifference {
    /// The page.
    pub page: PageNumber,
    /// The lines that differ.
    pub lines: LineMask,
    /// Bytes that differ.
    pub bytes: u32,
}

impl<D: Disk> Inspection<D> {
    /// Compares two checkpoints, byte for byte. A page that a checkpoint does not have is all zero.
    ///
    /// # Errors
    /// [`InspectError`] if one of them is not there or cannot be read.
    pub fn diff(
        &self,
        a: CheckpointId,
        b: CheckpointId,
        progress: Progress<'_>,
    ) -> Result<Difference, InspectError> {
        let a = self.whole(self.checkpoint(Some(a))?)?;
        let b = self.whole(self.checkpoint(Some(b))?)?;
        let mut pages: Vec<PageNumber> = a.locations.pages().chain(b.locations.pages()).collect();
        pages.sort_unstable();
        pages.dedup();
        let total = pages.len() as u64;
        let mut changed = Vec::new();
        for (page, done) in pages.into_iter().zip(1..) {
            let place = |entry: Option<(CheckpointId, crate::image::format::Entry)>| {
                entry.map(|(image, entry)| (image, entry.at))
            };
            let is_same = place(a.locations.get(page)) == place(b.locations.get(page));
            if !is_same && let Some(found) = compare(page, a.page(page)?, b.page(page)?) {
                changed.push(found);
            }
            if done % PAGES_AT_ONCE == 0 || done == total {
                progress(done, total);
            }
        }
        Ok(Difference {
            pages: total,
            changed,
        })
    }
}

fn compare(
    page: PageNumber,
    a: Option<Arc<PageBytes>>,
    b: Option<Arc<PageBytes>>,
) -> Option<PageDifference> {
    let zero = || Arc::new([0; PAGE_BYTES]);
    let (a, b) = (a.unwrap_or_else(zero), b.unwrap_or_else(zero));
    let (mut lines, mut bytes) = (0, 0);
    for (at, (a, b)) in a.iter().zip(b.iter()).enumerate() {
        if a != b {
            lines |= 1 << (at / LINE_BYTES);
            bytes += 1;
        }
    }
    (bytes > 0).then_some(PageDifference {
        page,
        lines: LineMask(lines),
        bytes,
    })
}
