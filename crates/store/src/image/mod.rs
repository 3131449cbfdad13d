//! Images: what a checkpoint writes. An image holds the pages that changed since the checkpoint
//! before, and the leader's state at the cut; a chain of images holds the whole heap.
//!
//! ```text
//!  writer: pages ──encode──▶ images/N.image          reader: index ──▶ locations ──▶ a page
//! ```
//!
//! An image gets its name when all of it is on disk, and never changes.

pub(crate) mod format;
pub(crate) mod locations;
mod page;
pub(crate) mod reader;
pub(crate) mod writer;

pub use format::{Codec, IMAGE_VERSION};
pub use page::Compression;
