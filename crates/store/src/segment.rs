//! The head of a log segment: what it is, after which record it begins, and where it was sealed.
//!
//! ```text
//!   0          8         12      16      24      32           48
//! +----------+---------+-------+-------+-------+------------+------------------+
//! | PLURIXLG | version | crc32 | index | bytes | cluster id | zero             |  written when the
//! | u8 × 8   | u32     | u32   | u64   | u64   | u8 × 16    | u8 × 16          |  file is created
//! +----------+---------+-------+-------+-------+------------+------------------+
//!  64         68        72           76     80      88       96       104     120
//! +----------+---------+------------+------+-------+--------+--------+-------+-----------------+
//! | 56: u32  | crc32   | generation | zero | term  | number | synced | zero  | seal: end, crc  |
//! |          |         | u32        | u32  | u64   | u64    | u64    | × 16  | u32, u32        |
//! +----------+---------+------------+------+-------+--------+--------+-------+-----------------+
//! 128: records
//! ```
//!
//! The **beginning** (64..120) repeats the stamp of the last record of the segment before; its
//! first word is stored last, and zero means a spare segment that holds nothing yet. The **seal**
//! is one word, stored into a segment before the next one is begun: where its records end. Since
//! the next file is on disk before, a sealed segment without a next one has lost it.

use plurix_wire::record::Stamp;
use plurix_wire::{ClusterId, CommitNumber, Generation, Term};

use crate::identity::{FORMAT_VERSION, array};

pub(crate) const DIRECTORY: &str = "log";
/// Where the records begin.
pub(crate) const HEAD_BYTES: usize = 128;
/// Where the beginning is.
pub(crate) const BEGINNING_AT: usize = 64;
/// Where the seal is.
pub(crate) const SEAL_AT: usize = 120;
/// The longest segment; its offsets fit the seal's 32 bits.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;

const MAGIC: &[u8; 8] = b"PLURIXLG";
const FIXED_BYTES: usize = 64;
const BEGINNING_BYTES: usize = SEAL_AT - BEGINNING_AT;

/// The name of segment `index`.
pub(crate) fn name(index: u64) -> String {
    format!("{DIRECTORY}/{index:016}.log")
}

/// The index in the name of an entry of the log's directory, if it is a segment.
pub(crate) fn index_of(entry: &str) -> Option<u64> {
    let digits = entry.strip_suffix(".log")?;
    let index = digits.parse().ok()?;
    (format!("{index:016}") == digits).then_some(index)
}

/// What never changes in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixed {
    pub(crate) index: u64,
    pub(crate) bytes: u64,
    pub(crate) cluster: ClusterId,
}

/// Why bytes are no head of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Short,
    Damaged(&'static str),
    Newer(u32),
}

impl Fixed {
    /// The head of a spare segment.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.cluster.0);
        out.resize(FIXED_BYTES, 0);
        let crc = fixed_checksum(&out);
        out[12..16].copy_from_slice(&crc.to_le_bytes());
        out.resize(HEAD_BYTES, 0);
        out
    }

    pub(crate) fn decode(segment: &[u8]) -> Result<Self, Fault> {
        if segment.len() < HEAD_BYTES {
            return Err(Fault::Short);
        }
        if &segment[..8] != MAGIC {
            return Err(Fault::Damaged("it does not begin with PLURIXLG"));
        }
        if array(segment, 12) != fixed_checksum(&segment[..FIXED_BYTES]).to_le_bytes() {
            return Err(Fault::Damaged("the checksum of its head does not match"));
        }
        match u32::from_le_bytes(array(segment, 8)) {
            0 => return Err(Fault::Damaged("its version is zero")),
            1..=FORMAT_VERSION => {}
            newer => return Err(Fault::Newer(newer)),
        }
        Ok(Self {
            index: u64::from_le_bytes(array(segment, 16)),
            bytes: u64::from_le_bytes(array(segment, 24)),
            cluster: ClusterId(array(segment, 32)),
        })
    }
}

/// What stands where a segment's beginning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Nothing was appended yet.
    Spare,
    /// The stamp of the last record before the segment.
    After(Stamp),
    Damaged,
}

