//! From the program's first touch to the protocol and back.

use std::sync::mpsc;
use std::sync::{Condvar, Weak};
use std::thread;

use rustix::io::Errno;

use super::*;

/// The simplest protocol there is: page `n` is full of `n`, and is opened as it was wanted, together
/// with the pages behind it that belong to one run.
pub(super) struct Station {
    pub(super) view: Mutex<View>,
    asked: Mutex<Vec<(u32, Access)>>,
    run: u32,
}

/// What the view calls; it does not keep the station.
struct Behind(Weak<Station>);

impl Faults for Behind {
    fn fault(&self, page: PageNumber, wants: Access) {
        let Some(station) = self.0.upgrade() else {
            return;
        };
        let mut view = station.view.lock().unwrap();
        if view.access(page) >= wants {
            return;
        }
        station.asked.lock().unwrap().push((page.0, wants));
        let first = PageNumber(page.0 / station.run * station.run);
        let run = PageRun::new(first, station.run);
        let bytes = |page: PageNumber| [page.0 as u8; PAGE_BYTES];
        if run.pages().all(|page| view.access(page) == Access::None) {
            let bytes: Vec<u8> = run.pages().flat_map(bytes).collect();
            view.bring(run, &bytes, wants).unwrap();
        } else {
            let closed = |page: &PageNumber| view.access(*page) == Access::None;
            let closed: Vec<PageNumber> = run.pages().filter(closed).collect();
            for page in closed {
                view.fill(page, Some(&bytes(page)));
            }
            view.set_access(run, wants).unwrap();
        }
        // What the callback leaves behind must not be seen by the program.
        let _ = rustix::io::read(std::fs::File::open("/").unwrap(), &mut [0]);
    }
}

impl Station {
    pub(super) fn new(mut view: View, run: u32) -> Arc<Self> {
        Arc::new_cyclic(|weak| {
            view.on_fault(Arc::new(Behind(weak.clone()))).unwrap();
            Self {
                view: Mutex::new(view),
                asked: Mutex::default(),
                run,
            }
        })
    }

    fn set(&self, page: u32, access: Access) {
        let run = PageRun::new(PageNumber(page), 1);
        self.view.lock().unwrap().set_access(run, access).unwrap();
    }

    /// Has the next store to `page` ask.
    fn protect(&self, page: u32) {
        let mut view = self.view.lock().unwrap();
        if view.access(PageNumber(page)) == Access::Write {
            view.set_access(PageNumber(page).into(), Access::Read)
                .unwrap();
        }
    }

    pub(super) fn handle(&self) -> ViewHandle {
        self.view.lock().unwrap().handle()
    }

    fn asked(&self) -> Vec<(u32, Access)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

pub(super) fn stations(run: u32) -> Vec<Arc<Station>> {
    let views = native_views(bytes_in_pages(PAGES)).into_iter();
    views.map(|view| Station::new(view, run)).collect()
}

/// Whether each byte of `page` is `value`, by the program's side.
fn is_full_of(handle: &ViewHandle, page: u64, value: u8) -> bool {
    let slice = handle.slice::<u8>(page * 4096, 4096).unwrap();
    slice.iter().all(|&byte| byte == value)
}

fn write(handle: &ViewHandle, offset: u64, value: u8) {
    handle.slice_mut::<u8>(offset, 1).unwrap()[0] = value;
}

#[test]
fn an_absent_page_is_asked_for_once() {
    for station in stations(1) {
        let handle = station.handle();
        with_fault_stack(|| {
            assert!(is_full_of(&handle, 5, 5) && is_full_of(&handle, 5, 5));
            assert_eq!(station.asked(), [(5, Access::Read)]);
            assert_eq!(
                station.view.lock().unwrap().access(PageNumber(5)),
                Access::Read
            );
        })
        .unwrap();
    }
}

#[test]
fn a_store_asks_to_write_whether_the_page_is_here_or_not() {
    for station in stations(1) {
        let handle = station.handle();
        with_fault_stack(|| {
            assert!(is_full_of(&handle, 5, 5));
            write(&handle, 5 * 4096 + 1, 9);
            write(&handle, 5 * 4096 + 2, 9);
            write(&handle, 7 * 4096, 9);
            let write = Access::Write;
            assert_eq!(station.asked(), [(5, Access::Read), (5, write), (7, write)]);
            assert_eq!(page_of(&station.view.lock().unwrap(), 5)[..4], [5, 9, 9, 5]);
        })
        .unwrap();
    }
}

#[test]
fn a_run_is_asked_for_once() {
    for station in stations(16) {
        let handle = station.handle();
        with_fault_stack(|| {
            assert!((16..32).all(|page| is_full_of(&handle, page, page as u8)));
            assert_eq!(station.asked(), [(16, Access::Read)]);
            (16..32)
                .rev()
                .for_each(|page| write(&handle, page * 4096, 1));
            assert_eq!(station.asked(), [(31, Access::Write)]);
        })
        .unwrap();
    }
}

#[test]
fn a_page_that_was_dropped_is_asked_for_again() {
    for station in stations(1) {
        let handle = station.handle();
        with_fault_stack(|| {
            for _ in 0..3 {
                assert!(is_full_of(&handle, 3, 3));
                write(&handle, 3 * 4096, 9);
                station.set(3, Access::Read);
                write(&handle, 3 * 4096, 8);
                station.set(3, Access::None);
                let write = (3, Access::Write);
                assert_eq!(station.asked(), [(3, Access::Read), write, write]);
            }
        })
        .unwrap();
    }
}

#[test]
fn a_page_that_the_kernel_took_comes_back_unasked() {
    for station in stations(1) {
        let handle = station.handle();
        with_fault_stack(|| {
            for access in [Access::Read, Access::Write] {
                assert!(is_full_of(&handle, 3, 3));
                station.set(3, access);
                station.asked();
                if station.view.lock().unwrap().mechanism() == Mechanism::Userfault {
                    let view = station.view.lock().unwrap();
                    let taken = bytes_of(3..4);
                    view.inner
                        .memory
                        .gate()
                        .change(taken, access, Access::None)
                        .unwrap();
                }
                assert!(is_full_of(&handle, 3, 3));
                assert_eq!(station.asked(), []);
                write(&handle, 3 * 4096, 3);
                let still_to_ask = usize::from(access == Access::Read);
                assert_eq!(station.asked().len(), still_to_ask);
            }
        })
        .unwrap();
    }
}

#[test]
fn the_programs_error_number_survives_a_fault() {
    for station in stations(1) {
        let handle = station.handle();
        with_fault_stack(|| {
            let slice = handle.slice::<u8>(4096, 1).unwrap();
            // SAFETY: only tells where this thread's error number is.
            let number = unsafe { libc::__errno_location() };
            // SAFETY: it is this thread's own.
            unsafe { number.write(77) };
            let byte = slice[0];
            // SAFETY: as above.
            assert_eq!((byte, unsafe { number.read() }), (1, 77));
            assert_eq!(station.asked().len(), 1);
        })
        .unwrap();
    }
}

#[test]
fn a_system_call_is_refused_what_is_closed() {
    for station in stations(1) {
        let handle = station.handle();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"12").unwrap();
        with_fault_stack(|| {
            let mut slice = handle.slice_mut::<u8>(4096, 2).unwrap();
            assert_eq!(rustix::io::read(&reader, &mut *slice), Err(Errno::FAULT));
            slice.fill(0);
            assert_eq!(rustix::io::read(&reader, &mut *slice), Ok(2));
            assert_eq!(slice[..], *b"12");
        })
        .unwrap();
    }
}

