//! The manifest: which checkpoints there are, of which images each is made, and where the log goes on
//! behind it. A checkpoint exists from the moment in which a manifest that names it is on disk.
//!
//! There are two files, written in turn; the one with the higher sequence counts. If it is damaged,
//! the other still names the checkpoint before, and what that needs is kept.

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::CheckpointStatus;
use plurix_wire::record::{ALIGN, Stamp};
use plurix_wire::{CheckpointId, ClusterId, CommitNumber, Generation, Term};

use crate::error::NoSuchCheckpoint;
use crate::identity::array;
use crate::image::IMAGE_VERSION;
use crate::preamble::{self, Fault};
use crate::segment;

/// The two files.
pub(crate) const NAMES: [&str; 2] = ["manifest.0", "manifest.1"];
/// Longer than any manifest that was written.
pub(crate) const BYTES_MAX: u64 = 64 << 20;

const MAGIC: &[u8; 8] = b"PLURIXMF";
const HEAD_BYTES: usize = 64;
const IMAGE_BYTES: usize = 32;
const CHECKPOINT_BYTES: usize = 104;

/// How the pages of a checkpoint were collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Everybody waited until the image was on disk.
    Blocking,
    /// Nobody waited: a page about to change before it was collected was copied first.
    #[default]
    NonBlocking,
    /// The log was folded into images.
    Log,
    /// It is an earlier one, to which the heap went back.
    Restored,
    /// It came from a file.
    Imported,
}

impl Strategy {
    const ALL: [Self; 5] = [
        Self::Blocking,
        Self::NonBlocking,
        Self::Log,
        Self::Restored,
        Self::Imported,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::NonBlocking => "nonblocking",
            Self::Log => "log",
            Self::Restored => "restored",
            Self::Imported => "imported",
        }
    }

    /// Whether the log behind it is a new one, which no older checkpoint leads to.
    pub(crate) fn begins_log(self) -> bool {
        matches!(self, Self::Restored | Self::Imported)
    }

    fn number(self) -> u8 {
        match self {
            Self::Blocking => 0,
            Self::NonBlocking => 1,
            Self::Log => 2,
            Self::Restored => 3,
            Self::Imported => 4,
        }
    }
}

/// A place between two records of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Position {
    /// The segment; zero if the log does not lead on from here.
    pub(crate) segment: u64,
    /// Where the next record stands, or would.
    pub(crate) at: u64,
    /// Where the record before stands; zero if there is none in this segment.
    pub(crate) last_at: u64,
}

impl Position {
    fn is_possible(self) -> bool {
        let begin = segment::HEAD_BYTES as u64;
        let is_aligned = [self.at, self.last_at]
            .iter()
            .all(|at| at % ALIGN as u64 == 0);
        let is_behind_last = match self.last_at {
            0 => self.at == begin,
            last_at => (begin..self.at).contains(&last_at),
        };
        self == Self::default()
            || (self.segment > 0
                && is_aligned
                && is_behind_last
                && self.at <= segment::SEGMENT_BYTES_MAX)
    }
}

/// A durable image of the heap at a cut.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Its number, and that of the image written for it.
    pub id: CheckpointId,
    /// The stamp of the newest commit in it: the cut.
    pub cut: Stamp,
    /// How its pages were collected.
    pub strategy: Strategy,
    /// When it was complete, in milliseconds since 1970.
    pub taken_at_ms: u64,
    /// From the cut to its completion, in microseconds.
    pub took_us: u64,
    /// Pages of the heap that it holds with the images before it.
    pub pages: u64,
    /// Pages written because they had changed.
    pub changed: u64,
    /// Pages written because the images that held them are being emptied.
    pub carried: u64,
    /// Length of its image, in bytes.
    pub bytes: u64,
    /// The images that it is made of, ascending; the last is its own.
    pub images: Vec<CheckpointId>,
    /// Where the log goes on.
    pub(crate) position: Position,
}

