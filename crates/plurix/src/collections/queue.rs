//! A queue of which producers and consumers touch different lines, as long as it is not empty.
//!
//! ```text
//!  header, line 0: head   first segment, how many were popped     consumers
//!  header, line 1: tail   last segment, how many were pushed      producers
//!
//!  head ──► segment ──next──► segment ──next──► segment ◄── tail
//!           [mark, value] [mark, value] …
//! ```
//!
//! A consumer does not read the tail to learn whether there is an element: the slot says it by its
//! mark, which is zero until a producer fills it. So a consumer of an empty queue conflicts with the
//! producer who fills that slot, and else with none.

use std::time::Duration;

use zerocopy::FromZeros as _;

use super::blocks::{self, LINE_BYTES};
use super::{check_fingerprint, corrupt, handle, or_corrupt};
use crate::error::Result;
use crate::plain::Plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

const WHAT: &str = "queue";
/// A size class of the allocator, in whole lines.
const SEGMENT_BYTES: usize = 1344;
/// What a segment has at least, however large the values are.
const SLOTS_MIN: usize = 8;

#[crate::plain]
#[repr(C, align(64))]
struct Inner {
    head: End,
    tail: End,
}

/// One end of a queue.
#[crate::plain]
struct End {
    fingerprint: u64,
    segment: u64,
    /// How many elements have ever passed.
    passed: u64,
    unused: [u64; 5],
}

handle!(
    /// A queue in the heap, first in, first out.
    ///
    /// | operation | cost | reads | writes |
    /// |---|---|---|---|
    /// | [`push`](HeapQueue::push) | O(1) | tail | tail, a slot |
    /// | [`pop`](HeapQueue::pop) | O(1) | head, a slot | head |
    /// | [`pop_wait`](HeapQueue::pop_wait) | O(1) | head, a slot | head |
    /// | [`peek`](HeapQueue::peek) | O(1) | head, a slot | |
    /// | [`len`](HeapQueue::len) | O(1) | head, tail | |
    /// | [`iter`](HeapQueue::iter) | O(n) | head, all slots | |
    ///
    /// Producers conflict with each other, and so do consumers. A producer and a consumer do not,
    /// unless the slots that they are at share a line, that is, unless the queue is nearly empty; and
    /// once for each of its segments, of some 1300 bytes, they may in the allocator. `len` conflicts
    /// with all of them: ask [`is_empty`](HeapQueue::is_empty) where that is meant, which looks at one
    /// slot only.
    ///
    /// ```
    /// use plurix::collections::HeapQueue;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(2)?;
    /// # let [producer, consumer] = cluster.stations() else { unreachable!() };
    /// producer.transaction(|tx| {
    ///     let jobs = tx.named::<HeapQueue<u64>>("jobs")?;
    ///     jobs.extend(tx, [3, 1, 2])
    /// })?;
    /// consumer.latest()?;
    /// let first = consumer.transaction(|tx| tx.named::<HeapQueue<u64>>("jobs")?.pop(tx))?;
    /// assert_eq!(first, Some(3));
    /// # Ok(())
    /// # }
    /// ```
    HeapQueue [T: Plain],
    /// The header of a [`HeapQueue`].
    QueueHeader holds Inner
);

/// A filled slot: where its value is.
struct Found<T: Plain> {
    segment: u64,
    value: Ptr<T>,
}

impl<T: Plain> HeapQueue<T> {
    /// Bytes from a slot's mark to its value.
    const VALUE_AT: usize = {
        assert!(size_of::<T>() > 0, "a value in the heap has bytes");
        assert!(align_of::<T>() <= LINE_BYTES, "values are aligned to lines");
        if align_of::<T>() > size_of::<u64>() {
            align_of::<T>()
        } else {
            size_of::<u64>()
        }
    };
    /// Bytes from one slot to the next.
    const STRIDE: usize = (Self::VALUE_AT + size_of::<T>()).next_multiple_of(Self::VALUE_AT);
    /// Slots of a segment.
    const SLOTS: u64 = {
        let fit = (SEGMENT_BYTES - LINE_BYTES) / Self::STRIDE;
        if fit < SLOTS_MIN {
            SLOTS_MIN as u64
        } else {
            fit as u64
        }
    };
    /// Bytes of a segment; its first line is the link to the next.
    const BYTES: usize = LINE_BYTES + Self::SLOTS as usize * Self::STRIDE;

