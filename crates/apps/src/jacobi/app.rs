//! Jacobi's method as an application: what it can be asked for, and what it says in the end.

use plurix::{Result, Station, Transaction};
use zerocopy::IntoBytes;

use super::{Jacobi, JacobiOptions, Outcome, serial};
use crate::app::{AppError, Report};
use crate::team::app::{self, TeamApp, TeamProgram};
use crate::team::{Places, TeamArguments};

/// Options of the plate.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = "Examples:
  plurix run jacobi --stations 2
  plurix run jacobi --stations 2 --workers 2 --kill 1@1s --iterations 2000
  plurix run jacobi --stations 3 --side 4096 --no-verify

If a station dies, all go back to the last recovery line; the result is the same, bit for bit.")]
pub struct Options {
    /// Points along each side of the plate, the edges included
    #[arg(long, value_name = "N", default_value_t = JacobiOptions::default().side)]
    pub side: u64,
    /// How often each point is computed
    #[arg(long, value_name = "N", default_value_t = JacobiOptions::default().iterations)]
    pub iterations: u64,
    /// How the team is made up.
    #[command(flatten)]
    pub team: TeamArguments,
}

impl Default for Options {
    fn default() -> Self {
        let JacobiOptions { side, iterations } = JacobiOptions::default();
        Self {
            side,
            iterations,
            team: TeamArguments::default(),
        }
    }
}

pub(crate) fn new(
    options: Options,
    places: Places,
) -> std::result::Result<TeamApp<Jacobi>, AppError> {
    let Options {
        side,
        iterations,
        team,
    } = options;
    TeamApp::new(
        Jacobi::new(JacobiOptions { side, iterations })?,
        team,
        places,
    )
}

/// Enables a station to compute plates.
pub(crate) fn register(station: &mut Station) {
    app::register::<Jacobi>(station);
}

impl TeamProgram for Jacobi {
    const NAME: &'static str = "jacobi";
    const MEMBER: &'static str = "jacobi.station";
    type Settings = JacobiOptions;

    fn identity(&self) -> Vec<u8> {
        self.options().as_bytes().to_vec()
    }

    fn settings(&self, _: &mut Transaction<'_>) -> Result<JacobiOptions> {
        Ok(*self.options())
    }

    fn load(tx: &Transaction<'_>, options: &JacobiOptions) -> Result<Self> {
        Self::new(*options).map_err(|error| tx.abort(error))
    }

    fn phases(&self) -> u64 {
        self.options().iterations + 2
    }

    fn judge(&self, found: &Outcome, verifies: bool) -> std::result::Result<Report, AppError> {
        let report = app::report(found.checksum)
            .with("residual", found.residual)
            .with("center", found.center);
        Ok(app::compare(report, found, verifies, || serial(self)))
    }
}