impl Checkpoint {
    /// What people are told of it.
    #[must_use]
    pub fn status(&self) -> CheckpointStatus {
        CheckpointStatus {
            id: self.id.0,
            generation: self.cut.generation.0,
            term: self.cut.term.0,
            commit: self.cut.number.0,
            strategy: self.strategy.name().to_owned(),
            taken_at_ms: self.taken_at_ms,
            took_us: self.took_us,
            pages: self.pages,
            changed: self.changed,
            carried: self.carried,
            bytes: self.bytes,
            images: self.images.len() as u64,
        }
    }
}

/// An image that a checkpoint is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageRecord {
    pub(crate) id: CheckpointId,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Pages in it.
    pub(crate) entries: u64,
    pub(crate) footer_crc: u32,
    /// It was found damaged: no checkpoint made of it is to be used.
    pub(crate) damaged: bool,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Manifest {
    pub(crate) cluster: ClusterId,
    /// Rises with each manifest written.
    pub(crate) sequence: u64,
    /// Numbers up to here were given.
    pub(crate) newest_id: CheckpointId,
    /// Ascending by number.
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Ascending by number; those that a checkpoint is made of.
    pub(crate) images: Vec<ImageRecord>,
}

impl Manifest {
    /// The file to be written with the present sequence.
    pub(crate) fn name(&self) -> &'static str {
        NAMES[(self.sequence % 2) as usize]
    }

    pub(crate) fn image(&self, id: CheckpointId) -> Option<&ImageRecord> {
        let at = self.images.binary_search_by_key(&id, |image| image.id);
        at.ok().map(|at| &self.images[at])
    }

    /// The checkpoint `id`, or the newest.
    pub(crate) fn checkpoint(
        &self,
        id: Option<CheckpointId>,
    ) -> Result<&Checkpoint, NoSuchCheckpoint> {
        let newest = self.checkpoints.last().ok_or(NoSuchCheckpoint::None)?;
        let Some(id) = id else {
            return Ok(newest);
        };
        let found = self.checkpoints.iter().find(|known| known.id == id);
        found.ok_or_else(|| NoSuchCheckpoint::Unknown {
            id,
            known: self.checkpoints.iter().map(|known| known.id).collect(),
        })
    }

    /// Drops all checkpoints but the newest `count`, with what only they are made of.
    pub(crate) fn keep(&mut self, count: usize) {
        let surplus = self.checkpoints.len().saturating_sub(count);
        self.checkpoints.drain(..surplus);
        self.forget_unused_images();
    }

    /// Drops the records of images that no checkpoint is made of.
    pub(crate) fn forget_unused_images(&mut self) {
        let checkpoints = &self.checkpoints;
        self.images.retain(|image| {
            checkpoints
                .iter()
                .any(|checkpoint| checkpoint.images.contains(&image.id))
        });
    }

    /// The first segment of the log that is needed: behind the second newest checkpoint, so that the
    /// newest may turn out to be damaged and nothing is lost. Where the heap went back, what is older
    /// leads elsewhere, and the log behind it tells what has not happened.
    pub(crate) fn log_needed_from(&self) -> u64 {
        if let Some(newest) = self.checkpoints.last()
            && newest.strategy.begins_log()
        {
            return newest.position.segment;
        }
        let mut newest = self.checkpoints.iter().rev();
        let spared = usize::from(!canary::strikes(Canary::DropLogEarly));
        newest
            .nth(spared)
            .map_or(0, |second| second.position.segment)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&IMAGE_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.cluster.0);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&u64::from(self.newest_id.0).to_le_bytes());
        out.extend_from_slice(&(self.checkpoints.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.images.len() as u32).to_le_bytes());
        out.resize(HEAD_BYTES, 0);
        for image in &self.images {
            out.extend_from_slice(&image.id.0.to_le_bytes());
            out.extend_from_slice(&image.footer_crc.to_le_bytes());
            out.extend_from_slice(&image.bytes.to_le_bytes());
            out.extend_from_slice(&image.entries.to_le_bytes());
            out.extend_from_slice(&u64::from(image.damaged).to_le_bytes());
        }
        for checkpoint in &self.checkpoints {
            encode_checkpoint(checkpoint, &mut out);
        }
        preamble::write_checksum(&mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        preamble::check(
            bytes,
            MAGIC,
            IMAGE_VERSION,
            "it does not begin with PLURIXMF",
        )?;
        if bytes.len() < HEAD_BYTES {
            return Err(Fault::Damaged("it is too short"));
        }
        let mut input = Input(&bytes[16..HEAD_BYTES]);
        let impossible = Fault::Damaged("its contents are impossible");
        let head = input.head().ok_or(impossible.clone())?;
        let (mut manifest, checkpoints, images) = head;
        let mut input = Input(&bytes[HEAD_BYTES..]);
        let read = (0..images)
            .map(|_| input.image())
            .collect::<Option<Vec<_>>>()
            .zip(
                (0..checkpoints)
                    .map(|_| input.checkpoint())
                    .collect::<Option<Vec<_>>>(),
            );
        let (images, checkpoints) = read.ok_or(impossible.clone())?;
        (manifest.images, manifest.checkpoints) = (images, checkpoints);
        if !input.0.is_empty() || !manifest.is_consistent() {
            return Err(impossible);
        }
        Ok(manifest)
    }

    /// Whether numbers ascend and have successors, and every checkpoint is made of images that there
    /// are and leads on to a place that a segment can have.
    fn is_consistent(&self) -> bool {
        let images = self.images.windows(2).all(|pair| pair[0].id < pair[1].id)
            && self.images.first().is_none_or(|image| image.id.0 > 0);
        let has_successor = self.sequence < u64::MAX && self.newest_id.0 < u32::MAX;
        let checkpoints = self
            .checkpoints
            .windows(2)
            .all(|pair| pair[0].id < pair[1].id);
        let newest = self
            .checkpoints
            .last()
            .is_none_or(|last| last.id <= self.newest_id);
        let parts = self.checkpoints.iter().all(|checkpoint| {
            checkpoint.images.iter().all(|id| self.image(*id).is_some())
                && checkpoint.images.windows(2).all(|pair| pair[0] < pair[1])
                && checkpoint.images.last() == Some(&checkpoint.id)
                && checkpoint.cut.has_successor()
                && checkpoint.position.is_possible()
        });
        images && has_successor && checkpoints && newest && parts
    }
}

