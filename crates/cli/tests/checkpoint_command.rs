//! Checkpoints by command, with real page servers: taken, looked at, gone back to, moved, removed, and
//! what is said to who gets it wrong.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::path::{Path, PathBuf};

use common::namespace::{Kind, Namespace};
use common::{Member, assert_fails, json, output, wait_for};
use plurix::{ErrorKind, Options, Ptr, Station};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Checkpoints are taken when a test says so, and small disks are enough.
const SETTINGS: &str = "--checkpoint none --segment-bytes 20MiB --keep 4";

/// A directory with a heap in which a number is counted up.
struct Heap {
    outside: TempDir,
    server: Option<(Member, String)>,
}

impl Heap {
    fn new() -> Self {
        Self {
            outside: tempfile::tempdir().unwrap(),
            server: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outside.path().join(name)
    }

    fn dir(&self) -> String {
        self.path("heap").display().to_string()
    }

    /// Starts a page server there; answers a station.
    fn start(&mut self, more: &str) -> Station {
        let started = Member::server(&self.path("heap"), &format!("{SETTINGS} {more}"));
        let address = started.1.clone();
        self.server = Some(started);
        join(&address)
    }

    fn address(&self) -> &str {
        &self.server.as_ref().unwrap().1
    }

    fn kill(&mut self) {
        let (server, _) = self.server.take().unwrap();
        server.signal(Signal::KILL);
        server.end();
    }

    fn now(&self) -> Value {
        json(&format!("checkpoint now --json --join {}", self.address()))
    }

    /// A heap with three checkpoints, of 1, 2 and 3, that has come to 4; nobody serves it.
    fn counted() -> Self {
        let mut heap = Self::new();
        let mut station = heap.start("");
        for value in 1..=3 {
            assert_eq!(count(&mut station), value);
            assert_eq!(heap.now()["id"], value);
        }
        assert_eq!(count(&mut station), 4);
        drop(station);
        heap.kill();
        heap
    }
}

fn join(address: &str) -> Station {
    Station::join(&address.parse().unwrap(), Options::default()).unwrap()
}

/// Counts up; answers the number.
fn count(station: &mut Station) -> u64 {
    station.latest().unwrap();
    let counted = station.transaction(|tx| {
        let counter: Ptr<u64> = match tx.root("counter") {
            Ok(counter) => counter,
            Err(error) if matches!(error.kind(), ErrorKind::NoSuchRoot(_)) => {
                let counter = tx.alloc(0)?;
                tx.set_root("counter", counter)?;
                counter
            }
            Err(error) => return Err(error),
        };
        let value = tx.get_mut(counter)?;
        *value += 1;
        Ok(*value)
    });
    counted.unwrap()
}

fn ids(rows: &Value) -> Vec<u64> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["id"].as_u64().unwrap()).collect()
}

#[test]
fn a_checkpoint_is_taken_when_asked_for_and_seen_while_the_page_server_runs() {
    let mut heap = Heap::new();
    let mut station = heap.start("");
    count(&mut station);
    let taken = heap.now();
    let status = plurix::status(&heap.address().parse().unwrap(), None).unwrap();
    assert_eq!(taken["commit"], status.commit);
    assert_eq!(taken["strategy"], "nonblocking");
    assert!(taken["bytes"].as_u64().unwrap() > 0, "{taken}");
    assert!(taken["age_ms"].as_u64().unwrap() < 60_000, "{taken}");
    // Nothing was committed since.
    assert_eq!(heap.now()["id"], taken["id"]);
    let told = json(&format!("status --json --join {}", heap.address()));
    let newest = &told["checkpoint"];
    assert_eq!(
        (&newest["id"], &newest["commit"]),
        (&taken["id"], &taken["commit"])
    );
    assert!(
        told["checkpoint_age_ms"].as_u64().unwrap() < 60_000,
        "{told}"
    );
    // Its manifest was written after the log was on disk through its cut.
    assert_eq!(told["durable"], taken["commit"]);
    count(&mut station);
    assert_eq!(heap.now()["id"], 2);
    let dir = heap.dir();
    let listed = json(&format!("checkpoint list --json --dir {dir}"));
    assert_eq!(ids(&listed), [1, 2]);
    let shown = json(&format!("checkpoint show 1 --json --dir {dir}"));
    assert_eq!(shown["commit"], taken["commit"]);
    assert_eq!(shown["files"].as_array().unwrap().len(), 1);
    let verified = json(&format!("checkpoint verify --json --dir {dir}"));
    assert_eq!(verified["is_whole"], true);
    let differs = json(&format!("checkpoint diff 1 2 --json --dir {dir}"));
    assert!(differs["pages_changed"].as_u64().unwrap() > 0, "{differs}");
    // For people, no line is longer than a terminal is wide.
    for what in ["list", "show", "verify", "diff 1 2"] {
        let said = output(&format!("checkpoint {what} --dir {dir}"));
        assert!(said.status.success(), "{what}");
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(
            said.lines().all(|line| line.chars().count() <= 80),
            "{said}"
        );
    }
}

