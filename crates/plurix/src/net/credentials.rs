//! What a connection is opened with: the cluster's secret, a machine's keys, or both; and the rule that
//! nothing leaves a machine unprotected by accident.

use std::net::IpAddr;
use std::path::Path;

use super::keys::{self, Keys, KeysError};
use super::secret::{Secret, SecretError};

/// What a member of a cluster shows to others, and wants to be shown.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Credentials {
    /// The cluster's shared secret.
    pub secret: Option<Secret>,
    /// This machine's keys. With them, TCP is protected by TLS.
    pub keys: Option<Keys>,
    /// Without keys, connections to other machines are allowed all the same: everybody between them can
    /// read and change what is said.
    pub insecure_plain: bool,
}

/// Why a directory of keys does not give credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The secret cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl Credentials {
    /// The keys in `dir`, and the secret beside them, if there is one.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn from_dir(dir: &Path) -> Result<Self, CredentialsError> {
        let secret = dir.join(keys::SECRET);
        let secret = secret.exists().then(|| Secret::from_file(&secret));
        Ok(Self {
            secret: secret.transpose()?,
            keys: Some(Keys::from_dir(dir)?),
            insecure_plain: false,
        })
    }

    /// Whether a connection to `host` may be plain.
    pub(crate) fn allow_plain(&self, host: IpAddr) -> bool {
        let host = host.to_canonical();
        // The unspecified address leads to this machine, too.
        host.is_loopback() || host.is_unspecified() || self.insecure_plain
    }
}

impl From<Option<&Secret>> for Credentials {
    fn from(secret: Option<&Secret>) -> Self {
        Self {
            secret: secret.cloned(),
            ..Self::default()
        }
    }
}

impl From<&Self> for Credentials {
    fn from(credentials: &Self) -> Self {
        credentials.clone()
    }
}
