//! What the commit log holds: self-checking records, each ready to be replayed on its own.
//!
//! All integers are little-endian. A record begins at a multiple of 8 bytes; the word that holds
//! its length and checksum is stored last, so that in a mapped segment a record either has a zero
//! first word (never completed) or is whole. A checksum that fails is damage, not a torn tail,
//! unless a power cut may have lost the bytes.
//!
//! ```text
//!  0        4        8     9      12           16     24       32       40
//! +--------+--------+-----+------+------------+------+--------+--------+---------+-----+
//! | length | crc32  |kind | zero | generation | term | number | synced | payload | pad |
//! | u32    | u32    | u8  | 3    | u32        | u64  | u64    | u64    |         |     |
//! +--------+--------+-----+------+------------+------+--------+--------+---------+-----+
//! ```
//!
//! - `length`: bytes from the record's start to the end of its payload, without padding.
//! - `crc32` (IEEE 802.3): over the segment's index (u64), then bytes 0..4 and 8..length, so that
//!   a record copied from another segment is not taken for one of this.
//! - `number`: the own number of a commit or recovery line; for other kinds the newest commit before it.
//! - `synced`: the newest commit known to be on disk when this one was written. Damage at or below
//!   it loses promised bytes.

use bytes::Bytes;

use crate::Error;
use crate::canary::{self, Canary};
use crate::ids::{
    CommitId, CommitNumber, CommitSequence, Generation, Incarnation, StationId, TeamId, Term,
};
use crate::message::Member;
use crate::write_set::WriteSet;

/// Bytes before a record's payload.
pub const HEADER_BYTES: usize = 40;
/// Records begin at multiples of this.
pub const ALIGN: usize = 8;
/// The longest record, in bytes: the largest commit with its header.
pub const RECORD_BYTES_MAX: usize = crate::message::COMMIT_BYTES_MAX + 128;

const COMMIT_PREFIX: usize = 24;

/// Where and when a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stamp {
    /// The generation of the heap.
    pub generation: Generation,
    /// The leadership that wrote it.
    pub term: Term,
    /// The commit's number, or the newest one before this record.
    pub number: CommitNumber,
}

impl Stamp {
    /// Whether there are a term, a generation and a number after these. No log comes to their end,
    /// so a stamp that has reached one of them was never written; an incarnation leaves 32 bits for
    /// the term.
    #[must_use]
    pub fn has_successor(&self) -> bool {
        self.term.0 < u64::from(u32::MAX)
            && self.generation.0 < u32::MAX
            && self.number.0 < u64::MAX
    }
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Record {
    /// Where it stands.
    pub stamp: Stamp,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum Body {
    /// A transaction was committed.
    Commit {
        /// Who asked, to answer the same id again with the same number.
        id: CommitId,
        /// Outcomes up to here are needed no more.
        acknowledged: CommitSequence,
        /// The bytes changed.
        writes: WriteSet,
    },
    /// The weak pages of a team were replaced by those of a recovery line, as one commit. They are not
    /// in the log: who has no checkpoint of them has lost the line.
    RecoveryLine(TeamId),
    /// A member joined.
    Joined(Member),
    /// A member ended or was dropped.
    Left(Incarnation),
    /// A leadership began.
    Term,
    /// The heap went back to the stamp's number, and this generation began.
    Generation,
    /// The log ended in order; nothing is missing behind it.
    Clean,
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Self::Commit { .. } => 1,
            Self::Joined(_) => 2,
            Self::Left(_) => 3,
            Self::Term => 4,
            Self::Generation => 5,
            Self::Clean => 6,
            Self::RecoveryLine(_) => 7,
        }
    }

    fn payload_bytes(&self) -> usize {
        match self {
            Self::Commit { writes, .. } => COMMIT_PREFIX + writes.as_bytes().len(),
            Self::Joined(_) => 13,
            Self::Left(_) | Self::RecoveryLine(_) => 8,
            Self::Term | Self::Generation | Self::Clean => 0,
        }
    }
}

impl Record {
    /// Bytes that the record of a commit with these `writes` takes in a segment.
    #[must_use]
    pub fn commit_bytes(writes: &WriteSet) -> usize {
        padded(HEADER_BYTES + COMMIT_PREFIX + writes.as_bytes().len())
    }

