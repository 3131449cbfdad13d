//! How the checks of state machines read decisions out of the fuzzer's bytes. Where the bytes end,
//! every decision is the first choice, so that a shorter input is a simpler history.

use arbitrary::Unstructured;
use plurix_wire::{PAGE_BYTES, PageNumber, WriteSet, WriteSetBuilder};

/// The bytes that are left.
pub(crate) struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Unstructured::new(bytes))
    }

    /// Whether no byte is left.
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end - 1).unwrap_or_default()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// True once in `times`, and never where the bytes have ended.
    pub(crate) fn rarely(&mut self, times: u8) -> bool {
        self.byte() % times == times - 1
    }

    /// A number near `truth`, mostly; sometimes any.
    pub(crate) fn near(&mut self, truth: u64) -> u64 {
        match self.byte() % 16 {
            0..=9 => truth,
            10 => truth.saturating_add(1),
            11 => truth.saturating_sub(1),
            12 => truth.saturating_sub(u64::from(self.byte())),
            13 => 0,
            14 => u64::MAX,
            _ => self.word(),
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        (!of.is_empty()).then(|| of[self.below(of.len())])
    }

    /// A well-formed write set in pages below `pages`.
    pub(crate) fn writes(&mut self, pages: u32) -> WriteSet {
        let mut builder = WriteSetBuilder::new();
        let mut page = self.below(pages as usize) as u32;
        for _ in 0..=self.below(3) {
            let mut at = self.below(PAGE_BYTES);
            for _ in 0..=self.below(2) {
                let length = [1, 8, 64, 200][self.below(4)].min(PAGE_BYTES - at);
                builder.push(PageNumber(page), at, &vec![self.byte(); length]);
                at += length + self.below(100);
                if at >= PAGE_BYTES {
                    break;
                }
            }
            page += 1 + self.below(2) as u32;
            if page >= pages {
                break;
            }
        }
        builder.finish()
    }
}
