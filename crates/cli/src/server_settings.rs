//! The settings of a page server, the same for one that is started alone and for that of a run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use plurix::ServerOptions;
use plurix::net::Secret;

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
    /// The cluster's shared secret: a file of at least 16 bytes, the same on every machine; needed
    /// if other machines can reach an address listened on.
    #[arg(long, global = true, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Size of a new heap: address space, not memory [default: 1TiB, or what the system allows].
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_bytes)]
    heap_bytes: Option<u64>,
    /// Memory for older versions of what changed lately, for transactions that run long.
    #[arg(long, global = true, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    history_bytes: u64,
    /// How far a slow station may be behind before its changes are merged.
    #[arg(long, global = true, value_name = "SIZE", default_value = "4MiB", value_parser = parse_bytes)]
    backlog_bytes: u64,
    /// Size of a segment of the log.
    #[arg(long, global = true, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    segment_bytes: u64,
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
    /// The secret, if there is one.
    pub(crate) fn secret(&self) -> anyhow::Result<Option<Secret>> {
        let secret = self.secret_file.as_deref().map(Secret::from_file);
        Ok(secret.transpose()?)
    }

    /// Sets what the user wants.
    pub(crate) fn apply(&self, options: &mut ServerOptions) -> anyhow::Result<()> {
        options.secret = self.secret()?;
        options.durability = match self.durability {
            Promise::Memory => plurix::Durability::Memory,
            Promise::Durable => plurix::Durability::Durable,
        };
        options.heap_bytes = self.heap_bytes;
        options.history_bytes = usize::try_from(self.history_bytes)?;
        options.backlog_bytes = usize::try_from(self.backlog_bytes)?;
        options.segment_bytes = self.segment_bytes;
        options.silence_max = self.silence;
        Ok(())
    }

    /// The same settings as a command line.
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let durability = match self.durability {
            Promise::Memory => "memory",
            Promise::Durable => "durable",
        };
        let mut arguments: Vec<OsString> = vec![
            format!("--durability={durability}").into(),
            format!("--history-bytes={}", self.history_bytes).into(),
            format!("--backlog-bytes={}", self.backlog_bytes).into(),
            format!("--segment-bytes={}", self.segment_bytes).into(),
            format!("--silence={}us", self.silence.as_micros()).into(),
        ];
        arguments.extend(
            self.heap_bytes
                .map(|bytes| format!("--heap-bytes={bytes}").into()),
        );
        arguments.extend(self.secret_arguments());
        arguments
    }

    /// The secret as a command line, for a station.
    pub(crate) fn secret_arguments(&self) -> Vec<OsString> {
        match &self.secret_file {
            Some(file) => vec!["--secret-file".into(), file.into()],
            None => Vec::new(),
        }
    }
}
