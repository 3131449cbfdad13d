//! The old bytes of each line that the running transaction opened or overwrote.

use plurix_wire::{LINE_BYTES, LineNumber};

use crate::diff::Line;

/// A line as it was before the transaction.
pub(super) struct SavedLine {
    pub(super) line: LineNumber,
    pub(super) bytes: Line,
}

impl SavedLine {
    /// Heap offset of the line's first byte.
    pub(super) fn start(&self) -> usize {
        self.line.0 as usize * LINE_BYTES
    }
}

/// The saved lines, each once; the room for them is kept from one transaction to the next.
#[derive(Default)]
pub(super) struct Undo {
    lines: Vec<SavedLine>,
}

impl Undo {
    pub(super) fn save(&mut self, line: LineNumber, bytes: &Line) {
        self.lines.push(SavedLine {
            line,
            bytes: *bytes,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn lines(&self) -> &[SavedLine] {
        &self.lines
    }

    /// The saved lines in ascending order.
    pub(super) fn sorted(&mut self) -> &[SavedLine] {
        self.lines.sort_unstable_by_key(|saved| saved.line);
        &self.lines
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
    }
}
