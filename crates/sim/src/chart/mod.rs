//! A run as a message sequence chart: a lane for the leader and each station, time downwards.
//!
//! ```text
//!    station 0         leader          station 1
//!       |                 |                |
//!      [#] c7             |                |         a transaction at snapshot c7 ...
//!      [#]--commit------->|                |
//!      [#]                * c8             |         logged
//!      [#]<---------answer|---delta------->|
//!    c8 |                 |     x---fetch--|         lost on its way
//! ```
//!
//! Source of the notation: ITU-T Z.120, Message Sequence Chart.

mod draw;
mod layout;
mod page;
mod paper;

use std::fmt::Write as _;

use crate::story::Story;
use draw::draw;
use layout::Layout;
use paper::{Paper, escape, wrap};

/// The look, shared by both formats. Colours have names, so that a page can change them.
const STYLE: &str = include_str!("chart.css");

impl Story {
    /// The chart as an SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        let layout = self.layout();
        let mut paper = Paper::default();
        draw(self, &layout, &mut paper);
        let violation = self.violation(&layout, &mut paper);
        let (width, height) = (layout.width, layout.bottom + violation + 30.0);
        let title = escape(&self.title());
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">\n\
             <style>\n{STYLE}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
             <text class=\"title\" x=\"24\" y=\"32\">{title}</text>\n"
        );
        if self.skipped > 0 {
            let skipped = self.skipped;
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<text class=\"muted\" x=\"24\" y=\"50\">{skipped} earlier events are not shown</text>"
            );
        }
        svg.push_str(&paper.finish());
        svg.push_str("</svg>\n");
        svg
    }

    /// The chart as a page that needs nothing else.
    #[must_use]
    pub fn html(&self) -> String {
        page::page(&self.title(), &self.svg())
    }

    /// The events as lines, and the violation.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text: String = self.lines().map(|line| line + "\n").collect();
        if let Some(failure) = &self.report.failure {
            let _ = writeln!(text, "VIOLATION {failure}");
        }
        text
    }

    fn layout(&self) -> Layout {
        let stations = (0..self.report.stations).filter(|at| self.report.mask.has_station(*at));
        Layout::new(&self.entries, stations)
    }

    fn title(&self) -> String {
        let (report, tally) = (&self.report, &self.report.tally);
        format!(
            "Plurix simulation, seed {}{}: {} events, {:.3} ms, {} commits, {} faults",
            report.seed,
            report.mask,
            tally.events,
            report.virtual_ns as f64 / 1e6,
            tally.commits,
            tally.faults
        )
    }

    /// Draws what the oracle saw below everything else; answers how much room that takes.
    fn violation(&self, layout: &Layout, paper: &mut Paper) -> f64 {
        let Some(failure) = &self.report.failure else {
            return 0.0;
        };
        let wide = layout.width - 48.0;
        let text = format!("VIOLATION  {failure}");
        let lines = wrap(&text, wide - 40.0);
        let height = 16.0 * lines.len() as f64 + 18.0;
        let top = layout.bottom + 8.0;
        let labels = &mut paper.labels;
        labels.group("violation", &text, |labels| {
            labels.rectangle("banner", [24.0, top], [wide, height]);
            for (index, line) in lines.iter().enumerate() {
                let y = top + 20.0 + 16.0 * index as f64;
                labels.text("alarm", [40.0, y], line);
            }
        });
        height + 8.0
    }
}

#[cfg(test)]
mod tests {
    use crate::{Mask, Options, record};

    #[test]
    fn a_chart_is_well_formed_and_says_everything() {
        let options = Options {
            mask: Mask {
                until_event: Some(2000),
                ..Mask::default()
            },
            ..Options::default()
        };
        let story = record(7, &options, 500, false);
        let svg = story.svg();
        for tag in ["g", "text", "title", "svg", "style"] {
            let opened =
                svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(story.html().contains(svg.trim_start()));
        assert_eq!(story.text().lines().count(), 500);
    }
}
