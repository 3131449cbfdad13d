//! `plurix run` with programs for teams: real processes on weak memory, of which one dies in the middle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;

use common::{assert_fails, json, output};

#[test]
fn a_plate_is_the_same_if_a_station_dies() {
    let line = "run jacobi --side 400 --iterations 3000 --json --timeout 60s";
    let alone = json(&format!("{line} --stations 1"));
    let expected = (&alone["verified"], &alone["facts"]["checksum"]);
    assert_eq!(expected.0, true);
    let mut restarts = 0;
    for more in [
        "--stations 2 --kill 1@100ms",
        "--stations 2 --kill 2@100ms --kill server@50ms",
        "--stations 2 --workers 2 --kill 1@80ms --kill 2@160ms",
        "--stations 3 --kill 2@50ms --kill 3@100ms",
    ] {
        let run = json(&format!("{line} {more}"));
        let found = (&run["verified"], &run["facts"]["checksum"]);
        assert_eq!(found, expected, "{more}: {run}");
        let deaths = run["deaths"].as_array().map_or(0, Vec::len);
        assert!(deaths >= 1, "{more}: {run}");
        restarts += run["facts"]["team restarts"].as_u64().unwrap_or(0);
    }
    assert!(restarts >= 1, "nobody died while a team was at work");
}

#[test]
fn every_program_finds_the_same_if_stations_die() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (keys, sorted) = (path("keys"), path("sorted"));
    for app in [
        "sor --side 300 --iterations 800".to_owned(),
        "matmul --side 700".to_owned(),
        "tsp --cities 14".to_owned(),
        format!("sort {keys} --generate 1000000 --out {sorted}"),
    ] {
        let line = format!("run {app} --json --timeout 60s");
        let alone = json(&format!("{line} --stations 1"));
        let found =
            |run: &serde_json::Value| (run["verified"].clone(), run["facts"]["checksum"].clone());
        assert_eq!(alone["verified"], true, "{alone}");
        for more in [
            "--stations 2",
            "--stations 2 --kill 1@20ms --kill 2@60ms",
            "--stations 2 --workers 2 --kill 2@40ms",
        ] {
            let run = json(&format!("{line} {more}"));
            assert_eq!(found(&run), found(&alone), "{app} {more}: {run}");
        }
    }
    assert_eq!(fs::read(sorted).unwrap().len(), 8_000_000);
}

#[test]
fn a_run_that_is_over_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (keys, sorted, heap) = (path("keys"), path("sorted"), path("heap"));
    let line =
        format!("run sort {keys} --generate 10000 --out {sorted} --dir {heap} --stations 2 --json");
    let (first, again) = (json(&line), json(&line));
    assert_eq!(first["verified"], true);
    assert_eq!(first["facts"], again["facts"]);
    let other = output(&line.replace("--stations 2", "--stations 3"));
    assert_fails(&other, 1, &["sort", "other"]);
}

#[test]
fn wrong_teams_are_refused_before_anything_starts() {
    assert_fails(&output("run jacobi --stations 65"), 1, &["64", "65"]);
    assert_fails(&output("run jacobi --side 2"), 1, &["2 x 2"]);
    assert_fails(&output("run jacobi --workers 0"), 2, &["workers"]);
}
