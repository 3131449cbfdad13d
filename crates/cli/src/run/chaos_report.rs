//! What chaos has done and how it healed: kill by kill, and in figures by kind.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::chaos::{Chaos, StrikeKind};
use super::kills::{Doing, Kill};
use super::plan::Who;
use crate::table;
use crate::units::show_duration;

/// So many kills are shown to people, those that took the longest; JSON has all of them.
const SHOWN_MAX: usize = 40;
const LEGEND: &str = "\
at s: since the set up; was: what the victim was doing; log: records replayed
back: ms from the kill until a successor was a member, or led; any: until a
commit after the kill was seen, anybody's; own: until one of a successor was.
The leader is asked each millisecond; to see a commit takes it two answers.";

/// The report of `--chaos`. Names end in their units.
#[derive(Debug, Serialize)]
pub(super) struct ChaosReport {
    pub(super) seed: u64,
    pub(super) wished_s: f64,
    pub(super) every_s: f64,
    /// The program had ended before chaos was over.
    pub(super) ended_early: bool,
    /// Page servers that came back with less than was answered.
    pub(super) rollbacks: usize,
    pub(super) by_kind: Vec<Figures>,
    pub(super) kills: Vec<Kill>,
}

/// The kills of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) kind: &'static str,
    pub(super) kills: usize,
    pub(super) back: Option<Spread>,
    pub(super) any_commit: Option<Spread>,
    pub(super) own_commit: Option<Spread>,
}

/// Of times that were seen.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Spread {
    /// By nearest rank.
    fn of(times: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let mut times: Vec<f64> = times.flatten().collect();
        times.sort_by(f64::total_cmp);
        let last = times.len().checked_sub(1)?;
        let rank = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self {
            p50_ms: rank(50),
            p99_ms: rank(99),
            max_ms: times[last],
        })
    }
}

impl Figures {
    fn of(kind: &'static str, kills: &[&Kill]) -> Self {
        Self {
            kind,
            kills: kills.len(),
            back: Spread::of(kills.iter().map(|kill| kill.back_after_ms)),
            any_commit: Spread::of(kills.iter().map(|kill| kill.any_commit_after_ms)),
            own_commit: Spread::of(kills.iter().map(|kill| kill.own_commit_after_ms)),
        }
    }
}

/// The row of the figures that a kill counts in.
fn kind(kill: &Kill) -> &'static str {
    match (kill.kind, kill.doing, kill.who) {
        (_, Doing::Recovering, _) => "while recovering",
        (StrikeKind::Two, ..) => "two at once",
        (StrikeKind::All, ..) => "all at once",
        (_, _, Who::Server) => "page server",
        (_, _, Who::Station(_)) => "station",
    }
}

const KINDS: [&str; 5] = [
    "station",
    "page server",
    "two at once",
    "all at once",
    "while recovering",
];

impl ChaosReport {
    pub(super) fn new(chaos: &Chaos, kills: &[Kill]) -> Self {
        let by_kind = KINDS.iter().map(|name| {
            let of_kind: Vec<_> = kills.iter().filter(|kill| kind(kill) == *name).collect();
            Figures::of(name, &of_kind)
        });
        Self {
            seed: chaos.seed,
            wished_s: chaos.time.as_secs_f64(),
            every_s: chaos.every.as_secs_f64(),
            ended_early: !chaos.is_over(),
            rollbacks: kills.iter().filter(|k| k.rolled_back == Some(true)).count(),
            by_kind: by_kind.filter(|figures| figures.kills > 0).collect(),
            kills: kills.to_vec(),
        }
    }

    fn head(&self) -> String {
        let show = |seconds| show_duration(Duration::from_secs_f64(seconds));
        let kills = match self.kills.len() {
            1 => "1 kill".to_owned(),
            count => format!("{count} kills"),
        };
        let rollbacks = match self.rollbacks {
            0 => "nothing was rolled back".to_owned(),
            count => format!("ROLLED BACK {count} times"),
        };
        let early = match self.ended_early {
            true => "; ended early, because the program had no more work",
            false => "",
        };
        format!(
            "chaos of seed {}: {kills} in {}, a strike each {}\n{rollbacks}{early}",
            self.seed,
            show(self.wished_s),
            show(self.every_s),
        )
    }

    /// The kills to show, in their order.
    fn shown(&self) -> Vec<&Kill> {
        let mut kills: Vec<_> = self.kills.iter().collect();
        if kills.len() > SHOWN_MAX {
            let slowness = |kill: &Kill| match (kill.back_after_ms, kill.any_commit_after_ms) {
                (Some(back), Some(any)) => back.max(any),
                _ => f64::INFINITY,
            };
            kills.sort_by(|a, b| slowness(b).total_cmp(&slowness(a)));
            kills.truncate(SHOWN_MAX);
            kills.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        }
        kills
    }
}

/// A time in a narrow column.
fn ms(time: Option<f64>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) if time < 100.0 => format!("{time:.1}"),
        Some(time) => format!("{time:.0}"),
    }
}

