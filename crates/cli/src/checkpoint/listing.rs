//! `plurix checkpoint list`, `show` and `verify`.

use std::time::Duration;

use plurix::CheckpointStatus;
use plurix::checkpoints::{ImageFile, ImageState, ImageVerdict, Inspection, inspect};
use serde::Serialize;

use super::progress::Bar;
use super::{Place, ShowOptions, VerifyOptions, calendar};
use crate::units::{show_bytes, show_duration};
use crate::{Exit, output, table};

/// A checkpoint in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    status: CheckpointStatus,
    age_ms: u64,
}

impl Row {
    pub(super) fn of(status: CheckpointStatus) -> Self {
        let age_ms = age_ms(&status);
        Self { status, age_ms }
    }
}

fn age(status: &CheckpointStatus) -> Duration {
    calendar::age(Duration::from_millis(status.taken_at_ms))
}

/// As [`age`], for JSON.
pub(crate) fn age_ms(status: &CheckpointStatus) -> u64 {
    u64::try_from(age(status).as_millis()).unwrap_or(u64::MAX)
}

/// Number, cut and age of a checkpoint, on part of a line.
pub(crate) fn brief(status: &CheckpointStatus) -> String {
    let age = calendar::show_age(age(status));
    format!("checkpoint {} of {}, {age} old", status.id, cut(status))
}

/// Shows checkpoints, one a line.
pub(super) fn table(checkpoints: &[CheckpointStatus]) {
    let head = [
        "id", "cut", "strategy", "pages", "changed", "carried", "size", "took", "age",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(checkpoints.iter().map(|status| {
        vec![
            status.id.to_string(),
            cut(status),
            status.strategy.clone(),
            status.pages.to_string(),
            status.changed.to_string(),
            status.carried.to_string(),
            show_bytes(status.bytes),
            show_duration(Duration::from_micros(status.took_us)),
            calendar::show_age(age(status)),
        ]
    }));
    table::lines(&rows).iter().for_each(output::line);
}

/// A generation and a commit, as messages have them.
pub(super) fn cut(status: &CheckpointStatus) -> String {
    format!("g{}c{}", status.generation, status.commit)
}

pub(super) fn list(place: &Place) -> anyhow::Result<Exit> {
    let found = inspect(&place.dir)?;
    warn(&found);
    let checkpoints = found.checkpoints().iter();
    let checkpoints: Vec<_> = checkpoints.map(|checkpoint| checkpoint.status()).collect();
    if place.json {
        let rows: Vec<_> = checkpoints.into_iter().map(Row::of).collect();
        output::line(serde_json::to_string_pretty(&rows)?);
    } else if checkpoints.is_empty() {
        output::line("no checkpoint yet; 'plurix checkpoint now' has a page server take one");
    } else {
        table(&checkpoints);
    }
    Ok(Exit::Done)
}

/// Says what is wrong though it can be lived with.
fn warn(found: &Inspection) {
    for passed in found.passed_over() {
        output::note(format_args!(
            "warning: {}; the other one counts",
            passed.why
        ));
    }
}

/// An image in JSON.
#[derive(Debug, Serialize)]
struct Image {
    id: u32,
    bytes: u64,
    pages: u64,
    is_condemned: bool,
}

impl From<&ImageFile> for Image {
    fn from(image: &ImageFile) -> Self {
        Self {
            id: image.id.0,
            bytes: image.bytes,
            pages: image.pages,
            is_condemned: image.is_condemned,
        }
    }
}

/// Everything of a checkpoint in JSON.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    row: Row,
    cluster: String,
    heap_bytes: u64,
    files: Vec<Image>,
}

