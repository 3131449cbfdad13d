//! Other processes of a measurement: this program again, in another role, or a foreign server.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use plurix::Options;
use plurix::net::Address;
use rustix::process::{Pid, Signal, kill_process};

use crate::figure::Target;
use crate::machine::processor;
use crate::said::{Compress, Ready, Strategy, Taken};

/// A process that speaks lines, and is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Closed to tell it to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Which processor a process shall run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Anywhere,
    On(usize),
}

impl Place {
    /// How a role is told.
    fn arguments(self) -> Vec<String> {
        match self {
            Self::Anywhere => Vec::new(),
            // The system's number: the role inherits the one processor that this thread may use.
            Self::On(index) => processor(index)
                .map(|cpu| format!("--processor={cpu}"))
                .into_iter()
                .collect(),
        }
    }
}

impl Process {
    /// Starts this program in a role of [`roles`](crate::roles).
    pub(crate) fn role(arguments: &[&str], place: Place) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        command.args(place.arguments());
        Self::start(command)
    }

    /// Starts any program.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a piped standard output")?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// The next line it says.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("a process of the measurement ended early; its error stands above");
        }
        Ok(line.trim_end().to_owned())
    }

    /// Sends it a line.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input is open")?;
        writeln!(input, "{line}").context("cannot speak to a process of the measurement")
    }

    /// Stops it until it is resumed: a server that asks its sockets all the time would take its
    /// processor from whoever is measured in between.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Kills it, as the kernel would, and returns when it is gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().context("cannot kill a process")?;
        self.child.wait().context("cannot wait for a process")?;
        Ok(())
    }

    /// Closes its input, on which a server ends in order, and answers what else it says until then.
    pub(crate) fn end(mut self) -> Result<Vec<String>> {
        self.input = None;
        let said = (&mut self.output).lines().collect::<Result<_, _>>()?;
        let status = self.child.wait().context("cannot wait for a process")?;
        if !status.success() {
            bail!("a process of the measurement failed; its error stands above");
        }
        Ok(said)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("a process has a number")?;
        kill_process(pid, signal).context("cannot signal a process of the measurement")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How two processes are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// Through a Unix socket and shared memory, as a station does by itself on one host.
    Shared,
    /// Through a Unix socket alone: for comparison, and the way if the system shares no memory.
    Unix,
    Tcp,
}

impl Transport {
    pub(crate) const ALL: [Self; 3] = [Self::Shared, Self::Unix, Self::Tcp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Unix => "unix",
            Self::Tcp => "tcp",
        }
    }

    /// For a reader.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Shared => "shared memory",
            Self::Unix => "Unix socket alone",
            Self::Tcp => "TCP",
        }
    }

    /// The socket that the raw round trip uses.
    pub(crate) fn socket(self) -> &'static str {
        match self {
            Self::Shared | Self::Unix => "Unix socket",
            Self::Tcp => "TCP",
        }
    }

    /// `target`, for what stations choose by themselves.
    pub(crate) fn target(self, target: Target) -> Target {
        match self {
            Self::Shared | Self::Tcp => target,
            Self::Unix => Target::None,
        }
    }

    /// How a station joins.
    pub(crate) fn options(self) -> Options {
        let mut options = Options::default();
        options.shared_memory = self == Self::Shared;
        options
    }

    /// Where to listen, for a server whose files are in `directory`.
    pub(crate) fn address(self, directory: &Path, name: &str) -> String {
        match self {
            Self::Shared | Self::Unix => format!("unix:{}", directory.join(name).display()),
            Self::Tcp => "127.0.0.1:0".to_owned(),
        }
    }
}

/// How both sides wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// They ask the socket again and again.
    Spinning,
    /// They sleep until the kernel wakes them.
    Blocking,
}

impl Waiting {
    pub(crate) const ALL: [Self; 2] = [Self::Spinning, Self::Blocking];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spinning => "spinning",
            Self::Blocking => "blocking",
        }
    }

    /// How long to ask a socket before sleeping, in microseconds.
    pub(crate) fn spin_us(self) -> u64 {
        match self {
            Self::Spinning => 10_000_000,
            Self::Blocking => 0,
        }
    }
}

