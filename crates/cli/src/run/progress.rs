//! Showing how far the run is: a bar on a terminal, a line each second elsewhere. All of it goes to
//! standard error; standard output belongs to the program and to `--json`.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plurix_apps::Progress;
use serde_json::{Map, Value};

use super::plan::Who;
use crate::output;
use crate::units::{show_count, show_duration};

const BAR: &str = "{bar:32} {pos}/{len} {prefix}, {msg}";
const BAR_PERIOD: Duration = Duration::from_millis(100);
const LINE_PERIOD: Duration = Duration::from_secs(1);
/// Commits are counted over this time to tell how many there are in a second.
const RATE_PERIOD: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum Mode {
    Quiet,
    Lines,
    Bar(ProgressBar),
}

#[derive(Debug)]
pub(super) struct View {
    mode: Mode,
    /// When to show again; none before the first time.
    due: Option<Instant>,
    /// Since when commits are counted, and the commit at that time.
    counted: Option<(Instant, u64)>,
    commits_per_second: f64,
}

impl View {
    pub(super) fn new(quiet: bool) -> Self {
        let mode = if quiet {
            Mode::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(BAR).expect("a constant that is well-formed");
            Mode::Bar(bar.with_style(style))
        } else {
            Mode::Lines
        };
        Self {
            mode,
            due: None,
            counted: None,
            commits_per_second: 0.0,
        }
    }

    /// Passes on what a member logs for a program to read, which nothing but `--log` asks for.
    pub(super) fn logged(&self, who: Who, mut line: Map<String, Value>) {
        line.insert("member".to_owned(), who.to_string().into());
        let line = Value::Object(line);
        match &self.mode {
            Mode::Quiet | Mode::Lines => output::note(line),
            Mode::Bar(bar) => bar.suspend(|| output::note(line)),
        }
    }

    /// Says that something happened.
    pub(super) fn line(&self, text: impl Display) {
        match &self.mode {
            Mode::Quiet => {}
            Mode::Lines => output::note(text),
            Mode::Bar(bar) => bar.suspend(|| output::note(text)),
        }
    }

    /// Shows how far the program is, `since` it was set up; often enough is when it is due.
    pub(super) fn update(
        &mut self,
        progress: &Progress,
        commit: u64,
        restarts: usize,
        since: Duration,
    ) {
        let now = Instant::now();
        let (begin, first) = *self.counted.get_or_insert((now, commit));
        let counted = now.duration_since(begin);
        if counted >= RATE_PERIOD {
            self.commits_per_second = commit.saturating_sub(first) as f64 / counted.as_secs_f64();
            self.counted = Some((now, commit));
        }
        let period = match self.mode {
            Mode::Quiet => return,
            Mode::Lines => LINE_PERIOD,
            Mode::Bar(_) => BAR_PERIOD,
        };
        if now < *self.due.get_or_insert(now + period) {
            return;
        }
        self.due = Some(now + period);
        let rate = show_count(self.commits_per_second);
        let restarts = match restarts {
            0 => String::new(),
            1 => ", 1 restart".to_owned(),
            _ => format!(", {restarts} restarts"),
        };
        let Progress { done, total, unit } = progress;
        match &self.mode {
            Mode::Quiet => {}
            Mode::Lines => {
                let since = show_duration(since);
                self.line(format_args!(
                    "{since}: {done}/{total} {unit}, {rate} commits/s{restarts}"
                ));
            }
            Mode::Bar(bar) => {
                bar.set_length(*total);
                bar.set_prefix(*unit);
                bar.set_message(format!("{rate} commits/s{restarts}"));
                bar.set_position(*done);
            }
        }
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        if let Mode::Bar(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }
}