#[test]
fn a_heap_goes_back_and_its_stations_are_told() {
    let mut heap = Heap::new();
    let mut station = heap.start("");
    count(&mut station);
    heap.now();
    count(&mut station);
    heap.now();
    count(&mut station);
    heap.kill();
    let mut fresh = heap.start("--restore 1");
    assert_eq!(count(&mut fresh), 2);
    // It saw 3 of what is now abandoned.
    let told = wait_for("the end of the old handle", || station.latest().err());
    assert!(
        matches!(told.kind(), ErrorKind::RolledBack { .. }),
        "{told}"
    );
    let listed = json(&format!("checkpoint list --json --dir {}", heap.dir()));
    assert_eq!(ids(&listed), [1, 2, 3]);
    assert_eq!(listed[2]["strategy"], "restored");
    assert_eq!(listed[2]["commit"], listed[0]["commit"]);
    // Killed and started as ever, it goes on from there; and what was abandoned can be had again.
    heap.kill();
    assert_eq!(count(&mut heap.start("")), 3);
    heap.kill();
    assert_eq!(count(&mut heap.start("--restore 2")), 3);
    heap.kill();
    // Without a number it is the newest one.
    assert_eq!(count(&mut heap.start("--restore")), 3);
}

#[test]
fn a_run_goes_on_from_a_checkpoint() {
    let heap = Heap::new();
    let run = format!("run bank --transfers 300 --json --dir {}", heap.dir());
    assert_eq!(json(&run)["verified"], true);
    let listed = json(&format!("checkpoint list --json --dir {}", heap.dir()));
    let newest = ids(&listed).pop().unwrap();
    let again = json(&format!("{run} --restore {newest}"));
    assert_eq!(again["verified"], true);
}

#[test]
fn a_run_that_cannot_go_back_starts_nothing() {
    let heap = Heap::counted();
    let (dir, nowhere) = (heap.dir(), heap.path("nowhere").display().to_string());
    let files = std::fs::read_dir(&dir).unwrap().count();
    for (line, told) in [
        (format!("--restore 77 --dir {dir}"), ["77", "1, 2, 3"]),
        (
            format!("--restore 1 --dir {nowhere}"),
            [&nowhere, "no store"],
        ),
        (format!("--restore --dir {nowhere}"), [&nowhere, "no store"]),
        ("--restore 1".to_owned(), ["--restore", "--dir"]),
    ] {
        assert_fails(&output(&format!("run bank {line}")), 2, &told);
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), files);
    assert!(!heap.path("nowhere").exists());
}

#[test]
fn a_heap_moves_to_another_directory_as_one_file() {
    let mut heap = Heap::counted();
    let (dir, file) = (heap.dir(), heap.path("heap.plurix"));
    let file = file.display();
    let exported = json(&format!(
        "checkpoint export {file} 2 --json --dir {dir} --compress lz4"
    ));
    assert_eq!(exported["checkpoint"]["id"], 2);
    let refused = output(&format!("checkpoint export {file} --dir {dir}"));
    assert_fails(&refused, 1, &[&file.to_string(), "--force"]);
    json(&format!(
        "checkpoint export {file} 2 --json --dir {dir} --force"
    ));
    for (name, option) in [("copy", ""), ("twin", "--new-cluster")] {
        let copy = heap.path(name);
        let made = json(&format!(
            "checkpoint import {file} --json --dir {} --segment-bytes 20MiB {option}",
            copy.display()
        ));
        assert_eq!(made["checkpoint"]["strategy"], "imported");
        let same =
            made["cluster"] == json(&format!("checkpoint show --json --dir {dir}"))["cluster"];
        assert_eq!(same, name == "copy");
        let (dir, address) = (copy.display(), format!("unix:{}.socket", copy.display()));
        let start = format!("page-server --dir {dir} --listen {address} {SETTINGS}");
        let (server, ready) = Member::ready(&start);
        // It has a generation of its own, and yet nothing of it is missing.
        assert_eq!(
            (&ready["generation"], &ready["rolled_back"]),
            (&1.into(), &false.into())
        );
        assert_eq!(count(&mut join(&address)), 3);
        server.signal(Signal::KILL);
        server.end();
    }
    let refused = output(&format!("checkpoint import {file} --dir {dir}"));
    assert_fails(&refused, 1, &[&dir, "empty"]);
    // The original is as it was.
    assert_eq!(count(&mut heap.start("")), 5);
}

