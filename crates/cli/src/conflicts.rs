//! `plurix conflicts`: which lines transactions conflict about, what they belong to, and what can be
//! done about it.
//!
//! ```text
//!  page server: lines, who was refused, who wrote which bytes ──┐
//!  observer: what lies at these addresses, which roots ─────────┴─► kind, advice
//! ```

use std::collections::BTreeMap;

use clap::Args;
use plurix::{Conflicts, LineConflicts, LineStation, Place};
use serde::Serialize;

use crate::observer::Target;
use crate::units::show_duration;
use crate::{Exit, output, table};

const EXAMPLES: &str = "\
Examples:
  plurix conflicts 127.0.0.1:7700
  plurix conflicts node-1:7700 --reset
      counts anew from now on
  plurix conflicts node-1:7700 --json | jq '.lines[] | select(.kind == \"false_sharing\")'

A line has 64 bytes. Transactions conflict if one reads a line that another writes, also if they use
different bytes of it. Where 'reached from root X' is said to be a guess, something in the root looks like
a pointer to the block.";

const PAGE_BYTES: u64 = 4096;
const LINE_BYTES: u64 = 64;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// So many lines at most.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Count anew once they are told.
    #[arg(long)]
    reset: bool,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Told {
    refused: u64,
    since_ms: u64,
    lines: Vec<Line>,
    advice: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    place: Place,
    page: u32,
    line: u8,
    count: u64,
    error: u64,
    kind: Kind,
    stations: Vec<Part>,
    others: bool,
}

/// What one station does there.
#[derive(Debug, Serialize)]
struct Part {
    station: u32,
    refused: u64,
    wrote: u64,
    /// The bytes of the line that it writes, as ranges with their ends.
    bytes: Vec<(u32, u32)>,
}

/// Why a line is contended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Stations write the same bytes.
    SameBytes,
    /// Stations write different bytes of the line.
    FalseSharing,
    /// One writes, others read.
    ReadWrite,
}

impl Kind {
    fn of(stations: &[LineStation]) -> Self {
        let writers = || stations.iter().filter(|station| station.bytes != 0);
        if writers().count() < 2 {
            return Self::ReadWrite;
        }
        let (mut all, mut overlap) = (0u64, 0u64);
        for station in writers() {
            overlap |= all & station.bytes;
            all |= station.bytes;
        }
        if overlap == 0 {
            Self::FalseSharing
        } else {
            Self::SameBytes
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::SameBytes => "same bytes",
            Self::FalseSharing => "false sharing",
            Self::ReadWrite => "read and write",
        }
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let credentials = options.target.credentials()?;
    let address = options.target.address();
    let found = plurix::conflicts(address, credentials.clone(), options.limit, options.reset)?;
    let offsets: Vec<u64> = found.lines.iter().map(offset_of).collect();
    let places = if offsets.is_empty() {
        Vec::new()
    } else {
        options.target.observe()?.locate(&offsets)?
    };
    let told = Told::new(found, places);
    if options.json {
        output::line(serde_json::to_string_pretty(&told)?);
    } else {
        show(&told);
    }
    Ok(Exit::Done)
}

/// Where a line begins; of its bytes, the first that somebody writes says which block it is about.
fn offset_of(line: &LineConflicts) -> u64 {
    let bytes = line
        .stations
        .iter()
        .fold(0, |all, station| all | station.bytes);
    let first = if bytes == 0 {
        0
    } else {
        bytes.trailing_zeros()
    };
    let line_begin = u64::from(line.page.0) * PAGE_BYTES + u64::from(line.line) * LINE_BYTES;
    line_begin + u64::from(first)
}

impl Told {
    fn new(found: Conflicts, places: Vec<Place>) -> Self {
        let lines = found.lines.into_iter().zip(places);
        let lines: Vec<_> = lines.map(|(line, place)| Line::new(&line, place)).collect();
        Self {
            refused: found.refused,
            since_ms: found.since_ms,
            advice: advice(&lines),
            lines,
        }
    }
}

impl Line {
    fn new(found: &LineConflicts, place: Place) -> Self {
        let part = |station: &LineStation| Part {
            station: station.station,
            refused: station.refused,
            wrote: station.wrote,
            bytes: ranges(station.bytes),
        };
        Self {
            place,
            page: found.page.0,
            line: found.line,
            count: found.count,
            error: found.error,
            kind: Kind::of(&found.stations),
            stations: found.stations.iter().map(part).collect(),
            others: found.others,
        }
    }

    fn writers(&self) -> Vec<u32> {
        let writers = self.stations.iter().filter(|part| !part.bytes.is_empty());
        writers.map(|part| part.station).collect()
    }

