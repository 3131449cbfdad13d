//! A station's memory: the real view on its emulated back end, where nothing faults, so that whoever
//! loads or stores asks the protocol first, as the handler of a fault would.

use plurix_memory::{Mechanism, View, ViewHandle};
use plurix_wire::PAGE_BYTES;

use super::script::Spot;
use crate::oracle::{Violation, demand};

/// The protocol's side, and the program's.
pub(super) struct Memory {
    pub(super) view: View,
    handle: ViewHandle,
}

impl Memory {
    pub(super) fn new(pages: u32) -> Self {
        let bytes = u64::from(pages) * PAGE_BYTES as u64;
        let view = View::reserve(bytes, Some(Mechanism::Emulated));
        let view = view.expect("an emulated view asks nothing of the kernel");
        Self {
            handle: view.handle(),
            view,
        }
    }

    /// Loads a byte of a page that the protocol says is open.
    pub(super) fn load(&self, spot: Spot) -> Result<u8, Violation> {
        match self.handle.slice::<u8>(offset(spot), 1) {
            Ok(bytes) => Ok(bytes[0]),
            Err(error) => Err(closed(spot, &error)),
        }
    }

    /// Stores to a byte of a page that the protocol says is open to stores.
    pub(super) fn store(&mut self, spot: Spot, value: u8) -> Result<(), Violation> {
        match self.handle.slice_mut::<u8>(offset(spot), 1) {
            Ok(mut bytes) => bytes[0] = value,
            Err(error) => return Err(closed(spot, &error)),
        }
        let failure = self.view.take_failure();
        demand!(failure.is_none(), "memory", "the view failed: {failure:?}");
        Ok(())
    }
}

fn offset(spot: Spot) -> u64 {
    spot.page.offset() + u64::from(spot.at)
}

fn closed(spot: Spot, error: &dyn std::error::Error) -> Violation {
    Violation {
        oracle: "memory",
        what: format!("the protocol says that {spot} is open, and it is not: {error}"),
    }
}
