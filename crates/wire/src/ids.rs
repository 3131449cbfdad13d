//! Newtypes for each id, epoch and number of the protocol, and the geometry of the heap, so that
//! no two integers of different meaning can be swapped.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes in a page, the unit of transfer and of holding.
pub const PAGE_BYTES: usize = 4096;
/// Bytes in a line, the unit of conflict in checked transactions.
pub const LINE_BYTES: usize = 64;
/// Lines in a page; a page's lines fit one 64-bit mask.
pub const LINES_PER_PAGE: usize = PAGE_BYTES / LINE_BYTES;
/// The largest heap: 2³² pages of 4 KiB, 16 TiB.
pub const HEAP_BYTES_MAX: u64 = (PAGE_BYTES as u64) << 32;

/// The bytes of one page.
pub type PageBytes = [u8; PAGE_BYTES];

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number that follows this one.
            ///
            /// # Panics
            /// If the numbers are exhausted, which would silently break every ordering.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("protocol number exhausted"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number!(
    /// Position in the one total order of the heap; dense within a generation. Zero is the empty
    /// heap, before any commit.
    CommitNumber(u64), "c"
);
number!(
    /// Raised by each rollback; (generation, commit number) names a commit for ever.
    Generation(u32), "g"
);
number!(
    /// One leadership of one page server; on disk before the leader says anything.
    Term(u64), "t"
);
number!(
    /// One life of one member, from its join until its process ends or the leader drops it. Unique
    /// for the life of the cluster: the upper half is the term that gave it.
    Incarnation(u64), "i"
);
number!(
    /// The stable small number of a station: its successor after a crash takes it over.
    StationId(u32), "s"
);
number!(
    /// Position of a commit request among those of one incarnation, from 1.
    CommitSequence(u64), "#"
);
number!(
    /// Position of a batch in the stream from the leader to one session of a station, from 1.
    StreamSequence(u64), "b"
);
number!(
    /// A checkpoint of one store, from 1; the image written for it has the same number.
    CheckpointId(u32), "k"
);
number!(
    /// Page index in the heap: the page's offset divided by [`PAGE_BYTES`].
    PageNumber(u32), "p"
);

number!(
    /// A team, by where in the heap its record begins, in bytes.
    TeamId(u64), "team "
);
number!(
    /// A station's place in its team, from 0; the first one coordinates.
    Rank(u16), "r"
);
number!(
    /// What lies between two barriers of a team, from 0.
    Interval(u64), "v"
);
number!(
    /// A lock, flag or counter of a team; programs choose the numbers.
    SyncId(u32), "y"
);

impl Incarnation {
    /// The `count`-th incarnation that `term` gives out.
    #[must_use]
    pub fn of(term: Term, count: u32) -> Self {
        debug_assert!(term.0 <= u64::from(u32::MAX));
        Self(term.0 << 32 | u64::from(count))
    }
}

impl PageNumber {
    /// The page that holds byte `offset` of the heap.
    ///
    /// # Panics
    /// If `offset` lies beyond [`HEAP_BYTES_MAX`].
    #[must_use]
    pub fn of(offset: u64) -> Self {
        Self(u32::try_from(offset / PAGE_BYTES as u64).expect("offset beyond the largest heap"))
    }

    /// The heap offset of the page's first byte.
    #[must_use]
    pub fn offset(self) -> u64 {
        u64::from(self.0) * PAGE_BYTES as u64
    }
}

/// Line index in the heap: the line's offset divided by [`LINE_BYTES`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LineNumber(pub u64);

impl LineNumber {
    /// Line `index` (0 to 63) of `page`.
    #[must_use]
    pub fn new(page: PageNumber, index: u32) -> Self {
        debug_assert!((index as usize) < LINES_PER_PAGE);
        Self(u64::from(page.0) * LINES_PER_PAGE as u64 + u64::from(index))
    }

    /// The page that holds the line, or `None` if the number lies beyond the largest heap.
    #[must_use]
    pub fn page(self) -> Option<PageNumber> {
        u32::try_from(self.0 / LINES_PER_PAGE as u64)
            .ok()
            .map(PageNumber)
    }

    /// Index of the line in its page, 0 to 63.
    #[must_use]
    pub fn index(self) -> usize {
        (self.0 % LINES_PER_PAGE as u64) as usize
    }
}

impl fmt::Display for LineNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}.{}", self.0 / LINES_PER_PAGE as u64, self.index())
    }
}

/// A set of lines of one page, bit `i` for line `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LineMask(pub u64);

impl LineMask {
    /// All lines of the page.
    pub const ALL: Self = Self(u64::MAX);

    /// The lines that bytes `offset..offset + length` of a page touch; `length` is at least 1.
    #[must_use]
    pub fn covering(offset: usize, length: usize) -> Self {
        debug_assert!(length > 0 && offset + length <= PAGE_BYTES);
        let first = offset / LINE_BYTES;
        let last = (offset + length - 1) / LINE_BYTES;
        Self((u64::MAX >> (63 - (last - first))) << first)
    }

    /// The indices of the lines in the set, ascending.
    pub fn lines(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let line = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            Some(line)
        })
    }

    /// How many lines the set holds.
    #[must_use]
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// Names one attempt to commit for the life of the cluster; the same id sent twice commits once.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct CommitId {
    /// The life of the station that asks.
    pub incarnation: Incarnation,
    /// Which of its requests.
    pub sequence: CommitSequence,
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.incarnation, self.sequence)
    }
}

/// Names a cluster for ever; drawn at random when its page server's directory is created.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_covers_exactly_the_lines_touched() {
        for (offset, length, expected) in [
            (0, 1, 0b1),
            (63, 1, 0b1),
            (63, 2, 0b11),
            (64, 64, 0b10),
            (0, PAGE_BYTES, u64::MAX),
            (PAGE_BYTES - 1, 1, 1 << 63),
        ] {
            assert_eq!(
                LineMask::covering(offset, length).0,
                expected,
                "{offset}+{length}"
            );
        }
    }

    #[test]
    fn a_line_number_knows_its_page() {
        let line = LineNumber::new(PageNumber(7), 63);
        assert_eq!((line.page(), line.index()), (Some(PageNumber(7)), 63));
        assert_eq!(LineNumber(u64::MAX).page(), None);
    }
}
