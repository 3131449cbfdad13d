//! Reads the log from its first segment to its end, checks every byte that was written, and hands
//! the records out in order. What to do where the reading stops is [`repair`](crate::repair)'s.

use std::path::PathBuf;
use std::{fmt, mem};

use bytes::Bytes;
use plurix_wire::record::{self, Body, Found, HEADER_BYTES, Record, Stamp};
use plurix_wire::{ClusterId, CommitNumber, Generation, Term};

use crate::chain;
use crate::checkpoint::Base;
use crate::disk::Disk;
use crate::error::ReplayError;
use crate::identity::{FORMAT_VERSION, array};
use crate::image::IMAGE_VERSION;
use crate::manifest::Position;
use crate::segment::{
    self, BEGINNING_AT, Beginning, Fault, Fixed, HEAD_BYTES, SEAL_AT, SEGMENT_BYTES_MAX, Seal,
};

/// What a replay found.
#[derive(Debug)]
pub struct Recovered {
    /// The stamp of the last record; all zero in a new store.
    pub last: Stamp,
    /// Records handed out.
    pub records: u64,
    /// Bytes that they take in the log.
    pub bytes: u64,
    /// Whether the last leadership ended in order, or there was none.
    pub ended_clean: bool,
    /// Whether the last leadership ran on this boot, so that the kernel lost nothing of the log.
    pub same_boot: bool,
    /// What a power cut left unfinished, never promised, and was cut off.
    pub torn: Option<Torn>,
    /// The generation that must begin before the next commit, because answered commits may be
    /// missing: their numbers must not be given a second meaning.
    pub new_generation: Option<Generation>,
}

/// The end of a log that a power cut tore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub file: PathBuf,
    /// Offset of the first byte that was not whole.
    pub at: u64,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at, what } = self;
        write!(
            f,
            "the log was cut off in {} at byte {at}: {what}",
            file.display()
        )
    }
}

/// Where the reading stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing was completed at the end reached.
    End,
    /// Something is there, and it is not what was written.
    Fault { index: u64, at: u64, what: String },
}

/// A reading of the log, and how far it came.
pub(crate) struct Walk<'a, D> {
    pub(crate) disk: &'a D,
    cluster: ClusterId,
    /// The segments there are; they follow each other.
    pub(crate) first: u64,
    pub(crate) newest: u64,
    /// The last segment begun, its length, and where its whole records end.
    pub(crate) index: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) at: u64,
    /// Where the last of them stands; zero if there is none in this segment.
    pub(crate) last_at: u64,
    /// The last record.
    pub(crate) last: Stamp,
    clean: bool,
    /// The newest commit that some record knew to be on disk.
    pub(crate) synced: CommitNumber,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// A segment as it is on disk, perhaps without zeros at its end.
    buffer: Bytes,
    /// Its index, zero if there is none, and its length.
    loaded: u64,
    loaded_bytes: u64,
}

impl<'a, D: Disk> Walk<'a, D> {
    /// Finds the segments from the one on where the log leads on from `base`.
    pub(crate) fn new(disk: &'a D, cluster: ClusterId, base: &Base) -> Result<Self, ReplayError> {
        if let Some((file, found)) = &base.newer {
            return Err(ReplayError::NewerVersion {
                file: file.clone(),
                found: *found,
                known: IMAGE_VERSION,
            });
        }
        let begin = base.position().unwrap_or_else(Position::beginning);
        let last = base.stamp();
        let entries = disk
            .list(segment::DIRECTORY)
            .map_err(|source| ReplayError::Io {
                doing: "list",
                path: disk.path(segment::DIRECTORY),
                source,
            })?;
        let mut indices: Vec<u64> = entries
            .iter()
            .filter_map(|entry| segment::index_of(entry))
            .filter(|index| *index >= begin.segment)
            .collect();
        indices.sort_unstable();
        let is_unreachable = base.checkpoint.is_none()
            && !base.passed_over.is_empty()
            && indices.first() != Some(&begin.segment);
        if is_unreachable || base.is_cut_off {
            let why: Vec<_> = base.passed_over.iter().map(|passed| &*passed.why).collect();
            let why = why.join("; ");
            return Err(match base.is_cut_off {
                true => ReplayError::CutOff { why },
                false => ReplayError::NoCheckpoint { why },
            });
        }
        for (expected, &found) in (begin.segment..).zip(&indices) {
            if expected != found {
                return Err(missing(disk, expected, last.number));
            }
        }
        let newest = *indices
            .last()
            .ok_or_else(|| missing(disk, begin.segment, last.number))?;
        Ok(Self {
            disk,
            cluster,
            first: begin.segment,
            newest,
            index: begin.segment,
            segment_bytes: 0,
            at: begin.at,
            last_at: begin.last_at,
            last,
            clean: last == Stamp::default(),
            synced: last.number,
            records: 0,
            bytes: 0,
            buffer: Bytes::new(),
            loaded: 0,
            loaded_bytes: 0,
        })
    }

