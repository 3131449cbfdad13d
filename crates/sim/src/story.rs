//! The story of one run: its events, kept to be read, compared or drawn.

use crate::trace::{Entry, Recording};
use crate::{Failure, Options, Report, run, run_recording};

/// The last events of a run, and what became of it.
#[derive(Debug)]
pub struct Story {
    /// What became of the run.
    pub report: Report,
    pub(crate) entries: Vec<Entry>,
    /// Events before those that were kept.
    pub(crate) skipped: u64,
}

/// Runs one seed as [`run`] does and keeps its last `keep` events; prints all of them
/// while it runs if `print` is set.
#[must_use]
pub fn record(seed: u64, options: &Options, keep: usize, print: bool) -> Story {
    let (report, trace) = run_recording(seed, options, Recording { print, keep });
    let length = trace.length();
    let entries = trace.into_kept();
    Story {
        report,
        skipped: length - entries.len() as u64,
        entries,
    }
}

/// Runs one seed twice: two runs that differ are a failure of its own, which says at which event
/// they part.
#[must_use]
pub fn run_twice(seed: u64, options: &Options) -> Report {
    let (mut report, again) = (run(seed, options), run(seed, options));
    if report.trace_hash != again.trace_hash {
        let [one, other] = [(); 2].map(|()| record(seed, options, usize::MAX, false));
        report.failure = Some(Failure {
            oracle: "determinism".to_owned(),
            what: one.first_difference(&other).unwrap_or_else(|| {
                "two runs gave different traces, but two more did not".to_owned()
            }),
            place: None,
        });
    }
    report
}

impl Story {
    /// Where two stories part, in words.
    fn first_difference(&self, other: &Self) -> Option<String> {
        let shown = |entry: Option<&Entry>| entry.map_or("its end".to_owned(), Entry::to_string);
        let length = self.entries.len().max(other.entries.len());
        let pairs = (0..length).map(|at| (self.entries.get(at), other.entries.get(at)));
        let (at, (one, two)) = pairs.enumerate().find(|(_, (one, two))| one != two)?;
        Some(format!(
            "the second run parts from the first at entry {at}:\n  {}\n  {}",
            shown(one),
            shown(two)
        ))
    }

    /// The events, one line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.entries.iter().map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mask;

    fn story(mask: Mask) -> Story {
        let options = Options {
            mask,
            ..Options::default()
        };
        record(3, &options, usize::MAX, false)
    }

    #[test]
    fn runs_that_differ_are_told_apart_where_they_part() {
        let whole = story(Mask::default());
        assert_eq!(whole.first_difference(&story(Mask::default())), None);
        let until_event = Some(300);
        let shorter = story(Mask {
            until_event,
            ..Mask::default()
        });
        let difference = whole.first_difference(&shorter).expect("they differ");
        assert!(difference.contains("FAULTS END"), "{difference}");
        assert_ne!(whole.report.trace_hash, shorter.report.trace_hash);
    }
}