#[test]
fn several_threads_work_in_several_views_at_a_time() {
    const THREADS: u64 = 4;
    let stations: Vec<_> = (0..3).flat_map(|_| stations(4)).collect();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let stations = &stations;
            let work = move || {
                for station in stations {
                    let handle = station.handle();
                    for round in 0..200_u64 {
                        let page = (round * 7 + thread) % PAGES;
                        write(&handle, page * 4096 + thread, thread as u8 + 100);
                        station.protect(((page + 7) % PAGES) as u32);
                        assert_eq!(
                            handle.slice::<u8>(page * 4096 + 64, 1).unwrap()[0],
                            page as u8
                        );
                    }
                }
            };
            scope.spawn(move || with_fault_stack(work).unwrap());
        }
    });
    for station in stations {
        let view = station.view.lock().unwrap();
        for page in 0..PAGES {
            let bytes = page_of(&view, page as u32);
            let touched = (0..THREADS).filter(|&thread| bytes[thread as usize] != page as u8);
            touched.for_each(|thread| assert_eq!(bytes[thread as usize], thread as u8 + 100));
        }
    }
}

/// Never answers, until it is told to.
#[derive(Default)]
struct Silent {
    asked: Mutex<bool>,
    told: Mutex<bool>,
    changed: Condvar,
}

impl Faults for Silent {
    fn fault(&self, _page: PageNumber, _wants: Access) {
        *self.asked.lock().unwrap() = true;
        self.changed.notify_all();
        let told = self.told.lock().unwrap();
        drop(self.changed.wait_while(told, |told| !*told).unwrap());
    }
}

#[test]
fn who_waits_goes_on_when_the_view_is_abandoned() {
    for mut view in native_views(bytes_in_pages(PAGES)) {
        let silent = Arc::new(Silent::default());
        view.on_fault(silent.clone()).unwrap();
        let handle = view.handle();
        let program = thread::spawn(move || {
            with_fault_stack(|| {
                write(&handle, 4096, 1);
                write(&handle, 2 * 4096, 1);
                handle.slice::<u8>(3 * 4096, 1).unwrap()[0]
            })
            .unwrap()
        });
        let asked = silent.asked.lock().unwrap();
        drop(silent.changed.wait_while(asked, |asked| !*asked).unwrap());
        view.abandon().unwrap();
        *silent.told.lock().unwrap() = true;
        silent.changed.notify_all();
        assert_eq!(program.join().unwrap(), 0);
    }
}

#[test]
fn views_are_dropped_while_others_fault() {
    const ROUNDS: usize = 200;
    for round in 0..ROUNDS {
        for station in stations(1) {
            let (begun, wait) = mpsc::channel();
            let programs = [0, 1].map(|thread| {
                let (handle, begun) = (station.handle(), begun.clone());
                thread::spawn(move || {
                    let work = || {
                        begun.send(()).unwrap();
                        for page in 0..PAGES {
                            write(&handle, page * 4096 + thread, 1);
                        }
                    };
                    with_fault_stack(work).unwrap();
                })
            });
            wait.recv().unwrap();
            (0..round % 50 * 20).for_each(|_| std::hint::spin_loop());
            // The last reference may be the one that a callback holds.
            drop(station);
            programs
                .into_iter()
                .for_each(|program| program.join().unwrap());
        }
    }
}
