//! Size classes: small blocks come in a few sizes, so that a freed one fits the next request.

use plurix_wire::{LINE_BYTES, PAGE_BYTES};

/// The block sizes, in bytes. Up to 128 each multiple of 16, then four to each doubling; the last
/// two are a third and a half of what a slab has for blocks.
pub(super) const CLASS_BYTES: [u16; 22] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024,
    1344, 2016,
];
/// The classes.
pub(super) const CLASSES: usize = CLASS_BYTES.len();

/// Bytes of a slab before its blocks: its header, one line.
pub(super) const SLAB_HEADER_BYTES: usize = LINE_BYTES;
/// The largest small block.
const SMALL_BYTES_MAX: u64 = CLASS_BYTES[CLASSES - 1] as u64;
const GRAIN_BYTES: usize = 16;

/// For each multiple of [`GRAIN_BYTES`], the smallest class that holds as much.
const CLASS_OF_GRAINS: [u8; SMALL_BYTES_MAX as usize / GRAIN_BYTES + 1] = {
    let mut table = [0; SMALL_BYTES_MAX as usize / GRAIN_BYTES + 1];
    let (mut grains, mut class) = (0, 0);
    while grains < table.len() {
        if grains * GRAIN_BYTES > CLASS_BYTES[class] as usize {
            class += 1;
        }
        table[grains] = class as u8;
        grains += 1;
    }
    table
};

/// What a block must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Length in bytes, at least 1.
    pub(super) bytes: u64,
    /// Alignment in bytes, a power of two.
    pub(super) align: usize,
}

impl Shape {
    /// The size class of blocks for this; `None` if it takes whole pages.
    ///
    /// A slab's blocks begin at its second line, so those of a class are aligned to whatever
    /// divides both the class and a line.
    #[inline]
    pub(super) fn class(self) -> Option<usize> {
        if self.bytes > SMALL_BYTES_MAX || self.align > LINE_BYTES {
            return None;
        }
        let grains = (self.bytes as usize).div_ceil(GRAIN_BYTES);
        let smallest = usize::from(CLASS_OF_GRAINS[grains]);
        (smallest..CLASSES).find(|&class| usize::from(CLASS_BYTES[class]) % self.align == 0)
    }

    /// Pages of the run that holds this, if it has no size class.
    pub(super) fn pages(self) -> u64 {
        self.bytes.div_ceil(PAGE_BYTES as u64)
    }
}

/// Blocks in a slab of `class`.
#[inline]
pub(super) fn capacity(class: usize) -> usize {
    (PAGE_BYTES - SLAB_HEADER_BYTES) / usize::from(CLASS_BYTES[class])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_smallest_that_holds_and_aligns() {
        for bytes in 1..=4096 {
            for align in [1, 2, 8, 16, 32, 64, 128] {
                let expected = CLASS_BYTES.iter().position(|&class| {
                    u64::from(class) >= bytes && usize::from(class).is_multiple_of(align)
                });
                let shape = Shape { bytes, align };
                let expected = expected.filter(|_| align <= LINE_BYTES);
                assert_eq!(shape.class(), expected, "{bytes} bytes aligned to {align}");
            }
        }
    }

    #[test]
    fn blocks_of_a_class_fill_a_slab_and_fit_its_bitmap() {
        for (class, &bytes) in CLASS_BYTES.iter().enumerate() {
            let used = capacity(class) * usize::from(bytes);
            assert!(used <= PAGE_BYTES - SLAB_HEADER_BYTES);
            assert!((2..=256).contains(&capacity(class)));
        }
    }
}
