//! `plurix page-server`, `station`, `status` and `shutdown`, each a process of its own, and what
//! mistakes do to them.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::net::TcpListener;

use common::{Member, assert_fails, file, json, output, stations, wait_for};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn a_cluster_is_started_looked_at_and_shut_down() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let (server, address) = Member::server(&heap, "--heap-bytes 1GiB");
    let (station, ready) = Member::ready(&format!("station --join {address} --station 7"));
    assert_eq!(ready["station"], 7);
    let incarnation = ready["incarnation"].as_u64().unwrap();
    assert_eq!(stations(&address), [(7, incarnation)]);
    let status = json(&format!("status --join {address} --json"));
    assert_eq!(status["heap_bytes"], 1u64 << 30);
    let table = output(&format!("status --join {address}"));
    assert!(
        String::from_utf8(table.stdout)
            .unwrap()
            .contains(&incarnation.to_string())
    );
    assert!(
        output(&format!("shutdown --join {address}"))
            .status
            .success()
    );
    assert_eq!((server.end().0, station.end().0), (Some(0), Some(0)));
    // The heap is still there, with a clean mark, in the next term.
    let (server, ready) = Member::ready(&format!(
        "page-server --dir {} --listen {address}",
        heap.display()
    ));
    assert_eq!(
        (&ready["term"], &ready["rolled_back"]),
        (&Value::from(2), &Value::from(false))
    );
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn where_nobody_listens_that_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = format!("unix:{}/nobody", dir.path().display());
    for line in [
        "status --join",
        "shutdown --join",
        "station --patience 0s --join",
    ] {
        assert_fails(
            &output(&format!("{line} {nobody}")),
            1,
            &["no page server", "nobody"],
        );
    }
    assert_fails(
        &output("status --join nowhere"),
        2,
        &["nowhere", "HOST:PORT"],
    );
}

#[test]
fn a_station_waits_for_its_page_server() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let address = format!("unix:{}.socket", heap.display());
    let station = Member::start(&format!("station --join {address}"));
    let (server, address) = Member::server(&heap, "");
    wait_for("the station", || {
        (stations(&address).len() == 1).then_some(())
    });
    // It outlives a page server that is killed, in the same incarnation.
    let before = stations(&address);
    server.signal(Signal::KILL);
    server.end();
    let (_server, address) = Member::server(&heap, "");
    wait_for("the station", || {
        (stations(&address) == before).then_some(())
    });
    station.signal(Signal::INT);
    assert_eq!(station.end().0, Some(0));
    assert_eq!(stations(&address), []);
}

#[test]
fn a_directory_or_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let (server, _) = Member::server(&heap, "");
    let other = format!("unix:{}/other", dir.path().display());
    let second = output(&format!(
        "page-server --dir {} --listen {other}",
        heap.display()
    ));
    let pid = server.pid().as_raw_nonzero().to_string();
    assert_fails(&second, 1, &["in use", &pid]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let third = dir.path().join("third");
    let third = output(&format!(
        "page-server --dir {} --listen {address}",
        third.display()
    ));
    assert_fails(&third, 1, &["in use", &address]);
}

#[test]
fn other_machines_are_let_in_with_keys_or_a_secret_only() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap").display().to_string();
    let open = output(&format!("page-server --dir {heap} --listen 0.0.0.0:0"));
    assert_fails(&open, 1, &["0.0.0.0:0", "--keys", "--insecure-plain"]);
    let open = output(&format!(
        "page-server --dir {heap} --listen 0.0.0.0:0 --insecure-plain"
    ));
    assert_fails(&open, 1, &["0.0.0.0:0", "--secret-file"]);
    let short = file(dir.path(), "short", b"short");
    let short = output(&format!(
        "page-server --dir {heap} --secret-file {}",
        short.display()
    ));
    assert_fails(&short, 1, &["secret", "16"]);
}

#[test]
fn a_wrong_secret_is_refused_and_the_right_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let right = file(dir.path(), "right", b"a secret that is long enough\n");
    let wrong = file(dir.path(), "wrong", b"another one of such a length\n");
    let (right, wrong) = (right.display(), wrong.display());
    let heap = dir.path().join("heap");
    let (_server, address) = Member::server(&heap, &format!("--secret-file {right}"));
    for wrong in [String::new(), format!("--secret-file {wrong}")] {
        for command in ["station", "status", "shutdown"] {
            let refused = output(&format!("{command} --join {address} {wrong}"));
            assert_fails(&refused, 1, &["secret"]);
        }
    }
    let secret = format!("--secret-file {right}");
    let (_station, _) = Member::ready(&format!("station --join {address} {secret}"));
    let status = json(&format!("status --json --join {address} {secret}"));
    assert_eq!(status["stations"].as_array().unwrap().len(), 1);
}

#[test]
fn a_station_does_not_join_another_cluster_unawares() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let (server, address) = Member::server(&heap, "");
    let (station, _) = Member::ready(&format!("station --join {address}"));
    server.signal(Signal::KILL);
    server.end();
    let other = dir.path().join("other");
    let other = other.display();
    let _other = Member::ready(&format!("page-server --dir {other} --listen {address}"));
    let (code, errors) = station.end();
    assert_eq!(code, Some(1));
    assert!(errors.contains("serves cluster"), "{errors}");
}

#[test]
fn a_number_that_is_taken_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = Member::server(&dir.path().join("heap"), "");
    let (_station, _) = Member::ready(&format!("station --join {address} --station 1"));
    let second = output(&format!(
        "station --join {address} --station 1 --patience 100ms"
    ));
    assert_fails(&second, 1, &["s1", "alive"]);
}
