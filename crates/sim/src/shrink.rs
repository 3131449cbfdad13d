//! Makes a failing run smaller: shorter, with fewer stations and fewer faults, as long as the same
//! oracle objects.
//!
//! ```text
//!   failing run --> until: bisection --> stations: one less at a time --> faults: ddmin --> until
//! ```
//!
//! Source: Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE
//! Transactions on Software Engineering 28(2), 2002: `ddmin`, whose result is 1-minimal (without any
//! one of the fault strokes left, the run no longer fails) if the bounds allowed it to end.

use crate::mask::{Mask, Numbers};
use crate::{Options, Report, run};

/// How far shrinking has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Runs so far.
    pub runs: u64,
    /// The smallest run that still fails.
    pub smallest: &'a Report,
}

/// Looks for the smallest run of the seed of `failed` that fails like it. `go_on` is asked before
/// each run, and ends the search by answering `false`.
///
/// # Panics
/// If `failed` did not fail.
#[must_use]
pub fn shrink(
    failed: Report,
    options: &Options,
    go_on: &mut dyn FnMut(&Progress<'_>) -> bool,
) -> Report {
    let seed = failed.seed;
    let mut run_masked = |mask: Mask| {
        let options = Options {
            mask,
            ..options.clone()
        };
        run(seed, &options)
    };
    search(failed, &mut run_masked, go_on)
}

fn search(
    failed: Report,
    run: &mut dyn FnMut(Mask) -> Report,
    go_on: &mut dyn FnMut(&Progress<'_>) -> bool,
) -> Report {
    assert!(failed.failure.is_some(), "there is nothing to shrink");
    let mut search = Search {
        events_max: GROWTH_MAX * failed.tally.events,
        best: failed,
        run,
        runs: 0,
        go_on,
        is_over: false,
    };
    search.truncate();
    search.drop_stations();
    search.minimise_faults();
    // With fewer stations and faults, the same moment comes after fewer events.
    search.truncate();
    search.best
}

/// With fewer faults and stations, a run may take so many times the events, and is easier to read
/// still.
const GROWTH_MAX: u64 = 2;

struct Search<'a> {
    best: Report,
    /// What takes longer is not smaller, whatever it leaves out.
    events_max: u64,
    run: &'a mut dyn FnMut(Mask) -> Report,
    runs: u64,
    go_on: &'a mut dyn FnMut(&Progress<'_>) -> bool,
    is_over: bool,
}

