//! A bit that flips on the disk of a page server that is down is noticed when it starts again, or
//! is harmless: no wrong byte is ever loaded.
//!
//! | the bit is | the damaged disk gives |
//! |---|---|
//! | of a log written on this boot | an error that names the file, or every record |
//! | of a log written on another boot | the same, or the first records and a report of what was cut off |
//! | of an image or manifest | an error that names the file, or the same heap, perhaps from an older checkpoint |
//! | of a file that the newest checkpoint alone needs | the same heap |
//!
//! Source: docs/file-format.md, "Reading"; the failures are those of Bairavasundaram et al., "An
//! analysis of data corruption in the storage stack", FAST 2008.

use std::collections::{BTreeMap, BTreeSet};

use plurix_store::{OpenError, Recovered, ReplayError, UnreadablePage};
use plurix_wire::record::Record;
use plurix_wire::{CheckpointId, PageBytes, PageNumber};

use super::{Violation, demand};

const ORACLE: &str = "decay";

/// Why a page server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Page(UnreadablePage),
}

/// The pages that are not all zero.
pub(crate) type Heap = BTreeMap<PageNumber, Box<PageBytes>>;

/// What a page server found when it started.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) checkpoint: Option<CheckpointId>,
    /// Why checkpoints and manifests were passed over, those included that were mended since.
    pub(crate) passed_over: Vec<String>,
    /// Files that can be lost and nothing with them.
    pub(crate) spared: BTreeSet<String>,
    pub(crate) heap: Heap,
    pub(crate) recovered: Recovered,
    /// Those behind the checkpoint.
    pub(crate) records: Vec<Record>,
}

/// A start of a page server as far as the end of its replay.
pub(crate) type Start = Result<Loaded, Refusal>;

/// Judges a start on a disk on which a bit of `file` has flipped by the start on the sound one;
/// answers whether the page server may go on as if nothing had happened. A bit of the file `before`
/// had flipped already, and did no harm alone.
pub(crate) fn judge(
    file: &str,
    before: Option<&str>,
    sound: &Start,
    damaged: &Start,
) -> Result<bool, Violation> {
    let Ok(sound) = sound else {
        // Whatever kept it from starting before was no bit of this file.
        return Ok(false);
    };
    let damaged = match damaged {
        Ok(loaded) => loaded,
        Err(Refusal::Replay(ReplayError::Refused { .. })) => {
            let what = format!("a record of {file} was handed out with a flipped bit");
            let oracle = ORACLE;
            return Err(Violation { oracle, what });
        }
        Err(refusal) => {
            demand!(
                !sound.spared.contains(file),
                ORACLE,
                "a bit of {file} has flipped, which could be done without, but: {refusal}"
            );
            let refusal = refusal.to_string();
            let is_named = |file: &str| refusal.contains(file);
            demand!(
                is_named(file) || before.is_some_and(is_named),
                ORACLE,
                "a bit of {file} has flipped, but the page server says: {refusal}"
            );
            return Ok(false);
        }
    };
    if damaged.checkpoint != sound.checkpoint {
        demand!(
            damaged.passed_over.iter().any(|why| why.contains(file)),
            ORACLE,
            "a bit of {file} has flipped, and a checkpoint was passed over without a word"
        );
        let last = damaged.recovered.last;
        demand!(
            last == sound.recovered.last && damaged.heap == sound.heap,
            ORACLE,
            "a bit of {file} has flipped, and an older checkpoint and the log give another heap"
        );
        return Ok(true);
    }
    demand!(
        sound.records.starts_with(&damaged.records),
        ORACLE,
        "a bit of {file} has flipped, and other records were loaded than were written"
    );
    let is_whole = damaged.records.len() == sound.records.len();
    demand!(
        !is_whole || damaged.heap == sound.heap,
        ORACLE,
        "a bit of {file} has flipped, and another heap was loaded"
    );
    let told = damaged.recovered.torn.is_some() && !damaged.recovered.same_boot;
    demand!(
        is_whole || told,
        ORACLE,
        "a bit of {file} has flipped, and {} of {} records are missing without a word",
        sound.records.len() - damaged.records.len(),
        sound.records.len()
    );
    Ok(is_whole && damaged.recovered.torn == sound.recovered.torn)
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
        Ok(Loaded {
            checkpoint: None,
            passed_over: Vec::new(),
            spared: BTreeSet::new(),
            heap: Heap::new(),
            recovered,
            records: vec![record; count],
        })
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
        let judged = |damaged: &Start| judge("log", None, &loaded(2, true, false), damaged);
        assert_eq!(judged(&loaded(2, true, false)), Ok(true));
        assert_eq!(judged(&loaded(1, false, true)), Ok(false));
        assert!(judged(&loaded(1, true, true)).is_err());
        assert!(judged(&loaded(1, false, false)).is_err());
        assert!(judged(&loaded(3, false, false)).is_err());
    }

    #[test]
    fn a_refusal_must_name_the_file() {
        let judged = |damaged: &Start| judge("log/1", None, &loaded(2, true, false), damaged);
        assert_eq!(judged(&refused("simulated:/log/1")), Ok(false));
        assert!(judged(&refused("simulated:/log/2")).is_err());
    }

    #[test]
    fn a_file_that_can_be_done_without_is() {
        let spared = |file: &str| {
            let mut sound = loaded(2, true, false).unwrap();
            sound.spared.insert(file.to_owned());
            Ok(sound)
        };
        let judged = |spared: &Start| judge("images/3", None, spared, &refused("images/3"));
        assert_eq!(judged(&spared("images/2")), Ok(false));
        assert!(judged(&spared("images/3")).is_err());
    }

    #[test]
    fn an_older_checkpoint_must_give_the_same_heap() {
        let from = |checkpoint, passed_over: &[&str], byte| {
            let mut loaded = loaded(2, true, false).unwrap();
            loaded.checkpoint = Some(CheckpointId(checkpoint));
            loaded.passed_over = passed_over.iter().map(|&why| why.to_owned()).collect();
            let mut page = Box::new([0; plurix_wire::PAGE_BYTES]);
            page[9] = byte;
            loaded.heap.insert(PageNumber(1), page);
            Ok(loaded)
        };
        let judged = |damaged: &Start| judge("images/3", None, &from(3, &[], 7), damaged);
        assert_eq!(judged(&from(2, &["images/3 is damaged"], 7)), Ok(true));
        assert!(judged(&from(2, &[], 7)).is_err());
        assert!(judged(&from(2, &["images/2 is damaged"], 7)).is_err());
        assert!(judged(&from(2, &["images/3 is damaged"], 8)).is_err());
        assert!(judged(&from(3, &[], 8)).is_err());
    }
}
