//! Teams as lines of text: the same on a terminal and elsewhere.

use std::time::Duration;

use super::model::{Overview, Recent, Station, StationState, Team, TeamState};
use crate::table;
use crate::units::{show_bytes, show_count, show_duration};

/// What is said where there is nothing to show.
const NO_TEAMS: &str = "no team has run in this heap yet";
/// For what is not known.
const UNKNOWN: &str = "-";

/// A line and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) kind: LineKind,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineKind {
    /// A team's name and how it is.
    Team,
    /// The names of columns.
    Head,
    /// Whoever works, or did until the end.
    Fine,
    /// Whoever is missing.
    Missing,
    /// Between teams, and where there is none.
    Plain,
}

/// The lines of all teams.
pub(crate) fn lines(overview: &Overview) -> Vec<Line> {
    let plain = |text: &str| Line {
        kind: LineKind::Plain,
        text: text.to_owned(),
    };
    if overview.teams.is_empty() {
        return vec![plain(NO_TEAMS)];
    }
    let teams: Vec<_> = overview.teams.iter().map(team).collect();
    teams.join(&plain(""))
}

fn team(team: &Team) -> Vec<Line> {
    let kinds = [LineKind::Head].into_iter();
    let kinds = kinds.chain(team.stations.iter().map(kind));
    let kinds = kinds.chain([LineKind::Fine]);
    let texts = table::lines(&table(team));
    let mut lines = vec![Line {
        kind: LineKind::Team,
        text: title(team),
    }];
    lines.extend(kinds.zip(texts).map(|(kind, text)| Line { kind, text }));
    lines
}

fn title(team: &Team) -> String {
    let state = match team.state {
        TeamState::Forms => "waits for stations",
        TeamState::Runs => "runs",
        TeamState::Ended => "has ended",
    };
    let (stations, workers) = (team.stations.len(), team.workers);
    let mut text = format!(
        "{}: {state}; stations {stations}, workers {workers}",
        team.name
    );
    if let Some(ms) = team.elapsed_ms {
        text += &format!("; {}", show_duration(Duration::from_millis(ms)));
    }
    if let Some(imbalance) = team.imbalance {
        text += &format!("; imbalance {}", percent(imbalance));
    }
    text
}

fn table(team: &Team) -> Vec<Vec<String>> {
    let head = [
        "rank",
        "state",
        "phase",
        "waits",
        "phases/s",
        "faults/s",
        "fetches/s",
        "pages/s",
        "changes/s",
        "notices/s",
        "bytes/s",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(team.stations.iter().map(|station| {
        let begin = [station.rank.to_string(), state(station.state).to_owned()];
        let phases = station.total.as_ref().map(|total| total.phases);
        row(begin, phases, station.recent.as_ref())
    }));
    let all = ["all".to_owned(), String::new()];
    rows.push(row(all, team.phases, team.recent.as_ref()));
    rows
}

fn row(begin: [String; 2], phases: Option<u64>, recent: Option<&Recent>) -> Vec<String> {
    let mut cells = begin.to_vec();
    cells.push(phases.map_or(UNKNOWN.to_owned(), |phases| phases.to_string()));
    let show: [fn(&Recent) -> String; 8] = [
        |recent| percent(recent.waits),
        |recent| show_count(recent.phases),
        |recent| show_count(recent.faults),
        |recent| show_count(recent.fetches),
        |recent| show_count(recent.pages),
        |recent| show_count(recent.changes),
        |recent| show_count(recent.notices),
        |recent| show_bytes(recent.bytes as u64),
    ];
    cells.extend(show.map(|show| recent.map_or(UNKNOWN.to_owned(), show)));
    cells
}

fn state(state: StationState) -> &'static str {
    match state {
        StationState::Absent => "absent",
        StationState::Lost => "lost",
        StationState::Begins => "begins",
        StationState::Works => "works",
        StationState::Done => "done",
    }
}

fn kind(station: &Station) -> LineKind {
    match station.state {
        StationState::Absent | StationState::Lost => LineKind::Missing,
        StationState::Begins | StationState::Works | StationState::Done => LineKind::Fine,
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::{looks, team as statistics};
    use super::*;

    #[test]
    fn each_station_has_a_line_and_all_have_one() {
        let [before, now] = looks();
        let lines = lines(&Overview::new(&before, &now));
        let kinds: Vec<_> = lines.iter().map(|line| line.kind).collect();
        assert_eq!(
            kinds,
            [
                LineKind::Team,
                LineKind::Head,
                LineKind::Fine,
                LineKind::Fine,
                LineKind::Fine
            ]
        );
        let cells = |at: usize| lines[at].text.split_whitespace().collect::<Vec<_>>();
        assert_eq!(cells(2)[..7], ["0", "works", "140", "0", "%", "20", "300"]);
        assert_eq!(cells(3)[..7], ["1", "works", "140", "50", "%", "20", "0"]);
        assert_eq!(cells(4)[..6], ["all", "140", "25", "%", "20", "300"]);
        assert!(lines[0].text.contains("imbalance 25 %"), "{:?}", lines[0]);
    }

    #[test]
    fn a_heap_without_teams_says_so_and_teams_are_set_apart() {
        let none = lines(&Overview::new(&[], &[]));
        assert_eq!(none.len(), 1);
        assert!(none[0].text.contains("no team"));

        let mut lost = statistics(&[None]);
        lost.stations[0].is_alive = false;
        let two = lines(&Overview::new(&[], &[lost.clone(), lost]));
        let blank = two.iter().filter(|line| line.text.is_empty());
        assert_eq!(blank.count(), 1);
        let missing = two.iter().filter(|line| line.kind == LineKind::Missing);
        assert_eq!(missing.count(), 2);
    }
}
