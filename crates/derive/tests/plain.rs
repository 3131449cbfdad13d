//! Structs under `#[plain]`, against a stand-in for the library: this test crate calls itself
//! `plurix`, so the paths of the expansion lead here.

extern crate self as plurix;

use std::marker::PhantomData;

pub use zerocopy;

use plurix_derive::plain;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The library's trait, in short.
pub trait Plain:
    FromBytes + IntoBytes + Immutable + KnownLayout + Copy + Send + Sync + 'static
{
    /// The fingerprint.
    const LAYOUT: Layout;
}

/// Holds what the expansion said, where the library keeps a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    name: &'static str,
    size: usize,
    align: usize,
    fields: [(&'static str, usize, usize); 4],
    count: usize,
}

impl Layout {
    const fn of_struct(name: &'static str, size: usize, align: usize) -> Self {
        Self {
            name,
            size,
            align,
            fields: [("", 0, 0); 4],
            count: 0,
        }
    }

    const fn field(mut self, name: &'static str, offset: usize, layout: Self) -> Self {
        self.fields[self.count] = (name, offset, layout.size);
        self.count += 1;
        self
    }

    fn fields(&self) -> &[(&'static str, usize, usize)] {
        &self.fields[..self.count]
    }
}

macro_rules! plain_numbers {
    ($($number:ident)*) => {$(
        impl Plain for $number {
            const LAYOUT: Layout =
                Layout::of_struct(stringify!($number), size_of::<Self>(), align_of::<Self>());
        }
    )*};
}

plain_numbers!(u8 u16 u32 u64 f64);

impl<T: Plain, const N: usize> Plain for [T; N] {
    const LAYOUT: Layout = Layout::of_struct("array", size_of::<Self>(), align_of::<Self>());
}

/// An offset whose layout does not depend on what it points to.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
struct Ptr<T>(u64, PhantomData<fn() -> T>);

impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ptr<T> {}

impl<T: 'static> Plain for Ptr<T> {
    const LAYOUT: Layout = Layout::of_struct("Ptr", 8, 8);
}

#[plain]
struct Node {
    key: u32,
    r#type: u16,
    flags: [u8; 2],
    next: Ptr<Self>,
}

#[plain]
#[derive(Debug, Clone, PartialEq, Default)]
struct Pair(u64, f64);

/// A struct that holds another.
#[plain]
#[derive(Copy, Clone)]
struct Outer {
    pair: Pair,
    next: Ptr<Node>,
}

#[plain]
#[repr(transparent)]
struct Wrapper(u32);

#[plain]
#[repr(align(64))]
struct Line([u8; 64]);

#[plain]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
struct DerivedByHand {
    a: u32,
}

mod elsewhere {
    //! The library under another path.
    pub(crate) use crate::{Layout, Plain, zerocopy};
}

#[plain(crate = "crate::elsewhere")]
struct Relocated {
    a: u64,
}

/// [`KnownLayout`] has a hidden constant of the same name, so the trait must be named.
fn layout<T: Plain>() -> Layout {
    <T as Plain>::LAYOUT
}

#[test]
fn the_layout_names_each_field_with_its_offset_and_layout() {
    let node = layout::<Node>();
    assert_eq!((node.name, node.size, node.align), ("Node", 16, 8));
    assert_eq!(
        node.fields(),
        [
            ("key", 0, 4),
            ("type", 4, 2),
            ("flags", 6, 2),
            ("next", 8, 8)
        ]
    );
    assert_eq!(layout::<Pair>().fields(), [("0", 0, 8), ("1", 8, 8)]);
    assert_eq!(
        layout::<Outer>().fields(),
        [("pair", 0, 16), ("next", 16, 8)]
    );
    assert_eq!(layout::<Relocated>().fields(), [("a", 0, 8)]);
}

#[test]
fn a_stated_representation_is_kept() {
    assert_eq!(
        (layout::<Wrapper>().size, layout::<Wrapper>().align),
        (4, 4)
    );
    assert_eq!((layout::<Line>().size, layout::<Line>().align), (64, 64));
    assert_eq!(layout::<DerivedByHand>().size, 4);
}

#[test]
fn any_bytes_are_a_value_and_a_value_is_its_bytes() {
    let bytes: Vec<u8> = (0..16).collect();
    let node = Node::read_from_bytes(&bytes).unwrap();
    let copy = node;
    assert_eq!(copy.as_bytes(), bytes);
    assert_eq!(node.key, u32::from_ne_bytes([0, 1, 2, 3]));
    assert_eq!(node.r#type, u16::from_ne_bytes([4, 5]));
    assert_eq!((node.flags, copy.next.0), ([6, 7], node.next.0));
}

#[test]
fn other_derives_stay() {
    assert_eq!(Pair::default(), Pair(0, 0.0));
}