#[test]
fn damage_is_named_and_nothing_is_made_of_it() {
    let heap = Heap::counted();
    let dir = heap.dir();
    let file = heap.path("heap.plurix");
    let exported = format!("checkpoint export {} 1 --dir {dir}", file.display());
    assert!(output(&exported).status.success());
    flip(&file, 5000);
    let copy = heap.path("copy");
    let line = format!(
        "checkpoint import {} --dir {}",
        file.display(),
        copy.display()
    );
    assert_fails(&output(&line), 1, &["heap.plurix", "damaged"]);
    assert!(!copy.join("cluster").exists());
    let image = heap.path("heap/images/0000000001.image");
    flip(&image, 5000);
    let verified = output(&format!("checkpoint verify --dir {dir}"));
    assert_fails(&verified, 1, &["damage"]);
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(said.contains("0000000001.image"), "{said}");
    let refused = output(&format!(
        "page-server --dir {dir} --listen unix:{dir}.s --restore 1"
    ));
    assert_fails(&refused, 1, &["checkpoint 1", "damaged"]);
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn old_checkpoints_are_removed_when_nobody_uses_the_directory() {
    let mut heap = Heap::counted();
    let prune = format!("checkpoint prune --keep 2 --dir {}", heap.dir());
    let station = heap.start("");
    let pid = heap.server.as_ref().unwrap().0.pid().as_raw_nonzero();
    let used = output(&prune);
    assert_fails(&used, 1, &["in use", &pid.to_string()]);
    drop(station);
    heap.kill();
    let pruned = json(&format!("{prune} --json"));
    assert_eq!(
        (ids(&pruned["removed"]), ids(&pruned["left"])),
        (vec![1], vec![2, 3])
    );
    assert_eq!(count(&mut heap.start("")), 5);
}

#[test]
fn who_gets_it_wrong_is_told_what_to_do() {
    let heap = Heap::counted();
    let dir = heap.dir();
    let nowhere = heap.path("nowhere").display().to_string();
    for line in [
        format!("checkpoint show 9 --dir {dir}"),
        format!("checkpoint verify 9 --dir {dir}"),
        format!("checkpoint diff 1 9 --dir {dir}"),
        format!("checkpoint export {nowhere} 9 --dir {dir}"),
        format!("page-server --dir {dir} --listen unix:{dir}.s --restore 9"),
    ] {
        assert_fails(&output(&line), 1, &["checkpoint 9", "1, 2, 3"]);
    }
    for what in ["list", "show", "prune --keep 2"] {
        let refused = output(&format!("checkpoint {what} --dir {nowhere}"));
        assert_fails(&refused, 1, &[&nowhere, "no store"]);
    }
    assert!(!heap.path("nowhere").exists());
    let empty = Heap::new();
    let server = Member::server(&empty.path("heap"), SETTINGS);
    assert_eq!(
        json(&format!("checkpoint list --json --dir {}", empty.dir())),
        Value::Array(vec![])
    );
    let none = output(&format!("checkpoint show --dir {}", empty.dir()));
    assert_fails(&none, 1, &["no checkpoint yet", "checkpoint now"]);
    drop(server);
    let gone = output(&format!("checkpoint now --join unix:{nowhere}.socket"));
    assert_fails(&gone, 1, &["nowhere.socket"]);
    for line in [
        "checkpoint show 0",
        "checkpoint prune --keep 1",
        "checkpoint now",
    ] {
        let wrong = output(&format!("{line} --dir {dir}"));
        assert_eq!(wrong.status.code(), Some(2), "{line}");
    }
}

#[test]
fn a_full_disk_leaves_no_half_and_is_named() {
    let heap = Heap::counted();
    let Some(space) = Namespace::new(Kind::Mounts) else {
        return;
    };
    let disk = heap.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let shown = disk.display().to_string();
    space.does("mount", &format!("-t tmpfs -o size=1m tmpfs {shown}"));
    let inside = space.root().join(disk.strip_prefix("/").unwrap());
    // Room for less than the file, or than a segment.
    std::fs::write(inside.join("ballast"), vec![1; (1 << 20) - 8192]).unwrap();
    let refused = space.output(&format!(
        "checkpoint export {shown}/file --dir {}",
        heap.dir()
    ));
    assert_fails(&refused, 1, &["no room", "free some disk space"]);
    let file = heap.path("file");
    let exported = format!("checkpoint export {} --dir {}", file.display(), heap.dir());
    assert!(output(&exported).status.success());
    let refused = space.output(&format!(
        "checkpoint import {} --dir {shown}/copy",
        file.display()
    ));
    assert_fails(&refused, 1, &["no room", "free some disk space"]);
    let left = std::fs::read_dir(inside).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter().all(|name| name == "ballast" || name == "copy"),
        "{left:?}"
    );
}
