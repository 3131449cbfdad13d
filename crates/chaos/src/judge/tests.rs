//! The judge on trial: a run without faults, whose processes are threads here, and every lie that
//! can be told about it.

use std::path::Path;
use std::thread;

use clap::ValueEnum;
use plurix::net::Address;
use plurix::{Options, PageServer, ServerOptions, Station};

use super::evidence::{Ground, HEAP_BYTES};
use super::falsify::Lie;
use super::*;
use crate::conductor::set_up;
use crate::history::{Entry, Journal};
use crate::inspect;
use crate::tables::Tables;
use crate::workload::{Program, Task};

const WORKERS: u32 = 3;
const STEPS: u32 = 250;

/// Runs `STEPS` transactions of one worker, and then all activities that are left.
fn work(address: &Address, directory: &Path, worker: u32) {
    let mut station = Station::join(address, Options::default()).unwrap();
    let journal = Journal::create(&directory.join(format!("{worker}"))).unwrap();
    let tables = Tables::find(&mut station).unwrap();
    Task::register(&mut station, &journal, tables);
    let mut program = Program::new(1, worker, 1, journal, tables);
    for _ in 0..STEPS {
        program.step(&mut station).unwrap();
    }
    program.drain(&mut station).unwrap();
    program.audit(&mut station, true).unwrap();
}

/// A run in `directory`: histories and a heap whose page server has ended.
fn run(directory: &Path) -> Ground {
    let address = Address::Unix(directory.join("socket"));
    let mut options = ServerOptions::new(directory.join("heap"), address.clone());
    options.heap_bytes = Some(HEAP_BYTES);
    let server = PageServer::open(options).unwrap();
    let stop = server.stop_handle();
    let server = thread::spawn(move || server.run());
    let mut observer = Station::join(&address, Options::default()).unwrap();
    let (tables, ground, heap) = set_up(&mut observer).unwrap();
    let histories = directory.join("histories");
    std::fs::create_dir(&histories).unwrap();
    thread::scope(|scope| {
        for worker in 1..=WORKERS {
            let (address, histories) = (&address, &histories);
            scope.spawn(move || work(address, histories, worker));
        }
    });
    observer.latest().unwrap();

    // The heap that is there is what the judge makes of the log that is being written.
    copy(&directory.join("heap"), &directory.join("copy"));
    let mut judge = Judge::new(ground.clone());
    let evidence = judge.gather(&histories, &directory.join("copy")).unwrap();
    judge.judge(&evidence).unwrap();
    assert!(inspect::compare(&mut observer, &judge).unwrap() > 0);
    inspect::clear(&mut observer, &tables, &judge, &heap).unwrap();
    drop(observer);
    stop.stop();
    server.join().unwrap().unwrap();
    ground
}

fn copy(from: &Path, to: &Path) {
    crate::cluster::copy(from, to).unwrap();
}

#[test]
fn the_truth_is_believed_and_no_lie_is() {
    let directory = tempfile::tempdir().unwrap();
    let ground = run(directory.path());
    let (histories, heap) = (
        directory.path().join("histories"),
        directory.path().join("copy"),
    );
    let trial = |lie: Option<Lie>| {
        let mut judge = Judge::new(ground.clone());
        let mut evidence = judge.gather(&histories, &heap).unwrap();
        let told = lie.is_none_or(|lie| lie.tell(&mut evidence));
        assert!(told, "there is nothing that {lie:?} could be about");
        let verdict = judge.judge(&evidence);
        (verdict, judge.tally())
    };
    let (verdict, tally) = trial(None);
    verdict.unwrap();
    assert!(tally.activities > 0 && tally.failed > 0 && tally.audits > 0);
    for lie in Lie::value_variants() {
        let Err(violation) = trial(Some(*lie)).0 else {
            panic!("the judge believes {lie:?}");
        };
        assert_eq!(violation.oracle, lie.oracle(), "{lie:?}: {violation}");
    }
}

#[test]
fn what_was_judged_must_stay_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let ground = run(directory.path());
    let histories = directory.path().join("histories");
    let mut judge = Judge::new(ground);
    let mut evidence = judge
        .gather(&histories, &directory.path().join("copy"))
        .unwrap();
    judge.judge(&evidence).unwrap();
    evidence.lives.clear();
    judge.judge(&evidence).unwrap();
    evidence.records.pop();
    assert_eq!(judge.judge(&evidence).unwrap_err().oracle, "durability");
}

#[test]
fn what_a_worker_found_broken_is_a_violation() {
    let life = evidence::Life {
        path: "life".into(),
        entries: vec![Entry::Broken {
            what: "a block".to_owned(),
        }],
    };
    let verdict = ExactlyOnce::default().effects(&life, &BTreeMap::new());
    assert_eq!(verdict.unwrap_err().oracle, "allocator");
}
