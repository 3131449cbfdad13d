//! A disk that fills up under a page server, and one that is too small from the start.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use common::namespace::{Kind, Namespace};
use common::{Member, assert_fails, json, json_of, ledger, wait_for};
use plurix::{ErrorKind, Options, Ptr, Result, Station};
use rustix::process::Signal;
use tempfile::TempDir;

const MIB: usize = 1 << 20;
/// Two segments fit a disk of 64 MiB beside the ballast, three do not.
const DISK_MIB: usize = 64;
const SEGMENTS: &str = "--segment-bytes 20MiB";
/// Checkpoints would make room in the log.
const LOG_ALONE: &str = "--segment-bytes 20MiB --checkpoint none";
const BALLAST_MIB: usize = 20;
/// What one commit changes.
const COMMIT_BYTES: usize = MIB;

/// A file system of its own, with a heap's directory in it and a socket beside it.
struct Disk {
    outside: TempDir,
    space: Namespace,
}

impl Disk {
    fn new(mib: usize) -> Option<Self> {
        let outside = tempfile::tempdir().unwrap();
        let space = Namespace::new(Kind::Mounts)?;
        let disk = outside.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let disk = disk.display();
        space.does("mount", &format!("-t tmpfs -o size={mib}m tmpfs {disk}"));
        Some(Self { outside, space })
    }

    /// Where `name` is, as seen from outside.
    fn file(&self, name: &str) -> PathBuf {
        let disk = self.outside.path().join("disk");
        let disk = disk.strip_prefix("/").unwrap();
        self.space.root().join(disk).join(name)
    }

    /// A file that takes room; answers how much of it there was.
    fn ballast(&self, mib: usize) -> usize {
        let mut file = File::create(self.file("ballast")).unwrap();
        let full = |_: &usize| file.write_all(&[1; 4096]).is_ok();
        (0..mib * MIB / 4096).take_while(full).count() * 4096
    }

    fn make_room(&self) {
        std::fs::remove_file(self.file("ballast")).unwrap();
    }

    fn heap(&self) -> String {
        self.outside.path().join("disk/heap").display().to_string()
    }

    fn address(&self) -> String {
        format!("unix:{}/socket", self.outside.path().display())
    }

    fn server_line(&self, more: &str) -> String {
        let (heap, address) = (self.heap(), self.address());
        format!("page-server --dir {heap} --listen {address} {more}")
    }

    fn server(&self) -> Member {
        Member::ready_of(self.space.plurix(&self.server_line(LOG_ALONE))).0
    }

    fn station(&self) -> Station {
        let mut options = Options::default();
        options.log_full_patience = Duration::ZERO;
        Station::join(&self.address().parse().unwrap(), options).unwrap()
    }
}

/// A number that says how many commits were answered, in commits that take much room.
struct Counter(Ptr<[u64]>);

impl Counter {
    fn open(station: &mut Station) -> Self {
        let values = vec![0; COMMIT_BYTES / size_of::<u64>()];
        let made = station.transaction(|tx| {
            let ptr = tx.alloc_slice_from(&values)?;
            tx.set_root("counter", ptr)?;
            Ok(ptr)
        });
        Self(made.unwrap())
    }

    fn raise(&self, station: &mut Station) -> Result<()> {
        station.transaction(|tx| {
            tx.get_mut(self.0)?.iter_mut().for_each(|value| *value += 1);
            Ok(())
        })
    }

    /// Raises it until there is no room, once at least; answers how often.
    fn raise_while_there_is_room(&self, station: &mut Station) -> u64 {
        let mut answered = 0;
        loop {
            match self.raise(station) {
                Ok(()) => answered += 1,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::LogFull), "{error}");
                    return answered;
                }
            }
        }
    }

    fn value(station: &mut Station) -> u64 {
        station.latest().unwrap();
        let values = station.transaction(|tx| {
            let ptr = tx.root::<[u64]>("counter")?;
            Ok(tx.get(ptr)?.to_vec())
        });
        let values = values.unwrap();
        assert!(values.iter().all(|value| *value == values[0]), "torn");
        values[0]
    }
}

