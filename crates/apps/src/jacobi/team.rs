//! The run by a team of stations, on weak memory: each worker computes its rows by plain loads and
//! stores, and reads the rows next to them wherever they were computed.

use plurix::Result;
use plurix::team::{Program, Region, Setup, Turn, Worker};

use super::{Jacobi, Outcome, kernel};
use crate::plate;
use crate::team::inner_rows;

impl Program for Jacobi {
    /// The two copies of the grid.
    type Data = [Region<f64>; 2];
    type Output = Outcome;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<[Region<f64>; 2]> {
        let points = self.side() * self.side();
        Ok([plate::grid(setup, points)?, plate::grid(setup, points)?])
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        grids: &[Region<f64>; 2],
        phase: u64,
    ) -> Result<Turn<Outcome>> {
        let side = self.side();
        if phase == 0 {
            plate::begin(worker, side, side, grids.map(|grid| (grid, side)))?;
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
        let rows = worker.part(side);
        let own = worker.read(from, rows.start * side..rows.end * side)?;
        let outcome = self.outcome(rows.start, &own, residual);
        drop(own);
        Ok(Turn::Done(worker.reduce(outcome, Outcome::and)?))
    }
}
