//! The options that all programs for teams have, and where such a program shall run.

use plurix::team::LineOptions;

/// How a team is made up, and what becomes of its result.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct TeamArguments {
    /// Workers at each station, which are threads
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Believe the result, instead of checking it by what may take longer than the run
    #[arg(long)]
    pub no_verify: bool,
}

impl Default for TeamArguments {
    fn default() -> Self {
        Self {
            workers: 1,
            no_verify: false,
        }
    }
}

/// Where an application shall run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// How many stations work. A team needs all of them at once; others take what comes.
    pub stations: u32,
    /// When teams take recovery lines, if they shall.
    pub lines: Option<LineOptions>,
    /// Stations that are lost are not replaced: the others of a team take their workers over.
    pub spread: bool,
}

impl Places {
    /// So many stations, which are replaced when they are lost, and no recovery lines.
    #[must_use]
    pub fn new(stations: u32) -> Self {
        Self {
            stations,
            lines: None,
            spread: false,
        }
    }
}
