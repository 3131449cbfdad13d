//! Plain old data: types whose every bit pattern is a value, so that heap bytes can be lent as
//! references, whatever any station wrote there.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A type that may live in the heap. Use [`plurix::plain`](macro@crate::plain) on a struct; the
/// integers, floats, arrays and [`Ptr`](crate::Ptr) have it already.
pub trait Plain:
    FromBytes + IntoBytes + Immutable + KnownLayout + Copy + Send + Sync + 'static
{
    /// Tells this type's layout from others.
    const LAYOUT: Layout;
}

/// A fingerprint of a type's layout: names, offsets and layouts of its fields. Roots and activities
/// carry it, so that a program rebuilt with other types is told so and never misreads the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout(pub u64);

impl Layout {
    /// The layout of a type without fields.
    #[must_use]
    pub const fn of_primitive(name: &str, size: usize) -> Self {
        Self(FNV_OFFSET).text(name).number(size as u64)
    }

    /// The layout of a struct; add its fields with [`field`](Self::field).
    #[must_use]
    pub const fn of_struct(name: &str, size: usize, align: usize) -> Self {
        Self::of_primitive(name, size).number(align as u64)
    }

    /// The layout with one more field.
    #[must_use]
    pub const fn field(self, name: &str, offset: usize, layout: Self) -> Self {
        self.text(name).number(offset as u64).number(layout.0)
    }

    pub(crate) const fn of_array(element: Self, count: usize) -> Self {
        element.text("array").number(count as u64)
    }

    pub(crate) const fn text(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            self = self.byte(bytes[at]);
            at += 1;
        }
        self.number(bytes.len() as u64)
    }

    const fn number(mut self, number: u64) -> Self {
        let bytes = number.to_le_bytes();
        let mut at = 0;
        while at < bytes.len() {
            self = self.byte(bytes[at]);
            at += 1;
        }
        self
    }

    /// One step of FNV-1a (Fowler, Noll, Vo).
    const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(FNV_PRIME))
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

macro_rules! primitive {
    ($($type:ty),*) => {
        $(impl Plain for $type {
            const LAYOUT: Layout = Layout::of_primitive(stringify!($type), size_of::<$type>());
        })*
    };
}

primitive!(
    u8,
    i8,
    u16,
    i16,
    u32,
    i32,
    u64,
    i64,
    u128,
    i128,
    usize,
    isize,
    f32,
    f64,
    ()
);

impl<T: Plain, const N: usize> Plain for [T; N] {
    const LAYOUT: Layout = Layout::of_array(<T as Plain>::LAYOUT, N);
}
