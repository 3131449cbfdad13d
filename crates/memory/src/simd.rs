//! The inner loop of a product of matrices, by instructions that not every processor has. It has nothing
//! to do with pages, and is here because to call such a function is unsafe.

#![allow(unsafe_code)]

/// Rows of the tile that [`Fused`] keeps in registers.
pub const TILE_ROWS: usize = 6;
/// Columns of that tile.
pub const TILE_COLUMNS: usize = 8;

/// Shows that this processor multiplies and adds vectors of four numbers by one instruction. A product is
/// not rounded before it is added, as by [`f64::mul_add`].
#[derive(Debug, Clone, Copy)]
pub struct Fused(());

impl Fused {
    /// Asks the processor. Under Miri, it has no such instruction.
    #[must_use]
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && !cfg!(miri) {
            return Some(Self(()));
        }
        None
    }

    /// Adds to each sum the products of its row's and its column's numbers, step by step, as far as the
    /// shorter slice goes.
    #[inline]
    pub fn add_products(
        self,
        a: &[[f64; TILE_ROWS]],
        b: &[[f64; TILE_COLUMNS]],
        sums: &mut [[f64; TILE_COLUMNS]; TILE_ROWS],
    ) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Fused` is made only where the processor has AVX2 and FMA.
        unsafe {
            x86::add_products(a, b, sums);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (a, b, sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! By hand: compilers find these instructions, but not always the registers.

    use std::arch::x86_64::{
        __m256d, _mm256_fmadd_pd, _mm256_loadu_pd, _mm256_set1_pd, _mm256_setzero_pd,
        _mm256_storeu_pd,
    };

    use super::{TILE_COLUMNS, TILE_ROWS};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn add_products(
        a: &[[f64; TILE_ROWS]],
        b: &[[f64; TILE_COLUMNS]],
        sums: &mut [[f64; TILE_COLUMNS]; TILE_ROWS],
    ) {
        let mut before = [[_mm256_setzero_pd(); 2]; TILE_ROWS];
        for (vectors, sums) in before.iter_mut().zip(&*sums) {
            for (vector, four) in vectors.iter_mut().zip(sums.as_chunks::<4>().0) {
                *vector = load(four);
            }
        }
        // Nothing else looks at this copy, so that it can be registers.
        let mut tile = before;
        for (a, b) in a.iter().zip(b) {
            let fours = b.as_chunks::<4>().0;
            let (left, right) = (load(&fours[0]), load(&fours[1]));
            // By index: of a loop over both, the compiler would leave the sums in memory.
            for (row, a) in a.iter().enumerate() {
                let a = _mm256_set1_pd(*a);
                tile[row][0] = _mm256_fmadd_pd(a, left, tile[row][0]);
                tile[row][1] = _mm256_fmadd_pd(a, right, tile[row][1]);
            }
        }
        let after = tile;
        for (vectors, sums) in after.iter().zip(sums) {
            for (vector, four) in vectors.iter().zip(sums.as_chunks_mut::<4>().0) {
                // SAFETY: four numbers have the 32 bytes of the vector; the store needs no alignment.
                unsafe { _mm256_storeu_pd(four.as_mut_ptr(), *vector) };
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx")]
    fn load(four: &[f64; 4]) -> __m256d {
        // SAFETY: four numbers have the 32 bytes of the vector; the load needs no alignment.
        unsafe { _mm256_loadu_pd(four.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_fused_steps_in_their_order() {
        let Some(fused) = Fused::detect() else {
            return;
        };
        // Numbers whose sums depend on the order and on what is rounded.
        let number = |at: usize| (at * at % 101) as f64 / 3.0 - 16.0;
        let a: Vec<[f64; TILE_ROWS]> = (0..37)
            .map(|step| std::array::from_fn(|row| number(step * 7 + row)))
            .collect();
        let b: Vec<[f64; TILE_COLUMNS]> = (0..37)
            .map(|step| std::array::from_fn(|column| number(step * 11 + column + 5)))
            .collect();
        let mut sums = [[0.1; TILE_COLUMNS]; TILE_ROWS];
        fused.add_products(&a, &b, &mut sums);
        for (row, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate() {
                let steps = a.iter().zip(&b);
                let expected = steps.fold(0.1, |sum: f64, (a, b)| a[row].mul_add(b[column], sum));
                assert_eq!(sum.to_bits(), expected.to_bits(), "{row}, {column}");
            }
        }
    }
}
