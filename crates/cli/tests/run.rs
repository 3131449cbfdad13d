//! `plurix run` with real processes: every app, and every kind of death in the middle of it.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::{Member, assert_fails, errors, json, members_of, output, plurix, wait_for};
use rustix::process::Signal;
use serde_json::Value;

/// A picture that takes a moment: many tiles, so that a death always comes in the middle.
fn raytrace(out: &Path, more: &str) -> Value {
    let out = out.display();
    json(&format!(
        "run raytrace --size 2 --width 160 --height 160 --samples 2 --tile 8 --out {out} --json \
         --timeout 60s {more}"
    ))
}

fn deaths(summary: &Value) -> usize {
    summary["deaths"].as_array().map_or(0, Vec::len)
}

#[test]
fn bank_keeps_its_sum_whatever_dies() {
    let summary = json(
        "run bank --stations 3 --transfers 1500 --json --timeout 60s \
         --kill 1@0s --kill server@20ms --kill 3@40ms --kill 2@60ms",
    );
    assert_eq!(summary["verified"], true);
    assert!(deaths(&summary) >= 1, "{summary}");
}

#[test]
fn a_picture_is_the_same_whatever_dies() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let alone = raytrace(&path("alone.png"), "--stations 1");
    assert_eq!(
        (deaths(&alone), &alone["verified"]),
        (0, &Value::from(true))
    );
    let expected = fs::read(path("alone.png")).unwrap();
    for (name, kills) in [
        ("station", "--stations 3 --kill 2@0s --kill 3@30ms"),
        ("server", "--stations 2 --kill server@10ms"),
        (
            "both",
            "--stations 2 --kill server@0s --kill 1@0s --kill 2@50ms",
        ),
    ] {
        let summary = raytrace(&path(name), kills);
        assert!(deaths(&summary) >= 1, "{name}: {summary}");
        assert_eq!(summary["verified"], true, "{name}");
        assert!(
            fs::read(path(name)).unwrap() == expected,
            "{name}: another picture"
        );
    }
}

#[test]
fn wordcount_counts_as_the_shell_does() {
    let dir = tempfile::tempdir().unwrap();
    let words: Vec<_> = (0..20_000u32)
        .map(|n| format!("word{}", n * n % 977))
        .collect();
    let text = common::file(dir.path(), "text", words.join(" ").as_bytes());
    let (text, out) = (text.display(), dir.path().join("counts"));
    let summary = json(&format!(
        "run wordcount {text} --chunk-bytes 4096 --out {} --stations 2 --kill 1@0s --json",
        out.display()
    ));
    assert_eq!(summary["verified"], true);
    let shell = format!("LC_ALL=C; tr -s '[:space:]' '\\n' <{text} | sed '/^$/d' | sort | uniq -c");
    let expected = std::process::Command::new("sh")
        .args(["-c", &shell])
        .output()
        .unwrap();
    assert_eq!(fs::read(out).unwrap(), expected.stdout);
}

