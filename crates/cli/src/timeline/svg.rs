//! A timeline as a picture.
//!
//! ```text
//!  title
//!               0 s       1 s       2 s       3 s
//!   commits/s   ▂▄▆▇▇▁▇▇▇▇▇▇▇▁▁▇▇▇▇▇▇▇▇
//!     program   set up│work                │finish      bars; what they are is told when
//!  page server   term 1    ✕▓ term 2                    they are pointed at
//!                  ░░checkpoint░░                       what the process has told
//!   station 1   i1    ✕▓ i3
//! ```

use std::fmt::Write as _;

use serde_json::Value;

use super::layout::{rows, show_tick, tick};
use super::model::{Details, Lane, Mark, MarkKind, Span, SpanKind, Timeline, Track};
use crate::moment::Moment;
use crate::units::{show_count, show_duration};

/// Of a picture that stands alone.
pub(super) const WIDTH: f64 = 1200.0;
/// Where the lanes begin, and how much is left beside them.
pub(super) const LEFT: f64 = 110.0;
const RIGHT: f64 = 24.0;
/// Of the first lane; title and times stand above.
const TOP: f64 = 86.0;
const CHART: f64 = 64.0;
const LANE: f64 = 24.0;
const ROW: f64 = 15.0;
const GAP: f64 = 9.0;
const LEGEND: f64 = 34.0;
/// What is shorter is drawn as long, or it could not be seen.
const BAR_MIN: f64 = 1.5;
/// The width of a letter, about.
const LETTER: f64 = 6.4;
/// The room that a time needs.
const TICK: f64 = 80.0;
const CSS: &str = include_str!("svg.css");

/// The picture, so wide in pixels.
pub(super) fn picture(timeline: &Timeline, width: f64) -> String {
    let mut pen = Pen::new(timeline, width);
    pen.chart();
    for (lane, track) in &timeline.tracks {
        pen.lane(*lane, track);
    }
    pen.finish()
}

struct Pen<'a> {
    timeline: &'a Timeline,
    width: f64,
    /// Where the next lane begins.
    y: f64,
    bars: String,
    marks: String,
    names: String,
}

impl<'a> Pen<'a> {
    fn new(timeline: &'a Timeline, width: f64) -> Self {
        Self {
            timeline,
            width,
            y: TOP,
            bars: String::new(),
            marks: String::new(),
            names: String::new(),
        }
    }

    fn plot(&self) -> f64 {
        self.width - LEFT - RIGHT
    }

    fn x(&self, at: Moment) -> f64 {
        let whole = self.timeline.duration().as_secs_f64().max(1e-9);
        let part = at.since(self.timeline.begin).as_secs_f64() / whole;
        LEFT + part.min(1.0) * self.plot()
    }

    /// Commits a second, as an area.
    fn chart(&mut self) {
        let (length, rates) = self.timeline.rates((self.plot() / 3.0) as u32);
        let most = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        if most <= 0.0 {
            return;
        }
        let bottom = self.y + CHART;
        let height = |rate: f64| bottom - (CHART - 4.0) * rate / most;
        let mut line = String::new();
        for (at, rate) in &rates {
            let (from, to, y) = (self.x(*at), self.x(at.after(length)), height(*rate));
            let step = if line.is_empty() { 'M' } else { 'L' };
            put(&mut line, format_args!("{step}{from:.1} {y:.1}H{to:.1}"));
        }
        let (from, to) = (
            self.x(rates[0].0),
            self.x(rates[rates.len() - 1].0.after(length)),
        );
        put(
            &mut self.bars,
            format_args!(
                "<path class=\"area\" d=\"{line}V{bottom:.1}H{from:.1}Z\"/>\
                 <path class=\"line\" d=\"{line}\"/>\
                 <path class=\"grid\" d=\"M{from:.1} {bottom:.1}H{to:.1}\"/>"
            ),
        );
        self.name("commits/s", "name", self.y + CHART / 2.0);
        let most = format!("up to {}", show_count(most));
        self.name(&most, "small", self.y + CHART / 2.0 + 14.0);
        self.y = bottom + 2.0 * GAP;
    }

