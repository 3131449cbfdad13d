//! `plurix keys`, and a cluster of processes that know each other by them.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::program::Program;
use common::{Member, assert_fails, json, output, wait_for};
use rustix::process::Signal;
use tempfile::TempDir;

/// An authority, and the keys of one machine that is reached at the loopback address.
fn keys() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("authority");
    json(&format!("keys init {} --json", place.display()));
    let node = issue(&place, "node-1", "--host 127.0.0.1");
    (dir, node)
}

fn issue(authority: &Path, name: &str, more: &str) -> PathBuf {
    let authority_text = authority.display();
    json(&format!(
        "keys issue {authority_text} --name {name} {more} --json"
    ));
    authority.join(name)
}

#[test]
fn keys_are_made_shown_and_not_replaced_by_accident() {
    let (dir, node) = keys();
    let authority = dir.path().join("authority");
    for entry in [&authority, &node]
        .into_iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap())
    {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let expected = if entry.path().is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{:?}", entry.path());
    }
    let of_node = json(&format!("keys show {} --json", node.display()));
    assert_eq!(of_node["name"], "node-1");
    assert_eq!(of_node["hosts"], serde_json::json!(["127.0.0.1"]));
    let of_authority = json(&format!("keys show {} --json", authority.display()));
    assert_eq!(of_authority["name"], of_node["issuer"]);
    let days = |of: &serde_json::Value| {
        (of["ends"].as_u64().unwrap() - of["begins"].as_u64().unwrap()) / 86_400
    };
    assert_eq!((days(&of_node), days(&of_authority)), (365, 3650));
    let before = fs::read(node.join("machine.pem")).unwrap();
    let again = format!("keys issue {} --name node-1", authority.display());
    assert_fails(&output(&again), 1, &["machine-key.pem", "--force"]);
    let init = output(&format!("keys init {}", authority.display()));
    assert_fails(&init, 1, &["authority-key.pem", "--force"]);
    assert_eq!(fs::read(node.join("machine.pem")).unwrap(), before);
    assert!(output(&format!("{again} --force")).status.success());
    assert_ne!(fs::read(node.join("machine.pem")).unwrap(), before);
    let bad = format!("keys issue {} --name n --host a:1", authority.display());
    assert_fails(&output(&bad), 1, &["'a:1'"]);
}

#[test]
fn keys_that_are_of_no_use_are_named() {
    let (dir, node) = keys();
    let other = issue(&dir.path().join("authority"), "node-2", "");
    let status = |keys: &Path| {
        let keys = keys.display();
        output(&format!("status --join 127.0.0.1:1 --keys {keys}"))
    };
    let copied = |from: &Path, name: &str| {
        let bytes = fs::read(node.join(name)).unwrap();
        fs::copy(from.join(name), node.join(name)).unwrap();
        bytes
    };
    // Of an authority, which is no machine.
    let authority = dir.path().join("authority");
    assert_fails(
        &status(&authority),
        1,
        &["machine.pem", "plurix keys issue"],
    );
    // The key of another machine.
    let own = copied(&other, "machine-key.pem");
    assert_fails(&status(&node), 1, &["machine-key.pem", "is not the key to"]);
    fs::write(node.join("machine-key.pem"), "nothing").unwrap();
    assert_fails(&status(&node), 1, &["machine-key.pem"]);
    fs::write(node.join("machine-key.pem"), own).unwrap();
    fs::set_permissions(
        node.join("machine-key.pem"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    assert_fails(&status(&node), 1, &["chmod 600"]);
    fs::set_permissions(
        node.join("machine-key.pem"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    // Another authority.
    let elsewhere = dir.path().join("elsewhere");
    json(&format!("keys init {} --json", elsewhere.display()));
    let own = copied(&elsewhere, "authority.pem");
    assert_fails(&status(&node), 1, &["was not issued by"]);
    fs::write(node.join("authority.pem"), own).unwrap();
    // All is well again, but nobody is there.
    assert_fails(
        &status(&node),
        1,
        &["127.0.0.1:1", "no page server answers"],
    );
    // And a warning comes before the end.
    let soon = issue(&dir.path().join("authority"), "node-3", "--days 20");
    let warned = status(&soon);
    assert!(common::errors(&warned).contains("warning: this machine's certificate ends in"));
}

/// A page server that others find by TCP alone.
fn server(dir: &Path, keys: &Path, port: u16) -> (Member, u16) {
    let (heap, keys) = (dir.join("heap"), keys.display());
    let mut command = common::plurix(&format!(
        "page-server --dir {} --listen 127.0.0.1:{port} --keys {keys}",
        heap.display()
    ));
    command.env("TMPDIR", dir);
    let (member, ready) = Member::ready_of(command);
    let addresses = ready["addresses"].as_array().unwrap();
    let address = addresses.last().unwrap().as_str().unwrap();
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    (member, port)
}

#[test]
fn a_cluster_with_keys_bears_the_death_of_each_member() {
    let (dir, keys) = keys();
    let (leader, port) = server(dir.path(), &keys, 0);
    let station = |number: u32| {
        let keys = keys.display();
        Member::ready(&format!(
            "station --join 127.0.0.1:{port} --keys {keys} --station {number}"
        ))
        .0
    };
    let (first, second) = (station(1), station(2));
    let beside = format!("unix:{}/plurix-{port}.sock", dir.path().display());
    let mut bank = Program::bank(&beside, Some(&keys.join("secret")), 60_000);
    bank.goes_on(100);
    first.signal(Signal::KILL);
    first.end();
    bank.goes_on(100);
    let first = station(1);
    leader.signal(Signal::KILL);
    leader.end();
    let (leader, _) = server(dir.path(), &keys, port);
    bank.goes_on(100);
    // Who has no keys is told so, and disturbs nobody.
    let plain = output(&format!("status --join 127.0.0.1:{port}"));
    assert_fails(&plain, 1, &["--keys"]);
    bank.ends();
    let ended = output(&format!(
        "shutdown --join 127.0.0.1:{port} --keys {}",
        keys.display()
    ));
    assert!(ended.status.success(), "{}", common::errors(&ended));
    for (code, errors) in [leader.end(), first.end(), second.end()] {
        assert_eq!(code, Some(0), "{errors}");
    }
}

#[test]
fn keys_where_the_server_has_none_are_told_of() {
    let (dir, keys) = keys();
    let mut command = common::plurix(&format!(
        "page-server --dir {}/heap --listen 127.0.0.1:0",
        dir.path().display()
    ));
    command.env("TMPDIR", dir.path());
    let (_server, ready) = Member::ready_of(command);
    let addresses = ready["addresses"].as_array().unwrap();
    let address = addresses.last().unwrap().as_str().unwrap();
    let refused = output(&format!(
        "status --join {address} --keys {}",
        keys.display()
    ));
    assert_fails(&refused, 1, &["nobody speaks TLS"]);
    // It serves others as before.
    wait_for("the status", || {
        output(&format!("status --join {address}"))
            .status
            .success()
            .then_some(())
    });
}
