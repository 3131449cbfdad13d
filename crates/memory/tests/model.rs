//! Random histories of a heap, compared step by step with a model that knows only bytes: on the
//! system's mappings, on the emulated ones, and (small) under Miri.

use std::collections::{BTreeMap, BTreeSet};

use plurix_memory::{AccessError, HeapMemory};
use plurix_wire::{LineNumber, PAGE_BYTES, PageBytes, PageNumber, WriteSet};
use proptest::prelude::*;

const PAGES: u32 = 4;
const HEAP_BYTES: u64 = PAGES as u64 * PAGE_BYTES as u64;
const LINE: u64 = 64;

#[derive(Debug, Clone)]
enum Step {
    Install {
        page: u32,
        fill: Option<u8>,
    },
    Evict {
        page: u32,
    },
    EvictAll,
    Write {
        page: u32,
        offset: usize,
        bytes: Vec<u8>,
    },
    Read {
        offset: u64,
        count: usize,
    },
    ReadWord {
        offset: u64,
    },
    Open {
        offset: u64,
        count: usize,
        changes: Vec<(usize, u8)>,
    },
    OpenWord {
        offset: u64,
        value: u32,
    },
    OpenPair {
        offsets: [u64; 2],
        values: [u32; 2],
    },
    Overwrite {
        offset: u64,
        bytes: Vec<u8>,
    },
    Rollback,
    Finish,
    /// The commit's way: own bytes aside, a foreign change beneath, own bytes back.
    Commit {
        foreign: u8,
    },
}

/// Mostly near each other, so that accesses meet; sometimes at a page's edge, sometimes anywhere.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..300u64,
        3 => (1..=u64::from(PAGES), 0..40u64).prop_map(|(page, at)| page * 4096 + at - 20),
        2 => 0..HEAP_BYTES,
        1 => any::<u64>(),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(0..3u8, 0..20),
        (0..3u8, 0..200usize).prop_map(|(value, count)| vec![value; count]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let page = || 0..PAGES;
    let count = || prop_oneof![4 => 0..200usize, 1 => 0..9000usize];
    let changes = prop::collection::vec((0..200usize, 0..3u8), 0..8);
    prop_oneof![
        4 => (page(), any::<Option<u8>>()).prop_map(|(page, fill)| Step::Install { page, fill }),
        1 => page().prop_map(|page| Step::Evict { page }),
        1 => Just(Step::EvictAll),
        2 => (page(), 0..PAGE_BYTES, bytes())
            .prop_map(|(page, offset, bytes)| Step::Write { page, offset, bytes }),
        4 => (offset(), count()).prop_map(|(offset, count)| Step::Read { offset, count }),
        4 => offset().prop_map(|offset| Step::ReadWord { offset }),
        6 => (offset(), count(), changes)
            .prop_map(|(offset, count, changes)| Step::Open { offset, count, changes }),
        4 => (offset(), 0..3u32).prop_map(|(offset, value)| Step::OpenWord { offset, value }),
        3 => ([offset(), offset()], [0..3u32, 0..3u32]).prop_map(|(offsets, values)| {
            Step::OpenPair { offsets: offsets.map(|offset| offset & !3), values }
        }),
        6 => (offset(), bytes()).prop_map(|(offset, bytes)| Step::Overwrite { offset, bytes }),
        1 => Just(Step::Rollback),
        1 => Just(Step::Finish),
        3 => (0..3u8).prop_map(|foreign| Step::Commit { foreign }),
    ]
}

/// What the heap must hold, page by page, and what the running transaction did.
#[derive(Default)]
struct Model {
    before: BTreeMap<u32, Vec<u8>>,
    now: BTreeMap<u32, Vec<u8>>,
    read: BTreeSet<u64>,
    saved: BTreeSet<u64>,
    blind: BTreeSet<u64>,
}

impl Model {
    fn is_idle(&self) -> bool {
        self.read.is_empty() && self.saved.is_empty()
    }

