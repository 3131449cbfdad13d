//! Each application on one, two and three stations, and with a station that dies: the results are
//! the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use plurix::{Cluster, ErrorKind, Station};
use plurix_apps::bank::{self, BankRun};
use plurix_apps::raytrace::{self, Raytrace};
use plurix_apps::wordcount::{self, Wordcount};
use plurix_apps::{App, AppError, Report, register_all, run_local};

/// Runs `app` on `stations` workers, the first of which dies, in whatever it is doing, when a
/// quarter is done. Another one takes its place.
fn run_with_death(app: &mut dyn App, stations: usize) -> Report {
    let cluster = Cluster::local(0).unwrap();
    let mut coordinator = cluster.join().unwrap();
    app.setup(&mut coordinator).unwrap();
    let done = AtomicBool::new(false);
    let work = |mut station: Station| station.serve(|_| Ok(done.load(Ordering::Relaxed)));
    let join = || {
        let mut station = cluster.join().unwrap();
        register_all(&mut station);
        station
    };
    thread::scope(|scope| {
        let victim = join();
        let death = victim.interrupt_handle();
        let victim = scope.spawn(move || work(victim));
        for _ in 1..stations {
            let station = join();
            scope.spawn(move || work(station).unwrap());
        }
        wait_for(app, &mut coordinator, 4);
        death.interrupt();
        let error = victim.join().unwrap().unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::Interrupted | ErrorKind::OutcomeUnknown
        ));
        let successor = join();
        scope.spawn(move || work(successor).unwrap());
        wait_for(app, &mut coordinator, 1);
        done.store(true, Ordering::Relaxed);
    });
    app.finish(&mut coordinator).unwrap()
}

/// Waits until the `part`-th part of the work is done.
fn wait_for(app: &mut dyn App, coordinator: &mut Station, part: u64) {
    loop {
        let progress = app.progress(coordinator).unwrap();
        if progress.done * part >= progress.total {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn fact(report: &Report, name: &str) -> serde_json::Value {
    let fact = report.facts.iter().find(|(fact, _)| fact == name);
    fact.unwrap_or_else(|| panic!("no {name} in {report:?}"))
        .1
        .clone()
}

fn picture(out: PathBuf) -> Raytrace {
    let options = raytrace::Options {
        size: 2,
        width: Some(200),
        height: Some(150),
        tile: 8,
        ..raytrace::Options::new(out)
    };
    Raytrace::new(options).unwrap()
}

#[test]
fn a_picture_is_the_same_whoever_renders_it_and_whoever_dies() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for stations in 1..=3 {
        for dies in [false, true] {
            let out = directory.path().join(format!("{stations}-{dies}.png"));
            let mut app = picture(out.clone());
            let report = if dies {
                run_with_death(&mut app, stations)
            } else {
                run_local(&mut app, stations).unwrap()
            };
            assert!(report.verified);
            assert_eq!(fact(&report, "pixels"), 200 * 150);
            files.push(std::fs::read(out).unwrap());
        }
    }
    assert!(files.iter().all(|file| *file == files[0]));
}

#[test]
fn money_neither_appears_nor_vanishes() {
    for stations in 1..=3 {
        for dies in [false, true] {
            let options = bank::Options {
                accounts: 20,
                tellers: 5,
                transfers: Some(1500),
                seconds: None,
                amount_max: 600,
            };
            let mut app = BankRun::new(options).unwrap();
            let report = if dies {
                run_with_death(&mut app, stations)
            } else {
                run_local(&mut app, stations).unwrap()
            };
            assert!(report.verified, "{report:?}");
            assert_eq!(fact(&report, "transfers"), 5 * 1500);
            assert_eq!(fact(&report, "sum"), 20 * 1000);
        }
    }
}

#[test]
fn a_bank_with_a_closing_time_closes() {
    let options = bank::Options {
        seconds: Some(Duration::from_millis(100)),
        ..bank::Options::default()
    };
    let report = run_local(&mut BankRun::new(options).unwrap(), 2).unwrap();
    assert!(report.verified, "{report:?}");
    assert!(fact(&report, "transfers").as_u64() > Some(0));
    assert_eq!(fact(&report, "sum"), 1000 * 1000);
}

/// What the pipeline says that the word count imitates; `None` where a tool is missing.
fn pipeline(files: &[PathBuf]) -> Option<Vec<u8>> {
    let script = r#"set -o pipefail
        cat "$@" | tr -s '[:space:]' '\n' | sed '/^$/d' | sort | uniq -c"#;
    let answer = Command::new("bash")
        .args(["-c", script, "bash"])
        .args(files)
        .env("LC_ALL", "C")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    answer.status.success().then_some(answer.stdout)
}

/// Three texts: the sources of this crate, words of many lengths, and nothing.
fn texts(directory: &Path) -> Vec<PathBuf> {
    let mut sources = Vec::new();
    for file in [
        "src/raytrace/nff.rs",
        "src/raytrace/render.rs",
        "src/wordcount/mod.rs",
    ] {
        sources.extend(std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap());
    }
    let lengths: String = (0..4000usize)
        .map(|n| "x\u{e9}".repeat(n * n % 211) + "\t\n" + &n.to_string() + " ")
        .collect();
    let texts = [sources, lengths.into_bytes(), Vec::new()];
    let file = |(index, text): (usize, Vec<u8>)| {
        let path = directory.join(index.to_string());
        std::fs::write(&path, text).unwrap();
        path
    };
    texts.into_iter().enumerate().map(file).collect()
}

#[test]
fn words_are_counted_as_the_shell_counts_them() {
    let directory = tempfile::tempdir().unwrap();
    let files = texts(directory.path());
    let mut answers = Vec::new();
    for stations in 1..=3 {
        for dies in [false, true] {
            let out = directory.path().join("out");
            let options = wordcount::Options {
                out: Some(out.clone()),
                chunk_bytes: 4096,
                ..wordcount::Options::new(files.clone())
            };
            let mut app = Wordcount::new(options).unwrap();
            let report = if dies {
                run_with_death(&mut app, stations)
            } else {
                run_local(&mut app, stations).unwrap()
            };
            assert!(report.verified, "{report:?}");
            answers.push(std::fs::read(out).unwrap());
        }
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    if let Some(expected) = pipeline(&files) {
        assert!(answers[0] == expected, "the shell says something else");
    }
}

#[test]
fn a_run_is_continued_and_another_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("picture.png");
    let mut cluster = Cluster::local(1).unwrap();
    let station = &mut cluster.stations()[0];
    register_all(station);
    picture(out.clone()).setup(station).unwrap();
    for _ in 0..10 {
        assert!(station.run_activity().unwrap());
    }
    let mut successor = picture(out.clone());
    assert!(matches!(
        successor.finish(station),
        Err(AppError::Unfinished { .. })
    ));
    successor.setup(station).unwrap();
    assert_eq!(successor.progress(station).unwrap().done, 10);
    station.wait_all().unwrap();
    assert!(successor.finish(station).unwrap().verified);

    let options = raytrace::Options {
        size: 1,
        ..raytrace::Options::new(out)
    };
    let other = Raytrace::new(options).unwrap().setup(station);
    assert!(matches!(other, Err(AppError::OtherRun { .. })));
}
