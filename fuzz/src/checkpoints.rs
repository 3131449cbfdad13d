//! The images and manifests of a directory, damaged or forged behind a sound log: what starts from them
//! has the heap that the log says, or a typed error names what is wrong; and it can be continued.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plurix::recovery;
use plurix_protocol::Time;
use plurix_protocol::leader::{self, Leader};
use plurix_store::simulated::{Machine, SimulatedDisk};
use plurix_store::{
    BootId, CheckpointError, CollectedPage, Compression, Cut, Durability, Options, Store, Strategy,
};
use plurix_wire::message::Member;
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{
    ClusterId, CommitId, CommitSequence, Incarnation, PAGE_BYTES, PageBytes, PageNumber, StationId,
    Term, WriteSetBuilder,
};

use crate::input::Input;

const PAGES: u32 = 16;
const HEAP_BYTES: u64 = PAGES as u64 * PAGE_BYTES as u64;
const HEAD_BYTES: usize = 4096;
const FOOTER_BYTES: usize = 128;
const ENTRY_BYTES: usize = 20;
/// More edits make an input slow, not better.
const EDITS_MAX: usize = 32;
/// A checkpoint that is not done by then never will be.
const POLLS_MAX: usize = 100;

type Heap = BTreeMap<u32, PageBytes>;
type Files = Vec<(String, Vec<u8>)>;

fn options(compression: Compression) -> Options {
    Options {
        segment_bytes: 8192,
        commit_bytes_max: 2048,
        compression,
        durability: Durability::Memory,
        ..Options::new(HEAP_BYTES, ClusterId([1; 16]), BootId([1; 16]))
    }
}

/// The bytes decide what is done to images and manifests before they are opened.
pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let strategy = [Strategy::NonBlocking, Strategy::Log][usize::from(input.byte() & 1)];
    let original = original();
    let mut files = original.files.clone();
    let mut is_forged = false;
    for _ in 0..EDITS_MAX {
        if input.is_over() {
            break;
        }
        is_forged |= edit(&mut input, &mut files);
    }
    let machine = Machine::new();
    for (name, bytes) in files {
        machine.put(&name, bytes);
    }
    // A page that cannot be read condemns its image, and the next start does without.
    for _ in 0..8 {
        match start(&machine, strategy, (!is_forged).then_some(&original.heap)) {
            Ending::Unreadable => machine.kill(),
            Ending::Refused => return,
            Ending::LedOn(heap) => {
                machine.kill();
                let again = start(&machine, strategy, (!is_forged).then_some(&heap));
                let is_whole = matches!(again, Ending::LedOn(_));
                assert!(
                    is_forged || is_whole,
                    "what was just written cannot be read"
                );
                return;
            }
        }
    }
    assert!(is_forged, "one condemned image is met again and again");
}

/// What became of a start.
enum Ending {
    Refused,
    /// A page could not be read, and its image is condemned.
    Unreadable,
    /// It took a checkpoint of this heap.
    LedOn(Heap),
}

/// Starts from what is there as a page server does, reads every page, commits, and takes a
/// checkpoint. A sound heap must be the `expected` one.
fn start(machine: &Machine, strategy: Strategy, expected: Option<&Heap>) -> Ending {
    let Ok(mut store) = Store::create_or_open(machine.disk(), options(Compression::Lz4)) else {
        return Ending::Refused;
    };
    let Ok((mut leader, images)) = recovery::start_leader(&mut store, settings()) else {
        return Ending::Refused;
    };
    let replayed = store.replay(|record| leader.replay(record));
    let mut heap = Heap::new();
    for page in 0..PAGES {
        if let Some(bytes) = leader.page(PageNumber(page)) {
            heap.insert(page, *bytes);
        }
    }
    if let Some(failure) = images.take_failure() {
        return match store.condemn(failure.image) {
            Ok(()) => Ending::Unreadable,
            Err(_) => Ending::Refused,
        };
    }
    let Ok(recovered) = replayed else {
        return Ending::Refused;
    };
    if let Some(expected) = expected {
        let is_visible = |bytes: &PageBytes| *bytes != [0; PAGE_BYTES];
        heap.retain(|_, bytes| is_visible(bytes));
        assert!(heap == *expected, "it is another heap than the log's");
    }
    let Ok(term) = store.begin_term() else {
        return Ending::Refused;
    };
    leader.start(Time(0), term, recovered.new_generation);
    lead_on(store, &mut leader, strategy, heap)
}

/// One more commit, and a checkpoint of all.
fn lead_on(
    mut store: Store<SimulatedDisk>,
    leader: &mut Leader,
    strategy: Strategy,
    mut heap: Heap,
) -> Ending {
    let last = store.last();
    if !last.has_successor()
        || store
            .checkpoints()
            .last()
            .is_some_and(|newest| newest.id.0 > 1000)
    {
        return Ending::Refused; // Forged to be among the last of all.
    }
    store.maintain(Duration::ZERO);
    store.maintain(Duration::ZERO);
    let record = commit(last);
    if store.room() < record.encoded_bytes() as u64 || store.append(&record).is_err() {
        return Ending::Refused;
    }
    apply(&mut heap, &record);
    let pages = heap
        .iter()
        .map(|(page, bytes)| (PageNumber(*page), Arc::new(*bytes)));
    let state = leader.encode_state();
    match checkpoint(&mut store, strategy, pages.collect(), state) {
        Ok(()) => Ending::LedOn(heap),
        // Pages to be carried, or to be folded into, are read first.
        Err(_) => Ending::Refused,
    }
}

