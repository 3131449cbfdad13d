//! What the tests of the command share: processes that end with the test, and waiting for what must
//! come.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

pub(crate) mod ledger;
pub(crate) mod namespace;
pub(crate) mod program;

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What must come comes much sooner; this only ends a test that has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Where the command is.
pub(crate) const PLURIX: &str = env!("CARGO_BIN_EXE_plurix");

/// The command, with `arguments` separated by spaces.
pub(crate) fn plurix(arguments: &str) -> Command {
    with_arguments(Command::new(PLURIX), arguments)
}

fn with_arguments(mut command: Command, arguments: &str) -> Command {
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn output(arguments: &str) -> Output {
    plurix(arguments).output().unwrap()
}

/// Runs the command, which must succeed; answers its standard output as JSON.
pub(crate) fn json(arguments: &str) -> Value {
    json_of(plurix(arguments))
}

/// As [`json`], of a command that was made elsewhere.
pub(crate) fn json_of(mut command: Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", errors(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The connected stations, as (number, incarnation).
pub(crate) fn stations(address: &str) -> Vec<(u64, u64)> {
    let status = json(&format!("status --join {address} --json"));
    let stations = status["stations"].as_array().unwrap().iter();
    let connected = stations.filter(|station| station["connected"] == true);
    let number = |value: &Value| value.as_u64().unwrap();
    connected
        .map(|s| (number(&s["station"]), number(&s["incarnation"])))
        .collect()
}

pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether the command failed with `code` and one line of error that names all of `parts`.
#[track_caller]
pub(crate) fn assert_fails(output: &Output, code: i32, parts: &[&str]) {
    let errors = errors(output);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    let line = errors
        .lines()
        .find(|line| line.starts_with("error: "))
        .unwrap_or_default();
    assert!(
        parts.iter().all(|part| line.contains(part)),
        "{parts:?} in {errors}"
    );
    assert!(!errors.contains("panicked"), "{errors}");
}

/// Waits until `done` answers something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(begin.elapsed() < LIMIT, "{what} has not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A member that runs beside the test and is killed with it.
pub(crate) struct Member {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Member {
    pub(crate) fn start(arguments: &str) -> Self {
        Self::spawn(plurix(arguments))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Starts one and waits until it says, in JSON, that it is ready.
    pub(crate) fn ready(arguments: &str) -> (Self, Value) {
        Self::ready_of(plurix(arguments))
    }

    /// As [`ready`](Self::ready), of a command that was made elsewhere.
    pub(crate) fn ready_of(mut command: Command) -> (Self, Value) {
        command.arg("--json");
        let said = format!("{command:?}");
        let mut member = Self::spawn(command);
        let mut line = String::new();
        member.stdout.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line);
        let ready = ready.unwrap_or_else(|_| panic!("{said}: {}", member.errors()));
        (member, ready)
    }

    /// A page server in `dir`, on a Unix socket beside it, with the address for joining it.
    pub(crate) fn server(dir: &Path, more: &str) -> (Self, String) {
        let socket = format!("unix:{}.socket", dir.display());
        let dir = dir.display();
        let (member, _) = Self::ready(&format!("page-server --dir {dir} --listen {socket} {more}"));
        (member, socket)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end; answers its exit code and what it wrote to standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let status = wait_for("the end of a process", || self.child.try_wait().unwrap());
        (status.code(), self.errors())
    }

    /// Waits for its success; answers what it wrote to standard output and to standard error.
    pub(crate) fn end_with_output(mut self) -> (String, String) {
        let status = wait_for("the end of a process", || self.child.try_wait().unwrap());
        let errors = self.errors();
        assert!(status.success(), "{errors}");
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        (text, errors)
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that `supervisor` started and that live, with what they are.
pub(crate) fn members_of(supervisor: Pid) -> Vec<(Pid, String)> {
    let mark = format!("--supervisor={}", supervisor.as_raw_nonzero());
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.ok()?.path();
        let pid = Pid::from_raw(path.file_name()?.to_str()?.parse().ok()?)?;
        let line = fs::read(path.join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(&mark).then_some((pid, line))
    });
    processes.collect()
}

/// The path of a file with `text` in `dir`.
pub(crate) fn file(dir: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Copies a directory as `cp -r` does: file by file, and what vanishes meanwhile is left out.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_all(&path, &copy);
            continue;
        }
        match fs::copy(path, copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }
}

/// CRC-32 as in IEEE 802.3.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    });
    !crc
}