    fn name(&mut self, text: &str, class: &str, y: f64) {
        let (x, text) = (LEFT - 10.0, escape(text));
        put(
            &mut self.names,
            format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y:.1}\">{text}</text>"),
        );
    }

    fn lane(&mut self, lane: Lane, track: &Track) {
        let (told, own): (Vec<_>, Vec<_>) =
            track.spans.iter().partition(|s| s.kind == SpanKind::Told);
        let (top, right) = (self.y, self.width - RIGHT);
        put(
            &mut self.bars,
            format_args!(
                "<rect class=\"band\" x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" \
                 height=\"{LANE}\"/>",
                right - LEFT
            ),
        );
        self.name(&lane.name(), "name", top + LANE / 2.0 + 4.0);
        for span in own {
            self.bar(lane, span, top, LANE);
        }
        self.y += LANE;
        for row in rows(&told, self.timeline.end) {
            let y = self.y + 2.0;
            row.iter()
                .for_each(|span| self.bar(lane, span, y, ROW - 2.0));
            self.y += ROW;
        }
        for mark in &track.marks {
            self.mark(lane, mark, top);
        }
        self.y += GAP;
    }

    fn bar(&mut self, lane: Lane, span: &Span, y: f64, height: f64) {
        let end = span.end.unwrap_or(self.timeline.end);
        let (from, to) = (self.x(span.begin), self.x(end));
        let wide = (to - from).max(BAR_MIN);
        let class = match (span.kind, lane) {
            (SpanKind::Life, Lane::Server) => "leader",
            (SpanKind::Told, _) if span.name == "replay" => "replay",
            (kind, _) => kind.name(),
        };
        let lasts = show_duration(end.since(span.begin));
        let title = format!("{}: {}, {lasts}", lane.name(), span.name);
        let title = self.title(&title, span.begin, &span.details);
        put(
            &mut self.bars,
            format_args!(
                "<g><title>{title}</title><rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" \
                 width=\"{wide:.1}\" height=\"{height}\" rx=\"2\"/>"
            ),
        );
        if wide > LETTER * span.name.chars().count() as f64 + 8.0 {
            let (x, y) = (from + wide / 2.0, y + height / 2.0 + 4.0);
            let name = escape(&span.name);
            put(
                &mut self.bars,
                format_args!("<text class=\"in\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>"),
            );
        }
        self.bars.push_str("</g>\n");
    }

    fn mark(&mut self, lane: Lane, mark: &Mark, top: f64) {
        let title = format!("{}: {}", lane.name(), mark.name);
        let title = self.title(&title, mark.at, &mark.details);
        let (x, y) = (self.x(mark.at), top + LANE / 2.0);
        let shape = match mark.kind {
            MarkKind::Kill => {
                put(
                    &mut self.bars,
                    format_args!("<path class=\"strike\" d=\"M{x:.1} {TOP}V"),
                );
                // Down to where the lanes will end.
                self.bars.push_str(BOTTOM);
                self.bars.push_str("\"/>\n");
                cross("x", x, y, 4.5)
            }
            MarkKind::Death => cross("death", x, y, 3.5),
            MarkKind::Rollback | MarkKind::Notice => {
                let class = mark.kind.name();
                let y = top - 1.0;
                format!(
                    "<path class=\"{class}\" d=\"M{:.1} {y:.1}h8l-4 7z\"/>",
                    x - 4.0
                )
            }
        };
        put(
            &mut self.marks,
            format_args!(
                "<g><title>{title}</title><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\" \
                 fill=\"none\" pointer-events=\"all\"/>{shape}</g>\n"
            ),
        );
    }

    /// What is shown of an event that is pointed at.
    fn title(&self, text: &str, at: Moment, details: &Details) -> String {
        let at = at.since(self.timeline.begin).as_secs_f64();
        let mut lines = vec![text.to_owned(), format!("at {at:.4} s")];
        lines.extend(details.iter().map(|(name, value)| match value {
            Value::String(text) => format!("{name}: {text}"),
            other => format!("{name}: {other}"),
        }));
        escape(&lines.join("\n"))
    }

    fn times(&self, bottom: f64) -> String {
        let whole = self.timeline.duration();
        let step = tick(whole, (self.plot() / TICK) as u32);
        let mut out = String::new();
        let mut at = std::time::Duration::ZERO;
        while at <= whole {
            let x = self.x(self.timeline.begin.after(at));
            let (text, top) = (show_tick(at, step), TOP - 6.0);
            put(
                &mut out,
                format_args!(
                    "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom:.1}\"/>\
                     <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>\n",
                    top - 5.0
                ),
            );
            at += step;
        }
        out
    }

    fn legend(&self, y: f64) -> String {
        let mut out = String::new();
        let mut x = LEFT;
        for (class, text) in [
            ("leader", "leads"),
            ("life", "is a member"),
            ("recovery", "from a death to a successor that is ready"),
            ("start", "starts"),
            ("replay", "replays the log"),
            ("told", "else told by the process"),
        ] {
            put(
                &mut out,
                format_args!(
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"10\" \
                     rx=\"2\"/><text class=\"legend\" x=\"{:.1}\" y=\"{y:.1}\">{text}</text>",
                    y - 9.0,
                    x + 17.0
                ),
            );
            x += 17.0 + 5.6 * text.len() as f64 + 20.0;
        }
        out.push_str(&cross("x", x + 5.0, y - 4.0, 4.5));
        put(
            &mut out,
            format_args!(
                "<text class=\"legend\" x=\"{:.1}\" y=\"{y:.1}\">kill -9</text>",
                x + 15.0
            ),
        );
        out
    }

    fn finish(self) -> String {
        let (width, bottom) = (self.width, self.y);
        let height = bottom + LEGEND;
        let times = self.times(bottom - GAP);
        let legend = self.legend(bottom + 16.0);
        let (title, sub) = split(&self.timeline.title);
        let bars = self.bars.replace(BOTTOM, &format!("{:.1}", bottom - GAP));
        let (marks, names) = (self.marks, self.names);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"tl\" viewBox=\"0 0 {width} \
             {height:.0}\" width=\"{width}\" height=\"{height:.0}\">\n<style>\n{CSS}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
             <g class=\"still\"><text class=\"title\" x=\"24\" y=\"30\">{title}</text>\
             <text class=\"sub\" x=\"24\" y=\"48\">{sub}</text></g>\n\
             {times}{bars}{marks}\
             <g class=\"still\"><rect class=\"paper\" x=\"0\" y=\"{TOP}\" width=\"{}\" \
             height=\"{:.1}\"/>{names}</g>\n{legend}</svg>\n",
            LEFT - 2.0,
            bottom - TOP
        )
    }
}

