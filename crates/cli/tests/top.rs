//! `plurix top` beside real processes: teams that run, that have ended, and none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{Member, assert_fails, json, output, plurix, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// What the stations of the only team have done, if each has told something.
fn totals(overview: &Value) -> Option<Vec<Value>> {
    let stations = overview["teams"][0]["stations"].as_array()?.iter();
    let totals = stations.map(|station| station["total"].clone());
    let totals: Vec<_> = totals.collect();
    let are_there = !totals.is_empty() && totals.iter().all(Value::is_object);
    are_there.then_some(totals)
}

#[test]
fn what_a_team_does_is_seen_to_grow() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let heap = heap.display();
    // It lasts as long as the test.
    let line = format!(
        "run jacobi --side 300 --iterations 100000000 --stations 2 --workers 2 --no-verify --dir {heap}"
    );
    let run = Member::start(&line);
    let look = || {
        let output = output(&format!("top unix:{heap}/socket --once --json"));
        // At first there is nobody to ask.
        let overview: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some((totals(&overview)?, overview))
    };
    let (first, overview) = wait_for("what stations tell", look);
    let team = &overview["teams"][0];
    assert_eq!(team["name"], "jacobi", "{overview}");
    assert_eq!(team["state"], "runs", "{overview}");
    assert_eq!(team["workers"], 4, "{overview}");
    let share = team["recent"]["waits"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share), "{overview}");
    let share = team["imbalance"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&share), "{overview}");
    assert_eq!(first.len(), 2);
    // Not every station needs to fetch.
    let sum = |totals: &[Value], field: &str| {
        let counts = totals.iter().map(|total| total[field].as_u64().unwrap());
        counts.sum::<u64>()
    };
    for field in [
        "phases", "faults", "fetches", "pages", "notices", "messages", "bytes",
    ] {
        wait_for(field, || {
            let (later, _) = look()?;
            (sum(&later, field) > sum(&first, field)).then_some(())
        });
    }
    let table = output(&format!("top unix:{heap}/socket --once"));
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("jacobi: runs"), "{table}");
    let teams = output(&format!("top unix:{heap}/socket --once --view teams"));
    let teams = String::from_utf8(teams.stdout).unwrap();
    assert_eq!(teams.lines().count(), 5, "{teams}");
    drop(run);
}

#[test]
fn stations_are_seen_with_what_only_they_know() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = Member::server(&dir.path().join("heap"), "");
    let (_station, _) = Member::ready(&format!("station --join {address}"));
    let overview = wait_for("what a station tells", || {
        let overview = json(&format!("top {address} --once --json"));
        let told = |station: &Value| station["attempts"].as_u64() > Some(0);
        let stations = overview["stations"].as_array()?;
        stations.iter().any(told).then_some(overview.clone())
    });
    let stations = overview["stations"].as_array().unwrap();
    let station = stations.iter().find(|s| s["observer"] == false).unwrap();
    assert_eq!(station["transport"], "ring", "{overview}");
    for field in ["cache_bytes", "restarts", "misses", "waited_us"] {
        assert!(station[field].is_u64(), "{field} in {overview}");
    }
    assert!(
        station["miss_latency"]["p99_us"].as_f64() > Some(0.0),
        "{overview}"
    );
    assert!(overview["heap"]["term"].as_u64() > Some(0), "{overview}");
    assert_eq!(overview["teams"], serde_json::json!([]));
    let table = output(&format!("top {address} --once --view stations"));
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("heap: 1 stations"), "{table}");
    assert!(table.contains("works"), "{table}");
    let status = json(&format!("status --join {address} --json"));
    let told = &status["stations"][0]["numbers"];
    assert!(told["miss_latency"]["p50_us"].is_f64(), "{status}");
}

#[test]
fn a_team_that_has_ended_is_said_to_have() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let line = format!(
        "run jacobi --side 100 --iterations 20 --stations 2 --json --dir {}",
        heap.display()
    );
    assert_eq!(json(&line)["verified"], true);
    let (_server, address) = Member::server(&heap, "");
    let overview = json(&format!("top {address} --once --json"));
    let team = &overview["teams"][0];
    assert_eq!(
        (&team["state"], &team["phases"]),
        (&"ended".into(), &22.into()),
        "{overview}"
    );
    assert_eq!(team["stations"][1]["state"], "done", "{overview}");
    assert!(
        team["recent"]["faults_per_s"].as_f64().unwrap() > 0.0,
        "{overview}"
    );
}

#[test]
fn a_heap_without_teams_says_so_until_its_page_server_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = Member::server(&dir.path().join("heap"), "");
    let said = output(&format!("top --join {address} --once"));
    assert!(said.status.success());
    assert!(String::from_utf8(said.stdout).unwrap().contains("no team"));

    let watch = format!("top {address} --every 250ms");
    let (interrupted, first) = Member::ready(&watch);
    assert_eq!(first["teams"].as_array().map(Vec::len), Some(0), "{first}");
    interrupted.signal(Signal::INT);
    assert_eq!(interrupted.end().0, Some(130));

    let (watching, _) = Member::ready(&watch);
    assert!(
        output(&format!("shutdown --join {address}"))
            .status
            .success()
    );
    let (code, errors) = watching.end();
    assert_eq!(code, Some(0), "{errors}");
    assert_fails(
        &output(&format!("top {address}")),
        1,
        &["page server", &address],
    );
}

#[test]
fn nobody_who_reads_is_a_reason_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = Member::server(&dir.path().join("heap"), "");
    let mut command = plurix(&format!("top {address} --every 250ms"));
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = wait_for("its end", || child.try_wait().unwrap());
    assert!(status.success());
}
