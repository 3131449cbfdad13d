//! What is shown of teams: two looks at what their stations have told, and what lies between them.

use std::time::Duration;

use plurix::team::{StationStatistics, TeamStatistics, Told};
use serde::Serialize;

/// All teams of a heap.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Overview {
    pub(crate) teams: Vec<Team>,
}

/// One team. What is not known is `None`: before it was told, or if nothing new was told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Team {
    pub(crate) name: String,
    pub(crate) state: TeamState,
    /// Phases that all its stations have run, those before a recovery line among them.
    pub(crate) phases: Option<u64>,
    pub(crate) workers: u64,
    /// Since it began, or began again.
    pub(crate) elapsed_ms: Option<u64>,
    /// How much of its time the mean worker waits for the busiest one.
    pub(crate) imbalance: Option<f64>,
    /// Of all its stations together; but phases are run by all at once, and waits are the mean.
    pub(crate) recent: Option<Recent>,
    pub(crate) stations: Vec<Station>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TeamState {
    /// Some station is missing, or has not begun yet.
    Forms,
    Runs,
    Ended,
}

/// One station of a team.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Station {
    pub(crate) rank: u16,
    pub(crate) incarnation: Option<u64>,
    pub(crate) state: StationState,
    pub(crate) total: Option<Total>,
    pub(crate) recent: Option<Recent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StationState {
    /// Nobody has taken the place yet.
    Absent,
    /// Whoever had it is dead.
    Lost,
    /// It has told nothing yet.
    Begins,
    Works,
    /// Its team has come to the end.
    Done,
}

/// What a station has done since it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Total {
    pub(crate) elapsed_ms: u64,
    pub(crate) phases: u64,
    pub(crate) workers: u16,
    pub(crate) faults: u64,
    pub(crate) fetches: u64,
    pub(crate) pages: u64,
    pub(crate) changes: u64,
    pub(crate) notices: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Of all its workers together, of the one that waited least, and of the one that waited most.
    pub(crate) waited_ms: u64,
    pub(crate) waited_least_ms: u64,
    pub(crate) waited_most_ms: u64,
    pub(crate) first_phase: u64,
    pub(crate) lines: u64,
    pub(crate) line_pages: u64,
}

/// What was done between two looks, a second; if there was no look before, since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Recent {
    #[serde(rename = "phases_per_s")]
    pub(crate) phases: f64,
    #[serde(rename = "faults_per_s")]
    pub(crate) faults: f64,
    #[serde(rename = "fetches_per_s")]
    pub(crate) fetches: f64,
    #[serde(rename = "pages_per_s")]
    pub(crate) pages: f64,
    #[serde(rename = "changes_per_s")]
    pub(crate) changes: f64,
    #[serde(rename = "notices_per_s")]
    pub(crate) notices: f64,
    #[serde(rename = "messages_per_s")]
    pub(crate) messages: f64,
    #[serde(rename = "bytes_per_s")]
    pub(crate) bytes: f64,
    /// The share of the workers' time that they spent at barriers, for locks and for flags.
    pub(crate) waits: f64,
    /// How many workers compute all the time, on average,
    #[serde(skip)]
    computing: f64,
    /// and how much of its time the busiest one does.
    #[serde(skip)]
    busiest: f64,
}

impl Overview {
    /// What is to be shown `now`, if all that was known `before` is this.
    pub(crate) fn new(before: &[TeamStatistics], now: &[TeamStatistics]) -> Self {
        let before_of = |team: &TeamStatistics| before.iter().find(|b| b.name == team.name);
        let teams = now.iter().map(|team| Team::new(before_of(team), team));
        Self {
            teams: teams.collect(),
        }
    }
}

impl Team {
    fn new(before: Option<&TeamStatistics>, now: &TeamStatistics) -> Self {
        // A team that has ended is shown as it was in all.
        let before = before.filter(|_| !now.is_over);
        let stations = now.stations.iter().map(|station| {
            let before = before.and_then(|team| team.stations.get(usize::from(station.rank)));
            Station::new(before, station, now.is_over)
        });
        let stations: Vec<_> = stations.collect();
        let works = |station: &Station| station.state == StationState::Works;
        let state = match now.is_over {
            true => TeamState::Ended,
            false if stations.iter().all(works) => TeamState::Runs,
            false => TeamState::Forms,
        };
        let totals = || stations.iter().filter_map(|station| station.total.as_ref());
        let recent: Vec<(u64, Recent)> = stations
            .iter()
            .filter_map(|station| Some((station.total.as_ref()?.workers.into(), station.recent?)))
            .collect();
        Self {
            name: now.name.clone(),
            state,
            phases: totals().map(|total| total.phases).min(),
            workers: totals().map(|total| u64::from(total.workers)).sum(),
            elapsed_ms: totals().map(|total| total.elapsed_ms).max(),
            imbalance: imbalance(&recent),
            recent: together(&recent),
            stations,
        }
    }
}

