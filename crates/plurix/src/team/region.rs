//! Weak regions as programs name them: typed runs of pages in the heap, which stand apart from what
//! transactions read and write.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use plurix_protocol::team as protocol;
use plurix_wire::message::PageRun;
use plurix_wire::{PAGE_BYTES, PageNumber};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::plain::{Layout, Plain};

/// `len` values of weakly consistent memory, which all workers of a team share. It is plain data
/// itself: setup leaves it in the heap, and other structures may hold it. A transaction cannot read
/// what it stands for; a [`Worker`](super::Worker) lends parts of it as slices.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Region<T: Plain>([u64; 2], PhantomData<fn() -> T>);

impl<T: Plain> Region<T> {
    pub(super) fn at(offset: u64, len: usize) -> Self {
        Self([offset, len as u64], PhantomData)
    }

    /// How many values it has.
    #[must_use]
    pub fn len(self) -> usize {
        self.0[1] as usize
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0[1] == 0
    }

    /// Where it begins, in bytes from the start of the heap.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.0[0]
    }

    /// Offset and number of the values of a range; `None` if it leaves the region.
    pub(super) fn locate(self, range: &Range<usize>) -> Option<(u64, usize)> {
        let inside = range.start <= range.end && range.end <= self.len();
        let begin = (range.start as u64).checked_mul(size_of::<T>() as u64)?;
        inside.then_some((self.0[0].checked_add(begin)?, range.len()))
    }

    /// The pages that hold the values of a range.
    pub(super) fn pages(self, range: &Range<usize>) -> Option<PageRun> {
        let (offset, count) = self.locate(range)?;
        let bytes = (count as u64).checked_mul(size_of::<T>() as u64)?;
        if bytes == 0 {
            return None;
        }
        let first = offset / PAGE_BYTES as u64;
        let last = offset.checked_add(bytes - 1)? / PAGE_BYTES as u64;
        Some(PageRun {
            first: PageNumber(u32::try_from(first).ok()?),
            count: u32::try_from(last - first + 1).ok()?,
        })
    }
}

impl<T: Plain> Clone for Region<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Plain> Copy for Region<T> {}

impl<T: Plain> fmt::Debug for Region<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({:#x}, {})", self.offset(), self.len())
    }
}

impl<T: Plain> Plain for Region<T> {
    const LAYOUT: Layout = <T as Plain>::LAYOUT.text("region");
}

/// What is seen of what others write to a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Consistency {
    /// What was written before a barrier is seen behind it, and what was written under a lock, or before a
    /// flag was raised, by whoever takes the lock then, or has waited for the flag. What is written
    /// meanwhile may or may not be seen (release consistency: Gharachorloo et al., ISCA 1990).
    #[default]
    Weak,
}

/// Where the pages of a region are kept at first. A page that only one station writes moves there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Placement {
    /// By the station whose worker touches them first.
    #[default]
    FirstTouch,
    /// In blocks of equal size, the first by the first station.
    Block,
    /// So many pages by each station in turn.
    Cyclic(u32),
}

/// How a region behaves. The defaults suit arrays that each worker has its part of.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RegionOptions {
    /// What is seen of what others write.
    pub consistency: Consistency,
    /// Where its pages are kept at first.
    pub placement: Placement,
    /// What one fault fetches, in bytes: 4 KiB to 64 KiB, a power of two.
    pub unit_bytes: usize,
}

impl Default for RegionOptions {
    fn default() -> Self {
        Self {
            consistency: Consistency::default(),
            placement: Placement::default(),
            unit_bytes: PAGE_BYTES,
        }
    }
}

impl RegionOptions {
    /// With this consistency.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Kept there at first.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// With one fault for so many bytes.
    #[must_use]
    pub fn unit_bytes(mut self, bytes: usize) -> Self {
        self.unit_bytes = bytes;
        self
    }

    pub(super) fn is_sound(&self) -> bool {
        self.unit_bytes.is_power_of_two()
            && (PAGE_BYTES..=16 * PAGE_BYTES).contains(&self.unit_bytes)
            && self.placement != Placement::Cyclic(0)
    }
}

/// A region as the heap has it.
#[plurix::plain]
pub(super) struct RegionRecord {
    first: u32,
    pages: u32,
    unit: u32,
    /// 0 for first touch, 1 for blocks, 2 for cyclic.
    placement: u32,
    /// Pages in turn, if cyclic.
    turn: u32,
    /// 0 for weak.
    consistency: u32,
}

impl RegionRecord {
    pub(super) fn new(offset: u64, pages: u64, options: &RegionOptions) -> Self {
        let (placement, turn) = match options.placement {
            Placement::FirstTouch => (0, 0),
            Placement::Block => (1, 0),
            Placement::Cyclic(turn) => (2, turn),
        };
        Self {
            first: (offset / PAGE_BYTES as u64) as u32,
            pages: pages as u32,
            unit: (options.unit_bytes / PAGE_BYTES) as u32,
            placement,
            turn,
            consistency: match options.consistency {
                Consistency::Weak => 0,
            },
        }
    }

    /// As the protocol knows it; `None` if this version knows no such consistency.
    pub(super) fn protocol(&self) -> Option<protocol::Region> {
        (self.consistency == 0).then_some(protocol::Region {
            run: PageRun {
                first: PageNumber(self.first),
                count: self.pages,
            },
            unit: self.unit,
            placement: match self.placement {
                0 => protocol::Placement::FirstTouch,
                1 => protocol::Placement::Block,
                _ => protocol::Placement::Cyclic(self.turn),
            },
        })
    }
}
