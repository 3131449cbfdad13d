//! A bit that flips on the disk of a page server that is down is noticed when it starts again, or
//! is harmless: no wrong byte is ever loaded.
//!
//! | the log was written | the damaged one gives |
//! |---|---|
//! | on this boot | an error that names the file, or every record |
//! | on another boot | the same, or the first records and a report of what was cut off |
//!
//! Source: docs/file-format.md, "Reading"; the failures are those of Bairavasundaram et al., "An
//! analysis of data corruption in the storage stack", FAST 2008.

use plurix_store::{OpenError, Recovered, ReplayError};
use plurix_wire::record::Record;

use super::{Violation, demand};

const ORACLE: &str = "decay";

/// Why a page server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// A start of a page server as far as the end of its replay.
pub(crate) type Start = Result<(Recovered, Vec<Record>), Refusal>;

/// Judges a start on a disk on which a bit of `file` has flipped by the start on the sound one;
/// answers whether the page server may go on as if nothing had happened.
pub(crate) fn judge(file: &str, sound: &Start, damaged: &Start) -> Result<bool, Violation> {
    let Ok((expected, all)) = sound else {
        // Whatever kept it from starting before was no bit of this file.
        return Ok(false);
    };
    let (recovered, records) = match damaged {
        Ok(loaded) => loaded,
        Err(Refusal::Replay(ReplayError::Refused { .. })) => {
            let what = format!("a record of {file} was handed out with a flipped bit");
            let oracle = ORACLE;
            return Err(Violation { oracle, what });
        }
        Err(refusal) => {
            demand!(
                refusal.to_string().contains(file),
                ORACLE,
                "a bit of {file} has flipped, but the page server says: {refusal}"
            );
            return Ok(false);
        }
    };
    demand!(
        all.starts_with(records),
        ORACLE,
        "a bit of {file} has flipped, and other records were loaded than were written"
    );
    let is_whole = records.len() == all.len();
    let told = recovered.torn.is_some() && !recovered.same_boot;
    demand!(
        is_whole || told,
        ORACLE,
        "a bit of {file} has flipped, and {} of {} records are missing without a word",
        all.len() - records.len(),
        all.len()
    );
    Ok(is_whole && recovered.torn == expected.torn)
}
