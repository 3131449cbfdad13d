//! The settings of a page server, the same for one that is started alone and for that of a run.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use plurix::net::Credentials;
use plurix::team::LineOptions;
use plurix::{CheckpointOptions, CheckpointStrategy, Compression, ServerOptions};

use crate::Usage;
use crate::contact::Protection;
use crate::units::{parse_bytes, parse_duration};

/// Stations speak four times in any silence that is borne; in less than this, the pauses of a busy
/// machine would count as deaths.
const SILENCE_MIN: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Page server")]
pub(crate) struct ServerSettings {
    /// What an answered commit survives.
    #[arg(long, global = true, value_enum, default_value_t = Promise::Memory)]
    durability: Promise,
    #[command(flatten)]
    protection: Protection,
    /// Size of a new heap: address space, not memory [default: 1TiB, or what the system allows].
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_bytes)]
    heap_bytes: Option<u64>,
    /// Memory for older versions of what changed lately, for transactions that run long.
    #[arg(long, global = true, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    history_bytes: u64,
    /// How long others' commits wait for a transaction that lost against them again and again.
    #[arg(long, global = true, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    token_max: Duration,
    /// How far a slow station may be behind before its changes are merged.
    #[arg(long, global = true, value_name = "SIZE", default_value = "4MiB", value_parser = parse_bytes)]
    backlog_bytes: u64,
    /// Size of a segment of the log.
    #[arg(long, global = true, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    segment_bytes: u64,
    /// How checkpoints are taken, so that the log stays short: `nonblocking`: nobody waits;
    /// `blocking`: nobody commits until it is on disk; `log`: the log is folded into pages; `none`:
    /// the log keeps everything.
    #[arg(long, global = true, value_enum, default_value_t = Strategy::Nonblocking)]
    checkpoint: Strategy,
    /// A checkpoint so often, if anything changed: a time like 1s or 5min, or a size of changed
    /// pages like 256MiB.
    #[arg(long, global = true, value_name = "TIME|SIZE", default_value = "1s", value_parser = parse_every)]
    every: Every,
    /// Checkpoints that are kept, 2 to 1000; the heap can go back to each.
    #[arg(long, global = true, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=1000))]
    keep: u32,
    /// How pages are compressed in checkpoints.
    #[arg(long, global = true, value_enum, default_value_t = Compress::None)]
    compress: Compress,
    /// Memory for pages that a checkpoint holds; others are read from it when they are needed
    /// [default: no limit].
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_bytes)]
    cache_bytes: Option<u64>,
    /// Read the pages of the newest checkpoint into memory after the start, while stations work, and
    /// not only when they are asked for.
    #[arg(long, global = true)]
    preload: bool,
    /// A station that is silent for longer is given up.
    #[arg(long, global = true, value_name = "TIME", default_value = "2s", value_parser = parse_silence)]
    silence: Duration,
}

/// What an answered commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Promise {
    /// The death of every process.
    Memory,
    /// A power cut as well.
    Durable,
}

/// How the pages of a checkpoint are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// Nobody commits until it is on disk.
    Blocking,
    /// Nobody waits.
    Nonblocking,
    /// The log is folded into pages.
    Log,
    /// There are no checkpoints.
    None,
}

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    /// Not at all.
    None,
    /// By LZ4: fast.
    Lz4,
    /// By Zstandard: smaller.
    Zstd,
}

impl From<Compress> for Compression {
    fn from(compress: Compress) -> Self {
        match compress {
            Compress::None => Self::None,
            Compress::Lz4 => Self::Lz4,
            Compress::Zstd => Self::Zstd,
        }
    }
}

/// When a checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Every {
    Time(Duration),
    Changed(u64),
}

/// Checkpoints more often than this would leave no time for anything else.
const EVERY_MIN: Duration = Duration::from_millis(10);
/// Time between checkpoints when they are due by size alone.
const EVERY_SELDOM: Duration = Duration::from_secs(3600);

fn parse_every(text: &str) -> Result<Every, String> {
    if let Ok(bytes) = parse_bytes(text)
        && !text.chars().all(|c| c.is_ascii_digit())
    {
        return match bytes {
            0 => Err("give a size of at least one page".to_owned()),
            _ => Ok(Every::Changed(bytes)),
        };
    }
    let every = parse_duration(text)
        .map_err(|_| "give a time like 500ms, 1s, 5min, or a size like 64MiB".to_owned())?;
    if every < EVERY_MIN {
        return Err("give 10ms or more".to_owned());
    }
    Ok(Every::Time(every))
}

