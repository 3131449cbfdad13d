//! A station's pages, as little as the protocol asks of them, and what a transaction does with
//! them. The real memory maps pages and cannot be cloned a million times; it has tests of its own.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plurix_protocol::station::{Install, Pages, Station};
use plurix_wire::message::PageLines;
use plurix_wire::{
    Incarnation, LINE_BYTES, LineMask, PAGE_BYTES, PageBytes, PageNumber, Section, WriteSet,
    WriteSetBuilder,
};

/// Eight bytes at the beginning of a line of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell {
    pub(crate) page: PageNumber,
    pub(crate) line: usize,
}

impl Cell {
    pub(crate) const fn new(page: u32, line: usize) -> Self {
        Self {
            page: PageNumber(page),
            line,
        }
    }

    pub(crate) fn offset(self) -> usize {
        self.line * LINE_BYTES
    }
}

/// The pages that a station has, and what its transaction has changed in them.
#[derive(Debug, Clone, Hash, Default)]
pub(crate) struct Memory {
    pub(crate) pages: BTreeMap<PageNumber, Arc<PageBytes>>,
    /// What to put back if the transaction does not commit.
    undo: Vec<(Cell, u64)>,
}

impl Memory {
    /// The memory as the protocol wants it lent.
    pub(crate) fn lend(&mut self) -> Lent<'_> {
        Lent(RefCell::new(self))
    }

    fn load(&self, cell: Cell) -> Result<u64, Missing> {
        let page = self.pages.get(&cell.page).ok_or(Missing(cell.page))?;
        let bytes = &page[cell.offset()..][..8];
        Ok(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    }

    fn store(&mut self, cell: Cell, value: u64) {
        let page = self.pages.get_mut(&cell.page).expect("a present page");
        Arc::make_mut(page)[cell.offset()..][..8].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn rollback(&mut self) {
        for (cell, before) in std::mem::take(&mut self.undo).into_iter().rev() {
            self.store(cell, before);
        }
    }
}

/// Memory lent to one call of the station.
pub(crate) struct Lent<'a>(RefCell<&'a mut Memory>);

impl Install for Lent<'_> {
    fn install(&self, page: PageNumber, bytes: &PageBytes) {
        let before = self.0.borrow_mut().pages.insert(page, Arc::new(*bytes));
        assert!(before.is_none(), "only an absent page is installed");
    }

    fn install_zero(&self, page: PageNumber) {
        self.install(page, &[0; PAGE_BYTES]);
    }
}

impl Pages for Lent<'_> {
    fn apply(&mut self, section: &Section<'_>) {
        let memory = self.0.get_mut();
        let page = memory.pages.get_mut(&section.page());
        section.apply(Arc::make_mut(
            page.expect("changes are applied to present pages"),
        ));
    }

    fn evict(&mut self, page: PageNumber) {
        let before = self.0.get_mut().pages.remove(&page);
        assert!(before.is_some(), "only a present page is evicted");
    }

    fn finish(&mut self) {
        self.0.get_mut().undo.clear();
    }

    fn rollback(&mut self) {
        self.0.get_mut().rollback();
    }
}

/// The transaction needs this page before it can go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missing(pub(crate) PageNumber);

/// One run of a transaction's body.
pub(crate) struct Tx<'a> {
    memory: &'a mut Memory,
    station: &'a Station,
    /// What was read of the snapshot, in order.
    pub(crate) seen: Vec<(Cell, u64)>,
    /// Whose end was relied on.
    pub(crate) dead: BTreeSet<Incarnation>,
    checked: BTreeSet<Cell>,
    written: BTreeMap<Cell, u64>,
}

impl<'a> Tx<'a> {
    pub(crate) fn new(memory: &'a mut Memory, station: &'a Station) -> Self {
        Self {
            memory,
            station,
            seen: Vec::new(),
            dead: BTreeSet::new(),
            checked: BTreeSet::new(),
            written: BTreeMap::new(),
        }
    }

    /// Reads a cell; the commit depends on it.
    pub(crate) fn read(&mut self, cell: Cell) -> Result<u64, Missing> {
        let value = self.memory.load(cell)?;
        self.checked.insert(cell);
        if !self.written.contains_key(&cell) {
            self.seen.push((cell, value));
        }
        Ok(value)
    }

    /// Writes a cell that the transaction need not know.
    pub(crate) fn blind(&mut self, cell: Cell, value: u64) -> Result<(), Missing> {
        let before = self.memory.load(cell)?;
        self.memory.undo.push((cell, before));
        self.memory.store(cell, value);
        self.written.insert(cell, value);
        Ok(())
    }

    /// Writes a cell that the transaction has opened, and so read.
    pub(crate) fn write(&mut self, cell: Cell, value: u64) -> Result<(), Missing> {
        self.read(cell)?;
        self.blind(cell, value)
    }

    /// This life.
    pub(crate) fn own(&self) -> Incarnation {
        self.station
            .incarnation()
            .expect("a transaction runs in a session")
    }

    /// Whether this life counts among the living, as of the snapshot.
    pub(crate) fn is_alive(&mut self, incarnation: Incarnation) -> bool {
        let alive = self.station.is_alive(incarnation);
        if !alive {
            self.dead.insert(incarnation);
        }
        alive
    }

    /// The lines read, as a commit names them.
    pub(crate) fn read_set(&self) -> Vec<PageLines> {
        let mut lines: BTreeMap<PageNumber, LineMask> = BTreeMap::new();
        for cell in &self.checked {
            lines.entry(cell.page).or_default().0 |= 1 << cell.line;
        }
        let reads = lines.into_iter();
        reads
            .map(|(page, lines)| PageLines { page, lines })
            .collect()
    }

    /// The bytes changed, as a commit carries them.
    pub(crate) fn write_set(&self) -> WriteSet {
        let mut builder = WriteSetBuilder::new();
        for (cell, value) in &self.written {
            builder.push(cell.page, cell.offset(), &value.to_le_bytes());
        }
        builder.finish()
    }
}
