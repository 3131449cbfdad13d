//! The processes of a run: the page server and the workers. Each is killed with this program.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::worker::Order;

/// A process that was started, and is killed when this is dropped.
#[derive(Debug)]
struct Process(Child);

impl Process {
    /// Starts `command` with its errors in the file `errors`. Must be called by the main thread:
    /// the kernel ends the process when the thread that started it ends.
    fn start(command: &mut Command, errors: &Path) -> Result<Self> {
        let errors = append(errors)?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            // Ctrl-C on the terminal is the conductor's alone.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Self(child))
    }

    /// One that has ended just now needs no signal; it has not been waited for, so that the number
    /// is nobody else's.
    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The page server.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    /// Where it listens for TCP.
    pub(crate) tcp: SocketAddr,
}

impl Server {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(command: &mut Command, errors: &Path) -> Result<Self> {
        command.arg(format!("--supervisor={}", std::process::id()));
        command.arg("--json");
        let mut process = Process::start(command, errors)?;
        let output = process
            .0
            .stdout
            .take()
            .context("standard output is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let tcp = tcp_address(&line)
            .with_context(|| format!("the page server did not get ready: '{line}'"))?;
        Ok(Self { process, tcp })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }
}

/// The TCP address among those that a page server says it listens on.
fn tcp_address(ready: &str) -> Option<SocketAddr> {
    let ready: Value = serde_json::from_str(ready).ok()?;
    let mut addresses = ready["addresses"].as_array()?.iter();
    addresses.find_map(|address| address.as_str()?.parse().ok())
}

/// A worker.
#[derive(Debug)]
pub(crate) struct Member {
    process: Process,
    orders: ChildStdin,
    said: Arc<Mutex<String>>,
}

impl Member {
    /// Starts one.
    pub(crate) fn start(command: &mut Command, errors: &Path) -> Result<Self> {
        let mut process = Process::start(command, errors)?;
        let orders = process.0.stdin.take().context("standard input is piped")?;
        let output = process
            .0
            .stdout
            .take()
            .context("standard output is piped")?;
        let said = Arc::<Mutex<String>>::default();
        let heard = Arc::clone(&said);
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = line;
                }
            })?;
        Ok(Self {
            process,
            orders,
            said,
        })
    }

    /// Tells it what to do. One that has ended hears nothing, which is noticed elsewhere.
    pub(crate) fn tell(&mut self, order: Order) {
        let _ = writeln!(self.orders, "{}", order.word());
    }

    /// Whether it has come to what it was told last.
    pub(crate) fn has_come_to(&self, order: Order) -> bool {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) == order.word()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }
}
