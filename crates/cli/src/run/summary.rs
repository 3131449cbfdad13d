//! What a run says at its end, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

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
    pub(super) restarts: Restarts,
    pub(super) recovery: Option<Recovery>,
    pub(super) deaths: Vec<Death>,
    /// Planned kills for which the run was too short.
    pub(super) kills_missed: Vec<String>,
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
