//! Who wrote each line last, for the pages that were written lately.

use plurix_wire::{CommitNumber, LINES_PER_PAGE, LineMask, PageNumber};

/// The last writer of each line of a bounded number of pages, replaced by the clock algorithm
/// (Corbató 1968).
#[derive(Debug, Clone, Hash)]
pub(crate) struct LineWriters {
    slots: Vec<Writers>,
    capacity: usize,
    hand: usize,
}

#[derive(Debug, Clone, Hash)]
struct Writers {
    page: PageNumber,
    touched: bool,
    last: Box<[CommitNumber; LINES_PER_PAGE]>,
    /// What stands for all writers before the page became recent.
    floor: CommitNumber,
}

impl LineWriters {
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "at least one page must be recent");
        Self {
            slots: Vec::new(),
            capacity,
            hand: 0,
        }
    }

    pub(crate) fn touch(&mut self, slot: u32) {
        self.slots[slot as usize].touched = true;
    }

    /// A slot for `page`, and the page that lost it.
    pub(crate) fn take(&mut self, page: PageNumber) -> (u32, Option<PageNumber>) {
        if self.slots.len() < self.capacity {
            let last = Box::new([CommitNumber(0); LINES_PER_PAGE]);
            self.slots.push(Writers {
                page,
                touched: true,
                last,
                floor: CommitNumber(0),
            });
            return ((self.slots.len() - 1) as u32, None);
        }
        loop {
            let slot = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let writers = &mut self.slots[slot];
            if !std::mem::take(&mut writers.touched) {
                writers.touched = true;
                return (
                    slot as u32,
                    Some(std::mem::replace(&mut writers.page, page)),
                );
            }
        }
    }

    /// Notes that `number` wrote `lines`. A page that has just become recent has all its lines set
    /// to its `floor`, the newest commit that wrote any of them.
    pub(crate) fn record(
        &mut self,
        slot: u32,
        floor: Option<CommitNumber>,
        lines: LineMask,
        number: CommitNumber,
    ) {
        let writers = &mut self.slots[slot as usize];
        if let Some(floor) = floor {
            writers.last.fill(floor);
            writers.floor = floor;
        }
        lines.lines().for_each(|line| writers.last[line] = number);
    }

    /// The commit that wrote `line` last, if it is known for certain.
    pub(crate) fn last(&self, slot: u32, line: usize) -> Option<CommitNumber> {
        let writers = &self.slots[slot as usize];
        let last = writers.last[line];
        (last != writers.floor).then_some(last)
    }

    pub(crate) fn written_since(&self, slot: u32, snapshot: CommitNumber) -> LineMask {
        let last = &self.slots[slot as usize].last;
        LineMask((0..LINES_PER_PAGE).fold(0, |mask, line| {
            mask | u64::from(last[line] > snapshot) << line
        }))
    }
}
