//! The same store in a directory of a real file system: what only the kernel can answer.

mod common;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{Error, Led, commit, fill, lead, options, replay};
use plurix_store::Durability::{Durable, Memory};
use plurix_store::{OpenError, Options, RealDisk, Space, Store};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

/// Waits until the next segment is there, or the disk is full.
#[expect(
    clippy::disallowed_methods,
    reason = "the thread that prepares segments is real"
)]
fn settle(store: &mut Store<RealDisk>, now: Duration) {
    store.maintain(now);
    while matches!(store.maintain(now), Space::Preparing) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn fill_and_settle(store: &mut Store<RealDisk>, count: usize) {
    for _ in 0..count {
        settle(store, Duration::ZERO);
        store
            .append(&commit(store.last(), 900, 5))
            .expect("there is room");
    }
}

#[test]
fn what_was_appended_is_replayed_in_both_modes() {
    for durability in [Memory, Durable] {
        let directory = directory();
        let path = directory.path().join("a/b");
        let disk = || RealDisk::new(&path);
        let Led { mut store, .. } = lead(disk(), options(durability, 1)).expect("leads");
        fill_and_settle(&mut store, 40);
        assert_eq!(store.sync().expect("the disk is sound").0, 40);
        fill_and_settle(&mut store, 3);
        drop(store);

        let led = lead(disk(), options(durability, 1)).expect("leads");
        assert_eq!(led.recovered.last.number.0, 43);
        assert!(led.recovered.same_boot && !led.recovered.ended_clean);
        assert_eq!(led.recovered.torn, None);
        led.store.close_clean().expect("closes");

        let led = lead(disk(), options(durability, 2)).expect("leads");
        assert!(led.recovered.ended_clean && led.recovered.new_generation.is_none());
        assert_eq!(led.records.len(), 46, "43 commits, 2 terms, 1 end");
    }
}

#[test]
fn a_sync_in_the_background_covers_retired_segments_and_wakes_who_waits() {
    for durability in [Memory, Durable] {
        let directory = directory();
        let (wake, woken) = std::sync::mpsc::channel();
        let disk = RealDisk::new(directory.path().join("s")).on_done(move || {
            // Nobody listens any more when the store is dropped.
            let _ = wake.send(());
        });
        let Led { mut store, .. } = lead(disk, options(durability, 1)).expect("leads");
        fill_and_settle(&mut store, 30);
        store.start_sync().expect("the log is open");
        fill_and_settle(&mut store, 10);
        let synced = loop {
            woken.recv().expect("every end of a sync wakes");
            if let Some(synced) = store.poll_sync() {
                break synced.expect("the disk is sound");
            }
        };
        assert_eq!((synced.0, store.synced().0), (30, 30));
        store.start_sync().expect("the log is open");
        assert_eq!(store.sync().expect("the disk is sound").0, 40);
    }
}

#[test]
fn large_commits_fit_the_default_segments() {
    let directory = directory();
    let options = Options {
        segment_bytes: 64 << 20,
        commit_bytes_max: 16 << 20,
        ..options(Memory, 1)
    };
    let Led { store, .. } =
        lead(RealDisk::new(directory.path().join("s")), options).expect("leads");
    assert!(store.room() > 60 << 20);
}

#[test]
fn a_second_opener_is_told_who_holds_the_directory() {
    let directory = directory();
    let path = directory.path().join("s");
    let first = lead(RealDisk::new(&path), options(Memory, 1)).expect("leads");
    match lead(RealDisk::new(&path), options(Memory, 1)).err() {
        Some(Error::Open(OpenError::Locked { directory, pid })) => {
            assert_eq!((directory, pid), (path.clone(), Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    lead(RealDisk::new(&path), options(Memory, 1)).expect("the lock ends with its holder");
}

/// A copy of the descriptor of an open file, such as a process has that is just being started.
fn inherited(path: &Path) -> rustix::io::Result<OwnedFd> {
    let open = std::fs::read_dir("/proc/self/fd").expect("procfs is there");
    let number = open
        .filter_map(Result::ok)
        .find(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == path))
        .and_then(|fd| fd.file_name().to_str()?.parse().ok())
        .expect("the file is open");
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    pidfd_getfd(own, number, PidfdGetfdFlags::empty())
}

#[test]
fn the_lock_ends_although_a_process_is_being_started() {
    let directory = directory();
    let path = directory.path().canonicalize().expect("is there").join("s");
    let first = lead(RealDisk::new(&path), options(Memory, 1)).expect("leads");
    let Ok(_inherited) = inherited(&path.join("lock")) else {
        eprintln!("skipped: pidfd_getfd is not allowed here");
        return;
    };
    drop(first);
    lead(RealDisk::new(&path), options(Memory, 1)).expect("the lock ends with its holder");
}

#[test]
fn a_file_is_no_directory() {
    let directory = directory();
    let path = directory.path().join("file");
    std::fs::write(&path, "text").expect("can be written");
    for path in [path.clone(), path.join("below")] {
        let error = lead(RealDisk::new(path), options(Memory, 1)).err();
        assert!(
            matches!(error, Some(Error::Open(OpenError::NotADirectory { .. }))),
            "{error:?}"
        );
    }
}

#[test]
fn what_a_crash_left_unfinished_is_removed() {
    let directory = directory();
    let path = directory.path().join("s");
    drop(lead(RealDisk::new(&path), options(Memory, 1)).expect("leads"));
    let unfinished = path.join("log/0000000000000002.log.new");
    std::fs::write(&unfinished, "half").expect("can be written");
    std::fs::write(path.join("cluster.new"), "half").expect("can be written");
    let led = lead(RealDisk::new(&path), options(Memory, 1)).expect("leads");
    assert_eq!(led.records.len(), 1);
    assert!(!unfinished.exists());
}

#[test]
fn a_truncated_segment_is_reported_and_not_mapped() {
    let directory = directory();
    let path = directory.path().join("s");
    fill(
        &mut lead(RealDisk::new(&path), options(Memory, 1))
            .expect("leads")
            .store,
        3,
        10,
    );
    let file = path.join("log/0000000000000001.log");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(file)
        .expect("opens");
    file.set_len(4096).expect("can be cut");
    let error = lead(RealDisk::new(&path), options(Memory, 1)).err();
    assert!(
        matches!(
            error,
            Some(Error::Replay(plurix_store::ReplayError::Length { .. }))
        ),
        "{error:?}"
    );
}

/// A file system of a few blocks, unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` if this process may not mount.
    fn new(bytes: u64) -> Option<Self> {
        let directory = directory();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(directory.path())
            .stderr(std::process::Stdio::null())
            .status();
        status
            .is_ok_and(|status| status.success())
            .then_some(Self(directory))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "the tmpfs can be unmounted"
        );
    }
}

#[test]
fn a_full_file_system_refuses_and_goes_on_when_there_is_room() {
    let Some(tmpfs) = Tmpfs::new(32 << 10) else {
        eprintln!("skipped: only root can mount a tiny tmpfs to fill up");
        return;
    };
    let path = tmpfs.0.path().join("s");
    let ballast = tmpfs.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 12 << 10]).expect("there is room");
    let Led { mut store, .. } = lead(RealDisk::new(&path), options(Durable, 1)).expect("leads");
    while store.room() >= 400 {
        store
            .append(&commit(store.last(), 300, 1))
            .expect("there is room");
        settle(&mut store, Duration::ZERO);
    }
    assert!(
        matches!(store.space(), Space::Short(_)),
        "{:?}",
        store.space()
    );
    let before = store.sync().expect("what was accepted can be synced");
    std::fs::remove_file(&ballast).expect("can be removed");
    settle(&mut store, Duration::from_secs(2));
    store
        .append(&commit(store.last(), 300, 2))
        .expect("there is room again");
    assert_eq!(store.sync().expect("can be synced"), before.next());
    drop(store);
    let mut store =
        Store::create_or_open(RealDisk::new(&path), options(Durable, 1)).expect("opens");
    assert_eq!(
        replay(&mut store).expect("replays").0.last.number,
        before.next()
    );
}

#[test]
fn a_file_system_without_room_for_the_first_segment_is_named() {
    let Some(tmpfs) = Tmpfs::new(8 << 10) else {
        eprintln!("skipped: only root can mount a tiny tmpfs to fill up");
        return;
    };
    let error = lead(RealDisk::new(tmpfs.0.path()), options(Memory, 1)).err();
    assert!(
        matches!(error, Some(Error::Open(OpenError::NoSpace { .. }))),
        "{error:?}"
    );
}
