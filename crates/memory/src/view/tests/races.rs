//! The protocol at work in a page while the program is at work in it, by accesses that a test alone
//! may make: no reference stands for bytes that both touch.

use std::sync::atomic::AtomicBool;
use std::thread;

use super::faults::stations;
use super::*;

/// Increments the byte at `at` of the program's side.
fn increment(handle: &ViewHandle, at: usize) {
    let byte = handle.raw(at);
    // SAFETY: the byte lies in the view, which lives as long as the handle; no reference stands for
    // it, and this thread alone stores to it.
    let old = unsafe { byte.read_volatile() };
    // SAFETY: as above.
    unsafe { byte.write_volatile(old.wrapping_add(1)) };
}

#[test]
fn no_store_is_lost_between_the_copy_and_the_protection() {
    const PROTECTIONS: usize = 2_000;
    for station in stations(1) {
        let mut mirror = emulated(bytes_in_pages(PAGES));
        let handle = station.handle();
        let shared = Arc::clone(&station.view.lock().unwrap().inner);
        let is_over = AtomicBool::new(false);
        let stores = thread::scope(|scope| {
            let program = scope.spawn(|| {
                let work = || {
                    let mut stores = 0_usize;
                    while !is_over.load(Ordering::Relaxed) {
                        increment(&handle, 4096 + stores % PAGE_BYTES);
                        stores += 1;
                    }
                    stores
                };
                with_fault_stack(work).unwrap()
            });
            for _ in 0..PROTECTIONS {
                // Not under the lock, which the handler wants.
                while shared.access(PageNumber(1)) < Access::Write {
                    thread::yield_now();
                }
                let mut view = station.view.lock().unwrap();
                view.set_access(PageNumber(1).into(), Access::Read).unwrap();
                let before = page_of(&view, 1);
                if view.has_twin(PageNumber(1)) {
                    let diffs = diff_of(&mut view, 1);
                    diffs.pages().for_each(|page| mirror.apply(&page));
                    view.drop_twin(PageNumber(1));
                } else {
                    mirror.fill(PageNumber(1), Some(&before));
                }
                assert!(page_of(&view, 1) == before, "a store passed the protection");
                view.keep_twin(PageNumber(1));
            }
            is_over.store(true, Ordering::Relaxed);
            program.join().unwrap()
        });
        let mut view = station.view.lock().unwrap();
        view.set_access(PageNumber(1).into(), Access::Read).unwrap();
        let diffs = diff_of(&mut view, 1);
        diffs.pages().for_each(|page| mirror.apply(&page));
        let expected: PageBytes = std::array::from_fn(|at| {
            let passes = stores / PAGE_BYTES + usize::from(at < stores % PAGE_BYTES);
            1_u8.wrapping_add(passes as u8)
        });
        assert!(
            page_of(&view, 1) == expected,
            "{} lost a store",
            view.mechanism()
        );
        assert!(page_of(&mirror, 1) == expected, "a difference lost a store");
    }
}

#[test]
fn the_bytes_of_others_are_stored_and_none_beside_them() {
    const ROUNDS: usize = 20_000;
    for mut view in native_views(bytes_in_pages(PAGES)) {
        put(&mut view, 0, None, Access::Write);
        let handle = view.handle();
        for patcher in Patcher::available() {
            view.patcher = patcher;
            view.set_access(PageNumber(0).into(), Access::None).unwrap();
            put(&mut view, 0, None, Access::Write);
            let is_over = AtomicBool::new(false);
            let passes = thread::scope(|scope| {
                // Odd bytes of the first word are the program's, the others come from elsewhere.
                let program = scope.spawn(|| {
                    let mut passes = 0_usize;
                    while !is_over.load(Ordering::Relaxed) {
                        [1, 3, 5, 7]
                            .into_iter()
                            .for_each(|at| increment(&handle, at));
                        passes += 1;
                    }
                    passes
                });
                for round in 0..ROUNDS {
                    let mut builder = DiffsBuilder::new();
                    builder.push_line(PageNumber(0), 0, !0xaa, &[round as u8; 64]);
                    let diffs = builder.finish();
                    diffs.pages().for_each(|page| view.apply(&page));
                }
                is_over.store(true, Ordering::Relaxed);
                program.join().unwrap()
            });
            let page = page_of(&view, 0);
            let (ours, last) = (passes as u8, (ROUNDS - 1) as u8);
            assert_eq!(page[..8], [last, ours, last, ours, last, ours, last, ours]);
            assert!(page[8..64].iter().all(|&byte| byte == last));
            assert!(page[64..].iter().all(|&byte| byte == 0));
        }
    }
}
