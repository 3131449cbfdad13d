//! The way to a peer: addresses, framed connections that never block unless told to, over a socket,
//! with TLS or without, or through shared memory; the handshake; and machines' keys.
//!
//! A connection belongs to whoever drives it; there is no thread behind it. The driver reads what
//! is there, decides, writes what is due, and only then waits.

mod address;
mod connection;
mod credentials;
pub(crate) mod handshake;
pub mod keys;
mod listener;
mod secret;
mod spinner;
mod tls;
mod transport;

pub use address::{Address, AddressError};
pub use connection::NetError;
pub(crate) use connection::{Connection, Traffic};
pub use credentials::{Credentials, CredentialsError};
pub use handshake::ConnectError;
pub use keys::Keys;
pub use listener::ListenError;
pub(crate) use listener::Listener;
pub use secret::{Secret, SecretError};
pub(crate) use spinner::{GLANCES, Spinner};
pub use tls::TlsError;
