//! What can go wrong, kept apart by who has to act: the caller of an access (fetch a page, reject a
//! forged offset), or the operator (raise a limit).

use std::io;

use plurix_wire::PageNumber;

use crate::view::{LentRange, Mechanism, PageRun};

/// Why memory could not be set up or written out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel grants not even the smallest heap worth having.
    #[error(
        "cannot reserve {bytes} bytes of address space for the heap; \
         check `ulimit -v`, `ulimit -f` and vm.overcommit_memory"
    )]
    Reserve {
        /// The last size tried, in bytes.
        bytes: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file could not be mapped.
    #[error("cannot map {bytes} bytes of a file; check `ulimit -v` and the file's open mode")]
    MapFile {
        /// The length asked for.
        bytes: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file is shorter than the part to be mapped; touching its end would kill the process.
    #[error("cannot map {wanted} bytes of a file of {actual} bytes; allocate its blocks first")]
    FileTooShort {
        /// The length asked for, in bytes.
        wanted: u64,
        /// The file's length, in bytes.
        actual: u64,
    },
    /// Memory cannot be shared with another process, or what it offers must not be mapped.
    #[error("cannot share {bytes} bytes of memory with a peer on this host")]
    Share {
        /// The length asked for.
        bytes: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A view cannot be set up by this mechanism.
    #[error(
        "cannot reserve {bytes} bytes for a view of shared pages by {mechanism}; \
         check `ulimit -v`, `ulimit -f`, and what the sandbox of this process allows"
    )]
    View {
        /// The size asked for, in bytes.
        bytes: u64,
        /// How pages were to be closed and opened.
        mechanism: Mechanism,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel would not open pages of a view to the program, or close them.
    #[error("cannot change the access to {run} of a view")]
    Access {
        /// The pages at fault.
        run: PageRun,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The pages of a view differ in their access from one to the next more often than the kernel
    /// keeps account of.
    #[error(
        "cannot change the access to {run} of a view: the process has too many mappings; \
         raise vm.max_map_count, or allow it userfaultfd, which needs none"
    )]
    TooManyMappings {
        /// The pages at fault.
        run: PageRun,
        /// The kernel's answer.
        source: io::Error,
    },
    /// As many views as one process may have are served already.
    #[error("{max} views of shared pages are in use in this process; drop one first")]
    TooManyViews {
        /// How many there may be.
        max: usize,
    },
    /// Page faults cannot be caught, or have no stack to be handled on.
    #[error("cannot catch page faults in this process")]
    Faults {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The process at the other end of a ring wrote what no ring of ours says.
    #[error("the peer damaged the memory that it shares with this process")]
    Ring,
    /// Stores to a mapped file may not have reached the disk; treat them all as lost.
    #[error("cannot write a mapped file to disk; what was stored since the last sync may be lost")]
    Sync {
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Why an access was refused. The heap is as it was before the access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The page is not here: fetch it, install it, and repeat the access.
    #[error("page {page} is not present; fetch and install it, then repeat the access")]
    Missing {
        /// The first page of the access that is missing.
        page: PageNumber,
    },
    /// The access leaves the heap, so the pointer is forged or damaged.
    #[error("{length} bytes at heap offset {offset:#x} leave the heap; the pointer is damaged")]
    OutOfBounds {
        /// Heap offset of the access.
        offset: u64,
        /// Its length in bytes, saturated.
        length: u64,
    },
    /// The offset does not fit the type, so the pointer is forged or damaged.
    #[error("heap offset {offset:#x} is not aligned to {align} bytes; the pointer is damaged")]
    Misaligned {
        /// Heap offset of the access.
        offset: u64,
        /// The alignment that the type needs, in bytes.
        align: usize,
    },
    /// Two values that were to be opened together share bytes.
    #[error("values at heap offsets {first:#x} and {second:#x} overlap; open one at a time")]
    Overlap {
        /// Heap offset of the one named first.
        first: u64,
        /// Heap offset of the one named later.
        second: u64,
    },
    /// Bytes that were to be lent are lent already, and one of both is to be written.
    #[error("cannot lend {wanted}: {lent} is lent; drop that first, or ask for other bytes")]
    Lent {
        /// What was asked for.
        wanted: LentRange,
        /// What is lent and overlaps it.
        lent: LentRange,
    },
    /// A page is not open for this access, and no page fault will say so: its view is emulated.
    #[error("page {page} of an emulated view is not open for this access; open it, then repeat")]
    Closed {
        /// The first page of the access that is closed.
        page: PageNumber,
    },
}
