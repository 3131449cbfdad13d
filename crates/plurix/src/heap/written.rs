//! Which pages of a block may have been written. All others are still zero from the beginning of
//! the heap, or were zeroed while they were free; a program that wants zeros gets them for nothing.
//!
//! One range says it, so that a free block needs no more room in the page map than two of its
//! entries. Where blocks join, what lies between their ranges counts as written, too.

/// Pages `from..to`, counted from the first page of a block; `from <= to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Written {
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Written {
    pub(super) const NONE: Self = Self { from: 0, to: 0 };

    /// All pages of a block of `pages`.
    pub(super) fn all(pages: u32) -> Self {
        Self { from: 0, to: pages }
    }

    pub(super) fn pages(self) -> u32 {
        self.to - self.from
    }

    /// What the `pages` pages from `at` on have of it, counted from `at`.
    pub(super) fn cut(self, at: u32, pages: u32) -> Self {
        let from = self.from.saturating_sub(at);
        let to = self.to.saturating_sub(at).min(pages);
        Self { from, to }.normal()
    }

    /// That of a block of `pages`, which has this, and one behind it, which has `next`.
    pub(super) fn join(self, next: Self, pages: u32) -> Self {
        match (self.pages(), next.pages()) {
            (_, 0) => self,
            (0, _) => Self {
                from: pages + next.from,
                to: pages + next.to,
            },
            _ => Self {
                from: self.from,
                to: pages + next.to,
            },
        }
    }

    /// The next at most `most` pages to zero so that in the end no page of `wanted` is written, and
    /// what is written then. The range shrinks from the end from which `wanted` is reached with
    /// fewer pages. `None` if nothing is to be done.
    pub(super) fn next_piece(self, wanted: Self, most: u32) -> Option<(Self, Self)> {
        let (first, end) = (self.from.max(wanted.from), self.to.min(wanted.to));
        if first >= end {
            return None;
        }
        let (Self { from, to }, forwards) = (self, end - self.from <= self.to - first);
        let (piece, rest) = if forwards {
            let at = end.min(from + most);
            (Self { from, to: at }, Self { from: at, to })
        } else {
            let at = first.max(to.saturating_sub(most));
            (Self { from: at, to }, Self { from, to: at })
        };
        Some((piece, rest.normal()))
    }

    fn normal(self) -> Self {
        if self.from < self.to {
            self
        } else {
            Self::NONE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(pages: u32) -> impl Strategy<Value = Written> {
        (0..=pages, 0..=pages).prop_map(|(a, b)| {
            let (from, to) = (a.min(b), a.max(b));
            Written { from, to }.normal()
        })
    }

    fn holds(range: Written, page: u32) -> bool {
        (range.from..range.to).contains(&page)
    }

    proptest! {
        #[test]
        fn no_page_is_forgotten_when_blocks_join_and_are_cut(
            low in range(16), high in range(16), at in 0u32..32, pages in 1u32..32,
        ) {
            let joined = low.join(high, 16);
            for page in 0..32 {
                let before = if page < 16 { holds(low, page) } else { holds(high, page - 16) };
                prop_assert!(holds(joined, page) || !before);
                let inside = page >= at && page < at + pages;
                let after = page >= at && holds(joined.cut(at, pages), page - at);
                prop_assert_eq!(after, inside && holds(joined, page));
            }
        }

        #[test]
        fn piece_by_piece_what_is_wanted_becomes_clean(
            mut written in range(32), wanted in range(32), most in 1u32..8,
        ) {
            while let Some((piece, rest)) = written.next_piece(wanted, most) {
                prop_assert!((1..=most).contains(&piece.pages()));
                for page in 0..32 {
                    prop_assert_eq!(holds(written, page), holds(piece, page) || holds(rest, page));
                }
                prop_assert_eq!(rest.pages(), written.pages() - piece.pages());
                written = rest;
            }
            prop_assert!((0..32).all(|page| !holds(written, page) || !holds(wanted, page)));
        }
    }
}
