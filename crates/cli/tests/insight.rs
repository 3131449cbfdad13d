//! The commands that look into a running cluster, beside real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::{Member, assert_fails, json, output, wait_for};
use plurix::activity::{Activity, Done, Work};
use plurix::{Options, Result, Station};
use serde_json::Value;

/// An activity that nobody here runs.
struct Waits;

impl Activity for Waits {
    const NAME: &'static str = "waits";
    type Argument = u64;
    type Output = u64;

    fn run(work: Work<'_, Self>, number: u64) -> Result<Done<Self>> {
        work.complete(|_| Ok(number))
    }
}

fn text(arguments: &str) -> String {
    let output = output(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn join(address: &str) -> Station {
    Station::join(&address.parse().unwrap(), Options::default()).unwrap()
}

#[test]
fn roots_and_pages_are_told_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = Member::server(&dir.path().join("heap"), "");
    assert_eq!(
        json(&format!("roots {address} --json")),
        serde_json::json!([])
    );
    let mut station = join(&address);
    let table = station
        .transaction(|tx| {
            let table = tx.alloc_slice_from(&[7u64; 3000])?;
            tx.set_root("table", table)?;
            let again = tx.alloc_slice_from(&[7u64; 3])?;
            tx.set_root("again", again)?;
            Ok(table)
        })
        .unwrap();
    let roots = json(&format!("roots {address} --json"));
    let [again, found] = roots.as_array().unwrap().as_slice() else {
        panic!("{roots}")
    };
    assert_eq!(found["name"], "table");
    assert_eq!(found["offset"], table.offset());
    assert_eq!(found["bytes"], 24_000);
    assert_eq!(found["fingerprint"], again["fingerprint"]);
    assert!(text(&format!("roots {address}")).contains("table"));

    let page = table.offset() / 4096;
    let pages = json(&format!(
        "pages {address} --range {page}..{} --json",
        page + 1
    ));
    let [run] = pages.as_array().unwrap().as_slice() else {
        panic!("{pages}")
    };
    assert_eq!((&run["use"], &run["pages"]), (&"run".into(), &6.into()));
    assert_eq!(run["held_pages"], 6, "{run}");
    assert_eq!(run["holders"][0], station.incarnation().0);
    assert!(run["last_commit"].as_u64() > Some(0));
    let all = text(&format!("pages {address} --limit 8"));
    assert!(all.contains("name directory"), "{all}");
    assert_eq!(all.lines().count(), 9, "{all}");
}

#[test]
fn activities_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = Member::server(&dir.path().join("heap"), "");
    let mut station = join(&address);
    station.transaction(|tx| tx.spawn::<Waits>(5)).unwrap();
    let told = json(&format!("activities {address} --json"));
    assert_eq!((&told["pending"], &told["claimed"]), (&1.into(), &0.into()));
    assert_eq!(told["list"][0]["name"], "waits");
    assert_eq!(told["list"][0]["state"], "pending");
    assert!(text(&format!("activities {address}")).contains("1 wait"));
}

#[test]
fn false_sharing_is_found_with_the_root_it_is_about() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = Member::server(&dir.path().join("heap"), "");
    assert!(text(&format!("conflicts {address}")).starts_with("0 transactions"));
    let (mut first, mut second) = (join(&address), join(&address));
    let cells = first
        .transaction(|tx| {
            let cells = tx.alloc_slice_from(&[0u64; 2])?;
            tx.set_root("cells", cells)?;
            Ok(cells)
        })
        .unwrap();
    for round in 0..10 {
        second.latest().unwrap();
        let mut attempts = 0;
        second
            .transaction(|tx| {
                attempts += 1;
                tx.get_mut(cells)?[1] += 1;
                if attempts == 1 {
                    first.transaction(|tx| {
                        tx.get_mut(cells)?[0] += 1;
                        Ok(())
                    })?;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(attempts, 2, "round {round}");
    }
    let table = text(&format!("conflicts {address}"));
    assert!(table.contains("false sharing"), "{table}");
    assert!(table.contains("root cells"), "{table}");
    assert!(table.contains("repr(align(64))"), "{table}");
    let told = json(&format!("conflicts {address} --json --reset"));
    let line = &told["lines"][0];
    assert_eq!(line["kind"], "false_sharing");
    assert!(line["count"].as_u64() >= Some(10), "{told}");
    assert_eq!(line["root"], "cells");
    assert_eq!(line["block"], cells.offset());
    assert_eq!(told["refused"], line["count"], "{told}");
    let told = json(&format!("conflicts {address} --json"));
    assert_eq!(told["lines"], serde_json::json!([]));
}

/// What an HTTP server answers to `request`: the status, the headers, and the body.
fn ask(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer)
}

fn get(address: &str, path: &str) -> (u16, String) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    ask(address, &head)
}

#[test]
fn metrics_are_served_to_this_machine_alone_unless_others_may() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let line = format!(
        "page-server --dir {0} --listen unix:{0}.socket",
        heap.display()
    );
    let refused = output(&format!("{line} --metrics 0.0.0.0:0"));
    assert_fails(&refused, 2, &["--metrics-public"]);
    let (_server, ready) = Member::ready(&format!("{line} --metrics 127.0.0.1:0"));
    let at = ready["metrics"].as_str().unwrap().to_owned();
    let address = format!("unix:{}.socket", heap.display());
    let (_station, _) = Member::ready(&format!("station --join {address}"));
    assert_eq!(get(&at, "/healthz").0, 200);
    let text = wait_for("what a station tells", || {
        let (code, text) = get(&at, "/metrics");
        assert_eq!(code, 200, "{text}");
        text.contains("plurix_station_attempts_total{")
            .then_some(text)
    });
    for part in [
        "# TYPE plurix_commits_total counter",
        "plurix_station_miss_seconds_bucket{station=\"1\"",
        "plurix_station_connected{station=\"1\"",
        "Content-Type: text/plain; version=0.0.4",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(get(&at, "/").0, 404);
    let post =
        "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&at, post).0, 405);
    assert_eq!(ask(&at, "nonsense\r\n\r\n").0, 400);
}

#[test]
fn a_run_logs_what_its_members_do_on_standard_error() {
    let logged = output(
        "run bank --stations 1 --tellers 2 --transfers 50 --json --log debug --log-format json",
    );
    assert!(logged.status.success(), "{logged:?}");
    let summary: Value = serde_json::from_slice(&logged.stdout).unwrap();
    assert_eq!(summary["facts"]["transfers"], 100, "{summary}");
    let lines = String::from_utf8(logged.stderr).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let has = |member: &str, name: &str| {
        lines.iter().any(|line| {
            let is_named = line["span"]["name"] == name || line["fields"]["message"] == name;
            is_named && line["member"] == member
        })
    };
    assert!(has("station 1", "the session is open"), "{lines:#?}");
    assert!(has("station 1", "attempt"));
    assert!(has("page server", "membership"));
}
