//! The end of a connection that the page server closes, so that its last word arrives.
//!
//! ```text
//!   flush what is queued ──► shut down our side ──► read and discard ──► the peer closes, or
//!        │                                                               nobody waits any more
//!        └─ Unix socket: closed here, the kernel keeps what was sent
//! ```
//!
//! A TCP socket that is closed while input is unread is reset, and a reset destroys what the peer
//! has not received. Requests that are under way are the rule, so they are read although nobody
//! will answer them.

use std::time::{Duration, Instant};

use plurix_protocol::ConnectionId;
use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

use super::{Peer, Peers, Stage, doze, rouse};

/// How long all peers together may take at the page server's end.
const END_MAX: Duration = Duration::from_secs(1);
/// Reads of one connection at a time, so that a peer that never stops sending holds nobody up.
const DISCARDS_MAX: usize = 4;

impl Peers {
    /// Closes the connection once what is queued has arrived.
    pub(in crate::server) fn close(&mut self, id: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.begin_farewell();
            self.hot.retain(|hot| *hot != id);
            self.part(id);
        }
    }

    /// Goes on with the end of a connection.
    pub(super) fn part(&mut self, id: ConnectionId) {
        let flushed = self.flush(id);
        if let Some(peer) = self.peers.get_mut(&id)
            && (flushed.is_err() || !peer.part())
        {
            self.remove(id);
        }
    }

    /// Stops accepting and closes all connections. Who takes too long is cut off.
    pub(in crate::server) fn end(self) {
        drop(self.listeners);
        let mut leaving: Vec<Peer> = self.peers.into_values().collect();
        leaving.retain(|peer| !peer.is_stranger());
        leaving.iter_mut().for_each(Peer::begin_farewell);
        let end = Instant::now() + END_MAX;
        loop {
            leaving.retain_mut(Peer::part);
            let left = end.saturating_duration_since(Instant::now());
            if leaving.is_empty() || left.is_zero() || !wait(&leaving, left) {
                return;
            }
        }
    }
}

impl Peer {
    fn begin_farewell(&mut self) {
        if !matches!(self.stage, Stage::Closing { .. }) {
            self.stage = Stage::Closing {
                since: Instant::now(),
                is_said: false,
                is_stranger: false,
            };
        }
    }

    /// Begins the end of a connection that was not let in, over TCP; answers whether it is one. It has no
    /// more time than it has for the handshake.
    pub(super) fn refuse(&mut self) -> bool {
        let Stage::Stranger { since, .. } = self.stage else {
            return false;
        };
        self.stage = Stage::Closing {
            since,
            is_said: false,
            is_stranger: true,
        };
        !self.connection.end_proves_death()
    }

