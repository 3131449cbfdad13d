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
fn a_plate_goes_on_from_its_last_line() {
    let line = "run jacobi --side 400 --iterations 3000 --json --timeout 60s";
    let expected = json(&format!("{line} --stations 1 --checkpoint none"));
    assert_eq!(expected["facts"]["recovery lines"], 0);
    let mut went_on = 0;
    for more in [
        "--stations 2 --every 20ms --kill 1@200ms",
        "--stations 2 --every 20ms --kill 2@150ms --checkpoint blocking",
        "--stations 2 --every 20ms --kill 2@200ms --kill server@100ms --checkpoint log",
        "--stations 3 --every 20ms --kill 1@150ms --kill 3@250ms --spread",
        "--stations 2 --workers 2 --every 20ms --kill 2@200ms --spread",
    ] {
        let run = json(&format!("{line} {more}"));
        assert_eq!(run["verified"], true, "{more}: {run}");
        let found = &run["facts"]["checksum"];
        assert_eq!(found, &expected["facts"]["checksum"], "{more}: {run}");
        let deaths = run["deaths"].as_array().unwrap();
        let is_spread = more.ends_with("--spread");
        let stays = |death: &serde_json::Value| death["back_after_ms"].is_null();
        assert!(!is_spread || deaths.iter().all(stays), "{more}: {run}");
        went_on += u64::from(run["facts"]["first phase"].as_u64() > Some(0));
    }
    assert!(went_on >= 1, "no team lost a station behind a line");
}

#[test]
fn a_run_that_was_given_up_goes_on_from_its_last_line() {
    let dir = tempfile::tempdir().unwrap();
    // Longer runs, should the first ones be over, or not have come behind a line, before the time is.
    for (iterations, ms) in [(8_000, 700), (16_000, 1_500), (48_000, 4_000)] {
        let line = format!("run jacobi --side 400 --iterations {iterations} --no-verify --json");
        let heap = dir.path().join(iterations.to_string());
        let kept = format!("{line} --every 20ms --dir {}", heap.display());
        if output(&format!("{kept} --timeout {ms}ms")).status.success() {
            continue;
        }
        let (run, expected) = (json(&kept), json(&line));
        assert_eq!(run["facts"]["checksum"], expected["facts"]["checksum"]);
        if run["facts"]["first phase"].as_u64() > Some(0) {
            return;
        }
    }
    panic!("no run went on behind a line");
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
    let by_size = output("run jacobi --every 64KiB");
    assert_fails(&by_size, 2, &["65536B", "by time", "--every 1s"]);
}
