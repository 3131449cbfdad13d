//! Many changes merged into one: for each page the newest value of every byte that was changed.

use std::collections::BTreeMap;

use plurix_wire::{PAGE_BYTES, PageBytes, PageNumber, WriteSet, WriteSetBuilder};

const WORD_BITS: usize = 64;

/// The merged changes; bounded by the pages that they touch.
#[derive(Debug, Default)]
pub(super) struct Overlay(BTreeMap<PageNumber, Box<Layer>>);

/// The changed bytes of one page, and which they are.
#[derive(Debug)]
struct Layer {
    bytes: PageBytes,
    changed: [u64; PAGE_BYTES / WORD_BITS],
}

impl Overlay {
    /// Lays `writes` over what is there.
    pub(super) fn add(&mut self, writes: &WriteSet) {
        for section in writes.sections() {
            let layer = self.0.entry(section.page()).or_insert_with(|| {
                Box::new(Layer {
                    bytes: [0; PAGE_BYTES],
                    changed: [0; PAGE_BYTES / WORD_BITS],
                })
            });
            for run in section.runs() {
                let at = usize::from(run.offset);
                layer.bytes[at..at + run.bytes.len()].copy_from_slice(run.bytes);
                for byte in at..at + run.bytes.len() {
                    layer.changed[byte / WORD_BITS] |= 1 << (byte % WORD_BITS);
                }
            }
        }
    }

    /// Forgets what was changed in `page`.
    pub(super) fn forget(&mut self, page: PageNumber) {
        self.0.remove(&page);
    }

    /// The merged changes as one write set.
    pub(super) fn finish(self) -> WriteSet {
        let mut builder = WriteSetBuilder::new();
        for (page, layer) in self.0 {
            let mut at = 0;
            while let Some(start) = layer.next(at, true) {
                let end = layer.next(start, false).unwrap_or(PAGE_BYTES);
                builder.push(page, start, &layer.bytes[start..end]);
                at = end;
            }
        }
        builder.finish()
    }
}

impl Layer {
    /// The first byte from `at` on that is changed, or not, as `changed` says.
    fn next(&self, at: usize, changed: bool) -> Option<usize> {
        let mut word = at / WORD_BITS;
        let mut mask = u64::MAX.checked_shl((at % WORD_BITS) as u32)?;
        while word < self.changed.len() {
            let bits = if changed {
                self.changed[word]
            } else {
                !self.changed[word]
            };
            if bits & mask != 0 {
                return Some(word * WORD_BITS + (bits & mask).trailing_zeros() as usize);
            }
            (word, mask) = (word + 1, u64::MAX);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lay(page: &mut [u8], writes: &WriteSet) {
        for run in writes.sections().flat_map(|section| section.runs()) {
            page[usize::from(run.offset)..][..run.bytes.len()].copy_from_slice(run.bytes);
        }
    }

    proptest! {
        #[test]
        fn the_merged_change_does_what_the_changes_did(
            writes in prop::collection::vec((0usize..PAGE_BYTES, 1usize..300, 1u8..255), 0..20),
        ) {
            let mut overlay = Overlay::default();
            let (mut one_by_one, mut merged) = (vec![0; PAGE_BYTES], vec![0; PAGE_BYTES]);
            for (at, length, value) in writes {
                let length = length.min(PAGE_BYTES - at);
                let mut builder = WriteSetBuilder::new();
                builder.push(PageNumber(4), at, &vec![value; length]);
                let set = builder.finish();
                lay(&mut one_by_one, &set);
                overlay.add(&set);
            }
            let set = overlay.finish();
            lay(&mut merged, &set);
            prop_assert_eq!(&one_by_one, &merged);
            let changed: usize = set.sections().map(|section| section.payload().len()).sum();
            prop_assert_eq!(changed, merged.iter().filter(|byte| **byte != 0).count());
        }
    }
}
