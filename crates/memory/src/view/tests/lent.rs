//! Slices: who gets them, who does not, and when they come back.

use super::*;
use crate::AccessError;

fn range(offset: u64, length: u64, exclusive: bool) -> LentRange {
    LentRange {
        offset,
        length,
        exclusive,
    }
}

/// An emulated view, all open.
fn open_view() -> View {
    let mut view = emulated(bytes_in_pages(4));
    view.set_access(PageRun::new(PageNumber(0), 4), Access::Write)
        .unwrap();
    view
}

#[test]
fn readers_share_and_a_writer_does_not() {
    let handle = open_view().handle();
    let first = handle.slice::<u64>(0, 8).unwrap();
    let second = handle.clone();
    let second = second.slice::<u64>(8, 8).unwrap();
    let refused = handle.slice_mut::<u8>(63, 4).err();
    assert_eq!(
        refused,
        Some(AccessError::Lent {
            wanted: range(63, 4, true),
            lent: range(0, 64, false)
        })
    );
    drop(first);
    assert!(handle.slice_mut::<u8>(63, 4).is_err());
    drop(second);
    let mut writer = handle.slice_mut::<u8>(63, 4).unwrap();
    writer.copy_from_slice(&[1, 2, 3, 4]);
    assert!(handle.slice::<u8>(66, 1).is_err() && handle.slice_mut::<u8>(60, 4).is_err());
    let beside = (handle.slice_mut::<u8>(60, 3), handle.slice_mut::<u8>(67, 1));
    assert!(beside.0.is_ok() && beside.1.is_ok());
    drop((beside, writer));
    assert_eq!(handle.slice::<u8>(62, 6).unwrap()[..], [0, 1, 2, 3, 4, 0]);
}

#[test]
fn workers_write_their_own_parts_at_a_time() {
    const WORKERS: u64 = 4;
    let handle = open_view().handle();
    let part = handle.len() / WORKERS;
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let handle = &handle;
            scope.spawn(move || {
                let count = part as usize / 8;
                let mut words = handle.slice_mut::<u64>(worker * part, count).unwrap();
                words
                    .iter_mut()
                    .step_by(64)
                    .for_each(|word| *word = worker + 1);
            });
        }
    });
    for worker in 0..WORKERS {
        assert_eq!(
            handle.slice::<u64>(worker * part, 2).unwrap()[..],
            [worker + 1, 0]
        );
    }
}

#[test]
fn a_panic_gives_its_slice_back() {
    let handle = open_view().handle();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _slice = handle.slice_mut::<u8>(0, 4096).unwrap();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panicked.is_err() && handle.slice_mut::<u8>(0, 4096).is_ok());
}

#[test]
fn damaged_offsets_are_refused() {
    let handle = open_view().handle();
    let end = handle.len();
    for (offset, count, length) in [
        (end - 4, 1, 8),
        (u64::MAX - 7, 1, 8),
        (0, usize::MAX, u64::MAX),
    ] {
        let refused = handle.slice::<u64>(offset, count).err();
        assert_eq!(refused, Some(AccessError::OutOfBounds { offset, length }));
    }
    let refused = handle.slice_mut::<u32>(2, 1).err();
    assert_eq!(
        refused,
        Some(AccessError::Misaligned {
            offset: 2,
            align: 4
        })
    );
    assert!(handle.slice_mut::<u64>(end, 0).unwrap().is_empty());
    assert!(handle.slice::<u64>(end, 0).unwrap().is_empty());
}

#[test]
fn an_emulated_view_lends_open_pages_alone() {
    let mut view = emulated(bytes_in_pages(4));
    view.set_access(PageNumber(1).into(), Access::Read).unwrap();
    let handle = view.handle();
    let closed = |page| {
        Some(AccessError::Closed {
            page: PageNumber(page),
        })
    };
    assert_eq!(handle.slice::<u8>(4096, 4097).err(), closed(2));
    assert_eq!(handle.slice_mut::<u8>(4096, 1).err(), closed(1));
    assert!(handle.slice::<u8>(4096, 4096).is_ok());
    assert!(handle.slice::<u8>(0, 0).is_ok());
}

#[test]
#[should_panic(expected = "is lent")]
fn the_protocol_keeps_away_from_what_an_emulated_view_lent() {
    let mut view = open_view();
    let handle = view.handle();
    let _slice = handle.slice::<u8>(0, 1).unwrap();
    let mut builder = DiffsBuilder::new();
    builder.push_line(PageNumber(0), 0, 1, &[0; 64]);
    view.apply(&builder.finish().pages().next().unwrap());
}
