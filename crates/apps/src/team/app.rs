//! A program for teams as an application: as many activities as stations, each of which is one station
//! of the team.
//!
//! ```text
//!   coordinator                         each station
//!     setup: record, activities   ──►   takes an activity, builds the program from the heap
//!     progress: phases run        ◄──   runs the team: phase after phase
//!     finish: judges what was found ◄─  leaves what it found with the end of the team; completes
//! ```
//!
//! A station that dies leaves its activity to a successor, with which the others go back to the newest
//! recovery line.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use plurix::activity::{Activity, Done, Work};
use plurix::team::{Program, TeamError, TeamOptions};
use plurix::{ErrorKind, Plain, Result, Station, Transaction};
use zerocopy::IntoBytes;

use super::record::{self, Member, Record};
use super::{Places, TeamArguments};
use crate::app::{App, AppError, Progress, Report};
use crate::run;

/// The most stations of a team.
const STATIONS_MAX: u16 = 64;
/// A team waits so long for stations that are missing. Who starts stations replaces them much sooner,
/// or gives up by itself.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a program for teams must add to be an application. Every worker answers the same.
pub(crate) trait TeamProgram: Program<Output: Plain> + Send + Sized + 'static {
    /// The application's name.
    const NAME: &'static str;
    /// The name of the activity of each station.
    const MEMBER: &'static str;
    /// What the heap holds, for stations to build the program from.
    type Settings: Plain;

    /// Tells this program from others of the same name.
    fn identity(&self) -> Vec<u8>;

    /// Leaves the settings in the heap.
    ///
    /// # Errors
    /// Those of the transaction.
    fn settings(&self, tx: &mut Transaction<'_>) -> Result<Self::Settings>;

    /// The program of these settings.
    ///
    /// # Errors
    /// Those of the transaction, and of settings that this station cannot use.
    fn load(tx: &Transaction<'_>, settings: &Self::Settings) -> Result<Self>;

    /// How many phases it has.
    fn phases(&self) -> u64;

    /// Makes ready what the stations find outside of the heap, before the run is in it.
    ///
    /// # Errors
    /// [`AppError`]
    fn prepare(&self) -> std::result::Result<(), AppError> {
        Ok(())
    }

    /// Tells what was found, and whether that is right. `verifies` says whether it is worth a
    /// computation that may take longer than the team's.
    ///
    /// # Errors
    /// [`AppError`]
    fn judge(&self, found: &Self::Output, verifies: bool) -> std::result::Result<Report, AppError>;
}

/// The application.
pub(crate) struct TeamApp<P> {
    program: P,
    stations: u16,
    places: Places,
    arguments: TeamArguments,
}

impl<P: TeamProgram> TeamApp<P> {
    /// The application of `program`, on a team of all stations.
    pub(crate) fn new(
        program: P,
        arguments: TeamArguments,
        places: Places,
    ) -> std::result::Result<Self, AppError> {
        let stations = u16::try_from(places.stations).unwrap_or(u16::MAX);
        if stations == 0 || stations > STATIONS_MAX {
            return Err(AppError::Input(format!(
                "{} runs on 1 to {STATIONS_MAX} stations at once, not on {}; change --stations",
                P::NAME,
                places.stations
            )));
        }
        Ok(Self {
            program,
            stations,
            places,
            arguments,
        })
    }

    fn fingerprint(&self) -> run::Fingerprint {
        let size = [self.stations, self.arguments.workers];
        let identity = self.program.identity();
        run::fingerprint([P::NAME.as_bytes(), size.as_bytes(), &identity])
    }
}

/// Enables a station to be one of a team.
pub(crate) fn register<P: TeamProgram>(station: &mut Station) {
    station.register::<Seat<P>>();
}

/// The activity of one station; its argument is which of them it is.
struct Seat<P>(PhantomData<fn() -> P>);

impl<P: TeamProgram> Activity for Seat<P> {
    const NAME: &'static str = P::MEMBER;
    type Argument = u64;
    type Output = ();

    fn run(mut work: Work<'_, Self>, number: u64) -> Result<Done<Self>> {
        let (program, team) = work.transaction(|tx| {
            let record = *tx.get(tx.root::<Record>(P::NAME)?)?;
            let settings = tx.root::<P::Settings>(&settings_name::<P>())?;
            let program = P::load(tx, tx.get(settings)?)?;
            let mut team = TeamOptions::new(P::NAME)
                .stations(record.stations as u16)
                .workers(record.workers as u16);
            team.progress = Some(record.progress);
            team.lines = record.lines();
            team.spread = record.spreads != 0;
            team.patience = PATIENCE;
            Ok((program, team))
        })?;
        let ran = work.run_team_to(&team, &program, |tx, report| {
            record::report(tx, P::NAME, number, report)
        });
        match ran {
            Ok(_) => {}
            // Its predecessor died behind the last barrier, and another station has the result.
            Err(error) if is_over(&error) => {}
            Err(error) => return Err(error),
        }
        work.complete(|tx| record::complete(tx, P::NAME, number))
    }
}

fn is_over(error: &plurix::Error) -> bool {
    matches!(error.kind(), ErrorKind::Team(why) if matches!(**why, TeamError::Over))
}

fn settings_name<P: TeamProgram>() -> String {
    format!("{}/settings", P::NAME)
}

impl<P: TeamProgram> App for TeamApp<P> {
    fn register(&self, station: &mut Station) {
        register::<P>(station);
    }

    fn setup(&mut self, station: &mut Station) -> std::result::Result<(), AppError> {
        station.latest()?;
        let is_begun = station.transaction(|tx| Ok(tx.find_root::<Record>(P::NAME)?.is_some()))?;
        if !is_begun {
            self.program.prepare()?;
        }
        let fingerprint = self.fingerprint();
        let found = |record: &Record| record.fingerprint;
        run::open_named(station, P::NAME, fingerprint, found, |tx| {
            let settings = self.program.settings(tx)?;
            let settings = tx.alloc(settings)?;
            tx.set_root(&settings_name::<P>(), settings)?;
            for number in 0..self.stations {
                tx.spawn::<Seat<P>>(number.into())?;
            }
            let size = (self.stations, self.arguments.workers);
            Record::new(tx, fingerprint, size, self.places)
        })?;
        Ok(())
    }

    fn progress(&mut self, station: &mut Station) -> std::result::Result<Progress, AppError> {
        run::check_failures(station)?;
        let (phase, is_done) = station.transaction(|tx| {
            let record = tx.get(tx.root::<Record>(P::NAME)?)?;
            let members = tx.get(record.members)?;
            let is_done = members.iter().all(|member| member.is_done != 0);
            Ok((*tx.get(record.progress)?, is_done))
        })?;
        let total = self.program.phases();
        let done = if is_done { total } else { phase.min(total - 1) };
        Ok(Progress {
            done,
            total,
            unit: "phases",
        })
    }

    fn finish(&mut self, station: &mut Station) -> std::result::Result<Report, AppError> {
        station.latest()?;
        let (record, members) = station.transaction(|tx| {
            let record = *tx.get(tx.root::<Record>(P::NAME)?)?;
            Ok((record, tx.get(record.members)?.to_vec()))
        })?;
        let found = record.found::<P::Output>();
        let found = found.ok_or(AppError::Unfinished { app: P::NAME })?;
        let mut report = self.program.judge(&found, !self.arguments.no_verify)?;
        report.verified &= record.others == 0;
        Ok(with_members(report, &record, &members))
    }
}

/// Adds what the stations did.
fn with_members(report: Report, record: &Record, members: &[Member]) -> Report {
    let reported = || members.iter().filter(|member| member.is_reported != 0);
    let sum = |count: fn(&Member) -> u64| reported().map(count).sum::<u64>();
    let most = |count: fn(&Member) -> u64| reported().map(count).max().unwrap_or(0);
    let workers = record.stations * record.workers;
    let (waited, busy) = (sum(|member| member.waited_ns), sum(|member| member.busy_ns));
    let counted = sum(|member| member.workers);
    let mean = busy as f64 / counted.max(1) as f64;
    report
        .with("workers", workers)
        .with("phases", most(|member| member.phases))
        .with("first phase", most(|member| member.first_phase))
        .with("team restarts", most(|member| member.restarts))
        .with("team seconds", seconds(most(|member| member.elapsed_ns)))
        .with("waited", ratio(waited as f64, (waited + busy) as f64))
        .with(
            "imbalance",
            ratio(most(|member| member.busiest_ns) as f64, mean),
        )
        .with("faults", sum(|member| member.faults))
        .with("fetches", sum(|member| member.fetches))
        .with("changes", sum(|member| member.changes))
        .with("messages", sum(|member| member.messages))
        .with("bytes", sum(|member| member.bytes))
        .with("recovery lines", most(|member| member.lines))
        .with("pages in lines", sum(|member| member.line_pages))
}

/// To the microsecond.
fn seconds(ns: u64) -> f64 {
    (ns / 1000) as f64 / 1e6
}

/// Rounded to three places.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        (part / whole * 1e3).round() / 1e3
    } else {
        0.0
    }
}

/// The beginning of a report: the checksum, as people compare it.
pub(crate) fn report(checksum: u64) -> Report {
    Report {
        facts: Vec::new(),
        verified: true,
    }
    .with("checksum", format!("{checksum:016x}"))
}

/// Compares what a team has found with what `serial` answers, if that is wished.
pub(crate) fn compare<T: PartialEq>(
    report: Report,
    found: &T,
    verifies: bool,
    serial: impl FnOnce() -> T,
) -> Report {
    if !verifies {
        return report;
    }
    let begin = Instant::now();
    let expected = serial();
    let time = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut report = report.with("serial seconds", seconds(time));
    report.verified &= expected == *found;
    report
}
