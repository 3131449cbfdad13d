//! Reading and writing the heap inside a transaction.

use plurix_memory::AccessError;
use plurix_protocol::station::Miss;
use plurix_wire::PageNumber;
use tracing::trace_span;
use zerocopy::IntoBytes;

use super::{Poison, Transaction};
use crate::error::{ErrorKind, Result};
use crate::plain::Plain;
use crate::ptr::{Pointee, Ptr};
use crate::station::driver::Driver;

impl Transaction<'_> {
    /// The value or slice that `ptr` points to, as of the transaction's snapshot with its own
    /// changes. A page that is not here is fetched.
    ///
    /// # Errors
    /// [`ErrorKind::Null`], [`ErrorKind::OutOfBounds`], [`ErrorKind::Misaligned`] for a pointer
    /// that cannot be one; [`ErrorKind::Restart`] if the transaction must run again.
    #[inline]
    pub fn get<T: Pointee + ?Sized>(&self, ptr: Ptr<T>) -> Result<&T> {
        match T::read(self.pages, ptr.repr()) {
            Ok(value) if !ptr.is_null() => Ok(value),
            Ok(_) => Err(ErrorKind::Null.into()),
            Err(error) => self.get_missing(ptr, error),
        }
    }

    #[cold]
    #[inline(never)]
    fn get_missing<T: Pointee + ?Sized>(&self, ptr: Ptr<T>, error: AccessError) -> Result<&T> {
        if ptr.is_null() {
            return Err(ErrorKind::Null.into());
        }
        let mut error = error;
        loop {
            self.bring(error, ptr)?;
            match T::read(self.pages, ptr.repr()) {
                Ok(value) => return Ok(value),
                Err(next) => error = next,
            }
        }
    }

    /// The value or slice that `ptr` points to, to be changed in place. It counts as read: if
    /// anybody else changes a line of it, this transaction does not commit.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    #[inline]
    pub fn get_mut<T: Pointee + ?Sized>(&mut self, ptr: Ptr<T>) -> Result<&mut T> {
        // Opened twice because of the borrow checker: the second time is a test of two bits.
        if let Err(error) = T::open(self.pages, ptr.repr()) {
            self.open_missing(ptr, error)?;
        }
        if ptr.is_null() {
            return Err(ErrorKind::Null.into());
        }
        T::open(self.pages, ptr.repr()).map_err(|error| ErrorKind::from(error).into())
    }

    #[cold]
    #[inline(never)]
    fn open_missing<T: Pointee + ?Sized>(&mut self, ptr: Ptr<T>, error: AccessError) -> Result<()> {
        let mut error = error;
        loop {
            self.bring(error, ptr)?;
            match T::open(self.pages, ptr.repr()) {
                Ok(_) => return Ok(()),
                Err(next) => error = next,
            }
        }
    }

    /// Several values to be changed together; they must be disjoint.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`ErrorKind::Overlap`].
    pub fn get_many_mut<T: Plain, const N: usize>(
        &mut self,
        ptrs: [Ptr<T>; N],
    ) -> Result<[&mut T; N]> {
        for ptr in ptrs {
            self.get_mut(ptr)?;
        }
        let opened = self.pages.open_many(ptrs.map(Ptr::offset));
        opened.map_err(|error| ErrorKind::from(error).into())
    }

    /// Replaces a value without reading it: the transaction commits whatever others wrote there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn set<T: Plain>(&mut self, ptr: Ptr<T>, value: T) -> Result<()> {
        self.overwrite(ptr, value.as_bytes())
    }

    /// Replaces a whole slice without reading it.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`ErrorKind::LengthDiffers`].
    pub fn set_slice<T: Plain>(&mut self, ptr: Ptr<[T]>, values: &[T]) -> Result<()> {
        if ptr.len() != values.len() {
            let (expected, found) = (ptr.len(), values.len());
            return Err(ErrorKind::LengthDiffers { expected, found }.into());
        }
        if values.is_empty() {
            return Ok(());
        }
        self.overwrite(ptr, values.as_bytes())
    }

    fn overwrite<T: Pointee + ?Sized>(&mut self, ptr: Ptr<T>, bytes: &[u8]) -> Result<()> {
        if ptr.is_null() {
            return Err(ErrorKind::Null.into());
        }
        while let Err(error) = self.pages.overwrite(ptr.offset(), bytes) {
            self.bring(error, ptr)?;
        }
        Ok(())
    }

    /// Asks for the pages of a value or slice that will be needed, without waiting for them. Of very
    /// many it asks for the first ones: what is read from there on is fetched ahead without being told.
    pub fn prefetch<T: Pointee + ?Sized>(&self, ptr: Ptr<T>) {
        if let Some((first, last)) = self.pages_of(ptr) {
            let absent = (first.0..=last.0).find(|page| !self.pages.is_present(PageNumber(*page)));
            if let Some(absent) = absent {
                let mut driver = self.shared.driver();
                driver
                    .machine
                    .prefetch(PageNumber(absent), last.0 - absent + 1);
                driver.dispatch();
            }
        }
    }

    /// The first and the last page of what `ptr` points to, if that lies in the heap.
    fn pages_of<T: Pointee + ?Sized>(&self, ptr: Ptr<T>) -> Option<(PageNumber, PageNumber)> {
        let (offset, bytes) = (ptr.offset(), T::bytes(ptr.repr()).unwrap_or(0));
        let end = offset.saturating_add(bytes);
        let is_inside = offset != 0 && bytes != 0 && end <= self.pages.len();
        is_inside.then(|| (PageNumber::of(offset), PageNumber::of(end - 1)))
    }

    /// Fetches the page that an access misses, and all others of the value or slice, or says what is
    /// wrong with the access. To look for the next one that is missing costs an access, so a long slice
    /// would be looked through as often as it has pages.
    fn bring<T: Pointee + ?Sized>(&self, error: AccessError, ptr: Ptr<T>) -> Result<()> {
        self.resolve(error)?;
        let Some((first, last)) = self.pages_of(ptr) else {
            return Ok(());
        };
        for page in (first.0..=last.0).map(PageNumber) {
            if !self.pages.is_present(page) {
                self.resolve(AccessError::Missing { page })?;
            }
        }
        Ok(())
    }

    /// Fetches the page that an access misses, or says what is wrong with the access.
    fn resolve(&self, error: AccessError) -> Result<()> {
        let AccessError::Missing { page } = error else {
            return Err(ErrorKind::from(error).into());
        };
        if self.poison.get().is_some() {
            return Err(ErrorKind::Restart.into());
        }
        self.misses.set(self.misses.get() + 1);
        let _traced = trace_span!(target: "plurix::transaction", "miss", page = page.0).entered();
        let mut driver = self.shared.driver();
        loop {
            match driver.machine.miss(page, self.pages) {
                Miss::Installed => {
                    self.prepare(&mut driver);
                    return Ok(());
                }
                Miss::SnapshotTooOld => return Err(self.poisoned(Poison::SnapshotTooOld)),
                Miss::Lost => return Err(self.poisoned(Poison::Lost)),
                Miss::Pending => self.prepare(&mut driver),
            }
            let waited = driver.wait(None, |machine| machine.has_arrived(page));
            if waited.is_err() {
                return Err(self.poisoned(Poison::Cut));
            }
            driver.tally.missed();
        }
    }

    /// Sends what a miss has asked for. While that travels there is time to have memory for it.
    fn prepare(&self, driver: &mut Driver) {
        driver.dispatch();
        if let Some(run) = driver.machine.take_asked() {
            self.pages.prepare(run);
        }
    }
}
