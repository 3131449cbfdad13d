//! The run by a team of stations, on weak memory: a phase is one iteration, and a barrier in it keeps
//! the two colours apart.

use plurix::Result;
use plurix::team::{Program, Region, Setup, Turn, Worker};

use super::kernel::{relax, residual};
use super::{Color, EDGE, Outcome, Sor};
use crate::team::{from_first, inner_rows};

impl Program for Sor {
    /// The half grids, red and black.
    type Data = [Region<f64>; 2];
    type Output = Outcome;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<[Region<f64>; 2]> {
        let points = self.half() * self.side();
        Ok([setup.region(points)?, setup.region(points)?])
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        &[red, black]: &[Region<f64>; 2],
        phase: u64,
    ) -> Result<Turn<Outcome>> {
        if phase == 0 {
            // Pages are kept by the station that touches them first: that which will write them.
            self.begin(worker, Color::Red, red)?;
            self.begin(worker, Color::Black, black)?;
            return Ok(Turn::Next);
        }
        if phase <= self.options().iterations {
            self.half_sweep(worker, Color::Red, red, black)?;
            worker.barrier()?;
            self.half_sweep(worker, Color::Black, black, red)?;
            return Ok(Turn::Next);
        }

        let of_red = self.distance(worker, Color::Red, red, black)?;
        let of_black = self.distance(worker, Color::Black, black, red)?;
        let residual = worker.reduce(of_red.max(of_black), f64::max)?;
        let outcome = from_first(worker, |worker| {
            let red = worker.read(red, 0..red.len())?;
            let black = worker.read(black, 0..black.len())?;
            Ok(self.outcome(&red, &black, residual))
        })?;
        Ok(Turn::Done(outcome))
    }
}

impl Sor {
    /// Writes what the worker's rows of one colour begin with.
    fn begin(&self, worker: &Worker<'_>, color: Color, grid: Region<f64>) -> Result<()> {
        let (half, rows) = (self.half(), worker.part(self.side()));
        let mut own = worker.write(grid, rows.start * half..rows.end * half)?;
        own.fill(0.0);
        if rows.contains(&0) {
            own[..color.count(0, self.side())].fill(EDGE);
        }
        Ok(())
    }

    /// Computes the worker's points of one colour in place.
    fn half_sweep(
        &self,
        worker: &Worker<'_>,
        color: Color,
        grid: Region<f64>,
        other: Region<f64>,
    ) -> Result<()> {
        let (half, rows) = (self.half(), inner_rows(worker, self.side()));
        let others = worker.read(other, (rows.start - 1) * half..(rows.end + 1) * half)?;
        let mut points = worker.write(grid, rows.start * half..rows.end * half)?;
        relax(
            &self.rule(),
            color,
            rows.start,
            around(&others, half),
            &mut points,
        );
        Ok(())
    }

    /// The largest distance of one of the worker's points of one colour from the mean of its
    /// neighbours.
    fn distance(
        &self,
        worker: &Worker<'_>,
        color: Color,
        grid: Region<f64>,
        other: Region<f64>,
    ) -> Result<f64> {
        let (half, rows) = (self.half(), inner_rows(worker, self.side()));
        let others = worker.read(other, (rows.start - 1) * half..(rows.end + 1) * half)?;
        let points = worker.read(grid, rows.start * half..rows.end * half)?;
        let others = around(&others, half);
        Ok(residual(&self.rule(), color, rows.start, others, &points))
    }
}

/// The row above, the rows between, and the row below.
fn around(rows: &[f64], half: usize) -> [&[f64]; 3] {
    let (above, rest) = rows.split_at(half);
    let (own, below) = rest.split_at(rest.len() - half);
    [above, own, below]
}