    fn byte(&self, at: u64) -> u8 {
        self.now[&PageNumber::of(at).0][(at % 4096) as usize]
    }

    fn set(&mut self, at: u64, value: u8) {
        let page = self
            .now
            .get_mut(&PageNumber::of(at).0)
            .expect("the page is present");
        page[(at % 4096) as usize] = value;
    }

    fn check(&self, offset: u64, length: u64, align: usize) -> Result<(), AccessError> {
        if offset
            .checked_add(length)
            .is_none_or(|end| end > HEAP_BYTES)
        {
            return Err(AccessError::OutOfBounds { offset, length });
        }
        if !offset.is_multiple_of(align as u64) {
            return Err(AccessError::Misaligned { offset, align });
        }
        let pages = (offset..offset + length).map(PageNumber::of);
        match pages
            .into_iter()
            .find(|page| !self.now.contains_key(&page.0))
        {
            Some(page) => Err(AccessError::Missing { page }),
            None => Ok(()),
        }
    }

    fn note_read(&mut self, offset: u64, length: u64) {
        self.read
            .extend((offset..offset + length).map(|at| at / LINE));
    }

    fn note_open(&mut self, offset: u64, length: u64) {
        self.note_read(offset, length);
        self.saved
            .extend((offset..offset + length).map(|at| at / LINE));
    }

    fn end(&mut self, keep: bool) {
        if keep {
            self.before = self.now.clone();
        } else {
            self.now = self.before.clone();
        }
        self.read.clear();
        self.saved.clear();
        self.blind.clear();
    }
}

struct Pair {
    heap: HeapMemory,
    model: Model,
}

impl Pair {
    fn run(&mut self, step: &Step) {
        let idle = self.model.is_idle();
        match step {
            Step::Install { page, fill } => self.install(*page, *fill),
            Step::Evict { page } if idle => {
                self.heap.evict(PageNumber(*page));
                self.model.now.remove(page);
                self.model.end(true);
            }
            Step::EvictAll if idle => {
                self.heap.evict_all();
                self.model = Model::default();
            }
            Step::Write {
                page,
                offset,
                bytes,
            } if idle => self.write(*page, *offset, bytes),
            Step::Evict { .. } | Step::EvictAll | Step::Write { .. } => {}
            Step::Read { offset, count } => self.read(*offset, *count),
            Step::ReadWord { offset } => self.read_word(*offset),
            Step::Open {
                offset,
                count,
                changes,
            } => self.open(*offset, *count, changes),
            Step::OpenWord { offset, value } => self.open_word(*offset, *value),
            Step::OpenPair { offsets, values } => self.open_pair(*offsets, *values),
            Step::Overwrite { offset, bytes } => self.overwrite(*offset, bytes),
            Step::Rollback => {
                self.heap.rollback();
                self.model.end(false);
            }
            Step::Finish => {
                self.heap.finish();
                self.model.end(true);
            }
            Step::Commit { foreign } => self.commit(*foreign),
        }
    }

    fn install(&mut self, page: u32, fill: Option<u8>) {
        if self.model.now.contains_key(&page) {
            return;
        }
        let bytes: PageBytes = [fill.unwrap_or(0); PAGE_BYTES];
        match fill {
            Some(_) => self.heap.install(PageNumber(page), &bytes),
            None => self.heap.install_zero(PageNumber(page)),
        }
        self.model.now.insert(page, bytes.to_vec());
        self.model.before.insert(page, bytes.to_vec());
    }

