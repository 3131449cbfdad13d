//! Over-relaxation as an application: what it can be asked for, and what it says in the end.

use plurix::Station;

use super::{Outcome, Sor, SorOptions, serial};
use crate::app::AppError;
use crate::plate::Plate;
use crate::team::app::{self, TeamApp};
use crate::team::{Places, TeamArguments};

/// Options of the plate.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = "Examples:
  plurix run sor --stations 2
  plurix run sor --stations 2 --workers 2 --kill 2@500ms --iterations 1000
  plurix run sor --stations 3 --side 4096 --omega 1.95 --no-verify

If a station dies, all go back to the last recovery line; the result is the same, bit for bit.")]
pub struct Options {
    /// Points along each side of the plate, the edges included
    #[arg(long, value_name = "N", default_value_t = SorOptions::default().side)]
    pub side: u64,
    /// How often each point is computed
    #[arg(long, value_name = "N", default_value_t = SorOptions::default().iterations)]
    pub iterations: u64,
    /// How far a point moves: 1 as far as the mean of its neighbours, below 2
    #[arg(long, value_name = "X", default_value_t = SorOptions::default().omega)]
    pub omega: f64,
    /// How the team is made up.
    #[command(flatten)]
    pub team: TeamArguments,
}

impl Default for Options {
    fn default() -> Self {
        let SorOptions {
            side,
            iterations,
            omega,
        } = SorOptions::default();
        Self {
            side,
            iterations,
            omega,
            team: TeamArguments::default(),
        }
    }
}

pub(crate) fn new(options: Options, places: Places) -> Result<TeamApp<Sor>, AppError> {
    let Options {
        side,
        iterations,
        omega,
        team,
    } = options;
    let sor = Sor::new(SorOptions {
        side,
        iterations,
        omega,
    })?;
    TeamApp::new(sor, team, places)
}

/// Enables a station to compute plates.
pub(crate) fn register(station: &mut Station) {
    app::register::<Sor>(station);
}

impl Plate for Sor {
    const NAME: &'static str = "sor";
    const MEMBER: &'static str = "sor.station";
    type Options = SorOptions;

    fn new(options: SorOptions) -> Result<Self, AppError> {
        Ok(Self::new(options)?)
    }

    fn options(&self) -> &SorOptions {
        self.options()
    }

    fn iterations(&self) -> u64 {
        self.options().iterations
    }

    fn serial(&self) -> Outcome {
        serial(self)
    }
}