    /// An empty queue.
    ///
    /// # Errors
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory), and as [`Transaction::get`].
    pub fn create(tx: &mut Transaction<'_>) -> Result<Self> {
        let end = End {
            fingerprint: Self::FINGERPRINT,
            segment: blocks::allocate_zeroed(tx, Self::BYTES)?,
            passed: 0,
            unused: [0; 5],
        };
        let inner = tx.alloc(Inner {
            head: end,
            tail: end,
        })?;
        Ok(Self::from_ptr(Ptr::at(inner.offset())))
    }

    /// Appends `value`.
    ///
    /// # Errors
    /// [`LayoutDiffers`](crate::ErrorKind::LayoutDiffers) if this is no queue of `T`,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it is damaged,
    /// [`OutOfMemory`](crate::ErrorKind::OutOfMemory), and as [`Transaction::get`].
    pub fn push(self, tx: &mut Transaction<'_>, value: T) -> Result<()> {
        let End {
            mut segment,
            passed,
            ..
        } = self.end(tx, self.tail())?;
        if passed > 0 && passed.is_multiple_of(Self::SLOTS) {
            let made = blocks::allocate_zeroed(tx, Self::BYTES)?;
            tx.set(Ptr::at(segment), made).map_err(damage)?;
            segment = made;
        }
        let slot = Self::slot(segment, passed)?;
        tx.set(Self::value(slot)?, value).map_err(damage)?;
        tx.set(Ptr::at(slot), mark(passed)).map_err(damage)?;
        let tail = tx.get_mut(self.tail())?;
        (tail.segment, tail.passed) = (segment, passed.wrapping_add(1));
        Ok(())
    }

    /// Appends what `values` yields.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn extend(
        self,
        tx: &mut Transaction<'_>,
        values: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let mut values = values.into_iter();
        values.try_for_each(|value| self.push(tx, value))
    }

    /// Removes the first element; `None` if there is none.
    ///
    /// # Errors
    /// As [`push`](Self::push), and as [`Transaction::free`].
    pub fn pop(self, tx: &mut Transaction<'_>) -> Result<Option<T>> {
        let head = self.end(tx, self.head())?;
        let Some(found) = Self::find(tx, head.segment, head.passed)? else {
            return Ok(None);
        };
        let value = *tx.get(found.value).map_err(damage)?;
        if found.segment != head.segment {
            blocks::free(tx, head.segment, Self::BYTES, WHAT)?;
        }
        let end = tx.get_mut(self.head())?;
        (end.segment, end.passed) = (found.segment, head.passed.wrapping_add(1));
        Ok(Some(value))
    }

    /// Removes the first element. If there is none, the error says that the transaction waits until one
    /// is pushed, and the closure runs again then: return it, as `?` does. Of the queue it watches the
    /// head and one slot; whatever else the closure has read can wake it, too.
    ///
    /// ```
    /// use plurix::collections::HeapQueue;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(2)?;
    /// # let [producer, consumer] = cluster.stations() else { unreachable!() };
    /// let jobs = producer.transaction(|tx| tx.named::<HeapQueue<u64>>("jobs"))?;
    /// consumer.latest()?;
    /// std::thread::scope(|scope| {
    ///     let job = scope.spawn(|| consumer.transaction(|tx| jobs.pop_wait(tx)));
    ///     producer.transaction(|tx| jobs.push(tx, 7))?;
    ///     assert_eq!(job.join().unwrap()?, 7);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`pop`](Self::pop), and as [`Transaction::wait_for_change`].
    pub fn pop_wait(self, tx: &mut Transaction<'_>) -> Result<T> {
        match self.pop(tx)? {
            Some(value) => Ok(value),
            None => Err(tx.wait_for_change()),
        }
    }

    /// As [`pop_wait`](Self::pop_wait), for no longer than `limit`, which counts from the first wait of
    /// this transaction; then `None`.
    ///
    /// ```
    /// use plurix::collections::HeapQueue;
    /// # use plurix::{Cluster, Result};
    /// # use std::time::Duration;
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// let jobs = station.transaction(|tx| tx.named::<HeapQueue<u64>>("jobs"))?;
    /// let soon = Duration::from_millis(5);
    /// let job = station.transaction(|tx| jobs.pop_wait_for(tx, soon))?;
    /// assert_eq!(job, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`pop`](Self::pop), and as [`Transaction::wait_for_change_for`].
    pub fn pop_wait_for(self, tx: &mut Transaction<'_>, limit: Duration) -> Result<Option<T>> {
        match self.pop(tx)? {
            None if !tx.has_timed_out() => Err(tx.wait_for_change_for(limit)),
            found => Ok(found),
        }
    }

    /// Removes up to `limit` elements, in order.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    pub fn drain(self, tx: &mut Transaction<'_>, limit: usize) -> Result<Vec<T>> {
        let mut values = Vec::new();
        while values.len() < limit {
            let Some(value) = self.pop(tx)? else {
                break;
            };
            values.push(value);
        }
        Ok(values)
    }

    /// The first element, which stays.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn peek<'t>(self, tx: &'t Transaction<'_>) -> Result<Option<&'t T>> {
        let head = self.end(tx, self.head())?;
        match Self::find(tx, head.segment, head.passed)? {
            Some(found) => tx.get(found.value).map(Some).map_err(damage),
            None => Ok(None),
        }
    }

    /// Whether there is no element. Reads one slot, and not the tail.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn is_empty(self, tx: &Transaction<'_>) -> Result<bool> {
        Ok(self.peek(tx)?.is_none())
    }

    /// How many elements there are. Reads both ends, so it conflicts with all who push or pop.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn len(self, tx: &Transaction<'_>) -> Result<u64> {
        let popped = self.end(tx, self.head())?.passed;
        let pushed = self.end(tx, self.tail())?.passed;
        pushed.checked_sub(popped).ok_or_else(|| corrupt(WHAT))
    }

    /// All elements, in order; they stay.
    ///
    /// # Errors
    /// As [`push`](Self::push); so may each element.
    pub fn iter<'t, 's>(self, tx: &'t Transaction<'s>) -> Result<QueueIter<'t, 's, T>> {
        let head = self.end(tx, self.head())?;
        Ok(QueueIter {
            tx,
            queue: self,
            segment: head.segment,
            passed: head.passed,
            left: blocks::blocks_max(tx, Self::STRIDE),
        })
    }

    /// Removes all elements and frees their memory.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    pub fn clear(self, tx: &mut Transaction<'_>) -> Result<()> {
        let tail = self.end(tx, self.tail())?;
        let head = self.end(tx, self.head())?;
        let mut segment = head.segment;
        let mut left = blocks::blocks_max(tx, Self::BYTES);
        while segment != tail.segment {
            let next = *tx.get(Ptr::<u64>::at(segment)).map_err(damage)?;
            blocks::free(tx, segment, Self::BYTES, WHAT)?;
            left = left.checked_sub(1).ok_or_else(|| corrupt(WHAT))?;
            segment = next;
        }
        let end = tx.get_mut(self.head())?;
        (end.segment, end.passed) = (tail.segment, tail.passed);
        Ok(())
    }

    /// Frees the queue with all its elements; what they point to stays.
    ///
    /// # Errors
    /// As [`pop`](Self::pop).
    pub fn destroy(self, tx: &mut Transaction<'_>) -> Result<()> {
        self.clear(tx)?;
        let segment = tx.get(self.tail())?.segment;
        blocks::free(tx, segment, Self::BYTES, WHAT)?;
        // A handle that is left over somewhere is told that there is no queue any more.
        for end in [self.head(), self.tail()] {
            *tx.get_mut(end)? = End::new_zeroed();
        }
        tx.free(self.inner()).map_err(damage)
    }

    /// The slot of element `passed`, if it is filled; `segment` has it, or ends before it.
    #[inline]
    fn find(tx: &Transaction<'_>, segment: u64, passed: u64) -> Result<Option<Found<T>>> {
        let mut segment = segment;
        if passed > 0 && passed.is_multiple_of(Self::SLOTS) {
            segment = *tx.get(Ptr::<u64>::at(segment)).map_err(damage)?;
            if segment == 0 {
                return Ok(None);
            }
        }
        let slot = Self::slot(segment, passed)?;
        match *tx.get(Ptr::<u64>::at(slot)).map_err(damage)? {
            0 => Ok(None),
            found if found == mark(passed) => Ok(Some(Found {
                segment,
                value: Self::value(slot)?,
            })),
            _ => Err(corrupt(WHAT)),
        }
    }

    #[inline]
    fn end(self, tx: &Transaction<'_>, end: Ptr<End>) -> Result<End> {
        let end = *tx.get(end)?;
        check_fingerprint(end.fingerprint, Self::FINGERPRINT, WHAT)?;
        Ok(end)
    }

    fn head(self) -> Ptr<End> {
        Ptr::at(self.0)
    }

    fn tail(self) -> Ptr<End> {
        Ptr::at(self.0.saturating_add(size_of::<End>() as u64))
    }

    /// Where the slot of element `passed` begins in its segment.
    fn slot(segment: u64, passed: u64) -> Result<u64> {
        let within = LINE_BYTES as u64 + passed % Self::SLOTS * Self::STRIDE as u64;
        blocks::beyond(segment, within, WHAT)
    }

    fn value(slot: u64) -> Result<Ptr<T>> {
        blocks::beyond(slot, Self::VALUE_AT as u64, WHAT).map(Ptr::at)
    }
}