    fn write(&mut self, page: u32, offset: usize, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(PAGE_BYTES - offset)];
        if let Some(model) = self.model.now.get_mut(&page) {
            self.heap.write(PageNumber(page), offset, bytes);
            model[offset..offset + bytes.len()].copy_from_slice(bytes);
            self.model.end(true);
        }
    }

    fn read(&mut self, offset: u64, count: usize) {
        let expected = self.model.check(offset, count as u64, 1);
        let bytes = self.heap.read_slice::<u8>(offset, count);
        assert_eq!(bytes.map(|_| ()), expected);
        if let Ok(bytes) = bytes {
            let model = (offset..).take(count).map(|at| self.model.byte(at));
            assert!(model.eq(bytes.iter().copied()));
            self.model.note_read(offset, count as u64);
        }
    }

    fn read_word(&mut self, offset: u64) {
        let expected = self.model.check(offset, 8, 8);
        let word = self.heap.read::<u64>(offset).map(|word| word.to_ne_bytes());
        let model =
            expected.map(|()| std::array::from_fn(|at| self.model.byte(offset + at as u64)));
        assert_eq!(word, model);
        if word.is_ok() {
            self.model.note_read(offset, 8);
        }
    }

    fn open(&mut self, offset: u64, count: usize, changes: &[(usize, u8)]) {
        let expected = self.model.check(offset, count as u64, 1);
        match self.heap.open_slice::<u8>(offset, count) {
            Err(error) => assert_eq!(Err(error), expected),
            Ok(bytes) => {
                assert_eq!(expected, Ok(()));
                self.model.note_open(offset, count as u64);
                for &(at, value) in changes.iter().filter(|(at, _)| *at < count) {
                    bytes[at] = value;
                    self.model.set(offset + at as u64, value);
                }
            }
        }
    }

    fn open_word(&mut self, offset: u64, value: u32) {
        let expected = self.model.check(offset, 4, 4);
        assert_eq!(
            self.heap.open::<u32>(offset).map(|word| *word = value),
            expected
        );
        if expected.is_ok() {
            self.opened_word(offset, value);
        }
    }

    fn open_pair(&mut self, offsets: [u64; 2], values: [u32; 2]) {
        let [first, second] = offsets;
        let checks = offsets.map(|offset| self.model.check(offset, 4, 4));
        let expected = if first == second {
            Err(AccessError::Overlap { first, second })
        } else {
            checks[0].and(checks[1])
        };
        let opened = self.heap.open_many::<u32, 2>(offsets);
        assert_eq!(
            opened.map(|[a, b]| (*a, *b) = (values[0], values[1])),
            expected
        );
        match (expected, checks[0]) {
            (Ok(()), _) => offsets
                .iter()
                .zip(values)
                .for_each(|(&at, v)| self.opened_word(at, v)),
            // The first was opened before the second turned out to be missing.
            (Err(error), Ok(())) if !matches!(error, AccessError::Overlap { .. }) => {
                self.model.note_open(first, 4);
            }
            _ => {}
        }
    }

    fn opened_word(&mut self, offset: u64, value: u32) {
        self.model.note_open(offset, 4);
        for (at, byte) in (offset..).zip(value.to_ne_bytes()) {
            self.model.set(at, byte);
        }
    }

    fn overwrite(&mut self, offset: u64, bytes: &[u8]) {
        let expected = self.model.check(offset, bytes.len() as u64, 1);
        assert_eq!(self.heap.overwrite(offset, bytes), expected);
        if expected.is_ok() {
            for (at, &byte) in (offset..).zip(bytes) {
                self.model.set(at, byte);
                self.model.saved.insert(at / LINE);
                self.model.blind.insert(at);
            }
        }
    }

    fn commit(&mut self, foreign: u8) {
        let set = self.heap.write_set();
        self.check_write_set(&set);
        self.heap.rollback();
        assert!(self.heap.is_idle());
        let after = self.model.now.clone();
        self.model.now = self.model.before.clone();
        self.check_bytes();

        // Somebody else changed lines that this transaction did not read.
        let lines = [1, 3, 60].map(|line| line + LINE * u64::from(foreign));
        let mut changed = BTreeSet::new();
        for line in lines
            .into_iter()
            .filter(|line| !self.model.read.contains(line))
        {
            let page = PageNumber::of(line * LINE);
            if self.heap.is_present(page) {
                let offset = (line * LINE % 4096) as usize;
                self.heap.write(page, offset, &[foreign; 64]);
                changed.extend(line * LINE..(line + 1) * LINE);
            }
        }
        set.sections().for_each(|section| self.heap.apply(&section));
        self.model.now = after;
        for at in changed.difference(&self.model.blind.clone()) {
            self.model.set(*at, foreign);
        }
        self.model.end(true);
    }

    /// All that changed and all that was overwritten is there with its new value; what else is
    /// there was read.
    fn check_write_set(&self, set: &WriteSet) {
        let parsed = WriteSet::parse(set.as_bytes().clone()).expect("a write set is well formed");
        let mut sent = BTreeSet::new();
        for section in parsed.sections() {
            for run in section.runs() {
                let start = section.page().offset() + u64::from(run.offset);
                for (at, &byte) in (start..).zip(run.bytes) {
                    assert_eq!(byte, self.model.byte(at), "at {at}");
                    sent.insert(at);
                }
            }
        }
        let mut needed = self.model.blind.clone();
        for line in &self.model.saved {
            let page = PageNumber::of(line * LINE).0;
            let differs = |at: &u64| {
                let in_page = (at % 4096) as usize;
                self.model.before[&page][in_page] != self.model.now[&page][in_page]
            };
            needed.extend((line * LINE..(line + 1) * LINE).filter(differs));
        }
        assert!(needed.is_subset(&sent));
        assert!(
            sent.difference(&needed)
                .all(|at| self.model.read.contains(&(at / LINE)))
        );
    }

    fn check_bytes(&self) {
        for page in 0..PAGES {
            let bytes = self
                .heap
                .page_bytes(PageNumber(page))
                .map(|bytes| &bytes[..]);
            assert_eq!(
                bytes,
                self.model.now.get(&page).map(|bytes| &bytes[..]),
                "page {page}"
            );
        }
    }

    fn check(&self) {
        self.check_bytes();
        let present: Vec<_> = self
            .model
            .now
            .keys()
            .map(|&page| PageNumber(page))
            .collect();
        assert!(self.heap.present_pages().eq(present.iter().copied()));
        assert_eq!(self.heap.present_count(), present.len());
        assert!(
            self.heap
                .read_set()
                .into_iter()
                .flat_map(|read| read.lines.lines().map(move |line| (read.page, line as u32)))
                .map(|(page, line)| LineNumber::new(page, line))
                .eq(self.model.read.iter().map(|&l| LineNumber(l)))
        );
        assert_eq!(self.heap.has_writes(), !self.model.saved.is_empty());
        assert_eq!(self.heap.is_idle(), self.model.is_idle());
        for page in (0..PAGES).map(PageNumber) {
            let lines = self.heap.saved_lines(page).lines();
            let lines = lines.map(|line| LineNumber::new(page, line as u32).0);
            let model = self.model.saved.iter().copied();
            assert!(lines.eq(model.filter(|&line| LineNumber(line).page() == Some(page))));
        }
    }
}

fn compare(heap: HeapMemory, steps: &[Step]) {
    let mut pair = Pair {
        heap,
        model: Model::default(),
    };
    for step in steps {
        pair.run(step);
        pair.check();
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..if cfg!(miri) { 12 } else { 80 })
}

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 3 } else { 1500 };
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_emulated_heap_does_what_the_model_does(steps in steps()) {
        compare(HeapMemory::emulated(HEAP_BYTES).unwrap(), &steps);
    }

    #[test]
    #[cfg_attr(miri, ignore = "under Miri every heap is emulated")]
    fn a_reserved_heap_does_what_the_model_does(steps in steps()) {
        compare(HeapMemory::reserve(HEAP_BYTES).unwrap(), &steps);
    }
}
