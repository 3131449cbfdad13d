//! What can be wrong with files of keys, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why keys cannot be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; make keys with: plurix keys issue")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} cannot be used: {why}; make it again with: plurix keys issue --force")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Anybody on the machine could take the key.
    #[error("{path} can be read by everybody; make it yours alone: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A certificate is not that of its key.
    #[error("{key} is not the key to {certificate}; copy both from the same directory")]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// A certificate was not made by the authority beside it.
    #[error("{certificate} was not issued by {authority}; copy both from the same directory")]
    OtherAuthority {
        /// The certificate.
        certificate: PathBuf,
        /// The authority.
        authority: PathBuf,
    },
    /// A certificate has ended.
    #[error("{path} ended {days} days ago; make a new one with: plurix keys issue --force")]
    Expired {
        /// The certificate.
        path: PathBuf,
        /// How long ago.
        days: u64,
    },
    /// A certificate is for later.
    #[error("{} is not valid yet; set this machine's clock", .0.display())]
    NotBegun(PathBuf),
    /// There are keys already.
    #[error("{path} is there already; choose another directory, or replace it with --force")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A name cannot be in a certificate.
    #[error("'{0}' cannot be in a certificate; give a host name or an IP address, without a port")]
    BadName(String),
    /// The cryptography fails.
    #[error("cannot make keys: {0}")]
    Failed(String),
}

impl KeysError {
    pub(super) fn malformed(path: &Path, why: impl fmt::Display) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}

impl From<rcgen::Error> for KeysError {
    fn from(error: rcgen::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
