//! What a page server tells of itself to people and their tools.

use super::insight::StationNumbers;
use serde::{Deserialize, Serialize};

/// What the leader tells whoever asks.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize)]
pub struct Status {
    /// The cluster, in hexadecimal.
    pub cluster: String,
    /// The leadership.
    pub term: u64,
    /// The generation.
    pub generation: u32,
    /// The newest commit.
    pub commit: u64,
    /// The newest commit that a loss of power of the page server's machine cannot take back.
    pub durable: u64,
    /// `memory` or `durable`.
    pub durability: String,
    /// Size of the heap, in bytes.
    pub heap_bytes: u64,
    /// Pages that were ever written.
    pub pages: u64,
    /// Commits ordered in this term.
    pub commits: u64,
    /// Transactions refused for a conflict in this term.
    pub conflicts: u64,
    /// Transactions refused because the log was full, in this term.
    pub log_full: u64,
    /// Pages served in this term.
    pub fetches: u64,
    /// Where this generation began: the commit that the heap went back to, if it ever did.
    pub cut: u64,
    /// The most commits that a station is known to have seen and the heap has not, since it went
    /// back.
    pub lost: u64,
    /// The newest checkpoint on disk, if there is one.
    pub checkpoint: Option<CheckpointStatus>,
    /// Pages that the page server has in memory.
    pub cached_pages: u64,
    /// Bytes the log takes on disk.
    pub log_bytes: u64,
    /// Milliseconds since this term began.
    pub uptime_ms: u64,
    /// The members.
    pub stations: Vec<StationStatus>,
}

/// What the leader knows of one member.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize)]
pub struct StationStatus {
    /// Its number.
    pub station: u32,
    /// Its life.
    pub incarnation: u64,
    /// Whether it runs no activities.
    pub observer: bool,
    /// Whether it has a connection now.
    pub connected: bool,
    /// Commits of this incarnation in this term.
    pub commits: u64,
    /// Conflicts of this incarnation in this term.
    pub conflicts: u64,
    /// Pages it holds.
    pub pages: u64,
    /// Bytes waiting for it.
    pub backlog_bytes: u64,
    /// Pages served to it in this term.
    pub fetches: u64,
    /// How it is connected: `ring`, `unix` or `tcp`; empty while it is not.
    pub transport: String,
    /// Bytes received from it over the present connection,
    pub bytes_in: u64,
    /// and sent to it.
    pub bytes_out: u64,
    /// What it told of itself last, if it told anything.
    pub numbers: Option<Box<StationNumbers>>,
}

/// A checkpoint on the page server's disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct CheckpointStatus {
    /// Its number.
    pub id: u32,
    /// The generation of its cut,
    pub generation: u32,
    /// the leadership that made the newest commit in it,
    pub term: u64,
    /// and that commit.
    pub commit: u64,
    /// How its pages were collected, in a word.
    pub strategy: String,
    /// When it was complete, in milliseconds since 1970.
    pub taken_at_ms: u64,
    /// From the cut to its completion, in microseconds.
    pub took_us: u64,
    /// Pages of the heap that it holds with the images before it.
    pub pages: u64,
    /// Pages written because they had changed.
    pub changed: u64,
    /// Pages written because the images that held them are being emptied.
    pub carried: u64,
    /// Length of its image, in bytes.
    pub bytes: u64,
    /// Images that it is made of.
    pub images: u64,
}
