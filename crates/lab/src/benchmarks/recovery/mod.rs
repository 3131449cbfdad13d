//! From a death to work again: of a station, of the page server, of everything.

pub(super) mod boot;
pub(super) mod failover;
pub(crate) mod silence;
pub(super) mod station;
