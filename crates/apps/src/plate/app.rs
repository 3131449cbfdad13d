//! A program for plates as an application: what the heap holds of it, and what it says in the end.

use plurix::team::Program;
use plurix::{Plain, Result, Transaction};
use zerocopy::IntoBytes;

use super::Outcome;
use crate::app::{AppError, Report};
use crate::team::app::{self, TeamProgram};

/// What a program for plates must tell to be an application.
pub(crate) trait Plate: Program<Output = Outcome> + Send + Sized + 'static {
    /// The application's name.
    const NAME: &'static str;
    /// The name of the activity of each station.
    const MEMBER: &'static str;
    /// What a run computes.
    type Options: Plain;

    /// Checks `options`.
    ///
    /// # Errors
    /// [`AppError`] naming the option that makes the run impossible.
    fn new(options: Self::Options) -> std::result::Result<Self, AppError>;

    /// The options that the run was made with.
    fn options(&self) -> &Self::Options;

    /// How often each point is computed.
    fn iterations(&self) -> u64;

    /// The whole run, by the caller alone.
    fn serial(&self) -> Outcome;
}

impl<P: Plate> TeamProgram for P {
    const NAME: &'static str = P::NAME;
    const MEMBER: &'static str = P::MEMBER;
    type Settings = P::Options;

    fn identity(&self) -> Vec<u8> {
        self.options().as_bytes().to_vec()
    }

    fn settings(&self, _: &mut Transaction<'_>) -> Result<P::Options> {
        Ok(*self.options())
    }

    fn load(tx: &Transaction<'_>, options: &P::Options) -> Result<Self> {
        P::new(*options).map_err(|error| tx.abort(error))
    }

    /// One to begin, and one to look at what was found.
    fn phases(&self) -> u64 {
        self.iterations() + 2
    }

    fn judge(&self, found: &Outcome, verifies: bool) -> std::result::Result<Report, AppError> {
        let report = app::report(found.checksum)
            .with("residual", found.residual)
            .with("center", found.center);
        Ok(app::compare(report, found, verifies, || self.serial()))
    }
}
