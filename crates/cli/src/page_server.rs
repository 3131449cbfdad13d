//! `plurix page-server`: orders commits, serves pages and keeps the log, until told to end.

use std::path::PathBuf;

use clap::Args;
use plurix::net::Address;
use plurix::{PageServer, ServerOptions};
use rustix::process::Signal;

use crate::metrics::MetricsOptions;
use crate::moment::Moment;
use crate::ready::{Ready, ServerReady};
use crate::restore::Restore;
use crate::server_settings::ServerSettings;
use crate::supervised::Supervised;
use crate::timeline::{Lane, TimelineFile, details};
use crate::told::{MemberEvent, Voice};
use crate::{Exit, signals};

const EXAMPLES: &str = "\
Examples:
  plurix page-server --dir heap
      stations of this machine join with: plurix station --join 127.0.0.1:7700
  plurix page-server --dir heap --listen 0.0.0.0:7700 --keys keys
      stations of other machines, too; make keys with: plurix keys init, plurix keys issue
  plurix page-server --dir heap --durability durable --segment-bytes 256MiB
  plurix page-server --dir heap --metrics 127.0.0.1:9100
      curl http://127.0.0.1:9100/metrics
  plurix page-server --dir heap --restore 17
      the heap goes back to checkpoint 17 of 'plurix checkpoint list --dir heap'

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
    #[command(flatten)]
    restore: Restore,
    /// Write what happened when to this file at the end: a page (.html), a picture (.svg), or a trace
    /// for ui.perfetto.dev (.json).
    #[arg(long, value_name = "FILE")]
    timeline: Option<TimelineFile>,
    /// Say in JSON that it is ready.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    metrics: MetricsOptions,
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
    wished.restore = options.restore.point();
    let timeline = options.timeline.as_ref();
    let voice = options.supervised.voice(Lane::Server, timeline)?;
    let served = serve(wished, &voice, options);
    let written = voice.end();
    served?;
    written?;
    Ok(Exit::Done)
}

fn serve(wished: ServerOptions, voice: &Voice, options: &Options) -> anyhow::Result<()> {
    let mut server = PageServer::open(wished)?;
    let of_server = voice.clone();
    server.on_notice(move |notice| of_server.notice(&notice));
    let stop = server.stop_handle();
    signals::on_stop(move || stop.stop())?;
    let metrics = options.metrics.serve(server.monitor())?;
    let ready = ServerReady::of(&server, metrics);
    voice.ready(&Ready::PageServer(ready), options.json);
    tell_replay(voice, &server);
    for passed in &server.started().passed_over {
        voice.say(MemberEvent::notice(format_args!(
            "warning: {passed}; nothing is lost, for the one before it and the log say the same"
        )));
    }
    server.run()?;
    Ok(())
}

/// How long reading the log took. What follows it, the begin of a term and the sockets, is counted
/// neither here nor there, so the span ends a little late.
fn tell_replay(voice: &Voice, server: &PageServer) {
    let (started, end) = (server.started(), Moment::now());
    voice.say(MemberEvent::Span {
        name: "replay".to_owned(),
        begin: end.before(started.replay),
        end,
        details: details([("records", started.records.into())]),
    });
}
