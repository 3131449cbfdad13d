//! What happened to the processes of a run, and what the leader said of conflicts and checkpoints.

use std::time::Duration;

use plurix::Status;
use serde::Serialize;

use super::checkpoints::Checkpoints;
use super::plan::Who;

/// One process that died, and when its successor was back.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Death {
    #[serde(serialize_with = "as_text")]
    pub(super) who: Who,
    /// In seconds since the program was set up; absent if it was not yet.
    pub(super) at_s: Option<f64>,
    pub(super) cause: String,
    /// From the death to the successor being a member, in milliseconds; absent if the run was over
    /// before.
    pub(super) back_after_ms: Option<f64>,
    /// The successor's, of a station.
    pub(super) incarnation: Option<u64>,
}

pub(super) fn as_text<S: serde::Serializer>(who: &Who, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(who)
}

/// Deaths, checkpoints and conflicts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) deaths: Vec<Death>,
    pub(super) checkpoints: Checkpoints,
    /// Of earlier terms, as far as they were asked.
    conflicts_before: u64,
    term: u64,
    /// Of this term.
    conflicts: u64,
}

impl Tally {
    /// A leader counts from the beginning of its term.
    pub(super) fn status(&mut self, status: &Status) {
        if status.term != self.term {
            self.conflicts_before += self.conflicts;
            self.term = status.term;
        }
        self.conflicts = status.conflicts;
    }

    pub(super) fn conflicts(&self) -> u64 {
        self.conflicts_before + self.conflicts
    }

    /// How often `who` was started again.
    pub(super) fn restarts(&self, who: Who) -> usize {
        let of_who = |death: &&Death| death.who == who && death.back_after_ms.is_some();
        self.deaths.iter().filter(of_who).count()
    }

    /// All of them.
    pub(super) fn restarts_total(&self) -> usize {
        let is_back = |death: &&Death| death.back_after_ms.is_some();
        self.deaths.iter().filter(is_back).count()
    }

    /// Median and maximum of the times of recovery; `None` if there was none.
    pub(super) fn recovery(&self) -> Option<(Duration, Duration)> {
        let times = self.deaths.iter().filter_map(|death| death.back_after_ms);
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        let ms = |time: f64| Duration::from_secs_f64(time / 1e3);
        Some((
            ms(times[times.len().checked_sub(1)? / 2]),
            ms(*times.last()?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn death(who: Who, back_after_ms: Option<f64>) -> Death {
        Death {
            who,
            at_s: None,
            cause: String::new(),
            back_after_ms,
            incarnation: None,
        }
    }

    #[test]
    fn conflicts_of_all_terms_are_added_up() {
        let mut tally = Tally::default();
        for (term, conflicts) in [(1, 5), (1, 7), (2, 0), (2, 3)] {
            let mut status = Status::default();
            (status.term, status.conflicts) = (term, conflicts);
            tally.status(&status);
        }
        assert_eq!(tally.conflicts(), 10);
    }

    #[test]
    fn only_successors_that_are_back_count() {
        let mut tally = Tally::default();
        assert_eq!(tally.recovery(), None);
        for back in [Some(9.0), Some(5.0), None, Some(7.0)] {
            tally.deaths.push(death(Who::Station(2), back));
        }
        let ms = Duration::from_millis;
        assert_eq!(tally.recovery(), Some((ms(7), ms(9))));
        assert_eq!(
            (tally.restarts(Who::Station(2)), tally.restarts(Who::Server)),
            (3, 0)
        );
    }
}
