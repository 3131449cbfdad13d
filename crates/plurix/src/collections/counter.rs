//! A counter that any number of stations add to without a conflict.

use super::stripes::{self, Stripes};
use super::{check_fingerprint, handle};
use crate::error::Result;
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

handle! {
    /// A number that is added to from many stations at once.
    ///
    /// [`add`](Self::add) is O(1), reads a line that nobody writes any more, and changes a line of this
    /// station's own: stations do not conflict (beyond 64 they share lines). [`get`](Self::get) is O(8)
    /// for each eight stations and reads all their lines: a transaction that gets the number runs again
    /// if anybody adds to it meanwhile, unless it changes nothing itself. It takes 640 bytes.
    ///
    /// ```
    /// use plurix::collections::Counter;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let visits = station.transaction(|tx| tx.named::<Counter>("visits"))?;
    /// station.transaction(|tx| visits.add(tx, 3))?;
    /// station.transaction(|tx| visits.add(tx, -1))?;
    /// assert_eq!(station.transaction(|tx| visits.get(tx))?, 2);
    /// # Ok(())
    /// # }
    /// ```
    Counter [],
    /// What a [`Counter`] leads to.
    CounterHeader holds Header
}

#[plain]
struct Header {
    fingerprint: u64,
    _unused: [u64; 7],
    stripes: Stripes,
}

impl Counter {
    /// Makes a counter that is zero.
    ///
    /// # Errors
    /// As [`Transaction::alloc`].
    pub fn create(tx: &mut Transaction<'_>) -> Result<Self> {
        let header = Header {
            fingerprint: Self::FINGERPRINT,
            _unused: [0; 7],
            stripes: Stripes::create(tx)?,
        };
        Ok(Self::from_inner(tx.alloc(header)?))
    }

    /// Adds `change`, modulo 2^64.
    ///
    /// # Errors
    /// As [`Transaction::get`]; [`LayoutDiffers`](crate::ErrorKind::LayoutDiffers) if it was destroyed;
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory).
    pub fn add(self, tx: &mut Transaction<'_>, change: i64) -> Result<()> {
        let stripes = self.stripes(tx)?;
        stripes::add(tx, stripes, change)
    }

    /// The sum of all that was added.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn get(self, tx: &Transaction<'_>) -> Result<i64> {
        stripes::sum(tx, self.stripes(tx)?)
    }

    /// Makes it zero; conflicts with everybody who adds.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn reset(self, tx: &mut Transaction<'_>) -> Result<()> {
        let stripes = self.stripes(tx)?;
        stripes::reset(tx, stripes)
    }

    /// Frees it.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn destroy(self, tx: &mut Transaction<'_>) -> Result<()> {
        let stripes = self.stripes(tx)?;
        stripes::destroy(tx, stripes)?;
        tx.get_mut(self.inner())?.fingerprint = 0;
        tx.free(self.inner())
    }

    fn stripes(self, tx: &Transaction<'_>) -> Result<Ptr<Stripes>> {
        let header = Ptr::<u64>::at(self.inner().offset());
        check_fingerprint(*tx.get(header)?, Self::FINGERPRINT, "counter")?;
        let at = std::mem::offset_of!(Header, stripes) as u64;
        Ok(Ptr::at(self.inner().offset().wrapping_add(at)))
    }
}
