//! The first words on a connection, before either side trusts the other.
//!
//! ```text
//! station                                   page server
//!    | -- ClientHello (version, nonce) -------> |
//!    | <------- ServerHello (cluster, proof) -- |   or Rejected
//!    | -- ClientProof ------------------------> |
//!    | <------------------------- Accepted ---- |   or Rejected
//! ```
//!
//! On one host a client may ask for shared memory. If it gets some, a descriptor comes with the
//! `Accepted`, and everything after that goes through the memory.
//!
//! A proof is HMAC-SHA256 (RFC 2104) under the shared secret over the side's name, both nonces,
//! the cluster id and the channel, so neither side reveals the secret and no proof can be replayed. It
//! authenticates the beginning of the connection only; it neither encrypts nor protects what follows.
//! TLS does that, beneath all of this; the channel is then what the two ends of one TLS connection know
//! (RFC 9266), so that no proof can be passed on to another connection.
//!
//! Two versions understand each other far enough to say that they differ. So these stay as they are
//! for ever: the framing, magic and version at the front of the hello, and the encoding of
//! [`Rejection::Version`].

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::frame::{self, HEADER_BYTES, Message};
use crate::ids::ClusterId;

/// Begins every connection; tells a stranger's protocol from ours.
pub const MAGIC: [u8; 8] = *b"PLURIX\r\n";
/// The version of everything in this crate that travels; peers must be equal.
pub const VERSION: u32 = 7;

/// A number drawn for one connection.
pub type Nonce = [u8; 16];
/// HMAC-SHA256 of the transcript.
pub type Proof = [u8; 32];

/// The first frame, from whoever connects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientHello {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// Fresh for this connection.
    pub nonce: Nonce,
    /// The cluster it belongs to, if it knows.
    pub cluster: Option<ClusterId>,
}

/// What the first frame of a connection turns out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Greeting {
    /// A hello of this version.
    Hello(ClientHello),
    /// A hello of another version, of which no more can be read.
    OtherVersion(u32),
    /// Not of this protocol.
    Foreign,
}

impl Greeting {
    /// Reads the first frame, header included. What a later version says behind its version is not
    /// looked at, so that its hello may have grown.
    ///
    /// # Errors
    /// [`Error`] if this version's hello goes on in a way that it cannot.
    pub fn decode(frame: &[u8]) -> Result<Self, Error> {
        let body = frame.get(HEADER_BYTES..).unwrap_or_default();
        match postcard::take_from_bytes::<([u8; 8], u32)>(body) {
            Ok(((MAGIC, VERSION), _)) => frame::decode(frame).map(Self::Hello),
            Ok(((MAGIC, version), _)) => Ok(Self::OtherVersion(version)),
            Ok(_) | Err(_) => Ok(Self::Foreign),
        }
    }
}

/// The page server's frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// Answers the hello.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The cluster served here.
        cluster: ClusterId,
        /// Fresh for this connection.
        nonce: Nonce,
        /// Present if the server has a secret; the client must then prove itself too.
        proof: Option<Proof>,
    },
    /// The session may begin.
    Accepted {
        /// Through the memory whose descriptor comes with this frame.
        shares_memory: bool,
    },
    /// The connection ends.
    Rejected(Rejection),
}

/// The client's second frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientProof {
    /// The proof; absent if the server asked for none.
    pub proof: Option<Proof>,
    /// Whether it would like to share memory with the server.
    pub shares_memory: bool,
}

/// Why a connection was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The first bytes are not ours.
    #[error("the peer does not speak the Plurix protocol")]
    NotPlurix,
    /// The two sides were built from different versions.
    #[error("protocol version {theirs} here, {ours} there; run the same release on every machine")]
    Version {
        /// The version of the side that rejects.
        ours: u32,
        /// The version of the side that is rejected.
        theirs: u32,
    },
    /// The client belongs to another cluster.
    #[error("the page server serves cluster {0}, not the one asked for; check the address")]
    WrongCluster(ClusterId),
    /// The proof is missing or wrong.
    #[error("wrong or missing shared secret; give the file that the page server uses")]
    Secret,
    /// The client speaks plain on a port where TLS is spoken.
    #[error("the port is protected by TLS; give this machine's keys (--keys)")]
    KeysNeeded,
    /// The client speaks TLS on a port where there is none.
    #[error(
        "nobody speaks TLS there; give that machine its keys, too (--keys), or leave them away on both"
    )]
    NoKeys,
}

impl Message for ClientHello {}
impl Message for ServerFrame {}
impl Message for ClientProof {}

/// The bytes that a proof authenticates. `side` is `b"client"` or `b"server"`, so that one side's
/// proof can never be reflected as the other's. `channel` is what only the two ends of the connection
/// know, or nothing.
#[must_use]
pub fn transcript(
    side: &[u8; 6],
    client: &Nonce,
    server: &Nonce,
    cluster: ClusterId,
    channel: &[u8],
) -> Vec<u8> {
    [
        &MAGIC[..],
        side,
        &VERSION.to_le_bytes(),
        client,
        server,
        &cluster.0,
        channel,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: ClientHello = ClientHello {
        magic: MAGIC,
        version: VERSION,
        nonce: [3; 16],
        cluster: Some(ClusterId([5; 16])),
    };

    /// Whatever somebody may say.
    #[derive(Serialize)]
    struct Anything<T>(T);

    impl<T: Serialize> Message for Anything<T> {}

    fn framed(message: &impl Serialize) -> Vec<u8> {
        let mut frame = Vec::new();
        frame::encode(&Anything(message), &mut frame).unwrap();
        frame
    }

    #[test]
    fn a_hello_of_this_version_is_read_whole_or_not_at_all() {
        let read = |frame: &[u8]| Greeting::decode(frame);
        assert_eq!(read(&framed(&HELLO)), Ok(Greeting::Hello(HELLO)));
        assert!(read(&framed(&(HELLO, "more"))).is_err());
        assert!(read(&framed(&(MAGIC, VERSION))).is_err());
    }

    #[test]
    fn another_version_is_told_whatever_follows_it() {
        for version in [0, VERSION + 1, u32::MAX] {
            let other = Greeting::OtherVersion(version);
            let longer = (MAGIC, version, [9u8; 32], "a field of later times");
            assert_eq!(Greeting::decode(&framed(&longer)), Ok(other.clone()));
            assert_eq!(Greeting::decode(&framed(&(MAGIC, version))), Ok(other));
        }
    }

    #[test]
    fn what_is_no_hello_is_foreign() {
        for frame in [
            framed(&(*b"HTTP/1.1", VERSION)),
            framed(&MAGIC),
            framed(&()),
            Vec::new(),
        ] {
            assert_eq!(Greeting::decode(&frame), Ok(Greeting::Foreign));
        }
    }

    /// What an older or newer peer must be able to read, byte by byte.
    #[test]
    fn the_words_that_all_versions_share_keep_their_bytes() {
        let hello = framed(&HELLO);
        assert_eq!(hello[4..12], *b"PLURIX\r\n");
        assert_eq!(
            u32::from(hello[12]),
            VERSION,
            "one byte, as long as it is below 128"
        );
        let why = Rejection::Version {
            ours: 1,
            theirs: 300,
        };
        let rejected = framed(&ServerFrame::Rejected(why));
        assert_eq!(rejected, [5, 0, 0, 0, 2, 1, 1, 0xac, 0x02]);
    }
}
