//! The heap's own management, which lives in the heap as transactional data.

use crate::error::Result;
use crate::station::Station;

impl Station {
    /// Opens the heap.
    pub(crate) fn open_heap(&mut self) -> Result<()> {
        Ok(())
    }
}
