//! The rules of a view, one example each, by every mechanism that this machine has. What needs page
//! faults is in [`faults`], what ends the process in [`deaths`].

#[cfg(all(target_os = "linux", not(miri)))]
mod deaths;
#[cfg(all(target_os = "linux", not(miri)))]
mod faults;
mod lent;
#[cfg(all(target_os = "linux", not(miri)))]
mod races;

use plurix_wire::{Diffs, DiffsBuilder};

use super::*;

const PAGES: u64 = 64;

/// A view of each mechanism that works here.
fn views(bytes: u64) -> Vec<View> {
    let mut views = native_views(bytes);
    views.push(emulated(bytes));
    views
}

/// A view of each mechanism that faults; says which one this machine lacks.
fn native_views(bytes: u64) -> Vec<View> {
    if cfg!(any(not(target_os = "linux"), miri)) {
        return Vec::new();
    }
    let mechanisms = [Mechanism::Userfault, Mechanism::Protection];
    let views = mechanisms.into_iter().filter_map(|mechanism| {
        let view = View::reserve(bytes, Some(mechanism));
        let refused = |error: &Error| {
            let why = std::error::Error::source(error).map(ToString::to_string);
            // Past the capture of the test harness, which shows the output of failed tests alone.
            let _ = io::Write::write_all(
                &mut io::stderr(),
                format!(
                    "SKIPPED: no view by {mechanism}: {}\n",
                    why.unwrap_or_default()
                )
                .as_bytes(),
            );
        };
        view.inspect_err(refused).ok()
    });
    views.collect()
}

fn emulated(bytes: u64) -> View {
    View::reserve(bytes, Some(Mechanism::Emulated)).unwrap()
}

fn bytes_in_pages(pages: u64) -> u64 {
    pages * PAGE_BYTES as u64
}

/// Fills a page and opens it.
fn put(view: &mut View, page: u32, bytes: Option<&PageBytes>, access: Access) {
    view.fill(PageNumber(page), bytes);
    view.set_access(PageNumber(page).into(), access).unwrap();
}

fn diff_of(view: &mut View, page: u32) -> Diffs {
    let mut builder = DiffsBuilder::new();
    view.diff(PageNumber(page), &mut builder);
    builder.finish()
}

fn page_of(view: &View, page: u32) -> PageBytes {
    let mut bytes = [0xee; PAGE_BYTES];
    view.copy_out(PageNumber(page), &mut bytes);
    bytes
}

/// Stores by the program's side.
fn store(view: &View, offset: u64, bytes: &[u8]) {
    let handle = view.handle();
    let mut slice = handle.slice_mut::<u8>(offset, bytes.len()).unwrap();
    slice.copy_from_slice(bytes);
}

#[test]
fn a_view_may_go_to_another_thread_and_its_handle_to_several() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    send::<View>();
    sync::<View>();
    send::<ViewHandle>();
    sync::<ViewHandle>();
    send::<Exclusive<'_, u64>>();
}

