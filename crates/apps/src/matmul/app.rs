//! The product of matrices as an application: what it can be asked for, and what it says in the end.

use plurix::{Result, Station, Transaction};
use zerocopy::IntoBytes;

use super::team::Found;
use super::{Matmul, MatmulOptions};
use crate::app::{AppError, Report};
use crate::team::app::{self, TeamApp, TeamProgram};
use crate::team::{Places, TeamArguments};

/// Options of the product.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = "Examples:
  plurix run matmul --stations 2
  plurix run matmul --stations 2 --workers 2 --side 4096 --kill 1@1s

The workers verify the product together, by vectors of random signs (Freivalds), of which a wrong one
stands all once in 65536 times. That is quick, and --no-verify does not spare it.
If a station dies, all go back to the last recovery line; the result is the same, bit for bit.")]
pub struct Options {
    /// Rows and columns of each matrix
    #[arg(long, value_name = "N", default_value_t = MatmulOptions::default().side)]
    pub side: u64,
    /// Chooses the factors
    #[arg(long, value_name = "N", default_value_t = MatmulOptions::default().seed)]
    pub seed: u64,
    /// How the team is made up.
    #[command(flatten)]
    pub team: TeamArguments,
}

impl Default for Options {
    fn default() -> Self {
        let MatmulOptions { side, seed } = MatmulOptions::default();
        Self {
            side,
            seed,
            team: TeamArguments::default(),
        }
    }
}

pub(crate) fn new(
    options: Options,
    places: Places,
) -> std::result::Result<TeamApp<Matmul>, AppError> {
    let Options { side, seed, team } = options;
    TeamApp::new(Matmul::new(MatmulOptions { side, seed })?, team, places)
}

/// Enables a station to multiply matrices.
pub(crate) fn register(station: &mut Station) {
    app::register::<Matmul>(station);
}

impl TeamProgram for Matmul {
    const NAME: &'static str = "matmul";
    const MEMBER: &'static str = "matmul.station";
    type Settings = MatmulOptions;

    fn identity(&self) -> Vec<u8> {
        self.options().as_bytes().to_vec()
    }

    fn settings(&self, _: &mut Transaction<'_>) -> Result<MatmulOptions> {
        Ok(*self.options())
    }

    fn load(tx: &Transaction<'_>, options: &MatmulOptions) -> Result<Self> {
        Self::new(*options).map_err(|error| tx.abort(error))
    }

    fn phases(&self) -> u64 {
        3
    }

    fn judge(&self, found: &Found, _: bool) -> std::result::Result<Report, AppError> {
        let mut report = app::report(found.checksum).with("trace", found.trace);
        report.verified = found.is_verified == 1;
        Ok(report)
    }
}
