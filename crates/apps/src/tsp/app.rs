//! The shortest round trip as an application: what it can be asked for, and what it says in the end.

use plurix::{Result, Station, Transaction};
use zerocopy::IntoBytes;

use super::kernel::Best;
use super::{Tsp, TspOptions, serial};
use crate::app::{AppError, Report};
use crate::team::app::{self, TeamApp, TeamProgram};
use crate::team::{Places, TeamArguments};

/// Options of the round trip.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = "Examples:
  plurix run tsp --stations 2
  plurix run tsp --stations 3 --workers 2 --cities 18 --kill 1@500ms

If a station dies, all go back to the last recovery line; the result is the same.")]
pub struct Options {
    /// How many cities there are, 3 to 20; each more takes several times as long
    #[arg(long, value_name = "N", default_value_t = TspOptions::default().cities)]
    pub cities: u64,
    /// Chooses where they are
    #[arg(long, value_name = "N", default_value_t = TspOptions::default().seed)]
    pub seed: u64,
    /// How the team is made up.
    #[command(flatten)]
    pub team: TeamArguments,
}

impl Default for Options {
    fn default() -> Self {
        let TspOptions { cities, seed } = TspOptions::default();
        Self {
            cities,
            seed,
            team: TeamArguments::default(),
        }
    }
}

pub(crate) fn new(options: Options, places: Places) -> std::result::Result<TeamApp<Tsp>, AppError> {
    let Options { cities, seed, team } = options;
    TeamApp::new(Tsp::new(TspOptions { cities, seed })?, team, places)
}

/// Enables a station to search round trips.
pub(crate) fn register(station: &mut Station) {
    app::register::<Tsp>(station);
}

impl TeamProgram for Tsp {
    const NAME: &'static str = "tsp";
    const MEMBER: &'static str = "tsp.station";
    type Settings = TspOptions;

    fn identity(&self) -> Vec<u8> {
        self.options().as_bytes().to_vec()
    }

    fn settings(&self, _: &mut Transaction<'_>) -> Result<TspOptions> {
        Ok(*self.options())
    }

    fn load(tx: &Transaction<'_>, options: &TspOptions) -> Result<Self> {
        Self::new(*options).map_err(|error| tx.abort(error))
    }

    fn phases(&self) -> u64 {
        3
    }

    fn judge(&self, best: &Best, verifies: bool) -> std::result::Result<Report, AppError> {
        let outcome = self.outcome(&self.map(), best);
        let tour: Vec<String> = outcome.tour.iter().map(ToString::to_string).collect();
        let mut report = app::report(outcome.checksum)
            .with("length", outcome.length)
            .with("tour", tour.join(" "));
        report.verified = outcome.verified;
        Ok(app::compare(report, &outcome, verifies, || serial(self)))
    }
}
