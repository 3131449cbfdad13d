//! The secret that the members of a cluster share, and the proofs made with it.

use std::fmt;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use plurix_wire::ClusterId;
use plurix_wire::handshake::{Nonce, Proof, transcript};
use sha2::Sha256;

/// Shorter secrets can be guessed from a recorded handshake.
const BYTES_MIN: usize = 16;

/// A shared secret; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The secret is too short.
    #[error("the secret has {found} bytes, {BYTES_MIN} are needed; try: openssl rand -hex 32")]
    TooShort {
        /// Its length.
        found: usize,
    },
}

/// The side of a connection that makes a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// What both sides of one handshake know, and nobody has seen in another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared<'a> {
    /// What the client drew.
    pub(crate) client: &'a Nonce,
    /// What the server drew.
    pub(crate) server: &'a Nonce,
    /// The cluster served.
    pub(crate) cluster: ClusterId,
    /// What TLS gives the two ends of a connection to know; nothing without it.
    pub(crate) channel: &'a [u8],
}

impl Secret {
    /// Takes the bytes as a secret.
    ///
    /// # Errors
    /// [`SecretError::TooShort`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let bytes = bytes.into();
        if bytes.len() < BYTES_MIN {
            return Err(SecretError::TooShort { found: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// Reads the secret from a file; white space at both ends does not count.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let bytes = std::fs::read(path).map_err(|source| SecretError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::new(bytes.trim_ascii())
    }

    /// What `side` shows to prove that it knows the secret.
    pub(crate) fn proof(&self, side: Side, shared: Shared<'_>) -> Proof {
        self.mac(side, shared).finalize().into_bytes().into()
    }

    /// Whether `proof` is that of `side`, compared in constant time.
    pub(crate) fn verify(&self, side: Side, shared: Shared<'_>, proof: &Proof) -> bool {
        self.mac(side, shared).verify_slice(proof).is_ok()
    }

    fn mac(&self, side: Side, shared: Shared<'_>) -> Hmac<Sha256> {
        let side = match side {
            Side::Client => b"client",
            Side::Server => b"server",
        };
        let Shared {
            client,
            server,
            cluster,
            channel,
        } = shared;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(&transcript(side, client, server, cluster, channel));
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
