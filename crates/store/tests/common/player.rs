//! Plays the leader: a heap that commits change, and checkpoints of it that are collected while it
//! goes on changing. What every commit left is remembered, so that a restored heap can be judged.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use plurix_store::{Checkpoint, CheckpointError, Cut, Disk, Options, ReplayError, Store, Strategy};
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{CommitNumber, Generation, PAGE_BYTES, PageBytes, PageNumber, WriteSetBuilder};

use super::{Error, mix};

/// The pages of a heap that are not all zero, by number.
pub(crate) type Heap = BTreeMap<u32, PageBytes>;

/// Applies a commit.
pub(crate) fn apply(heap: &mut Heap, record: &Record) {
    let Body::Commit { writes, .. } = &record.body else {
        return;
    };
    for section in writes.sections() {
        let page = heap.entry(section.page().0).or_insert([0; PAGE_BYTES]);
        section.apply(page);
    }
}

/// A store, restored: its heap, and the state that came with the checkpoint.
pub(crate) struct Restored<D: Disk> {
    pub(crate) store: Store<D>,
    pub(crate) heap: Heap,
    pub(crate) state: Vec<u8>,
    pub(crate) last: Stamp,
    pub(crate) generation: Option<Generation>,
    /// Records behind the checkpoint.
    pub(crate) records: u64,
    pub(crate) passed_over: usize,
}

/// Opens a store and reads all of its heap.
pub(crate) fn restore<D: Disk>(disk: D, options: Options) -> Result<Restored<D>, Error> {
    let mut store = Store::create_or_open(disk, options).map_err(Error::Open)?;
    let base = store.base().clone();
    let mut heap = Heap::new();
    let stored = store.stored_pages();
    for page in stored.pages() {
        let bytes = stored.read(page).map_err(Error::Page)?;
        heap.insert(page.0, *bytes.expect("it was listed"));
    }
    let recovered = store
        .replay(|record| {
            apply(&mut heap, record);
            Ok::<_, Infallible>(())
        })
        .map_err(|error: ReplayError| Error::Replay(error))?;
    heap.retain(|_, bytes| *bytes != [0; PAGE_BYTES]);
    Ok(Restored {
        store,
        heap,
        state: base.state,
        last: recovered.last,
        generation: recovered.new_generation,
        records: recovered.records,
        passed_over: base.passed_over.len(),
    })
}

/// A leader of random commits.
pub(crate) struct Player<D: Disk> {
    pub(crate) store: Store<D>,
    pub(crate) heap: Heap,
    dirty: BTreeSet<u32>,
    /// Pages as of the cut that are yet to be collected.
    frozen: Vec<(u32, PageBytes)>,
    /// Pages changed in the window of the running checkpoint, dirty again if it fails.
    window: BTreeSet<u32>,
    seed: u64,
    draws: u64,
    /// Pages that commits write to.
    pub(crate) pages: u64,
}

impl<D: Disk> Player<D> {
    /// Leads what was restored; answers nothing if the disk is dead.
    pub(crate) fn lead(restored: Restored<D>, seed: u64) -> Option<Self> {
        let Restored {
            mut store, heap, ..
        } = restored;
        store.begin_term().ok()?;
        if restored.generation.is_some() {
            store.begin_generation(restored.last.number).ok()?;
        }
        // What came from the log since the checkpoint is dirty; to take all for that does no harm.
        let dirty = match restored.records {
            0 => BTreeSet::new(),
            _ => heap.keys().copied().collect(),
        };
        Some(Self {
            store,
            heap,
            dirty,
            frozen: Vec::new(),
            window: BTreeSet::new(),
            seed,
            draws: 0,
            pages: 24,
        })
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.draws += 1;
        mix(self.seed, self.draws) % below
    }

