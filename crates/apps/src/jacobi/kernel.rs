//! What one worker does with its rows of the grid: plain loops over slices, wherever these are.

/// Computes `out` from the rows at the same places of the other copy, `rows`, and the rows `above`
/// and `below` these. Any number of rows will do; their length is that of `above`. The first and the
/// last point of each row are the edge, and remain.
///
/// # Panics
/// If the slices have other lengths, or a row is shorter than 2.
pub fn relax(above: &[f64], rows: &[f64], below: &[f64], out: &mut [f64]) {
    let width = above.len();
    assert_eq!(rows.len(), out.len(), "as many rows out as in");
    let outs = out.chunks_exact_mut(width);
    for ([above, row, below], out) in with_neighbours(above, rows, below).zip(outs) {
        relax_row(above, row, below, out);
    }
}

/// The largest distance of a point in `rows` from the mean of its four neighbours; `above` and
/// `below` are the rows around.
///
/// # Panics
/// If the slices have other lengths, or a row is shorter than 2.
#[must_use]
pub fn residual(above: &[f64], rows: &[f64], below: &[f64]) -> f64 {
    with_neighbours(above, rows, below)
        .map(|[above, row, below]| residual_row(above, row, below))
        .fold(0.0, f64::max)
}

/// Each of `rows` between its neighbours.
fn with_neighbours<'a>(
    above: &'a [f64],
    rows: &'a [f64],
    below: &'a [f64],
) -> impl Iterator<Item = [&'a [f64]; 3]> {
    let width = above.len();
    assert!(width == below.len() && rows.len().is_multiple_of(width));
    let row = move |index: usize| &rows[index * width..][..width];
    let count = rows.len() / width;
    (0..count).map(move |index| {
        let above = index.checked_sub(1).map_or(above, row);
        let below = if index + 1 < count {
            row(index + 1)
        } else {
            below
        };
        [above, row(index), below]
    })
}

fn relax_row(above: &[f64], row: &[f64], below: &[f64], out: &mut [f64]) {
    let last = row.len() - 1;
    (out[0], out[last]) = (row[0], row[last]);
    // Slices of one length, known before the loop, leave nothing to check in it.
    let sides = row[..last - 1].iter().zip(&row[2..]);
    let ends = above[1..last].iter().zip(&below[1..last]);
    for (out, (ends, sides)) in out[1..last].iter_mut().zip(ends.zip(sides)) {
        *out = mean(ends, sides);
    }
}

fn residual_row(above: &[f64], row: &[f64], below: &[f64]) -> f64 {
    let last = row.len() - 1;
    let sides = row[..last - 1].iter().zip(&row[2..]);
    let ends = above[1..last].iter().zip(&below[1..last]);
    let distances = row[1..last].iter().zip(ends.zip(sides));
    distances
        .map(|(point, (ends, sides))| (mean(ends, sides) - point).abs())
        .fold(0.0, f64::max)
}

/// Of a point's neighbours above and below, and left and right.
#[inline]
fn mean((above, below): (&f64, &f64), (left, right): (&f64, &f64)) -> f64 {
    0.25 * ((above + below) + (left + right))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One iteration as the books write it.
    fn by_the_book(grid: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut out = grid.to_vec();
        for i in 1..grid.len() - 1 {
            for j in 1..grid[0].len() - 1 {
                let ends = grid[i - 1][j] + grid[i + 1][j];
                out[i][j] = 0.25 * (ends + (grid[i][j - 1] + grid[i][j + 1]));
            }
        }
        out
    }

    fn grid() -> impl Strategy<Value = Vec<Vec<f64>>> {
        (2usize..20, 3usize..20).prop_flat_map(|(width, height)| {
            prop::collection::vec(prop::collection::vec(-1.0..1.0, width), height)
        })
    }

    proptest! {
        #[test]
        fn the_kernel_does_what_the_books_say(grid in grid()) {
            let (width, last) = (grid[0].len(), grid.len() - 1);
            let rows = grid[1..last].concat();
            let mut out = vec![0.0; rows.len()];
            relax(&grid[0], &rows, &grid[last], &mut out);
            let expected = by_the_book(&grid);
            prop_assert_eq!(&out, &expected[1..last].concat());
            let changes = out.iter().zip(&rows).map(|(new, old)| (new - old).abs());
            let residual = residual(&grid[0], &rows, &grid[last]);
            prop_assert_eq!(residual, changes.fold(0.0, f64::max));
            prop_assert!(width > 2 || residual == 0.0);
        }
    }
}
