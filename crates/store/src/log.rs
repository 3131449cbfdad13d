//! The end of the log that is being written: appends by stores, seals full segments, and has the
//! next one ready before it is needed.
//!
//! ```text
//!           half full, or too little
//!           for the largest commit         ready              no room for a record
//!  no spare ────────────────────▶ preparing ───▶ spare ready ────────────────────▶ no spare
//!     ▲                             │ failed
//!     └────── a second later ───────┘
//! ```
//!
//! A sync in the background covers what was appended before it began. One is under way at a time;
//! who asks meanwhile is served by the next one.
//!
//! **Invariant**: nothing here needs disk space that was not allocated before. Where a commit
//! would leave less than the reserve, [`Log::room`] refuses it, so that members can come and go
//! while the disk is full.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

use plurix_wire::record::{RECORD_BYTES_MAX, Record, Stamp};
use plurix_wire::{ClusterId, CommitNumber};

use crate::chain;
use crate::disk::{Disk, NewSegment, SegmentFile};
use crate::error::{AppendError, Failure};
use crate::identity::Durability;
use crate::manifest::Position;
use crate::segment::{self, BEGINNING_AT, HEAD_BYTES, SEAL_AT};

/// Bytes kept for control records, about 1,600 of them; less in tiny segments.
const RESERVE_BYTES_MAX: u64 = 64 << 10;
/// How long the disk is left alone after it had no room for a segment.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Whether the log can go on once the current segment is full.
#[derive(Debug, Clone)]
pub enum Space {
    /// The current segment will do for a while, or the next one is ready.
    Ample,
    /// The next segment is being prepared; a commit that does not fit may wait for it.
    Preparing,
    /// The next segment could not be prepared; tried again every second.
    Short(Arc<io::Error>),
}

/// How new segments are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) cluster: ClusterId,
    pub(crate) segment_bytes: u64,
    /// The largest record of a commit.
    pub(crate) record_bytes_max: u64,
    pub(crate) durability: Durability,
}

impl Shape {
    /// Segment `index`, not begun.
    pub(crate) fn segment(&self, index: u64) -> NewSegment {
        let Self {
            cluster,
            segment_bytes: bytes,
            durability,
            ..
        } = *self;
        NewSegment {
            name: segment::name(index),
            bytes,
            header: segment::Fixed {
                index,
                bytes,
                cluster,
            }
            .encode(),
            written: durability == Durability::Durable,
        }
    }

    /// Segment 1, begun after nothing.
    pub(crate) fn first_segment(&self) -> NewSegment {
        let mut new = self.segment(1);
        let beginning = segment::encode_beginning(1, Stamp::default(), CommitNumber(0));
        new.header[BEGINNING_AT..SEAL_AT].copy_from_slice(&beginning);
        new
    }

    /// Bytes that only control records may use.
    fn reserve(&self) -> u64 {
        (self.segment_bytes / 16).min(RESERVE_BYTES_MAX)
    }
}

/// The shortest segment that holds a commit record of `record_bytes_max` and the reserve.
pub(crate) fn segment_bytes_min(record_bytes_max: u64) -> u64 {
    let used = HEAD_BYTES as u64 + record_bytes_max;
    (used + RESERVE_BYTES_MAX)
        .min(used * 16 / 15 + 1)
        .next_multiple_of(4096)
}

/// Where the log ends when it is opened for appending.
pub(crate) struct End<F> {
    /// The last segment.
    pub(crate) file: F,
    /// Its index.
    pub(crate) index: u64,
    /// Its length.
    pub(crate) bytes: u64,
    /// Where the next record goes.
    pub(crate) at: u64,
    /// Where the record before stands; zero if there is none in this segment.
    pub(crate) last_at: u64,
    /// The stamp of the last record.
    pub(crate) last: Stamp,
    /// The newest commit known to be on disk.
    pub(crate) synced: CommitNumber,
    /// Earlier segments that may not be on disk as a whole.
    pub(crate) unsynced: Range<u64>,
}

/// The log, open for appending.
pub(crate) struct Log<F> {
    end: End<F>,
    shape: Shape,
    spare: Option<F>,
    space: Space,
    /// The earliest time to try for a spare segment again.
    retry_at: Duration,
    scratch: Vec<u8>,
    /// The newest commit that the sync in the background covers, and where the log ended when it
    /// began.
    syncing: Option<(CommitNumber, Position)>,
    /// Everything before this was brought on disk by this process.
    synced_at: Position,
    /// Whether another one is wanted when it has ended.
    sync_again: bool,
    failed: Option<Failure>,
}

