//! What every command needs that speaks to a page server: where it is, and the secret that it wants
//! to be shown.

use std::path::PathBuf;

use clap::Args;
use plurix::net::{Address, Secret};

#[derive(Debug, Args)]
pub(crate) struct Contact {
    /// The page server: HOST:PORT, or unix:PATH.
    #[arg(long = "join", value_name = "ADDR")]
    pub(crate) address: Address,
    #[command(flatten)]
    secret: SecretFile,
}

#[derive(Debug, Args)]
pub(crate) struct SecretFile {
    /// The cluster's shared secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl Contact {
    /// The secret, if there is one.
    pub(crate) fn secret(&self) -> anyhow::Result<Option<Secret>> {
        self.secret.read()
    }
}

impl SecretFile {
    /// The secret, if there is one.
    pub(crate) fn read(&self) -> anyhow::Result<Option<Secret>> {
        let secret = self.secret_file.as_deref().map(Secret::from_file);
        Ok(secret.transpose()?)
    }
}
