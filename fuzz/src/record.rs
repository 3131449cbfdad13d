//! Log records. A fuzzer does not guess checksums, so the check can put them right first; what then
//! fails is a record that a broken writer could have written.

use bytes::Bytes;
use plurix_wire::message::Member;
use plurix_wire::record::{self, Body, Found, HEADER_BYTES, Record, Stamp};
use plurix_wire::{
    CommitId, CommitNumber, CommitSequence, Generation, Incarnation, StationId, Term,
};

use crate::write_set::sample;

const SEGMENT: u64 = 7;

/// The first byte says whether checksums are put right; the others are the segment.
pub(crate) fn check(bytes: &[u8]) {
    let Some((mode, segment)) = bytes.split_first() else {
        return;
    };
    let mut segment = segment.to_vec();
    let mut at = 0;
    loop {
        if mode % 2 == 1 {
            seal(&mut segment, SEGMENT, at);
        }
        let shared = Bytes::copy_from_slice(&segment);
        let (record, synced, next) = match record::decode(&shared, SEGMENT, at) {
            Ok(Found::Record {
                record,
                synced,
                next,
            }) => (record, synced, next),
            Ok(Found::End) | Err(_) => return,
        };
        let length = is_sealed(&segment, SEGMENT, at).expect("a record has a valid checksum");
        assert_eq!(next, at + length.next_multiple_of(record::ALIGN));
        assert_eq!(next - at, record.encoded_bytes());
        let mut again = Vec::new();
        record.encode(SEGMENT, synced, &mut again);
        let found = record::decode(&Bytes::from(again.clone()), SEGMENT, 0);
        let expected = Found::Record {
            record: record.clone(),
            synced,
            next: again.len(),
        };
        assert_eq!(found, Ok(expected));
        let reserved = segment[at + 9..at + 12] != [0; 3]
            || (matches!(record.body, Body::Joined(_)) && segment[at + length - 1] > 1);
        assert!(
            reserved || again[..length] == segment[at..at + length],
            "a record has one encoding"
        );
        at = next;
    }
}

/// The length of the record at `at`, if its checksum, computed anew, is right.
pub(crate) fn is_sealed(segment: &[u8], index: u64, at: usize) -> Option<usize> {
    let rest = segment.get(at..)?;
    let length = length_at(rest)?;
    (checksum(rest, index, length).to_le_bytes() == rest[4..8]).then_some(length)
}

/// Puts the checksum of the record at `at` right, if its length allows for one.
pub(crate) fn seal(segment: &mut [u8], index: u64, at: usize) {
    if let Some(rest) = segment.get_mut(at..)
        && let Some(length) = length_at(rest)
    {
        let right = checksum(rest, index, length);
        rest[4..8].copy_from_slice(&right.to_le_bytes());
    }
}

fn length_at(record: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*record.first_chunk()?) as usize;
    (HEADER_BYTES..=record.len())
        .contains(&length)
        .then_some(length)
}

fn checksum(record: &[u8], index: u64, length: usize) -> u32 {
    let covered = [&index.to_le_bytes()[..], &record[..4], &record[8..length]].concat();
    crc32fast::hash(&covered)
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let stamp = Stamp {
        generation: Generation(1),
        term: Term(3),
        number: CommitNumber(77),
    };
    let commit = Body::Commit {
        id: CommitId {
            incarnation: Incarnation(3 << 32),
            sequence: CommitSequence(8),
        },
        acknowledged: CommitSequence(7),
        writes: sample(),
    };
    let joined = Body::Joined(Member {
        station: StationId(2),
        incarnation: Incarnation(9),
        observer: true,
    });
    let control = [
        Body::Term,
        joined,
        Body::Left(Incarnation(9)),
        Body::Generation,
        Body::Clean,
    ];
    let segment = |mode: u8, bodies: &[Body]| {
        let mut records = Vec::new();
        for body in bodies.iter().cloned() {
            Record { stamp, body }.encode(SEGMENT, CommitNumber(70), &mut records);
        }
        [vec![mode], records].concat()
    };
    vec![
        ("commit", segment(0, std::slice::from_ref(&commit))),
        ("commit-sealed", segment(1, &[commit])),
        ("control", segment(0, &control)),
        ("control-sealed", segment(1, &control)),
    ]
}
