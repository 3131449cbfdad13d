//! Allocating and freeing, as programs see it.

use plurix_wire::PAGE_BYTES;

use super::classes::{CLASS_BYTES, SLAB_HEADER_BYTES, Shape, capacity};
use super::runs::{PageEntry, Taken, offset_of, state};
use super::{Allocator, corrupt};
use crate::error::{ErrorKind, Result};
use crate::plain::Plain;
use crate::ptr::{Pointee, Ptr};
use crate::transaction::Transaction;

/// A block just allocated.
#[derive(Debug, Clone, Copy)]
enum Block {
    /// One of a slab, at this offset.
    Small(u64),
    Run(Taken),
}

impl Block {
    fn offset(self) -> u64 {
        match self {
            Self::Small(offset) => offset,
            Self::Run(taken) => offset_of(taken.first),
        }
    }
}

impl Transaction<'_> {
    /// Puts `value` into the heap. It stays until it is [freed](Self::free), and can be reached
    /// by whoever finds a pointer to it, for instance from a [root](Self::set_root).
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`] if there is no room; the transaction can go on.
    pub fn alloc<T: Plain>(&mut self, value: T) -> Result<Ptr<T>> {
        const { assert!(size_of::<T>() > 0, "a value in the heap has bytes") };
        let ptr = Ptr::at(self.allocate(shape::<T>(1)?)?.offset());
        self.set(ptr, value)?;
        Ok(ptr)
    }

    /// Makes a slice of `count` zeros, of any length. Large slices are zero without being written
    /// unless their memory was used before. Then a few MiB are zeroed here, and count among what the
    /// transaction changes; for more than that the transaction runs again, after transactions of
    /// their own have zeroed the free memory. They cannot do so with what this transaction frees
    /// itself: free a large slice in one transaction and make the next in another.
    ///
    /// # Errors
    /// As [`alloc`](Self::alloc); [`ErrorKind::Restart`] if the transaction must run again.
    pub fn alloc_slice<T: Plain>(&mut self, count: usize) -> Result<Ptr<[T]>> {
        const { assert!(size_of::<T>() > 0, "a value in the heap has bytes") };
        if count == 0 {
            return Ok(empty_slice());
        }
        let shape = shape::<T>(count)?;
        let block = self.allocate(shape)?;
        match block {
            Block::Small(offset) => self.zero(offset, shape.bytes)?,
            Block::Run(taken) => self.zero_run(taken, shape.bytes)?,
        }
        Ok(Ptr::slice_at(block.offset(), count as u64))
    }

    /// Makes a slice of `count` values, at least one, that are whatever lay there before: for who writes
    /// each of them before reading it.
    pub(crate) fn alloc_slice_unset<T: Plain>(&mut self, count: usize) -> Result<Ptr<[T]>> {
        let block = self.allocate(shape::<T>(count)?)?;
        let ptr = Ptr::slice_at(block.offset(), count as u64);
        self.prefetch(ptr);
        Ok(ptr)
    }

    /// Puts a copy of `values` into the heap.
    ///
    /// # Errors
    /// As [`alloc`](Self::alloc).
    pub fn alloc_slice_from<T: Plain>(&mut self, values: &[T]) -> Result<Ptr<[T]>> {
        const { assert!(size_of::<T>() > 0, "a value in the heap has bytes") };
        if values.is_empty() {
            return Ok(empty_slice());
        }
        let block = self.allocate(shape::<T>(values.len())?)?;
        let ptr = Ptr::slice_at(block.offset(), values.len() as u64);
        self.prefetch(ptr);
        self.set_slice(ptr, values)?;
        Ok(ptr)
    }

    /// Frees a value or a whole slice. Pointers to it must not be used any more: what they then
    /// lead to is whatever lies there. A slice without values may be freed any number of times.
    ///
    /// # Errors
    /// [`ErrorKind::Null`]; [`ErrorKind::InvalidFree`] if no block of this size begins there, above
    /// all because it was freed before.
    pub fn free<T: Pointee + ?Sized>(&mut self, ptr: Ptr<T>) -> Result<()> {
        let offset = ptr.offset();
        let invalid = |bytes| ErrorKind::InvalidFree { offset, bytes };
        let bytes = T::bytes(ptr.repr()).ok_or_else(|| invalid(u64::MAX))?;
        if bytes == 0 {
            return Ok(());
        }
        if ptr.is_null() {
            return Err(ErrorKind::Null.into());
        }
        let align = T::ALIGN;
        if Allocator::new(self).release(offset, Shape { bytes, align })? {
            Ok(())
        } else {
            Err(invalid(bytes).into())
        }
    }

    fn allocate(&mut self, shape: Shape) -> Result<Block> {
        let bytes = shape.bytes;
        let block = Allocator::new(self).allocate(shape)?;
        block.ok_or_else(|| ErrorKind::OutOfMemory { bytes }.into())
    }
}

impl Allocator<'_, '_> {
    /// Allocates a block of `shape`; `None` if there is no room.
    fn allocate(&mut self, shape: Shape) -> Result<Option<Block>> {
        let (block, bytes) = if let Some(class) = shape.class() {
            let block = self.take_block(class)?.map(Block::Small);
            (block, i64::from(CLASS_BYTES[class]))
        } else {
            let pages = shape.pages();
            let block = self.take_run(pages)?.map(Block::Run);
            (block, offset_of(pages as u32) as i64)
        };
        if block.is_some() {
            self.count(1, bytes)?;
        }
        Ok(block)
    }

    /// Frees the block of `shape` at `offset`; false if there is none.
    fn release(&mut self, offset: u64, shape: Shape) -> Result<bool> {
        let page = offset / PAGE_BYTES as u64;
        if !self.geometry.contains(page, 1) {
            return Ok(false);
        }
        let (page, within) = (page as u32, (offset % PAGE_BYTES as u64) as usize);
        let entry = *self.entry(page)?;
        let (released, bytes) = if let Some(class) = shape.class() {
            let bytes = usize::from(CLASS_BYTES[class]);
            if entry.state != state::SLAB || usize::from(entry.kind) != class {
                return Ok(false);
            }
            let Some(at) = within.checked_sub(SLAB_HEADER_BYTES) else {
                return Ok(false);
            };
            if !at.is_multiple_of(bytes) || at / bytes >= capacity(class) {
                return Ok(false);
            }
            (self.give_block_of(page, class, at / bytes)?, bytes as i64)
        } else {
            let pages = shape.pages();
            let whole = within == 0 && u64::from(entry.pages) == pages;
            if entry.state != state::RUN || !whole {
                return Ok(false);
            }
            if !self.geometry.contains(u64::from(page), pages) {
                return Err(corrupt("page map"));
            }
            self.give_pages(page, entry.pages)?;
            (true, offset_of(entry.pages) as i64)
        };
        if released {
            self.count(-1, -bytes)?;
        }
        Ok(released)
    }

    /// Takes pages for a large block; `None` if there is no room.
    fn take_run(&mut self, pages: u64) -> Result<Option<Taken>> {
        if pages > self.geometry.pages() {
            return Ok(None);
        }
        let mut taken = self.take_pages(pages)?;
        if taken.is_none() && self.reclaim()? {
            taken = self.take_pages(pages)?;
        }
        if let Some(taken) = taken {
            *self.entry_mut(taken.first)? = PageEntry {
                state: state::RUN,
                pages: pages as u32,
                ..PageEntry::default()
            };
        }
        Ok(taken)
    }
}

/// The shape of `count` values.
fn shape<T: Plain>(count: usize) -> Result<Shape> {
    let bytes = (count as u64).checked_mul(size_of::<T>() as u64);
    let bytes = bytes.ok_or(ErrorKind::OutOfMemory { bytes: u64::MAX })?;
    let align = align_of::<T>();
    Ok(Shape { bytes, align })
}

/// A slice without values takes no room, but its pointer is not null.
fn empty_slice<T: Plain>() -> Ptr<[T]> {
    Ptr::slice_at(PAGE_BYTES as u64, 0)
}
