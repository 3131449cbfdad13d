//! What one worker does with its rows of one colour: plain loops over slices, wherever these are.

/// Which half of the points. A point's neighbours are all of the other colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Row and column sum up to an even number.
    Red,
    /// To an odd one.
    Black,
}

/// What is the same for all rows of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Points in a row of the grid, both colours and the edges included.
    pub side: usize,
    /// How far a point moves, in distances to the mean of its neighbours.
    pub omega: f64,
}

impl Color {
    /// That of a point of the grid.
    #[must_use]
    pub fn of(row: usize, column: usize) -> Self {
        if (row + column).is_multiple_of(2) {
            Self::Red
        } else {
            Self::Black
        }
    }

    /// Where its first point is in a row of the grid: 0 or 1.
    pub(super) fn offset(self, row: usize) -> usize {
        usize::from(Self::of(row, 0) != self)
    }

    /// How many points it has in a row of the grid.
    pub(super) fn count(self, row: usize, side: usize) -> usize {
        (side - self.offset(row)).div_ceil(2)
    }
}

/// Computes the points of `color` in some rows of the grid in place, of which `first` is the number
/// of the first. `others` are the points of the other colour: in the row above, in the same rows, in
/// the row below. The first and the last point of each row of the grid are the edge, and remain.
///
/// # Panics
/// If the slices are not rows of half grids of [`Rule::side`].
pub fn relax(rule: &Rule, color: Color, first: usize, others: [&[f64]; 3], points: &mut [f64]) {
    let half = rule.side.div_ceil(2);
    let rows = Neighbours::of_rows(rule, color, first, others, points.len());
    for (neighbours, row) in rows.zip(points.chunks_exact_mut(half)) {
        let points = &mut row[neighbours.start..][..neighbours.left.len()];
        for (point, mean) in points.iter_mut().zip(neighbours.means()) {
            *point += rule.omega * (mean - *point);
        }
    }
}

/// The largest distance of a point of `color` from the mean of its four neighbours; the arguments
/// are those of [`relax`].
///
/// # Panics
/// If the slices are not rows of half grids of [`Rule::side`].
#[must_use]
pub fn residual(
    rule: &Rule,
    color: Color,
    first: usize,
    others: [&[f64]; 3],
    points: &[f64],
) -> f64 {
    let half = rule.side.div_ceil(2);
    let rows = Neighbours::of_rows(rule, color, first, others, points.len());
    let distances = rows
        .zip(points.chunks_exact(half))
        .map(|(neighbours, row)| {
            let points = &row[neighbours.start..][..neighbours.left.len()];
            let pairs = points.iter().zip(neighbours.means());
            pairs
                .map(|(point, mean)| (mean - point).abs())
                .fold(0.0, f64::max)
        });
    distances.fold(0.0, f64::max)
}

/// The neighbours of the points of one colour in one row, but for its edges: as many of each kind
/// as there are such points.
struct Neighbours<'a> {
    /// The place of the first such point in its row of the half grid.
    start: usize,
    above: &'a [f64],
    left: &'a [f64],
    right: &'a [f64],
    below: &'a [f64],
}