    /// Whether the log ends with the mark of the leadership `term`, or before the first one.
    pub(crate) fn ended_clean(&self, term: Term) -> bool {
        self.clean && self.last.term == term
    }

    /// Hands out the whole records up to where the log stops.
    pub(crate) fn run<E>(
        &mut self,
        apply: &mut impl FnMut(&Record) -> Result<(), E>,
    ) -> Result<Stop, ReplayError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        for index in self.first..=self.newest {
            let is_inside = index == self.first && self.last_at > 0;
            // What the checkpoint holds is not read.
            self.load_from(index, if is_inside { self.last_at } else { 0 })?;
            match segment::beginning(&self.buffer, index) {
                Beginning::After(_) if is_inside => self.check_last()?,
                Beginning::After(stamp) if stamp == self.last => {}
                Beginning::Spare if index > self.first => return Ok(Stop::End),
                Beginning::Spare => {
                    return Err(self.damaged(index, BEGINNING_AT, "it is not begun"));
                }
                _ if index == self.first => {
                    return Err(self.damaged(index, BEGINNING_AT, "its beginning is damaged"));
                }
                Beginning::After(_) => {
                    let what = "it does not begin where the segment before it ends";
                    return Ok(fault(index, BEGINNING_AT, what));
                }
                Beginning::Damaged => return Ok(fault(index, BEGINNING_AT, "checksum mismatch")),
            }
            if !is_inside {
                (self.index, self.at, self.last_at) = (index, HEAD_BYTES as u64, 0);
            }
            self.segment_bytes = self.loaded_bytes;
            if let Some(what) = self.segment(apply)? {
                return Ok(fault(index, self.at as usize, what));
            }
            match segment::seal(&self.buffer, index) {
                Seal::Open => return Ok(Stop::End),
                Seal::Damaged => return Ok(fault(index, SEAL_AT, "checksum mismatch of the seal")),
                Seal::End(end) if end != self.at => {
                    let what =
                        format!("nothing is there, but the segment was sealed at byte {end}");
                    return Ok(fault(index, self.at as usize, what));
                }
                Seal::End(_) => {}
            }
        }
        Err(missing(self.disk, self.newest + 1, self.last.number))
    }

    /// Hands out the records of the segment in the buffer; answers what is wrong at `self.at`, or
    /// nothing if no record was completed there.
    fn segment<E>(
        &mut self,
        apply: &mut impl FnMut(&Record) -> Result<(), E>,
    ) -> Result<Option<String>, ReplayError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        loop {
            let at = self.at as usize;
            let (record, synced, next) = match self.decode(at) {
                Ok(Found::Record {
                    record,
                    synced,
                    next,
                }) => (record, synced, next),
                Ok(Found::End) => return Ok(None),
                Err(error) => return Ok(Some(error.to_string())),
            };
            if !padding_is_zero(&self.buffer, at, next) {
                return Ok(Some("the padding is not zero".into()));
            }
            if synced > record.stamp.number {
                return Ok(Some("it knows of commits after it".into()));
            }
            if let Err(rule) = chain::check(&self.last, &record) {
                return Ok(Some(rule.into()));
            }
            apply(&record).map_err(|source| ReplayError::Refused {
                file: self.disk.path(&segment::name(self.index)),
                at: self.at,
                source: source.into(),
            })?;
            self.last = record.stamp;
            self.clean = matches!(record.body, Body::Clean);
            self.synced = self.synced.max(synced);
            self.records += 1;
            self.bytes += (next - at) as u64;
            (self.at, self.last_at) = (next as u64, at as u64);
        }
    }

    /// Checks that the log holds the record before which a checkpoint was taken: a log that does not
    /// reach that far, or is another one, must not be taken for one that ends there.
    fn check_last(&mut self) -> Result<(), ReplayError> {
        let at = self.last_at as usize;
        let what = match self.decode(at) {
            Ok(Found::Record { record, next, .. }) => {
                if record.stamp == self.last && next as u64 == self.at {
                    self.clean = matches!(record.body, Body::Clean);
                    return Ok(());
                }
                "it is not the log that the checkpoint was taken of".to_owned()
            }
            Ok(Found::End) => "it ends before the checkpoint was taken".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(self.damaged(self.first, at, what))
    }

    /// Reads what stands at byte `at` of the segment in the buffer.
    fn decode(&mut self, at: usize) -> Result<Found, plurix_wire::Error> {
        let word = self.buffer.get(at..at + 4).unwrap_or(&[0; 4]);
        let length = u32::from_le_bytes(word.try_into().expect("four bytes")) as usize;
        let end = (at + length).next_multiple_of(record::ALIGN);
        let cut_off = end > self.buffer.len() && end as u64 <= self.loaded_bytes;
        if cut_off && length <= record::RECORD_BYTES_MAX {
            // The zeros at the end of this record were left out.
            let mut bytes = Vec::from(mem::take(&mut self.buffer));
            bytes.resize(end, 0);
            self.buffer = Bytes::from(bytes);
        }
        record::decode(&self.buffer, self.loaded, at)
    }

    /// Looks for whole records behind the end reached; answers the newest commit that one of them
    /// knew to be on disk, if there is any record or any later segment was begun. The last segment
    /// begun is then in the buffer.
    pub(crate) fn survey(&mut self) -> Result<Option<CommitNumber>, ReplayError> {
        let mut newest = None;
        // Mostly it is in the buffer now, and need not be read a second time.
        let last = (self.loaded == self.index).then(|| self.put_aside());
        for index in self.index + 1..=self.newest {
            self.load(index)?;
            if segment::beginning(&self.buffer, index) != Beginning::Spare {
                newest = newest.max(Some(CommitNumber(0)));
            }
            newest = newest.max(self.newest_synced(HEAD_BYTES));
        }
        match last {
            Some(last) => (self.loaded, self.loaded_bytes, self.buffer) = last,
            None => self.load(self.index)?,
        }
        Ok(newest.max(self.newest_synced(self.at as usize)))
    }

    /// Empties the buffer; answers the segment that was in it, its length, and its bytes.
    fn put_aside(&mut self) -> (u64, u64, Bytes) {
        let loaded = mem::take(&mut self.loaded);
        (loaded, self.loaded_bytes, mem::take(&mut self.buffer))
    }

    /// The newest commit known to be on disk to a whole record at or behind `from` of the segment
    /// in the buffer.
    ///
    /// Records are looked for at every aligned position. The fields that are compared before a
    /// checksum is computed make it improbable that other bytes cost more than a glance.
    fn newest_synced(&mut self, from: usize) -> Option<CommitNumber> {
        let mut newest = None;
        let mut at = from;
        while at + HEADER_BYTES <= self.buffer.len() {
            if self.plausible(at)
                && let Ok(Found::Record { synced, .. }) = self.decode(at)
            {
                newest = newest.max(Some(synced));
            }
            at += record::ALIGN;
        }
        newest
    }

    /// Whether a record of this log may begin at `at`, where there are the bytes of a header.
    fn plausible(&self, at: usize) -> bool {
        let header = &self.buffer[at..at + HEADER_BYTES];
        let field = |at: usize| u64::from_le_bytes(array(header, at));
        let (term, number, synced) = (field(16), field(24), field(32));
        field(0) != 0
            && header[9..12] == [0; 3]
            && term >= self.last.term.0
            && number >= self.last.number.0
            && synced <= number
    }

    /// The bytes of the last segment begun, after a [`survey`](Self::survey).
    pub(crate) fn into_last_segment(self) -> Bytes {
        assert_eq!(self.loaded, self.index);
        self.buffer
    }

    /// Reads segment `index` into the buffer, unless it is there, and checks that it is what its
    /// name says.
    fn load(&mut self, index: u64) -> Result<(), ReplayError> {
        self.load_from(index, 0)
    }

    /// As [`load`](Self::load), but zeros stand between the head and byte `from`.
    fn load_from(&mut self, index: u64, from: u64) -> Result<(), ReplayError> {
        if self.loaded == index {
            return Ok(());
        }
        let name = segment::name(index);
        let file = self.disk.path(&name);
        let io = |source| ReplayError::Io {
            doing: "read",
            path: file.clone(),
            source,
        };
        let found = self.disk.length(&name).map_err(io)?;
        if found > SEGMENT_BYTES_MAX {
            return Err(ReplayError::Length {
                file,
                expected: SEGMENT_BYTES_MAX,
                found,
            });
        }
        self.loaded = 0;
        // The buffer is used again unless a record that was handed out still shares it.
        let buffer = mem::take(&mut self.buffer);
        let mut bytes = if buffer.is_unique() {
            Vec::from(buffer)
        } else {
            Vec::new()
        };
        let head = HEAD_BYTES as u64;
        let skip = head..from.max(head);
        self.disk.read(&name, skip, &mut bytes).map_err(io)?;
        bytes.resize(bytes.len().max(HEAD_BYTES).min(found as usize), 0);
        self.buffer = Bytes::from(bytes);
        self.check_head(index, found)?;
        (self.loaded, self.loaded_bytes) = (index, found);
        Ok(())
    }

    /// Checks the head of the segment in the buffer, whose file has `found` bytes.
    fn check_head(&self, index: u64, found: u64) -> Result<(), ReplayError> {
        let file = self.disk.path(&segment::name(index));
        let fixed = match Fixed::decode(&self.buffer) {
            Ok(fixed) => fixed,
            Err(Fault::Damaged(what)) => return Err(self.damaged(index, 0, what)),
            Err(Fault::Short) => {
                return Err(ReplayError::Length {
                    file,
                    expected: HEAD_BYTES as u64,
                    found,
                });
            }
            Err(Fault::Newer(found)) => {
                return Err(ReplayError::NewerVersion {
                    file,
                    found,
                    known: FORMAT_VERSION,
                });
            }
        };
        if fixed.cluster != self.cluster {
            let what = format!("it is of cluster {}, not {}", fixed.cluster, self.cluster);
            return Err(ReplayError::Foreign { file, what });
        }
        if fixed.index != index {
            return Err(ReplayError::Foreign {
                file,
                what: format!("it is number {}", fixed.index),
            });
        }
        if fixed.bytes != found {
            return Err(ReplayError::Length {
                file,
                expected: fixed.bytes,
                found,
            });
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, index: u64, at: usize, what: impl Into<String>) -> ReplayError {
        ReplayError::Damaged {
            file: self.disk.path(&segment::name(index)),
            at: at as u64,
            before: self.last.number,
            what: what.into(),
        }
    }
}

fn fault(index: u64, at: usize, what: impl Into<String>) -> Stop {
    Stop::Fault {
        index,
        at: at as u64,
        what: what.into(),
    }
}

fn missing(disk: &impl Disk, index: u64, before: CommitNumber) -> ReplayError {
    ReplayError::Missing {
        file: disk.path(&segment::name(index)),
        before,
    }
}

/// Whether the bytes between the record at `at` and the `next` one are zero: no checksum covers
/// them.
fn padding_is_zero(segment: &[u8], at: usize, next: usize) -> bool {
    let length = u32::from_le_bytes(array(segment, at)) as usize;
    let padding = segment.get(at + length..next);
    padding.is_some_and(|padding| padding.iter().all(|&byte| byte == 0))
}
