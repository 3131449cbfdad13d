//! Why two machines do not trust each other, with what to do about it.

use std::io;

use rustls::{AlertDescription, CertificateError};

/// Why a connection is not, or no longer, protected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The peer's certificate has ended, or has not begun.
    #[error(
        "the peer's certificate is not valid now; make it a new one (plurix keys issue), or set the clocks"
    )]
    Expired,
    /// The peer's certificate is of another authority.
    #[error(
        "the peer's certificate is of another authority; issue both machines' keys from one (plurix keys \
         issue)"
    )]
    UnknownAuthority,
    /// The peer's certificate is that of another machine.
    #[error(
        "the peer's certificate is for {presented}, not for {expected}; join it by one of these names, or \
         make it keys with that one too (plurix keys issue --host)"
    )]
    WrongHost {
        /// How this side calls it.
        expected: String,
        /// What its certificate says.
        presented: String,
    },
    /// The peer's certificate is not for what the peer does.
    #[error(
        "the peer's certificate is not for a machine that is connected to; make it keys with --host (plurix \
         keys issue)"
    )]
    WrongPurpose,
    /// The peer has no certificate.
    #[error("the peer has shown no certificate; give it keys (--keys)")]
    NoCertificate,
    /// A certificate cannot be read.
    #[error("the peer's certificate is none: {0}")]
    BadCertificate(String),
    /// The peer does not take this side's certificate.
    #[error("the peer refuses this machine's certificate: {why}")]
    Refused {
        /// What it says of it, and what to do.
        why: &'static str,
    },
    /// Bytes were changed on the way, or are those of another connection.
    #[error("what arrived is not what was sent; the connection was tampered with")]
    Tampered,
    /// What arrived is not TLS.
    #[error(
        "the peer does not speak TLS; check the address, and that both sides have keys (--keys)"
    )]
    NotTls,
    /// An address has no name that a certificate could have.
    #[error("'{0}' is no name that a certificate can have; join by a host name or an IP address")]
    NoName(String),
    /// Anything else.
    #[error("TLS: {0}")]
    Other(rustls::Error),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        use rustls::Error as Tls;
        match error {
            Tls::InvalidCertificate(why) => why.into(),
            Tls::NoCertificatesPresented => Self::NoCertificate,
            Tls::AlertReceived(alert) => alert.into(),
            Tls::InvalidMessage(_) => Self::NotTls,
            Tls::DecryptError
            | Tls::PeerMisbehaved(_)
            | Tls::InappropriateMessage { .. }
            | Tls::InappropriateHandshakeMessage { .. } => Self::Tampered,
            other => Self::Other(other),
        }
    }
}

impl From<CertificateError> for TlsError {
    fn from(why: CertificateError) -> Self {
        use CertificateError as Certificate;
        match why {
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => Self::Expired,
            Certificate::UnknownIssuer => Self::UnknownAuthority,
            // Another authority of the same name.
            Certificate::BadSignature => Self::UnknownAuthority,
            Certificate::NotValidForNameContext {
                expected,
                presented,
            } => Self::WrongHost {
                expected: expected.to_str().into_owned(),
                presented: presented
                    .iter()
                    .map(|name| bare(name))
                    .collect::<Vec<_>>()
                    .join(", "),
            },
            Certificate::InvalidPurpose | Certificate::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            other => Self::BadCertificate(other.to_string()),
        }
    }
}

/// A name of a certificate without its kind, which is written around it: `DnsName("node-1")`.
fn bare(name: &str) -> &str {
    let inside = name
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

impl From<AlertDescription> for TlsError {
    fn from(alert: AlertDescription) -> Self {
        let why = match alert {
            AlertDescription::UnknownCA => {
                "it is of another authority; issue both machines' keys from one (plurix keys issue)"
            }
            AlertDescription::CertificateExpired => {
                "it has ended there; make a new one (plurix keys issue), or set the clocks"
            }
            AlertDescription::CertificateRequired => "it has seen none; give the keys (--keys)",
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => {
                "it is not one that it can use; make a new one (plurix keys issue)"
            }
            AlertDescription::BadRecordMac
            | AlertDescription::DecryptError
            | AlertDescription::DecodeError
            | AlertDescription::UnexpectedMessage
            | AlertDescription::IllegalParameter => return Self::Tampered,
            other => return Self::Other(rustls::Error::AlertReceived(other)),
        };
        Self::Refused { why }
    }
}

impl From<io::Error> for TlsError {
    fn from(error: io::Error) -> Self {
        // Only of the session's own making: it is read from memory.
        Self::Other(rustls::Error::General(error.to_string()))
    }
}
