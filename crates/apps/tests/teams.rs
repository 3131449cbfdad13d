//! Each program for teams on one, two and three stations, with one worker or two at each: all find
//! what one alone finds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use plurix_apps::jacobi::{self, Jacobi, JacobiOptions};
use plurix_apps::matmul::{self, Matmul, MatmulOptions};
use plurix_apps::sor::{self, Sor, SorOptions};
use plurix_apps::sort::{self, Sort, SortOptions};
use plurix_apps::team::{Places, TeamArguments};
use plurix_apps::tsp::{self, Tsp, TspOptions};
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
    let mut app = app.into_app(Places::new(stations)).unwrap();
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
fn an_over_relaxed_plate_is_the_same_for_any_team() {
    for (side, iterations) in [(3, 4), (67, 20), (128, 7), (9, 0)] {
        let options = SorOptions {
            side,
            iterations,
            omega: 1.7,
        };
        let expected = sor::serial(&Sor::new(options).unwrap());
        check(expected.checksum, |team| {
            AppCommand::Sor(sor::Options {
                side,
                iterations,
                omega: 1.7,
                team,
            })
        });
    }
}

#[test]
fn a_product_is_the_same_for_any_team() {
    for side in [1, 2, 25, 130] {
        let options = MatmulOptions { side, seed: 3 };
        let expected = matmul::serial(&Matmul::new(options).unwrap());
        check(expected.checksum, |team| {
            AppCommand::Matmul(matmul::Options {
                side,
                seed: 3,
                team,
            })
        });
    }
}

#[test]
fn a_tour_is_the_same_for_any_team() {
    for (cities, seed) in [(3, 1), (4, 2), (9, 5), (12, 4)] {
        let expected = tsp::serial(&Tsp::new(TspOptions { cities, seed }).unwrap());
        check(expected.checksum, |team| {
            AppCommand::Tsp(tsp::Options { cities, seed, team })
        });
    }
}

#[test]
fn a_file_is_sorted_the_same_by_any_team() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for keys in [0, 1, 7, 1000, 150_001] {
        let (input, out) = (path(&format!("{keys}")), path("sorted"));
        sort::generate(&input, keys, 5).unwrap();
        let alone = SortOptions {
            input: input.clone(),
            output: Some(path("alone")),
        };
        let expected = sort::serial(&Sort::new(alone).unwrap()).unwrap();
        check(expected.checksum, |team| {
            let _ = std::fs::remove_file(&out);
            AppCommand::Sort(sort::Options {
                out: Some(out.clone()),
                team,
                ..sort::Options::new(&input)
            })
        });
        let read = |path: &Path| std::fs::read(path).unwrap();
        assert!(read(&out) == read(&path("alone")), "{keys} keys");
    }
}

#[test]
fn a_file_of_random_keys_is_made_where_none_is() {
    let directory = tempfile::tempdir().unwrap();
    let options = || sort::Options {
        generate: Some(5000),
        team: arguments(1),
        ..sort::Options::new(directory.path().join("keys"))
    };
    let reports = [1, 2].map(|stations| run(stations, AppCommand::Sort(options())));
    assert!(reports.iter().all(|report| report.verified));
    let [first, again] = reports.map(|report| fact(&report, "checksum"));
    assert_eq!(first, again);
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
        let refused = app.into_app(Places::new(stations));
        assert!(matches!(refused, Err(AppError::Input(_))), "{stations}");
    }
}
