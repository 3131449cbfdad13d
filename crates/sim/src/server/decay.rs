//! Bits that flip on the disk while no page server runs: one starts on a damaged copy of the disk,
//! and its oracle compares what it says with a start on the sound one. What it refuses, an operator
//! restores; what it does not mind stays on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use plurix_store::simulated::{Machine, SimulatedDisk};
use plurix_store::{Options, Store, Strategy};
use plurix_wire::PAGE_BYTES;
use plurix_wire::record::{Body, Record};

use crate::oracle::Violation;
use crate::oracle::decay::{self, Heap, Loaded, Refusal, Start};
use crate::world::World;

/// So many flips are tried, each alone, in a disk that decays.
const FLIPS_MAX: u64 = 4;

/// A bit that has flipped in an image or manifest, and did no harm alone.
pub(crate) struct Flipped {
    file: String,
    bit: u64,
    /// The whole file with that bit. One of the same name with other bytes was written since.
    bytes: Vec<u8>,
}

impl World {
    /// Flips bits; answers whether the page server refuses to start until they are restored.
    pub(super) fn decay(&mut self) -> Result<bool, Violation> {
        let names = self.server.machine.names();
        if names.is_empty() {
            return Ok(false);
        }
        let mut sound = start(&copy(&self.server.machine), &self.server.options);
        if let Ok(sound) = &mut sound
            && self.server.flipped.is_some()
        {
            // What could be done without is used up.
            sound.spared.clear();
        }
        let mut is_refused = false;
        for _ in 0..self.decay.within(1..FLIPS_MAX + 1) {
            let file = self.any_file(&names);
            let Some(bit) = self.any_bit(file) else {
                continue;
            };
            let machine = copy(&self.server.machine);
            machine.flip_bit(file, bit);
            let damaged = start(&machine, &self.server.options);
            let before = self.server.flipped.as_ref();
            let before = before.map(|flipped| flipped.file.as_str());
            let harmless = decay::judge(file, before, &sound, &damaged)?;
            self.note(format_args!(
                "bit {bit} of {file} flips: {}",
                match &damaged {
                    Err(refusal) => refusal.to_string(),
                    Ok(loaded) => format!("{} records", loaded.records.len()),
                }
            ));
            if harmless {
                self.tally.decay_harmless += 1;
                if self.keeps_flip(file, &sound) {
                    self.server.machine.flip_bit(file, bit);
                }
                if self.server.flipped.is_none() && !file.starts_with("log/") {
                    self.server.flipped = Some(Flipped {
                        file: file.clone(),
                        bit,
                        bytes: self.server.machine.bytes(file).unwrap_or_default(),
                    });
                    return Ok(is_refused);
                }
            } else if damaged.is_err() && sound.is_ok() {
                self.tally.decay_noticed += 1;
                is_refused = true;
            }
        }
        Ok(is_refused)
    }

    /// Whether a flip that does no harm stays. One that uses up what could be done without is the only
    /// one; and of a log that goes back behind a checkpoint, what is needed is not seen from outside.
    fn keeps_flip(&self, file: &str, sound: &Start) -> bool {
        match file.starts_with("log/") {
            true => sound
                .as_ref()
                .is_ok_and(|loaded| loaded.checkpoint.is_none()),
            false => self.server.flipped.is_none(),
        }
    }

    /// An operator puts a damaged image back in order, if that is what keeps the page server from
    /// starting; answers whether it was.
    pub(crate) fn restore_file(&mut self) -> bool {
        let is_image = |flipped: &&Flipped| flipped.file.starts_with("images/");
        let Some(flipped) = self.server.flipped.as_ref().filter(is_image) else {
            return false;
        };
        let Some(bytes) = self.server.machine.bytes(&flipped.file) else {
            // It was collected; a manifest may still name it.
            return false;
        };
        let is_damaged = bytes == flipped.bytes;
        if is_damaged {
            self.server.machine.flip_bit(&flipped.file, flipped.bit);
        }
        self.server.flipped = None;
        is_damaged
    }

