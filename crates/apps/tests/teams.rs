//! Each program for teams on one, two and three stations, with one worker or two at each: all find
//! what one alone finds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use plurix_apps::jacobi::{self, Jacobi, JacobiOptions};
use plurix_apps::team::{Places, TeamArguments};
use plurix_apps::{AppCommand, AppError, Report, run_local};

/// Stations, and workers at each.
const TEAMS: [(u32, u16); 4] = [(1, 1), (2, 1), (2, 2), (3, 1)];

/// Runs what `app` makes for each team; all must find `checksum`.
fn check(checksum: u64, app: impl Fn(TeamArguments) -> AppCommand) {
    for (stations, workers) in TEAMS {
        let report = run(stations, app(arguments(workers)));
        let found = fact(&report, "checksum");
        assert_eq!(found, format!("{checksum:016x}"), "{stations} x {workers}");
        assert_eq!(fact(&report, "workers"), stations * u32::from(workers));
        assert!(report.verified, "{report:?}");
    }
}

fn run(stations: u32, app: AppCommand) -> Report {
    let mut app = app.into_app(Places { stations }).unwrap();
    run_local(&mut *app, stations as usize).unwrap()
}

fn arguments(workers: u16) -> TeamArguments {
    TeamArguments {
        workers,
        no_verify: false,
    }
}

fn fact(report: &Report, name: &str) -> serde_json::Value {
    let fact = report.facts.iter().find(|(fact, _)| fact == name);
    let fact = fact.unwrap_or_else(|| panic!("no {name} in {report:?}"));
    fact.1.clone()
}

#[test]
fn a_plate_is_the_same_for_any_team() {
    // Rows that fill no pages, more workers than rows, and none of all that.
    for (side, iterations) in [(3, 4), (67, 20), (128, 7), (9, 0)] {
        let options = JacobiOptions { side, iterations };
        let expected = jacobi::serial(&Jacobi::new(options).unwrap());
        check(expected.checksum, |team| {
            AppCommand::Jacobi(jacobi::Options {
                side,
                iterations,
                team,
            })
        });
    }
}

#[test]
fn without_verification_nothing_is_computed_twice() {
    let team = TeamArguments {
        no_verify: true,
        ..arguments(1)
    };
    let options = jacobi::Options {
        side: 20,
        iterations: 3,
        team,
    };
    let report = run(1, AppCommand::Jacobi(options));
    assert!(report.verified);
    assert!(
        report
            .facts
            .iter()
            .all(|(name, _)| name != "serial seconds")
    );
}

#[test]
fn a_team_of_too_many_stations_is_refused() {
    for stations in [0, 65, 1000] {
        let app = AppCommand::Jacobi(jacobi::Options::default());
        let refused = app.into_app(Places { stations });
        assert!(matches!(refused, Err(AppError::Input(_))), "{stations}");
    }
}
