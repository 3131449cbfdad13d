//! The first block of an exported checkpoint.
//!
//! ```text
//!  0          8         12      16    24           40      48      56     64           72         4096
//! +----------+---------+-------+-----+------------+-------+-------+------+------------+---------+
//! | PLURIXCP | version | crc32 | id  | cluster id | heap  | taken | term | generation | zero    |
//! | u8 × 8   | u32     | u32   | u64 | u8 × 16    | bytes | at ms | u64  | u64        |         |
//! |          |         |       |     |            | u64   | u64   |      |            |         |
//! +----------+---------+-------+-----+------------+-------+-------+------+------------+---------+
//! ```
//!
//! `term` and `generation` are the newest that the store had used when the file was written; what is
//! made of the file goes on behind them.

use plurix_wire::record::Stamp;
use plurix_wire::{CheckpointId, ClusterId, Generation, Term};

use crate::identity::array;
use crate::image::format::BLOCK_BYTES;
use crate::preamble::{self, Fault};

/// Version of the format that this program writes. What follows the head is an image.
pub(crate) const EXPORT_VERSION: u32 = crate::image::IMAGE_VERSION;

const MAGIC: &[u8; 8] = b"PLURIXCP";

/// What the first block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: CheckpointId,
    pub(crate) cluster: ClusterId,
    pub(crate) heap_bytes: u64,
    /// When the checkpoint was complete, in milliseconds since 1970.
    pub(crate) taken_at_ms: u64,
    pub(crate) term: Term,
    pub(crate) generation: Generation,
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&EXPORT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&u64::from(self.id.0).to_le_bytes());
        out.extend_from_slice(&self.cluster.0);
        out.extend_from_slice(&self.heap_bytes.to_le_bytes());
        out.extend_from_slice(&self.taken_at_ms.to_le_bytes());
        out.extend_from_slice(&self.term.0.to_le_bytes());
        out.extend_from_slice(&u64::from(self.generation.0).to_le_bytes());
        out.resize(BLOCK_BYTES, 0);
        preamble::write_checksum(&mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        preamble::check(bytes, MAGIC, EXPORT_VERSION, "it is no exported checkpoint")?;
        let field = |at| u64::from_le_bytes(array(bytes, at));
        let small =
            |at| u32::try_from(field(at)).map_err(|_| Fault::Damaged("a number is too large"));
        let head = Self {
            id: CheckpointId(small(16)?),
            cluster: ClusterId(array(bytes, 24)),
            heap_bytes: field(40),
            taken_at_ms: field(48),
            term: Term(field(56)),
            generation: Generation(small(64)?),
        };
        let used = Stamp {
            generation: head.generation,
            term: head.term,
            ..Stamp::default()
        };
        // The first thing that follows is a term, and a generation.
        let goes_on = used.has_successor() && head.generation.next().0 < u32::MAX;
        goes_on
            .then_some(head)
            .ok_or(Fault::Damaged("its term or generation is impossible"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preamble::testing;

    fn sample() -> Head {
        Head {
            id: CheckpointId(7),
            cluster: ClusterId([3; 16]),
            heap_bytes: 1 << 40,
            taken_at_ms: 5,
            term: Term(8),
            generation: Generation(2),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Head::decode(&sample().encode()), Ok(sample()));
    }

    #[test]
    fn flips_and_versions_are_noticed() {
        testing::flips_and_versions_are_noticed(&sample().encode(), Head::decode);
    }

    #[test]
    fn what_nothing_can_follow_is_damage() {
        let generation = Generation(u32::MAX - 1);
        let last = Head {
            generation,
            ..sample()
        };
        assert!(matches!(
            Head::decode(&last.encode()),
            Err(Fault::Damaged(_))
        ));
    }
}
