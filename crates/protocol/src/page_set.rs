//! A set of pages as bits, ordered, that costs little to be asked at each commit.

use plurix_wire::PageNumber;

const CHUNK_PAGES: usize = 512;
const WORDS: usize = CHUNK_PAGES / 64;

/// Pages, found in two steps; chunks exist where there is one.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct PageSet {
    chunks: Vec<Option<Box<[u64; WORDS]>>>,
    len: u64,
}

impl PageSet {
    /// How many pages there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains(&self, page: PageNumber) -> bool {
        let (chunk, word, bit) = position(page);
        let chunk = self.chunks.get(chunk).and_then(Option::as_ref);
        chunk.is_some_and(|words| words[word] & bit != 0)
    }

    /// Adds `page`; answers whether it was not there.
    pub(crate) fn insert(&mut self, page: PageNumber) -> bool {
        let (chunk, word, bit) = position(page);
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let words = self.chunks[chunk].get_or_insert_with(|| Box::new([0; WORDS]));
        let is_new = words[word] & bit == 0;
        words[word] |= bit;
        self.len += u64::from(is_new);
        is_new
    }

    /// Takes `page` out; answers whether it was there.
    pub(crate) fn remove(&mut self, page: PageNumber) -> bool {
        let (chunk, word, bit) = position(page);
        let Some(words) = self.chunks.get_mut(chunk).and_then(Option::as_mut) else {
            return false;
        };
        let was_there = words[word] & bit != 0;
        words[word] &= !bit;
        self.len -= u64::from(was_there);
        was_there
    }

    /// Adds all pages of `other`.
    pub(crate) fn extend(&mut self, other: &Self) {
        other.iter().for_each(|page| {
            self.insert(page);
        });
    }

    /// The pages, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PageNumber> {
        self.from(PageNumber(0))
    }

    /// The pages from `first` on, ascending.
    pub(crate) fn from(&self, first: PageNumber) -> impl Iterator<Item = PageNumber> {
        let (chunk, word, bit) = position(first);
        let skipped = chunk * WORDS + word;
        let words = self.chunks.iter().enumerate().skip(chunk);
        let words = words.flat_map(|(at, chunk)| {
            let words = chunk.iter().flat_map(|words| words.iter()).enumerate();
            words.map(move |(index, word)| (at * WORDS + index, *word))
        });
        words
            .skip_while(move |(at, _)| *at < skipped)
            .flat_map(move |(at, word)| {
                let before = if at == skipped { bit - 1 } else { 0 };
                Bits(word & !before).map(move |index| PageNumber((at * 64 + index) as u32))
            })
    }
}

impl FromIterator<PageNumber> for PageSet {
    fn from_iter<I: IntoIterator<Item = PageNumber>>(pages: I) -> Self {
        let mut set = Self::default();
        pages.into_iter().for_each(|page| {
            set.insert(page);
        });
        set
    }
}

/// The bits of a word that are set, ascending.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

fn position(page: PageNumber) -> (usize, usize, u64) {
    let page = page.0 as usize;
    let within = page % CHUNK_PAGES;
    (page / CHUNK_PAGES, within / 64, 1 << (within % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(
            steps in prop::collection::vec((any::<bool>(), 0u32..3000), 0..200),
            first in 0u32..3000,
        ) {
            let (mut set, mut model) = (PageSet::default(), BTreeSet::new());
            for (insert, page) in steps {
                if insert {
                    prop_assert_eq!(set.insert(PageNumber(page)), model.insert(page));
                } else {
                    prop_assert_eq!(set.remove(PageNumber(page)), model.remove(&page));
                }
                prop_assert_eq!(set.len(), model.len() as u64);
                prop_assert_eq!(set.contains(PageNumber(page)), model.contains(&page));
            }
            prop_assert!(set.iter().map(|page| page.0).eq(model.iter().copied()));
            let rest = set.from(PageNumber(first)).map(|page| page.0);
            prop_assert!(rest.eq(model.range(first..).copied()));
        }
    }
}
