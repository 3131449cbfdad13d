//! From a page fault to the protocol.
//!
//! ```text
//!   program's load ──trap──► handler ──► slot of the address ──► open enough? put back ──┐
//!                                            │                     │ no                  │
//!                                            │ none of ours        ▼                     ▼
//!                                            ▼                  Faults::fault ──────► try again
//!                                 what was there before
//! ```
//!
//! The handler runs in the thread that faulted, at an instruction of the program that touches a
//! view, hence in no allocator and under no lock of ours: it may do what any function may, provided
//! that the thread has a stack for it ([`with_fault_stack`](crate::with_fault_stack)).
//!
//! Views are found in a table of fixed size without a lock. Who enters a slot counts itself in, takes
//! its own reference to what is behind, and counts itself out; who empties the slot waits for those
//! few instructions, not for the protocol. So a view can be dropped while others fault on it, and
//! even by the callback itself.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use plurix_wire::{PAGE_BYTES, PageNumber};

use super::{Access, Inner, Mechanism};
use crate::Error;
use crate::sys::{self, Trap};

/// Views that are served at a time, in one process.
const VIEWS_MAX: usize = 64;

/// Answers page faults.
pub trait Faults: Send + Sync {
    /// The program wants to load from `page`, or to store to it, and may not yet. On return the
    /// instruction is tried again, whatever was done; so whoever does nothing is asked for ever.
    ///
    /// Runs in the thread that faulted, on its alternate stack. It may wait, lock and talk to others,
    /// but must not touch the program's side of any view, nor unwind: a panic aborts the process.
    fn fault(&self, page: PageNumber, wants: Access);
}

/// What is behind a slot.
struct Watched {
    inner: Weak<Inner>,
    /// Who is asked, until the protocol is gone; held for no longer than it takes to look.
    faults: Mutex<Option<Arc<dyn Faults>>>,
}

/// One view that is served, or none if `end` is zero.
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    /// Handlers that are looking.
    looking: AtomicUsize,
    /// Made by `Arc::into_raw`; stays until nobody looks.
    watched: AtomicPtr<Watched>,
}

static SLOTS: [Slot; VIEWS_MAX] = [const {
    Slot {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        looking: AtomicUsize::new(0),
        watched: AtomicPtr::new(ptr::null_mut()),
    }
}; VIEWS_MAX];

/// Held while slots are filled or emptied; tells whether faults are caught.
static CATCHING: Mutex<bool> = Mutex::new(false);

/// A view in the table, until it is dropped: with the memory, not with the protocol, for a thread may
/// have trapped just before the view was opened for ever, and come to the handler long after.
pub(super) struct Registration {
    slot: &'static Slot,
    watched: Arc<Watched>,
}

impl Registration {
    pub(super) fn new(inner: &Arc<Inner>) -> Result<Self, Error> {
        let mut is_catching = CATCHING.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_catching {
            sys::catch_faults(serve).map_err(|source| Error::Faults { source })?;
            *is_catching = true;
        }
        let mut slots = SLOTS.iter();
        let free = slots.find(|slot| slot.end.load(Ordering::SeqCst) == 0);
        let slot = free.ok_or(Error::TooManyViews { max: VIEWS_MAX })?;
        let start = inner.memory.program(0).addr();
        let end = start + inner.memory.len();
        let watched = Arc::new(Watched {
            inner: Arc::downgrade(inner),
            faults: Mutex::default(),
        });
        let behind = Arc::into_raw(Arc::clone(&watched));
        slot.watched.store(behind.cast_mut(), Ordering::SeqCst);
        slot.start.store(start, Ordering::SeqCst);
        // Last: with it the slot is in use.
        slot.end.store(end, Ordering::SeqCst);
        Ok(Self { slot, watched })
    }

    /// Has `faults` asked from now on, or nobody.
    pub(super) fn ask(&self, faults: Option<Arc<dyn Faults>>) {
        let mut asked = self.watched.lock();
        let before = std::mem::replace(&mut *asked, faults);
        // What others drop may do anything.
        drop(asked);
        drop(before);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let slots = CATCHING.lock().unwrap_or_else(PoisonError::into_inner);
        self.slot.end.store(0, Ordering::SeqCst);
        // Who counted itself in before may have seen the end that was there; who comes later sees
        // that there is none.
        while self.slot.looking.load(Ordering::SeqCst) != 0 {
            thread::yield_now();
        }
        let watched = self.slot.watched.swap(ptr::null_mut(), Ordering::SeqCst);
        drop(slots);
        // SAFETY: made by `into_raw`, taken out once, and nobody looks at it any more.
        drop(unsafe { Arc::from_raw(watched) });
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Faults>>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn holds(&self, address: usize) -> bool {
        // The end first: if it is that of a view, the start read afterwards is of the same one, or of
        // a later one that is there by now.
        let end = self.end.load(Ordering::SeqCst);
        address < end && address >= self.start.load(Ordering::SeqCst)
    }

    /// What is behind the slot, if it holds `address`.
    fn look(&self, address: usize) -> Option<Arc<Watched>> {
        if !self.holds(address) {
            return None;
        }
        self.looking.fetch_add(1, Ordering::SeqCst);
        let found = self.holds(address).then(|| {
            let watched = self.watched.load(Ordering::SeqCst).cast_const();
            // SAFETY: the slot is in use, so this came from `into_raw`; and it stays, for who empties
            // the slot waits until nobody looks.
            unsafe { Arc::increment_strong_count(watched) };
            // SAFETY: for the reference just counted.
            unsafe { Arc::from_raw(watched) }
        });
        self.looking.fetch_sub(1, Ordering::SeqCst);
        found
    }
}

/// Serves a fault, if it is of a view.
fn serve(trap: Trap, address: usize, is_store: Option<bool>) -> bool {
    let Some(watched) = SLOTS.iter().find_map(|slot| slot.look(address)) else {
        return false;
    };
    let Some(inner) = watched.inner.upgrade() else {
        return false;
    };
    let expected = match inner.mechanism {
        Mechanism::Userfault => Trap::Bus,
        Mechanism::Protection => Trap::Segment,
        Mechanism::Emulated => return false,
    };
    if trap != expected {
        return false;
    }
    let page = (address - inner.memory.program(0).addr()) / PAGE_BYTES;
    let wants = match is_store {
        Some(true) => Access::Write,
        Some(false) => Access::Read,
        // What faults although it may be read is a store.
        None if inner.access_at(page) == Access::None => Access::Read,
        None => Access::Write,
    };
    if inner.serve_again(page, wants) {
        return true;
    }
    let faults = watched.lock().clone();
    let Some(faults) = faults else {
        // The protocol has gone since the look above, and opened everything before it went.
        return inner.serve_again(page, wants);
    };
    let asked = AssertUnwindSafe(|| faults.fault(PageNumber(page as u32), wants));
    if catch_unwind(asked).is_err() {
        sys::abort("plurix: the handler of a page fault panicked; the process ends\n");
    }
    true
}