impl Station {
    fn new(before: Option<&StationStatistics>, now: &StationStatistics, is_over: bool) -> Self {
        let is_same = |b: &&StationStatistics| b.incarnation == now.incarnation;
        let before = before.filter(is_same).and_then(|b| b.told.as_ref());
        let state = match now.told {
            _ if is_over => StationState::Done,
            _ if now.incarnation.is_none() => StationState::Absent,
            _ if !now.is_alive => StationState::Lost,
            None => StationState::Begins,
            Some(_) => StationState::Works,
        };
        Self {
            rank: now.rank,
            incarnation: now.incarnation,
            state,
            total: now.told.as_ref().map(Total::of),
            recent: now.told.and_then(|told| Recent::between(before, &told)),
        }
    }
}

impl Total {
    fn of(told: &Told) -> Self {
        let counts = told.counts;
        Self {
            elapsed_ms: ms(told.elapsed),
            phases: told.phases,
            workers: told.workers,
            faults: counts.faults,
            fetches: counts.fetches,
            pages: counts.pages,
            changes: counts.changes,
            notices: counts.notices,
            messages: counts.messages,
            bytes: counts.bytes,
            waited_ms: ms(told.waited),
            waited_least_ms: ms(told.waited_least),
            waited_most_ms: ms(told.waited_most),
            first_phase: told.first_phase,
            lines: told.lines,
            line_pages: told.line_pages,
        }
    }
}

impl Recent {
    /// What was done since `before`; all that was done if the team has begun again since then.
    fn between(before: Option<&Told>, now: &Told) -> Option<Self> {
        let before = before.filter(|before| before.began == now.began);
        let before = before.copied().unwrap_or_default();
        let time = now.elapsed.checked_sub(before.elapsed)?.as_secs_f64();
        if time == 0.0 {
            return None;
        }
        let rate = |of: fn(&Told) -> u64| of(now).saturating_sub(of(&before)) as f64 / time;
        let share =
            |of: fn(&Told) -> Duration| of(now).saturating_sub(of(&before)).as_secs_f64() / time;
        let workers = f64::from(now.workers.max(1));
        let waits = (share(|told| told.waited) / workers).min(1.0);
        Some(Self {
            phases: rate(|told| told.phases.saturating_sub(told.first_phase)),
            faults: rate(|told| told.counts.faults),
            fetches: rate(|told| told.counts.fetches),
            pages: rate(|told| told.counts.pages),
            changes: rate(|told| told.counts.changes),
            notices: rate(|told| told.counts.notices),
            messages: rate(|told| told.counts.messages),
            bytes: rate(|told| told.counts.bytes),
            waits,
            computing: (1.0 - waits) * workers,
            busiest: share(|told| told.busiest).min(1.0),
        })
    }
}

/// What stations with so many workers do together.
fn together(stations: &[(u64, Recent)]) -> Option<Recent> {
    let workers = stations.iter().map(|(workers, _)| workers).sum::<u64>();
    if stations.is_empty() {
        return None;
    }
    let sum = |of: fn(&Recent) -> f64| stations.iter().map(|(_, recent)| of(recent)).sum::<f64>();
    let most = |of: fn(&Recent) -> f64| {
        let each = stations.iter().map(|(_, recent)| of(recent));
        each.fold(0.0, f64::max)
    };
    let computing = sum(|recent| recent.computing);
    Some(Recent {
        phases: most(|recent| recent.phases),
        faults: sum(|recent| recent.faults),
        fetches: sum(|recent| recent.fetches),
        pages: sum(|recent| recent.pages),
        changes: sum(|recent| recent.changes),
        notices: sum(|recent| recent.notices),
        messages: sum(|recent| recent.messages),
        bytes: sum(|recent| recent.bytes),
        waits: 1.0 - computing / workers.max(1) as f64,
        computing,
        busiest: most(|recent| recent.busiest),
    })
}