    /// The next commit, which changes a few bytes of a page or two.
    pub(crate) fn commit(&mut self) -> Record {
        let mut builder = WriteSetBuilder::new();
        let first = self.draw(self.pages) as u32;
        let second = first + 1 + self.draw(5) as u32;
        for page in [first, second].into_iter().take(1 + self.draw(2) as usize) {
            let length = 1 + self.draw(200) as usize;
            let at = self.draw((PAGE_BYTES - length) as u64) as usize;
            let value = self.draw(4) as u8;
            builder.push(PageNumber(page), at, &vec![value; length]);
        }
        let last = self.store.last();
        let body = match super::commit(last, 1, 0).body {
            Body::Commit {
                id, acknowledged, ..
            } => Body::Commit {
                id,
                acknowledged,
                writes: builder.finish(),
            },
            _ => unreachable!("it is a commit"),
        };
        let number = last.number.next();
        Record {
            stamp: Stamp { number, ..last },
            body,
        }
    }

    /// Logs and applies `record`; answers whether there was room.
    pub(crate) fn append(&mut self, record: &Record) -> bool {
        // Once to ask for the next segment, and once to take it.
        self.store.maintain(Duration::ZERO);
        self.store.maintain(Duration::ZERO);
        if record.encoded_bytes() as u64 > self.store.room() {
            return false;
        }
        self.store.append(record).expect("the log is open");
        if let Body::Commit { writes, .. } = &record.body {
            self.dirty
                .extend(writes.sections().map(|section| section.page().0));
        }
        apply(&mut self.heap, record);
        true
    }

    /// Begins a checkpoint, whose state names its cut.
    pub(crate) fn begin(&mut self, strategy: Strategy) {
        let stamp = self.store.last();
        self.store.begin_checkpoint(Cut {
            stamp,
            state: stamp.number.0.to_le_bytes().to_vec(),
            strategy,
        });
        self.window = std::mem::take(&mut self.dirty);
        let frozen = self
            .window
            .iter()
            .filter_map(|page| self.heap.get_key_value(page));
        self.frozen = frozen.map(|(page, bytes)| (*page, *bytes)).collect();
        if strategy == Strategy::Log {
            self.frozen.clear();
        }
        self.collect();
    }

    /// Hands a few frozen pages to the store, and says so when there are no more.
    pub(crate) fn collect(&mut self) {
        let room = self.store.checkpoint_room().min(3);
        let take = room.min(self.frozen.len());
        let pages = self.frozen.drain(..take);
        let pages: Vec<_> = pages
            .map(|(page, bytes)| (PageNumber(page), Arc::new(bytes)))
            .collect();
        if !pages.is_empty() {
            self.store.add_to_checkpoint(pages);
        }
        if self.frozen.is_empty() && self.store.checkpoint_room() > 0 {
            self.store
                .finish_checkpoint()
                .expect("the log has not failed");
        }
    }

    /// Lets the checkpoint go on.
    pub(crate) fn poll(&mut self) -> Option<Result<Checkpoint, CheckpointError>> {
        if self.store.is_checkpointing() && self.store.checkpoint_room() > 0 {
            self.collect();
        }
        let _ = self.store.poll_sync();
        let outcome = self.store.poll_checkpoint();
        if let Some(Err(_)) = &outcome {
            self.dirty.append(&mut self.window);
            self.frozen.clear();
        }
        outcome
    }

    /// Takes a checkpoint to its end.
    pub(crate) fn checkpoint(&mut self, strategy: Strategy) -> Result<Checkpoint, CheckpointError> {
        self.begin(strategy);
        loop {
            self.store.drain();
            if let Some(outcome) = self.poll() {
                return outcome;
            }
            std::thread::yield_now();
        }
    }

    /// The heap without pages that are all zero.
    pub(crate) fn visible(&self) -> Heap {
        let mut heap = self.heap.clone();
        heap.retain(|_, bytes| *bytes != [0; PAGE_BYTES]);
        heap
    }

    /// The newest commit.
    pub(crate) fn number(&self) -> CommitNumber {
        self.store.last().number
    }
}
