//! The file `cluster`: whose store this is, and what its last leadership promised. It is replaced
//! as a whole, so it is always the one of before or the one of after.
//!
//! ```text
//!  0          8         12        16           32       40     48        64           68     69
//! +----------+---------+---------+------------+--------+------+---------+------------+------+------+
//! | PLURIXID | version | crc32   | cluster id | heap   | term | boot id | generation | mode | zero |
//! | u8 × 8   | u32     | u32     | u8 × 16    | bytes  | u64  | u8 × 16 | u32        | u8   | × 27 |
//! +----------+---------+---------+------------+--------+------+---------+------------+------+------+
//! ```

use plurix_wire::record::Stamp;
use plurix_wire::{ClusterId, Generation, Term};

use crate::preamble::{self, Fault};

/// Version of every format in the store's directory that this program writes.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const NAME: &str = "cluster";
const MAGIC: &[u8; 8] = b"PLURIXID";
const BYTES: usize = 96;

/// Names one run of the kernel: what was in its cache is gone in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// No run of the kernel: that of a store which nobody has led yet, though it has a term.
    pub(crate) const NONE: Self = Self([0; 16]);
}

/// What an answered commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of every process; a power cut leads to a new generation.
    #[default]
    Memory,
    /// A power cut as well: the caller answers after [`sync`](crate::Store::sync).
    Durable,
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// Size of the heap.
    pub(crate) heap_bytes: u64,
    /// The newest leadership that may have said anything, here or where the store was imported from;
    /// zero if there was none.
    pub(crate) term: Term,
    /// The boot of that leadership; [`BootId::NONE`] if it was elsewhere.
    pub(crate) boot: BootId,
    /// The newest generation that was, or had to be, begun.
    pub(crate) generation: Generation,
    /// What that leadership promised.
    pub(crate) durability: Durability,
}

impl Identity {
    /// Whether there was a leadership that may have answered commits.
    pub(crate) fn was_led(&self) -> bool {
        self.term != Term(0) && self.boot != BootId::NONE
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.cluster.0);
        out.extend_from_slice(&self.heap_bytes.to_le_bytes());
        out.extend_from_slice(&self.term.0.to_le_bytes());
        out.extend_from_slice(&self.boot.0);
        out.extend_from_slice(&self.generation.0.to_le_bytes());
        out.push(match self.durability {
            Durability::Memory => 0,
            Durability::Durable => 1,
        });
        out.resize(BYTES, 0);
        preamble::write_checksum(&mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        preamble::check(
            bytes,
            MAGIC,
            FORMAT_VERSION,
            "it does not begin with PLURIXID",
        )?;
        if bytes.len() != BYTES {
            return Err(Fault::Damaged("its length does not fit its version"));
        }
        let stamp = Stamp {
            generation: Generation(u32::from_le_bytes(array(bytes, 64))),
            term: Term(u64::from_le_bytes(array(bytes, 40))),
            ..Stamp::default()
        };
        if !stamp.has_successor() {
            return Err(Fault::Damaged("its term or generation is impossible"));
        }
        Ok(Self {
            cluster: ClusterId(array(bytes, 16)),
            heap_bytes: u64::from_le_bytes(array(bytes, 32)),
            term: stamp.term,
            boot: BootId(array(bytes, 48)),
            generation: stamp.generation,
            durability: match bytes[68] {
                0 => Durability::Memory,
                1 => Durability::Durable,
                _ => return Err(Fault::Damaged("its durability is unknown")),
            },
        })
    }
}

/// The `N` bytes at `at`, which the caller knows to be there.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a slice of N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preamble::testing;

    fn sample() -> Identity {
        Identity {
            cluster: ClusterId([7; 16]),
            heap_bytes: 1 << 40,
            term: Term(3),
            boot: BootId([9; 16]),
            generation: Generation(2),
            durability: Durability::Durable,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Identity::decode(&sample().encode()), Ok(sample()));
    }

    #[test]
    fn flips_versions_and_truncations_are_noticed() {
        let bytes = sample().encode();
        testing::flips_and_versions_are_noticed(&bytes, Identity::decode);
        testing::truncations_are_noticed(&bytes, Identity::decode);
    }

    #[test]
    fn a_term_or_generation_that_nothing_can_follow_is_damage() {
        let term = Term(u64::from(u32::MAX));
        let generation = Generation(u32::MAX);
        for impossible in [
            Identity { term, ..sample() },
            Identity {
                generation,
                ..sample()
            },
        ] {
            let decoded = Identity::decode(&impossible.encode());
            assert!(matches!(decoded, Err(Fault::Damaged(_))), "{decoded:?}");
        }
    }

    #[test]
    fn a_newer_version_may_be_longer() {
        let mut bytes = sample().encode();
        bytes[8] = 9;
        bytes.extend_from_slice(&[1; 40]);
        preamble::write_checksum(&mut bytes);
        assert_eq!(Identity::decode(&bytes), Err(Fault::Newer(9)));
    }
}
