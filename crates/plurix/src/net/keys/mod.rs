//! A machine's keys: its certificate, the key to it, and the authority that both sides of a connection
//! trust.
//!
//! ```text
//!   the authority's directory          a machine's directory
//!     authority.pem        ──copied──►   authority.pem     whom this machine trusts
//!     authority-key.pem    ──signs───►   machine.pem       who this machine is
//!     secret               ──copied──►   secret            the cluster's
//!                                        machine-key.pem   the proof of it; never leaves the machine
//! ```

mod authority;
mod certificate;
mod error;
mod files;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};

pub use authority::{Authority, Machine};
pub use certificate::Certificate;
pub use error::KeysError;

/// The authority's certificate, in both kinds of directories. It may hold several, to change from one
/// to another.
const AUTHORITY: &str = "authority.pem";
/// What the authority signs with.
const AUTHORITY_KEY: &str = "authority-key.pem";
/// A machine's certificate.
const MACHINE: &str = "machine.pem";
/// The key to it.
const MACHINE_KEY: &str = "machine-key.pem";
/// The cluster's secret.
pub(super) const SECRET: &str = "secret";

/// A certificate that ends within this time should be replaced.
const SOON: Duration = Duration::from_secs(30 * DAY);
const DAY: u64 = 24 * 60 * 60;

/// What a machine shows on connections to others, and whom it trusts there. Cheap to clone.
///
/// With keys, each connection over TCP is protected by TLS 1.3, and both sides must show a certificate
/// of the same authority; whoever is connected to must be called so in its certificate. Unix sockets
/// stay as they are.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    certificate: Certificate,
}

impl Keys {
    /// Reads the directory that [`Authority::issue`], or `plurix keys issue`, has made.
    ///
    /// # Errors
    /// [`KeysError`], also if the certificate has ended, is not that of the key, or is not of the
    /// authority.
    pub fn from_dir(dir: &Path) -> Result<Self, KeysError> {
        let [authority, machine, key] =
            [AUTHORITY, MACHINE, MACHINE_KEY].map(|name| dir.join(name));
        let mut roots = RootCertStore::empty();
        for certificate in files::certificates(&authority)? {
            roots
                .add(certificate)
                .map_err(|why| KeysError::malformed(&authority, why))?;
        }
        let chain = files::certificates(&machine)?;
        let certificate = Certificate::from_der(&chain[0])
            .ok_or_else(|| KeysError::malformed(&machine, "the certificate is damaged"))?;
        files::check_hidden(&key)?;
        let secret = files::read(&key)?;
        let secret = PrivateKeyDer::from_pem_slice(&secret)
            .map_err(|why| KeysError::malformed(&key, why))?;
        let provider = Arc::new(provider());
        let trusted = Arc::new(roots.clone());
        let verifier = WebPkiClientVerifier::builder_with_provider(trusted, Arc::clone(&provider));
        let verifier = verifier
            .build()
            .map_err(|why| KeysError::malformed(&authority, why))?;
        verifier
            .verify_client_cert(&chain[0], &chain[1..], UnixTime::now())
            .map_err(|why| of_no_use(&machine, &authority, &certificate, why))?;
        let mismatch = |why| match why {
            rustls::Error::InconsistentKeys(_) => KeysError::Mismatch {
                certificate: machine.clone(),
                key: key.clone(),
            },
            why => KeysError::malformed(&key, why),
        };
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has cipher suites of TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), secret.clone_key())
            .map_err(mismatch)?;
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has cipher suites of TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, secret)
            .map_err(mismatch)?;
        server.send_tls13_tickets = 0;
        Ok(Self(Arc::new(Inner {
            client: Arc::new(client),
            server: Arc::new(server),
            certificate,
        })))
    }

    /// What this machine's certificate says.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// The days until this machine's certificate ends, if they are so few that it should be replaced.
    #[must_use]
    pub fn ends_in_days(&self) -> Option<u64> {
        let left = self.0.certificate.ends().saturating_sub(now());
        (left < SOON.as_secs()).then_some(left / DAY)
    }

    pub(super) fn client(&self) -> &Arc<ClientConfig> {
        &self.0.client
    }

    pub(super) fn server(&self) -> &Arc<ServerConfig> {
        &self.0.server
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.certificate.name())
    }
}

/// The cryptography of TLS. The shorter key of AES is as good as the other one for this, and faster.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    let suites = &mut provider.cipher_suites;
    suites.retain(|suite| suite.tls13().is_some());
    let preferred = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
    suites.sort_by_key(|suite| suite.suite() != preferred);
    provider
}

/// Why a machine's own certificate would be refused by others.
fn of_no_use(
    machine: &Path,
    authority: &Path,
    certificate: &Certificate,
    why: rustls::Error,
) -> KeysError {
    let path = machine.to_owned();
    match why {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => KeysError::Expired {
            path,
            days: now().saturating_sub(certificate.ends()) / DAY,
        },
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => KeysError::NotBegun(path),
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => KeysError::OtherAuthority {
            certificate: path,
            authority: authority.to_owned(),
        },
        why => KeysError::malformed(machine, why),
    }
}

/// The certificates of a file, of which there is one at least.
fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|why| why.to_string())?;
    if all.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(all)
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
