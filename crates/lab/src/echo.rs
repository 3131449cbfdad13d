//! The floor of everything that crosses a socket: a client that sends some bytes and a server that
//! answers with others, and nothing else.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use plurix::net::Address;

use crate::frames::Sizes;
use crate::process::{Place, Process, Transport, Waiting};
use crate::rounds::{Latencies, Plan};

/// A server that was stopped goes on as before after this time.
const SETTLED: Duration = Duration::from_millis(2);

/// A stream socket of either kind.
trait Socket: Read + Write {
    fn prepare(&self, waiting: Waiting) -> io::Result<()>;
}

impl Socket for UnixStream {
    fn prepare(&self, waiting: Waiting) -> io::Result<()> {
        self.set_nonblocking(waiting == Waiting::Spinning)
    }
}

impl Socket for TcpStream {
    fn prepare(&self, waiting: Waiting) -> io::Result<()> {
        self.set_nodelay(true)?;
        self.set_nonblocking(waiting == Waiting::Spinning)
    }
}

/// A connection that moves whole messages.
pub(crate) struct Echo {
    socket: Box<dyn Socket>,
    sizes: Sizes,
    buffer: Vec<u8>,
}

impl Echo {
    fn new(socket: Box<dyn Socket>, sizes: Sizes, waiting: Waiting) -> io::Result<Self> {
        socket.prepare(waiting)?;
        Ok(Self {
            socket,
            sizes,
            buffer: vec![7; sizes.request.max(sizes.reply)],
        })
    }

    /// Connects to the server at `address`.
    pub(crate) fn connect(address: &Address, sizes: Sizes, waiting: Waiting) -> Result<Self> {
        let socket: Box<dyn Socket> = match address {
            Address::Unix(path) => Box::new(UnixStream::connect(path)?),
            Address::Tcp(text) => Box::new(TcpStream::connect(text)?),
        };
        Ok(Self::new(socket, sizes, waiting)?)
    }

    /// Sends one message and takes the answer.
    pub(crate) fn round_trip(&mut self) -> io::Result<()> {
        self.send(self.sizes.request)?;
        self.receive(self.sizes.reply)
    }

    /// Takes `count` answers, of which `ahead` are always asked for.
    pub(crate) fn stream(&mut self, count: u64, ahead: u64) -> io::Result<()> {
        for _ in 0..ahead {
            self.send(self.sizes.request)?;
        }
        for taken in 0..count {
            self.receive(self.sizes.reply)?;
            if taken + ahead < count {
                self.send(self.sizes.request)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, bytes: usize) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes {
            sent += again(|| self.socket.write(&self.buffer[sent..bytes]))?;
        }
        Ok(())
    }

    fn receive(&mut self, bytes: usize) -> io::Result<()> {
        let mut received = 0;
        while received < bytes {
            received += again(|| self.socket.read(&mut self.buffer[received..bytes]))?;
        }
        Ok(())
    }
}

/// Repeats an operation until the socket is ready. A blocking socket always is.
fn again(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match operation() {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// The server in a process of its own, and a client of it.
pub(crate) struct Floor {
    pub(crate) process: Process,
    pub(crate) client: Echo,
}

impl Floor {
    pub(crate) fn start(
        directory: &Path,
        transport: Transport,
        waiting: Waiting,
        sizes: Sizes,
        place: Place,
    ) -> Result<Self> {
        let listen = transport.address(directory, "echo.sock");
        let (request, reply) = (sizes.request.to_string(), sizes.reply.to_string());
        let mut arguments = vec!["echo", "--listen", &listen];
        arguments.extend(["--request", &request, "--reply", &reply]);
        if waiting == Waiting::Spinning {
            arguments.push("--spin");
        }
        let mut process = Process::role(&arguments, place)?;
        let address = process.line()?.parse()?;
        let client = Echo::connect(&address, sizes, waiting)?;
        Ok(Self { process, client })
    }

    /// A round of `operation`, which asks the process `server`, and one of raw round trips. Each
    /// server is stopped while it is not its turn.
    pub(crate) fn round<E>(
        &mut self,
        server: &Process,
        plan: &Plan,
        operation: impl FnMut() -> Result<(), E>,
    ) -> Result<(Latencies, Latencies)>
    where
        anyhow::Error: From<E>,
    {
        let ours = Latencies::take(plan.warm_up(), plan.round_trips, operation)?;
        server.pause()?;
        self.process.resume()?;
        let raw = Latencies::take(plan.warm_up(), plan.round_trips, || {
            self.client.round_trip()
        })?;
        self.process.pause()?;
        server.resume()?;
        // It must be asking again before somebody asks it, lest it take the pause for the loss of
        // a processor that others need.
        std::thread::sleep(SETTLED);
        Ok((ours, raw))
    }
}

/// Serves one client until it closes.
pub(crate) fn serve(listen: &Address, sizes: Sizes, waiting: Waiting) -> Result<()> {
    let socket: Box<dyn Socket> = match listen {
        Address::Unix(path) => {
            let listener = UnixListener::bind(path).context("cannot listen")?;
            println!("{listen}");
            Box::new(listener.accept()?.0)
        }
        Address::Tcp(text) => {
            let listener = TcpListener::bind(text).context("cannot listen")?;
            println!("{}", listener.local_addr()?);
            Box::new(listener.accept()?.0)
        }
    };
    let mut echo = Echo::new(socket, sizes, waiting)?;
    while echo.receive(sizes.request).is_ok() {
        echo.send(sizes.reply)?;
    }
    Ok(())
}
