//! What a page server of a measurement says: one line of JSON when it is ready, one when its pages are
//! loaded, and one for each checkpoint that it takes.

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use plurix::{Checkpoint, CheckpointStrategy, Compression, Notice, Started};
use serde::{Deserialize, Serialize};

use crate::rounds::monotonic_ns;

/// How the pages of a checkpoint are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    Blocking,
    Nonblocking,
    Log,
}

impl Strategy {
    /// As the command line and the names of figures have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Nonblocking => "nonblocking",
            Self::Log => "log",
        }
    }
}

impl From<Strategy> for CheckpointStrategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Blocking => Self::Blocking,
            Strategy::Nonblocking => Self::NonBlocking,
            Strategy::Log => Self::Log,
        }
    }
}

/// Whether pages are compressed in images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    None,
    Lz4,
    Zstd,
}

impl Compress {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Lz4, Self::Zstd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
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

/// A page server is ready. Times ending in `_at_ns` are those of the clock that all processes share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) address: String,
    /// Its main function began.
    pub(crate) began_at_ns: u64,
    /// Its directory was read, and it listened.
    pub(crate) opened_at_ns: u64,
    /// Of this, reading where the checkpoint's pages are.
    pub(crate) load_ns: u64,
    /// And reading the log.
    pub(crate) replay_ns: u64,
    /// Records replayed.
    pub(crate) records: u64,
    pub(crate) heap_bytes: u64,
}

impl Ready {
    pub(crate) fn new(address: String, began_at_ns: u64, started: &Started) -> Self {
        Self {
            address,
            began_at_ns,
            opened_at_ns: monotonic_ns(),
            load_ns: started.loaded.as_nanos() as u64,
            replay_ns: started.replay.as_nanos() as u64,
            records: started.records,
            heap_bytes: started.heap_bytes,
        }
    }

    pub(crate) fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line).with_context(|| format!("a page server said: {line}"))
    }

    pub(crate) fn say(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

/// A checkpoint is on disk.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Its cut.
    pub(crate) commit: u64,
    pub(crate) begun_at_ns: u64,
    pub(crate) taken_at_ns: u64,
    /// Pages of the heap.
    pub(crate) pages: u64,
    /// Pages written because they had changed.
    pub(crate) changed: u64,
    /// Pages written because the images that held them are being emptied.
    pub(crate) carried: u64,
    /// Length of its image.
    pub(crate) bytes: u64,
}

impl Taken {
    /// From the cut until it was on disk, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.taken_at_ns.saturating_sub(self.begun_at_ns) as f64 / 1e9
    }

    pub(crate) fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line).with_context(|| format!("a page server said: {line}"))
    }
}

/// Makes lines of what a page server notices.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    begun_at_ns: u64,
}

impl Teller {
    /// The line to say, if this notice makes one.
    ///
    /// # Errors
    /// A checkpoint that failed spoils the measurement.
    pub(crate) fn line(&mut self, notice: &Notice) -> Result<Option<String>> {
        match notice {
            Notice::CheckpointBegun { .. } => self.begun_at_ns = monotonic_ns(),
            Notice::CheckpointTaken(checkpoint) => {
                let taken = self.taken(checkpoint);
                return Ok(Some(serde_json::to_string(&taken)?));
            }
            Notice::CheckpointFailed { .. } => bail!("{notice}"),
            Notice::Preloaded { .. } => return Ok(Some(monotonic_ns().to_string())),
            _ => {}
        }
        Ok(None)
    }

    fn taken(&self, checkpoint: &Checkpoint) -> Taken {
        Taken {
            commit: checkpoint.cut.number.0,
            begun_at_ns: self.begun_at_ns,
            taken_at_ns: monotonic_ns(),
            pages: checkpoint.pages,
            changed: checkpoint.changed,
            carried: checkpoint.carried,
            bytes: checkpoint.bytes,
        }
    }
}
