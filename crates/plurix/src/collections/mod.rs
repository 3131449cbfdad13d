//! Collections in the heap: what programs keep their data in, rather than in blocks and pointers of
//! their own.
//!
//! ```text
//!  handle (8 bytes, Copy, Plain)          in the heap
//!   HeapMap<K, V> ──► header: fingerprint of K and V, where the rest is ──► nodes, leaves, …
//! ```
//!
//! A handle is a checked offset, like a [`Ptr`]: it can be stored in any other structure, nested in
//! another collection, or be a root (see [`Transaction::named`]). Every operation takes the
//! transaction and is part of it: any number of them, on any collections, happen as a whole or not at
//! all. All are built on [`Transaction::get`], [`get_mut`](Transaction::get_mut),
//! [`set`](Transaction::set), [`alloc`](Transaction::alloc) and [`free`](Transaction::free) alone.
//!
//! A collection is not freed with its last handle: [`destroy`](HeapCell::destroy) it. Values that are
//! handles or pointers themselves are the program's to free.
//!
//! Anybody can write anything anywhere, so nothing read here is trusted: links, lengths and
//! fingerprints are checked, and a contradiction is [`ErrorKind::Corrupt`].

mod blocks;
mod btree;
mod buffer;
mod bytes;
mod cell;
mod counter;
mod hash;
mod inline_string;
mod key;
mod map;
mod str;
mod string;
mod stripes;

pub use bytes::{BytesHeader, HeapBytes};
mod queue;
mod vec;

pub use btree::{BTreeHeader, BTreeRange, HeapBTreeMap};
pub use cell::HeapCell;
pub use counter::{Counter, CounterHeader};
pub use inline_string::InlineString;
pub use key::{Key, OrderedKey, PlainKey};
pub use map::{HeapMap, Iter, Keys, MapHeader, Values};
pub use queue::{HeapQueue, QueueHeader, QueueIter};
pub use str::HeapStr;
pub use string::{HeapString, StringHeader};
pub use vec::{HeapVec, Iter as VecIter, VecHeader};

use crate::error::{Error, ErrorKind, Result};
use crate::plain::Plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// A handle of a collection, and the block in the heap by which it is known.
pub trait Collection: Plain {
    /// What the handle leads to.
    type Header: Plain;

    /// Makes an empty one.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`], and as [`Transaction::get`].
    fn create(tx: &mut Transaction<'_>) -> Result<Self>;

    /// The handle of the collection whose header is at `ptr`.
    fn from_ptr(ptr: Ptr<Self::Header>) -> Self;

    /// Where its header is; what a [root](Transaction::set_root) can stand for.
    fn as_ptr(self) -> Ptr<Self::Header>;
}

impl Transaction<'_> {
    /// The collection that `name` stands for; an empty one is made if there is none.
    ///
    /// ```
    /// # use plurix::collections::HeapCell;
    /// # use plurix::{Cluster, Result};
    /// # fn main() -> Result<()> {
    /// # let mut cluster = Cluster::local(1)?;
    /// # let station = &mut cluster.stations()[0];
    /// station.transaction(|tx| tx.named::<HeapCell<u64>>("answer")?.set(tx, 42))?;
    /// let answer = station.transaction(|tx| tx.named::<HeapCell<u64>>("answer")?.get(tx))?;
    /// assert_eq!(answer, 42);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::LayoutDiffers`] if the name stands for something else;
    /// [`ErrorKind::BadName`], [`ErrorKind::OutOfMemory`].
    pub fn named<C: Collection>(&mut self, name: &str) -> Result<C> {
        if let Some(found) = self.find_root(name)? {
            return Ok(C::from_ptr(found));
        }
        let made = C::create(self)?;
        self.set_root(name, made.as_ptr())?;
        Ok(made)
    }
}