    /// Does what can be done without waiting; answers whether anything is left.
    fn part(&mut self) -> bool {
        if let Stage::Closing { is_said, .. } = &mut self.stage
            && !*is_said
        {
            match self.connection.flush() {
                Ok(false) => {}
                Ok(true) if self.connection.end_proves_death() => return false,
                Ok(true) => {
                    *is_said = true;
                    if self.connection.end().is_err() {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        for _ in 0..DISCARDS_MAX {
            match self.connection.discard() {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return false,
            }
        }
        true
    }
}

/// Waits until something can be done; answers whether that makes sense.
fn wait(leaving: &[Peer], limit: Duration) -> bool {
    let mut watched: Vec<PollFd<'_>> = leaving
        .iter()
        .map(|peer| PollFd::new(&peer.connection, peer.connection.interest()))
        .collect();
    let limit = Timespec::try_from(limit).expect("less than a minute");
    if !doze(leaving.iter()) {
        return true;
    }
    let woken = poll(&mut watched, Some(&limit));
    rouse(leaving.iter());
    matches!(woken, Ok(_) | Err(Errno::INTR))
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::net::TcpStream;

    use plurix_wire::PageNumber;
    use plurix_wire::frame;
    use plurix_wire::message::{
        Join, PageRun, Request, SessionRefusal, ToLeader, ToStation, Welcome,
    };
    use rustix::fd::AsFd;
    use rustix::net::Shutdown;
    use rustix::net::sockopt::set_socket_recv_buffer_size;

    use super::*;
    use crate::net::handshake::{Client, connect};
    use crate::net::{Address, Connection};
    use crate::{Options, PageServer, ServerOptions, Station};

    const PATIENCE: Duration = Duration::from_secs(30);
    /// Pages of a fetch.
    const PAGES: u32 = 1024;
    const FETCHES: u32 = 4;

    #[test]
    fn the_last_word_reaches_a_peer_that_is_behind_and_talks_on() {
        let dir = tempfile::tempdir().unwrap();
        let tcp = "127.0.0.1:0".parse().unwrap();
        let mut options = ServerOptions::new(dir.path().join("heap"), tcp);
        options.silence_max = PATIENCE;
        let server = PageServer::open(options).unwrap();
        let (addresses, stop) = (server.addresses(), server.stop_handle());
        let [unix, Address::Tcp(tcp)] = &addresses[..] else {
            panic!("no Unix socket beside the port: {addresses:?}")
        };
        let server = std::thread::spawn(|| server.run());
        let written = write_pages(unix);
        // Not the loopback address, for which the Unix socket would be chosen.
        let tcp = tcp.replace("127.0.0.1", "0.0.0.0").parse().unwrap();
        let client = Client {
            credentials: &crate::net::Credentials::default(),
            cluster: None,
            shares_memory: false,
            timeout: PATIENCE,
        };
        let (mut behind, _) = connect(&tcp, &client).unwrap();
        // The kernel would grow it up to some megabytes.
        set_socket_recv_buffer_size(&behind, 64 << 10).unwrap();
        behind.queue(&ToLeader::Join(Join::default())).unwrap();
        let Some(ToStation::Welcome(welcome)) = next(&mut behind) else {
            panic!("it was not let in")
        };
        for run in written {
            let snapshot = welcome.through;
            let fetch = request(&welcome, Request::Fetch { run, snapshot });
            behind.queue(&fetch).unwrap();
        }
        assert!(behind.flush().unwrap());
        while !is_stuck(unix) {
            std::thread::yield_now();
        }
        let voice = behind.as_fd().try_clone_to_owned().unwrap();
        let heartbeat = request(&welcome, Request::Heartbeat);
        let talker = std::thread::spawn(move || talk(TcpStream::from(voice), &heartbeat));
        stop.stop();
        let mut last = None;
        while let Some(message) = next(&mut behind) {
            last = Some(message);
        }
        assert_eq!(last, Some(ToStation::Refused(SessionRefusal::ShuttingDown)));
        // The server may have closed it altogether.
        let _ = rustix::net::shutdown(&behind, Shutdown::Both);
        talker.join().unwrap();
        server.join().unwrap().unwrap();
    }

    /// Fills pages, so that they cost something to send; answers which.
    fn write_pages(address: &Address) -> Vec<PageRun> {
        let mut station = Station::join(address, Options::default()).unwrap();
        let bytes = vec![7u8; (PAGES * 4096) as usize];
        let mut write = || {
            let written = station.transaction(|tx| tx.alloc_slice_from(&bytes));
            let first = PageNumber((written.unwrap().offset() / 4096) as u32);
            let count = PAGES;
            PageRun { first, count }
        };
        (0..FETCHES).map(|_| write()).collect()
    }

    fn request(welcome: &Welcome, request: Request) -> ToLeader {
        ToLeader::Request {
            incarnation: welcome.incarnation,
            generation: welcome.generation,
            request,
        }
    }

    /// Whether all fetches were heard, and the answers do not fit the socket.
    fn is_stuck(address: &Address) -> bool {
        let status = crate::status(address, None).unwrap();
        let heard = status.fetches >= u64::from(FETCHES * PAGES);
        heard && status.stations.iter().any(|s| s.backlog_bytes > 0)
    }

    /// Says the same for as long as the socket takes it.
    fn talk(mut socket: TcpStream, message: &ToLeader) {
        let mut frame = Vec::new();
        frame::encode(message, &mut frame).unwrap();
        let mut rest = &frame[..];
        loop {
            match socket.write(rest) {
                Ok(count) if count < rest.len() => rest = &rest[count..],
                Ok(_) => rest = &frame,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(_) => return,
            }
        }
    }

    /// The next message; `None` when the connection has ended.
    fn next(connection: &mut Connection) -> Option<ToStation> {
        let mut is_over = connection.flush().is_err();
        loop {
            if let Some(message) = connection.next().unwrap() {
                return Some(message);
            }
            if is_over {
                return None;
            }
            connection.wait(PATIENCE).unwrap();
            is_over = connection.receive().is_err();
        }
    }
}