/// The beginning of segment `index` after a record stamped `last`.
pub(crate) fn encode_beginning(index: u64, last: Stamp, synced: CommitNumber) -> Vec<u8> {
    let mut out = Vec::with_capacity(BEGINNING_BYTES);
    out.extend_from_slice(&(BEGINNING_BYTES as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&last.generation.0.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&last.term.0.to_le_bytes());
    out.extend_from_slice(&last.number.0.to_le_bytes());
    out.extend_from_slice(&synced.0.to_le_bytes());
    out.resize(BEGINNING_BYTES, 0);
    let crc = beginning_checksum(index, &out);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads the beginning of segment `index`, whose head is complete.
pub(crate) fn beginning(segment: &[u8], index: u64) -> Beginning {
    let bytes = &segment[BEGINNING_AT..SEAL_AT];
    if bytes[..8] == [0; 8] {
        return Beginning::Spare;
    }
    if array(bytes, 4) != beginning_checksum(index, bytes).to_le_bytes() {
        return Beginning::Damaged;
    }
    Beginning::After(Stamp {
        generation: Generation(u32::from_le_bytes(array(bytes, 8))),
        term: Term(u64::from_le_bytes(array(bytes, 16))),
        number: CommitNumber(u64::from_le_bytes(array(bytes, 24))),
    })
}

/// What stands where a segment's seal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seal {
    Open,
    /// The records end here, and the next segment follows.
    End(u64),
    Damaged,
}

/// The seal of segment `index` whose records end at `end`.
pub(crate) fn encode_seal(index: u64, end: u64) -> u64 {
    let end = u32::try_from(end).expect("a segment is shorter than 4 GiB");
    u64::from(end) | u64::from(seal_checksum(index, end)) << 32
}

/// Reads the seal of segment `index`, whose head is complete.
pub(crate) fn seal(segment: &[u8], index: u64) -> Seal {
    let end = u32::from_le_bytes(array(segment, SEAL_AT));
    let crc = u32::from_le_bytes(array(segment, SEAL_AT + 4));
    match (end, crc) {
        (0, 0) => Seal::Open,
        _ if crc == seal_checksum(index, end) => Seal::End(u64::from(end)),
        _ => Seal::Damaged,
    }
}

fn fixed_checksum(fixed: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&fixed[..12]);
    hasher.update(&fixed[16..]);
    hasher.finalize()
}

fn beginning_checksum(index: u64, beginning: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(&beginning[..4]);
    hasher.update(&beginning[8..]);
    hasher.finalize()
}

fn seal_checksum(index: u64, end: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(&end.to_le_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXED: Fixed = Fixed {
        index: 3,
        bytes: 1 << 20,
        cluster: ClusterId([5; 16]),
    };

    fn begun() -> (Stamp, Vec<u8>) {
        let stamp = Stamp {
            generation: Generation(1),
            term: Term(2),
            number: CommitNumber(77),
        };
        let mut head = FIXED.encode();
        head[BEGINNING_AT..SEAL_AT].copy_from_slice(&encode_beginning(3, stamp, CommitNumber(70)));
        head[SEAL_AT..].copy_from_slice(&encode_seal(3, 4096).to_le_bytes());
        (stamp, head)
    }

    #[test]
    fn what_was_written_is_read() {
        let (stamp, head) = begun();
        assert_eq!(Fixed::decode(&head), Ok(FIXED));
        assert_eq!(beginning(&head, 3), Beginning::After(stamp));
        assert_eq!(seal(&head, 3), Seal::End(4096));
        assert_eq!(beginning(&FIXED.encode(), 3), Beginning::Spare);
        assert_eq!(seal(&FIXED.encode(), 3), Seal::Open);
    }

    #[test]
    fn each_flipped_bit_is_noticed() {
        let (_, head) = begun();
        for bit in 0..head.len() * 8 {
            let mut flipped = head.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let noticed = match bit / 8 {
                at if at < BEGINNING_AT => {
                    matches!(Fixed::decode(&flipped), Err(Fault::Damaged(_)))
                }
                at if at < SEAL_AT => beginning(&flipped, 3) == Beginning::Damaged,
                _ => seal(&flipped, 3) == Seal::Damaged,
            };
            assert!(noticed, "bit {bit}");
        }
    }

    #[test]
    fn names_and_indices_belong_together() {
        assert_eq!(name(1), "log/0000000000000001.log");
        assert_eq!(index_of("0000000000000001.log"), Some(1));
        for other in [
            "1.log",
            "0000000000000001.log.new",
            "0000000000000001",
            "x.log",
        ] {
            assert_eq!(index_of(other), None, "{other}");
        }
    }
}
