//! The product of two square matrices: every worker computes some rows of it.
//!
//! ```text
//!   worker 0  ┌─────┐     ┌─────┐   ┌─────┐
//!             │  C  │  =  │  A  │ · │     │   read by all
//!             ├─────┤     ├─────┤   │  B  │
//!   worker 1  │     │     │     │   │     │
//!             └─────┘     └─────┘   └─────┘
//! ```
//!
//! No worker needs anything that another computes, so there is no barrier but the one at the end.
//!
//! The elements of the factors are multiples of 1/64 from -1 up to 1. All products and their sums are
//! thus multiples of 1/4096 and at most as large as a matrix has rows, which numbers of 64 bits hold
//! exactly: no order of summation, no width of a vector and no fused instruction makes a difference,
//! and the result can be verified to the last bit.
//!
//! [`kernel`] is what one worker does with its rows; [`serial`], [`threads()`] and the team's
//! [`Program`](plurix::team::Program) are whole runs.

mod app;
pub mod kernel;
mod team;
mod threads;

use plurix::plain;

use crate::bank::SplitMix64;
use crate::team::Checksum;

pub use app::Options;
pub(crate) use app::{new, register};
pub use team::{Found, Matrices};
pub use threads::threads;

/// What a run computes.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct MatmulOptions {
    /// Rows and columns of each matrix.
    pub side: u64,
    /// Chooses the factors.
    pub seed: u64,
}

impl Default for MatmulOptions {
    fn default() -> Self {
        Self {
            side: 2048,
            seed: 1,
        }
    }
}

/// Why there can be no such run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MatmulError {
    /// There is nothing to multiply, or too much.
    #[error("matrices of {side} x {side} cannot be multiplied; ask for 1 to {SIDE_MAX} a side")]
    Side {
        /// Rows and columns.
        side: u64,
    },
}

/// The largest side, whose three matrices have 24 GiB.
const SIDE_MAX: u64 = 1 << 15;

/// A run that was found possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matmul(MatmulOptions);

/// One of the matrices that are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    /// The left one.
    A,
    /// The right one.
    B,
}

/// The matrices that are multiplied, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// The left one, whose rows are dealt out.
    pub a: Vec<f64>,
    /// The right one, which every worker reads as a whole.
    pub b: Vec<f64>,
}

/// What a run found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Of the product, row by row.
    pub checksum: u64,
    /// The sum of the diagonal.
    pub trace: f64,
    /// Whether the product stood [`Matmul::verify`].
    pub verified: bool,
}

impl Outcome {
    /// That of these rows and others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            checksum: Checksum::sum(self.checksum, other.checksum),
            // All sums are exact.
            trace: self.trace + other.trace,
            verified: self.verified && other.verified,
        }
    }
}

impl Matmul {
    /// Checks `options`.
    ///
    /// # Errors
    /// [`MatmulError`] naming the option that makes the run impossible.
    pub fn new(options: MatmulOptions) -> Result<Self, MatmulError> {
        let side = options.side;
        if !(1..=SIDE_MAX).contains(&side) {
            return Err(MatmulError::Side { side });
        }
        Ok(Self(options))
    }

    /// The options that the run was made with.
    #[must_use]
    pub fn options(&self) -> &MatmulOptions {
        &self.0
    }

    /// Rows and columns of each matrix.
    #[must_use]
    pub fn side(&self) -> usize {
        self.0.side as usize
    }

    /// The factors that the seed chooses.
    #[must_use]
    pub fn factors(&self) -> Factors {
        let matrix = |factor| {
            let mut elements = vec![0.0; self.side() * self.side()];
            self.fill(factor, 0, &mut elements);
            elements
        };
        Factors {
            a: matrix(Factor::A),
            b: matrix(Factor::B),
        }
    }

    /// Sets `elements` to those of a factor from number `first` on, row by row.
    pub fn fill(&self, factor: Factor, first: usize, elements: &mut [f64]) {
        let before = match factor {
            Factor::A => 0,
            Factor::B => self.0.side * self.0.side,
        };
        let mut generator = SplitMix64::new(self.0.seed).skip(before + first as u64);
        elements.fill_with(|| element(generator.draw()));
    }

