//! One result: what was measured, the floor of the same run, their ratio, and the target.

use std::fmt;

use serde::Serialize;

/// A measured quantity over several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// Half of the rounds lie below.
    pub(crate) median: f64,
    /// A tenth of the rounds lies below.
    pub(crate) p10: f64,
    /// A tenth of the rounds lies above.
    pub(crate) p90: f64,
}

impl Spread {
    /// The spread of `samples`, by nearest rank.
    ///
    /// # Panics
    /// If there are none: a benchmark without rounds has measured nothing.
    pub(crate) fn of(mut samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "a benchmark has rounds");
        samples.sort_by(f64::total_cmp);
        Self {
            median: percentile(&samples, 50),
            p10: percentile(&samples, 10),
            p90: percentile(&samples, 90),
        }
    }
}

/// The `percent`-th percentile of ascending samples, by nearest rank.
pub(crate) fn percentile(ascending: &[f64], percent: usize) -> f64 {
    ascending[(ascending.len() - 1) * percent / 100]
}

/// Where a median is, with a confidence of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Interval {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Interval {
    /// The narrowest pair of order statistics, as far from either end, between which the median of
    /// what was sampled lies in 95 of 100 cases: how many samples are below it is binomial (sign
    /// test; Conover, Practical Nonparametric Statistics, 3.2). `None` for fewer than six samples,
    /// whose extremes do not suffice.
    fn of_median(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let count = samples.len();
        // The probability that fewer than `rank` + 1 samples are on one side of the median.
        let (mut tail, mut term) = (0.0, 0.5f64.powi(i32::try_from(count).ok()?));
        let mut from = None;
        for rank in 0..count / 2 {
            tail += term;
            if tail > 0.025 {
                break;
            }
            from = Some(rank);
            term *= (count - rank) as f64 / (rank + 1) as f64;
        }
        let from = from?;
        Some(Self {
            from: samples[from],
            to: samples[count - 1 - from],
        })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {:.3}–{:.3}", self.from, self.to)
    }
}

/// What a figure is to reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The value, at most.
    ValueAtMost(f64),
    /// The value, at least.
    ValueAtLeast(f64),
    /// The value divided by the floor, at most.
    RatioAtMost(f64),
    /// The value divided by the floor, at least.
    RatioAtLeast(f64),
    /// The value less the floor, at most.
    ExcessAtMost(f64),
    /// Nothing: the figure explains another one.
    None,
}

/// The head of a table of figures.
pub(crate) const MARKDOWN_HEAD: &str = "| what | median (p10–p90) | floor | ratio | target | met |
|---|---|---|---|---|---|";

/// What no implementation could beat here, or what the figure is compared with.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Floor {
    /// What it is.
    pub(crate) what: String,
    /// In the figure's unit.
    pub(crate) value: Spread,
}

/// One result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) value: Spread,
    pub(crate) floor: Option<Floor>,
    /// Of value and floor, round by round.
    pub(crate) ratio: Option<Spread>,
    /// Value less floor, round by round.
    pub(crate) excess: Option<Spread>,
    /// Where the median of the ratio is, with a confidence of 95 %.
    pub(crate) interval: Option<Interval>,
    pub(crate) target: Target,
    pub(crate) met: Option<bool>,
    pub(crate) notes: Vec<String>,
}

impl Figure {
    /// A figure without a floor yet.
    pub(crate) fn new(
        name: impl Into<String>,
        what: impl Into<String>,
        unit: &'static str,
        values: Vec<f64>,
        target: Target,
    ) -> Self {
        let mut figure = Self {
            name: name.into(),
            what: what.into(),
            unit,
            value: Spread::of(values),
            floor: None,
            ratio: None,
            excess: None,
            interval: None,
            target,
            met: None,
            notes: Vec::new(),
        };
        figure.met = figure.is_met();
        figure
    }

    /// A figure from rounds of (value, floor).
    pub(crate) fn against(
        name: impl Into<String>,
        what: impl Into<String>,
        unit: &'static str,
        floor: impl Into<String>,
        rounds: &[(f64, f64)],
        target: Target,
    ) -> Self {
        let values = rounds.iter().map(|(value, _)| *value).collect();
        let mut figure = Self::new(name, what, unit, values, target);
        figure.floor = Some(Floor {
            what: floor.into(),
            value: Spread::of(rounds.iter().map(|(_, floor)| *floor).collect()),
        });
        let ratios: Vec<f64> = rounds.iter().map(|(value, floor)| value / floor).collect();
        figure.interval = Interval::of_median(ratios.clone());
        figure.ratio = Some(Spread::of(ratios));
        let excess = rounds.iter().map(|(value, floor)| value - floor);
        figure.excess = Some(Spread::of(excess.collect()));
        figure.met = figure.is_met();
        figure
    }

    /// Adds what a reader should know beside the numbers.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Whether the median reaches the target; `None` if there is none, or nothing to compare with.
    pub(crate) fn is_met(&self) -> Option<bool> {
        let ratio = self.ratio.map(|ratio| ratio.median);
        match self.target {
            Target::ValueAtMost(most) => Some(self.value.median <= most),
            Target::ValueAtLeast(least) => Some(self.value.median >= least),
            Target::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
            Target::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
            Target::ExcessAtMost(most) => self.excess.map(|excess| excess.median <= most),
            Target::None => None,
        }
    }

