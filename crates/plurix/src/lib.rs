//! Plurix.

pub mod net;
