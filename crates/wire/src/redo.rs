//! What a log writes to pages that are not in memory, kept until each of them is.
//!
//! Whoever reads a log then waits neither for the pages nor for memory: it only appends to an arena, and
//! a page is brought up to date, all at once, when it is used or written. A page with very many writes,
//! or one that comes when the arena is full, is to be brought up to date before more is kept.
//!
//! ```text
//!   chain.newest ──▶ before | offset | length | bytes ──before──▶ … ──before──▶ 0
//!                    u32      u16      u16
//! ```
//!
//! Source: Graefe, Guy and Sauer, "Instant recovery with write-ahead logging", 2014: redo on demand, page
//! by page, by means of the chain of each page's log records.

use crate::{PageBytes, Section};

/// A page has no more writes than these, so that nobody waits long for it.
const WRITES_MAX: u16 = 1024;
const HEADER_BYTES: usize = 8;

/// The writes that a page still needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Chain {
    /// One more than where the newest stands in the arena; zero if there is none.
    newest: u32,
    writes: u16,
}

impl Chain {
    /// Whether the page needs none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.newest == 0
    }
}

/// The writes of all chains.
#[derive(Debug, Clone, Hash)]
pub struct Redo {
    arena: Vec<u8>,
    bytes_max: usize,
    /// Chains that are not empty.
    chains: u64,
}

impl Redo {
    /// Keeps at most so many bytes, headers included.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            arena: Vec::new(),
            bytes_max: bytes_max.min(u32::MAX as usize - 1),
            chains: 0,
        }
    }

    /// Adds what a section writes to the page of `chain`; answers whether it did. If not, the page
    /// must be brought up to date now.
    pub fn push(&mut self, chain: &mut Chain, section: &Section<'_>) -> bool {
        let runs = section.runs();
        let (count, bytes) = runs.fold((0, 0), |(count, bytes), run| {
            (count + 1, bytes + HEADER_BYTES + run.bytes.len())
        });
        let writes = usize::from(chain.writes) + count;
        if writes > usize::from(WRITES_MAX) || self.arena.len() + bytes > self.bytes_max {
            return false;
        }
        self.chains += u64::from(chain.is_empty() && count > 0);
        for run in section.runs() {
            let at = self.arena.len();
            self.arena.extend_from_slice(&chain.newest.to_le_bytes());
            self.arena.extend_from_slice(&run.offset.to_le_bytes());
            let length = run.bytes.len() as u16;
            self.arena.extend_from_slice(&length.to_le_bytes());
            self.arena.extend_from_slice(run.bytes);
            chain.newest = at as u32 + 1;
        }
        chain.writes = writes as u16;
        true
    }

    /// Writes what `chain` holds to `page`, the oldest first.
    pub fn apply(&self, chain: Chain, page: &mut PageBytes) {
        let mut places = Vec::with_capacity(usize::from(chain.writes));
        let mut next = chain.newest;
        while next > 0 {
            let at = next as usize - 1;
            places.push(at);
            next = u32::from_le_bytes(self.header(at));
        }
        for at in places.into_iter().rev() {
            let offset = usize::from(u16::from_le_bytes(self.header(at + 4)));
            let length = usize::from(u16::from_le_bytes(self.header(at + 6)));
            let bytes = &self.arena[at + HEADER_BYTES..][..length];
            page[offset..offset + length].copy_from_slice(bytes);
        }
    }

    fn header<const N: usize>(&self, at: usize) -> [u8; N] {
        self.arena[at..at + N].try_into().expect("of this length")
    }

    /// Empties `chain`: its page was brought up to date. With the last one, the arena goes.
    pub fn forget(&mut self, chain: &mut Chain) {
        if std::mem::take(chain).is_empty() {
            return;
        }
        self.chains -= 1;
        if self.chains == 0 {
            self.arena = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{PAGE_BYTES, PageNumber, WriteSet, WriteSetBuilder};

    fn write(offset: usize, bytes: &[u8]) -> WriteSet {
        let mut writes = WriteSetBuilder::new();
        writes.push(PageNumber(0), offset, bytes);
        writes.finish()
    }

    #[test]
    fn a_chain_is_bounded() {
        let mut redo = Redo::new(usize::MAX);
        let mut chain = Chain::default();
        let writes = write(100, b"7");
        let section = writes.sections().next().expect("one page was written");
        let kept = (0..2 * WRITES_MAX).filter(|_| redo.push(&mut chain, &section));
        assert_eq!(kept.count(), usize::from(WRITES_MAX));
    }

    proptest! {
        #[test]
        fn a_page_is_as_if_each_write_came_at_once(
            writes in prop::collection::vec(
                (0..3_usize, 0..PAGE_BYTES - 40, prop::collection::vec(any::<u8>(), 1..40)),
                0..60,
            ),
            room in prop_oneof![0..2000_usize, Just(1 << 20)],
        ) {
            let mut redo = Redo::new(room);
            let mut chains = [Chain::default(); 3];
            let (mut kept, mut model) = ([[0; PAGE_BYTES]; 3], [[0; PAGE_BYTES]; 3]);
            for (page, offset, bytes) in writes {
                model[page][offset..offset + bytes.len()].copy_from_slice(&bytes);
                let writes = write(offset, &bytes);
                let section = writes.sections().next().expect("one page was written");
                if !redo.push(&mut chains[page], &section) {
                    redo.apply(chains[page], &mut kept[page]);
                    redo.forget(&mut chains[page]);
                    kept[page][offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
            }
            for (chain, page) in chains.iter_mut().zip(&mut kept) {
                redo.apply(*chain, page);
                redo.forget(chain);
            }
            prop_assert!(kept == model);
            prop_assert!(redo.arena.is_empty());
        }
    }
}
