//! The byte ranges that the running transaction overwrote blindly, that is, without having read
//! them. They are sent whole, whether or not the bytes differ from the old ones: another commit may
//! have changed those meanwhile, and the blind write must win.

use std::ops::Range;

use plurix_wire::LINE_BYTES;

/// Fewer ranges than this are kept as they come.
const COMPACT_AT_MIN: usize = 256;

/// A set of bytes of the heap, as ranges of offsets.
pub(super) struct BlindRanges {
    ranges: Vec<Range<u64>>,
    /// At this many ranges they are merged, so that a loop over the same bytes needs no memory.
    compact_at: usize,
}

impl Default for BlindRanges {
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            compact_at: COMPACT_AT_MIN,
        }
    }
}

impl BlindRanges {
    /// Adds `range`, which is not empty.
    pub(super) fn record(&mut self, range: Range<u64>) {
        if let Some(last) = self.ranges.last_mut()
            && range.start <= last.end
            && last.start <= range.end
        {
            *last = last.start.min(range.start)..last.end.max(range.end);
            return;
        }
        if self.ranges.len() >= self.compact_at {
            self.compact();
            self.compact_at = COMPACT_AT_MIN.max(2 * self.ranges.len());
        }
        self.ranges.push(range);
    }

    /// A cursor over the lines that the ranges cover.
    pub(super) fn cursor(&mut self) -> Cursor<'_> {
        self.compact();
        Cursor { rest: &self.ranges }
    }

    pub(super) fn clear(&mut self) {
        self.ranges.clear();
        self.compact_at = COMPACT_AT_MIN;
    }

    /// Sorts the ranges and joins those that overlap or touch.
    fn compact(&mut self) {
        self.ranges.sort_unstable_by_key(|range| range.start);
        self.ranges.dedup_by(|next, kept| {
            let joins = next.start <= kept.end;
            if joins {
                kept.end = kept.end.max(next.end);
            }
            joins
        });
    }
}

/// Answers for ascending lines which of their bytes were overwritten blindly.
pub(super) struct Cursor<'a> {
    rest: &'a [Range<u64>],
}

impl Cursor<'_> {
    /// The bytes of the line that begins at offset `start`, bit `i` for byte `i`; `start` is larger
    /// than at the call before.
    pub(super) fn mask(&mut self, start: u64) -> u64 {
        let end = start + LINE_BYTES as u64;
        let passed = self
            .rest
            .iter()
            .take_while(|range| range.end <= start)
            .count();
        self.rest = &self.rest[passed..];
        let here = self.rest.iter().take_while(|range| range.start < end);
        here.fold(0, |mask, range| {
            let (first, last) = (range.start.max(start) - start, range.end.min(end) - start);
            mask | (u64::MAX >> (LINE_BYTES as u64 - (last - first))) << first
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(ranges: &[Range<u64>], lines: &[u64]) -> Vec<u64> {
        let mut blind = BlindRanges::default();
        ranges.iter().for_each(|range| blind.record(range.clone()));
        let mut cursor = blind.cursor();
        lines
            .iter()
            .map(|line| cursor.mask(line * LINE_BYTES as u64))
            .collect()
    }

    #[test]
    fn ranges_cover_their_bytes_in_whatever_order_they_came() {
        let short = masks(&[130..132, 0..4, 2..8, 63..65], &[0, 1, 2, 3]);
        assert_eq!(short, [0xff | 1 << 63, 1, 0b1100, 0]);
        let long = masks(&[100..300, 10..110], &[1, 3, 4]);
        assert_eq!(long, [u64::MAX, u64::MAX, (1 << 44) - 1]);
    }

    #[test]
    fn overwriting_the_same_bytes_again_and_again_needs_no_memory() {
        let mut blind = BlindRanges::default();
        for round in 0..if cfg!(miri) { 1_000 } else { 100_000 } {
            let start = round % 100 * 64;
            blind.record(start..start + 8);
        }
        assert!(blind.ranges.len() <= 2 * COMPACT_AT_MIN);
    }
}
