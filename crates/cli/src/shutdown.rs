//! `plurix shutdown`: ends a page server, and with it its stations, from any machine.

use std::path::PathBuf;

use clap::Args;
use plurix::net::{Address, Secret};

use crate::Exit;

const EXAMPLES: &str = "\
Example:
  plurix shutdown --join node-1:7700 --secret-file secret

The heap stays in the page server's directory; the same page-server command continues with it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The page server: HOST:PORT, or unix:PATH.
    #[arg(long, value_name = "ADDR")]
    join: Address,
    /// The cluster's shared secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let secret = options
        .secret_file
        .as_deref()
        .map(Secret::from_file)
        .transpose()?;
    plurix::shutdown(&options.join, secret.as_ref())?;
    Ok(Exit::Done)
}
