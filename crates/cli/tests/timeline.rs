//! `--timeline`: what happened when, as a trace, a picture or a page; also of a run that was cut
//! short.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::path::Path;

use common::{Member, assert_fails, json, members_of, output, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// The events of a trace, each of which must have what its kind needs.
fn events(file: &Path) -> Vec<Value> {
    let trace: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap().clone();
    for event in &events {
        assert!(event["name"].is_string() && event["pid"].is_u64() && event["tid"].is_u64());
        match event["ph"].as_str().unwrap() {
            "M" => assert!(event["args"].is_object()),
            "X" => assert!(event["dur"].as_f64() >= Some(0.0) && event["ts"].as_f64() >= Some(0.0)),
            "i" | "C" => assert!(event["ts"].as_f64() >= Some(0.0), "{event}"),
            _ => panic!("{event}"),
        }
    }
    events
}

/// How many events have this phase, and this name or category.
fn count(events: &[Value], phase: &str, name: &str) -> usize {
    let named = |event: &&Value| event["name"] == name || event["cat"] == name;
    let events = events.iter().filter(|event| event["ph"] == phase);
    events.filter(named).count()
}

#[test]
fn a_trace_shows_lives_deaths_terms_and_replays() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.json");
    let summary = json(&format!(
        "run bank --stations 2 --seconds 1 --kill 1@200ms --kill server@400ms --json \
         --timeout 60s --timeline {}",
        file.display()
    ));
    assert_eq!(summary["verified"], true, "{summary}");
    let events = events(&file);
    for (phase, name, expected) in [
        ("M", "process_name", 4),
        ("X", "set up", 1),
        ("X", "work", 1),
        ("X", "finish", 1),
        ("X", "term 1", 1),
        ("X", "term 2", 1),
        ("X", "replay", 2),
        ("X", "recovery", 2),
        ("X", "start", 3),
        ("i", "kill", 2),
    ] {
        assert_eq!(count(&events, phase, name), expected, "{name}: {events:?}");
    }
    assert!(count(&events, "C", "commits/s") > 5);
}

#[test]
fn a_page_and_a_picture_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    for (name, end) in [("run.svg", "</svg>\n"), ("run.html", "</html>\n")] {
        let file = dir.path().join(name);
        let line = format!(
            "run bank --seconds 0.3 --kill 1@100ms --timeline {}",
            file.display()
        );
        assert!(output(&line).status.success());
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.ends_with(end) && text.contains("station 1: kill -9"),
            "{text}"
        );
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_run_that_fails_or_is_interrupted_leaves_its_timeline() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("failed.json");
    let line = format!(
        "run bank --transfers 1000000000 --timeout 700ms --timeline {}",
        file.display()
    );
    assert_fails(&output(&line), 1, &["700.0 ms"]);
    assert_eq!(count(&events(&file), "X", "term 1"), 1);

    let file = dir.path().join("interrupted.json");
    let run = Member::start(&format!(
        "run bank --chaos 59min --chaos-every 100ms --timeline {}",
        file.display()
    ));
    wait_for("the stations", || {
        (members_of(run.pid()).len() == 3).then_some(())
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    run.signal(Signal::INT);
    let (code, errors) = run.end();
    assert_eq!(code, Some(130), "{errors}");
    assert!(errors.contains("a strike each 100.0 ms"), "{errors}");
    assert!(count(&events(&file), "i", "kill") > 0);
}

#[test]
fn a_member_keeps_a_timeline_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let (server, station) = (file("server.json"), file("station.json"));
    let more = format!("--timeline {}", server.display());
    let (page_server, address) = Member::server(&file("heap"), &more);
    let line = format!("station --join {address} --timeline {}", station.display());
    let (member, _) = Member::ready(&line);
    for member in [member, page_server] {
        member.signal(Signal::TERM);
        let (code, errors) = member.end();
        assert_eq!(code, Some(0), "{errors}");
    }
    let of_server = events(&server);
    assert_eq!(
        (
            count(&of_server, "X", "term 1"),
            count(&of_server, "X", "replay")
        ),
        (1, 1)
    );
    assert_eq!(count(&events(&station), "X", "life"), 1);
}

#[test]
fn a_timeline_that_cannot_be_is_refused_before_the_work() {
    for command in [
        "run bank",
        "page-server --dir heap",
        "station --join unix:/x",
    ] {
        let refused = output(&format!("{command} --timeline run.png"));
        assert_fails(&refused, 2, &["run.png", ".html", ".svg", ".json"]);
    }
    let refused = output("run bank --timeline /nonexistent/run.json");
    assert_fails(&refused, 1, &["/nonexistent/run.json"]);
}
