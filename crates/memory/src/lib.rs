//! One station's copy of the heap: its pages, which lines a transaction touched, the old bytes of
//! what it changed, and the difference between the two. The only unsafe code of Plurix is here.
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
//! Apart from all this are [`MappedFile`], a page server's log segment written by stores, and
//! [`Rings`], by which two processes of one host exchange bytes.

mod diff;
mod error;
#[cfg(loom)]
pub mod exploration;
mod heap;
mod mapped_file;
mod pages;
mod ring;
mod sys;

pub use error::{AccessError, Error};
pub use heap::HeapMemory;
pub use mapped_file::MappedFile;
pub use ring::{Rings, Wish};
