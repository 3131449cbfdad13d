//! What a run says at its end, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use plurix_apps::Report;
use serde::Serialize;
use serde_json::Value;

use super::chaos_report::ChaosReport;
use super::checkpoints::Checkpoints;
use super::plan::Who;
use super::supervisor::{Clock, Supervisor};
use super::tally::Death;
use crate::units::{show_count, show_duration};

/// The result of a run. Names end in their units: `_s` seconds, `_ms` milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(super) app: &'static str,
    /// What the program says.
    pub(super) facts: BTreeMap<String, Value>,
    /// The names of the facts, in the order to show them.
    #[serde(skip)]
    pub(super) order: Vec<String>,
    pub(crate) verified: bool,
    pub(super) stations: u32,
    pub(super) cluster: String,
    /// From the command's start to here.
    pub(super) wall_s: f64,
    /// Of it, until the program was set up.
    pub(super) setup_s: f64,
    /// From there until all units were done.
    pub(super) work_s: f64,
    /// From there until the result was checked and written.
    pub(super) finish_s: f64,
    /// Since the program was set up.
    pub(super) commits: u64,
    pub(super) commits_per_s: f64,
    /// As far as leaders could be asked before they died.
    pub(super) conflicts: u64,
    pub(super) checkpoints: Checkpoints,
    pub(super) restarts: Restarts,
    pub(super) recovery: Option<Recovery>,
    pub(super) deaths: Vec<Death>,
    /// Planned kills for which the run was too short.
    pub(super) kills_missed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chaos: Option<ChaosReport>,
}

/// How often processes were started again.
#[derive(Debug, Serialize)]
pub(super) struct Restarts {
    pub(super) server: usize,
    /// By station, from 1.
    pub(super) stations: Vec<usize>,
}

/// How long it took from a death to the successor being a member.
#[derive(Debug, Serialize)]
pub(super) struct Recovery {
    pub(super) p50_ms: f64,
    pub(super) max_ms: f64,
}

impl Summary {
    /// What `run` has come to, `wall` after it was begun.
    pub(super) fn new(run: &Supervisor, report: Report, wall: Duration) -> Self {
        let Clock {
            begun,
            set_up,
            worked,
        } = run.clock;
        let end = begun + wall;
        let (set_up, worked) = (set_up.unwrap_or(end), worked.unwrap_or(end));
        let work_s = worked.duration_since(set_up).as_secs_f64();
        let commits = run.commit.saturating_sub(run.first_commit);
        let stations = (1..=run.options.stations).map(Who::Station);
        let recovery = run.tally.recovery().map(|(median, most)| Recovery {
            p50_ms: median.as_secs_f64() * 1e3,
            max_ms: most.as_secs_f64() * 1e3,
        });
        Self {
            app: run.options.app.name(),
            order: report.facts.iter().map(|(name, _)| name.clone()).collect(),
            facts: report.facts.into_iter().collect(),
            verified: report.verified,
            stations: run.options.stations,
            cluster: run
                .server
                .as_ref()
                .map_or_else(String::new, |s| s.cluster.clone()),
            wall_s: wall.as_secs_f64(),
            setup_s: set_up.duration_since(begun).as_secs_f64(),
            work_s,
            finish_s: end.duration_since(worked).as_secs_f64(),
            commits,
            commits_per_s: if work_s > 0.0 {
                commits as f64 / work_s
            } else {
                0.0
            },
            conflicts: run.tally.conflicts(),
            checkpoints: run.tally.checkpoints.clone(),
            restarts: Restarts {
                server: run.tally.restarts(Who::Server),
                stations: stations.map(|who| run.tally.restarts(who)).collect(),
            },
            recovery,
            deaths: run.tally.deaths.clone(),
            kills_missed: run.plan.rest(),
            chaos: run.chaos_report(),
        }
    }

    /// The run in a line.
    pub(super) fn title(&self) -> String {
        let (app, stations, commits) = (self.app, self.stations, self.commits);
        let verified = match self.verified {
            true => "verified",
            false => "NOT VERIFIED",
        };
        let kills = match &self.chaos {
            Some(chaos) => format!("{} kills (seed {}), ", chaos.kills.len(), chaos.seed),
            None => String::new(),
        };
        let wall = show_duration(Duration::from_secs_f64(self.wall_s));
        format!(
            "plurix run {app}, {stations} stations: {verified}, {kills}{commits} commits, {wall}"
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: f64| show_duration(Duration::from_secs_f64(time));
        let mut rows = vec![("app".to_owned(), self.app.to_owned())];
        rows.extend(self.order.iter().map(|name| {
            let value = match &self.facts[name] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.clone(), value)
        }));
        let verified = if self.verified { "yes" } else { "NO" };
        rows.push(("verified".to_owned(), verified.to_owned()));
        let time = format!(
            "{} (set up {}, work {}, finish {})",
            seconds(self.wall_s),
            seconds(self.setup_s),
            seconds(self.work_s),
            seconds(self.finish_s)
        );
        rows.push(("time".to_owned(), time));
        let commits = format!(
            "{} ({} a second), {} conflicts",
            self.commits,
            show_count(self.commits_per_s),
            self.conflicts
        );
        rows.push(("commits".to_owned(), commits));
        if !self.checkpoints.is_empty() {
            rows.push(("checkpoints".to_owned(), self.checkpoints.to_string()));
        }
        rows.push(("restarts".to_owned(), self.restarts.to_string()));
        if let Some(recovery) = &self.recovery {
            let ms = |time: f64| show_duration(Duration::from_secs_f64(time / 1e3));
            let (median, most) = (ms(recovery.p50_ms), ms(recovery.max_ms));
            rows.push((
                "recovery".to_owned(),
                format!("median {median}, longest {most}"),
            ));
        }
        if !self.kills_missed.is_empty() {
            let missed = format!("{} (the run was over before)", self.kills_missed.join(", "));
            rows.push(("not killed".to_owned(), missed));
        }
        let width = rows
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        for (index, (name, value)) in rows.iter().enumerate() {
            let end = if index + 1 < rows.len() { "\n" } else { "" };
            write!(f, "{name:width$}  {value}{end}")?;
        }
        if let Some(chaos) = &self.chaos {
            write!(f, "\n\n{chaos}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Restarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stations = (1..).zip(&self.stations).filter(|(_, count)| **count > 0);
        let mut parts: Vec<_> = stations
            .map(|(number, count)| format!("station {number}: {count}"))
            .collect();
        if self.server > 0 {
            parts.push(format!("page server: {}", self.server));
        }
        if parts.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&parts.join(", "))
    }
}
