//! The bytes of an image file, whose diagram is in `docs/file-format.md`: a head, blobs of pages, and
//! a tail with the index, the leader's state and the footer.
//!
//! Everything is covered by a checksum: the head and the footer by their own, the index and the state
//! by those in the footer, and each blob by the one in its index entry. The padding is zero.

use plurix_wire::record::Stamp;
use plurix_wire::{CheckpointId, ClusterId, CommitNumber, Generation, PageNumber, Term};

use crate::identity::array;
use crate::preamble;
pub(crate) use crate::preamble::Fault;

/// Version of the format of images and manifests that this program writes.
pub const IMAGE_VERSION: u32 = 1;
/// Where images lie in a store's directory.
pub(crate) const DIRECTORY: &str = "images";
/// The head and the unit of a file's length, so that a file can be written past the kernel's cache.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Bytes of an entry of the index.
pub(crate) const ENTRY_BYTES: usize = 20;
/// Bytes of the footer, which ends the file.
pub(crate) const FOOTER_BYTES: usize = 128;

const HEAD_MAGIC: &[u8; 8] = b"PLURIXIM";
const FOOTER_MAGIC: &[u8; 8] = b"PLURIXIE";

/// The name of image `id`.
pub(crate) fn name(id: CheckpointId) -> String {
    format!("{DIRECTORY}/{:010}.image", id.0)
}

/// The number in the name of an entry of the images' directory, if it is an image.
pub(crate) fn id_of(entry: &str) -> Option<CheckpointId> {
    let digits = entry.strip_suffix(".image")?;
    let id = digits.parse().ok()?;
    (format!("{id:010}") == digits).then_some(CheckpointId(id))
}

/// How the bytes of a page are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// Not at all: every byte is zero.
    Zero,
    /// As they are.
    #[default]
    Raw,
    /// As an LZ4 block.
    Lz4,
    /// As a Zstandard frame.
    Zstd,
}

impl Codec {
    fn number(self) -> u8 {
        match self {
            Self::Zero => 0,
            Self::Raw => 1,
            Self::Lz4 => 2,
            Self::Zstd => 3,
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Self::Zero, Self::Raw, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| codec.number() == number)
    }
}

/// Where a page is in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) page: PageNumber,
    /// Offset of the blob in the file.
    pub(crate) at: u64,
    /// Length of the blob, at most that of a page.
    pub(crate) length: u16,
    pub(crate) codec: Codec,
    /// Of the blob.
    pub(crate) crc: u32,
}

impl Entry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.page.0.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&[self.codec.number(), 0]);
    }

    /// The entry in `bytes`, which are [`ENTRY_BYTES`].
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            page: PageNumber(u32::from_le_bytes(array(bytes, 0))),
            crc: u32::from_le_bytes(array(bytes, 4)),
            at: u64::from_le_bytes(array(bytes, 8)),
            length: u16::from_le_bytes(array(bytes, 16)),
            codec: Codec::of(bytes[18])?,
        })
    }
}

/// The first block of image `id`.
pub(crate) fn encode_head(id: CheckpointId, cluster: ClusterId) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK_BYTES);
    out.extend_from_slice(HEAD_MAGIC);
    out.extend_from_slice(&IMAGE_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&u64::from(id.0).to_le_bytes());
    out.extend_from_slice(&cluster.0);
    out.resize(BLOCK_BYTES, 0);
    preamble::write_checksum(&mut out);
    out
}

/// Checks the first block of image `id`.
pub(crate) fn check_head(bytes: &[u8], id: CheckpointId, cluster: ClusterId) -> Result<(), Fault> {
    preamble::check(
        bytes,
        HEAD_MAGIC,
        IMAGE_VERSION,
        "it does not begin with PLURIXIM",
    )?;
    if array(bytes, 16) != u64::from(id.0).to_le_bytes() {
        return Err(Fault::Damaged("it is another image than its name says"));
    }
    if array(bytes, 24) != cluster.0 {
        return Err(Fault::Damaged("it is an image of another cluster"));
    }
    Ok(())
}

/// What ends an image, and leads to its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) id: CheckpointId,
    pub(crate) cluster: ClusterId,
    /// The cut.
    pub(crate) stamp: Stamp,
    pub(crate) index_at: u64,
    pub(crate) entries: u64,
    pub(crate) index_crc: u32,
    pub(crate) state_at: u64,
    pub(crate) state_bytes: u64,
    pub(crate) state_crc: u32,
}