impl Search<'_> {
    /// Runs with another mask; answers whether it fails alike, in not too many events; it is then
    /// the best so far.
    fn fails(&mut self, mask: Mask) -> bool {
        let progress = Progress {
            runs: self.runs,
            smallest: &self.best,
        };
        self.is_over |= !(self.go_on)(&progress);
        if self.is_over {
            return false;
        }
        self.runs += 1;
        let report = (self.run)(mask);
        let alike = match (&report.failure, &self.best.failure) {
            (Some(now), Some(before)) => now.resembles(before),
            _ => false,
        };
        let is_smaller = alike && report.tally.events <= self.events_max;
        if is_smaller {
            self.best = report;
        }
        is_smaller
    }

    /// Ends the faults as early as a bisection finds.
    fn truncate(&mut self) {
        let last = self.best.tally.events;
        let until = self.best.mask.until_event.map_or(last, |u| u.min(last));
        let (mut passes, mut fails) = (0, until);
        let events_max = std::mem::replace(&mut self.events_max, last);
        while fails - passes > 1 && !self.is_over {
            let middle = passes + (fails - passes) / 2;
            let mask = Mask {
                until_event: Some(middle),
                ..self.best.mask.clone()
            };
            if self.fails(mask) {
                fails = middle;
            } else {
                passes = middle;
            }
        }
        self.events_max = events_max;
    }

    /// Leaves out every station without which the run fails still.
    fn drop_stations(&mut self) {
        for station in (0..self.best.stations as u64).rev() {
            let mut left = self.stations();
            left.retain(|other| *other != station);
            if left.is_empty() || left.len() == self.stations().len() {
                continue;
            }
            let mask = Mask {
                stations: Some(left.into_iter().collect()),
                ..self.best.mask.clone()
            };
            self.fails(mask);
        }
    }

    fn stations(&self) -> Vec<u64> {
        match &self.best.mask.stations {
            Some(only) => only.0.iter().copied().collect(),
            None => (0..self.best.stations as u64).collect(),
        }
    }

    /// `ddmin`: tries parts of the strokes, then what is left without each part, then smaller parts.
    fn minimise_faults(&mut self) {
        if self.fails(self.with_faults(&[])) {
            return;
        }
        let mut strokes = self.strokes();
        let mut parts = 2;
        while strokes.len() > 1 && !self.is_over {
            let size = strokes.len().div_ceil(parts);
            let pieces: Vec<Vec<u64>> = strokes.chunks(size).map(<[u64]>::to_vec).collect();
            let rest = |piece: &Vec<u64>| -> Vec<u64> {
                let left = strokes.iter().filter(|stroke| !piece.contains(stroke));
                left.copied().collect()
            };
            // Of two pieces, each is what is left without the other.
            let several = &pieces[..if pieces.len() > 2 { pieces.len() } else { 0 }];
            let rests: Vec<Vec<u64>> = several.iter().map(rest).collect();
            if let Some(piece) = pieces.iter().find(|p| self.fails(self.with_faults(p))) {
                strokes = piece.clone();
                parts = 2;
            } else if let Some(rest) = rests.iter().find(|r| self.fails(self.with_faults(r))) {
                strokes = rest.clone();
                parts = (parts - 1).max(2);
            } else if size == 1 {
                break;
            } else {
                parts = (2 * parts).min(strokes.len());
            }
        }
    }

    fn with_faults(&self, strokes: &[u64]) -> Mask {
        Mask {
            faults: Some(strokes.iter().copied().collect()),
            ..self.best.mask.clone()
        }
    }

    /// The strokes that the best run knows of and does not leave out.
    fn strokes(&self) -> Vec<u64> {
        let all = 0..self.best.strokes;
        let only = self.best.mask.faults.clone();
        let is_left = |stroke: &u64| only.as_ref().is_none_or(|Numbers(o)| o.contains(stroke));
        all.filter(is_left).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Tally};

    const STATIONS: usize = 5;
    const STROKES: u64 = 90;

    /// A run that fails at event 4000 at the latest, if station 2, strokes 3, 17 and 88, and chaos
    /// until event 1234 are in it.
    fn pretend(mask: Mask) -> Report {
        let fails = mask.has_station(2)
            && [3, 17, 88].iter().all(|stroke| mask.has_stroke(*stroke))
            && !mask.ends_chaos(1233);
        Report {
            seed: 1,
            failure: fails.then(|| Failure {
                oracle: "numbering".to_owned(),
                what: "two commits are one".to_owned(),
                place: None,
            }),
            trace_hash: String::new(),
            virtual_ns: 0,
            strokes: STROKES,
            stations: STATIONS,
            tally: Tally {
                events: 4000,
                ..Tally::default()
            },
            mask,
        }
    }

    #[test]
    fn what_is_left_is_what_is_needed() {
        let failed = pretend(Mask::default());
        let smallest = search(failed, &mut pretend, &mut |_| true);
        let options = " --stations-only 2 --faults-only 3,17,88 --until-event 1234";
        assert_eq!(smallest.mask.to_string(), options);
    }

    #[test]
    fn a_search_that_is_cut_short_answers_a_run_that_fails() {
        for runs_max in 0..60 {
            let failed = pretend(Mask::default());
            let mut go_on = |progress: &Progress<'_>| progress.runs < runs_max;
            let smallest = search(failed, &mut pretend, &mut go_on);
            assert!(pretend(smallest.mask).failure.is_some());
        }
    }

    #[test]
    fn another_oracle_is_another_failure() {
        let failed = pretend(Mask::default());
        let mut another = |mask: Mask| {
            let mut report = pretend(mask);
            if let Some(failure) = &mut report.failure {
                failure.oracle = "opacity".to_owned();
            }
            report
        };
        let smallest = search(failed, &mut another, &mut |_| true);
        assert_eq!(smallest.mask, Mask::default());
    }
}