fn settings() -> leader::Settings {
    leader::Settings::new(HEAP_BYTES, leader::Durability::Memory)
}

fn checkpoint(
    store: &mut Store<SimulatedDisk>,
    strategy: Strategy,
    pages: Vec<CollectedPage>,
    state: Vec<u8>,
) -> Result<(), CheckpointError> {
    let stamp = store.last();
    store.begin_checkpoint(Cut {
        stamp,
        state,
        strategy,
    });
    if strategy != Strategy::Log {
        store.add_to_checkpoint(pages);
    }
    store.finish_checkpoint().expect("the log has not failed");
    for _ in 0..POLLS_MAX {
        store.drain();
        if let Some(synced) = store.poll_sync() {
            synced.expect("the disk is sound");
        }
        if let Some(outcome) = store.poll_checkpoint() {
            return outcome.map(drop);
        }
    }
    panic!("a checkpoint has no end");
}

/// Changes one file of the checkpoints; answers whether checksums were computed anew.
fn edit(input: &mut Input<'_>, files: &mut Files) -> bool {
    let ours = |(at, (name, _)): (usize, &(String, Vec<u8>))| {
        (name.starts_with("images/") || name.starts_with("manifest.")).then_some(at)
    };
    let candidates: Vec<usize> = files.iter().enumerate().filter_map(ours).collect();
    let Some(chosen) = input.pick(&candidates) else {
        return false;
    };
    let (name, bytes) = &mut files[chosen];
    match input.below(8) {
        0..=3 => poke(input, name, bytes),
        4 => {
            let at = input.below(bytes.len() + 1);
            bytes.truncate(at);
        }
        5 => bytes.resize(bytes.len() + input.below(2 * HEAD_BYTES), 0),
        6 => drop(files.remove(chosen)),
        _ => {
            seal_all(files);
            return true;
        }
    }
    false
}

/// Changes a few bytes, mostly in a part where they matter.
fn poke(input: &mut Input<'_>, name: &str, bytes: &mut [u8]) {
    let length = bytes.len();
    let (from, to) = match input.below(4) {
        _ if name.starts_with("manifest.") => (0, length),
        0 => (0, 64),
        1 => (length.saturating_sub(FOOTER_BYTES), length),
        2 => {
            let at = footer_field(bytes, 64).unwrap_or(0);
            (at, at.saturating_add(200))
        }
        _ => (0, length),
    };
    let (from, to) = (from.min(length), to.min(length));
    let at = from + input.below((to - from).max(1));
    let end = (at + 1 + input.below(8)).min(length);
    bytes[at.min(end)..end].fill_with(|| input.byte());
}

/// A number in the footer of an image.
fn footer_field(image: &[u8], at: usize) -> Option<usize> {
    let footer = image.len().checked_sub(FOOTER_BYTES)?;
    let bytes = image[footer + at..].first_chunk()?;
    usize::try_from(u64::from_le_bytes(*bytes)).ok()
}

/// Puts all checksums right, and what the manifests say of their images.
fn seal_all(files: &mut Files) {
    let mut footers = BTreeMap::new();
    for (name, bytes) in files
        .iter_mut()
        .filter(|(name, _)| name.starts_with("images/"))
    {
        if bytes.len() < HEAD_BYTES + FOOTER_BYTES {
            continue;
        }
        seal(&mut bytes[..HEAD_BYTES]);
        let index = part(
            bytes,
            footer_field(bytes, 64),
            footer_field(bytes, 72),
            ENTRY_BYTES,
        );
        let state = part(bytes, footer_field(bytes, 80), footer_field(bytes, 88), 1);
        let footer_at = bytes.len() - FOOTER_BYTES;
        let footer = &mut bytes[footer_at..];
        footer[96..100].copy_from_slice(&index.to_le_bytes());
        footer[100..104].copy_from_slice(&state.to_le_bytes());
        seal(footer);
        let crc: [u8; 4] = footer[12..16].try_into().expect("four bytes");
        footers.insert(name.clone(), (crc, bytes.len() as u64));
    }
    for (_, bytes) in files
        .iter_mut()
        .filter(|(name, _)| name.starts_with("manifest."))
    {
        if bytes.len() < 64 {
            continue;
        }
        for record in bytes[64..].chunks_exact_mut(32) {
            let id = u32::from_le_bytes(*record.first_chunk().expect("32 bytes"));
            if let Some((crc, length)) = footers.get(&format!("images/{id:010}.image")) {
                record[4..8].copy_from_slice(crc);
                record[8..16].copy_from_slice(&length.to_le_bytes());
            } else {
                break;
            }
        }
        seal(bytes);
    }
}