#[test]
fn who_is_killed_comes_back_under_the_same_number() {
    let summary = json("run bank --stations 2 --transfers 3000 --json --kill 2@0s --timeout 60s");
    let death = &summary["deaths"][0];
    assert_eq!(death["who"], "station 2");
    assert_eq!(summary["restarts"]["stations"], serde_json::json!([0, 1]));
    assert!(death["back_after_ms"].as_f64().unwrap() > 0.0);
    assert!(summary["recovery"]["max_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_kill_that_comes_too_late_is_told() {
    let summary = json("run bank --stations 1 --transfers 10 --json --kill 1@59min");
    assert_eq!(
        (
            deaths(&summary),
            summary["kills_missed"].as_array().unwrap().len()
        ),
        (0, 1)
    );
}

#[test]
fn wrong_usage_is_named() {
    assert_fails(
        &output("run fly"),
        2,
        &["fly", "raytrace", "wordcount", "bank"],
    );
    assert_fails(&output("run bank --wings 2"), 2, &["--wings"]);
    assert_fails(&output("run bank --stations 0"), 2, &["stations"]);
    assert_fails(
        &output("run bank --kill 3@1s --stations 2"),
        2,
        &["station 3", "1 to 2"],
    );
    assert_fails(&output("run bank --kill soon"), 2, &["soon", "2@1s"]);
    assert_fails(&output("run wordcount /nonexistent"), 1, &["/nonexistent"]);
}

#[test]
fn a_run_that_takes_too_long_is_given_up() {
    let given_up = output("run bank --transfers 1000000000 --timeout 300ms");
    assert_fails(&given_up, 1, &["300.0 ms"]);
}

#[test]
fn a_page_server_that_cannot_start_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let dir = common::file(dir.path(), "file", b"no directory");
    let failed = output(&format!("run bank --dir {}", dir.display()));
    assert_fails(&failed, 1, &["not a directory"]);
}

#[test]
fn a_station_that_always_dies_ends_the_run() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "0123456789abcdef0123456789abcdef").unwrap();
    let path = secret.path().display();
    let run = Member::start(&format!(
        "run bank --transfers 1000000000 --timeout 60s --secret-file {path}"
    ));
    let running = wait_for("the stations", || {
        let members = members_of(run.pid());
        (members.len() == 3).then_some(members)
    });
    // From here on whoever starts anew cannot read the secret.
    fs::write(secret.path(), "short").unwrap();
    let station = running
        .iter()
        .find(|(_, line)| line.contains("--station=1"))
        .unwrap()
        .0;
    // One that had not read it yet has ended by itself.
    let _ = rustix::process::kill_process(station, Signal::KILL);
    let (code, errors) = run.end();
    assert_eq!(code, Some(1), "{errors}");
    let last = errors.lines().last().unwrap();
    assert!(
        last.contains("station ") && last.contains("secret"),
        "{errors}"
    );
}

#[test]
fn an_interrupted_run_leaves_nothing_and_can_be_continued() {
    let temporary = tempfile::tempdir().unwrap();
    let heap = temporary.path().join("heap");
    let line = format!("run bank --transfers 3000 --dir {}", heap.display());
    let run = Member::start(&line);
    wait_for("the stations", || {
        (members_of(run.pid()).len() == 3).then_some(())
    });
    let pid = run.pid();
    run.signal(Signal::INT);
    let (code, errors) = run.end();
    assert_eq!(code, Some(130), "{errors}");
    assert_eq!(members_of(pid), []);
    let first = json(&format!("{line} --json"));
    let again = json(&format!("{line} --json"));
    assert_eq!(
        (&first["verified"], &again["verified"]),
        (&true.into(), &true.into())
    );
    assert_eq!(first["facts"]["transfers"], again["facts"]["transfers"]);
}

#[test]
fn an_interrupted_run_removes_its_temporary_directory() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = plurix("run bank --transfers 1000000000 --quiet");
    let mut run = command.env("TMPDIR", temporary.path()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&run);
    wait_for("the stations", || {
        (members_of(pid).len() == 3).then_some(())
    });
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn the_members_end_with_a_supervisor_that_is_killed() {
    let temporary = tempfile::tempdir().unwrap();
    let heap = temporary.path().join("heap");
    let run = Member::start(&format!(
        "run bank --transfers 3000 --dir {}",
        heap.display()
    ));
    wait_for("the stations", || {
        (members_of(run.pid()).len() == 3).then_some(())
    });
    let pid = run.pid();
    run.signal(Signal::KILL);
    run.end();
    wait_for("the end of the members", || {
        members_of(pid).is_empty().then_some(())
    });
    let line = format!("run bank --transfers 3000 --dir {} --json", heap.display());
    assert_eq!(json(&line)["verified"], true);
}

#[test]
fn a_reader_that_goes_away_disturbs_nothing() {
    let mut run = plurix("run bank --transfers 10 --json")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((run.stdout.take(), run.stderr.take()));
    assert!(run.wait().unwrap().success());
    let helped = plurix("run --help").output().unwrap();
    assert!(helped.status.success() && errors(&helped).is_empty());
}