#[test]
fn a_size_is_rounded_to_whole_pages_and_all_of_it_is_closed() {
    for bytes in [0, 1, 4096] {
        for view in views(bytes) {
            assert_eq!(view.len(), 4096);
            assert_eq!(view.access(PageNumber(0)), Access::None);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "there is no address space to spare")]
fn a_large_view_costs_nothing() {
    for mut view in native_views(1 << 40) {
        let last = (view.len() / 4096 - 1) as u32;
        put(&mut view, last, Some(&[7; PAGE_BYTES]), Access::Read);
        let handle = view.handle();
        let slice = handle.slice::<u64>(view.len() - 8, 1).unwrap();
        assert_eq!(slice[0], 0x0707_0707_0707_0707);
        drop(slice);
        view.abandon().unwrap();
    }
}

#[test]
fn the_best_mechanism_is_taken_unless_one_is_asked_for() {
    let view = View::reserve(1, None).unwrap();
    let works = |mechanism| View::reserve(1, Some(mechanism)).is_ok();
    let best = [Mechanism::Userfault, Mechanism::Protection];
    let best = best.into_iter().find(|&mechanism| works(mechanism));
    assert_eq!(view.mechanism(), best.unwrap_or(Mechanism::Emulated));
    let without = view.mechanism() == Mechanism::Protection;
    assert_eq!(view.why_not_userfault().is_some(), without);
}

#[test]
fn a_page_that_is_expected_stays_as_it_is() {
    for mut view in views(bytes_in_pages(PAGES)) {
        // One that never had memory, and one that has bytes from before.
        put(&mut view, 1, Some(&[7; PAGE_BYTES]), Access::Read);
        view.set_access(PageNumber(1).into(), Access::None).unwrap();
        for (page, before) in [(0, 0), (1, 7)] {
            view.expect(PageNumber(page));
            assert_eq!(view.access(PageNumber(page)), Access::None);
            assert_eq!(page_of(&view, page), [before; PAGE_BYTES]);
            put(&mut view, page, Some(&[9; PAGE_BYTES]), Access::Read);
            assert_eq!(page_of(&view, page), [9; PAGE_BYTES]);
        }
    }
}

#[test]
fn stores_are_shut_out_of_scattered_pages_at_once() {
    for mut view in views(bytes_in_pages(PAGES)) {
        let run = PageRun::new(PageNumber(3), 16);
        for page in run.pages() {
            let access = match page.0 % 3 {
                0 => Access::Write,
                _ => Access::Read,
            };
            put(&mut view, page.0, Some(&[page.0 as u8; PAGE_BYTES]), access);
        }
        let before = view.system_calls();
        view.set_access(run, Access::Read).unwrap();
        assert!(view.system_calls() - before <= 1, "{}", view.mechanism());
        assert!(run.pages().all(|page| view.access(page) == Access::Read));
        // A page between that is closed stays out of it.
        view.set_access(PageNumber(3).into(), Access::Write)
            .unwrap();
        view.set_access(PageNumber(5).into(), Access::Write)
            .unwrap();
        view.set_access(PageNumber(4).into(), Access::None).unwrap();
        view.set_access(PageNumber(3).into(), Access::Read).unwrap();
        view.set_access(PageRun::new(PageNumber(3), 3), Access::Read)
            .unwrap();
        let handle = view.handle();
        let slice = handle.slice::<u8>(3 * 4096, 16 * 4096).unwrap();
        let bytes = slice.iter().enumerate();
        assert!(
            bytes
                .into_iter()
                .all(|(at, byte)| usize::from(*byte) == 3 + at / 4096)
        );
    }
}

#[test]
fn a_run_is_changed_as_a_whole() {
    for mut view in views(bytes_in_pages(PAGES)) {
        let run = PageRun::new(PageNumber(3), 16);
        run.pages()
            .for_each(|page| view.fill(page, Some(&[page.0 as u8; PAGE_BYTES])));
        for access in [
            Access::Read,
            Access::Write,
            Access::Read,
            Access::None,
            Access::Write,
        ] {
            let before = view.system_calls();
            view.set_access(run, access).unwrap();
            view.set_access(run, access).unwrap();
            assert!(view.system_calls() - before <= 2, "{}", view.mechanism());
            assert!(run.pages().all(|page| view.access(page) == access));
        }
        assert_eq!(view.access(PageNumber(2)), Access::None);
        assert_eq!(view.access(PageNumber(19)), Access::None);
        let handle = view.handle();
        let slice = handle.slice::<u8>(3 * 4096, 16 * 4096).unwrap();
        assert!(
            slice
                .iter()
                .enumerate()
                .all(|(at, byte)| usize::from(*byte) == 3 + at / 4096)
        );
    }
}

#[test]
fn a_run_of_mixed_pages_becomes_uniform() {
    for mut view in views(bytes_in_pages(PAGES)) {
        for access in [Access::None, Access::Read, Access::Write] {
            for page in 0..12 {
                let mixed = [Access::Read, Access::None, Access::Write, Access::Write];
                let mixed = mixed[page as usize % 4];
                view.set_access(PageNumber(page).into(), mixed).unwrap();
            }
            let run = PageRun::new(PageNumber(1), 10);
            view.set_access(run, access).unwrap();
            assert!(run.pages().all(|page| view.access(page) == access));
            assert_eq!(view.access(PageNumber(0)), Access::Read);
            assert_eq!(view.access(PageNumber(11)), Access::Write);
        }
    }
}

#[test]
fn stores_survive_while_a_page_is_closed() {
    for mut view in views(bytes_in_pages(PAGES)) {
        put(&mut view, 2, Some(&[1; PAGE_BYTES]), Access::Write);
        store(&view, 2 * 4096 + 5, &[9, 9]);
        for access in [Access::Read, Access::None] {
            view.set_access(PageNumber(2).into(), access).unwrap();
            assert_eq!(page_of(&view, 2)[4..8], [1, 9, 9, 1]);
        }
        put(&mut view, 2, None, Access::Read);
        assert_eq!(page_of(&view, 2), [0; PAGE_BYTES]);
    }
}

#[test]
fn what_was_discarded_is_zero() {
    for mut view in views(bytes_in_pages(PAGES)) {
        let run = PageRun::new(PageNumber(1), 2);
        for page in 1..3 {
            put(&mut view, page, Some(&[1; PAGE_BYTES]), Access::Write);
        }
        view.set_access(run, Access::None).unwrap();
        view.discard(run);
        view.set_access(run, Access::Read).unwrap();
        let handle = view.handle();
        assert!(
            handle
                .slice::<u8>(4096, 2 * 4096)
                .unwrap()
                .iter()
                .all(|&byte| byte == 0)
        );
    }
}

#[test]
fn pages_are_brought_whatever_memory_they_have() {
    let run = PageRun::new(PageNumber(2), 8);
    for mut view in views(bytes_in_pages(PAGES)) {
        for (round, access) in [Access::Read, Access::Write, Access::None]
            .into_iter()
            .cycle()
            .take(12)
            .enumerate()
        {
            let bytes: Vec<u8> = run
                .pages()
                .flat_map(|page| [page.0 as u8 + round as u8; PAGE_BYTES])
                .take(if round % 4 == 0 { 0 } else { usize::MAX })
                .collect();
            view.bring(run, &bytes, access).unwrap();
            for (at, page) in run.pages().enumerate() {
                assert_eq!(view.access(page), access);
                let expected = bytes.chunks(PAGE_BYTES).nth(at);
                assert_eq!(page_of(&view, page.0)[..], *expected.unwrap_or(&[0; 4096]));
            }
            if access > Access::None {
                let handle = view.handle();
                let slice = handle.slice::<u8>(2 * 4096, 8 * 4096).unwrap();
                let expected = if bytes.is_empty() {
                    &[0; 8 * 4096]
                } else {
                    &bytes[..]
                };
                assert!(slice[..] == *expected, "{}", view.mechanism());
            }
            if access == Access::Write {
                store(&view, 5 * 4096 + 7, &[1, 2]);
                assert_eq!(page_of(&view, 5)[7..9], [1, 2]);
            }
            view.set_access(run, Access::None).unwrap();
            // Then some pages have memory, of which one was never filled.
            view.discard(PageRun::new(PageNumber(4), 1 + round as u32 % 6));
            view.set_access(PageNumber(7).into(), Access::Read).unwrap();
            view.set_access(PageNumber(7).into(), Access::None).unwrap();
        }
    }
}

#[test]
fn pages_without_memory_are_brought_by_one_system_call() {
    for mut view in views(bytes_in_pages(PAGES)) {
        for (first, bytes) in [(0, Vec::new()), (16, vec![5; 16 * PAGE_BYTES])] {
            let before = view.system_calls();
            let run = PageRun::new(PageNumber(first), 16);
            view.bring(run, &bytes, Access::Write).unwrap();
            assert!(view.system_calls() - before <= 1, "{}", view.mechanism());
        }
    }
}

#[test]
#[should_panic(expected = "have other bytes")]
fn pages_are_not_brought_with_too_few_bytes() {
    let mut view = emulated(bytes_in_pages(PAGES));
    let run = PageRun::new(PageNumber(0), 2);
    let _ = view.bring(run, &[0; PAGE_BYTES], Access::Read);
}

#[test]
fn bytes_of_two_stations_merge_in_one_page() {
    let stations = views(bytes_in_pages(PAGES))
        .into_iter()
        .zip(views(bytes_in_pages(PAGES)));
    for (mut home, mut other) in stations {
        for view in [&mut home, &mut other] {
            view.fill(PageNumber(4), Some(&[1; PAGE_BYTES]));
            view.set_access(PageNumber(4).into(), Access::Read).unwrap();
            view.keep_twin(PageNumber(4));
            view.set_access(PageNumber(4).into(), Access::Write)
                .unwrap();
        }
        // Different bytes of one word, and a whole line.
        store(&home, 4 * 4096 + 8, &[2]);
        store(&other, 4 * 4096 + 9, &[3, 4]);
        store(&other, 4 * 4096 + 4032, &[5; 64]);

        other
            .set_access(PageNumber(4).into(), Access::Read)
            .unwrap();
        let theirs = diff_of(&mut other, 4);
        other.drop_twin(PageNumber(4));
        assert!(!other.has_twin(PageNumber(4)));
        home.apply(&theirs.pages().next().unwrap());

        home.set_access(PageNumber(4).into(), Access::Read).unwrap();
        let ours = diff_of(&mut home, 4);
        let changed: usize = ours.pages().map(|page| page.changed_bytes()).sum();
        assert_eq!(changed, 1, "bytes of others must not come back as ours");
        other.apply(&ours.pages().next().unwrap());

        let mut expected = [1; PAGE_BYTES];
        expected[8..11].copy_from_slice(&[2, 3, 4]);
        expected[4032..].fill(5);
        assert!(page_of(&home, 4) == expected && page_of(&other, 4) == expected);
    }
}

#[test]
fn a_page_that_is_its_twin_has_no_difference() {
    for mut view in views(bytes_in_pages(PAGES)) {
        put(&mut view, 0, Some(&[1; PAGE_BYTES]), Access::Read);
        for _ in 0..3 {
            view.keep_twin(PageNumber(0));
            assert!(diff_of(&mut view, 0).is_empty());
            view.drop_twin(PageNumber(0));
        }
    }
}

#[test]
fn copies_stay_as_they_were_while_anybody_has_them() {
    for mut view in views(bytes_in_pages(PAGES)) {
        let mut kept = Vec::new();
        for round in 0..20 {
            let run = PageRun::new(PageNumber(round % 5), 1 + 7 * (u32::from(round as u8) % 9));
            let bytes = vec![round as u8; run.count as usize * PAGE_BYTES];
            view.bring(run, &bytes, Access::Read).unwrap();
            let copy = view.copy_run(run);
            assert_eq!(copy, bytes);
            kept.extend((round % 2 == 0).then_some((copy, bytes)));
            view.set_access(run, Access::None).unwrap();
        }
        assert!(kept.iter().all(|(copy, bytes)| copy == bytes));
        // They may outlive the view.
        drop(view);
        assert!(kept.iter().all(|(copy, bytes)| copy == bytes));
    }
}

#[test]
fn an_abandoned_view_is_open() {
    for mut view in views(bytes_in_pages(PAGES)) {
        put(&mut view, 1, Some(&[1; PAGE_BYTES]), Access::Read);
        view.abandon().unwrap();
        view.abandon().unwrap();
        assert!(view.is_abandoned() && view.handle().is_abandoned());
        store(&view, 4096, &[7]);
        store(&view, 9 * 4096, &[8]);
        view.set_access(PageNumber(1).into(), Access::None).unwrap();
        assert_eq!(view.access(PageNumber(1)), Access::Write);
        let handle = view.handle();
        drop(view);
        assert_eq!(handle.slice::<u8>(4096, 2).unwrap()[..], [7, 1]);
        assert_eq!(handle.slice::<u8>(9 * 4096, 1).unwrap()[..], [8]);
    }
}

#[test]
#[should_panic(expected = "is open")]
fn an_open_page_cannot_be_filled() {
    let mut view = emulated(4096);
    put(&mut view, 0, None, Access::Read);
    view.fill(PageNumber(0), None);
}

#[test]
#[should_panic(expected = "has a twin")]
fn a_page_with_a_twin_cannot_be_filled() {
    let mut view = emulated(4096);
    view.keep_twin(PageNumber(0));
    view.fill(PageNumber(0), None);
}

#[test]
#[should_panic(expected = "protect it first")]
fn a_page_that_is_being_written_has_no_difference_yet() {
    let mut view = emulated(4096);
    view.keep_twin(PageNumber(0));
    view.set_access(PageNumber(0).into(), Access::Write)
        .unwrap();
    diff_of(&mut view, 0);
}

#[test]
#[should_panic(expected = "leave the view")]
fn a_run_stays_in_the_view() {
    let _ = emulated(4096).set_access(PageRun::new(PageNumber(0), 2), Access::Read);
}
