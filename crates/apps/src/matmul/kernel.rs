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
//! one number: what it becomes does not depend on who computes it, nor on the sizes above; but it does on
//! whether the processor rounds products before it adds them ([`Fused`]), where they are not exact.

use std::ops::Range;

use plurix::simd::{self, Fused};

/// Rows of a tile where a vector has two numbers, and multiplies or adds: with eight columns, that fills
/// the registers. Where it does both, with four numbers, the tile is [`simd::TILE_ROWS`] high.
const TILE_ROWS: usize = 4;
const TILE_COLUMNS: usize = simd::TILE_COLUMNS;

/// The cuts of the matrices.
const STEPS: usize = 256;
const ROWS: usize = 96;
const COLUMNS: usize = 2048;
/// Steps of a strip that are packed one after the other: as many rows of B are read at a time.
const PACKED_STEPS: usize = 8;

/// What is summed in registers.
type Tile<const ROWS: usize> = [[f64; TILE_COLUMNS]; ROWS];

/// Sets `product` to that of `a`, which are any number of rows, and `b`, a square matrix; rows of
/// all of them have `side` numbers. Products are rounded before they are added only where the processor
/// cannot do both at once.
///
/// # Panics
/// If the slices have other lengths.
pub fn multiply(a: &[f64], b: &[f64], side: usize, product: &mut [f64]) {
    match Fused::detect() {
        Some(fused) => {
            let add = |a: &[_], b: &[_], tile: &mut Tile<_>| fused.add_products(a, b, tile);
            multiply_by::<{ simd::TILE_ROWS }>(add, a, b, side, product);
        }
        None => multiply_by::<TILE_ROWS>(add_products, a, b, side, product),
    }
}

/// The same with tiles of so many rows, to which `add` adds the products of two strips.
fn multiply_by<const TILE_ROWS: usize>(
    add: impl Fn(&[[f64; TILE_ROWS]], &[[f64; TILE_COLUMNS]], &mut Tile<TILE_ROWS>),
    a: &[f64],
    b: &[f64],
    side: usize,
    product: &mut [f64],
) {
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
    for columns in cuts(0..side, COLUMNS) {
        for steps in cuts(0..side, STEPS) {
            pack_b(&mut panel, b, side, steps.clone(), columns.clone());
            for rows in cuts(0..rows, ROWS) {
                pack_a(&mut block, a, side, rows.clone(), steps.clone());
                let corner = rows.start * side + columns.start;
                let strips = Strips {
                    block: &block,
                    panel: &panel,
                    steps: steps.len(),
                };
                let size = (rows.len(), columns.len());
                add_block(&add, &strips, size, side, &mut product[corner..]);
            }
        }
    }
}

/// A packed block and a packed panel, whose strips have so many steps.
struct Strips<'a, const TILE_ROWS: usize> {
    block: &'a [[f64; TILE_ROWS]],
    panel: &'a [[f64; TILE_COLUMNS]],
    steps: usize,
}

/// Cuts a range into others of at most `length`.
fn cuts(range: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = range.clone().step_by(length);
    starts.map(move |start| start..range.end.min(start + length))
}

/// Packs a part of `b`: strip by strip, and in each step by step, the last strip filled up with 0.
fn pack_b(
    panel: &mut Vec<[f64; TILE_COLUMNS]>,
    b: &[f64],
    side: usize,
    steps: Range<usize>,
    columns: Range<usize>,
) {
    let strips = columns.len().div_ceil(TILE_COLUMNS);
    panel.clear();
    panel.resize(strips * steps.len(), [0.0; TILE_COLUMNS]);
    // Along some rows at a time: down all of them, no load would follow the one before in memory.
    for some in cuts(steps.clone(), PACKED_STEPS) {
        for (strip, column) in columns.clone().step_by(TILE_COLUMNS).enumerate() {
            let width = TILE_COLUMNS.min(columns.end - column);
            for step in some.clone() {
                let packed = &mut panel[strip * steps.len() + step - steps.start];
                copy(&b[step * side + column..][..width], &mut packed[..width]);
            }
        }
    }
}

/// Packs a part of `a`: strip by strip, and in each step by step, the last strip filled up with 0.
fn pack_a<const TILE_ROWS: usize>(
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
fn add_block<const TILE_ROWS: usize>(
    add: impl Fn(&[[f64; TILE_ROWS]], &[[f64; TILE_COLUMNS]], &mut Tile<TILE_ROWS>),
    strips: &Strips<'_, TILE_ROWS>,
    size: (usize, usize),
    side: usize,
    product: &mut [f64],
) {
    let in_panel = strips.panel.chunks_exact(strips.steps);
    for (b, column) in in_panel.zip((0..size.1).step_by(TILE_COLUMNS)) {
        let width = TILE_COLUMNS.min(size.1 - column);
        let in_block = strips.block.chunks_exact(strips.steps);
        for (a, row) in in_block.zip((0..size.0).step_by(TILE_ROWS)) {
            let height = TILE_ROWS.min(size.0 - row);
            let place = &mut product[row * side + column..];
            let mut tile = [[0.0; TILE_COLUMNS]; TILE_ROWS];
            for (row, sums) in tile[..height].iter_mut().enumerate() {
                copy(&place[row * side..][..width], &mut sums[..width]);
            }
            add(a, b, &mut tile);
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
fn add_products(a: &[[f64; TILE_ROWS]], b: &[[f64; TILE_COLUMNS]], tile: &mut Tile<TILE_ROWS>) {
    let mut sums = *tile;
    for (a, b) in a.iter().zip(b) {
        for (row, &a) in a.iter().enumerate() {
            for (column, &b) in b.iter().enumerate() {
                sums[row][column] += a * b;
            }
        }
    }
    *tile = sums;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every element for itself, each step by `step(a, b, sum)`.
    fn by_the_book(a: &[f64], b: &[f64], side: usize, step: fn(f64, f64, f64) -> f64) -> Vec<f64> {
        let element = |row: &[f64], column: usize| {
            let steps = row.iter().zip(b[column..].iter().step_by(side));
            steps.fold(0.0, |sum, (a, b)| step(*a, *b, sum))
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
        let in_two = |a, b, sum: f64| sum + a * b;
        let at_once = |a: f64, b, sum| a.mul_add(b, sum);
        let is_fused = Fused::detect().is_some();
        multiply(&a, &b, side, &mut product);
        let expected = by_the_book(&a, &b, side, if is_fused { at_once } else { in_two });
        assert!(product == expected, "{rows} rows of {side}");
        multiply_by::<TILE_ROWS>(add_products, &a, &b, side, &mut product);
        let expected = by_the_book(&a, &b, side, in_two);
        assert!(product == expected, "{rows} rows of {side}, in two");
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
