//! `plurix page-server`: orders commits, serves pages and keeps the log, until told to end.

use std::path::PathBuf;

use clap::Args;
use plurix::net::Address;
use plurix::{PageServer, ServerOptions};
use rustix::process::Signal;

use crate::ready::{Ready, ServerReady};
use crate::server_settings::ServerSettings;
use crate::supervised::Supervised;
use crate::{Exit, output, signals};

const EXAMPLES: &str = "\
Examples:
  plurix page-server --dir heap
      stations of this machine join with: plurix station --join 127.0.0.1:7700
  plurix page-server --dir heap --listen 0.0.0.0:7700 --secret-file secret
      stations of other machines, too; make a secret with: openssl rand -hex 32 > secret
  plurix page-server --dir heap --durability durable --segment-bytes 256MiB

The same directory again continues with the same heap. SIGINT or SIGTERM ends it in order.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Where the heap's log is, or shall be.
    #[arg(long)]
    dir: PathBuf,
    /// Where to listen: HOST:PORT, or unix:PATH; may be given several times.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7700")]
    listen: Vec<Address>,
    /// Say in JSON that it is ready.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    supervised: Supervised,
    #[command(flatten)]
    settings: ServerSettings,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    // In order, so that the log is marked clean: what is not clean costs a rollback if the power
    // fails before the next start.
    options.supervised.end_with_supervisor(Signal::TERM)?;
    let nowhere = Address::Unix(PathBuf::new());
    let mut wished = ServerOptions::new(&options.dir, nowhere);
    wished.listen.clone_from(&options.listen);
    options.settings.apply(&mut wished)?;
    let mut server = PageServer::open(wished)?;
    server.on_notice(output::note);
    let stop = server.stop_handle();
    signals::on_stop(move || stop.stop())?;
    let ready = ServerReady::of(&server);
    if options.json {
        output::line(serde_json::to_string(&Ready::PageServer(ready))?);
    } else {
        output::line(ready);
    }
    server.run()?;
    Ok(Exit::Done)
}
