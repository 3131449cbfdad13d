//! The sort as an application: what it can be asked for, and what it says in the end.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use plurix::{ErrorKind, Ptr, Result, Station, Transaction, plain};

use super::output::Output;
use super::team::Found;
use super::{Sort, SortOptions, generate};
use crate::app::{AppError, Report};
use crate::team::app::{self, TeamApp, TeamProgram};
use crate::team::{Places, TeamArguments};

/// Options of the sort.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(
    after_help = "The file holds numbers of 64 bits without sign, the lowest byte first. Stations read and write the
files themselves: on several machines, name files that all of them see.

Examples:
  plurix run sort keys --generate 10000000 --out sorted --stations 2
  plurix run sort keys --stations 2 --workers 2 --kill 1@300ms

The result is checked by the order of the keys and a digest of them; of an output, the whole file is
read for that, unless --no-verify is given. If a station dies, all go back to the last recovery line."
)]
pub struct Options {
    /// The file of numbers
    #[arg(value_name = "FILE")]
    pub input: PathBuf,
    /// Where to put the sorted numbers, if anywhere
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Make the file of so many random numbers first, unless it is there
    #[arg(long, value_name = "N")]
    pub generate: Option<u64>,
    /// Chooses the random numbers
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How the team is made up.
    #[command(flatten)]
    pub team: TeamArguments,
}

impl Options {
    /// The defaults for the file `input`.
    #[must_use]
    pub fn new(input: impl Into<PathBuf>) -> Self {
        Self {
            input: input.into(),
            out: None,
            generate: None,
            seed: 1,
            team: TeamArguments::default(),
        }
    }
}

/// A sort by a team.
#[derive(Debug)]
pub struct TeamSort {
    pub(super) sort: Sort,
    /// Of the whole team.
    pub(super) workers: usize,
    output: Option<Output>,
}

/// What the heap holds of it.
#[plain]
pub(crate) struct Settings {
    /// The path of the input, a zero, and the path of the output, or nothing.
    paths: Ptr<[u8]>,
    keys: u64,
    workers: u64,
}

pub(crate) fn new(
    options: Options,
    places: Places,
) -> std::result::Result<TeamApp<TeamSort>, AppError> {
    let output = options.out.as_deref().map(Output::new).transpose()?;
    output.as_ref().map(Output::check).transpose()?;
    if let Some(keys) = options.generate
        && !options.input.exists()
    {
        generate(&options.input, keys, options.seed)?;
    }
    let workers = places.stations as usize * usize::from(options.team.workers);
    let sort = TeamSort::with_output(&options.input, output, workers)?;
    TeamApp::new(sort, options.team, places)
}

/// Enables a station to sort.
pub(crate) fn register(station: &mut Station) {
    app::register::<TeamSort>(station);
}

impl TeamSort {
    /// Sorts a file by so many workers, and leaves the sorted keys nowhere.
    ///
    /// # Errors
    /// [`AppError`] if that is no file of keys.
    pub fn new(input: &Path, workers: usize) -> std::result::Result<Self, AppError> {
        Self::with_output(input, None, workers)
    }

    fn with_output(
        input: &Path,
        output: Option<Output>,
        workers: usize,
    ) -> std::result::Result<Self, AppError> {
        let input = std::path::absolute(input).map_err(AppError::file(input))?;
        // The workers write the output.
        let sort = Sort::new(SortOptions {
            input,
            output: None,
        })?;
        Ok(Self {
            sort,
            workers,
            output,
        })
    }

    /// Writes some of the sorted keys to where they belong.
    pub(super) fn write(&self, first: usize, keys: &[u64]) -> std::result::Result<(), AppError> {
        match &self.output {
            Some(output) => output.write(first, keys),
            None => Ok(()),
        }
    }

    fn paths(&self) -> Vec<u8> {
        let input = self.sort.options().input.as_os_str().as_bytes();
        let output = self.output.as_ref().map(Output::path);
        let output = output.map_or(&[][..], |path| path.as_os_str().as_bytes());
        [input, &[0], output].concat()
    }
}

impl TeamProgram for TeamSort {
    const NAME: &'static str = "sort";
    const MEMBER: &'static str = "sort.station";
    type Settings = Settings;

    fn identity(&self) -> Vec<u8> {
        let keys = self.sort.keys() as u64;
        [&self.paths()[..], &keys.to_le_bytes()].concat()
    }

    fn settings(&self, tx: &mut Transaction<'_>) -> Result<Settings> {
        Ok(Settings {
            paths: tx.alloc_slice_from(&self.paths())?,
            keys: self.sort.keys() as u64,
            workers: self.workers as u64,
        })
    }

    fn load(tx: &Transaction<'_>, settings: &Settings) -> Result<Self> {
        let paths = tx.get(settings.paths)?;
        let mut paths = paths.splitn(2, |byte| *byte == 0).map(OsStr::from_bytes);
        let (Some(input), Some(output)) = (paths.next(), paths.next()) else {
            return Err(ErrorKind::Corrupt { what: "sort" }.into());
        };
        let output = Some(Path::new(output)).filter(|path| !path.as_os_str().is_empty());
        let output = output.map(Output::new).transpose();
        let sort = output.and_then(|output| {
            Self::with_output(Path::new(input), output, settings.workers as usize)
        });
        let sort = sort.map_err(|error| tx.abort(error))?;
        if sort.sort.keys() as u64 != settings.keys {
            let (path, keys) = (Path::new(input).display(), settings.keys);
            return Err(tx.abort(format!("{path} has no longer {keys} keys")));
        }
        Ok(sort)
    }

    fn phases(&self) -> u64 {
        1
    }

    fn prepare(&self) -> std::result::Result<(), AppError> {
        let output = self.output.as_ref();
        let prepared = output.map(|output| output.prepare(self.sort.keys()));
        prepared.unwrap_or(Ok(()))
    }

    fn judge(&self, found: &Found, verifies: bool) -> std::result::Result<Report, AppError> {
        let mut report = app::report(found.checksum()).with("keys", found.output.keys);
        report.verified = found.is_right();
        if report.verified
            && let Some(output) = &self.output
        {
            report.verified = output.finish(&found.input, verifies)?;
        }
        Ok(report)
    }
}
