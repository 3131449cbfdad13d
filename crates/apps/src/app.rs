//! What an application is to the command that runs it.
//!
//! ```text
//!   coordinator (observer station)           workers (stations, any of which may die)
//!     setup: state into the heap, spawn       register, then run activities as they come
//!     progress, now and then
//!     finish: verify, write the output
//! ```

use std::path::PathBuf;

use plurix::Station;
use serde::Serialize;

use crate::{bank, jacobi, matmul, raytrace, sor, tsp};

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

impl Progress {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.done >= self.total
    }
}

/// What a program says at its end.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Report {
    /// Name and value, in the order to show them.
    pub facts: Vec<(String, serde_json::Value)>,
    /// Whether the program's own check of its result succeeded.
    pub verified: bool,
}

impl Report {
    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.facts.push((name.to_owned(), value.into()));
        self
    }
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
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A scene file.
    #[error(transparent)]
    Load(#[from] raytrace::LoadError),
    /// A scene that cannot be rendered.
    #[error(transparent)]
    Scene(#[from] raytrace::SceneError),
    /// Options of the renderer.
    #[error(transparent)]
    Render(#[from] raytrace::OptionsError),
    /// The size of the generated scene.
    #[error(transparent)]
    Size(#[from] raytrace::balls::SizeError),
    /// A bank that cannot be.
    #[error(transparent)]
    Bank(#[from] bank::BankError),
    /// A plate that cannot be computed.
    #[error(transparent)]
    Jacobi(#[from] jacobi::JacobiError),
    /// A plate that cannot be computed.
    #[error(transparent)]
    Sor(#[from] sor::SorError),
    /// Matrices that cannot be multiplied.
    #[error(transparent)]
    Matmul(#[from] matmul::MatmulError),
    /// Cities that cannot be visited.
    #[error(transparent)]
    Tsp(#[from] tsp::TspError),
    /// The heap holds a run with other input or options.
    #[error(
        "the heap holds a run of {app} with other input or options; start it as it was started \
         then to continue it, or use a new directory"
    )]
    OtherRun {
        /// The application.
        app: &'static str,
    },
    /// The result was asked for too early.
    #[error("{app} is not finished; wait until its activities are done")]
    Unfinished {
        /// The application.
        app: &'static str,
    },
}

impl AppError {
    /// Says which file an error of the system concerns.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