fn encode_checkpoint(checkpoint: &Checkpoint, out: &mut Vec<u8>) {
    let Checkpoint {
        id,
        cut,
        strategy,
        taken_at_ms,
        took_us,
        pages,
        changed,
        carried,
        bytes,
        images,
        position,
    } = checkpoint;
    out.extend_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&cut.generation.0.to_le_bytes());
    out.extend_from_slice(&cut.term.0.to_le_bytes());
    out.extend_from_slice(&cut.number.0.to_le_bytes());
    out.extend_from_slice(&position.segment.to_le_bytes());
    out.extend_from_slice(&position.at.to_le_bytes());
    out.extend_from_slice(&position.last_at.to_le_bytes());
    out.extend_from_slice(&taken_at_ms.to_le_bytes());
    out.extend_from_slice(&took_us.to_le_bytes());
    out.extend_from_slice(&pages.to_le_bytes());
    out.extend_from_slice(&changed.to_le_bytes());
    out.extend_from_slice(&carried.to_le_bytes());
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(&[strategy.number(), 0, 0, 0]);
    out.extend_from_slice(&(images.len() as u32).to_le_bytes());
    for image in images {
        out.extend_from_slice(&image.0.to_le_bytes());
    }
}

/// What is left to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(array(self.take(4)?, 0)))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(array(self.take(8)?, 0)))
    }

    /// The manifest without its lists, and how many checkpoints and images follow.
    fn head(&mut self) -> Option<(Manifest, u32, u32)> {
        let manifest = Manifest {
            cluster: ClusterId(array(self.take(16)?, 0)),
            sequence: self.u64()?,
            newest_id: CheckpointId(u32::try_from(self.u64()?).ok()?),
            ..Manifest::default()
        };
        Some((manifest, self.u32()?, self.u32()?))
    }

    fn image(&mut self) -> Option<ImageRecord> {
        let mut input = Self(self.take(IMAGE_BYTES)?);
        Some(ImageRecord {
            id: CheckpointId(input.u32()?),
            footer_crc: input.u32()?,
            bytes: input.u64()?,
            entries: input.u64()?,
            damaged: input.u64()? != 0,
        })
    }

    fn checkpoint(&mut self) -> Option<Checkpoint> {
        let mut input = Self(self.take(CHECKPOINT_BYTES)?);
        let id = CheckpointId(input.u32()?);
        let cut = Stamp {
            generation: Generation(input.u32()?),
            term: Term(input.u64()?),
            number: CommitNumber(input.u64()?),
        };
        let position = Position {
            segment: input.u64()?,
            at: input.u64()?,
            last_at: input.u64()?,
        };
        let [taken_at_ms, took_us, pages, changed, carried, bytes] = [(); 6].map(|()| input.u64());
        let strategy = usize::from(input.take(4)?[0]);
        let images = input.u32()? as usize;
        let images = self.take(images.checked_mul(4)?)?;
        Some(Checkpoint {
            id,
            cut,
            strategy: *Strategy::ALL.get(strategy)?,
            taken_at_ms: taken_at_ms?,
            took_us: took_us?,
            pages: pages?,
            changed: changed?,
            carried: carried?,
            bytes: bytes?,
            images: images
                .chunks_exact(4)
                .map(|id| CheckpointId(u32::from_le_bytes(array(id, 0))))
                .collect(),
            position,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preamble::testing;

    fn sample() -> Manifest {
        let image = |id| ImageRecord {
            id: CheckpointId(id),
            bytes: 4096 * u64::from(id),
            entries: 5,
            footer_crc: 9,
            damaged: id == 2,
        };
        let checkpoint = |id, strategy| Checkpoint {
            id: CheckpointId(id),
            cut: Stamp {
                generation: Generation(1),
                term: Term(2),
                number: CommitNumber(u64::from(id) * 100),
            },
            strategy,
            taken_at_ms: 1,
            took_us: 2,
            pages: 3,
            changed: 4,
            carried: 5,
            bytes: 6,
            images: (1..=id).map(CheckpointId).collect(),
            position: Position {
                segment: 7,
                at: 256,
                last_at: 200,
            },
        };
        Manifest {
            cluster: ClusterId([4; 16]),
            sequence: 17,
            newest_id: CheckpointId(4),
            checkpoints: vec![
                checkpoint(2, Strategy::Blocking),
                checkpoint(3, Strategy::Log),
            ],
            images: (1..=3).map(image).collect(),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        for manifest in [sample(), Manifest::default()] {
            assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }
    }

    #[test]
    fn flips_versions_and_truncations_are_noticed() {
        let bytes = sample().encode();
        testing::flips_and_versions_are_noticed(&bytes, Manifest::decode);
        testing::truncations_are_noticed(&bytes, Manifest::decode);
    }

    #[test]
    fn a_checkpoint_without_its_images_is_impossible() {
        let mut manifest = sample();
        manifest.images.remove(0);
        assert!(Manifest::decode(&manifest.encode()).is_err());
    }

    #[test]
    fn numbers_and_places_that_cannot_be_are_impossible() {
        let mut impossible = vec![sample(); 8];
        impossible[0].images[0].id = CheckpointId(0);
        impossible[1].sequence = u64::MAX;
        impossible[2].newest_id = CheckpointId(u32::MAX);
        for (manifest, (segment, at, last_at)) in impossible[3..].iter_mut().zip([
            (7, 8, 0),
            (7, 256, 256),
            (7, u64::MAX - 7, 200),
            (7, 257, 200),
            (0, 256, 200),
        ]) {
            manifest.checkpoints[1].position = Position {
                segment,
                at,
                last_at,
            };
        }
        for manifest in impossible {
            let decoded = Manifest::decode(&manifest.encode());
            assert!(matches!(decoded, Err(Fault::Damaged(_))), "{manifest:?}");
        }
    }
}
