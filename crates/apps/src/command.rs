//! The applications by name, for whoever starts them: the command line and the workers.

use std::time::Duration;

use plurix::Station;

use crate::app::{App, AppError};
use crate::team::Places;
use crate::{bank, jacobi, matmul, raytrace, sor, sort, tsp, wordcount};

/// An application with its options, as a subcommand.
#[derive(Debug, Clone, PartialEq, clap::Subcommand)]
pub enum AppCommand {
    /// Render a picture: a recursive ray tracer whose scene and image live in the heap
    Raytrace(raytrace::Options),
    /// Count the words of texts, as `tr | sort | uniq -c` does
    Wordcount(wordcount::Options),
    /// Move money between accounts while auditors watch that none appears or vanishes
    Bank(bank::Options),
    /// Compute a hot plate by Jacobi's method, on a team: workers share the edges of their rows
    Jacobi(jacobi::Options),
    /// Compute a hot plate by red-black over-relaxation, on a team
    Sor(sor::Options),
    /// Multiply matrices, on a team: all workers read one of the factors
    Matmul(matmul::Options),
    /// Find the shortest round trip, on a team: workers take their work from under a lock
    Tsp(tsp::Options),
    /// Sort the numbers of a file, on a team: every worker has some for every other
    Sort(sort::Options),
}

impl AppCommand {
    /// The names of all applications.
    pub const NAMES: [&'static str; 8] = [
        "raytrace",
        "wordcount",
        "bank",
        "jacobi",
        "sor",
        "matmul",
        "tsp",
        "sort",
    ];

    /// The application's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Raytrace(_) => "raytrace",
            Self::Wordcount(_) => "wordcount",
            Self::Bank(_) => "bank",
            Self::Jacobi(_) => "jacobi",
            Self::Sor(_) => "sor",
            Self::Matmul(_) => "matmul",
            Self::Tsp(_) => "tsp",
            Self::Sort(_) => "sort",
        }
    }

    /// Whether its stations are a team, which takes recovery lines.
    #[must_use]
    pub fn is_for_teams(&self) -> bool {
        !matches!(self, Self::Raytrace(_) | Self::Wordcount(_) | Self::Bank(_))
    }

    /// Lets the application work for so long, unless the user has named an amount of work. One
    /// whose input is its work ends when that is done.
    pub fn work_for(&mut self, time: Duration) {
        if let Self::Bank(options) = self
            && options.transfers.is_none()
        {
            options.seconds.get_or_insert(time);
        }
    }

    /// The application for these places, after everything was checked that can be without a heap.
    ///
    /// # Errors
    /// [`AppError`] naming the option or the file at fault.
    pub fn into_app(self, places: Places) -> Result<Box<dyn App>, AppError> {
        Ok(match self {
            Self::Raytrace(options) => Box::new(raytrace::Raytrace::new(options)?),
            Self::Wordcount(options) => Box::new(wordcount::Wordcount::new(options)?),
            Self::Bank(options) => Box::new(bank::BankRun::new(options)?),
            Self::Jacobi(options) => Box::new(jacobi::new(options, places)?),
            Self::Sor(options) => Box::new(sor::new(options, places)?),
            Self::Matmul(options) => Box::new(matmul::new(options, places)?),
            Self::Tsp(options) => Box::new(tsp::new(options, places)?),
            Self::Sort(options) => Box::new(sort::new(options, places)?),
        })
    }
}

/// Enables a station to run the activities of all applications. A worker needs to know no more:
/// everything else is in the heap.
pub fn register_all(station: &mut Station) {
    raytrace::register(station);
    wordcount::register(station);
    bank::register(station);
    jacobi::register(station);
    sor::register(station);
    matmul::register(station);
    tsp::register(station);
    sort::register(station);
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    /// A parser that embeds the applications.
    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        app: AppCommand,
    }

    #[test]
    fn the_commands_are_well_formed_and_named() {
        let command = Line::command();
        command.clone().debug_assert();
        let about = command.get_about().map(ToString::to_string);
        assert_eq!(
            about.as_deref(),
            Some("A parser that embeds the applications")
        );
        let names: Vec<_> = command
            .get_subcommands()
            .map(|app| app.get_name())
            .collect();
        assert_eq!(names, AppCommand::NAMES);
        assert!(
            command
                .get_subcommands()
                .all(|app| app.get_after_help().is_some())
        );
    }

    #[test]
    fn defaults_are_those_of_the_command_line() {
        let parse = |line: &str| {
            let words = ["plurix"].into_iter().chain(line.split_whitespace());
            Line::try_parse_from(words).expect(line).app
        };
        for (line, options) in [
            (
                "raytrace --out x",
                AppCommand::Raytrace(raytrace::Options::new("x")),
            ),
            (
                "wordcount x",
                AppCommand::Wordcount(wordcount::Options::new(vec!["x".into()])),
            ),
            ("bank", AppCommand::Bank(bank::Options::default())),
            ("jacobi", AppCommand::Jacobi(jacobi::Options::default())),
            ("sor", AppCommand::Sor(sor::Options::default())),
            ("matmul", AppCommand::Matmul(matmul::Options::default())),
            ("tsp", AppCommand::Tsp(tsp::Options::default())),
            ("sort x", AppCommand::Sort(sort::Options::new("x"))),
        ] {
            assert_eq!(parse(line), options);
        }
    }

    #[test]
    fn only_who_has_named_no_work_works_for_a_time() {
        let seconds = Duration::from_secs(3);
        for (line, expected) in [
            ("bank", Some(seconds)),
            ("bank --seconds 0.5", Some(Duration::from_millis(500))),
            ("bank --transfers 10", None),
        ] {
            let words = ["plurix"].into_iter().chain(line.split_whitespace());
            let mut app = Line::try_parse_from(words).expect(line).app;
            app.work_for(seconds);
            let AppCommand::Bank(options) = app else {
                panic!("{line}")
            };
            assert_eq!(options.seconds, expected, "{line}");
        }
        for line in ["bank --seconds 0", "bank --transfers 1 --seconds 2"] {
            let words = ["plurix"].into_iter().chain(line.split_whitespace());
            assert!(Line::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn impossible_options_are_refused_before_anything_starts() {
        for line in [
            "raytrace --out x.png --size 6",
            "raytrace --out x.png --samples 0",
            "raytrace --out x.png --width 0",
            "raytrace --out x.png --scene /nonexistent.nff",
            "raytrace --out x.png --scene /dev/null",
            "wordcount /nonexistent",
            "wordcount /",
            "bank --accounts 1",
            "bank --amount-max 0",
            "jacobi --side 2",
            "sor --side 2",
            "sor --omega 2",
            "matmul --side 0",
            "tsp --cities 21",
            "sort /nonexistent",
            "sort /dev/null --out /nonexistent/sorted",
        ] {
            let words = ["plurix"].into_iter().chain(line.split_whitespace());
            let app = Line::try_parse_from(words).expect(line).app;
            let name = app.name();
            assert!(app.into_app(Places::new(2)).is_err(), "{line}");
            assert!(line.starts_with(name));
        }
    }
}
