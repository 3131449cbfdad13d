//! What a crash, a power cut and decay leave of a page server's log, and what the next start makes
//! of it.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Member, assert_fails, crc32, output, stations, wait_for};
use plurix::{Options, Station};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Where the first record of a segment begins; `docs/file-format.md` has all of this.
const RECORDS_AT: usize = 128;
const RECORD_HEAD_BYTES: usize = 40;

/// A heap on disk whose page server was killed, and how many commits it had answered.
struct Crashed {
    dir: TempDir,
    durability: &'static str,
    answered: u64,
}

impl Crashed {
    fn new(durability: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let heap = dir.path().join("heap");
        let (server, address) = Member::server(&heap, &format!("--durability {durability}"));
        let mut station = Station::join(&address.parse().unwrap(), Options::default()).unwrap();
        let made = station.transaction(|tx| {
            let counter = tx.alloc(0u64)?;
            tx.set_root("counter", counter)?;
            Ok(counter)
        });
        let counter = made.unwrap();
        let answered = 20;
        for _ in 0..answered {
            let raised = station.transaction(|tx| {
                *tx.get_mut(counter)? += 1;
                Ok(())
            });
            raised.unwrap();
        }
        // While the station lives, so that the last record is that of its last commit.
        server.signal(Signal::KILL);
        server.end();
        Self {
            dir,
            durability,
            answered,
        }
    }

    fn heap(&self) -> PathBuf {
        self.dir.path().join("heap")
    }

    fn segment(&self) -> PathBuf {
        self.heap().join("log/0000000000000001.log")
    }

    /// Changes the log, given the offsets of its records, the last one that of their end.
    fn change(&self, change: impl FnOnce(&mut Vec<u8>, &[usize])) {
        let mut log = fs::read(self.segment()).unwrap();
        let records = records(&log);
        change(&mut log, &records);
        fs::write(self.segment(), log).unwrap();
    }

    /// Makes the last leadership one of another run of the kernel: the power has failed since.
    fn cut_power(&self) {
        let file = self.heap().join("cluster");
        let mut identity = fs::read(&file).unwrap();
        identity[48] ^= 0xff;
        let covered = [&identity[..12], &identity[16..]].concat();
        identity[12..16].copy_from_slice(&crc32(&covered).to_le_bytes());
        fs::write(file, identity).unwrap();
    }

    fn line(&self) -> String {
        let (heap, durability) = (self.heap(), self.durability);
        let heap = heap.display();
        format!("page-server --dir {heap} --listen unix:{heap}.socket --durability {durability}")
    }

    /// Starts the page server anew; answers what it says, and the counter's value.
    fn restart(&self) -> (Value, u64) {
        let (_server, ready) = Member::ready(&self.line());
        let address = ready["addresses"][0].as_str().unwrap();
        (ready.clone(), value(address))
    }
}

/// What the counter says at `address`.
fn value(address: &str) -> u64 {
    let mut station = Station::join(&address.parse().unwrap(), Options::default()).unwrap();
    let value = station.transaction(|tx| {
        let counter = tx.root::<u64>("counter")?;
        Ok(*tx.get(counter)?)
    });
    value.unwrap()
}

/// Where the records of a segment begin, and where they end.
fn records(segment: &[u8]) -> Vec<usize> {
    let mut at = RECORDS_AT;
    let mut records = vec![at];
    loop {
        let length = u32::from_le_bytes(segment[at..at + 4].try_into().unwrap());
        if length == 0 {
            return records;
        }
        at += (length as usize).next_multiple_of(8);
        records.push(at);
    }
}

/// The beginning of a record that a power cut left half on disk.
fn tear(log: &mut [u8], at: usize, from: usize) {
    let head: Vec<u8> = log[from..from + RECORD_HEAD_BYTES].to_vec();
    log[at..at + RECORD_HEAD_BYTES].copy_from_slice(&head);
}

#[track_caller]
fn assert_cut_off(ready: &Value, place: &Path, at: usize) {
    let torn = ready["torn"].as_str().unwrap_or_default();
    let parts = [place.display().to_string(), format!("byte {at}:")];
    assert!(parts.iter().all(|part| torn.contains(part)), "{ready}");
}