impl<'a> Neighbours<'a> {
    /// Those of each row. There must be as many of the other colour as there are `points`.
    fn of_rows(
        rule: &Rule,
        color: Color,
        first: usize,
        [above, others, below]: [&'a [f64]; 3],
        points: usize,
    ) -> impl Iterator<Item = Self> {
        let (side, half) = (rule.side, rule.side.div_ceil(2));
        assert!(
            above.len() == half && below.len() == half,
            "rows of other lengths"
        );
        assert!(
            others.len() == points && points.is_multiple_of(half),
            "other rows"
        );
        let count = points / half;
        let other = move |index: usize| &others[index * half..][..half];
        (0..count).map(move |index| {
            let above = index.checked_sub(1).map_or(above, other);
            let below = if index + 1 < count {
                other(index + 1)
            } else {
                below
            };
            let offset = color.offset(first + index);
            Self::of_row(offset, side, [above, other(index), below])
        })
    }

    /// `offset` is where the colour begins in the row of the grid. Point k of the row, in column
    /// 2k + offset, is between places k and k + 1 of the other colour if `offset` is 1, and between
    /// k - 1 and k if it is 0, when point 0 is the edge.
    fn of_row(offset: usize, side: usize, [above, beside, below]: [&'a [f64]; 3]) -> Self {
        let start = 1 - offset;
        let end = (side - 1 - offset).div_ceil(2);
        let left = start + offset - 1;
        Self {
            start,
            above: &above[start..end],
            left: &beside[left..][..end - start],
            right: &beside[left + 1..][..end - start],
            below: &below[start..end],
        }
    }

    /// Of each point's neighbours.
    fn means(&self) -> impl Iterator<Item = f64> {
        let ends = self.above.iter().zip(self.below);
        let sides = self.left.iter().zip(self.right);
        ends.zip(sides)
            .map(|((above, below), (left, right))| 0.25 * ((above + below) + (left + right)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The points of `color`, row by row.
    fn half_grid(grid: &[Vec<f64>], color: Color) -> Vec<f64> {
        let half = grid[0].len().div_ceil(2);
        let row = |(i, row): (usize, &Vec<f64>)| {
            let mut points: Vec<f64> = row
                .iter()
                .copied()
                .skip(color.offset(i))
                .step_by(2)
                .collect();
            points.resize(half, 0.0);
            points
        };
        grid.iter().enumerate().flat_map(row).collect()
    }

    /// Half an iteration as the books write it, and the largest distance before it.
    fn by_the_book(grid: &mut [Vec<f64>], color: Color, omega: f64) -> f64 {
        let mut residual = 0.0_f64;
        for i in 1..grid.len() - 1 {
            for j in (1..grid[0].len() - 1).filter(|&j| Color::of(i, j) == color) {
                let ends = grid[i - 1][j] + grid[i + 1][j];
                let mean = 0.25 * (ends + (grid[i][j - 1] + grid[i][j + 1]));
                residual = residual.max((mean - grid[i][j]).abs());
                grid[i][j] += omega * (mean - grid[i][j]);
            }
        }
        residual
    }

    fn grid() -> impl Strategy<Value = Vec<Vec<f64>>> {
        (3usize..20, 3usize..20).prop_flat_map(|(width, height)| {
            prop::collection::vec(prop::collection::vec(-1.0..1.0, width), height)
        })
    }

    proptest! {
        #[test]
        fn the_kernel_does_what_the_books_say(
            mut grid in grid(), is_red: bool, omega in 0.1..1.9, first in 1usize..20,
        ) {
            let side = grid[0].len();
            let (rule, half) = (Rule { side, omega }, side.div_ceil(2));
            let [color, other] = if is_red { [Color::Red, Color::Black] } else { [Color::Black, Color::Red] };
            let first = 1 + (first - 1) % (grid.len() - 2);
            let others = half_grid(&grid, other);
            let mut points = half_grid(&grid, color);
            // Two parts, as two workers would compute them.
            let mut residuals = 0.0_f64;
            for rows in [1..first, first..grid.len() - 1] {
                let inner = rows.start * half..rows.end * half;
                let others = [
                    &others[inner.start - half..inner.start],
                    &others[inner.clone()],
                    &others[inner.end..inner.end + half],
                ];
                let part = &mut points[inner];
                residuals = residuals.max(residual(&rule, color, rows.start, others, part));
                relax(&rule, color, rows.start, others, part);
            }
            prop_assert_eq!(residuals, by_the_book(&mut grid, color, omega));
            prop_assert_eq!(points, half_grid(&grid, color));
            prop_assert_eq!(others, half_grid(&grid, other));
        }

        #[test]
        fn the_colors_share_each_row(row in 0usize..9, side in 1usize..99) {
            let [red, black] = [Color::Red, Color::Black].map(|color| color.count(row, side));
            prop_assert_eq!(red + black, side);
            prop_assert!(red.abs_diff(black) <= 1);
        }
    }
}
