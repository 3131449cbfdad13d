//! What one worker does with its rows of the product, wherever the matrices are.
//!
//! The loops are those of Goto and van de Geijn (*Anatomy of high-performance matrix multiplication*,
//! TOMS 2008). A small tile of the product stays in registers while a strip of either factor passes;
//! the strips are packed, so that they pass as they lie in memory, and cut so short that those in use
//! remain in the caches:
//!
//! ```text
//!   a panel of B    STEPS x COLUMNS, packed in strips of TILE_COLUMNS    third-level cache
//!   a block of A    ROWS x STEPS,    packed in strips of TILE_ROWS       second-level cache
//!   a strip of B    STEPS x TILE_COLUMNS                                 first-level cache
//!   a tile of C     TILE_ROWS x TILE_COLUMNS                             registers
//! ```
//!
//! Each element of the product is summed in the order of the steps, from the first to the last, in
//! one number: what it becomes does not depend on who computes it, nor on the sizes above.

use std::ops::Range;

/// Rows of a tile. With eight columns, that fills the registers of vectors of 128 bits, where an
/// instruction multiplies or adds; or of 256, where it may do both.
const TILE_ROWS: usize = if FUSED { 6 } else { 4 };
const TILE_COLUMNS: usize = 8;

/// Whether the processors that the program is compiled for multiply and add at once. Elsewhere, it
/// would be done by a library that is slower by far.
const FUSED: bool = cfg!(target_feature = "fma");

/// The cuts of the matrices.
const STEPS: usize = 256;
const ROWS: usize = 96;
const COLUMNS: usize = 2048;

/// Sets `product` to that of `a`, which are any number of rows, and `b`, a square matrix; rows of
/// all of them have `side` numbers.
///
/// # Panics
/// If the slices have other lengths.
pub fn multiply(a: &[f64], b: &[f64], side: usize, product: &mut [f64]) {
    assert!(
        side > 0 && b.len() == side * side,
        "the matrix is not square"
    );
    assert!(
        a.len() == product.len() && a.len().is_multiple_of(side),
        "other rows"
    );
    let rows = a.len() / side;
    product.fill(0.0);
    let (mut panel, mut block) = (Vec::new(), Vec::new());
    for columns in cuts(side, COLUMNS) {
        for steps in cuts(side, STEPS) {
            pack_b(&mut panel, b, side, steps.clone(), columns.clone());
            for rows in cuts(rows, ROWS) {
                pack_a(&mut block, a, side, rows.clone(), steps.clone());
                let corner = rows.start * side + columns.start;
                let size = (rows.len(), columns.len());
                add_block(
                    &block,
                    &panel,
                    steps.len(),
                    size,
                    side,
                    &mut product[corner..],
                );
            }
        }
    }
}

/// Cuts `count` into ranges of at most `length`.
fn cuts(count: usize, length: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..count).step_by(length);
    starts.map(move |start| start..count.min(start + length))
}

/// Packs a part of `b`: strip by strip, and in each step by step, the last strip filled up with 0.
fn pack_b(
    panel: &mut Vec<[f64; TILE_COLUMNS]>,
    b: &[f64],
    side: usize,
    steps: Range<usize>,
    columns: Range<usize>,
) {
    panel.clear();
    for strip in columns.clone().step_by(TILE_COLUMNS) {
        let width = TILE_COLUMNS.min(columns.end - strip);
        panel.extend(steps.clone().map(|step| {
            let mut packed = [0.0; TILE_COLUMNS];
            packed[..width].copy_from_slice(&b[step * side + strip..][..width]);
            packed
        }));
    }
}

/// Packs a part of `a`: strip by strip, and in each step by step, the last strip filled up with 0.
fn pack_a(
    block: &mut Vec<[f64; TILE_ROWS]>,
    a: &[f64],
    side: usize,
    rows: Range<usize>,
    steps: Range<usize>,
) {
    block.clear();
    for strip in rows.clone().step_by(TILE_ROWS) {
        let height = TILE_ROWS.min(rows.end - strip);
        block.extend(steps.clone().map(|step| {
            let mut packed = [0.0; TILE_ROWS];
            for (row, packed) in packed[..height].iter_mut().enumerate() {
                *packed = a[(strip + row) * side + step];
            }
            packed
        }));
    }
}