    /// Whether `product` is that of `factors`, with an error of one in 2¹⁶ for a wrong one: it is
    /// applied to vectors of random signs, as the factors are one after the other (Freivalds,
    /// *Probabilistic machines can use less running time*, IFIP 1977). That takes as many steps as
    /// the product has elements.
    ///
    /// # Panics
    /// If a matrix has another size.
    #[must_use]
    pub fn verify(&self, factors: &Factors, product: &[f64]) -> bool {
        let elements = self.side() * self.side();
        assert_eq!(product.len(), elements, "a matrix has another size");
        self.verify_rows(&factors.a, &factors.b, product)
    }

    /// As [`verify`](Self::verify), of any rows of the product: `a` has the same rows.
    ///
    /// # Panics
    /// If the slices have other lengths.
    #[must_use]
    pub fn verify_rows(&self, a: &[f64], b: &[f64], product: &[f64]) -> bool {
        const VECTORS: usize = 16;
        let side = self.side();
        assert_eq!(b.len(), side * side, "a matrix has another size");
        assert_eq!(a.len(), product.len(), "other rows");
        let mut generator = SplitMix64::new(!self.0.seed);
        let vectors: Vec<[f64; VECTORS]> = (0..side).map(|_| signs(generator.draw())).collect();
        apply(a, &apply(b, &vectors)) == apply(product, &vectors)
    }

    /// What is to be said of some rows of the product, from row `first` on; `a` has the same rows.
    ///
    /// # Panics
    /// If the slices have other lengths.
    #[must_use]
    pub fn outcome(&self, first: usize, a: &[f64], b: &[f64], product: &[f64]) -> Outcome {
        let side = self.side();
        let diagonal = product.iter().skip(first).step_by(side + 1);
        Outcome {
            checksum: Checksum::of_part(first * side, product),
            trace: diagonal.take(product.len() / side).sum(),
            verified: self.verify_rows(a, b, product),
        }
    }
}

/// A multiple of 1/64 from -1 up to 1, by the highest bits of `random`.
fn element(random: u64) -> f64 {
    ((random >> 57) as f64 - 64.0) / 64.0
}

/// A sign for each vector.
fn signs<const N: usize>(random: u64) -> [f64; N] {
    std::array::from_fn(|vector| if random >> vector & 1 == 0 { 1.0 } else { -1.0 })
}

/// The products of `matrix` and several vectors; all of a vector's elements are at one place of the
/// arrays.
fn apply<const N: usize>(matrix: &[f64], vectors: &[[f64; N]]) -> Vec<[f64; N]> {
    let product = |row: &[f64]| {
        let mut sums = [0.0; N];
        for (element, vector) in row.iter().zip(vectors) {
            for (sum, other) in sums.iter_mut().zip(vector) {
                *sum += element * other;
            }
        }
        sums
    };
    matrix.chunks_exact(vectors.len()).map(product).collect()
}

/// The whole run, by the caller alone.
#[must_use]
pub fn serial(matmul: &Matmul) -> Outcome {
    let factors = matmul.factors();
    let side = matmul.side();
    let mut product = vec![0.0; side * side];
    kernel::multiply(&factors.a, &factors.b, side, &mut product);
    matmul.outcome(0, &factors.a, &factors.b, &product)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(side: u64) -> Matmul {
        Matmul::new(MatmulOptions { side, seed: 5 }).unwrap()
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for side in [0, SIDE_MAX + 1, u64::MAX] {
            let options = MatmulOptions { side, seed: 1 };
            assert_eq!(Matmul::new(options), Err(MatmulError::Side { side }));
        }
        assert!(Matmul::new(MatmulOptions::default()).is_ok());
    }

    #[test]
    fn elements_reach_both_ends_and_no_further() {
        assert_eq!([element(0), element(u64::MAX)], [-1.0, 63.0 / 64.0]);
    }

    #[test]
    fn a_wrong_bit_is_found() {
        let run = run(33);
        let factors = run.factors();
        let mut product = vec![0.0; 33 * 33];
        kernel::multiply(&factors.a, &factors.b, 33, &mut product);
        assert!(run.verify(&factors, &product));
        for at in [0, 500, 33 * 33 - 1] {
            let right = product[at];
            product[at] += 1.0 / 4096.0;
            assert!(!run.verify(&factors, &product), "element {at}");
            product[at] = right;
        }
    }

    #[test]
    fn any_number_of_threads_finds_the_same() {
        for side in [1, 2, 3, 4, 7, 8, 25, 64, 130] {
            let run = run(side);
            let expected = serial(&run);
            assert!(expected.verified, "{run:?}");
            for workers in [1, 2, 3, 5, 8] {
                assert_eq!(threads(&run, workers), expected, "{run:?} by {workers}");
            }
        }
    }
}