    /// What it belongs to, in words.
    fn belongs_to(&self) -> String {
        let place = &self.place;
        match (&place.root, place.guessed_steps) {
            (Some(root), None) => format!("{}: root {root}", place.what),
            (Some(root), Some(_)) => format!("{}: reached from root {root} (guess)", place.what),
            (None, _) => place.what.clone(),
        }
    }
}

/// The runs of set bits, with their ends.
fn ranges(mut bits: u64) -> Vec<(u32, u32)> {
    let (mut ranges, mut at) = (Vec::new(), 0);
    while bits != 0 {
        let skip = bits.trailing_zeros();
        bits >>= skip;
        let length = bits.trailing_ones();
        ranges.push((at + skip, at + skip + length));
        at += skip + length;
        bits = bits.checked_shr(length).unwrap_or(0);
    }
    ranges
}

/// What can be done, the worst first.
fn advice(lines: &[Line]) -> Vec<String> {
    let mut advice = Vec::new();
    let mut blocks: BTreeMap<u64, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        if let Some(block) = line.place.block {
            blocks.entry(block).or_default().push(line);
        }
        let stations = list(&line.writers());
        let at = format!("{:#x}", line.place.offset);
        match line.kind {
            _ if line.place.block.is_none() => {}
            Kind::FalseSharing => advice.push(format!(
                "{at}: stations {stations} write different bytes of one line: give each its own line, \
                 e.g. by #[repr(align(64))], or a striped Counter"
            )),
            Kind::SameBytes => advice.push(format!(
                "{at}: stations {stations} write the same bytes: keep one value for each station and add \
                 them up when reading (a striped Counter), write without reading (tx.set), or let one \
                 station do it"
            )),
            Kind::ReadWrite => advice.push(format!(
                "{at}: some read a line that others write: move what is written often away from what is \
                 read often, to a line of its own"
            )),
        }
    }
    for (block, lines) in blocks {
        let mut writers: Vec<u32> = lines.iter().flat_map(|line| line.writers()).collect();
        writers.sort_unstable();
        writers.dedup();
        if lines.len() > 1 && writers.len() > 1 {
            advice.push(format!(
                "block {block:#x}: {} of its lines are contended, by stations {}: give each station a \
                 part of its own, or split it into several blocks",
                lines.len(),
                list(&writers)
            ));
        }
    }
    advice
}

fn list(stations: &[u32]) -> String {
    let stations: Vec<_> = stations.iter().map(u32::to_string).collect();
    match stations.as_slice() {
        [] => "(unknown)".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn show(told: &Told) {
    let since = std::time::Duration::from_millis(told.since_ms);
    output::line(format_args!(
        "{} transactions were refused in {}",
        told.refused,
        show_duration(since)
    ));
    if told.lines.is_empty() {
        return;
    }
    let head = ["conflicts", "address", "kind", "stations", "what"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(told.lines.iter().map(|line| {
        let count = match line.error {
            0 => line.count.to_string(),
            error => format!("{}..{}", line.count - error.min(line.count), line.count),
        };
        let part = |part: &Part| {
            let bytes: Vec<_> = part
                .bytes
                .iter()
                .map(|(a, b)| format!("{a}..{b}"))
                .collect();
            match bytes.is_empty() {
                true => format!("{} reads", part.station),
                false => format!("{} writes {}", part.station, bytes.join("+")),
            }
        };
        let mut parts: Vec<_> = line.stations.iter().map(part).collect();
        if line.others {
            parts.push("others".to_owned());
        }
        vec![
            count,
            format!("{:#x}", line.place.offset),
            line.kind.name().to_owned(),
            parts.join(", "),
            line.belongs_to(),
        ]
    }));
    table::lines(&rows).iter().for_each(output::line);
    told.advice.iter().for_each(output::line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(station: u32, bytes: u64) -> LineStation {
        LineStation {
            station,
            bytes,
            ..LineStation::default()
        }
    }

    #[test]
    fn false_sharing_is_told_from_true_conflicts() {
        for (bytes, kind) in [
            ([0xff, 0xff00], Kind::FalseSharing),
            ([0xff, 0x0f], Kind::SameBytes),
            ([0xff, 0], Kind::ReadWrite),
        ] {
            let stations = [station(1, bytes[0]), station(2, bytes[1])];
            assert_eq!(Kind::of(&stations), kind, "{bytes:x?}");
        }
    }

    #[test]
    fn bytes_are_told_as_ranges() {
        assert_eq!(ranges(0), []);
        assert_eq!(ranges(0xf00f), [(0, 4), (12, 16)]);
        assert_eq!(ranges(u64::MAX), [(0, 64)]);
        assert_eq!(ranges(1 << 63), [(63, 64)]);
        assert_eq!(
            (list(&[1]), list(&[1, 3])),
            ("1".to_owned(), "1 and 3".to_owned())
        );
    }
}