    /// The figure as a row of [`MARKDOWN_HEAD`]'s table.
    pub(crate) fn markdown_row(&self) -> String {
        let spread = |spread: &Spread| {
            let Spread { median, p10, p90 } = *spread;
            format!("{} ({}–{})", number(median), number(p10), number(p90))
        };
        let floor = self.floor.as_ref().map_or("–".to_owned(), |floor| {
            format!("{}: {}", floor.what, spread(&floor.value))
        });
        let ratio = self.ratio.as_ref().map_or("–".to_owned(), |ratio| {
            let interval = self.interval.map(|interval| format!("; median {interval}"));
            format!("{}{}", spread(ratio), interval.unwrap_or_default())
        });
        let met = match self.is_met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        format!(
            "| `{}`: {} | {} {} | {floor} | {ratio} | {} | {met} |",
            self.name,
            self.what,
            spread(&self.value),
            self.unit,
            self.target_text(),
        )
    }

    fn target_text(&self) -> String {
        match self.target {
            Target::ValueAtMost(most) => format!("≤ {} {}", number(most), self.unit),
            Target::ValueAtLeast(least) => format!("≥ {} {}", number(least), self.unit),
            Target::RatioAtMost(most) => format!("≤ {most} × floor"),
            Target::RatioAtLeast(least) => format!("≥ {least} × reference"),
            Target::ExcessAtMost(most) => format!("≤ floor + {} {}", number(most), self.unit),
            Target::None => "none".to_owned(),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.is_met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "-",
        };
        writeln!(f, "{}: {}", self.name, self.what)?;
        let row = |what: &str, spread: &Spread, unit: &str| {
            format!(
                "  {what:<9} {:>12} {unit:<10} ({} to {})",
                number(spread.median),
                number(spread.p10),
                number(spread.p90)
            )
        };
        writeln!(f, "{}", row("value", &self.value, self.unit))?;
        if let Some(floor) = &self.floor {
            let floor_row = row("floor", &floor.value, self.unit);
            writeln!(f, "{floor_row}  {}", floor.what)?;
        }
        if let Some(ratio) = &self.ratio {
            write!(f, "{}", row("ratio", ratio, "×"))?;
            match self.interval {
                Some(interval) => writeln!(f, "  median {interval}")?,
                None => writeln!(f)?,
            }
        }
        if let (Target::ExcessAtMost(_), Some(excess)) = (self.target, &self.excess) {
            writeln!(f, "{}", row("excess", excess, self.unit))?;
        }
        write!(f, "  {:<9} {:>12} {mark}", "target", self.target_text())?;
        for note in &self.notes {
            write!(f, "\n  note      {note}")?;
        }
        Ok(())
    }
}

/// A number with three significant digits, or all digits before the point.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 100.0 {
        grouped(value)
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        // The machine was twice as slow in the second round; the ratio does not notice.
        let rounds = [(3.0, 2.0), (6.0, 4.0), (3.0, 2.0)];
        let figure = Figure::against("n", "w", "µs", "f", &rounds, Target::RatioAtMost(1.5));
        assert_eq!(
            figure.ratio.map(|ratio| (ratio.p10, ratio.p90)),
            Some((1.5, 1.5))
        );
        assert_eq!(figure.is_met(), Some(true));
    }

    #[test]
    fn a_target_without_a_reference_is_neither_met_nor_missed() {
        let figure = Figure::new("n", "w", "1/s", vec![1.0], Target::RatioAtLeast(3.0));
        assert_eq!(figure.is_met(), None);
    }

    #[test]
    fn an_excess_is_taken_round_by_round() {
        let rounds = [(3.0, 2.0), (6.0, 5.5), (3.0, 1.0)];
        let figure = Figure::against("n", "w", "ms", "f", &rounds, Target::ExcessAtMost(1.0));
        assert_eq!(figure.excess.map(|excess| excess.median), Some(1.0));
        assert_eq!(figure.is_met(), Some(true));
    }

    #[test]
    fn a_median_is_between_the_ranks_that_tables_name() {
        // The ranks for 95 % that tables of the sign test have: 1 of 6, 2 of 9, 6 of 20.
        let samples = |count: u32| (1..=count).map(f64::from).collect();
        assert_eq!(Interval::of_median(samples(5)), None);
        for (count, rank) in [(6, 1.0), (8, 1.0), (9, 2.0), (20, 6.0)] {
            let interval = Interval::of_median(samples(count)).map(|found| (found.from, found.to));
            assert_eq!(interval, Some((rank, f64::from(count) + 1.0 - rank)));
        }
    }

    #[test]
    fn percentiles_are_samples() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect());
        assert_eq!((spread.p10, spread.median, spread.p90), (10.0, 50.0, 90.0));
        assert_eq!(Spread::of(vec![7.0]).p90, 7.0);
    }
}
