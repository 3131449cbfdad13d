//! What an application is to the command that runs it.
//!
//! ```text
//!   coordinator (observer station)           workers (stations, any of which may die)
//!     setup: state into the heap, spawn       register, then run activities as they come
//!     progress, now and then
//!     finish: verify, write the output
//! ```

use plurix::Station;
use serde::Serialize;

/// A parallel program whose whole state lives in the heap.
pub trait App: Send {
    /// Enables a station to run the program's activities.
    fn register(&self, station: &mut Station);

    /// Puts the program's state into the heap and spawns its activities, in one transaction or so
    /// that it can be called again after a crash. If the heap holds a run already, it is continued.
    ///
    /// # Errors
    /// [`AppError`]
    fn setup(&mut self, station: &mut Station) -> Result<(), AppError>;

    /// How far the program is.
    ///
    /// # Errors
    /// [`AppError`]
    fn progress(&mut self, station: &mut Station) -> Result<Progress, AppError>;

    /// Checks the result and writes it where the user wants it.
    ///
    /// # Errors
    /// [`AppError`]
    fn finish(&mut self, station: &mut Station) -> Result<Report, AppError>;
}

/// How far a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Progress {
    /// Finished units.
    pub done: u64,
    /// All units.
    pub total: u64,
    /// What a unit is, in the plural: tiles, transfers, chunks.
    pub unit: &'static str,
}

/// What a program says at its end.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// Name and value, in the order to show them.
    pub facts: Vec<(String, serde_json::Value)>,
    /// Whether the program's own check of its result succeeded.
    pub verified: bool,
}

/// Why a program cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The heap or the cluster.
    #[error(transparent)]
    Heap(#[from] plurix::Error),
    /// The program's input or output.
    #[error("{0}")]
    Input(String),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}
