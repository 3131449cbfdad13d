//! One station's copy of the heap: its pages, which lines a transaction touched, the old bytes of
//! what it changed, and the difference between the two; and its view of pages that programs share by
//! plain loads and stores. The only unsafe code of Plurix is here.
//!
//! A checked transaction ([`HeapMemory`]) works *in place*. Each access tests a bit in a page table
//! of ours, in nanoseconds and without a page fault:
//!
//! ```text
//!  read(offset) ──► line marked read? ──yes──────────────────────────────► &T
//!                        └─no─► page present? ─no─► Missing (fetch, install, try again)
//!                                     └─yes─► mark ──────────────────────► &T
//!  open(offset) ──► line marked read and saved? ─yes─────────────────────► &mut T
//!                        └─no─► page present? ─► copy the old line to undo, mark ─► &mut T
//!  end:  write_set() = heap bytes that differ from undo, and all blindly written ones
//!        rollback()  = undo copied back          finish() = undo forgotten
//! ```
//!
//! # Why a plain `&T` into shared memory is sound
//!
//! References to the heap are handed out while other parts of the program, and the protocol, keep
//! writing to it. The following keeps every one of them valid.
//!
//! 1. **Nobody else has the memory.** The heap is a memfd, mapped once, whose descriptor is closed
//!    before [`HeapMemory::reserve`] returns; it has no name, and `MADV_DONTFORK` keeps it out of
//!    child processes. Only the `HeapMemory` that owns the mapping can reach it, and it is `!Sync`:
//!    one thread at a time.
//! 2. **Writes to a present page need `&mut self`.** [`write`](HeapMemory::write),
//!    [`apply`](HeapMemory::apply), [`evict`](HeapMemory::evict), [`open`](HeapMemory::open),
//!    [`overwrite`](HeapMemory::overwrite) and [`rollback`](HeapMemory::rollback) borrow the whole
//!    heap exclusively, so no reference obtained earlier is alive when they write, and the `&mut T`
//!    that `open` returns is the only reference into the heap while it lives.
//! 3. **`&self` writes only where no reference can be.** [`install`](HeapMemory::install) fills a
//!    page in the middle of a transaction, while references into other pages live. It refuses, in
//!    release builds as well, a page that is present; references are made to present pages only.
//! 4. **No reference covers more than was asked for.** The mapping as a whole is only ever a raw
//!    pointer; a reference spans the bytes of one `T`, slice, line or page.
//! 5. **Every byte is initialised, and every value is a valid `T`.** The kernel hands out zeros;
//!    `FromBytes` accepts any bytes, `IntoBytes` (required of whatever is written) has no padding,
//!    and `Immutable` excludes interior mutability behind `&T`.
//! 6. **Offsets are not trusted.** They may have been forged by a program's bug or read from heap
//!    bytes, so each access checks bounds and alignment and answers a typed [`AccessError`].
//!
//! The pointers are also run under Miri and AddressSanitizer: an emulated back end replaces the
//! system's mappings by an ordinary allocation ([`HeapMemory::emulated`]). It is chosen at run time,
//! because the simulator wants many small heaps in one process, and is the only one under Miri.
//!
//! # Shared pages under a program's own loads and stores
//!
//! A [`View`] is the memory of weak regions, where no transaction stands between the program and the
//! bytes. It is mapped twice: the program works on one mapping, whose pages the protocol opens and
//! closes, and the protocol on the other, the *alias*, which is always open. Touching what is closed
//! raises a signal in the thread that does so, whose handler asks the protocol ([`Faults`]) and has
//! the instruction tried again:
//!
//! ```text
//!  load ──► page open? ──yes──► the byte            store ──► page open to stores? ──yes──► done
//!             └─no─► trap ─► Faults::fault ─► fill, set_access(Read) ──► load again
//!                                             keep_twin, set_access(Write) ──► store again
//!  publish:   set_access(Read), diff against the twin ──► to the page's home, which applies it
//!  refresh:   set_access(None) ──► the next load asks again
//! ```
//!
//! 1. **References are lent by range.** [`ViewHandle::slice`] and [`ViewHandle::slice_mut`] are the only
//!    way to one, and a registry of what is lent keeps two that disagree apart, across all threads of
//!    the station.
//! 2. **The protocol makes no reference into the program's mapping.** It reads and writes the alias by
//!    atomic words, fills a page only while it is closed, and puts into an open one exactly the bytes
//!    that another station changed, by byte or masked vector stores.
//! 3. **What other stations change while bytes are lent** is excluded by the weak model, for programs
//!    without data races that give slices back before they synchronise. That is the program's part.
//! 4. **The handler runs at an instruction of the program**, never inside an allocator or under a lock
//!    of ours, on a stack of its own ([`with_fault_stack`]). It saves the error number, unwinds into
//!    nothing (a panic aborts), and passes on what is not of a view, so that a wild pointer ends the
//!    process as it always did.
//!
//! Pages are closed by a userfaultfd or, where that is forbidden, by `mprotect` ([`Mechanism`]); an
//! emulated view closes nothing and says so, for simulation and Miri.
//!
//! Apart from all this are [`MappedFile`], a page server's log segment written by stores, [`Rings`], by
//! which two processes of one host exchange bytes, and [`simd`], a loop for programs that compute.

mod diff;
mod error;
#[cfg(loom)]
pub mod exploration;
mod heap;
mod mapped_file;
mod pages;
mod ring;
pub mod simd;
mod sys;
mod view;

pub use error::{AccessError, Error};
pub use heap::HeapMemory;
pub use mapped_file::MappedFile;
pub use ring::{Rings, Wish};
pub use view::{
    Access, Exclusive, Faults, LentRange, Mechanism, PageRun, Shared, TrapFloor, View, ViewHandle,
    with_fault_stack,
};
