//! What a station tells of itself, and questions about the heap that only the leader can answer:
//! for people who want to see what a running cluster does.

use serde::{Deserialize, Serialize};

use super::PageRun;
use crate::ids::{Incarnation, PageNumber};
use crate::latencies::Latencies;

/// Most runs of pages that one question may name.
pub const ASKED_RUNS_MAX: usize = 4096;
/// Most pages that one question may name, all runs together.
pub const ASKED_PAGES_MAX: u64 = 1 << 20;
/// Most stations told apart of one line.
pub const LINE_STATIONS_MAX: usize = 8;

/// What only a station knows of itself; all of it since its process joined. It is told once a second at
/// most, and nothing depends on it.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize)]
pub struct StationNumbers {
    /// Transactions begun, each repetition among them.
    pub attempts: u64,
    /// Attempts that had to run again.
    pub restarts: u64,
    /// Transactions that changed the heap.
    pub commits: u64,
    /// Transactions that only read.
    pub reads: u64,
    /// Pages waited for.
    pub misses: u64,
    /// Times the connection was lost and made again.
    pub reconnects: u64,
    /// Microseconds spent waiting: for answers, for pages, between attempts.
    pub waited_us: u64,
    /// Pages in memory.
    pub cache_pages: u64,
    /// Their bytes.
    pub cache_bytes: u64,
    /// How long commits took, from the request to the answer.
    pub commit_latency: Latencies,
    /// How long missing pages took.
    pub miss_latency: Latencies,
}

/// A question about the heap; needs no session.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum Question {
    /// Which lines transactions conflict about.
    Conflicts {
        /// So many of them at most, those with most conflicts first.
        limit: u32,
        /// Forget them once they are told.
        reset: bool,
    },
    /// Who holds these pages, and which commit wrote them last: at most [`ASKED_RUNS_MAX`] runs, and
    /// [`ASKED_PAGES_MAX`] pages.
    Pages(Vec<PageRun>),
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub enum Insight {
    /// To [`Question::Conflicts`].
    Conflicts(Conflicts),
    /// To [`Question::Pages`]: one for each run.
    Pages(Vec<RunInsight>),
    /// The question was too large.
    Refused,
}

/// The lines that transactions conflict about most.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize)]
pub struct Conflicts {
    /// Transactions refused since counting began.
    pub refused: u64,
    /// Milliseconds since then.
    pub since_ms: u64,
    /// The lines, those with most conflicts first.
    pub lines: Vec<LineConflicts>,
}

/// Conflicts about one line.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize)]
pub struct LineConflicts {
    /// Its page.
    pub page: PageNumber,
    /// Which line of it, 0 to 63.
    pub line: u8,
    /// How often a transaction was refused for it, at most.
    pub count: u64,
    /// How much of that may belong to other lines, which were forgotten for this one.
    pub error: u64,
    /// Who takes part; at most [`LINE_STATIONS_MAX`].
    pub stations: Vec<LineStation>,
    /// Others took part, too.
    pub others: bool,
}

/// What one station does with a contended line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct LineStation {
    /// The station's number.
    pub station: u32,
    /// How often it was refused.
    pub refused: u64,
    /// How often its commit was what others were refused for.
    pub wrote: u64,
    /// The bytes of the line that it wrote or wanted to write, bit `i` for byte `i`. Bytes that did not
    /// change are not among them.
    pub bytes: u64,
}

/// What the leader knows of a run of pages.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RunInsight {
    /// The newest commit that wrote any of them; 0 if none did.
    pub version: u64,
    /// Pages of it that somebody holds.
    pub held_pages: u64,
    /// The lives that hold any of them, ascending.
    pub holders: Vec<Incarnation>,
}