/// Defines a handle and its header: a plain struct `$inner` behind a type that carries the
/// fingerprints of the parameters. The layout of the handle itself does not depend on them, as that
/// of a pointer does not, so that a value can hold a collection of its own kind.
macro_rules! handle {
    (
        $(#[$attribute:meta])*
        $name:ident [$($parameter:ident: $bound:path),*],
        $(#[$header_attribute:meta])*
        $header:ident holds $inner:ty
    ) => {
        $(#[$attribute])*
        #[derive(
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name<$($parameter: $bound),*>(
            u64,
            std::marker::PhantomData<fn() -> ($($parameter,)*)>,
        );

        $(#[$header_attribute])*
        #[derive(
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $header<$($parameter: $bound),*>(
            $inner,
            std::marker::PhantomData<fn() -> ($($parameter,)*)>,
        );

        impl<$($parameter: $bound),*> $name<$($parameter),*> {
            /// The handle that leads nowhere; the same as `default`.
            #[must_use]
            pub const fn null() -> Self {
                Self(0, std::marker::PhantomData)
            }

            /// Whether it leads nowhere.
            #[must_use]
            pub const fn is_null(self) -> bool {
                self.0 == 0
            }

            /// The handle of the collection whose header is at `ptr`.
            #[must_use]
            pub fn from_ptr(ptr: $crate::Ptr<$header<$($parameter),*>>) -> Self {
                Self(ptr.offset(), std::marker::PhantomData)
            }

            /// Where its header is; what a root can stand for.
            #[must_use]
            pub fn as_ptr(self) -> $crate::Ptr<$header<$($parameter),*>> {
                $crate::Ptr::at(self.0)
            }

            /// The handle of the header at `ptr`.
            #[allow(dead_code, reason = "not every collection asks")]
            fn from_inner(ptr: $crate::Ptr<$inner>) -> Self {
                Self(ptr.offset(), std::marker::PhantomData)
            }

            /// The header, without the types.
            #[allow(dead_code, reason = "not every collection asks")]
            fn inner(self) -> $crate::Ptr<$inner> {
                $crate::Ptr::at(self.0)
            }

            /// What the header begins with, to tell collections of other types.
            #[allow(dead_code, reason = "not every collection asks")]
            const FINGERPRINT: u64 =
                <$header<$($parameter),*> as $crate::Plain>::LAYOUT.0;
        }

        impl<$($parameter: $bound),*> Clone for $name<$($parameter),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($parameter: $bound),*> Copy for $name<$($parameter),*> {}

        impl<$($parameter: $bound),*> Clone for $header<$($parameter),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($parameter: $bound),*> Copy for $header<$($parameter),*> {}

        impl<$($parameter: $bound),*> std::fmt::Debug for $header<$($parameter),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($header))
            }
        }

        impl<$($parameter: $bound),*> Default for $name<$($parameter),*> {
            fn default() -> Self {
                Self::null()
            }
        }

        impl<$($parameter: $bound),*> PartialEq for $name<$($parameter),*> {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl<$($parameter: $bound),*> Eq for $name<$($parameter),*> {}

        impl<$($parameter: $bound),*> std::fmt::Debug for $name<$($parameter),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:#x})", stringify!($name), self.0)
            }
        }

        impl<$($parameter: $bound),*> $crate::Plain for $name<$($parameter),*> {
            const LAYOUT: $crate::Layout = $crate::Layout::of_primitive(stringify!($name), 8);
        }

        impl<$($parameter: $bound),*> $crate::Plain for $header<$($parameter),*> {
            const LAYOUT: $crate::Layout = $crate::Layout::of_struct(
                stringify!($name),
                size_of::<Self>(),
                align_of::<Self>(),
            )
            $(.field(stringify!($parameter), 0, <$parameter as $crate::Plain>::LAYOUT))*;
        }

        impl<$($parameter: $bound),*> $crate::collections::Collection
            for $name<$($parameter),*>
        {
            type Header = $header<$($parameter),*>;

            fn create(tx: &mut $crate::Transaction<'_>) -> $crate::Result<Self> {
                Self::create(tx)
            }

            fn from_ptr(ptr: $crate::Ptr<Self::Header>) -> Self {
                Self::from_ptr(ptr)
            }

            fn as_ptr(self) -> $crate::Ptr<Self::Header> {
                Self::as_ptr(self)
            }
        }
    };
}
pub(crate) use handle;

/// Refuses a header that does not begin with the fingerprint of `what` as this program knows it: it
/// was destroyed, is no header, or was made by a program with other types.
#[inline]
fn check_fingerprint(found: u64, expected: u64, what: &'static str) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(other_layout(what))
    }
}

#[cold]
#[inline(never)]
fn other_layout(what: &'static str) -> Error {
    let name = what.to_owned();
    ErrorKind::LayoutDiffers { name }.into()
}

/// What is in `what` contradicts itself.
#[cold]
#[inline(never)]
fn corrupt(what: &'static str) -> Error {
    ErrorKind::Corrupt { what }.into()
}

/// The error of following a link inside `what`: one that leads nowhere is damage, not a program's
/// mistake.
#[cold]
#[inline(never)]
fn or_corrupt(error: Error, what: &'static str) -> Error {
    match error.kind() {
        ErrorKind::Null
        | ErrorKind::OutOfBounds { .. }
        | ErrorKind::Misaligned { .. }
        | ErrorKind::InvalidFree { .. } => corrupt(what),
        _ => error,
    }
}

#[cfg(test)]
mod tests;
