//! Each example as a user runs it, over processes; one of which is killed meanwhile.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn piped(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn stdout(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_shell_sets_lists_by_prefix_and_deletes() {
    let input = "set a 1\nset ab 2 3\nset b 4\nlist a\ndel b\nget b\n";
    let output = piped(env!("CARGO_BIN_EXE_kv"), &[], input);
    let said = stdout(&output);
    let lines: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(
        lines,
        ["ok", "ok", "ok", "a = 1", "ab = 2 3", "ok", "(none)"]
    );
}

#[test]
fn a_chat_shows_what_was_said_in_order() {
    let output = piped(
        env!("CARGO_BIN_EXE_chat"),
        &["--name", "Ada"],
        "hello\nbye\n",
    );
    let lines = "Ada: has joined\nAda: hello\nAda: bye\nAda: has left\n";
    assert_eq!(stdout(&output), lines);
}

#[test]
fn kmeans_finds_what_one_thread_finds_though_a_station_is_killed() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kmeans"))
        .args(["--count", "50000", "--stations", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let process = lines.find_map(|line| {
        let line = line.unwrap();
        line.strip_prefix("station 1 is process ")
            .map(|id| id.parse().unwrap())
    });
    kill_process(Pid::from_raw(process.unwrap()).unwrap(), Signal::KILL).unwrap();
    let told: Vec<String> = lines.map(Result::unwrap).collect();
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{told:?}");
    assert!(
        told.iter().any(|line| line.contains("was killed")),
        "{told:?}"
    );
    assert!(said.contains("the same, bit by bit"), "{said}");
}

#[test]
fn kmeans_reads_points_from_a_file_and_names_a_bad_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("points.csv");
    let points: String = (0..50)
        .map(|i| format!("{}.5, -{}\n", i / 10 * 100, i / 10))
        .collect();
    std::fs::write(&path, &points).unwrap();
    let arguments = ["--points", path.to_str().unwrap(), "--stations", "1"];
    let output = piped(env!("CARGO_BIN_EXE_kmeans"), &arguments, "");
    let said = stdout(&output);
    let found: Vec<Vec<f64>> = said
        .lines()
        .filter_map(|line| line.strip_prefix("centroid "))
        .map(|line| line.split_whitespace().map(|x| x.parse().unwrap()))
        .map(Iterator::collect)
        .collect();
    let expected: Vec<Vec<f64>> = (0..5)
        .map(|i| vec![f64::from(i) * 100.0 + 0.5, -f64::from(i)])
        .collect();
    assert_eq!(found, expected);

    std::fs::write(&path, points + "7;8\n").unwrap();
    let output = piped(env!("CARGO_BIN_EXE_kmeans"), &arguments, "");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("points.csv:51: two numbers"), "{told}");
    assert!(!told.contains("is process"), "{told}");
}
