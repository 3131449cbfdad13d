//! `plurix run` with programs for teams: real processes on weak memory, of which one dies in the middle.

mod common;

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
fn wrong_teams_are_refused_before_anything_starts() {
    assert_fails(&output("run jacobi --stations 65"), 1, &["64", "65"]);
    assert_fails(&output("run jacobi --side 2"), 1, &["2 x 2"]);
    assert_fails(&output("run jacobi --workers 0"), 2, &["workers"]);
}
