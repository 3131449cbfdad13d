//! What a member says when it is ready: one line for people, or one of JSON for a supervisor.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use plurix::{PageServer, PassedOver, Station};
use serde::{Deserialize, Serialize};

use crate::units::{show_bytes, show_duration};

/// The one line of JSON of a member that is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ready")]
pub(crate) enum Ready {
    PageServer(ServerReady),
    Station(StationReady),
}

/// A page server listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerReady {
    pub(crate) cluster: String,
    pub(crate) term: u64,
    pub(crate) generation: u32,
    pub(crate) commit: u64,
    /// The checkpoint that it started from.
    pub(crate) checkpoint: Option<u32>,
    /// What could not be used, and why.
    pub(crate) passed_over: Vec<String>,
    pub(crate) records: u64,
    pub(crate) replay_ms: f64,
    pub(crate) heap_bytes: u64,
    pub(crate) heap_is_smaller: bool,
    pub(crate) addresses: Vec<String>,
    pub(crate) torn: Option<String>,
    pub(crate) rolled_back: bool,
    /// The cut of the checkpoint that the heap went back to, as it was told to.
    pub(crate) restored: Option<u64>,
    /// Where it serves metrics.
    #[serde(default)]
    pub(crate) metrics: Option<String>,
}

/// A station is a member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StationReady {
    pub(crate) station: u32,
    pub(crate) incarnation: u64,
}

impl ServerReady {
    pub(crate) fn of(server: &PageServer, metrics: Option<SocketAddr>) -> Self {
        let started = server.started();
        Self {
            cluster: started.cluster.to_string(),
            term: started.term.0,
            generation: started.generation.0,
            commit: started.commit.0,
            checkpoint: started
                .checkpoint
                .as_ref()
                .map(|checkpoint| checkpoint.id.0),
            passed_over: started.passed_over.iter().map(passed_over).collect(),
            records: started.records,
            replay_ms: started.replay.as_secs_f64() * 1e3,
            heap_bytes: started.heap_bytes,
            heap_is_smaller: started.heap_is_smaller,
            addresses: server.addresses().iter().map(ToString::to_string).collect(),
            torn: started.torn.clone(),
            rolled_back: started.rolled_back,
            restored: started.restored.then_some(started.commit.0),
            metrics: metrics.map(|address| address.to_string()),
        }
    }

    /// How long reading the log took.
    pub(crate) fn replay(&self) -> Duration {
        Duration::try_from_secs_f64(self.replay_ms / 1e3).unwrap_or_default()
    }
}

/// What was passed over, for people.
fn passed_over(passed: &PassedOver) -> String {
    match passed.checkpoint {
        Some(id) => format!("checkpoint {} was passed over: {}", id.0, passed.why),
        None => passed.why.clone(),
    }
}

impl StationReady {
    pub(crate) fn of(station: &Station) -> Self {
        Self {
            station: station.number(),
            incarnation: station.incarnation().0,
        }
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageServer(server) => server.fmt(f),
            Self::Station(station) => station.fmt(f),
        }
    }
}

impl fmt::Display for ServerReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "page server ready on {}: cluster {}, term {}, generation {}, newest commit {}; \
             {}replayed {} records in {}; heap of {}",
            self.addresses.join(" and "),
            self.cluster,
            self.term,
            self.generation,
            self.commit,
            self.checkpoint
                .map_or_else(String::new, |id| format!("from checkpoint {id}, ")),
            self.records,
            show_duration(self.replay()),
            show_bytes(self.heap_bytes),
        )?;
        if self.heap_is_smaller {
            f.write_str(" (smaller than the usual 1 TiB: the system allows no more)")?;
        }
        for passed in &self.passed_over {
            write!(f, "; {passed}")?;
        }
        if let Some(torn) = &self.torn {
            write!(f, "; cut off what was left unfinished: {torn}")?;
        }
        if let Some(commit) = self.restored {
            write!(
                f,
                "; the heap went back to commit {commit}, so everybody starts afresh"
            )?;
        } else if self.rolled_back {
            f.write_str("; answered commits may be missing, so everybody starts afresh")?;
        }
        Ok(())
    }
}

impl fmt::Display for StationReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "station {} joined as incarnation i{}",
            self.station, self.incarnation
        )
    }
}