    /// A file, often the newest image: of all files it is the one that there is a substitute for.
    fn any_file<'n>(&mut self, names: &'n [String]) -> &'n String {
        let newest = names.iter().rfind(|name| name.starts_with("images/"));
        match newest.filter(|_| self.decay.chance(40)) {
            Some(newest) => newest,
            None => &names[self.decay.below(names.len() as u64) as usize],
        }
    }

    /// A bit of a file, mostly one of the bytes that somebody wrote.
    fn any_bit(&mut self, file: &str) -> Option<u64> {
        let bytes = self.server.machine.bytes(file)?;
        let written = bytes.iter().rposition(|byte| *byte != 0);
        let length = match written {
            Some(last) if self.decay.chance(90) => last as u64 + 1,
            _ => bytes.len() as u64,
        };
        (length > 0).then(|| self.decay.below(8 * length))
    }
}

/// The same files on another machine, as a process finds them.
fn copy(machine: &Machine) -> Machine {
    let copy = Machine::new();
    for name in machine.names() {
        copy.put(&name, machine.bytes(&name).unwrap_or_default());
    }
    copy
}

/// Starts a page server on the machine as far as the end of its replay, and reads all of the heap. An
/// image of which a page cannot be read is condemned, and the next process starts without it.
fn start(machine: &Machine, options: &Options) -> Start {
    let mut mended = Vec::new();
    loop {
        match start_once(machine, options) {
            Err(Refusal::Page(unreadable)) => {
                machine.kill();
                let mut store = Store::create_or_open(machine.disk(), options.clone())?;
                let passed_over = &store.base().passed_over;
                // Whoever condemns an image writes a manifest, in the place of a damaged one.
                mended.extend(passed_over.iter().map(|passed| passed.why.clone()));
                if store.condemn(unreadable.image).is_err() {
                    return Err(Refusal::Page(unreadable));
                }
                machine.kill();
            }
            started => {
                return started.map(|mut loaded| {
                    loaded.passed_over.extend(mended);
                    loaded
                });
            }
        }
    }
}

fn start_once(machine: &Machine, options: &Options) -> Start {
    let mut store = Store::create_or_open(machine.disk(), options.clone())?;
    let base = store.base().clone();
    let spared = match base.passed_over.is_empty() {
        true => spared(machine, &store),
        false => BTreeSet::new(),
    };
    let mut heap = Heap::new();
    let stored = store.stored_pages();
    for page in stored.pages() {
        let bytes = stored.read(page).map_err(Refusal::Page)?;
        heap.insert(page, Box::new(*bytes.expect("it was listed")));
    }
    let mut records = Vec::new();
    let recovered = store.replay(|record| {
        apply(&mut heap, record);
        records.push(record.clone());
        Ok::<(), Infallible>(())
    })?;
    heap.retain(|_, bytes| **bytes != [0; PAGE_BYTES]);
    Ok(Loaded {
        checkpoint: base.checkpoint.map(|checkpoint| checkpoint.id),
        passed_over: base
            .passed_over
            .into_iter()
            .map(|passed| passed.why)
            .collect(),
        spared,
        heap,
        recovered,
        records,
    })
}

fn apply(heap: &mut Heap, record: &Record) {
    let Body::Commit { writes, .. } = &record.body else {
        return;
    };
    for section in writes.sections() {
        let page = heap.entry(section.page());
        section.apply(page.or_insert_with(|| Box::new([0; PAGE_BYTES])));
    }
}

/// The files without which the heap can be restored all the same: those of the newest checkpoint
/// alone, and one of two manifests.
fn spared(machine: &Machine, store: &Store<SimulatedDisk>) -> BTreeSet<String> {
    let mut users = BTreeMap::<u32, u32>::new();
    for checkpoint in store.checkpoints() {
        checkpoint
            .images
            .iter()
            .for_each(|image| *users.entry(image.0).or_default() += 1);
    }
    let newest = store.checkpoints().last();
    let needed = newest.into_iter().flat_map(|newest| &newest.images);
    let alone = needed.filter(|image| users.get(&image.0) == Some(&1));
    let mut spared: BTreeSet<String> = alone
        .map(|image| format!("images/{:010}.image", image.0))
        .collect();
    let has_first_segment = machine.bytes("log/0000000000000001.log").is_some();
    let is_alone = store.checkpoints().len() < 2 && !has_first_segment;
    // What is older leads elsewhere than the log behind it.
    let begins_log = newest.is_some_and(|newest| newest.strategy == Strategy::Restored);
    if is_alone || begins_log {
        spared.clear();
    }
    let manifests = ["manifest.0", "manifest.1"];
    if manifests.iter().all(|name| machine.bytes(name).is_some()) {
        spared.extend(manifests.map(str::to_owned));
    }
    spared
}