    /// Bytes the record takes in a segment, padding included.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        padded(HEADER_BYTES + self.body.payload_bytes())
    }

    /// Appends the record to `out`, which begins at a multiple of [`ALIGN`] of segment `segment`.
    /// `synced` is the newest commit known to be on disk.
    pub fn encode(&self, segment: u64, synced: CommitNumber, out: &mut Vec<u8>) {
        let start = out.len();
        let length = HEADER_BYTES + self.body.payload_bytes();
        debug_assert!(length <= RECORD_BYTES_MAX);
        out.extend_from_slice(&(length as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[self.body.kind(), 0, 0, 0]);
        out.extend_from_slice(&self.stamp.generation.0.to_le_bytes());
        out.extend_from_slice(&self.stamp.term.0.to_le_bytes());
        out.extend_from_slice(&self.stamp.number.0.to_le_bytes());
        out.extend_from_slice(&synced.0.to_le_bytes());
        match &self.body {
            Body::Commit {
                id,
                acknowledged,
                writes,
            } => {
                out.extend_from_slice(&id.incarnation.0.to_le_bytes());
                out.extend_from_slice(&id.sequence.0.to_le_bytes());
                out.extend_from_slice(&acknowledged.0.to_le_bytes());
                out.extend_from_slice(writes.as_bytes());
            }
            Body::Joined(member) => {
                out.extend_from_slice(&member.station.0.to_le_bytes());
                out.extend_from_slice(&member.incarnation.0.to_le_bytes());
                out.push(u8::from(member.observer));
            }
            Body::Left(incarnation) => out.extend_from_slice(&incarnation.0.to_le_bytes()),
            Body::RecoveryLine(team) => out.extend_from_slice(&team.0.to_le_bytes()),
            Body::Term | Body::Generation | Body::Clean => {}
        }
        debug_assert_eq!(out.len() - start, length);
        let crc = checksum(segment, &out[start..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        out.resize(start + padded(length), 0);
    }
}

/// What stands at a position of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A whole record.
    Record {
        /// The record, sharing the segment's buffer.
        record: Record,
        /// The newest commit that was on disk when it was written.
        synced: CommitNumber,
        /// Where the next one begins.
        next: usize,
    },
    /// Nothing was completed here.
    End,
}

/// Reads the record at byte `at` of segment number `index`, whose bytes are `segment`.
///
/// # Errors
/// [`Error::Record`] if the bytes are damaged.
pub fn decode(segment: &Bytes, index: u64, at: usize) -> Result<Found, Error> {
    let rest = segment.get(at..).unwrap_or_default();
    if rest.len() < 8 || rest[..8] == [0; 8] {
        return Ok(Found::End);
    }
    let length = u32_at(rest, 0) as usize;
    if !(HEADER_BYTES..=RECORD_BYTES_MAX).contains(&length) || rest.len() < length {
        return Err(Error::Record("impossible length"));
    }
    let whole = checksum(index, &rest[..length]) == u32_at(rest, 4);
    if !whole && !canary::strikes(Canary::IgnoreChecksum) {
        return Err(Error::Record("checksum mismatch"));
    }
    let stamp = Stamp {
        generation: Generation(u32_at(rest, 12)),
        term: Term(u64_at(rest, 16)),
        number: CommitNumber(u64_at(rest, 24)),
    };
    if !stamp.has_successor() {
        return Err(Error::Record("impossible term, generation or number"));
    }
    let body = decode_body(rest[8], &segment.slice(at + HEADER_BYTES..at + length))?;
    Ok(Found::Record {
        record: Record { stamp, body },
        synced: CommitNumber(u64_at(rest, 32)),
        next: at + padded(length),
    })
}

fn decode_body(kind: u8, payload: &Bytes) -> Result<Body, Error> {
    let expect = |bytes: usize| {
        (payload.len() == bytes)
            .then_some(())
            .ok_or(Error::Record("payload of the wrong length"))
    };
    match kind {
        1 if payload.len() >= COMMIT_PREFIX => Ok(Body::Commit {
            id: CommitId {
                incarnation: Incarnation(u64_at(payload, 0)),
                sequence: CommitSequence(u64_at(payload, 8)),
            },
            acknowledged: CommitSequence(u64_at(payload, 16)),
            writes: WriteSet::parse(payload.slice(COMMIT_PREFIX..))?,
        }),
        2 => {
            expect(13)?;
            Ok(Body::Joined(Member {
                station: StationId(u32_at(payload, 0)),
                incarnation: Incarnation(u64_at(payload, 4)),
                observer: payload[12] != 0,
            }))
        }
        3 => {
            expect(8)?;
            Ok(Body::Left(Incarnation(u64_at(payload, 0))))
        }
        4 => expect(0).map(|()| Body::Term),
        5 => expect(0).map(|()| Body::Generation),
        6 => expect(0).map(|()| Body::Clean),
        7 => {
            expect(8)?;
            Ok(Body::RecoveryLine(TeamId(u64_at(payload, 0))))
        }
        _ => Err(Error::Record("unknown kind")),
    }
}

/// The checksum of a whole, unpadded record of segment `index`; its own field is left out.
fn checksum(index: u64, record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(&record[..4]);
    hasher.update(&record[8..]);
    hasher.finalize()
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PageNumber;
    use crate::write_set::WriteSetBuilder;

    fn samples() -> Vec<Record> {
        let mut builder = WriteSetBuilder::new();
        builder.push(PageNumber(5), 17, b"hello");
        let id = CommitId {
            incarnation: Incarnation(3 << 32),
            sequence: CommitSequence(8),
        };
        let member = Member {
            station: StationId(2),
            incarnation: Incarnation(9),
            observer: true,
        };
        let bodies = [
            Body::Term,
            Body::Joined(member),
            Body::Commit {
                id,
                acknowledged: CommitSequence(7),
                writes: builder.finish(),
            },
            Body::Left(Incarnation(9)),
            Body::Generation,
            Body::RecoveryLine(TeamId(8192)),
            Body::Clean,
        ];
        let stamp = Stamp {
            generation: Generation(1),
            term: Term(3),
            number: CommitNumber(77),
        };
        bodies
            .into_iter()
            .map(|body| Record { stamp, body })
            .collect()
    }

    fn segment(records: &[Record]) -> Vec<u8> {
        let mut out = Vec::new();
        records
            .iter()
            .for_each(|record| record.encode(4, CommitNumber(70), &mut out));
        out
    }

    #[test]
    fn records_are_read_back_in_order() {
        let records = samples();
        let mut encoded = segment(&records);
        encoded.resize(encoded.len() + 64, 0);
        let encoded = Bytes::from(encoded);
        let mut at = 0;
        for expected in &records {
            let Found::Record {
                record,
                synced,
                next,
            } = decode(&encoded, 4, at).unwrap()
            else {
                panic!("the log ends early");
            };
            assert_eq!((&record, synced), (expected, CommitNumber(70)));
            assert_eq!(next - at, expected.encoded_bytes());
            at = next;
        }
        assert_eq!(decode(&encoded, 4, at).unwrap(), Found::End);
    }

    #[test]
    fn a_stamp_that_nothing_can_follow_was_never_written() {
        let last = samples()[0].stamp;
        let term = Term(u64::from(u32::MAX));
        let generation = Generation(u32::MAX);
        let number = CommitNumber(u64::MAX);
        for stamp in [
            Stamp { term, ..last },
            Stamp { generation, ..last },
            Stamp { number, ..last },
        ] {
            let body = Body::Clean;
            let encoded = segment(&[Record { stamp, body }]);
            assert!(decode(&Bytes::from(encoded), 4, 0).is_err(), "{stamp:?}");
        }
    }

    #[test]
    fn each_flipped_bit_and_a_foreign_segment_are_noticed() {
        let record = &samples()[2];
        let clean = segment(std::slice::from_ref(record));
        let length = HEADER_BYTES + record.body.payload_bytes();
        for bit in 0..length * 8 {
            let mut damaged = clean.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&Bytes::from(damaged), 4, 0).is_err(), "bit {bit}");
        }
        assert!(decode(&Bytes::from(clean), 5, 0).is_err());
    }
}
