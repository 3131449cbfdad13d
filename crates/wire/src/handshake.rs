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
//! A proof is HMAC-SHA256 (RFC 2104) under the shared secret over the side's name, both nonces and
//! the cluster id, so neither side reveals the secret and no proof can be replayed. It authenticates
//! the beginning of the connection only; it neither encrypts nor protects what follows.

use serde::{Deserialize, Serialize};

use crate::ids::ClusterId;

/// Begins every connection; tells a stranger's protocol from ours.
pub const MAGIC: [u8; 8] = *b"PLURIX\r\n";
/// The version of everything in this crate that travels; peers must be equal.
pub const VERSION: u32 = 1;

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
    Accepted,
    /// The connection ends.
    Rejected(Rejection),
}

/// The client's second frame; the proof is absent if the server asked for none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientProof {
    /// The proof.
    pub proof: Option<Proof>,
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
}

/// The bytes that a proof authenticates. `side` is `b"client"` or `b"server"`, so that one side's
/// proof can never be reflected as the other's.
#[must_use]
pub fn transcript(side: &[u8; 6], client: &Nonce, server: &Nonce, cluster: ClusterId) -> Vec<u8> {
    [
        &MAGIC[..],
        side,
        &VERSION.to_le_bytes(),
        client,
        server,
        &cluster.0,
    ]
    .concat()
}
