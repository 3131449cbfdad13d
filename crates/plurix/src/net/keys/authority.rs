//! The authority of a cluster: makes itself, and machines' keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};

use super::{
    AUTHORITY, AUTHORITY_KEY, Certificate, DAY, KeysError, MACHINE, MACHINE_KEY, SECRET, files, now,
};

/// Machines' clocks may differ by so much.
const CLOCK_SKEW: u64 = 60 * 60;

/// Who signs the certificates of a cluster's machines. Its directory is needed to make keys, and
/// nowhere else; who has it can be any machine of the cluster.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    certificate: Certificate,
    pem: Vec<u8>,
    key: KeyPair,
}

/// A machine that gets keys.
#[derive(Debug, Clone)]
pub struct Machine {
    /// How people call it.
    pub name: String,
    /// The host names and IP addresses by which others connect to it. Without any, nobody can: it only
    /// connects to others.
    pub hosts: Vec<String>,
    /// How long its certificate is valid, from now on; never longer than the authority's.
    pub days: u32,
}

impl Authority {
    /// Makes an authority that is valid for `days`, and a secret, in `dir`. What is there is replaced
    /// only on demand.
    ///
    /// # Errors
    /// [`KeysError`]; then nothing was replaced, unless the disk failed.
    pub fn init(dir: &Path, days: u32, replace: bool) -> Result<Self, KeysError> {
        let key = KeyPair::generate()?;
        let mut params = params(
            &format!("plurix authority {}", random_hex::<4>()?),
            days,
            u64::MAX,
        )?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key)?.pem();
        files::make_dir(dir)?;
        let secret = random_hex::<32>()? + "\n";
        let own = [
            (AUTHORITY_KEY, key.serialize_pem()),
            (AUTHORITY, pem),
            (SECRET, secret),
        ];
        let own = own.each_ref().map(|(name, text)| (*name, text.as_bytes()));
        files::write_all(dir, &own, replace)?;
        Self::open(dir)
    }

    /// Finds the authority that is in `dir`.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open(dir: &Path) -> Result<Self, KeysError> {
        let (path, key) = (dir.join(AUTHORITY), dir.join(AUTHORITY_KEY));
        let pem = files::read(&path)?;
        let certificate = Certificate::from_file(&path)?;
        files::check_hidden(&key)?;
        let text = String::from_utf8(files::read(&key)?);
        let text = text.map_err(|why| KeysError::malformed(&key, why))?;
        let pair = KeyPair::from_pem(&text).map_err(|why| KeysError::malformed(&key, why))?;
        if !certificate.is_authority() {
            return Err(KeysError::malformed(
                &path,
                "it is not that of an authority",
            ));
        }
        if certificate.ends() <= now() {
            let days = (now() - certificate.ends()) / DAY;
            return Err(KeysError::Expired { path, days });
        }
        Ok(Self {
            dir: dir.to_owned(),
            certificate,
            pem,
            key: pair,
        })
    }

    /// What the authority's certificate says.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Makes the keys of a machine in `dir`, from where they are copied to it. What is there is replaced
    /// only on demand.
    ///
    /// # Errors
    /// [`KeysError`]; then nothing was replaced, unless the disk failed.
    pub fn issue(
        &self,
        machine: &Machine,
        dir: &Path,
        replace: bool,
    ) -> Result<Certificate, KeysError> {
        let key = KeyPair::generate()?;
        let mut params = params(&machine.name, machine.days, self.certificate.ends())?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !machine.hosts.is_empty() {
            let purpose = ExtendedKeyUsagePurpose::ServerAuth;
            params.extended_key_usages.push(purpose);
            let hosts = machine.hosts.iter().map(|host| named(host));
            params.subject_alt_names = hosts.collect::<Result<_, _>>()?;
        }
        let issuer = Issuer::new(self.params()?, &self.key);
        let signed = params.signed_by(&key, &issuer)?;
        files::make_dir(dir)?;
        let (pem, key) = (signed.pem(), key.serialize_pem());
        let secret = files::read(&self.dir.join(SECRET))?;
        let all: [(&str, &[u8]); 4] = [
            (MACHINE_KEY, key.as_bytes()),
            (MACHINE, pem.as_bytes()),
            (AUTHORITY, &self.pem),
            (SECRET, &secret),
        ];
        files::write_all(dir, &all, replace)?;
        Certificate::from_file(&dir.join(MACHINE))
    }

    /// What of the authority goes into the certificates that it signs.
    fn params(&self) -> Result<CertificateParams, KeysError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = called(self.certificate.name());
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(params)
    }
}

/// A certificate for `name` that is valid from now on, and not after `end`.
fn params(name: &str, days: u32, end: u64) -> Result<CertificateParams, KeysError> {
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err(KeysError::BadName(name.to_owned()));
    }
    let mut params = CertificateParams::new(Vec::new())?;
    let at = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = at(now().saturating_sub(CLOCK_SKEW));
    params.not_after = at(end.min(now() + u64::from(days) * DAY));
    params.distinguished_name = called(name);
    let mut serial = random::<16>()?;
    // A positive number of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

fn named(host: &str) -> Result<SanType, KeysError> {
    let bad = || KeysError::BadName(host.to_owned());
    if let Ok(address) = host.parse() {
        return Ok(SanType::IpAddress(address));
    }
    let is_name = rustls::pki_types::DnsName::try_from(host).is_ok();
    let name = host.to_owned().try_into().map_err(|_| bad())?;
    match is_name {
        true => Ok(SanType::DnsName(name)),
        false => Err(bad()),
    }
}

fn random<const N: usize>() -> Result<[u8; N], KeysError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|why| KeysError::Failed(why.to_string()))?;
    Ok(bytes)
}

fn random_hex<const N: usize>() -> Result<String, KeysError> {
    let bytes = random::<N>()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
