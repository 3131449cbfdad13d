//! What every command needs that speaks to a page server: where it is, and what is shown to the other
//! side.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use plurix::net::{Address, Credentials, Secret};

use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Contact {
    /// The page server: HOST:PORT, or unix:PATH.
    #[arg(long = "join", value_name = "ADDR")]
    pub(crate) address: Address,
    #[command(flatten)]
    protection: Protection,
}

/// What protects the connections between machines.
#[derive(Debug, Clone, Args)]
pub(crate) struct Protection {
    /// This machine's keys, from 'plurix keys issue': connections over TCP are protected by TLS, and let
    /// in nobody else; needed between machines.
    #[arg(long, global = true, value_name = "DIR", env = "PLURIX_KEYS")]
    keys: Option<PathBuf>,
    /// The cluster's shared secret: a file of at least 16 bytes, the same on every machine [default: that
    /// in the directory of keys].
    #[arg(long, global = true, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Allow connections between machines without keys: everybody between them can read and change what
    /// is said there.
    #[arg(long, global = true)]
    insecure_plain: bool,
}

impl Contact {
    /// What is shown to the page server.
    pub(crate) fn credentials(&self) -> anyhow::Result<Credentials> {
        self.protection.read()
    }
}

impl Protection {
    /// What is shown to the other side; says if something is wrong with it.
    pub(crate) fn read(&self) -> anyhow::Result<Credentials> {
        let mut credentials = match &self.keys {
            Some(dir) => Credentials::from_dir(dir)?,
            None => Credentials::default(),
        };
        if let Some(file) = &self.secret_file {
            credentials.secret = Some(Secret::from_file(file)?);
        }
        credentials.insecure_plain = self.insecure_plain;
        match &credentials.keys {
            None if self.insecure_plain => output::note(
                "warning: --insecure-plain: what is said to other machines can be read and changed on the way",
            ),
            None => {}
            Some(keys) => {
                if let Some(days) = keys.ends_in_days() {
                    output::note(format_args!(
                        "warning: this machine's certificate ends in {days} days; make a new one with: \
                         plurix keys issue --force"
                    ));
                }
            }
        }
        Ok(credentials)
    }

    /// The same as a command line.
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let file = |name: &str, path: &Option<PathBuf>| {
            let path = path.as_ref().map(|path| [name.into(), path.into()]);
            path.into_iter().flatten().collect::<Vec<OsString>>()
        };
        let mut arguments = file("--keys", &self.keys);
        arguments.extend(file("--secret-file", &self.secret_file));
        arguments.extend(self.insecure_plain.then(|| "--insecure-plain".into()));
        arguments
    }
}