/// Adds the product of a packed block and a packed panel to the `size.0` rows and `size.1` columns
/// at the start of `product`, whose rows are `side` apart.
fn add_block(
    block: &[[f64; TILE_ROWS]],
    panel: &[[f64; TILE_COLUMNS]],
    steps: usize,
    size: (usize, usize),
    side: usize,
    product: &mut [f64],
) {
    for (b, column) in panel
        .chunks_exact(steps)
        .zip((0..size.1).step_by(TILE_COLUMNS))
    {
        let width = TILE_COLUMNS.min(size.1 - column);
        for (a, row) in block
            .chunks_exact(steps)
            .zip((0..size.0).step_by(TILE_ROWS))
        {
            let height = TILE_ROWS.min(size.0 - row);
            let place = &mut product[row * side + column..];
            let mut tile = [[0.0; TILE_COLUMNS]; TILE_ROWS];
            for (row, sums) in tile[..height].iter_mut().enumerate() {
                copy(&place[row * side..][..width], &mut sums[..width]);
            }
            add_tile(a, b, &mut tile);
            for (row, sums) in tile[..height].iter().enumerate() {
                copy(&sums[..width], &mut place[row * side..][..width]);
            }
        }
    }
}

/// Copies a row of a tile. Nearly all are whole, and of a length that the compiler knows.
#[inline]
fn copy(from: &[f64], to: &mut [f64]) {
    if let (Ok(from), Ok(to)) = (
        <&[f64; TILE_COLUMNS]>::try_from(from),
        <&mut [f64; TILE_COLUMNS]>::try_from(&mut *to),
    ) {
        *to = *from;
    } else {
        to.copy_from_slice(from);
    }
}

/// Adds the products of two strips to a tile. This is where the time goes: the arrays have sizes
/// that the compiler knows, so it unrolls all but the outer loop, and keeps the sums in registers;
/// but only where nothing else looks at them, hence the copy and the call.
#[inline(never)]
fn add_tile(
    a: &[[f64; TILE_ROWS]],
    b: &[[f64; TILE_COLUMNS]],
    tile: &mut [[f64; TILE_COLUMNS]; TILE_ROWS],
) {
    let mut sums = *tile;
    for (a, b) in a.iter().zip(b) {
        for (row, &a) in a.iter().enumerate() {
            for (column, &b) in b.iter().enumerate() {
                let sum = &mut sums[row][column];
                *sum = multiply_add(a, b, *sum);
            }
        }
    }
    *tile = sums;
}

#[inline]
fn multiply_add(a: f64, b: f64, sum: f64) -> f64 {
    if FUSED {
        a.mul_add(b, sum)
    } else {
        sum + a * b
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every element for itself.
    fn by_the_book(a: &[f64], b: &[f64], side: usize) -> Vec<f64> {
        let element = |row: &[f64], column: usize| {
            let steps = row.iter().zip(b[column..].iter().step_by(side));
            steps.fold(0.0, |sum, (a, b)| multiply_add(*a, *b, sum))
        };
        a.chunks_exact(side)
            .flat_map(|row| (0..side).map(move |column| element(row, column)))
            .collect()
    }

    /// Numbers whose sums depend on the order.
    fn matrix(rows: usize, side: usize, seed: u64) -> Vec<f64> {
        let mut generator = crate::bank::SplitMix64::new(seed);
        (0..rows * side)
            .map(|_| generator.draw() as f64 / 3.0)
            .collect()
    }

    fn check(rows: usize, side: usize, seed: u64) {
        let (a, b) = (matrix(rows, side, seed), matrix(side, side, !seed));
        let mut product = vec![f64::NAN; rows * side];
        multiply(&a, &b, side, &mut product);
        assert!(
            product == by_the_book(&a, &b, side),
            "{rows} rows of {side}"
        );
    }

    proptest! {
        #[test]
        fn each_element_is_summed_in_order(rows in 0usize..40, side in 1usize..40, seed: u64) {
            check(rows, side, seed);
        }
    }

    #[test]
    fn cuts_make_no_difference() {
        check(ROWS + 3, STEPS + 5, 1);
        check(2 * ROWS, STEPS, 2);
        check(1, 2 * STEPS + 1, 3);
        check(2, COLUMNS + 9, 4);
    }
}