impl<F: SegmentFile> Log<F> {
    pub(crate) fn new(end: End<F>, shape: Shape) -> Self {
        assert!(end.at >= HEAD_BYTES as u64 && end.at <= end.bytes);
        Self {
            end,
            shape,
            spare: None,
            space: Space::Ample,
            retry_at: Duration::ZERO,
            scratch: Vec::new(),
            syncing: None,
            synced_at: Position::default(),
            sync_again: false,
            failed: None,
        }
    }

    pub(crate) fn last(&self) -> Stamp {
        self.end.last
    }

    pub(crate) fn synced(&self) -> CommitNumber {
        self.end.synced
    }

    pub(crate) fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// Whether every record before `position` is on disk.
    pub(crate) fn is_synced(&self, position: Position) -> bool {
        self.synced_at >= position
    }

    /// Where the log ends.
    pub(crate) fn position(&self) -> Position {
        Position {
            segment: self.end.index,
            at: self.end.at,
            last_at: self.end.last_at,
        }
    }

    /// Segments before `index` are removed.
    pub(crate) fn forget_before(&mut self, index: u64) {
        self.end.unsynced.start = self
            .end
            .unsynced
            .start
            .max(index)
            .min(self.end.unsynced.end);
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Bytes that the next control record may take.
    pub(crate) fn free(&self) -> u64 {
        let rest = self.end.bytes - self.end.at;
        let spare = self
            .spare
            .as_ref()
            .map_or(0, |_| self.shape.segment_bytes - HEAD_BYTES as u64);
        rest.max(spare)
    }

    /// Bytes that the next commit may take.
    pub(crate) fn room(&self) -> u64 {
        self.free().saturating_sub(self.shape.reserve())
    }

    /// Stores `record` behind the last one.
    pub(crate) fn append(
        &mut self,
        disk: &mut impl Disk<File = F>,
        record: &Record,
    ) -> Result<(), AppendError> {
        self.check()?;
        if let Err(rule) = chain::check(&self.end.last, record) {
            panic!(
                "{:?} may not follow {:?}: {rule}",
                record.stamp, self.end.last
            );
        }
        let bytes = record.encoded_bytes();
        assert!(
            bytes <= RECORD_BYTES_MAX,
            "a record of {bytes} bytes could not be read again"
        );
        assert!(
            bytes as u64 <= self.free(),
            "room is reserved before a record is appended"
        );
        if bytes as u64 > self.end.bytes - self.end.at {
            self.begin_next(disk);
        }
        let End {
            index, at, synced, ..
        } = self.end;
        self.scratch.clear();
        record.encode(index, synced, &mut self.scratch);
        store_word_last(&mut self.end.file, at, &self.scratch);
        self.end.at += bytes as u64;
        self.end.last_at = at;
        self.end.last = record.stamp;
        Ok(())
    }

    /// Seals the current segment and goes on in the spare one. The seal comes first: a reader that
    /// finds a segment begun, but none sealed before it, knows that something is missing.
    fn begin_next(&mut self, disk: &mut impl Disk<File = F>) {
        let mut next = self.spare.take().expect("free() counted the spare segment");
        let End {
            index,
            at,
            last,
            synced,
            ..
        } = self.end;
        self.end
            .file
            .publish(SEAL_AT as u64, segment::encode_seal(index, at));
        let beginning = segment::encode_beginning(index + 1, last, synced);
        store_word_last(&mut next, BEGINNING_AT as u64, &beginning);
        disk.retire(mem::replace(&mut self.end.file, next));
        self.end.index = index + 1;
        self.end.bytes = self.shape.segment_bytes;
        self.end.at = HEAD_BYTES as u64;
        self.end.last_at = 0;
    }

    /// Has the next segment prepared in time.
    pub(crate) fn maintain(&mut self, disk: &mut impl Disk<File = F>, now: Duration) -> &Space {
        match &self.space {
            Space::Preparing => match disk.poll_create() {
                None => {}
                Some(Ok(file)) => {
                    self.spare = Some(file);
                    self.space = Space::Ample;
                }
                Some(Err(error)) => {
                    self.space = Space::Short(Arc::new(error));
                    self.retry_at = now + RETRY_AFTER;
                }
            },
            Space::Ample | Space::Short(_) => {
                if self.wants_spare() && now >= self.retry_at && self.failed.is_none() {
                    disk.start_create(self.shape.segment(self.end.index + 1));
                    self.space = Space::Preparing;
                }
            }
        }
        &self.space
    }

    fn wants_spare(&self) -> bool {
        let needed = self.shape.record_bytes_max + self.shape.reserve();
        let rest = self.end.bytes - self.end.at;
        self.spare.is_none() && rest < needed.max(self.end.bytes / 2)
    }

    /// Prepares the next segment at once if control records might not fit the current one. A full
    /// disk is no failure yet.
    pub(crate) fn ensure_reserve(&mut self, disk: &mut impl Disk<File = F>) {
        if self.room() > 0 {
            return;
        }
        match disk.create(self.shape.segment(self.end.index + 1)) {
            Ok(file) => self.spare = Some(file),
            Err(error) => self.space = Space::Short(Arc::new(error)),
        }
    }

    /// Brings everything appended on disk.
    pub(crate) fn sync(
        &mut self,
        disk: &mut impl Disk<File = F>,
    ) -> Result<CommitNumber, AppendError> {
        self.check()?;
        if let Err((name, error)) = self.sync_files(disk) {
            return Err(self.fail(disk.path(&name), error));
        }
        Ok(self.synced_through(self.end.last.number, self.position()))
    }

    /// A sync under way is waited for, since the kernel tells a failure to one of two alone.
    fn sync_files(&mut self, disk: &mut impl Disk<File = F>) -> Result<(), (String, io::Error)> {
        for index in self.end.unsynced.clone() {
            let name = segment::name(index);
            disk.sync(&name).map_err(|error| (name, error))?;
        }
        disk.finish_syncs()
            .map_err(|error| (segment::DIRECTORY.into(), error))?;
        let name = segment::name(self.end.index);
        self.end.file.sync().map_err(|error| (name, error))
    }

    /// Begins to bring everything appended on disk.
    pub(crate) fn start_sync(&mut self, disk: &mut impl Disk<File = F>) -> Result<(), AppendError> {
        self.check()?;
        if self.syncing.is_some() {
            self.sync_again = true;
            return Ok(());
        }
        let earlier = self.end.unsynced.clone().map(segment::name).collect();
        disk.start_sync(&self.end.file, earlier);
        self.syncing = Some((self.end.last.number, self.position()));
        Ok(())
    }

    /// How the sync in the background ended, if it has; begins the next one if it is wanted.
    pub(crate) fn poll_sync(
        &mut self,
        disk: &mut impl Disk<File = F>,
    ) -> Option<Result<CommitNumber, AppendError>> {
        let (number, position) = self.syncing?;
        let outcome = disk.poll_sync()?;
        self.syncing = None;
        let again = mem::take(&mut self.sync_again);
        if let Err(error) = self.check() {
            return Some(Err(error));
        }
        if let Err(error) = outcome {
            return Some(Err(self.fail(disk.path(segment::DIRECTORY), error)));
        }
        if again {
            self.start_sync(disk).expect("the log has not failed");
        }
        Some(Ok(self.synced_through(number, position)))
    }

    /// The newest commit known to be on disk, now that `number` is, and all before `position`.
    fn synced_through(&mut self, number: CommitNumber, position: Position) -> CommitNumber {
        self.synced_at = self.synced_at.max(position);
        self.end.unsynced = 0..0;
        self.end.synced = self.end.synced.max(number);
        self.end.synced
    }

    /// From now on nothing is appended: what of the log is on disk is unknown.
    fn fail(&mut self, path: PathBuf, error: io::Error) -> AppendError {
        let failure = Failure {
            doing: "syncing",
            path,
            cause: Arc::new(error),
        };
        self.failed = Some(failure.clone());
        AppendError::Failed(failure)
    }

    fn check(&self) -> Result<(), AppendError> {
        self.failed
            .clone()
            .map_or(Ok(()), |failure| Err(AppendError::Failed(failure)))
    }
}

/// Stores `bytes`, of which the first word tells a reader that the others are there.
pub(crate) fn store_word_last(file: &mut impl SegmentFile, at: u64, bytes: &[u8]) {
    let (word, rest) = bytes.split_at(8);
    file.write(at + 8, rest);
    file.publish(
        at,
        u64::from_le_bytes(word.try_into().expect("eight bytes")),
    );
}
