//! The bytes of requests in flight: they are in memory, above what others have made of it, until they
//! are settled.
//!
//! ```text
//!   memory    a B C d     what transactions see
//!   layers    . 1 2 .     bytes of the requests 1 and 2, which are in flight
//!   base      a b c d     what is settled; what others change goes here, and shows where no layer is
//! ```

#![allow(unsafe_code)]

use std::ops::Range;

use plurix_wire::canary::{self, Canary};
use plurix_wire::{
    CommitSequence, LINE_BYTES, LineNumber, PAGE_BYTES, PageNumber, Run, Section, WriteSet,
};
use rustc_hash::FxHashMap;

use super::{HeapMemory, start_of};
use crate::diff::Line;

/// The lines that hold bytes of requests in flight.
#[derive(Default)]
pub(super) struct Pending(FxHashMap<LineNumber, Layered>);

/// A line with bytes of requests in flight.
struct Layered {
    base: Line,
    /// The bytes of a run, bit `i` for byte `i`; ascending by request. Mostly there is one.
    first: Layer,
    more: Vec<Layer>,
}

type Layer = (CommitSequence, u64);

impl Layered {
    fn push(&mut self, layer: Layer) {
        self.more.push(layer);
    }

    /// The bytes that some request in flight has written.
    fn covered(&self) -> u64 {
        let more = self.more.iter().fold(0, |mask, (_, bytes)| mask | bytes);
        self.first.1 | more
    }

    /// Whether the oldest layer is that of `sequence`: it has one unless the page had left memory.
    fn has(&self, sequence: CommitSequence) -> bool {
        self.first.0 == sequence
    }

    /// Forgets the oldest layer; answers whether there is none left.
    fn pop(&mut self) -> bool {
        if self.more.is_empty() {
            return true;
        }
        self.first = self.more.remove(0);
        false
    }

    /// What is seen: the base, where no layer is; else what is in memory.
    fn seen(&self, in_memory: &Line) -> Line {
        let covered = self.covered();
        std::array::from_fn(|byte| {
            let is_covered = covered >> byte & 1 != 0;
            if is_covered {
                in_memory[byte]
            } else {
                self.base[byte]
            }
        })
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The page leaves memory.
    pub(super) fn forget(&mut self, page: PageNumber) {
        if !self.0.is_empty() {
            let lines = 0..(PAGE_BYTES / LINE_BYTES) as u32;
            lines.for_each(|line| drop(self.0.remove(&LineNumber::new(page, line))));
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }
}

/// The part of a run that lies in one line.
struct Piece<'a> {
    line: LineNumber,
    /// Where in the line.
    range: Range<usize>,
    bytes: &'a [u8],
}

impl Piece<'_> {
    fn mask(&self) -> u64 {
        u64::MAX >> (LINE_BYTES - self.range.len()) << self.range.start
    }

    /// Where in the heap.
    fn start(&self) -> usize {
        start_of_line(self.line) + self.range.start
    }
}

fn start_of_line(line: LineNumber) -> usize {
    line.0 as usize * LINE_BYTES
}

/// The run, line by line.
fn pieces(page: PageNumber, run: Run<'_>) -> impl Iterator<Item = Piece<'_>> {
    let (mut at, mut rest) = (usize::from(run.offset), run.bytes);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let first = at % LINE_BYTES;
        let (bytes, behind) = rest.split_at(rest.len().min(LINE_BYTES - first));
        let line = LineNumber::new(page, (at / LINE_BYTES) as u32);
        (at, rest) = (at + bytes.len(), behind);
        Some(Piece {
            line,
            range: first..first + bytes.len(),
            bytes,
        })
    })
}

impl HeapMemory {
    /// Ends the transaction; its bytes, all of `writes`, stay as those of request `sequence`, which is
    /// newer than all in flight. From now on [`apply`](Self::apply) goes beneath them.
    ///
    /// # Panics
    /// If `writes` names a line that the transaction did not change.
    pub fn pend(&mut self, sequence: CommitSequence, writes: &WriteSet) {
        let mut saved = self.undo.sorted().iter();
        let mut current = None;
        for section in writes.sections() {
            for piece in section.runs().flat_map(|run| pieces(section.page(), run)) {
                let layer = (sequence, piece.mask());
                if let Some(layered) = self.pending.0.get_mut(&piece.line) {
                    layered.push(layer);
                    continue;
                }
                let before = current
                    .filter(|saved: &&super::undo::SavedLine| saved.line == piece.line)
                    .or_else(|| saved.find(|saved| saved.line == piece.line));
                current = before;
                let layered = Layered {
                    base: before.expect("a line that is written was saved").bytes,
                    first: layer,
                    more: Vec::new(),
                };
                self.pending.0.insert(piece.line, layered);
            }
        }
        self.finish();
    }

    /// One section of request `sequence`, the oldest in flight, is settled: its bytes become part of
    /// what lies beneath, or of nothing if they are not to be `put` there.
    ///
    /// # Panics
    /// If a transaction is in progress.
    pub fn keep(&mut self, sequence: CommitSequence, section: &Section<'_>, put: bool) {
        self.assert_idle();
        for piece in section.runs().flat_map(|run| pieces(section.page(), run)) {
            let Some(layered) = self.pending.0.get_mut(&piece.line) else {
                // The page left memory, and has come back without them.
                if put && self.is_present(section.page()) {
                    // SAFETY: `&mut self` excludes every reference into the heap.
                    unsafe { self.memory.store(piece.start(), piece.bytes) };
                }
                continue;
            };
            if put {
                layered.base[piece.range.clone()].copy_from_slice(piece.bytes);
            }
            let had = layered.has(sequence);
            let is_last = had && layered.pop();
            if !had || !put {
                self.show(piece.line, is_last);
            }
            if is_last {
                self.pending.0.remove(&piece.line);
            }
        }
    }

    /// The bytes of everything in flight are replaced by what lies beneath.
    ///
    /// # Panics
    /// If a transaction is in progress.
    pub fn take_back(&mut self) {
        self.assert_idle();
        for (line, layered) in self.pending.0.drain() {
            // SAFETY: `&mut self` excludes every reference into the heap.
            unsafe { self.memory.store(start_of_line(line), &layered.base) };
        }
    }

    /// Writes `section` beneath what is in flight.
    pub(super) fn apply_beneath(&mut self, section: &Section<'_>) {
        for piece in section.runs().flat_map(|run| pieces(section.page(), run)) {
            if let Some(layered) = self.pending.0.get_mut(&piece.line) {
                layered.base[piece.range.clone()].copy_from_slice(piece.bytes);
                self.show(piece.line, canary::strikes(Canary::ApplyOver));
            } else {
                let start = start_of(section.page());
                self.write_present(section.page(), piece.start() - start, piece.bytes);
            }
        }
    }

    /// Makes a line with bytes in flight what is to be seen of it; all of its base if it is `bare`.
    fn show(&mut self, line: LineNumber, bare: bool) {
        let layered = &self.pending.0[&line];
        let start = start_of_line(line);
        // SAFETY: `&mut self` excludes writers; lines with bytes in flight are in present pages.
        let in_memory = unsafe { self.memory.array::<LINE_BYTES>(start) };
        let seen = if bare {
            layered.base
        } else {
            layered.seen(in_memory)
        };
        // SAFETY: `&mut self` excludes every reference into the heap.
        unsafe { self.memory.store(start, &seen) };
    }
}