/// The checksum of `count` elements of so many bytes from `at` on, where there are such.
fn part(bytes: &[u8], at: Option<usize>, count: Option<usize>, each: usize) -> u32 {
    let end = count.and_then(|count| at?.checked_add(count.checked_mul(each)?));
    let part = at.zip(end).and_then(|(at, end)| bytes.get(at..end));
    part.map_or(0, crc32fast::hash)
}

/// Puts the checksum right that stands at byte 12 and covers everything but itself.
fn seal(bytes: &mut [u8]) {
    let right = crc32fast::hash(&[&bytes[..12], &bytes[16..]].concat());
    bytes[12..16].copy_from_slice(&right.to_le_bytes());
}

fn record(stamp: Stamp, body: Body) -> Record {
    Record { stamp, body }
}

/// The commit that follows `last`: some bytes of two pages.
fn commit(last: Stamp) -> Record {
    let mut builder = WriteSetBuilder::new();
    let number = last.number.next();
    let page = (number.0 * 5 % u64::from(PAGES - 1)) as u32;
    let length = 1 + (number.0 as usize * 97) % 400;
    builder.push(PageNumber(page), 8, &vec![number.0 as u8; length]);
    builder.push(PageNumber(page + 1), 0, &number.0.to_le_bytes());
    let body = Body::Commit {
        id: CommitId {
            incarnation: Incarnation::of(Term(1), 1),
            sequence: CommitSequence(number.0),
        },
        acknowledged: CommitSequence(number.0.saturating_sub(3)),
        writes: builder.finish(),
    };
    record(Stamp { number, ..last }, body)
}

fn apply(heap: &mut Heap, record: &Record) {
    let Body::Commit { writes, .. } = &record.body else {
        return;
    };
    for section in writes.sections() {
        let page = heap.entry(section.page().0).or_insert([0; PAGE_BYTES]);
        section.apply(page);
    }
}

/// A directory with checkpoints, and the heap that it holds.
struct Directory {
    files: Files,
    heap: Heap,
}

fn original() -> &'static Directory {
    static ORIGINAL: OnceLock<Directory> = OnceLock::new();
    ORIGINAL.get_or_init(make)
}

/// Four checkpoints, each of other pages in another way, and a log behind the last one. The log
/// reaches back to the second last.
fn make() -> Directory {
    let machine = Machine::new();
    let mut heap = Heap::new();
    let compressions = [Compression::None, Compression::Lz4, Compression::Zstd];
    for (term, compression) in (1..).zip(compressions) {
        let store = Store::create_or_open(machine.disk(), options(compression));
        let mut store = store.expect("a directory can be opened");
        let started = recovery::start_leader(&mut store, settings());
        let (mut leader, _) = started.expect("the state is sound");
        let replayed = store.replay(|record| leader.replay(record));
        replayed.expect("the log is sound");
        let begun = store.begin_term().expect("the disk is sound");
        leader.start(Time(0), begun, None);
        if term == 1 {
            let member = Member {
                station: StationId(1),
                incarnation: Incarnation::of(Term(1), 1),
                observer: false,
            };
            let joined = record(store.last(), Body::Joined(member));
            log(&mut store, &mut leader, &mut heap, &joined);
        }
        for _ in 0..2 {
            let mut changed = BTreeMap::new();
            for _ in 0..7 {
                let record = commit(store.last());
                log(&mut store, &mut leader, &mut changed, &record);
                apply(&mut heap, &record);
            }
            let pages = changed
                .keys()
                .map(|page| (PageNumber(*page), Arc::new(heap[page])));
            let (pages, state) = (pages.collect(), leader.encode_state());
            let taken = checkpoint(&mut store, Strategy::NonBlocking, pages, state);
            taken.expect("the disk is sound");
        }
        for _ in 0..3 {
            let record = commit(store.last());
            log(&mut store, &mut leader, &mut heap, &record);
        }
        drop(store);
        machine.kill();
    }
    let names = machine.names().into_iter();
    let files = names.filter_map(|name| Some((name.clone(), machine.bytes(&name)?)));
    Directory {
        files: files.collect(),
        heap,
    }
}

fn log(store: &mut Store<SimulatedDisk>, leader: &mut Leader, heap: &mut Heap, record: &Record) {
    store.maintain(Duration::ZERO);
    store.maintain(Duration::ZERO);
    store.append(record).expect("there is room");
    leader.replay(record).expect("it follows the one before");
    apply(heap, record);
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("untouched", vec![0]),
        ("folded", vec![1]),
        ("poked", [[0; 8], [3, 1, 200, 1, 8, 9, 10, 11]].concat()),
        ("sealed", [[0, 2, 0, 1, 30, 3, 2, 1], [7; 8]].concat()),
        ("shortened", [[1, 1, 4, 90, 2, 4, 7, 5], [7; 8]].concat()),
        ("removed", vec![0, 3, 6, 3, 6]),
    ]
}
