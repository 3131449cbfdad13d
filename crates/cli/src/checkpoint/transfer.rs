//! `plurix checkpoint export`, `import` and `prune`.

use std::path::PathBuf;

use clap::Args;
use plurix::checkpoints::{self, inspect};
use plurix::{CheckpointId, Compression};
use serde::Serialize;

use super::progress::Bar;
use super::{listing, parse_id};
use crate::server_settings::Compress;
use crate::units::{parse_bytes, show_bytes};
use crate::{Exit, output};

const EXPORT_EXAMPLES: &str = "\
Examples:
  plurix checkpoint export heap.plurix --dir heap
      the newest one; the page server may go on meanwhile
  plurix checkpoint export old.plurix 12 --dir heap --compress zstd --force";

#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(super) struct ExportOptions {
    /// The file to write.
    file: PathBuf,
    /// Which checkpoint [default: the newest].
    #[arg(value_name = "N", value_parser = parse_id)]
    id: Option<CheckpointId>,
    /// The page server's directory; it may be running.
    #[arg(long)]
    dir: PathBuf,
    /// How pages are compressed in the file.
    #[arg(long, value_enum, default_value_t = Compress::None)]
    compress: Compress,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  plurix checkpoint import heap.plurix --dir copy
  plurix page-server --dir copy
      goes on from there
  plurix checkpoint import heap.plurix --dir twin --new-cluster
      another cluster, which may run beside the first

Without --new-cluster the copy is the same cluster: run either it or the original from now on. If both
run, commits of the one have the numbers of the other, and a station that has been in both mixes them.";

#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(super) struct ImportOptions {
    /// The file that 'plurix checkpoint export' has written.
    file: PathBuf,
    /// The directory to make; it must be empty, if it is there.
    #[arg(long)]
    dir: PathBuf,
    /// Draw another cluster id, so that stations of the original never take the copy for it.
    #[arg(long)]
    new_cluster: bool,
    /// Size of the first segment of the log.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_bytes)]
    segment_bytes: u64,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

const PRUNE_EXAMPLES: &str = "\
Example:
  plurix checkpoint prune --dir heap --keep 2

A running page server removes old checkpoints itself, and keeps as many as its own --keep says.";

#[derive(Debug, Args)]
#[command(after_help = PRUNE_EXAMPLES)]
pub(super) struct PruneOptions {
    /// The page server's directory; none may be running there.
    #[arg(long)]
    dir: PathBuf,
    /// How many are kept, two at least: the newest may turn out to be damaged.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000))]
    keep: u32,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// What was written, in JSON.
#[derive(Debug, Serialize)]
struct Exported {
    file: String,
    file_bytes: u64,
    checkpoint: listing::Row,
}

pub(super) fn export(options: &ExportOptions) -> anyhow::Result<Exit> {
    let found = inspect(&options.dir)?;
    let how = checkpoints::ExportOptions {
        compression: Compression::from(options.compress),
        replaces: options.force,
    };
    let mut bar = Bar::new("exporting");
    let exported = found.export(options.id, &options.file, how, &mut |done, total| {
        bar.update(done, total);
    });
    bar.end();
    let exported = exported?;
    let status = exported.checkpoint.status();
    if options.json {
        output::line(serde_json::to_string_pretty(&Exported {
            file: options.file.display().to_string(),
            file_bytes: exported.bytes,
            checkpoint: listing::Row::of(status),
        })?);
    } else {
        output::line(format_args!(
            "checkpoint {} at {}, {} pages, is in {}: {}",
            status.id,
            listing::cut(&status),
            status.pages,
            options.file.display(),
            show_bytes(exported.bytes)
        ));
    }
    Ok(Exit::Done)
}

/// What was made, in JSON.
#[derive(Debug, Serialize)]
struct Imported {
    dir: String,
    cluster: String,
    heap_bytes: u64,
    exported_as: u32,
    checkpoint: listing::Row,
}

pub(super) fn import(options: &ImportOptions) -> anyhow::Result<Exit> {
    let mut bar = Bar::new("importing");
    let imported = checkpoints::import(
        &options.file,
        &options.dir,
        options.segment_bytes,
        options.new_cluster,
        &mut |done, total| bar.update(done, total),
    );
    bar.end();
    let imported = imported?;
    let status = imported.checkpoint.status();
    let dir = options.dir.display();
    if options.json {
        output::line(serde_json::to_string_pretty(&Imported {
            dir: dir.to_string(),
            cluster: imported.cluster.to_string(),
            heap_bytes: imported.heap_bytes,
            exported_as: imported.exported.0,
            checkpoint: listing::Row::of(status),
        })?);
    } else {
        output::line(format_args!(
            "{dir} holds cluster {} at {}, {} pages; go on with: plurix page-server --dir {dir}",
            imported.cluster,
            listing::cut(&status),
            status.pages
        ));
    }
    Ok(Exit::Done)
}

/// What was removed, in JSON.
#[derive(Debug, Serialize)]
struct Pruned {
    freed_bytes: u64,
    removed: Vec<listing::Row>,
    left: Vec<listing::Row>,
}

pub(super) fn prune(options: &PruneOptions) -> anyhow::Result<Exit> {
    let pruned = checkpoints::prune(&options.dir, options.keep as usize)?;
    let status = |all: &[plurix::Checkpoint]| -> Vec<_> {
        all.iter().map(plurix::Checkpoint::status).collect()
    };
    let (removed, left) = (status(&pruned.removed), status(&pruned.left));
    if options.json {
        let rows = |all: Vec<_>| all.into_iter().map(listing::Row::of).collect();
        output::line(serde_json::to_string_pretty(&Pruned {
            freed_bytes: pruned.freed_bytes,
            removed: rows(removed),
            left: rows(left),
        })?);
    } else {
        output::line(format_args!(
            "removed {} of {} checkpoints, {} of images and log",
            removed.len(),
            removed.len() + left.len(),
            show_bytes(pruned.freed_bytes)
        ));
        listing::table(&left);
    }
    Ok(Exit::Done)
}
