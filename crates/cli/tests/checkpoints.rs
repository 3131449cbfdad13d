//! Page servers that take a checkpoint every few milliseconds, and are killed, copied and kept short
//! of memory meanwhile: the heap is always that of one commit, and no answered one is missing.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::ledger::{Ledger, mix, status, wait_for_checkpoint};
use common::{Member, json, members_of, wait_for};
use rustix::process::{Signal, kill_process};

/// As often as checkpoints may be taken, nearly.
const OFTEN: &str = "--every 20ms";
const STRATEGIES: [&str; 3] = ["nonblocking", "blocking", "log"];
/// How long a test strikes.
const BUDGET: Duration = Duration::from_millis(2500);

#[test]
fn no_answered_change_is_lost_by_kills_at_any_moment() {
    let (mut changes, mut recoveries) = (0, 0);
    for (seed, strategy) in (0..).zip(STRATEGIES) {
        let dir = tempfile::tempdir().unwrap();
        let heap = dir.path().join("heap");
        let line = format!("{OFTEN} --checkpoint {strategy}");
        let (begin, mut strikes, mut answered) = (Instant::now(), 0, 0);
        while begin.elapsed() < BUDGET / 3 {
            strikes += 1;
            let moment = Duration::from_millis(mix(seed, strikes) % 90);
            if strikes % 3 == 0 {
                // Before it is ready, mostly: while it reads its checkpoint and its log.
                let server = Member::start(&format!(
                    "page-server --dir {0} --listen unix:{0}.socket {line}",
                    heap.display()
                ));
                std::thread::sleep(moment / 6);
                server.signal(Signal::KILL);
                server.end();
                recoveries += 1;
                continue;
            }
            let (server, address) = Member::server(&heap, &line);
            let work = std::thread::spawn(move || work_while_served(&address, answered));
            std::thread::sleep(moment);
            server.signal(Signal::KILL);
            answered = work.join().unwrap();
        }
        let (_server, address) = Member::server(&heap, &line);
        let found = Ledger::join(&address).unwrap().check().unwrap();
        assert!(found >= answered, "{found} of {answered} changes");
        wait_for_checkpoint(&address);
        changes += found;
    }
    assert!(changes > 30 && recoveries > 3, "{changes}, {recoveries}");
}

/// Makes changes until the page server is gone; answers the newest one that is known to be made.
fn work_while_served(address: &str, answered: u64) -> u64 {
    let mut newest = answered;
    let Ok(mut ledger) = Ledger::join(address) else {
        return newest;
    };
    if let Ok(found) = ledger.check() {
        assert!(found >= answered, "{found} of {answered} changes");
    }
    while let Ok(number) = ledger.change() {
        newest = number;
    }
    newest
}

#[test]
fn programs_end_right_whatever_dies_during_checkpoints() {
    for (strategy, more) in [
        ("nonblocking", "--compress lz4"),
        ("blocking", "--durability durable"),
        ("log", "--compress zstd"),
        ("nonblocking", "--cache-bytes 64KiB"),
    ] {
        let summary = json(&format!(
            "run bank --stations 2 --chaos 1s --chaos-every 50ms --chaos-seed 5 --json \
             --timeout 60s {OFTEN} --checkpoint {strategy} {more}"
        ));
        assert_eq!(summary["verified"], true, "{strategy}: {summary}");
        assert_eq!(summary["facts"]["sum"], 1_000_000, "{strategy}");
        let strikes = summary["chaos"]["kills"].as_array().unwrap().len();
        assert!(strikes > 5, "{strikes} kills");
    }
}

#[test]
fn everything_dies_at_once_and_boots_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let line = format!(
        "run bank --stations 2 --transfers 8000 --dir {} --json {OFTEN}",
        heap.display()
    );
    let mut strikes = 0;
    for strike in 0..10 {
        let run = Member::start(&line);
        std::thread::sleep(Duration::from_millis(30 + mix(9, strike) % 250));
        let members = members_of(run.pid());
        // The run may have ended, and members may end by themselves.
        let _ = kill_process(run.pid(), Signal::KILL);
        for (pid, _) in &members {
            let _ = kill_process(*pid, Signal::KILL);
        }
        if run.end().0 == Some(0) {
            break;
        }
        strikes += 1;
        for (pid, _) in members {
            wait_for("the end of a member", || {
                (!Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists()).then_some(())
            });
        }
    }
    let summary = json(&line);
    assert_eq!(summary["verified"], true, "{summary}");
    assert!(strikes >= 3, "the bank was done after {strikes} strikes");
}

#[test]
fn an_orderly_end_leaves_nothing_to_replay() {
    for strategy in STRATEGIES {
        let dir = tempfile::tempdir().unwrap();
        let heap = dir.path().join("heap");
        // Due in an hour: only the end takes a checkpoint.
        let line = format!("--every 60min --checkpoint {strategy}");
        let (server, address) = Member::server(&heap, &line);
        Ledger::join(&address).unwrap().change_through(200);
        assert_eq!(status(&address).checkpoint, None);
        server.signal(Signal::TERM);
        assert_eq!(server.end().0, Some(0));
        let (_server, ready) = Member::ready(&format!(
            "page-server --dir {} --listen {address}",
            heap.display()
        ));
        let records = ready["records"].as_u64().unwrap();
        assert!(records <= 2, "{strategy}: {records} records replayed");
        assert_eq!(Ledger::join(&address).unwrap().check().unwrap(), 200);
    }
}

