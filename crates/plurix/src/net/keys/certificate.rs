//! What a certificate says, as far as people want to know it (RFC 5280). Whether it is true is for TLS
//! to find out.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::Serialize;

use super::{KeysError, files};

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const TIME: u8 = 0x18;
/// Only in certificates that have one: the version, and the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// Kinds of names in the extension for them.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    name: String,
    issuer: String,
    serial: String,
    hosts: Vec<String>,
    begins: u64,
    ends: u64,
    is_authority: bool,
}

impl Certificate {
    /// The first certificate in a file of the PEM format.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn from_file(path: &Path) -> Result<Self, KeysError> {
        let all = files::certificates(path)?;
        Self::from_der(&all[0])
            .ok_or_else(|| KeysError::malformed(path, "the certificate is damaged"))
    }

    /// Whom it is for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who has issued it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its number, in hexadecimal digits.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The host names and IP addresses by which others may connect to the machine.
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Since when it is valid, in seconds since 1970.
    #[must_use]
    pub fn begins(&self) -> u64 {
        self.begins
    }

    /// Until when it is valid, in seconds since 1970.
    #[must_use]
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// Whether others may be signed with it.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// Reads the DER encoding; `None` if it is none.
    pub(super) fn from_der(bytes: &[u8]) -> Option<Self> {
        let mut signed = Der(bytes).inside(SEQUENCE)?;
        let mut fields = signed.inside(SEQUENCE)?;
        if fields.tag() == Some(VERSION) {
            fields.any()?;
        }
        let serial = fields.value(INTEGER)?;
        fields.value(SEQUENCE)?;
        let issuer = common_name(fields.inside(SEQUENCE)?)?;
        let mut validity = fields.inside(SEQUENCE)?;
        let (begins, ends) = (time(&mut validity)?, time(&mut validity)?);
        let mut found = Self {
            name: common_name(fields.inside(SEQUENCE)?)?,
            issuer,
            serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
            hosts: Vec::new(),
            begins,
            ends,
            is_authority: false,
        };
        while let Some(tag) = fields.tag() {
            let (_, inside) = fields.any()?;
            if tag == EXTENSIONS {
                found.extend(Der(inside).inside(SEQUENCE)?)?;
            }
        }
        Some(found)
    }

    fn extend(&mut self, mut extensions: Der<'_>) -> Option<()> {
        while extensions.tag().is_some() {
            let mut extension = extensions.inside(SEQUENCE)?;
            let what = extension.value(OID)?;
            if extension.tag() == Some(BOOLEAN) {
                extension.any()?;
            }
            let mut value = Der(extension.value(OCTETS)?).inside_if(SEQUENCE);
            if what == ALTERNATIVE_NAMES {
                let names = value.as_mut()?;
                while names.tag().is_some() {
                    let (kind, name) = names.any()?;
                    self.hosts.extend(host(kind, name));
                }
            } else if what == BASIC_CONSTRAINTS {
                let constraints = value.as_mut()?;
                self.is_authority =
                    constraints.tag() == Some(BOOLEAN) && constraints.value(BOOLEAN)? != [0];
            }
        }
        Some(())
    }
}

/// A name as people write it; `None` for kinds that are not for machines.
fn host(kind: u8, name: &[u8]) -> Option<String> {
    match kind {
        DNS_NAME => Some(String::from_utf8_lossy(name).into_owned()),
        IP_ADDRESS => match name.len() {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(name).ok()?).to_string()),
            16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(name).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// The common name of a distinguished one; empty if it has none.
fn common_name(mut parts: Der<'_>) -> Option<String> {
    const SET: u8 = 0x31;
    let mut name = String::new();
    while parts.tag().is_some() {
        let mut part = parts.inside(SET)?.inside(SEQUENCE)?;
        if part.value(OID)? == COMMON_NAME {
            name = String::from_utf8_lossy(part.any()?.1).into_owned();
        }
    }
    Some(name)
}

/// A time in seconds since 1970; those before count as that.
fn time(from: &mut Der<'_>) -> Option<u64> {
    let (kind, text) = from.any()?;
    let text = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| {
        let number = |sum: u64, digit: &u8| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + u64::from(digit - b'0'))
        };
        digits.iter().try_fold(0, number)
    };
    let (year, rest) = match kind {
        // Two digits are a year from 1950 on.
        UTC_TIME => {
            let (digits, rest) = text.split_at_checked(2)?;
            let year = number(digits)?;
            (year + if year < 50 { 2000 } else { 1900 }, rest)
        }
        TIME => {
            let (digits, rest) = text.split_at_checked(4)?;
            (number(digits)?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let mut parts = rest.chunks_exact(2).map(number);
    let (month, day) = (parts.next()??, parts.next()??);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // A year that begins in March has the odd day at its end.
    let year = if month <= 2 {
        year.saturating_sub(1)
    } else {
        year
    };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year / 4 + year / 400 - year / 100;
    (year * 365 + leap_days + of_year).saturating_sub(719_468)
}

/// What is left to read of a DER encoding (X.690).
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag of what comes next.
    fn tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// What comes next: its tag and content.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            // How many bytes the length has.
            let count = usize::from(first & 0x7f);
            let (bytes, rest) = rest.split_at_checked(count).filter(|_| count <= 4)?;
            let length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of what comes next, which must have this tag.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }

    /// The same, to be read itself.
    fn inside(&mut self, tag: u8) -> Option<Self> {
        self.value(tag).map(Self)
    }

    /// The same of one that stands alone.
    fn inside_if(mut self, tag: u8) -> Option<Self> {
        self.inside(tag)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (kind, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "261123214512Z", Some(1_795_470_312)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (TIME, "20500101000000Z", Some(2_524_608_000)),
            (TIME, "20000229120000Z", Some(951_825_600)),
            (TIME, "00000101000000Z", Some(0)),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "70010100000Z", None),
            (UTC_TIME, "7001010000xxZ", None),
            (OID, "700101000000Z", None),
        ] {
            let mut bytes = vec![kind, text.len() as u8];
            bytes.extend(text.bytes());
            assert_eq!(time(&mut Der(&bytes)), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_certificate_or_none(bytes: Vec<u8>) {
            let _ = Certificate::from_der(&bytes);
        }
    }
}
