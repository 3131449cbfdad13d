//! The run by a team of stations, on weak memory: each worker makes its rows of the factors, and then
//! those of the product, for which it reads all of the right factor.

use plurix::Result;
use plurix::plain;
use plurix::team::{Program, Region, Setup, Turn, Worker};

use super::{Factor, Matmul, Outcome, kernel};

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

impl Found {
    /// What was found of these rows and others.
    fn and(self, other: Self) -> Self {
        Outcome::from(self).and(other.into()).into()
    }
}

impl From<Outcome> for Found {
    fn from(outcome: Outcome) -> Self {
        Self {
            checksum: outcome.checksum,
            trace: outcome.trace,
            is_verified: outcome.verified.into(),
        }
    }
}

impl From<Found> for Outcome {
    fn from(found: Found) -> Self {
        Self {
            checksum: found.checksum,
            trace: found.trace,
            verified: found.is_verified == 1,
        }
    }
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

        let found = {
            let (a, b) = (worker.read(a, own.clone())?, worker.read(b, 0..b.len())?);
            self.outcome(rows.start, &a, &b, &worker.read(product, own)?)
        };
        Ok(Turn::Done(worker.reduce(Found::from(found), Found::and)?))
    }
}
