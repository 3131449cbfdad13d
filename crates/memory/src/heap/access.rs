//! Access within a transaction: the paths on which everything depends.
//!
//! An access that touches no new line tests bounds, alignment and one mask, inline. All else is
//! cold: it looks at every page of the access first and changes nothing if one is missing.

#![allow(unsafe_code)]

use std::slice;

use plurix_wire::{LINE_BYTES, LineMask, LineNumber, PAGE_BYTES, PageNumber};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::HeapMemory;
use crate::AccessError;

impl HeapMemory {
    /// The `T` at `offset`; its lines count as read.
    ///
    /// A type without bytes does not compile:
    ///
    /// ```compile_fail,E0080
    /// let heap = plurix_memory::HeapMemory::emulated(4096)?;
    /// heap.read::<[u8; 0]>(0)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AccessError`] if a page is missing, or the offset is damaged.
    #[inline]
    pub fn read<T: FromBytes + Immutable>(&self, offset: u64) -> Result<&T, AccessError> {
        let at = self.locate::<T>(offset, size_of::<T>())?;
        self.note_read(at, size_of::<T>())?;
        // SAFETY: `T` lies inside the heap, aligned, in present pages; any bytes are a valid `T`;
        // nothing writes to present pages while `self` is borrowed.
        Ok(unsafe { &*self.memory.pointer(at).cast::<T>() })
    }

    /// The `count` values of type `T` from `offset`; their lines count as read.
    ///
    /// # Errors
    /// [`AccessError`] if a page is missing, or the offset or count is damaged.
    #[inline]
    pub fn read_slice<T: FromBytes + Immutable>(
        &self,
        offset: u64,
        count: usize,
    ) -> Result<&[T], AccessError> {
        let (at, length) = self.locate_slice::<T>(offset, count)?;
        if count == 0 {
            return Ok(&[]);
        }
        self.note_read(at, length)?;
        // SAFETY: as in `read`, for each element.
        Ok(unsafe { slice::from_raw_parts(self.memory.pointer(at).cast::<T>(), count) })
    }

    /// The `T` at `offset`, to be changed in place; its lines count as read and are saved.
    ///
    /// # Errors
    /// [`AccessError`] if a page is missing, or the offset is damaged.
    #[inline]
    pub fn open<T: FromBytes + IntoBytes + Immutable>(
        &mut self,
        offset: u64,
    ) -> Result<&mut T, AccessError> {
        let at = self.locate::<T>(offset, size_of::<T>())?;
        self.note_open(at, size_of::<T>())?;
        // SAFETY: `T` lies inside the heap, aligned, in present pages; any bytes are a valid `T`,
        // and any `T` is initialised bytes; `self` is borrowed exclusively.
        Ok(unsafe { &mut *self.memory.pointer(at).cast::<T>() })
    }

    /// The `count` values of type `T` from `offset`, to be changed in place; their lines count as
    /// read and are saved.
    ///
    /// # Errors
    /// [`AccessError`] if a page is missing, or the offset or count is damaged.
    #[inline]
    pub fn open_slice<T: FromBytes + IntoBytes + Immutable>(
        &mut self,
        offset: u64,
        count: usize,
    ) -> Result<&mut [T], AccessError> {
        let (at, length) = self.locate_slice::<T>(offset, count)?;
        if count == 0 {
            return Ok(&mut []);
        }
        self.note_open(at, length)?;
        // SAFETY: as in `open`, for each element.
        Ok(unsafe { slice::from_raw_parts_mut(self.memory.pointer(at).cast::<T>(), count) })
    }

    /// The `T`s at `offsets`, to be changed in place together, as by [`open`](Self::open).
    ///
    /// # Errors
    /// [`AccessError::Overlap`] if two of them share bytes; else as `open`, of the first that fails.
    #[inline]
    pub fn open_many<T: FromBytes + IntoBytes + Immutable, const N: usize>(
        &mut self,
        offsets: [u64; N],
    ) -> Result<[&mut T; N], AccessError> {
        for (index, &first) in offsets.iter().enumerate() {
            for &second in &offsets[index + 1..] {
                if first.abs_diff(second) < size_of::<T>() as u64 {
                    return Err(AccessError::Overlap { first, second });
                }
            }
        }
        for &offset in &offsets {
            let at = self.locate::<T>(offset, size_of::<T>())?;
            self.note_open(at, size_of::<T>())?;
        }
        // SAFETY: as in `open`, for each of them; no two share a byte.
        Ok(offsets.map(|at| unsafe { &mut *self.memory.pointer(at as usize).cast::<T>() }))
    }