#[test]
fn a_full_disk_refuses_commits_until_there_is_room() {
    let Some(disk) = Disk::new(DISK_MIB) else {
        return;
    };
    assert_eq!(disk.ballast(BALLAST_MIB), BALLAST_MIB * MIB);
    let server = disk.server();
    let mut station = disk.station();
    let counter = Counter::open(&mut station);
    let mut answered = counter.raise_while_there_is_room(&mut station);
    assert!(answered > 30, "{answered} commits in 40 MiB");
    let status = json(&format!("status --json --join {}", disk.address()));
    assert!(status["log_full"].as_u64().unwrap() > 0, "{status}");
    // Reading and joining go on.
    assert_eq!(Counter::value(&mut disk.station()), answered);

    // What was answered survives the page server; the refused commit has not happened.
    server.signal(Signal::KILL);
    server.end();
    let server = disk.server();
    assert_eq!(Counter::value(&mut disk.station()), answered);
    answered += counter.raise_while_there_is_room(&mut station);

    // The same page server goes on once there is room.
    disk.make_room();
    wait_for("room", || counter.raise(&mut station).ok());
    answered += 1 + counter.raise_while_there_is_room(&mut station);
    assert_eq!(Counter::value(&mut disk.station()), answered);
    drop(station);
    server.signal(Signal::TERM);
    let (code, errors) = server.end();
    assert_eq!(code, Some(0), "{errors}");
    // Whoever looks after the machine was told: short, room, short again.
    let told = errors.lines().filter(|line| line.contains("heap/log"));
    assert_eq!(told.count(), 3, "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn a_full_disk_costs_checkpoints_first_and_nothing_else_while_the_log_has_room() {
    let Some(disk) = Disk::new(DISK_MIB) else {
        return;
    };
    let line = disk.server_line(&format!("{SEGMENTS} --every 20ms"));
    let (server, _) = Member::ready_of(disk.space.plurix(&line));
    let mut station = disk.station();
    let counter = Counter::open(&mut station);
    let address = disk.address();
    let is_stored = || {
        let status = ledger::status(&address);
        status
            .checkpoint
            .is_some_and(|newest| newest.commit == status.commit)
    };
    wait_for("a checkpoint", || is_stored().then_some(()));
    // Nothing is left for an image; the log has what was set aside for it.
    assert!(disk.ballast(DISK_MIB) < DISK_MIB * MIB);
    let mut answered = counter.raise_while_there_is_room(&mut station);
    assert!(answered > 10, "{answered} commits in the log's reserve");
    assert!(!is_stored(), "a checkpoint found room on a full disk");
    assert_eq!(Counter::value(&mut disk.station()), answered);

    disk.make_room();
    wait_for("room", || counter.raise(&mut station).ok());
    answered += 1;
    wait_for("a checkpoint", || is_stored().then_some(()));
    wait_for("the log to be shortened", || {
        answered += u64::from(counter.raise(&mut station).is_ok());
        let first = disk.file("heap/log/0000000000000001.log");
        (!first.exists()).then_some(())
    });
    // It can be led on for much longer than the disk is large.
    for _ in 0..2 * DISK_MIB {
        wait_for("room", || counter.raise(&mut station).ok());
        answered += 1;
    }
    drop(station);
    server.signal(Signal::KILL);
    let (_, errors) = server.end();
    let told = |what: &str| errors.lines().filter(|line| line.contains(what)).count();
    assert!(
        told("no checkpoint was taken: no room for") >= 1,
        "{errors}"
    );
    assert!(told("checkpoints are taken again") >= 1, "{errors}");
    let _server = disk.server();
    assert_eq!(Counter::value(&mut disk.station()), answered);
}

#[test]
fn a_run_waits_for_room() {
    let Some(disk) = Disk::new(DISK_MIB) else {
        return;
    };
    disk.ballast(BALLAST_MIB);
    let server = disk.server();
    let mut station = disk.station();
    Counter::open(&mut station).raise_while_there_is_room(&mut station);
    drop(station);
    server.signal(Signal::TERM);
    server.end();
    // At most one commit of the counter would have fitted; the bank needs some of that size.
    let (heap, address) = (disk.heap(), disk.address());
    let run = Member::spawn(disk.space.plurix(&format!(
        "run bank --transfers 5000 --dir {heap} --listen {address} {LOG_ALONE} --json"
    )));
    wait_for("a commit to be refused", || {
        let status = plurix::status(&address.parse().unwrap(), None).ok()?;
        (status.log_full > 0).then_some(())
    });
    disk.make_room();
    let (summary, errors) = run.end_with_output();
    let summary: serde_json::Value = serde_json::from_str(&summary).expect(&errors);
    assert_eq!(summary["verified"], true, "{errors}");
    assert_eq!(summary["deaths"].as_array().unwrap().len(), 0, "{errors}");
    assert!(errors.contains("heap/log"), "it was not told why: {errors}");
}

#[test]
fn a_disk_too_small_for_a_segment_is_named_at_the_start() {
    let Some(disk) = Disk::new(100) else {
        return;
    };
    disk.ballast(92);
    let refused = disk.space.output(&disk.server_line(""));
    assert_fails(&refused, 1, &["no room", &disk.heap(), "67108864"]);
    let heap = disk.heap();
    let refused = disk.space.output(&format!("run bank --dir {heap}"));
    assert_fails(&refused, 1, &["no room", &heap]);
    // It left nothing that is in the way of another attempt.
    disk.make_room();
    let run = format!("run bank --transfers 10 --json --dir {heap}");
    assert_eq!(json_of(disk.space.plurix(&run))["verified"], true);
}

#[test]
fn a_start_on_a_disk_without_a_free_block_is_refused_and_loses_nothing() {
    let Some(disk) = Disk::new(DISK_MIB) else {
        return;
    };
    let server = disk.server();
    let mut station = disk.station();
    let counter = Counter::open(&mut station);
    counter.raise(&mut station).unwrap();
    drop(station);
    server.signal(Signal::KILL);
    server.end();
    assert!(disk.ballast(DISK_MIB) < DISK_MIB * MIB);
    let refused = disk.space.output(&disk.server_line(SEGMENTS));
    assert_fails(&refused, 1, &["cluster", "free some disk space"]);
    disk.make_room();
    let _server = disk.server();
    assert_eq!(Counter::value(&mut disk.station()), 1);
}
