//! The way to a peer: addresses, framed connections that never block unless told to, over a socket
//! or through shared memory, and the handshake.
//!
//! A connection belongs to whoever drives it; there is no thread behind it. The driver reads what
//! is there, decides, writes what is due, and only then waits.

mod address;
mod connection;
pub(crate) mod handshake;
mod listener;
mod secret;
mod spinner;
mod transport;

pub use address::{Address, AddressError};
pub use connection::NetError;
pub(crate) use connection::{Connection, Traffic};
pub use handshake::ConnectError;
pub use listener::ListenError;
pub(crate) use listener::Listener;
pub use secret::{Secret, SecretError};
pub(crate) use spinner::{GLANCES, Spinner};
