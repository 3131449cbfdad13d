//! Showing that a long operation goes on: a bar or a spinner on a terminal, a line now and then
//! elsewhere. All of it goes to standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

const BAR: &str = "{msg} {bar:32} {percent} %, {elapsed} of {duration}";
const SPINNER: &str = "{spinner} {msg}, {elapsed}";
const SPINNER_PERIOD: Duration = Duration::from_millis(100);
/// Without a terminal, whoever waits is told so often.
const LINE_PERIOD: Duration = Duration::from_secs(2);

/// How far something is of which the end is known.
pub(super) struct Bar {
    what: &'static str,
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Bar {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            bar: on_terminal(what, BAR),
            told: Instant::now(),
        }
    }

    /// So much is done of all.
    pub(super) fn update(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        } else if self.told.elapsed() >= LINE_PERIOD {
            self.told = Instant::now();
            let percent = done * 100 / total.max(1);
            output::note(format_args!("{}: {percent} %", self.what));
        }
    }

    /// Removes the bar.
    pub(super) fn end(self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// Something of which the end is not known.
pub(super) struct Waiting(Option<ProgressBar>);

impl Waiting {
    pub(super) fn start(what: &'static str) -> Self {
        let bar = on_terminal(what, SPINNER);
        bar.iter()
            .for_each(|bar| bar.enable_steady_tick(SPINNER_PERIOD));
        Self(bar)
    }

    pub(super) fn end(self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn on_terminal(what: &'static str, template: &str) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template).expect("a constant that is well-formed");
    Some(bar.with_style(style).with_message(what))
}
