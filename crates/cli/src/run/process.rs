//! One process of the run: starting it, hearing what it says, and ending it.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::event::{Event, ProcessEvent};
use super::plan::Who;

/// A process that was started and not waited for.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pub(super) life: u32,
    pub(super) started: Instant,
}

impl Process {
    /// Starts `program` as the `life`-th process for `who`. Must be called by the main thread: the
    /// kernel ends the process when the thread that started it ends.
    pub(super) fn start(
        who: Who,
        life: u32,
        program: &Path,
        arguments: &[OsString],
        events: Sender<Event>,
    ) -> io::Result<Self> {
        // One pipe for both outputs keeps their order.
        let (reader, writer) = io::pipe()?;
        let child = Command::new(program)
            .args(arguments)
            .arg(format!("--supervisor={}", std::process::id()))
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            // Ctrl-C on the terminal is the supervisor's alone, which ends the others in order.
            .process_group(0)
            .spawn()?;
        let started = Instant::now();
        std::thread::Builder::new()
            .name("plurix-lines".to_owned())
            .spawn(move || listen(who, life, reader, &events))?;
        Ok(Self {
            child,
            life,
            started,
        })
    }

    pub(super) fn pid(&self) -> i32 {
        Pid::from_child(&self.child).as_raw_nonzero().get()
    }

    /// Sends a signal. The process cannot be mistaken for another: it has not been waited for.
    pub(super) fn signal(&self, signal: Signal) {
        // One that has ended just now needs no signal.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits for its end; it has closed its output.
    pub(super) fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

/// Passes on the lines of a process, and its end.
fn listen(who: Who, life: u32, reader: PipeReader, events: &Sender<Event>) {
    let tell = |what| {
        let at = Instant::now();
        // Without a supervisor there is nobody to tell.
        let _ = events.send(Event::Process {
            who,
            life,
            at,
            what,
        });
    };
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .is_ok_and(|count| count > 0)
    {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        tell(ProcessEvent::Line(text));
        line.clear();
    }
    tell(ProcessEvent::Ended);
}

/// How a process ended, in words.
pub(super) fn cause(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended by itself".to_owned(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "killed, signal 9".to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for an unknown reason".to_owned(),
    }
}
