//! The run by a team of stations, on weak memory: a phase is one iteration, and a barrier in it keeps
//! the two colours apart.

use plurix::Result;
use plurix::team::{Program, Region, Setup, Turn, Worker};

use super::kernel::{relax, residual};
use super::{Color, Outcome, Sor};
use crate::plate;
use crate::team::inner_rows;

impl Program for Sor {
    /// The half grids, red and black.
    type Data = [Region<f64>; 2];
    type Output = Outcome;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<[Region<f64>; 2]> {
        let points = self.half() * self.side();
        Ok([plate::grid(setup, points)?, plate::grid(setup, points)?])
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        &[red, black]: &[Region<f64>; 2],
        phase: u64,
    ) -> Result<Turn<Outcome>> {
        if phase == 0 {
            let hot = |color: Color| color.count(0, self.side());
            let grids = [(red, hot(Color::Red)), (black, hot(Color::Black))];
            plate::begin(worker, self.side(), self.half(), grids)?;
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
        let (half, rows) = (self.half(), worker.part(self.side()));
        let own = rows.start * half..rows.end * half;
        let outcome = {
            let (red, black) = (worker.read(red, own.clone())?, worker.read(black, own)?);
            self.outcome(rows.start, &red, &black, of_red.max(of_black))
        };
        Ok(Turn::Done(worker.reduce(outcome, Outcome::and)?))
    }
}

impl Sor {
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