    /// Writes `bytes` at `offset` without reading: the lines are saved, but do not count as read,
    /// and exactly these bytes belong to the write set, even if they were the same before.
    ///
    /// # Errors
    /// [`AccessError`] if a page is missing, or the range leaves the heap.
    #[inline]
    pub fn overwrite(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let at = self.locate::<u8>(offset, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        if !all_marked(at, bytes.len(), |page| self.table.saved(page)) {
            self.first_save(at, bytes.len())?;
        }
        self.blind.record(offset..offset + bytes.len() as u64);
        // SAFETY: `&mut self` excludes every reference into the heap, `bytes` among them.
        unsafe { self.memory.store(at, bytes) };
        Ok(())
    }

    #[inline]
    fn note_read(&self, at: usize, length: usize) -> Result<(), AccessError> {
        if all_marked(at, length, |page| self.table.read(page)) {
            Ok(())
        } else {
            self.first_read(at, length)
        }
    }

    #[inline]
    fn note_open(&mut self, at: usize, length: usize) -> Result<(), AccessError> {
        if all_marked(at, length, |page| {
            self.table.read(page) & self.table.saved(page)
        }) {
            Ok(())
        } else {
            self.first_open(at, length)
        }
    }

    #[cold]
    #[inline(never)]
    fn first_read(&self, at: usize, length: usize) -> Result<(), AccessError> {
        pages(at, length).try_for_each(|(page, _)| self.table.require(page))?;
        for (page, lines) in pages(at, length) {
            let entry = self.table.touch(page);
            entry.read.set(entry.read.get() | lines.0);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn first_open(&mut self, at: usize, length: usize) -> Result<(), AccessError> {
        self.first_save(at, length)?;
        self.first_read(at, length)
    }

    #[cold]
    #[inline(never)]
    fn first_save(&mut self, at: usize, length: usize) -> Result<(), AccessError> {
        pages(at, length).try_for_each(|(page, _)| self.table.require(page))?;
        for (page, lines) in pages(at, length) {
            let entry = self.table.touch(page);
            for line in LineMask(lines.0 & !entry.saved.get()).lines() {
                // SAFETY: `&mut self` excludes writers, for as long as the copy takes.
                let bytes = unsafe { self.memory.array(page * PAGE_BYTES + line * LINE_BYTES) };
                self.undo
                    .save(LineNumber::new(PageNumber(page as u32), line as u32), bytes);
            }
            entry.saved.set(entry.saved.get() | lines.0);
        }
        Ok(())
    }

    /// Checks that `length` bytes at `offset` lie in the heap and that `T` may lie there.
    #[inline]
    fn locate<T>(&self, offset: u64, length: usize) -> Result<usize, AccessError> {
        const { assert!(size_of::<T>() > 0, "a value in the heap has bytes") };
        const {
            assert!(
                align_of::<T>() <= PAGE_BYTES,
                "the heap is aligned to pages only"
            )
        };
        // Fits: `sys` refuses to be built for less than 64 bits.
        let at = offset as usize;
        if !self.memory.contains(at, length) {
            return Err(AccessError::OutOfBounds {
                offset,
                length: length as u64,
            });
        }
        if !at.is_multiple_of(align_of::<T>()) {
            return Err(AccessError::Misaligned {
                offset,
                align: align_of::<T>(),
            });
        }
        Ok(at)
    }

    #[inline]
    fn locate_slice<T>(&self, offset: u64, count: usize) -> Result<(usize, usize), AccessError> {
        let length = count.saturating_mul(size_of::<T>());
        Ok((self.locate::<T>(offset, length)?, length))
    }
}

/// Whether `marks` has all lines of the access set; false if it spans pages, which the cold path
/// sorts out.
#[inline]
fn all_marked(at: usize, length: usize, marks: impl FnOnce(usize) -> u64) -> bool {
    let in_page = at % PAGE_BYTES;
    if length > PAGE_BYTES - in_page {
        return false;
    }
    let lines = LineMask::covering(in_page, length).0;
    marks(at / PAGE_BYTES) & lines == lines
}

/// The pages that `length` bytes at `at` span, with the lines touched in each.
fn pages(mut at: usize, mut length: usize) -> impl Iterator<Item = (usize, LineMask)> {
    std::iter::from_fn(move || {
        if length == 0 {
            return None;
        }
        let (page, in_page) = (at / PAGE_BYTES, at % PAGE_BYTES);
        let here = length.min(PAGE_BYTES - in_page);
        at += here;
        length -= here;
        Some((page, LineMask::covering(in_page, here)))
    })
}
