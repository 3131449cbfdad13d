//! A TCP connection that can be broken without any right: what a worker and the page server say
//! to each other passes through this process, which can hold it back, lose it, or hang up.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::plan::Direction;

/// How often a copying thread looks whether it may go on.
const PERIOD: Duration = Duration::from_millis(5);

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It arrives.
    Pass,
    /// It waits.
    Stall(Direction),
    /// It is lost. Whoever ends this must hang up: a stream with a hole is none.
    Lose(Direction),
    /// Nobody can connect.
    Refuse,
}

/// One worker's way to the page server.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    server: SocketAddr,
    mode: Mode,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Listens for one worker.
    pub(crate) fn start(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State {
            server,
            mode: Mode::Pass,
            open: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || {
                for worker in listener.incoming().flatten() {
                    connect(worker, &shared);
                }
            })?;
        Ok(Self { address, state })
    }

    /// Where the worker connects.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The page server listens elsewhere now.
    pub(crate) fn set_server(&self, server: SocketAddr) {
        lock(&self.state).server = server;
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        lock(&self.state).mode = mode;
    }

    /// Closes the connection under both ends.
    pub(crate) fn hang_up(&self) {
        for stream in lock(&self.state).open.drain(..) {
            // It may have been closed by its end.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Joins a worker's connection with one to the page server. If that fails the worker's is closed.
fn connect(worker: TcpStream, state: &Arc<Mutex<State>>) {
    let server = {
        let state = lock(state);
        if state.mode == Mode::Refuse {
            return;
        }
        state.server
    };
    let Ok(server) = TcpStream::connect_timeout(&server, Duration::from_secs(1)) else {
        return;
    };
    let ways = [
        (&worker, &server, Direction::ToServer),
        (&server, &worker, Direction::ToWorker),
    ];
    for (from, to, direction) in ways {
        // Frames are small, and each must go at once.
        let _ = from.set_nodelay(true);
        let (Ok(from), Ok(to), Ok(open)) = (from.try_clone(), to.try_clone(), from.try_clone())
        else {
            return;
        };
        let shared = Arc::clone(state);
        lock(state).open.push(open);
        // Without a thread the connection hangs, which is a fault like any other.
        let _ = thread::Builder::new()
            .name("proxy-copy".to_owned())
            .spawn(move || copy(from, to, direction, &shared));
    }
}

/// Copies one direction until either end is closed.
fn copy(mut from: TcpStream, mut to: TcpStream, direction: Direction, state: &Mutex<State>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let hindered = |by| by == direction || by == Direction::Both;
        let lost = loop {
            match lock(state).mode {
                Mode::Stall(by) if hindered(by) => {}
                Mode::Lose(by) => break hindered(by),
                _ => break false,
            }
            thread::sleep(PERIOD);
        };
        if !lost && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy and the two ends of a connection through it.
    fn joined() -> (Proxy, TcpStream, TcpStream) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).unwrap();
        let worker = TcpStream::connect(proxy.address()).unwrap();
        let (server, _) = server.accept().unwrap();
        let limit = Some(Duration::from_millis(300));
        for end in [&worker, &server] {
            end.set_read_timeout(limit).unwrap();
        }
        (proxy, worker, server)
    }

    #[test]
    fn what_is_stalled_arrives_later_and_what_is_lost_never() {
        let (proxy, mut worker, mut server) = joined();
        let mut byte = [0];
        worker.write_all(&[1]).unwrap();
        server.read_exact(&mut byte).unwrap();

        proxy.set_mode(Mode::Stall(Direction::ToServer));
        worker.write_all(&[2]).unwrap();
        server.write_all(&[3]).unwrap();
        assert!(server.read_exact(&mut byte).is_err());
        worker.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [3]);
        proxy.set_mode(Mode::Pass);
        server.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [2]);

        proxy.set_mode(Mode::Lose(Direction::Both));
        worker.write_all(&[4]).unwrap();
        assert!(server.read_exact(&mut byte).is_err());
        proxy.hang_up();
        assert_eq!(server.read(&mut byte).unwrap(), 0);
        assert_eq!(worker.read(&mut byte).unwrap(), 0);
    }
}
