//! The run by a team of stations, on weak memory: each worker makes its rows of the factors, and then
//! those of the product, for which it reads all of the right factor.

use plurix::Result;
use plurix::plain;
use plurix::team::{Program, Region, Setup, Turn, Worker};

use super::{Factor, Matmul, kernel};
use crate::team::{Checksum, from_first};

/// What the team found.
#[plain]
#[derive(Debug, PartialEq)]
pub struct Found {
    /// Of the product, row by row.
    pub checksum: u64,
    /// The sum of the diagonal.
    pub trace: f64,
    /// 1 if the product stood [`Matmul::verify`].
    pub is_verified: u64,
}

/// Where the matrices are.
#[plain]
pub struct Matrices {
    a: Region<f64>,
    b: Region<f64>,
    product: Region<f64>,
}

impl Program for Matmul {
    type Data = Matrices;
    type Output = Found;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Matrices> {
        let elements = self.side() * self.side();
        Ok(Matrices {
            a: setup.region(elements)?,
            b: setup.region(elements)?,
            product: setup.region(elements)?,
        })
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        &Matrices { a, b, product }: &Matrices,
        phase: u64,
    ) -> Result<Turn<Found>> {
        let side = self.side();
        let rows = worker.part(side);
        let own = rows.start * side..rows.end * side;
        if phase == 0 {
            self.fill(Factor::A, own.start, &mut worker.write(a, own.clone())?);
            self.fill(Factor::B, own.start, &mut worker.write(b, own.clone())?);
            return Ok(Turn::Next);
        }
        if phase == 1 {
            // The kernel does not read it in the order of its pages.
            worker.prefetch(b, 0..b.len())?;
            let (a, b) = (worker.read(a, own.clone())?, worker.read(b, 0..b.len())?);
            kernel::multiply(&a, &b, side, &mut worker.write(product, own)?);
            return Ok(Turn::Next);
        }

        let (is_right, trace) = {
            let (a, b) = (worker.read(a, own.clone())?, worker.read(b, 0..b.len())?);
            let product = worker.read(product, own)?;
            let diagonal = product.iter().skip(rows.start).step_by(side + 1);
            (
                self.verify_rows(&a, &b, &product),
                diagonal.take(rows.len()).sum(),
            )
        };
        let is_verified = worker.reduce(u64::from(is_right), u64::min)?;
        // All sums are exact.
        let trace = worker.reduce(trace, |a: f64, b| a + b)?;
        let found = from_first(worker, |worker| {
            Ok(Found {
                checksum: Checksum::of_numbers(&worker.read(product, 0..product.len())?),
                trace,
                is_verified,
            })
        })?;
        Ok(Turn::Done(found))
    }
}
