//! Stations that the system stops for a while: the others go on, and who wakes begins a new life.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::time::{Duration, Instant};

use common::program::Program;
use common::{Member, file, members_of, stations, wait_for};
use plurix_apps::wordcount::{self, Wordcount};
use rustix::process::Signal;

#[test]
fn a_station_that_was_stopped_too_long_rejoins() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = Member::server(&dir.path().join("heap"), "--silence 300ms");
    let (stopped, ready) = Member::ready(&format!("station --join {address} --station 1"));
    let (_other, _) = Member::ready(&format!("station --join {address} --station 2"));
    let old = ready["incarnation"].as_u64().unwrap();
    stopped.signal(Signal::STOP);
    wait_for("the drop", || (stations(&address).len() == 1).then_some(()));
    stopped.signal(Signal::CONT);
    let back = wait_for("the return", || {
        stations(&address).into_iter().find(|s| s.0 == 1)
    });
    assert!(back.1 > old);
    stopped.signal(Signal::TERM);
    assert_eq!(stopped.end().0, Some(0));
}

#[test]
fn a_stopped_station_does_not_stop_the_others() {
    let run = Member::start("run bank --stations 3 --transfers 5000 --silence 300ms --timeout 60s");
    let stopped = wait_for("the stations", || {
        let members = members_of(run.pid());
        let first = members
            .iter()
            .find(|(_, line)| line.contains("--station=1"))?
            .0;
        (members.len() == 4).then_some(first)
    });
    rustix::process::kill_process(stopped, Signal::STOP).unwrap();
    let pid = run.pid();
    let (code, errors) = run.end();
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(members_of(pid), []);
}

#[test]
fn a_station_that_was_stopped_for_half_a_minute_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let (server, address) = Member::server(&dir.path().join("heap"), "");
    let station = |number| Member::ready(&format!("station --join {address} --station {number}")).0;
    let (stopped, others) = (station(1), [station(2), station(3)]);
    let mut bank = Program::bank(&address, None, 60_000);
    bank.goes_on(100);
    let (number, old) = stations(&address)[0];
    assert_eq!(number, 1);

    stopped.signal(Signal::STOP);
    let stop = Instant::now();
    wait_for("the drop", || {
        stations(&address)
            .iter()
            .all(|station| station.0 != 1)
            .then_some(())
    });
    bank.goes_on(100);
    std::thread::sleep(Duration::from_secs(30).saturating_sub(stop.elapsed()));
    stopped.signal(Signal::CONT);
    let back = wait_for("the return", || {
        stations(&address).into_iter().find(|s| s.0 == 1)
    });
    assert!(back.1 > old);
    bank.ends();

    // Whatever is left to do now, it alone can do.
    for other in others {
        other.signal(Signal::TERM);
        assert_eq!(other.end().0, Some(0));
    }
    let words = file(dir.path(), "words", b"one two two three three three");
    let mut options = wordcount::Options::new(vec![words]);
    options.out = Some(dir.path().join("counts"));
    let count = Wordcount::new(options).unwrap();
    Program::begin(count, &address, None).ends();
    server.signal(Signal::TERM);
    assert_eq!((server.end().0, stopped.end().0), (Some(0), Some(0)));
}
