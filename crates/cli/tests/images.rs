//! What decay, a lost file and a newer program do to the images and manifests of checkpoints: an older
//! checkpoint and the log give the same heap, or the page server names the file and does not start.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::ledger::{Ledger, wait_for_checkpoint};
use common::{Member, assert_fails, output, wait_for};
use plurix::Station;
use rustix::process::Signal;
use tempfile::TempDir;

/// How many changes each heap is through when its page server is killed.
const CHANGES: u64 = 60;
/// Where the parts of the files are; `docs/file-format.md` has all of this.
const BLOCK_BYTES: usize = 4096;
const FOOTER_BYTES: usize = 128;
const INDEX_AT: usize = 64;
const VERSION_AT: usize = 8;
const CHECKSUM_AT: usize = 12;

/// A heap whose page server was killed, with several checkpoints and a log behind the newest one.
struct Killed {
    dir: TempDir,
}

impl Killed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (server, address) = Member::server(&dir.path().join("heap"), "--every 20ms");
        let mut ledger = Ledger::join(&address).unwrap();
        for number in (1..=CHANGES).step_by(10) {
            ledger.change_through(number);
            wait_for_checkpoint(&address);
        }
        ledger.change_through(CHANGES);
        server.signal(Signal::KILL);
        server.end();
        Self { dir }
    }

    /// As [`new`](Self::new), with a log that does not reach back to the empty heap.
    fn with_short_log() -> Self {
        let killed = Self::new();
        let (server, address) =
            Member::server(&killed.heap(), "--every 20ms --segment-bytes 20MiB");
        let mut station = Station::join(&address.parse().unwrap(), Default::default()).unwrap();
        let values = vec![0u8; 1 << 20];
        let bulk = station.transaction(|tx| tx.alloc_slice_from(&values));
        let bulk = bulk.unwrap();
        let mut value = 0;
        wait_for("the log to be shortened", || {
            value += 1;
            let filled = station.transaction(|tx| {
                tx.get_mut(bulk)?.fill(value);
                Ok(())
            });
            filled.unwrap();
            wait_for_checkpoint(&address);
            let first = killed.heap().join("log/0000000000000001.log");
            (!first.exists()).then_some(())
        });
        server.signal(Signal::KILL);
        server.end();
        killed
    }

    fn heap(&self) -> PathBuf {
        self.dir.path().join("heap")
    }

    /// The images, oldest first.
    fn images(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.heap().join("images")).unwrap();
        let mut images: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        images.retain(|image| image.extension().is_some_and(|kind| kind == "image"));
        images.sort();
        images
    }

    fn newest_image(&self) -> PathBuf {
        self.images().pop().unwrap()
    }

    /// The manifests, the one that counts first.
    fn manifests(&self) -> [PathBuf; 2] {
        let mut manifests = ["manifest.0", "manifest.1"].map(|name| self.heap().join(name));
        manifests.sort_by_key(|path| {
            let bytes = fs::read(path).unwrap();
            let sequence = u64::from_le_bytes(bytes[32..40].try_into().unwrap());
            std::cmp::Reverse(sequence)
        });
        manifests
    }

    fn line(&self) -> String {
        let heap = self.heap().display().to_string();
        format!("page-server --dir {heap} --listen unix:{heap}.socket")
    }

    /// Starts the page server and checks all of the heap; answers what it said meanwhile.
    #[track_caller]
    fn holds_everything(&self) -> String {
        let (server, address) = Member::server(&self.heap(), "--every 20ms");
        let mut ledger = Ledger::join(&address).unwrap();
        assert_eq!(ledger.check().unwrap(), CHANGES);
        // And it goes on: the next checkpoint is made of what is whole.
        ledger.change().unwrap();
        wait_for_checkpoint(&address);
        server.signal(Signal::TERM);
        let (code, errors) = server.end();
        assert_eq!(code, Some(0), "{errors}");
        let (_server, address) = Member::server(&self.heap(), "");
        assert_eq!(
            Ledger::join(&address).unwrap().check().unwrap(),
            CHANGES + 1
        );
        errors
    }

    #[track_caller]
    fn is_refused(&self, parts: &[&str]) {
        assert_fails(&output(&self.line()), 1, parts);
    }
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).unwrap();
    change(&mut bytes);
    fs::write(file, bytes).unwrap();
}

fn flip(file: &Path, at: impl FnOnce(&[u8]) -> usize) {
    change(file, |bytes| {
        let at = at(bytes);
        bytes[at] ^= 0x10;
    });
}

