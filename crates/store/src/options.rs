//! How a store is opened: what its caller decides, and which decisions contradict each other.

use plurix_wire::ClusterId;
use plurix_wire::message::COMMIT_BYTES_MAX;
use plurix_wire::record::RECORD_BYTES_MAX;

use crate::error::OpenError;
use crate::identity::{BootId, Durability};
use crate::image::Compression;
use crate::log::{self, Shape};
use crate::segment::SEGMENT_BYTES_MAX;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// What this opening promises for an answered commit.
    pub durability: Durability,
    /// Length of new segments: a multiple of 4096.
    pub segment_bytes: u64,
    /// The longest write set of a commit; smaller ones allow for smaller segments.
    pub commit_bytes_max: u64,
    /// Size of the heap, which a store keeps for ever.
    pub heap_bytes: u64,
    /// The id of the cluster if the store is new.
    pub cluster: ClusterId,
    /// The kernel's boot id.
    pub boot: BootId,
    /// Checkpoints that are kept; two at least.
    pub checkpoints_kept: usize,
    /// How pages are stored in images.
    pub compression: Compression,
}

impl Options {
    /// The usual options: memory durability, segments of 64 MiB.
    #[must_use]
    pub fn new(heap_bytes: u64, cluster: ClusterId, boot: BootId) -> Self {
        Self {
            durability: Durability::default(),
            segment_bytes: 64 << 20,
            commit_bytes_max: COMMIT_BYTES_MAX as u64,
            heap_bytes,
            cluster,
            boot,
            checkpoints_kept: 4,
            compression: Compression::default(),
        }
    }

    fn record_bytes_max(&self) -> u64 {
        self.commit_bytes_max + (RECORD_BYTES_MAX - COMMIT_BYTES_MAX) as u64
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let segment_bytes = self.segment_bytes;
        let (least, most) = (
            log::segment_bytes_min(self.record_bytes_max()),
            SEGMENT_BYTES_MAX,
        );
        if segment_bytes.is_multiple_of(4096) && (least..=most).contains(&segment_bytes) {
            return Ok(());
        }
        Err(OpenError::SegmentBytes {
            segment_bytes,
            least,
            most,
        })
    }

    pub(crate) fn shape(&self, cluster: ClusterId) -> Shape {
        Shape {
            cluster,
            segment_bytes: self.segment_bytes,
            record_bytes_max: self.record_bytes_max(),
            durability: self.durability,
        }
    }
}
