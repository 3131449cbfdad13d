//! Brings a page near the processor while its bytes are on their way: to find it takes longer than to
//! copy them there.

use std::hint::black_box;
use std::sync::atomic::Ordering;

use plurix_wire::{LINE_BYTES, PageNumber};

use super::{Mechanism, View, start_of};

impl View {
    /// Sees to it that [`fill`](Self::fill) is quick for this page: for whoever waits for its bytes and
    /// has nothing else to do. No byte changes.
    ///
    /// # Panics
    /// If the page lies beyond the view.
    pub fn expect(&self, page: PageNumber) {
        // An emulated view lends references to the same memory. And a page that has none yet shall get its
        // bytes with it.
        if self.mechanism() == Mechanism::Emulated || !self.filled.has(page) {
            return;
        }
        let words = self.inner.memory.page(start_of(page));
        let lines = words.iter().step_by(LINE_BYTES / size_of::<u64>());
        let loaded = lines.fold(0, |sum, word| sum ^ word.load(Ordering::Relaxed));
        black_box(loaded);
    }
}