#[test]
fn a_copy_made_while_it_is_in_use_is_the_heap_of_one_commit_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let (_server, address) = Member::server(&heap, "--every 20ms --segment-bytes 20MiB");
    Ledger::join(&address).unwrap().change_through(10);
    wait_for_checkpoint(&address);
    let is_over = AtomicBool::new(false);
    let (mut whole, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut ledger = Ledger::join(&address).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                ledger.change().unwrap();
            }
        });
        let begin = Instant::now();
        while begin.elapsed() < 2 * BUDGET {
            let copy = dir.path().join("copy");
            common::copy_all(&heap, &copy);
            match start_copy(&copy) {
                true => whole += 1,
                false => refused += 1,
            }
            fs::remove_dir_all(copy).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(whole > 0, "{refused} copies were refused, all of them");
    eprintln!("{whole} copies could be used, {refused} were refused");
}

/// Starts a page server on a copy; answers whether it holds the heap of one commit, or was refused.
fn start_copy(copy: &Path) -> bool {
    let line = format!(
        "page-server --dir {0} --listen unix:{0}.socket",
        copy.display()
    );
    let address = format!("unix:{}.socket", copy.display());
    let mut server = Member::start(&line);
    let is_up = wait_for("a copy to start or to be refused", || {
        let is_up = plurix::status(&address.parse().unwrap(), None).is_ok();
        (is_up || server.has_ended()).then_some(is_up)
    });
    if !is_up {
        let (code, errors) = server.end();
        let copy = copy.display().to_string();
        let line = errors.lines().find(|line| line.starts_with("error: "));
        let line = line.unwrap_or_default();
        assert_eq!(code, Some(1), "{errors}");
        assert!(line.contains(&copy) && line.contains("copy"), "{errors}");
        return false;
    }
    assert!(Ledger::join(&address).unwrap().check().unwrap() >= 10);
    true
}

#[test]
fn programs_end_right_with_little_memory_for_pages() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let words: Vec<_> = (0..40_000u32)
        .map(|n| format!("word{}", n.wrapping_mul(n) % 9973))
        .collect();
    fs::write(path("text"), words.join(" ")).unwrap();
    for (program, cache) in [
        ("bank --accounts 20000 --transfers 1000", "256KiB"),
        (
            "raytrace --size 2 --width 160 --height 160 --samples 1 --out A",
            "64KiB",
        ),
        ("wordcount T --chunk-bytes 4096 --out A", "64KiB"),
    ] {
        let program = program
            .replace(
                " A",
                &format!(" {}", path(&format!("small-{cache}-{}", program.len()))),
            )
            .replace(" T", &format!(" {}", path("text")));
        let summary = json(&format!(
            "run {program} --stations 2 --json --timeout 60s {OFTEN} --cache-bytes {cache}"
        ));
        assert_eq!(summary["verified"], true, "{program}: {summary}");
    }
}

#[test]
fn pages_in_memory_stay_within_their_bound() {
    const CACHE_PAGES: u64 = 16;
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let (server, address) = Member::server(&heap, &format!("{OFTEN} --cache-bytes 64KiB"));
    let mut ledger = Ledger::join(&address).unwrap();
    wait_for_checkpoint(&address);
    let mut most = 0;
    for number in 1..=400 {
        ledger.change_through(number);
        most = most.max(status(&address).cached_pages);
        if number % 20 == 0 {
            Ledger::join(&address).unwrap().check().unwrap();
        }
    }
    // Half as much again while a checkpoint is written, and what one commit changes.
    assert!(most <= CACHE_PAGES * 3 / 2 + 8, "{most} pages in memory");
    assert!(status(&address).pages >= 64, "more than fit");
    server.signal(Signal::KILL);
    server.end();
    let (_server, address) = Member::server(&heap, "--cache-bytes 64KiB");
    assert_eq!(Ledger::join(&address).unwrap().check().unwrap(), 400);
    let cached = status(&address).cached_pages;
    assert!(cached <= CACHE_PAGES * 3 / 2, "{cached} pages in memory");
}

#[test]
fn a_page_server_can_load_the_heap_before_anybody_asks() {
    let dir = tempfile::tempdir().unwrap();
    let heap = dir.path().join("heap");
    let (server, address) = Member::server(&heap, "");
    Ledger::join(&address).unwrap().change_through(100);
    server.signal(Signal::TERM);
    server.end();
    let (server, address) = Member::server(&heap, "");
    let pages = status(&address).pages;
    assert_eq!((pages > 0, status(&address).cached_pages), (true, 0));
    server.signal(Signal::TERM);
    server.end();
    let (server, address) = Member::server(&heap, "--preload");
    wait_for("all pages to be in memory", || {
        (status(&address).cached_pages == pages).then_some(())
    });
    assert_eq!(Ledger::join(&address).unwrap().check().unwrap(), 100);
    server.signal(Signal::TERM);
    let (_, said) = server.end();
    assert!(
        said.contains(&format!("{pages} pages are in memory")),
        "{said}"
    );
}