fn row(kill: &Kill) -> Vec<String> {
    let doing = match kill.doing {
        Doing::Working => "works",
        Doing::Leading => "leads",
        Doing::Starting => "starts",
        Doing::Recovering => "recovers",
    };
    let who = match kill.who {
        Who::Server => "server".to_owned(),
        station @ Who::Station(_) => station.to_string(),
    };
    let term = match kill.term_after {
        Some(after) if after != kill.term_before => format!("{}\u{2192}{after}", kill.term_before),
        _ => kill.term_before.to_string(),
    };
    let log = kill.records_replayed;
    vec![
        show_at(kill.at_s),
        kill.kind.name().to_owned(),
        who,
        kill.pid.to_string(),
        doing.to_owned(),
        ms(kill.back_after_ms),
        ms(kill.any_commit_after_ms),
        ms(kill.own_commit_after_ms),
        term,
        log.map_or("-".to_owned(), show_records),
    ]
}

/// The longer a run, the less the hundredths matter.
fn show_at(seconds: f64) -> String {
    match seconds {
        ..100.0 => format!("{seconds:.2}"),
        _ => format!("{seconds:.1}"),
    }
}

/// In six characters at most.
fn show_records(records: u64) -> String {
    match records {
        ..1_000_000 => records.to_string(),
        _ => format!("{:.1}M", records as f64 / 1e6),
    }
}

fn figures_row(figures: &Figures) -> Vec<String> {
    let mut cells = vec![figures.kind.to_owned(), figures.kills.to_string()];
    let of = |spread: &Option<Spread>, pick: fn(&Spread) -> f64| ms(spread.as_ref().map(pick));
    cells.push(of(&figures.back, |spread| spread.p50_ms));
    cells.push(of(&figures.back, |spread| spread.p99_ms));
    cells.push(of(&figures.back, |spread| spread.max_ms));
    for spread in [&figures.any_commit, &figures.own_commit] {
        cells.push(of(spread, |spread| spread.p50_ms));
        cells.push(of(spread, |spread| spread.max_ms));
    }
    cells
}

fn heading(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl fmt::Display for ChaosReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head())?;
        if self.kills.is_empty() {
            return Ok(());
        }
        let shown = self.shown();
        if shown.len() < self.kills.len() {
            write!(f, "\nthe {} that took the longest:", shown.len())?;
        }
        let head = heading(&[
            "at s", "kill", "who", "pid", "was", "back", "any", "own", "term", "log",
        ]);
        let rows: Vec<_> = std::iter::once(head)
            .chain(shown.into_iter().map(row))
            .collect();
        for line in table::lines(&rows) {
            write!(f, "\n{line}")?;
        }
        write!(f, "\n{LEGEND}\n")?;
        let head = heading(&[
            "hit", "kills", "back p50", "p99", "max", "any p50", "max", "own p50", "max",
        ]);
        let rows: Vec<_> = std::iter::once(head)
            .chain(self.by_kind.iter().map(figures_row))
            .collect();
        for line in table::lines(&rows) {
            write!(f, "\n{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn report(count: usize) -> ChaosReport {
        let kill = |number: usize| {
            let who = match number % 4 {
                0 => Who::Server,
                station => Who::Station(station as u32),
            };
            let (kind, doing) = (StrikeKind::Again, Doing::Recovering);
            let at_s = number as f64;
            let mut kill = Kill::new(Instant::now(), at_s, (who, 4_194_303), kind, doing, 9);
            kill.back_after_ms = Some(1000.0 + at_s);
            kill.any_commit_after_ms = Some(99.94);
            (kill.term_after, kill.records_replayed) = (Some(10), Some(999_999));
            kill
        };
        let kills: Vec<_> = (0..count).map(kill).collect();
        ChaosReport {
            seed: 999_999,
            wished_s: 30.0,
            every_s: 0.25,
            ended_early: true,
            rollbacks: 0,
            by_kind: vec![Figures::of(
                "while recovering",
                &kills.iter().collect::<Vec<_>>(),
            )],
            kills,
        }
    }

    #[test]
    fn a_report_is_readable_at_80_columns() {
        for count in [0, 1, SHOWN_MAX, 90] {
            let text = report(count).to_string();
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
            let shown = text.matches("recovers").count();
            assert_eq!(shown, count.min(SHOWN_MAX), "{text}");
        }
    }

    #[test]
    fn of_many_kills_those_are_shown_that_took_the_longest() {
        let report = report(SHOWN_MAX + 7);
        let shown: Vec<_> = report.shown().iter().map(|kill| kill.at_s).collect();
        let expected: Vec<_> = (7..SHOWN_MAX + 7).map(|number| number as f64).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn ranks_are_those_of_times_that_were_seen() {
        assert_eq!(Spread::of([None, None].into_iter()), None);
        let times = (1..=200).rev().map(|time| Some(f64::from(time)));
        let spread = Spread::of(times.chain([None])).unwrap();
        assert_eq!(
            (spread.p50_ms, spread.p99_ms, spread.max_ms),
            (100.0, 198.0, 200.0)
        );
        let spread = Spread::of([Some(5.0)].into_iter()).unwrap();
        assert_eq!(
            (spread.p50_ms, spread.p99_ms, spread.max_ms),
            (5.0, 5.0, 5.0)
        );
    }
}