/// Stands for the end of the lanes, which is known last.
const BOTTOM: &str = "\u{1}";

/// The title, and what comes after its first colon.
fn split(title: &str) -> (String, String) {
    let (title, sub) = title.split_once(": ").unwrap_or((title, ""));
    (escape(title), escape(sub))
}

fn cross(class: &str, x: f64, y: f64, arm: f64) -> String {
    let (left, right, top, low) = (x - arm, x + arm, y - arm, y + arm);
    format!(
        "<path class=\"{class}\" d=\"M{left:.1} {top:.1}L{right:.1} {low:.1}M{left:.1} \
         {low:.1}L{right:.1} {top:.1}\"/>"
    )
}

/// Text between tags.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            // XML has no other control characters.
            '\n' | '\t' => safe.push(letter),
            letter if letter.is_control() => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::example;
    use super::*;

    #[test]
    fn everything_is_in_the_picture_and_every_tag_is_closed() {
        let svg = picture(&example(), WIDTH);
        for part in [
            "a &amp; b",
            "page server: term 1, 1.00 s",
            "station 1: recovery, 10.0 ms",
            "station 1: kill &lt;1&gt;\nat 0.5000 s\npid: 77",
            "checkpoint",
            "commits/s",
        ] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!svg.contains(BOTTOM));
        for tag in ["g", "text", "title", "svg", "style"] {
            let opened =
                svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn a_run_without_a_duration_has_a_picture() {
        let mut timeline = Timeline::new(String::new(), Moment::now());
        assert!(picture(&timeline, WIDTH).contains("</svg>"));
        let begin = timeline.begin;
        timeline.commit(begin, 1);
        timeline.finish(begin, "x".to_owned(), None);
        assert!(!picture(&timeline, WIDTH).contains("NaN"));
    }
}
