//! Jacobi's method as an application: what it can be asked for, and what it says in the end.

use plurix::Station;

use super::{Jacobi, JacobiOptions, Outcome, serial};
use crate::app::AppError;
use crate::plate::Plate;
use crate::team::app::{self, TeamApp};
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

pub(crate) fn new(options: Options, places: Places) -> Result<TeamApp<Jacobi>, AppError> {
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

impl Plate for Jacobi {
    const NAME: &'static str = "jacobi";
    const MEMBER: &'static str = "jacobi.station";
    type Options = JacobiOptions;

    fn new(options: JacobiOptions) -> Result<Self, AppError> {
        Ok(Self::new(options)?)
    }

    fn options(&self) -> &JacobiOptions {
        self.options()
    }

    fn iterations(&self) -> u64 {
        self.options().iterations
    }

    fn serial(&self) -> Outcome {
        serial(self)
    }
}