#[test]
fn a_record_that_a_power_cut_left_unfinished_is_cut_off_and_no_answer_is_missing() {
    let crashed = Crashed::new("durable");
    let mut end = 0;
    crashed.change(|log, records| {
        end = records[records.len() - 1];
        tear(log, end, records[records.len() - 2]);
    });
    crashed.cut_power();
    let (ready, value) = crashed.restart();
    assert_cut_off(&ready, &crashed.segment(), end);
    assert_eq!(ready["rolled_back"], false);
    assert_eq!(value, crashed.answered);
    // What was cut off is gone for good.
    let (ready, value) = crashed.restart();
    assert_eq!((&ready["torn"], value), (&Value::Null, crashed.answered));
}

#[test]
fn the_same_remains_without_a_power_cut_are_damage() {
    let crashed = Crashed::new("durable");
    let mut end = 0;
    crashed.change(|log, records| {
        end = records[records.len() - 1];
        tear(log, end, records[records.len() - 2]);
    });
    let segment = crashed.segment().display().to_string();
    let refused = output(&crashed.line());
    assert_fails(&refused, 1, &["damaged", &segment, &format!("byte {end},")]);
}

#[test]
fn what_a_power_cut_took_of_unsynced_commits_rolls_everybody_back() {
    let crashed = Crashed::new("memory");
    let heap = crashed.heap();
    let address = format!("unix:{}.socket", heap.display());
    // A station of another machine, which the power cut leaves alive.
    let (server, _) = Member::server(&heap, "");
    let (station, ready) = Member::ready(&format!("station --join {address}"));
    let old = ready["incarnation"].as_u64().unwrap();
    server.signal(Signal::KILL);
    server.end();
    let mut at = 0;
    crashed.change(|log, records| {
        // The last five commits are not on disk, the fifth last but for its first bytes.
        at = commit(log, records, 5);
        log[at + 16..].fill(0);
    });
    crashed.cut_power();
    let (_server, ready) = Member::ready(&crashed.line());
    assert_cut_off(&ready, &crashed.segment(), at);
    assert_eq!(
        (&ready["rolled_back"], &ready["generation"]),
        (&Value::from(true), &Value::from(1))
    );
    assert_eq!(value(&address), crashed.answered - 5);
    let back = wait_for("the station", || {
        let new = |one: &(u64, u64)| one.1 > old;
        stations(&address).into_iter().find(new)
    });
    assert!(back.1 > old);
    station.signal(Signal::TERM);
    assert_eq!(station.end().0, Some(0));
}

/// Where the record of a commit stands, counted from the last one.
fn commit(log: &[u8], records: &[usize], from_end: usize) -> usize {
    let is_commit = |at: &&usize| log[**at + 8] == 1;
    let (_, whole) = records.split_last().unwrap();
    *whole
        .iter()
        .rev()
        .filter(is_commit)
        .nth(from_end - 1)
        .unwrap()
}

#[test]
fn a_synced_commit_that_is_missing_is_damage_even_after_a_power_cut() {
    let crashed = Crashed::new("durable");
    let mut at = 0;
    crashed.change(|log, records| {
        at = commit(log, records, 5);
        let next = records[records.iter().position(|one| *one == at).unwrap() + 1];
        log[at..next].fill(0);
    });
    crashed.cut_power();
    let segment = crashed.segment().display().to_string();
    let refused = output(&crashed.line());
    assert_fails(&refused, 1, &["damaged", &segment, &format!("byte {at},")]);
}

#[test]
fn a_damaged_log_is_named_and_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let (server, address) = Member::server(&heap, "");
    let (_station, _) = Member::ready(&format!("station --join {address}"));
    server.signal(Signal::TERM);
    server.end();
    let segment = fs::read_dir(heap.join("log"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    flip_a_bit(&segment);
    let failed = output(&format!(
        "page-server --dir {} --listen {address}",
        heap.display()
    ));
    assert_fails(&failed, 1, &["damaged", "nothing was loaded"]);
}

/// In the middle of what was logged, so that whole records follow.
fn flip_a_bit(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let at = (end / 2..end).find(|at| bytes[*at] != 0).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}
