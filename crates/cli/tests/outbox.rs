//! An outbox that is delivered to a file while its page server is killed, and whoever delivers dies.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Member, wait_for};
use plurix::outbox::{Delivery, Entry, Journal, Sink};
use plurix::{ErrorKind, Options, Station};
use rustix::process::Signal;

const NAME: &str = "receipts";
const KILLS: u32 = 6;

/// A journal in a station that dies every few entries, with the last one taken but not removed.
struct Mortal {
    journal: Journal,
    left: u32,
}

impl Sink for Mortal {
    fn newest(&self) -> u64 {
        self.journal.newest()
    }

    fn take(&mut self, entry: &Entry) -> std::io::Result<()> {
        self.journal.take(entry)?;
        self.left -= 1;
        assert!(self.left > 0, "dies");
        Ok(())
    }

    fn settle(&mut self) -> std::io::Result<()> {
        self.journal.settle()
    }
}

fn join(address: &str) -> Station {
    wait_for("a page server", || {
        Station::join(&address.parse().unwrap(), Options::default()).ok()
    })
}

/// Pushes until `stop`; answers how many entries.
fn push(address: &str, stop: &AtomicBool) -> u64 {
    let mut station = join(address);
    loop {
        let pushed = station.transaction(|tx| {
            let mut outbox = tx.outbox(NAME)?;
            let next = outbox.pushed()? + 1;
            outbox.push(format!("entry {next}").as_bytes())
        });
        // The pauses are no part of what is tested; they keep the file short.
        thread::sleep(Duration::from_micros(200));
        if stop.load(Ordering::Relaxed) {
            return pushed.unwrap();
        }
    }
}

/// Delivers in one life after the other, until all of what was pushed is delivered.
fn deliver(address: &str, path: &Path, stop: &AtomicBool) {
    for life in 1.. {
        let died = thread::scope(|scope| {
            let life = scope.spawn(move || {
                let mut station = join(address);
                let journal = Journal::open(path).unwrap();
                let mut sink = Mortal {
                    journal,
                    left: 40 * life,
                };
                loop {
                    let is_last = stop.load(Ordering::Relaxed);
                    station.latest().unwrap();
                    match station.deliver_to(NAME, &mut sink) {
                        Ok(Delivery::Done(_)) if is_last => break,
                        Ok(_) => {}
                        Err(error) => {
                            assert!(matches!(error.kind(), ErrorKind::OutcomeUnknown), "{error}");
                        }
                    }
                }
            });
            life.join().is_err()
        });
        if !died {
            return;
        }
    }
}

#[test]
fn each_entry_is_in_the_journal_once_whoever_dies() {
    for durability in ["memory", "durable"] {
        let dir = tempfile::tempdir().unwrap();
        let heap = dir.path().join("heap");
        let path = dir.path().join("journal");
        let more = format!("--durability {durability}");
        let (mut server, address) = Member::server(&heap, &more);
        let (ended, drained) = (AtomicBool::new(false), AtomicBool::new(false));
        let pushed = thread::scope(|scope| {
            let pusher = scope.spawn(|| push(&address, &ended));
            let deliverer = scope.spawn(|| deliver(&address, &path, &drained));
            for _ in 0..KILLS {
                thread::sleep(Duration::from_millis(150));
                server.signal(Signal::KILL);
                server.end();
                (server, _) = Member::server(&heap, &more);
            }
            ended.store(true, Ordering::Relaxed);
            let pushed = pusher.join().unwrap();
            drained.store(true, Ordering::Relaxed);
            deliverer.join().unwrap();
            pushed
        });
        let journal = fs::read_to_string(&path).unwrap();
        assert_eq!(journal.lines().count() as u64, pushed, "{durability}");
        for (line, number) in journal.lines().zip(1..) {
            let is_own = line.starts_with(&format!("{number} "));
            assert!(
                is_own && line.ends_with(&format!(" entry {number}")),
                "{line}"
            );
        }
    }
}
