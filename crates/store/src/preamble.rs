//! What everything but the log begins with in a store's directory: the identity, manifests, heads and
//! footers of images, and heads of exported checkpoints.
//!
//! ```text
//!  0          8         12      16
//! +----------+---------+-------+-----
//! | magic    | version | crc32 | …
//! | u8 × 8   | u32     | u32   |
//! +----------+---------+-------+-----
//! ```
//!
//! The checksum covers all of it but itself, in every version, so that a flipped bit is not taken for
//! a newer version.

use crate::identity::array;

/// Where the checksum stands.
const CRC_AT: usize = 12;
const BYTES: usize = 16;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    Damaged(&'static str),
    Newer(u32),
}

/// Puts the checksum into bytes that are complete otherwise.
pub(crate) fn write_checksum(bytes: &mut [u8]) {
    let crc = checksum(bytes);
    bytes[CRC_AT..BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Checks magic, checksum and version, in the order in which they can be believed. Versions up to
/// `known` are understood; bytes with another magic are what `other` says.
pub(crate) fn check(
    bytes: &[u8],
    magic: &[u8; 8],
    known: u32,
    other: &'static str,
) -> Result<(), Fault> {
    if bytes.len() < BYTES || &bytes[..8] != magic {
        return Err(Fault::Damaged(other));
    }
    if array(bytes, CRC_AT) != checksum(bytes).to_le_bytes() {
        return Err(Fault::Damaged("a checksum does not match"));
    }
    match u32::from_le_bytes(array(bytes, 8)) {
        0 => Err(Fault::Damaged("its version is zero")),
        version if version > known => Err(Fault::Newer(version)),
        _ => Ok(()),
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..CRC_AT]);
    hasher.update(&bytes[BYTES..]);
    hasher.finalize()
}

/// What must hold of whatever has a preamble.
#[cfg(test)]
pub(crate) mod testing {
    use std::fmt::Debug;

    use super::{Fault, write_checksum};

    /// Each flipped bit is damage, and each newer version is one.
    pub(crate) fn flips_and_versions_are_noticed<T: Debug>(
        bytes: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, Fault>,
    ) {
        decode(bytes).expect("it is whole");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let decoded = decode(&flipped);
            assert!(matches!(decoded, Err(Fault::Damaged(_))), "bit {bit}");
        }
        let mut newer = bytes.to_vec();
        newer[8] = 9;
        write_checksum(&mut newer);
        assert_eq!(decode(&newer).expect_err("unknown"), Fault::Newer(9));
    }

    /// Each beginning is damage.
    pub(crate) fn truncations_are_noticed<T: Debug>(
        bytes: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, Fault>,
    ) {
        for length in 0..bytes.len() {
            let decoded = decode(&bytes[..length]);
            assert!(matches!(decoded, Err(Fault::Damaged(_))), "{length}");
        }
    }
}
