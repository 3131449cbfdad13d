//! A table of numbers whose rows belong to the workers of a team, in blocks, for threads that share
//! no memory but by the rules of the language.
//!
//! Each block is behind a lock that says who may do what: its worker writes it in one phase, and its
//! neighbours read it in another. Barriers between the phases keep them apart, so nobody ever waits
//! for a lock; a phase takes four of them at most.

use std::ops::Range;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::share;

/// The blocks, in the order of the workers.
#[derive(Debug)]
pub(crate) struct RowBlocks {
    rows: usize,
    width: usize,
    blocks: Vec<RwLock<Vec<f64>>>,
}

/// The rows just above and below the table, which nobody changes.
#[derive(Debug)]
pub(crate) struct Border {
    pub(crate) above: Vec<f64>,
    pub(crate) below: Vec<f64>,
}

/// A worker's block and the two rows around it, for reading.
pub(crate) struct Window<'a> {
    width: usize,
    border: &'a Border,
    before: Option<RwLockReadGuard<'a, Vec<f64>>>,
    own: RwLockReadGuard<'a, Vec<f64>>,
    after: Option<RwLockReadGuard<'a, Vec<f64>>>,
}

impl RowBlocks {
    /// A table of so many rows, which are `width` long. No worker must be without a row; and each has to
    /// [begin](Self::begin) its block, before any is read.
    pub(crate) fn new(rows: usize, width: usize, workers: usize) -> Self {
        assert!(workers <= rows, "{workers} workers for {rows} rows");
        Self {
            rows,
            width,
            blocks: (0..workers).map(|_| RwLock::default()).collect(),
        }
    }

    /// Which rows are those of `worker`.
    pub(crate) fn share(&self, worker: usize) -> Range<usize> {
        share(self.rows, self.blocks.len(), worker)
    }

    /// Sets the block of `worker` to zeros, by whom its memory is touched first.
    pub(crate) fn begin(&self, worker: usize) {
        let length = self.share(worker).len() * self.width;
        self.write(worker).resize(length, 0.0);
    }

    /// The block of `worker`, for writing.
    pub(crate) fn write(&self, worker: usize) -> RwLockWriteGuard<'_, Vec<f64>> {
        let block = self.blocks[worker].write();
        block.unwrap_or_else(PoisonError::into_inner)
    }

    /// The block of `worker` and what is around it, for reading; the table is within `border`.
    pub(crate) fn read<'a>(&'a self, worker: usize, border: &'a Border) -> Window<'a> {
        let read =
            |block: &'a RwLock<Vec<f64>>| block.read().unwrap_or_else(PoisonError::into_inner);
        let before = worker.checked_sub(1).map(|before| &self.blocks[before]);
        Window {
            width: self.width,
            border,
            before: before.map(read),
            own: read(&self.blocks[worker]),
            after: self.blocks.get(worker + 1).map(read),
        }
    }
}

impl Window<'_> {
    /// The row above the block.
    pub(crate) fn above(&self) -> &[f64] {
        match &self.before {
            Some(block) => &block[block.len() - self.width..],
            None => &self.border.above,
        }
    }

    /// The rows of the block.
    pub(crate) fn own(&self) -> &[f64] {
        &self.own
    }

    /// The row below the block.
    pub(crate) fn below(&self) -> &[f64] {
        match &self.after {
            Some(block) => &block[..self.width],
            None => &self.border.below,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_the_rows_around_a_block() {
        let table: Vec<f64> = (2..12).map(f64::from).collect();
        let border = Border {
            above: vec![0.0, 1.0],
            below: vec![12.0, 13.0],
        };
        for workers in 1..=5 {
            let blocks = RowBlocks::new(5, 2, workers);
            for worker in 0..workers {
                blocks.begin(worker);
                assert_eq!(blocks.read(worker, &border).own()[..2], [0.0; 2]);
                let rows = blocks.share(worker);
                let part = &table[rows.start * 2..rows.end * 2];
                blocks.write(worker).copy_from_slice(part);
            }
            let mut next = 2.0;
            for worker in 0..workers {
                let window = blocks.read(worker, &border);
                assert_eq!(window.above(), [next - 2.0, next - 1.0]);
                assert_eq!(window.own()[0], next);
                next += window.own().len() as f64;
                assert_eq!(window.below(), [next, next + 1.0]);
            }
            assert_eq!(next, 12.0);
        }
    }
}
