//! The run by a team of stations, on weak memory: each worker computes its rows by plain loads and
//! stores, and reads the rows next to them wherever they were computed.

use plurix::Result;
use plurix::team::{Program, Region, Setup, Turn, Worker};

use super::{EDGE, Jacobi, Outcome, kernel};
use crate::team::{from_first, inner_rows};

impl Program for Jacobi {
    /// The two copies of the grid.
    type Data = [Region<f64>; 2];
    type Output = Outcome;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<[Region<f64>; 2]> {
        let points = self.side() * self.side();
        Ok([setup.region(points)?, setup.region(points)?])
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        grids: &[Region<f64>; 2],
        phase: u64,
    ) -> Result<Turn<Outcome>> {
        let side = self.side();
        if phase == 0 {
            // Pages are kept by the station that touches them first: that which will write them.
            let rows = worker.part(side);
            for grid in grids {
                let mut own = worker.write(*grid, rows.start * side..rows.end * side)?;
                own.fill(0.0);
                if rows.contains(&0) {
                    own[..side].fill(EDGE);
                }
            }
            return Ok(Turn::Next);
        }

        let (from, to) = match phase % 2 {
            1 => (grids[0], grids[1]),
            _ => (grids[1], grids[0]),
        };
        let rows = inner_rows(worker, side);
        let around = worker.read(from, (rows.start - 1) * side..(rows.end + 1) * side)?;
        let (above, rest) = around.split_at(side);
        let (own, below) = rest.split_at(rest.len() - side);
        if phase <= self.options().iterations {
            let mut out = worker.write(to, rows.start * side..rows.end * side)?;
            kernel::relax(above, own, below, &mut out);
            return Ok(Turn::Next);
        }

        let residual = kernel::residual(above, own, below);
        drop(around);
        let residual = worker.reduce(residual, f64::max)?;
        let outcome = from_first(worker, |worker| {
            let grid = worker.read(from, 0..side * side)?;
            Ok(self.outcome(&grid, residual))
        })?;
        Ok(Turn::Done(outcome))
    }
}
