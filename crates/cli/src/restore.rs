//! The option `--restore`, the same for a page server that is started alone and for that of a run.

use std::ffi::OsString;
use std::path::Path;

use clap::Args;
use plurix::checkpoints::{InspectError, inspect};
use plurix::{CheckpointId, RestorePoint};

use crate::Usage;

/// What stands for a number that was not given.
const NEWEST: &str = "newest";

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Restore {
    /// Take the heap back to checkpoint N first, or to the newest: what was committed since is gone,
    /// and stations that saw some of it answer `RolledBack`.
    #[arg(
        id = "restore", long = "restore", global = true, value_name = "N",
        num_args = 0..=1, default_missing_value = NEWEST, value_parser = parse,
    )]
    point: Option<RestorePoint>,
}

impl Restore {
    pub(crate) fn point(self) -> Option<RestorePoint> {
        self.point
    }

    /// Whether the heap in `dir` can go back there, as far as can be told before anything is started.
    pub(crate) fn check(self, dir: Option<&Path>) -> anyhow::Result<()> {
        let Some(point) = self.point else {
            return Ok(());
        };
        let Some(dir) = dir else {
            return Err(Usage("--restore: say in which directory, with --dir".to_owned()).into());
        };
        let id = match point {
            RestorePoint::Newest => None,
            RestorePoint::Checkpoint(id) => Some(id),
        };
        let found = inspect(dir).and_then(|found| found.checkpoint(id).map(drop));
        match found {
            Err(error @ (InspectError::NoStore { .. } | InspectError::NoSuch(_))) => {
                Err(Usage(format!("--restore: {error}")).into())
            }
            found => Ok(found?),
        }
    }

    /// The same as a command line.
    pub(crate) fn to_arguments(self) -> Option<OsString> {
        let point = match self.point? {
            RestorePoint::Newest => NEWEST.to_owned(),
            RestorePoint::Checkpoint(id) => id.0.to_string(),
        };
        Some(format!("--restore={point}").into())
    }
}

fn parse(text: &str) -> Result<RestorePoint, String> {
    match text.parse() {
        Ok(id @ 1..) => Ok(RestorePoint::Checkpoint(CheckpointId(id))),
        _ if text == NEWEST => Ok(RestorePoint::Newest),
        _ => Err(format!(
            "'{text}' is no number of a checkpoint; 'plurix checkpoint list' shows them, and \
             --restore without one takes the newest"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_a_number_or_the_newest() {
        let newest = Ok(RestorePoint::Newest);
        let seventh = Ok(RestorePoint::Checkpoint(CheckpointId(7)));
        assert_eq!((parse("newest"), parse("7")), (newest, seventh));
        for text in ["", "0", "-1", "bank", "4294967296"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
