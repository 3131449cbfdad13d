//! Where the pages are that the leader does not have in memory.

use std::fmt::Debug;
use std::sync::Arc;

use plurix_wire::{PageBytes, PageNumber};

/// The pages as of the newest checkpoint, which the leader asks for as it asks its own memory.
///
/// To the protocol this cannot fail. If it does, the driver ends before it carries out another
/// command: nothing that was computed from bytes that are not there gets out.
pub trait Images: Debug + Send + Sync {
    /// The bytes of a page that a checkpoint holds.
    fn load(&self, page: PageNumber) -> Arc<PageBytes>;
}

/// The images of a heap that no checkpoint was taken of.
#[derive(Debug, Clone, Copy)]
pub struct NoImages;

impl Images for NoImages {
    fn load(&self, page: PageNumber) -> Arc<PageBytes> {
        unreachable!("no checkpoint holds {page}")
    }
}
