//! `plurix checkpoint diff`.

use std::path::PathBuf;

use clap::Args;
use plurix::CheckpointId;
use plurix::checkpoints::{PageDifference, inspect};
use serde::Serialize;

use super::parse_id;
use super::progress::Bar;
use crate::{Exit, output, table};

const EXAMPLES: &str = "\
Examples:
  plurix checkpoint diff 16 17 --dir heap
  plurix checkpoint diff 16 17 --dir heap --json | jq '.runs[0]'

Pages are numbered from 0, and have 64 lines of 64 bytes.";

/// Runs of pages that people are shown.
const RUNS_SHOWN: usize = 20;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DiffOptions {
    /// One checkpoint.
    #[arg(value_name = "A", value_parser = parse_id)]
    a: CheckpointId,
    /// The other one.
    #[arg(value_name = "B", value_parser = parse_id)]
    b: CheckpointId,
    /// The page server's directory; it may be running.
    #[arg(long)]
    dir: PathBuf,
    /// Answer in JSON, with all runs of pages.
    #[arg(long)]
    json: bool,
}

/// What differs, in JSON.
#[derive(Debug, Serialize)]
struct Found {
    a: u32,
    b: u32,
    pages: u64,
    pages_changed: u64,
    lines_changed: u64,
    bytes_changed: u64,
    runs: Vec<Run>,
}

/// Pages in a row that differ.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Run {
    first_page: u32,
    pages: u32,
    lines: u64,
    bytes: u64,
}

impl Run {
    /// The fewest runs that are just these pages, which ascend.
    fn of(pages: &[PageDifference]) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for page in pages {
            let (lines, bytes) = (u64::from(page.lines.0.count_ones()), u64::from(page.bytes));
            match runs.last_mut() {
                Some(run) if run.first_page + run.pages == page.page.0 => {
                    run.pages += 1;
                    run.lines += lines;
                    run.bytes += bytes;
                }
                _ => runs.push(Self {
                    first_page: page.page.0,
                    pages: 1,
                    lines,
                    bytes,
                }),
            }
        }
        runs
    }
}

pub(super) fn diff(options: &DiffOptions) -> anyhow::Result<Exit> {
    let found = inspect(&options.dir)?;
    let mut bar = Bar::new("comparing");
    let difference = found.diff(options.a, options.b, &mut |done, total| {
        bar.update(done, total);
    });
    bar.end();
    let difference = difference?;
    let runs = Run::of(&difference.changed);
    let found = Found {
        a: options.a.0,
        b: options.b.0,
        pages: difference.pages,
        pages_changed: difference.changed.len() as u64,
        lines_changed: runs.iter().map(|run| run.lines).sum(),
        bytes_changed: runs.iter().map(|run| run.bytes).sum(),
        runs,
    };
    if options.json {
        output::line(serde_json::to_string_pretty(&found)?);
    } else {
        show(&found);
    }
    Ok(Exit::Done)
}

fn show(found: &Found) {
    output::line(format_args!(
        "checkpoints {} and {}: {} of {} pages differ, in {} lines and {} bytes",
        found.a,
        found.b,
        found.pages_changed,
        found.pages,
        found.lines_changed,
        found.bytes_changed
    ));
    if found.runs.is_empty() {
        return;
    }
    let mut rows = vec![
        ["from page", "pages", "lines", "bytes"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let shown = found.runs.iter().take(RUNS_SHOWN);
    rows.extend(shown.map(|run| {
        let numbers = [
            run.first_page.into(),
            run.pages.into(),
            run.lines,
            run.bytes,
        ];
        numbers.map(|number: u64| number.to_string()).to_vec()
    }));
    table::lines(&rows).iter().for_each(output::line);
    let more = found.runs.len().saturating_sub(RUNS_SHOWN);
    if more > 0 {
        output::line(format_args!("and {more} more; --json has all"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_in_a_row_are_one_run() {
        let page = |page: u32| PageDifference {
            page: plurix::checkpoints::PageNumber(page),
            lines: plurix::checkpoints::LineMask(0b101),
            bytes: 7,
        };
        let run = |first_page, pages| Run {
            first_page,
            pages,
            lines: 2 * u64::from(pages),
            bytes: 7 * u64::from(pages),
        };
        let runs = Run::of(&[3, 4, 5, 9].map(page));
        assert_eq!(runs, [run(3, 3), run(9, 1)]);
        assert_eq!(Run::of(&[]), []);
    }
}