impl Footer {
    pub(crate) fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = Vec::with_capacity(FOOTER_BYTES);
        out.extend_from_slice(FOOTER_MAGIC);
        out.extend_from_slice(&IMAGE_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&u64::from(self.id.0).to_le_bytes());
        out.extend_from_slice(&self.cluster.0);
        out.extend_from_slice(&u64::from(self.stamp.generation.0).to_le_bytes());
        out.extend_from_slice(&self.stamp.term.0.to_le_bytes());
        out.extend_from_slice(&self.stamp.number.0.to_le_bytes());
        out.extend_from_slice(&self.index_at.to_le_bytes());
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.extend_from_slice(&self.state_at.to_le_bytes());
        out.extend_from_slice(&self.state_bytes.to_le_bytes());
        out.extend_from_slice(&self.index_crc.to_le_bytes());
        out.extend_from_slice(&self.state_crc.to_le_bytes());
        out.resize(FOOTER_BYTES, 0);
        preamble::write_checksum(&mut out);
        out.try_into().expect("resized to the array's length")
    }

    /// The footer in `bytes`, which are [`FOOTER_BYTES`], of a file of `file_bytes`.
    pub(crate) fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, Fault> {
        preamble::check(
            bytes,
            FOOTER_MAGIC,
            IMAGE_VERSION,
            "it does not end with a footer",
        )?;
        let field = |at| u64::from_le_bytes(array(bytes, at));
        let small =
            |at| u32::try_from(field(at)).map_err(|_| Fault::Damaged("a number is too large"));
        let footer = Self {
            id: CheckpointId(small(16)?),
            cluster: ClusterId(array(bytes, 24)),
            stamp: Stamp {
                generation: Generation(small(40)?),
                term: Term(field(48)),
                number: CommitNumber(field(56)),
            },
            index_at: field(64),
            entries: field(72),
            state_at: field(80),
            state_bytes: field(88),
            index_crc: u32::from_le_bytes(array(bytes, 96)),
            state_crc: u32::from_le_bytes(array(bytes, 100)),
        };
        if !footer.fits(file_bytes) || !footer.stamp.has_successor() {
            return Err(Fault::Damaged("its footer contradicts itself"));
        }
        Ok(footer)
    }

    /// Whether the parts lie one behind the other within a file of so many bytes.
    fn fits(&self, file_bytes: u64) -> bool {
        let index_bytes = self.entries.checked_mul(ENTRY_BYTES as u64);
        let index_end = index_bytes.and_then(|bytes| self.index_at.checked_add(bytes));
        let state_end = self.state_at.checked_add(self.state_bytes);
        let end = file_bytes.checked_sub(FOOTER_BYTES as u64);
        self.index_at >= BLOCK_BYTES as u64
            && index_end == Some(self.state_at)
            && state_end.zip(end).is_some_and(|(state, end)| state <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preamble::testing;

    const ID: CheckpointId = CheckpointId(7);
    const CLUSTER: ClusterId = ClusterId([3; 16]);

    fn footer() -> Footer {
        Footer {
            id: ID,
            cluster: CLUSTER,
            stamp: Stamp {
                generation: Generation(1),
                term: Term(4),
                number: CommitNumber(99),
            },
            index_at: 8192,
            entries: 3,
            index_crc: 5,
            state_at: 8252,
            state_bytes: 11,
            state_crc: 6,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(check_head(&encode_head(ID, CLUSTER), ID, CLUSTER), Ok(()));
        assert_eq!(Footer::decode(&footer().encode(), 12288), Ok(footer()));
        for codec in [Codec::Zero, Codec::Raw, Codec::Lz4, Codec::Zstd] {
            let entry = Entry {
                page: PageNumber(9),
                at: 1 << 33,
                length: 4096,
                codec,
                crc: 77,
            };
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(bytes.len(), ENTRY_BYTES);
            assert_eq!(Entry::decode(&bytes), Some(entry));
        }
    }

    #[test]
    fn flips_and_versions_are_noticed() {
        let (head, foot) = (encode_head(ID, CLUSTER), footer().encode());
        testing::flips_and_versions_are_noticed(&head, |bytes| check_head(bytes, ID, CLUSTER));
        testing::flips_and_versions_are_noticed(&foot, |bytes| Footer::decode(bytes, 12288));
    }

    #[test]
    fn a_footer_that_leads_out_of_its_file_is_damage() {
        for file_bytes in [0, 127, 8252, 8390] {
            let decoded = Footer::decode(&footer().encode(), file_bytes);
            assert!(matches!(decoded, Err(Fault::Damaged(_))), "{file_bytes}");
        }
        assert!(Footer::decode(&footer().encode(), 8391).is_ok());
    }

    #[test]
    fn names_and_numbers_belong_together() {
        assert_eq!(name(ID), "images/0000000007.image");
        assert_eq!(id_of("0000000007.image"), Some(ID));
        for other in ["7.image", "0000000007.image.new", "0000000007", "x.image"] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
