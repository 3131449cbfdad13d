//! Listening for stations: one Unix socket, one TCP port, or both.

use std::fs::Permissions;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use super::address::{Address, unix_beside};
use super::connection::Connection;
use super::credentials::Credentials;
use super::transport::Stream;

/// Why a page server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another process has the address.
    #[error("{0} is in use by another process; choose another address or end that process")]
    InUse(Address),
    /// The system refuses the address.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// Other machines could reach the address, and there are no keys.
    #[error(
        "{0} can be reached from other machines; give this machine's keys (--keys, from plurix keys \
         issue), listen on 127.0.0.1 or a Unix socket, or allow it without protection (--insecure-plain)"
    )]
    KeysNeeded(Address),
    /// Other machines could reach the address without keys, and there is no secret.
    #[error(
        "{0} can be reached from other machines; without keys it needs a shared secret (--secret-file)"
    )]
    SecretNeeded(Address),
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

/// A listening socket; its Unix path is removed with it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
}

impl Listener {
    /// Listens on `address`.
    pub(crate) fn bind(address: &Address) -> Result<Self, ListenError> {
        let socket = match address {
            Address::Tcp(text) => TcpListener::bind(&resolve(text, address)?[..]).map(Socket::Tcp),
            Address::Unix(path) => bind_unix(path).map(|socket| Socket::Unix(socket, path.clone())),
        };
        let socket = socket.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(address.clone()),
            _ => ListenError::Io {
                address: address.clone(),
                source,
            },
        })?;
        let listener = Self { socket };
        listener
            .set_nonblocking()
            .map_err(|source| ListenError::Io {
                address: address.clone(),
                source,
            })?;
        Ok(listener)
    }

    /// The Unix socket by which stations of this machine find the TCP port of this listener. `None`
    /// if there is no TCP port, or the socket cannot be made: stations then use TCP.
    pub(crate) fn beside(&self) -> Option<Self> {
        let Socket::Tcp(socket) = &self.socket else {
            return None;
        };
        let path = unix_beside(socket.local_addr().ok()?.port());
        let listener = Self::bind(&Address::Unix(path.clone())).ok()?;
        // Without keys of their own, processes of this user alone get in by it.
        let own = std::fs::set_permissions(&path, Permissions::from_mode(0o600));
        own.is_ok().then_some(listener)
    }

    /// Whether these `credentials` are enough to listen on `address`.
    pub(crate) fn check(address: &Address, credentials: &Credentials) -> Result<(), ListenError> {
        if address.is_local() || credentials.keys.is_some() {
            Ok(())
        } else if !credentials.insecure_plain {
            Err(ListenError::KeysNeeded(address.clone()))
        } else if credentials.secret.is_none() {
            Err(ListenError::SecretNeeded(address.clone()))
        } else {
            Ok(())
        }
    }

    /// Where stations can reach it.
    pub(crate) fn address(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Unix(_, path) => Ok(Address::Unix(path.clone())),
            Socket::Tcp(socket) => Ok(socket.local_addr()?.into()),
        }
    }

    /// The next station that has connected; `None` if there is none.
    pub(crate) fn accept(&self, frame_max: usize) -> io::Result<Option<Connection>> {
        let stream = match &self.socket {
            Socket::Unix(socket, _) => socket.accept().map(|(stream, _)| Stream::Unix(stream)),
            Socket::Tcp(socket) => socket.accept().map(|(stream, _)| Stream::Tcp(stream)),
        };
        match stream {
            Ok(stream) => Connection::new(stream, frame_max).map(Some),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Unix(socket, _) => socket.set_nonblocking(true),
            Socket::Tcp(socket) => socket.set_nonblocking(true),
        }
    }
}

fn resolve(text: &str, address: &Address) -> Result<Vec<std::net::SocketAddr>, ListenError> {
    text.to_socket_addrs()
        .map(Iterator::collect)
        .map_err(|source| ListenError::Io {
            address: address.clone(),
            source,
        })
}

/// Binds a Unix socket; a path left behind by a process that died is taken over.
fn bind_unix(path: &PathBuf) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path) {
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        bound => bound,
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Unix(socket, _) => socket.as_fd(),
            Socket::Tcp(socket) => socket.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = &self.socket {
            // Whoever finds the path gone or stale takes the same way; nothing depends on this.
            let _ = std::fs::remove_file(path);
        }
    }
}