fn parse_silence(text: &str) -> Result<Duration, String> {
    let silence = parse_duration(text)?;
    if !(SILENCE_MIN..=Duration::from_secs(3600)).contains(&silence) {
        return Err(
            "give 300ms to 60min: less is no more than the pause of a busy machine".to_owned(),
        );
    }
    Ok(silence)
}

impl ServerSettings {
    /// What is shown to others, and wanted to be shown.
    pub(crate) fn credentials(&self) -> anyhow::Result<Credentials> {
        self.protection.read()
    }

    /// Sets what the user wants.
    pub(crate) fn apply(&self, options: &mut ServerOptions) -> anyhow::Result<()> {
        options.set_credentials(self.credentials()?);
        options.durability = match self.durability {
            Promise::Memory => plurix::Durability::Memory,
            Promise::Durable => plurix::Durability::Durable,
        };
        options.heap_bytes = self.heap_bytes;
        options.history_bytes = usize::try_from(self.history_bytes)?;
        options.token_max = self.token_max;
        options.backlog_bytes = usize::try_from(self.backlog_bytes)?;
        options.segment_bytes = self.segment_bytes;
        options.silence_max = self.silence;
        options.checkpoint = self.checkpoint_options();
        options.checkpoints_kept = self.keep as usize;
        options.compression = self.compress.into();
        options.cache_bytes = self.cache_bytes.unwrap_or(u64::MAX);
        options.preload = self.preload;
        Ok(())
    }

    fn checkpoint_options(&self) -> Option<CheckpointOptions> {
        let mut options = CheckpointOptions::new(match self.checkpoint {
            Strategy::Blocking => CheckpointStrategy::Blocking,
            Strategy::Nonblocking => CheckpointStrategy::NonBlocking,
            Strategy::Log => CheckpointStrategy::Log,
            Strategy::None => return None,
        });
        match self.every {
            Every::Time(every) => options.every = every,
            Every::Changed(bytes) => {
                (options.every, options.changed_bytes) = (EVERY_SELDOM, bytes);
            }
        }
        Some(options)
    }

    /// When teams take recovery lines, if they shall: as often as checkpoints are taken. How much a team has
    /// changed is known to its stations one by one, and to none of them in all.
    pub(crate) fn line_options(&self) -> Result<Option<LineOptions>, Usage> {
        let Some(options) = self.checkpoint_options() else {
            return Ok(None);
        };
        match self.every {
            Every::Time(every) => Ok(Some(LineOptions::every(every).strategy(options.strategy))),
            Every::Changed(bytes) => Err(Usage(format!(
                "--every {bytes}B: a team takes its recovery lines by time; give one, like --every 1s, or \
                 --checkpoint none for no lines"
            ))),
        }
    }

    /// The same settings as a command line.
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let durability = match self.durability {
            Promise::Memory => "memory",
            Promise::Durable => "durable",
        };
        let every = match self.every {
            Every::Time(every) => format!("{}us", every.as_micros()),
            Every::Changed(bytes) => format!("{bytes}B"),
        };
        let mut arguments: Vec<OsString> = vec![
            format!("--checkpoint={}", name_of(self.checkpoint)).into(),
            format!("--every={every}").into(),
            format!("--keep={}", self.keep).into(),
            format!("--compress={}", name_of(self.compress)).into(),
            format!("--durability={durability}").into(),
            format!("--history-bytes={}", self.history_bytes).into(),
            format!("--token-max={}us", self.token_max.as_micros()).into(),
            format!("--backlog-bytes={}", self.backlog_bytes).into(),
            format!("--segment-bytes={}", self.segment_bytes).into(),
            format!("--silence={}us", self.silence.as_micros()).into(),
        ];
        arguments.extend(
            self.heap_bytes
                .map(|bytes| format!("--heap-bytes={bytes}").into()),
        );
        arguments.extend(
            self.cache_bytes
                .map(|bytes| format!("--cache-bytes={bytes}").into()),
        );
        arguments.extend(self.preload.then(|| "--preload".into()));
        arguments.extend(self.protection_arguments());
        arguments
    }

    /// What protects connections as a command line, for a station.
    pub(crate) fn protection_arguments(&self) -> Vec<OsString> {
        self.protection.to_arguments()
    }
}

/// The name by which the command line knows a value.
fn name_of(value: impl ValueEnum) -> String {
    let possible = value.to_possible_value();
    possible.map_or_else(String::new, |value| value.get_name().to_owned())
}