/// What a page server of a measurement is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerKind {
    pub(crate) transport: Transport,
    /// Its default if `None`.
    pub(crate) spin_us: Option<u64>,
    pub(crate) durable: bool,
    pub(crate) place: Place,
    /// No checkpoints if `None`.
    pub(crate) checkpoints: Option<CheckpointKind>,
    /// A station silent for longer is dropped; nobody, in the pauses of a measurement, if `None`.
    pub(crate) silence: Option<Duration>,
    /// All pages are loaded after the start.
    pub(crate) preloads: bool,
}

impl Default for ServerKind {
    fn default() -> Self {
        Self {
            transport: Transport::Shared,
            spin_us: None,
            durable: false,
            place: Place::Anywhere,
            checkpoints: None,
            silence: None,
            preloads: false,
        }
    }
}

/// When the page server of a measurement takes checkpoints, and how. The last one it takes when it
/// ends in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckpointKind {
    pub(crate) strategy: Strategy,
    /// From one to the next; none by time if `None`.
    pub(crate) every: Option<Duration>,
    /// One when so many pages have changed.
    pub(crate) changed_pages: Option<u64>,
    pub(crate) compress: Compress,
}

impl CheckpointKind {
    /// Only one at the end.
    pub(crate) fn at_end(strategy: Strategy) -> Self {
        Self {
            strategy,
            every: None,
            changed_pages: None,
            compress: Compress::None,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--checkpoint={}", self.strategy.name()),
            format!("--compress={}", self.compress.name()),
        ];
        let every = self
            .every
            .map(|every| format!("--every-us={}", every.as_micros()));
        arguments.extend(every);
        let pages = self
            .changed_pages
            .map(|pages| format!("--changed-pages={pages}"));
        arguments.extend(pages);
        arguments
    }
}

/// A page server in a process of its own.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: Address,
    pub(crate) ready: Ready,
}

impl Server {
    /// Starts one that keeps its heap in `directory`, which no other server uses.
    pub(crate) fn start(directory: &Path, kind: ServerKind) -> Result<Self> {
        let listen = kind.transport.address(directory, "page-server.sock");
        let heap = directory.join("heap");
        let heap = heap.to_str().context("a path in UTF-8")?;
        let spin = kind.spin_us.map(|spin| spin.to_string());
        let mut command = Command::new(std::env::current_exe()?);
        // The Unix socket beside a TCP port lies there; stations that look for it in the usual
        // place must not find it, because they would not use TCP then.
        command.env("TMPDIR", directory);
        command.args(["serve", "--dir", heap, "--listen", &listen]);
        if let Some(spin) = &spin {
            command.args(["--spin-us", spin]);
        }
        if kind.durable {
            command.arg("--durable");
        }
        if let Some(checkpoints) = kind.checkpoints {
            command.args(checkpoints.arguments());
        }
        if let Some(silence) = kind.silence {
            command.arg(format!("--silence-us={}", silence.as_micros()));
        }
        if kind.preloads {
            command.arg("--preload");
        }
        command.args(kind.place.arguments());
        let mut process = Process::start(command)?;
        let ready = Ready::parse(&process.line()?)?;
        let address = ready.address.parse()?;
        Ok(Self {
            process,
            address,
            ready,
        })
    }

    /// The next checkpoint that it takes.
    pub(crate) fn checkpoint(&mut self) -> Result<Taken> {
        Taken::parse(&self.process.line()?)
    }

    /// Waits until all pages are loaded; answers when they were.
    pub(crate) fn preloaded_at_ns(&mut self) -> Result<u64> {
        let line = self.process.line()?;
        serde_json::from_str(&line).with_context(|| format!("a page server said: {line}"))
    }

    /// Ends it in order; answers the checkpoints that it takes until then.
    pub(crate) fn end(self) -> Result<Vec<Taken>> {
        let said = self.process.end()?;
        said.iter().map(|line| Taken::parse(line)).collect()
    }
}