/// A number in the footer of an image.
fn footer_field(image: &[u8], at: usize) -> usize {
    let footer = &image[image.len() - FOOTER_BYTES..];
    u64::from_le_bytes(footer[at..at + 8].try_into().unwrap()) as usize
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// What is done to a file.
type Damage = fn(&Path);

#[test]
fn the_newest_image_may_be_torn_shortened_changed_or_lost() {
    let damages: [(&str, Damage); 6] = [
        ("torn", |image| {
            change(image, |bytes| {
                let half = bytes.len() / 2;
                bytes[half..].fill(0);
            });
        }),
        ("shortened", |image| {
            change(image, |bytes| bytes.truncate(bytes.len() - BLOCK_BYTES));
        }),
        ("head", |image| flip(image, |_| 30)),
        ("index", |image| {
            flip(image, |bytes| footer_field(bytes, INDEX_AT) + 2)
        }),
        ("footer", |image| {
            flip(image, |bytes| bytes.len() - FOOTER_BYTES + 50)
        }),
        ("lost", |image| fs::remove_file(image).unwrap()),
    ];
    let killed = Killed::new();
    for (what, damage) in damages {
        let copy = copy_of(&killed);
        let image = copy.newest_image();
        damage(&image);
        let said = copy.holds_everything();
        let told = said.lines().find(|line| line.contains("passed over"));
        let told = told.unwrap_or_default();
        assert!(told.contains(&name(&image)), "{what}: {said}");
    }
}

#[test]
fn a_damaged_page_is_passed_over_once_it_was_met() {
    let killed = Killed::new();
    let image = killed.newest_image();
    let (server, address) = Member::server(&killed.heap(), "--every 20ms --cache-bytes 64KiB");
    // While it runs: every blob of the image from which it reads pages when they are asked for.
    change(&image, |bytes| {
        let end = footer_field(bytes, INDEX_AT);
        bytes[BLOCK_BYTES..end]
            .iter_mut()
            .for_each(|byte| *byte ^= 1);
    });
    let met = Ledger::join(&address).and_then(|mut ledger| ledger.check());
    assert!(met.is_err(), "a page that is damaged was answered");
    let (code, errors) = server.end();
    assert_eq!(code, Some(1), "{errors}");
    let line = errors.lines().find(|line| line.starts_with("error: "));
    let line = line.unwrap_or_default();
    let parts = [&*name(&image), "damaged", "started again"];
    assert!(parts.iter().all(|part| line.contains(part)), "{errors}");
    let said = killed.holds_everything();
    assert!(said.contains("passed over"), "{said}");
}

#[test]
fn without_any_whole_checkpoint_the_log_alone_is_enough_if_it_is_complete() {
    let killed = Killed::new();
    let oldest = killed.images().remove(0);
    fs::remove_file(&oldest).unwrap();
    let said = killed.holds_everything();
    assert!(said.contains(&name(&oldest)), "{said}");
}

#[test]
fn a_lost_image_of_all_checkpoints_is_named_if_the_log_was_shortened() {
    let killed = Killed::with_short_log();
    let oldest = killed.images().remove(0);
    let away = killed.dir.path().join("away");
    fs::rename(&oldest, &away).unwrap();
    killed.is_refused(&["no checkpoint", &name(&oldest), "restore"]);
    flip(&away, |bytes| footer_field(bytes, INDEX_AT) + 2);
    fs::copy(&away, &oldest).unwrap();
    killed.is_refused(&["no checkpoint", &name(&oldest), "damaged", "restore"]);
    // A refusal has changed nothing: what is restored is taken.
    flip(&away, |bytes| footer_field(bytes, INDEX_AT) + 2);
    fs::copy(&away, &oldest).unwrap();
    killed.holds_everything();
}

#[test]
fn one_manifest_may_be_damaged_or_lost() {
    let damages: [(bool, Damage); 4] = [
        (true, |manifest| flip(manifest, |bytes| bytes.len() - 9)),
        (true, |manifest| flip(manifest, |_| CHECKSUM_AT)),
        (true, |manifest| {
            change(manifest, |bytes| bytes.truncate(70))
        }),
        (false, |manifest| fs::remove_file(manifest).unwrap()),
    ];
    let killed = Killed::with_short_log();
    for (is_noticed, damage) in damages {
        for which in 0..2 {
            let copy = copy_of(&killed);
            let manifest = &copy.manifests()[which];
            damage(manifest);
            let said = copy.holds_everything();
            assert_eq!(said.contains(&name(manifest)), is_noticed, "{said}");
        }
    }
    for manifest in killed.manifests() {
        flip(&manifest, |bytes| bytes.len() - 9);
    }
    killed.is_refused(&["manifest.", "damaged", "restore it from a copy"]);
}

#[test]
fn without_both_manifests_a_shortened_log_is_not_taken_for_all() {
    let killed = Killed::with_short_log();
    killed
        .manifests()
        .iter()
        .for_each(|path| fs::remove_file(path).unwrap());
    killed.is_refused(&["the log lacks", "0000000000000001.log", "restore"]);
}

#[test]
fn a_file_of_a_newer_version_is_not_touched() {
    let killed = Killed::new();
    let whole = fs::read(killed.newest_image()).unwrap();
    // The head of an image is a block with a checksum of its own; a manifest is one piece.
    let newest = |manifests: [PathBuf; 2]| manifests[0].clone();
    for (file, covered) in [
        (killed.newest_image(), Some(BLOCK_BYTES)),
        (newest(killed.manifests()), None),
    ] {
        let before = fs::read(&file).unwrap();
        change(&file, |bytes| {
            bytes[VERSION_AT] = 9;
            let end = covered.unwrap_or(bytes.len());
            let parts = [&bytes[..CHECKSUM_AT], &bytes[CHECKSUM_AT + 4..end]];
            let checksum = common::crc32(&parts.concat());
            bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        });
        killed.is_refused(&[&name(&file), "format version 9", "use a newer one"]);
        fs::write(&file, before).unwrap();
    }
    assert!(fs::read(killed.newest_image()).unwrap() == whole);
    killed.holds_everything();
}

/// Another heap with the same files.
fn copy_of(killed: &Killed) -> Killed {
    let dir = tempfile::tempdir().unwrap();
    common::copy_all(&killed.heap(), &dir.path().join("heap"));
    Killed { dir }
}
