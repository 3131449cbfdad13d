//! `plurix pages`: what the pages of a heap are, who holds them, and which commit wrote them last.

use std::str::FromStr;

use clap::Args;
use plurix::{PageBlock, PageUse, RunInsight};
use serde::Serialize;

use crate::observer::Target;
use crate::units::show_bytes;
use crate::{Exit, output, table};

const EXAMPLES: &str = "\
Examples:
  plurix pages 127.0.0.1:7700
  plurix pages node-1:7700 --range 65568..66000 --json | jq '.[] | select(.use == \"slab\")'

A page has 4 KiB. Of a long block the page server is asked about the first pages only.";

const PAGE_BYTES: u64 = 4096;
/// Pages of one block that the page server is asked about; it answers so many times as many at once.
const ASKED_PAGES: u64 = 256;
const ASKED_BLOCKS: usize = 4096;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// The pages FIRST..END, END not among them; either may be left out.
    #[arg(long, default_value = "..")]
    range: Range,
    /// So many blocks at most.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Some pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    end: u64,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' are no pages; write them like 32..100, 32.. or ..100");
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str, default: u64| match text {
            "" => Ok(default),
            _ => text.parse().map_err(|_| wrong()),
        };
        let first = u32::try_from(number(first, 0)?).map_err(|_| wrong())?;
        let end = number(end, u64::MAX)?;
        if u64::from(first) >= end {
            return Err(wrong());
        }
        Ok(Self { first, end })
    }
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    block: PageBlock,
    /// How many of its pages somebody holds, of those that were asked about.
    held_pages: u64,
    asked_pages: u64,
    /// The lives that hold any of these.
    holders: Vec<u64>,
    /// The newest commit that wrote any of them; none if none did.
    last_commit: Option<u64>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let Range { first, end } = options.range;
    let blocks = options
        .target
        .observe()?
        .page_map(first, end, options.limit)?;
    let credentials = options.target.credentials()?;
    let mut told = Vec::new();
    for some in blocks.chunks(ASKED_BLOCKS) {
        let runs: Vec<_> = some.iter().map(asked).collect();
        let found = plurix::page_holders(options.target.address(), credentials.clone(), &runs)?;
        let some = some.iter().zip(&runs).zip(&found);
        told.extend(some.map(|((block, run), found)| Told::of(block, run.1, found)));
    }
    if options.json {
        output::line(serde_json::to_string_pretty(&told)?);
    } else {
        show(&told);
    }
    Ok(Exit::Done)
}

/// What the page server is asked about a block.
fn asked(block: &PageBlock) -> (u32, u32) {
    (block.page, block.pages.min(ASKED_PAGES) as u32)
}

impl Told {
    fn of(block: &PageBlock, asked: u32, found: &RunInsight) -> Self {
        Self {
            block: block.clone(),
            held_pages: found.held_pages,
            asked_pages: asked.into(),
            holders: found.holders.iter().map(|life| life.0).collect(),
            last_commit: (found.version > 0).then_some(found.version),
        }
    }
}

fn show(told: &[Told]) {
    let head = [
        "page",
        "pages",
        "bytes",
        "what",
        "held",
        "stations",
        "last commit",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(told.iter().map(|one| {
        let what = match &one.block.what {
            PageUse::Management { part } => (*part).to_owned(),
            PageUse::Free => "free".to_owned(),
            PageUse::Idle { arena } => format!("idle, arena {arena}"),
            PageUse::Slab {
                arena,
                block_bytes,
                blocks,
                used,
            } => format!("slab of {block_bytes} B, {used} of {blocks} used, arena {arena}"),
            PageUse::Run => "block".to_owned(),
            _ => "other".to_owned(),
        };
        let more = if one.block.pages > one.asked_pages {
            "+"
        } else {
            ""
        };
        vec![
            one.block.page.to_string(),
            one.block.pages.to_string(),
            show_bytes(one.block.pages * PAGE_BYTES),
            what,
            format!("{}{more}", one.held_pages),
            one.holders.len().to_string(),
            one.last_commit
                .map_or("-".to_owned(), |commit| commit.to_string()),
        ]
    }));
    table::lines(&rows).iter().for_each(output::line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let range = |first, end| Ok(Range { first, end });
        assert_eq!("3..7".parse(), range(3, 7));
        assert_eq!("3..".parse(), range(3, u64::MAX));
        assert_eq!("..".parse(), range(0, u64::MAX));
        for wrong in ["", "3", "7..3", "3..3", "a..b", "-1..2", "99999999999.."] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }
}