pub(super) fn show(options: &ShowOptions) -> anyhow::Result<Exit> {
    let found = inspect(&options.place.dir)?;
    warn(&found);
    let checkpoint = found.checkpoint(options.id)?;
    let images = found.images(checkpoint);
    let status = checkpoint.status();
    if options.place.json {
        let whole = Whole {
            row: Row::of(status),
            cluster: found.cluster().to_string(),
            heap_bytes: found.heap_bytes(),
            files: images.iter().map(Image::from).collect(),
        };
        output::line(serde_json::to_string_pretty(&whole)?);
        return Ok(Exit::Done);
    }
    let taken = Duration::from_millis(status.taken_at_ms);
    for line in [
        format!("checkpoint  {}, {}", status.id, status.strategy),
        format!(
            "cut         commit {} of generation {}, made in term {}",
            status.commit, status.generation, status.term
        ),
        format!(
            "taken       {}, {} ago, in {}",
            calendar::date(taken),
            calendar::show_age(age(&status)),
            show_duration(Duration::from_micros(status.took_us))
        ),
        format!(
            "heap        {} pages, {}, of {}",
            status.pages,
            show_bytes(status.pages * 4096),
            show_bytes(found.heap_bytes())
        ),
        format!(
            "written     {}: {} changed pages, {} carried",
            show_bytes(status.bytes),
            status.changed,
            status.carried
        ),
        format!("cluster     {}", found.cluster()),
    ] {
        output::line(line);
    }
    let mut rows = vec![["image", "pages", "size", ""].map(str::to_owned).to_vec()];
    rows.extend(images.iter().map(|image| {
        let condemned = if image.is_condemned { "damaged" } else { "" };
        vec![
            image.id.0.to_string(),
            image.pages.to_string(),
            show_bytes(image.bytes),
            condemned.to_owned(),
        ]
    }));
    let lines = table::lines(&rows);
    lines
        .iter()
        .map(|line| line.trim_end())
        .for_each(output::line);
    Ok(Exit::Done)
}

/// What was found, in JSON.
#[derive(Debug, Serialize)]
struct Verified {
    is_whole: bool,
    checkpoints: Vec<Verdict>,
    files: Vec<VerifiedImage>,
}

#[derive(Debug, Serialize)]
struct Verdict {
    id: u32,
    is_whole: bool,
}

#[derive(Debug, Serialize)]
struct VerifiedImage {
    #[serde(flatten)]
    image: Image,
    state: &'static str,
    why: Option<String>,
}

pub(super) fn verify(options: &VerifyOptions) -> anyhow::Result<Exit> {
    let found = inspect(&options.place.dir)?;
    warn(&found);
    let chosen = match options.id {
        Some(_) => vec![found.checkpoint(options.id)?],
        None => found.checkpoints().iter().collect(),
    };
    let mut bar = Bar::new("verifying");
    let verdicts = found.verify(&chosen, &mut |done, total| bar.update(done, total));
    bar.end();
    let is_whole = |images: &[plurix::CheckpointId]| {
        let damaged = verdicts
            .iter()
            .filter(|verdict| matches!(verdict.state, ImageState::Damaged(_)));
        damaged
            .map(|verdict| verdict.image.id)
            .all(|id| !images.contains(&id))
    };
    let verdict = |checkpoint: &&plurix::Checkpoint| Verdict {
        id: checkpoint.id.0,
        is_whole: is_whole(&checkpoint.images),
    };
    let checkpoints: Vec<_> = chosen.iter().map(verdict).collect();
    let all_whole = checkpoints.iter().all(|verdict| verdict.is_whole);
    if options.place.json {
        let verified = Verified {
            is_whole: all_whole,
            checkpoints,
            files: verdicts.iter().map(VerifiedImage::from).collect(),
        };
        output::line(serde_json::to_string_pretty(&verified)?);
    } else {
        for verdict in verdicts.iter().filter_map(what_is_wrong) {
            output::line(verdict);
        }
        for Verdict { id, is_whole } in checkpoints {
            let state = if is_whole { "whole" } else { "damaged" };
            output::line(format_args!("checkpoint {id} is {state}"));
        }
    }
    if !all_whole {
        output::note("error: there is damage; restore the files named from a copy");
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

fn what_is_wrong(verdict: &ImageVerdict) -> Option<String> {
    match &verdict.state {
        ImageState::Whole => None,
        ImageState::Removed => Some(format!(
            "image {} was removed by the page server meanwhile",
            verdict.image.id.0
        )),
        ImageState::Damaged(error) => Some(error.to_string()),
    }
}

impl From<&ImageVerdict> for VerifiedImage {
    fn from(verdict: &ImageVerdict) -> Self {
        let state = match &verdict.state {
            ImageState::Whole => "whole",
            ImageState::Removed => "removed",
            ImageState::Damaged(_) => "damaged",
        };
        Self {
            image: Image::from(&verdict.image),
            state,
            why: what_is_wrong(verdict),
        }
    }
}
