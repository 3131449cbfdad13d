//! The scheduler as a user runs it: retries, workers that die with their job, and what it refuses.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

use std::process::{Command, Output};

fn jobs(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_jobs"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn results_are_told_in_order_and_a_failed_job_was_tried_again() {
    let commands = ["seq 9", "echo \"so\" >&2; exit 3", "test $ATTEMPT = 2"];
    let arguments = [
        &["--workers", "2", "--attempts", "2", "--json"],
        &commands[..],
    ]
    .concat();
    let (code, said, told) = jobs(&arguments);
    assert_eq!(code, Some(1), "{told}");
    let lines: Vec<&str> = said
        .lines()
        .map(|line| line.trim_end_matches(','))
        .collect();
    let expected = [
        "[",
        r#"  {"job": 1, "command": "seq 9", "state": "done", "exit_code": 0, "attempts": 1, "results": 1, "output": "1\u000a2\u000a3\u000a4\u000a5"}"#,
        r#"  {"job": 2, "command": "echo \"so\" >&2; exit 3", "state": "failed", "exit_code": 3, "attempts": 2, "results": 1, "output": "so"}"#,
        r#"  {"job": 3, "command": "test $ATTEMPT = 2", "state": "done", "exit_code": 0, "attempts": 2, "results": 1, "output": ""}"#,
        "]",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_job_whose_worker_was_killed_is_run_by_another() {
    let deadly = "test $ATTEMPT -gt 1 || kill -9 $PPID; echo survived";
    let (code, said, told) = jobs(&["--workers", "2", "--json", deadly, "echo a", "echo b"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("was killed; another takes its place"),
        "{told}"
    );
    let first = said.lines().nth(1).unwrap();
    assert!(
        first.contains(r#""attempts": 2, "results": 1, "output": "survived""#),
        "{said}"
    );
    assert_eq!(said.matches(r#""results": 1"#).count(), 3, "{said}");
}

#[test]
fn a_job_that_kills_every_worker_is_given_up() {
    let (code, said, told) = jobs(&["--workers", "2", "--attempts", "2", "kill -9 $PPID", "true"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(said.contains("job 1: killed, attempt 2"), "{said}");
    assert!(said.contains("its worker was killed"), "{said}");
    assert!(said.contains("job 2: exit 0, attempt 1"), "{said}");
}

#[test]
fn what_cannot_be_run_is_refused_before_anything_is_started() {
    let (code, _, told) = jobs(&["--file", "/no/such/file"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        told.lines().next(),
        Some("Error: cannot read /no/such/file")
    );
    let (code, ..) = jobs(&["--workers", "0"]);
    assert_eq!(code, Some(2));
    let (code, _, told) = jobs(&["--file", "/dev/null"]);
    assert_eq!(code, Some(1));
    assert!(told.contains("there is no command to run"), "{told}");
}
