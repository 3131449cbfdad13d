//! Where a page server listens: a Unix socket on this machine, or a TCP address.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The name of the Unix socket that a page server makes beside each TCP port it listens on, in the
/// directory for temporary files.
const UNIX_PREFIX: &str = "plurix-";

/// Where a page server can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A Unix stream socket at this path.
    Unix(PathBuf),
    /// A TCP address, `host:port`.
    Tcp(String),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no address; give HOST:PORT, or unix:PATH for a socket on this machine")]
pub struct AddressError {
    text: String,
}

impl Address {
    /// The sockets to try for this address, best first: a page server of this machine is reached by
    /// its Unix socket, which halves the round trip.
    pub(crate) fn candidates(&self) -> Vec<Self> {
        let mut candidates = Vec::new();
        if let Self::Tcp(text) = self
            && let Ok(addresses) = text.to_socket_addrs()
        {
            let local = addresses
                .into_iter()
                .find(|address| address.ip().is_loopback());
            let path = local.map(|address| unix_beside(address.port()));
            candidates.extend(path.filter(|path| is_ours(path)).map(Self::Unix));
        }
        candidates.push(self.clone());
        candidates
    }

    /// The address of this machine in the network by which `self` is reached.
    pub(crate) fn own_host(&self) -> io::Result<IpAddr> {
        let Self::Tcp(text) = self else {
            return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
        };
        // To connect a socket of datagrams sends nothing, and chooses the way.
        let socket = match text.to_socket_addrs()?.next() {
            Some(SocketAddr::V6(_)) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
            _ => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        };
        socket.connect(text)?;
        Ok(socket.local_addr()?.ip())
    }

    /// The name or number of the host, as it was given; nothing for a Unix socket.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "",
            Self::Tcp(text) => {
                let host = text.rsplit_once(':').map_or("", |(host, _)| host);
                host.trim_start_matches('[').trim_end_matches(']')
            }
        }
    }

    /// Whether only this machine can reach the address.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(text) => text
                .to_socket_addrs()
                .is_ok_and(|mut addresses| addresses.all(|address| address.ip().is_loopback())),
        }
    }
}

/// Whether the socket at `path` was made by this user, so that nobody else can pose as the server.
fn is_ours(path: &Path) -> bool {
    let user = rustix::process::geteuid().as_raw();
    std::fs::symlink_metadata(path).is_ok_and(|found| found.uid() == user)
}

/// The path of the Unix socket that stands beside TCP port `port` of this machine.
pub(crate) fn unix_beside(port: u16) -> PathBuf {
    std::env::temp_dir().join(format!("{UNIX_PREFIX}{port}.sock"))
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.to_string())
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(AddressError {
                    text: text.to_owned(),
                })
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        if text.starts_with(['/', '.']) {
            return Ok(Self::Unix(text.into()));
        }
        let error = || AddressError {
            text: text.to_owned(),
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(error)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let named = !bare.is_empty() && (!bare.contains(':') || bare.parse::<IpAddr>().is_ok());
        if !named || port.parse::<u16>().is_err() {
            return Err(error());
        }
        Ok(Self::Tcp(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_back() {
        for text in [
            "127.0.0.1:7000",
            "[::1]:7000",
            "node-3:80",
            "unix:/run/p.sock",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("/run/p".parse(), Ok(Address::Unix("/run/p".into())));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "host", "host:", ":80", "host:99999", "a:b:1", "unix:"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
