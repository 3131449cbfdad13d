//! `plurix roots`: the names of a heap and what they stand for.

use clap::Args;

use crate::observer::Target;
use crate::units::show_bytes;
use crate::{Exit, output, table};

const EXAMPLES: &str = "\
Examples:
  plurix roots 127.0.0.1:7700
  plurix roots node-1:7700 --keys keys --json | jq '.[] | [.name, .bytes]'

The type is a fingerprint of the layout: two roots with the same one hold the same kind of value.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let roots = options.target.observe()?.roots()?;
    if options.json {
        output::line(serde_json::to_string_pretty(&roots)?);
        return Ok(Exit::Done);
    }
    if roots.is_empty() {
        output::line("the heap has no roots");
        return Ok(Exit::Done);
    }
    let mut rows = vec![
        ["name", "type", "offset", "bytes"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(roots.iter().map(|root| {
        vec![
            root.name.clone(),
            format!("{:016x}", root.fingerprint),
            format!("{:#x}", root.offset),
            show_bytes(root.bytes),
        ]
    }));
    table::lines(&rows).iter().for_each(output::line);
    Ok(Exit::Done)
}
