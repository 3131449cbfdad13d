//! The attribute macro [`macro@plain`], which makes a struct fit for the heap; it is a crate of its
//! own because the compiler wants procedural macros apart. Programs use it as `plurix::plain`.

mod expand;

use proc_macro::TokenStream;

/// Makes a struct fit for the heap: any bytes are a value of it, its bytes hold no padding, and its
/// layout has a fingerprint, by which a rebuilt program learns that it would misread old data.
///
/// ```ignore (the example needs the plurix crate, which depends on this one)
/// #[plurix::plain]
/// struct Node {
///     key: u64,
///     next: Ptr<Node>,
/// }
/// ```
///
/// The struct gets `#[repr(C)]` (unless it says `C` or `transparent` itself; `align(N)` may stand
/// beside), `Clone`, `Copy`, zerocopy's `FromBytes`, `IntoBytes`, `Immutable` and `KnownLayout`, and
/// an implementation of `plurix::Plain`. A trait that the struct derives in an attribute *below*
/// this one is not derived twice; a `#[derive]` above it is invisible to it, so write
/// `#[plurix::plain]` first.
///
/// The fingerprint covers the struct's name, size and alignment, and the name, offset and layout of
/// each field. Renaming a field therefore counts as a change of layout.
///
/// `#[plain(crate = "path::to::plurix")]` names the library where it is not `::plurix`, as in a
/// crate that has it under another name.
///
/// # Errors
/// Does not compile, and says why, on enums and unions, on generic parameters and lifetimes, on a
/// struct without bytes, on other representations than the above, on padding, on fields under
/// `#[cfg]`, and on fields whose type is not `Plain`.
#[proc_macro_attribute]
pub fn plain(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match expand::expand(arguments.into(), item.clone().into()) {
        Ok(expansion) => expansion.into(),
        Err(error) => {
            // The item stays, lest each of its uses adds an error about an unknown type.
            let mut output = TokenStream::from(error.into_compile_error());
            output.extend(item);
            output
        }
    }
}
