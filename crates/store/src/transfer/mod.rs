//! A checkpoint as one file that needs nothing else: exported from a store, imported as a new one.
//!
//! ```text
//!   store ──export──▶ FILE.new ──fsync, rename──▶ FILE ──verify, import──▶ a new store
//! ```
//!
//! The file is an image of all pages, but for its first block ([`head`]), which says what a store
//! says elsewhere: the heap's size, and which terms and generations were used.

mod export;
mod head;
mod import;

pub use export::{ExportOptions, Exported};
pub use import::{ImportOptions, Imported, import};