/// How far the mean worker's computing is behind the busiest one's.
fn imbalance(stations: &[(u64, Recent)]) -> Option<f64> {
    let all = together(stations)?;
    let workers = stations.iter().map(|(workers, _)| workers).sum::<u64>();
    let mean = all.computing / workers.max(1) as f64;
    (all.busiest > 0.0).then(|| (1.0 - mean / all.busiest).max(0.0))
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a station with two workers tells after so many seconds.
    fn told(seconds: u64, phases: u64, faults: u64, waited: [u64; 2], busiest: u64) -> Told {
        let mut told = Told::default();
        told.began = 7;
        told.elapsed = Duration::from_secs(seconds);
        told.phases = phases;
        told.workers = 2;
        told.counts.faults = faults;
        told.counts.bytes = 4096 * faults;
        told.waited = Duration::from_secs(waited[0] + waited[1]);
        told.busiest = Duration::from_secs(busiest);
        told
    }

    /// A team of stations that live, as they told.
    pub(crate) fn team(told: &[Option<Told>]) -> TeamStatistics {
        let station = |(rank, told): (usize, &Option<Told>)| {
            let mut station = StationStatistics::default();
            station.rank = rank as u16;
            station.incarnation = Some(rank as u64 + 10);
            station.is_alive = true;
            station.told = *told;
            station
        };
        let mut team = TeamStatistics::default();
        "jacobi".clone_into(&mut team.name);
        team.stations = told.iter().enumerate().map(station).collect();
        team
    }

    /// Two looks at a team of two stations, the second of which waits half of its time in between.
    pub(crate) fn looks() -> [Vec<TeamStatistics>; 2] {
        let before = [
            told(10, 100, 1000, [1, 1], 9),
            told(10, 100, 500, [2, 2], 8),
        ];
        let now = [
            told(12, 140, 1600, [1, 1], 11),
            told(12, 140, 500, [3, 3], 9),
        ];
        [before, now].map(|told| vec![team(&told.map(Some))])
    }

    fn only(before: &[TeamStatistics], now: &[TeamStatistics]) -> Team {
        let mut teams = Overview::new(before, now).teams;
        assert_eq!(teams.len(), 1);
        teams.remove(0)
    }

    #[test]
    fn what_lies_between_two_looks_is_told_by_second() {
        let [before, now] = looks();
        let team = only(&before, &now);
        assert_eq!(
            (team.state, team.phases, team.workers),
            (TeamState::Runs, Some(140), 4)
        );
        let [first, second] = [0, 1].map(|at| team.stations[at].recent.unwrap());
        assert_eq!(
            (first.phases, first.faults, first.waits),
            (20.0, 300.0, 0.0)
        );
        assert_eq!(
            (second.phases, second.faults, second.waits),
            (20.0, 0.0, 0.5)
        );
        let all = team.recent.unwrap();
        assert_eq!((all.phases, all.faults, all.waits), (20.0, 300.0, 0.25));
        assert_eq!(all.bytes, 300.0 * 4096.0);
        // Three of four workers' time, where the busiest had no pause.
        assert_eq!(team.imbalance, Some(0.25));
    }

    #[test]
    fn the_first_look_tells_all_since_the_team_began() {
        let [_, now] = looks();
        let team = only(&[], &now);
        let first = team.stations[0].recent.unwrap();
        assert_eq!(first.faults, 1600.0 / 12.0);
        assert_eq!(first.waits, 2.0 / 24.0);
    }

    #[test]
    fn a_team_that_has_begun_again_counts_from_there() {
        let [before, _] = looks();
        let mut again = told(11, 30, 110, [0, 0], 11);
        again.began = 8;
        again.first_phase = 8;
        let now = team(&[Some(again), before[0].stations[1].told]);
        let team = only(&before, &[now]);
        let recent = team.stations[0].recent.unwrap();
        assert_eq!((recent.faults, recent.phases), (10.0, 2.0));
        assert_eq!(team.stations[1].recent, None, "it has told nothing new");
        assert_eq!(team.phases, Some(30));
    }

    #[test]
    fn who_takes_a_place_is_not_compared_with_his_predecessor() {
        let [before, mut now] = looks();
        now[0].stations[0].incarnation = Some(99);
        let team = only(&before, &now);
        assert_eq!(team.stations[0].recent.unwrap().faults, 1600.0 / 12.0);
    }

    #[test]
    fn stations_that_are_missing_are_told_apart() {
        let mut forming = team(&[None; 4]);
        forming.stations[0].incarnation = None;
        forming.stations[1].is_alive = false;
        forming.stations[3].told = Some(told(1, 1, 1, [0, 0], 1));
        let shown = only(&[], &[forming.clone()]);
        assert_eq!(shown.state, TeamState::Forms);
        let states = shown.stations.iter().map(|station| station.state);
        assert_eq!(
            states.collect::<Vec<_>>(),
            [
                StationState::Absent,
                StationState::Lost,
                StationState::Begins,
                StationState::Works
            ]
        );
        let nobody = only(&[], &[team(&[None])]);
        assert_eq!((nobody.recent, nobody.imbalance), (None, None));
    }

    #[test]
    fn a_team_that_has_ended_is_shown_as_it_was_in_all() {
        let [before, mut now] = looks();
        now[0].is_over = true;
        now[0].stations[0].is_alive = false;
        let ended = only(&before, &now);
        assert_eq!(ended.state, TeamState::Ended);
        assert_eq!(ended.stations[0].state, StationState::Done);
        assert_eq!(ended, only(&now, &now));
        assert_eq!(ended.stations[0].recent.unwrap().faults, 1600.0 / 12.0);
    }
}
