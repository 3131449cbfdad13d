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

#[cfg(test)]
mod tests {
    use super::*;
    use plurix_store::Torn;
    use plurix_wire::record::{Body, Stamp};

    fn loaded(count: usize, same_boot: bool, is_torn: bool) -> Start {
        let record = Record {
            stamp: Stamp::default(),
            body: Body::Term,
        };
        let torn = Torn {
            file: "log".into(),
            at: 0,
            what: String::new(),
        };
        let recovered = Recovered {
            last: Stamp::default(),
            records: count as u64,
            bytes: 0,
            ended_clean: false,
            same_boot,
            torn: is_torn.then_some(torn),
            new_generation: None,
        };
        Ok((recovered, vec![record; count]))
    }

    fn refused(file: &str) -> Start {
        Err(Refusal::Replay(ReplayError::Length {
            file: file.into(),
            expected: 1,
            found: 2,
        }))
    }

    #[test]
    fn what_is_missing_must_be_told() {
        let judged = |damaged: &Start| judge("log", &loaded(2, true, false), damaged);
        assert_eq!(judged(&loaded(2, true, false)), Ok(true));
        assert_eq!(judged(&loaded(1, false, true)), Ok(false));
        assert!(judged(&loaded(1, true, true)).is_err());
        assert!(judged(&loaded(1, false, false)).is_err());
        assert!(judged(&loaded(3, false, false)).is_err());
    }

    #[test]
    fn a_refusal_must_name_the_file() {
        let judged = |damaged: &Start| judge("log/1", &loaded(2, true, false), damaged);
        assert_eq!(judged(&refused("simulated:/log/1")), Ok(false));
        assert!(judged(&refused("simulated:/log/2")).is_err());
    }
}
