//! `plurix shutdown`: ends a page server, and with it its stations, from any machine.

use clap::Args;

use crate::Exit;
use crate::contact::Contact;

const EXAMPLES: &str = "\
Example:
  plurix shutdown --join node-1:7700 --keys keys

The heap stays in the page server's directory; the same page-server command continues with it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    contact: Contact,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let credentials = options.contact.credentials()?;
    plurix::shutdown(&options.contact.address, credentials)?;
    Ok(Exit::Done)
}
