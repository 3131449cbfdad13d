//! The processes that were killed on purpose, and how each kill healed.
//!
//! ```text
//!   kill ──────► its successor is back ──────► the successor's first commit
//!     └───────────────► anybody's first commit after the kill
//! ```
//!
//! That somebody is back is said by the process itself. Commits are seen by the [probe](super::probe),
//! which asks the leader: a first commit is a little earlier than the time noted here, by one pause
//! of the probe and one question.

use std::time::{Duration, Instant};

use plurix::Status;
use serde::Serialize;

use super::chaos::StrikeKind;
use super::plan::Who;
use crate::ready::Ready;

/// A successor that has not committed so long after it was back has nothing to do.
const IDLE_AFTER: Duration = Duration::from_millis(500);
/// The leader is asked eagerly for so long at most.
const EAGER_MAX: Duration = Duration::from_secs(20);

/// What a process was doing when it was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Doing {
    /// A station, a member.
    Working,
    /// A page server that leads.
    Leading,
    /// It was the first of its place, and not ready yet.
    Starting,
    /// It came after one that died, and was not ready yet.
    Recovering,
}

/// One kill. Names end in their units; a time that was not seen before the run was over is absent.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Kill {
    /// Since the program was set up.
    pub(super) at_s: f64,
    pub(super) kind: StrikeKind,
    #[serde(serialize_with = "super::tally::as_text")]
    pub(super) who: Who,
    pub(super) pid: i32,
    pub(super) doing: Doing,
    /// From the kill until a successor said that it is a member, or that it leads.
    pub(super) back_after_ms: Option<f64>,
    /// From the kill until anybody's commit after it was seen.
    pub(super) any_commit_after_ms: Option<f64>,
    /// From the kill until the first commit of a successor was seen; absent for a page server, and
    /// for a successor that finds no work.
    pub(super) own_commit_after_ms: Option<f64>,
    pub(super) term_before: u64,
    /// When the successor was back.
    pub(super) term_after: Option<u64>,
    /// By a page server that came back.
    pub(super) records_replayed: Option<u64>,
    pub(super) replay_ms: Option<f64>,
    /// Answered commits were lost, so a new generation has begun; of a page server that came back.
    pub(super) rolled_back: Option<bool>,
    #[serde(skip)]
    watch: Watch,
}

/// What must be known to see a kill heal.
#[derive(Debug, Clone)]
struct Watch {
    at: Instant,
    back: Option<Instant>,
    /// The newest commit when the leader was first asked after the kill, if its term is the same.
    floor: Option<u64>,
    /// The successor's.
    incarnation: Option<u64>,
}

impl Kill {
    pub(super) fn new(
        at: Instant,
        at_s: f64,
        (who, pid): (Who, i32),
        kind: StrikeKind,
        doing: Doing,
        term: u64,
    ) -> Self {
        Self {
            at_s,
            kind,
            who,
            pid,
            doing,
            back_after_ms: None,
            any_commit_after_ms: None,
            own_commit_after_ms: None,
            term_before: term,
            term_after: None,
            records_replayed: None,
            replay_ms: None,
            rolled_back: None,
            watch: Watch {
                at,
                back: None,
                floor: None,
                incarnation: None,
            },
        }
    }

    fn after_ms(&self, at: Instant) -> f64 {
        at.saturating_duration_since(self.watch.at).as_secs_f64() * 1e3
    }

    fn back(&mut self, at: Instant, ready: &Ready, term: u64) {
        if self.watch.back.is_none() {
            self.watch.back = Some(at);
            self.back_after_ms = Some(self.after_ms(at));
            self.term_after = Some(term);
        }
        match ready {
            Ready::Station(station) => self.watch.incarnation = Some(station.incarnation),
            Ready::PageServer(server) if self.records_replayed.is_none() => {
                self.records_replayed = Some(server.records);
                self.replay_ms = Some(server.replay_ms);
                self.rolled_back = Some(server.rolled_back);
            }
            Ready::PageServer(_) => {}
        }
    }

    fn status(&mut self, asked: Instant, at: Instant, status: &Status) {
        // What was asked before the kill says nothing of the time after it.
        if asked < self.watch.at {
            return;
        }
        if self.any_commit_after_ms.is_none() {
            let is_seen = if status.term > self.term_before {
                status.commits > 0
            } else {
                status.commit > *self.watch.floor.get_or_insert(status.commit)
            };
            self.any_commit_after_ms = is_seen.then(|| self.after_ms(at));
        }
        if self.own_commit_after_ms.is_none()
            && let Some(incarnation) = self.watch.incarnation
        {
            let mut stations = status.stations.iter();
            let own = stations.find(|station| station.incarnation == incarnation);
            let is_seen = own.is_some_and(|station| station.commits > 0);
            self.own_commit_after_ms = is_seen.then(|| self.after_ms(at));
        }
    }