/// The mark of the slot of element `passed`: never zero, and no other element's.
fn mark(passed: u64) -> u64 {
    passed.wrapping_add(1).max(1)
}

#[cold]
fn damage(error: crate::Error) -> crate::Error {
    or_corrupt(error, WHAT)
}

/// The elements of a [`HeapQueue`] in order; made by [`HeapQueue::iter`]. After an error it ends.
#[derive(Debug)]
pub struct QueueIter<'t, 's, T: Plain> {
    tx: &'t Transaction<'s>,
    queue: HeapQueue<T>,
    segment: u64,
    passed: u64,
    /// More elements than these are in no heap.
    left: u64,
}

impl<'t, T: Plain> QueueIter<'t, '_, T> {
    fn step(&mut self) -> Result<Option<&'t T>> {
        let Some(found) = HeapQueue::<T>::find(self.tx, self.segment, self.passed)? else {
            return Ok(None);
        };
        self.left = self.left.checked_sub(1).ok_or_else(|| corrupt(WHAT))?;
        (self.segment, self.passed) = (found.segment, self.passed.wrapping_add(1));
        self.tx.get(found.value).map(Some).map_err(damage)
    }
}

impl<'t, T: Plain> Iterator for QueueIter<'t, '_, T> {
    type Item = Result<&'t T>;

    fn next(&mut self) -> Option<Result<&'t T>> {
        if self.queue.is_null() {
            return None;
        }
        let step = self.step();
        if step.is_err() {
            self.queue = HeapQueue::null();
        }
        step.transpose()
    }
}
