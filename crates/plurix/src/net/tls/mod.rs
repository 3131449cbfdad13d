//! TLS 1.3 between two machines, as one more way for bytes to get to the peer.
//!
//! ```text
//!   recv ──► wire ──► rustls ──► the connection's input         all of it, each time
//!   the connection's output ──► rustls ──► records ──► sendmsg  a record or more ahead of the socket
//! ```
//!
//! The session knows no socket, and there is no thread behind it: whoever drives the connection drives
//! it. A look at an empty socket costs what it costs without TLS. What one read brings is deciphered at
//! once and as a whole, so that nobody who sleeps on the socket can miss what is here already.
//!
//! Both sides show a certificate of the cluster's authority, each time: no session is resumed, so there
//! are no tickets to steal, and nothing is said before both are known, so there is nothing to replay.

mod error;
#[cfg(test)]
pub(super) mod tests;

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, recv, sendmsg};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

pub use error::TlsError;

use super::connection::NetError;
use super::keys::Keys;
use super::transport::{Wait, received};

/// Most bytes of one read.
const WIRE_BYTES: usize = 64 << 10;
/// The longest record (RFC 8446, section 5.2), with its header; what is kept of one that has not come
/// to its end is shorter.
const RECORD_BYTES_MAX: usize = 5 + (1 << 14) + 256;
/// The first byte of every TLS connection: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// The version that every record of the handshake has for its major one.
const RECORD_VERSION: u8 = 3;
/// What records begin with.
const RECORD_KINDS: std::ops::RangeInclusive<u8> = 20..=23;
/// What is kept of the answer of a peer that does not speak TLS.
const PLAIN_BYTES_MAX: usize = 512;

/// The label under which both ends derive what only they know. Source: RFC 9266, section 2.
const CHANNEL_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// What only the two ends of one connection know.
pub(crate) type Channel = [u8; 32];

/// Whether a connection that says this first wants TLS; `None` if more must be heard.
pub(crate) fn begins_tls(heard: &[u8]) -> Option<bool> {
    match *heard {
        [] => None,
        [kind] if kind == HANDSHAKE_RECORD => None,
        // A plain frame that begins with these two would be longer than a stranger may send.
        [kind, version, ..] => Some(kind == HANDSHAKE_RECORD && version == RECORD_VERSION),
        _ => Some(false),
    }
}

/// One end of a TLS connection.
#[derive(Debug)]
pub(crate) struct Session {
    session: rustls::Connection,
    /// What a read brings.
    wire: Box<[u8]>,
    /// The peer has said that it will say no more.
    has_ended: bool,
    /// The peer cannot be trusted any more; what it says is dropped.
    has_failed: bool,
    /// The first words of a server that does not speak TLS.
    plain: Vec<u8>,
    /// Something has been heard.
    is_answered: bool,
}

impl Session {
    /// The side that connects, to a machine that must be called `host`.
    pub(crate) fn client(keys: &Keys, host: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| TlsError::NoName(host.to_owned()))?;
        let session = ClientConnection::new(Arc::clone(keys.client()), name)?;
        Ok(Self::new(session.into()))
    }

    /// The side that is connected to.
    pub(crate) fn server(keys: &Keys) -> Result<Self, TlsError> {
        let session = ServerConnection::new(Arc::clone(keys.server()))?;
        Ok(Self::new(session.into()))
    }

    fn new(session: rustls::Connection) -> Self {
        Self {
            session,
            wire: vec![0; WIRE_BYTES].into(),
            has_ended: false,
            has_failed: false,
            plain: Vec::new(),
            is_answered: false,
        }
    }

    /// What only the two ends of this connection know, once they know each other.
    pub(crate) fn channel(&self) -> Result<Channel, TlsError> {
        let empty = Channel::default();
        Ok(self
            .session
            .export_keying_material(empty, CHANNEL_LABEL, Some(b""))?)
    }

    /// What a peer has answered that does not speak TLS.
    pub(crate) fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// Takes what is there; zero if that is nothing that is meant for the peer's reader.
    pub(crate) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        into: &mut [u8],
        wait: Wait,
    ) -> Result<usize, NetError> {
        if self.has_ended {
            return Err(NetError::Closed);
        }
        // So there is room for all that it can turn out to be.
        let most = WIRE_BYTES.min(into.len().saturating_sub(RECORD_BYTES_MAX));
        assert!(most > 0, "a read has room for more than a record");
        let read = recv(socket, &mut self.wire[..most], wait.flags());
        let count = received(read.map(|(count, _)| count))?;
        if self.has_failed || count == 0 {
            return Ok(count);
        }
        let wire = std::mem::take(&mut self.wire);
        let taken = self.take(&wire[..count], into);
        self.wire = wire;
        taken
    }

    /// Deciphers what has come.
    pub(crate) fn take(&mut self, mut wire: &[u8], into: &mut [u8]) -> Result<usize, NetError> {
        self.listen_for_plain(wire);
        let mut filled = 0;
        while !wire.is_empty() && !self.has_ended {
            let done = self.session.read_tls(&mut wire).map_err(TlsError::from);
            let state = done.and_then(|_| Ok(self.session.process_new_packets()?));
            let state = state.map_err(|error| self.fail(error))?;
            let count = state.plaintext_bytes_to_read();
            let part = &mut into[filled..filled + count];
            self.session.reader().read_exact(part)?;
            filled += count;
            self.has_ended = state.peer_has_closed();
        }
        if self.has_ended && filled == 0 {
            return Err(NetError::Closed);
        }
        Ok(filled)
    }

    fn fail(&mut self, error: TlsError) -> TlsError {
        self.has_failed = true;
        match error {
            // It did speak TLS.
            TlsError::NotTls if self.plain.is_empty() => TlsError::Tampered,
            error => error,
        }
    }

    fn listen_for_plain(&mut self, wire: &[u8]) {
        if wire.is_empty() {
            return;
        }
        let is_plain = match self.is_answered {
            false => wire
                .first()
                .is_some_and(|kind| !RECORD_KINDS.contains(kind)),
            true => !self.plain.is_empty(),
        };
        self.is_answered = true;
        if is_plain {
            let room = PLAIN_BYTES_MAX - self.plain.len();
            self.plain.extend(wire.iter().take(room));
        }
    }

    /// Enciphers `slices` and sends them, as far as there is room; `None` if there is none.
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
    ) -> Result<Option<usize>, NetError> {
        if !self.flush(socket)? || self.session.is_handshaking() {
            return Ok(None);
        }
        if self.has_failed {
            return Err(NetError::Closed);
        }
        // As much as the session keeps: what the socket does not take of that is sent later.
        let count = self.session.writer().write_vectored(slices)?;
        self.flush(socket)?;
        Ok((count > 0).then_some(count))
    }

    /// Sends the records that wait; answers whether that was all.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<bool, NetError> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Socket(socket)) {
                Ok(_) => {}
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(false),
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                        return Err(NetError::Closed);
                    }
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(true)
    }

    /// Whether records wait to be sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.session.wants_write()
    }

    /// Says that nothing follows. A peer that does not hear it, because the connection breaks, makes
    /// nothing else of it: each message says itself where it ends.
    pub(crate) fn say_end(&mut self, socket: BorrowedFd<'_>) {
        self.session.send_close_notify();
        let _ = self.flush(socket);
    }
}

/// Lets the session write to a socket without waiting.
struct Socket<'a>(BorrowedFd<'a>);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let control = &mut SendAncillaryBuffer::default();
        sendmsg(self.0, slices, control, flags).map_err(Errno::into)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