    /// Whether something of it may still be seen at `now`.
    fn is_healing(&self, now: Instant) -> bool {
        let is_own_due = match (self.who, self.own_commit_after_ms, self.watch.back) {
            (Who::Server, ..) | (_, Some(_), _) => false,
            (Who::Station(_), None, Some(back)) => now < back + IDLE_AFTER,
            (Who::Station(_), None, None) => true,
        };
        let is_open = self.back_after_ms.is_none() || self.any_commit_after_ms.is_none();
        (is_own_due || is_open) && now < self.watch.at + EAGER_MAX
    }
}

/// All kills of a run, in their order.
#[derive(Debug, Default)]
pub(super) struct Kills {
    log: Vec<Kill>,
    /// Earlier ones have healed.
    first_open: usize,
}

impl Kills {
    pub(super) fn all(&self) -> &[Kill] {
        &self.log
    }

    pub(super) fn struck(&mut self, kill: Kill) {
        self.log.push(kill);
    }

    /// A successor of `who` is ready, in this term.
    pub(super) fn back(&mut self, who: Who, at: Instant, ready: &Ready, term: u64) {
        let open = self.log[self.first_open..].iter_mut();
        let of_who = open.filter(|kill| kill.who == who);
        of_who.for_each(|kill| kill.back(at, ready, term));
    }

    /// The leader has answered.
    pub(super) fn status(&mut self, asked: Instant, at: Instant, status: &Status) {
        let open = self.log[self.first_open..].iter_mut();
        open.for_each(|kill| kill.status(asked, at, status));
    }

    /// Whether a kill still heals at `now`.
    pub(super) fn are_healing(&mut self, now: Instant) -> bool {
        let open = &self.log[self.first_open..];
        match open.iter().position(|kill| kill.is_healing(now)) {
            Some(ahead) => {
                self.first_open += ahead;
                true
            }
            None => {
                self.first_open = self.log.len();
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use plurix::StationStatus;

    use super::*;
    use crate::ready::StationReady;

    fn status(term: u64, commit: u64, commits: u64, of_successor: u64) -> Status {
        let mut status = Status::default();
        (status.term, status.commit, status.commits) = (term, commit, commits);
        let mut station = StationStatus::default();
        (station.incarnation, station.commits) = (9, of_successor);
        status.stations = vec![station];
        status
    }

    fn killed(who: Who, at: Instant) -> Kills {
        let mut kills = Kills::default();
        let doing = Doing::Working;
        kills.struck(Kill::new(at, 1.0, (who, 7), StrikeKind::One, doing, 1));
        kills
    }

    #[test]
    fn the_first_commit_after_a_station_is_one_that_was_not_there_when_first_asked() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut kills = killed(Who::Station(1), at(10));
        kills.status(at(9), at(11), &status(1, 99, 99, 0));
        for (ms, commit) in [(11, 100), (12, 100), (13, 101), (14, 102)] {
            assert_eq!(kills.all()[0].any_commit_after_ms, None);
            kills.status(at(ms), at(ms + 1), &status(1, commit, commit, 0));
            if ms == 13 {
                break;
            }
        }
        assert_eq!(kills.all()[0].any_commit_after_ms, Some(4.0));
    }

    #[test]
    fn after_a_page_server_the_first_commit_of_the_next_term_counts() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut kills = killed(Who::Server, at(0));
        kills.status(at(20), at(21), &status(2, 100, 0, 0));
        assert_eq!(kills.all()[0].any_commit_after_ms, None);
        kills.status(at(22), at(23), &status(2, 101, 1, 0));
        assert_eq!(kills.all()[0].any_commit_after_ms, Some(23.0));
    }

    #[test]
    fn a_successor_has_healed_when_it_commits_or_finds_no_work() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let who = Who::Station(1);
        for (commits, expected) in [(1, Some(14.0)), (0, None)] {
            let mut kills = killed(who, at(0));
            kills.status(at(1), at(2), &status(1, 100, 100, 0));
            kills.status(at(2), at(3), &status(1, 101, 101, 0));
            assert!(kills.are_healing(at(3)));
            let (station, incarnation) = (1, 9);
            let ready = Ready::Station(StationReady {
                station,
                incarnation,
            });
            kills.back(who, at(12), &ready, 1);
            kills.status(at(13), at(14), &status(1, 102, 102, commits));
            assert_eq!(kills.all()[0].back_after_ms, Some(12.0));
            assert_eq!(kills.all()[0].own_commit_after_ms, expected);
            assert_eq!(kills.are_healing(at(100)), commits == 0);
            assert!(!kills.are_healing(at(600)));
        }
    }
}
