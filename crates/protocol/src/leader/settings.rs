//! What a leader is told at its birth: bounds, times, and what its answers promise.

use super::CheckpointSettings;
use crate::Span;

/// Lines copied for a slow station may always take so many bytes: with none, a station that is
/// slower than the others write would never be told all of one commit.
pub const FROZEN_BYTES_MIN: usize = 64 << 10;

/// What an answer promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The commit survives the death of any process.
    Memory,
    /// The commit survives a power cut.
    Durable,
}

/// Bounds and times of a leader.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Size of the heap, a whole number of pages.
    pub heap_bytes: u64,
    /// What an answer promises.
    pub durability: Durability,
    /// Most members at a time.
    pub stations_max: u32,
    /// Pages for which the last writer of each line is known.
    pub recent_pages: usize,
    /// Bytes of before- and after-images kept to serve older snapshots.
    pub history_bytes_max: usize,
    /// Bytes of deltas a slow station may be behind before they collapse, and of lines copied for
    /// it then.
    pub backlog_bytes_max: usize,
    /// Bytes of served pages and answers that may wait for one station.
    pub answer_bytes_max: usize,
    /// A batch ends after the item that takes it beyond this.
    pub batch_bytes: usize,
    /// Outcomes kept for one station.
    pub outcomes_max: usize,
    /// Commits of others wait for the holder of the token at most this long.
    pub token_max: Span,
    /// Bytes of commits that may wait for it; beyond, its lease is over.
    pub token_bytes_max: usize,
    /// A station silent for longer is dropped.
    pub silence_max: Span,
    /// A station whose connection was lost, without proof that it died, may resume this long.
    pub resume_max: Span,
    /// A member hears from the leader at least this often.
    pub heartbeat: Span,
    /// Changes that nobody waits for are held back this long, to be sent together.
    pub stream_delay: Span,
    /// When and how checkpoints are taken, beside those that are asked for.
    pub checkpoint: Option<CheckpointSettings>,
    /// Pages in memory, beyond those that no checkpoint on disk holds.
    pub resident_pages_max: usize,
    /// Bytes of what a replayed log wrote that are kept until their pages are asked for.
    pub redo_bytes_max: usize,
}

impl Settings {
    /// The defaults for a heap of `heap_bytes`.
    #[must_use]
    pub fn new(heap_bytes: u64, durability: Durability) -> Self {
        Self {
            heap_bytes,
            durability,
            stations_max: 1024,
            recent_pages: 1 << 16,
            history_bytes_max: 64 << 20,
            backlog_bytes_max: 4 << 20,
            answer_bytes_max: 64 << 20,
            batch_bytes: 64 << 10,
            outcomes_max: 64,
            token_max: Span::from_millis(1_000),
            token_bytes_max: 64 << 20,
            silence_max: Span::from_millis(2_000),
            resume_max: Span::from_millis(2_000),
            heartbeat: Span::from_millis(100),
            stream_delay: Span::from_micros(300),
            checkpoint: None,
            resident_pages_max: usize::MAX,
            redo_bytes_max: 128 << 20,
        }
    }
}
