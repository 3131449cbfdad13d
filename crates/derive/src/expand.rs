//! What `#[plain]` turns a struct into. Token streams in, token streams out, so that the rules can
//! be tested without a compiler.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, Ident, LitInt, LitStr, Member, Path,
    Result, parse_quote,
};

/// The struct `item` with representation and derives, followed by its implementation of `Plain`.
///
/// # Errors
/// The first rule that the arguments or the item break, at the tokens that break it.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let plurix = library_path(arguments)?;
    let mut input: DeriveInput = syn::parse2(item)?;
    let fields = heap_fields(&input)?;
    let representation = Representation::of(&input.attrs)?;

    let repr = (representation == Representation::Unstated).then(|| quote!(#[repr(C)]));
    let missing = missing_traits(&input.attrs, &plurix)?;
    let implementation = implementation(&input, fields, &plurix);
    let size_check = size_check(&input, fields, representation);
    // A helper attribute must follow every derive that knows it, the struct's own included.
    let zerocopy = quote!(#plurix::zerocopy).to_string();
    input
        .attrs
        .push(parse_quote!(#[zerocopy(crate = #zerocopy)]));
    Ok(quote! {
        #repr
        #[derive(#(#missing),*)]
        #input
        #implementation
        #size_check
    })
}

/// The path under which the expansion finds the library: `::plurix`, or what `crate = "…"` says.
fn library_path(arguments: TokenStream) -> Result<Path> {
    let mut library: Path = parse_quote!(::plurix);
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("crate") {
            return Err(
                meta.error("unknown argument; `plain` takes only `crate = \"path::to::plurix\"`")
            );
        }
        let value: LitStr = meta.value()?.parse()?;
        library = value.parse_with(Path::parse_mod_style)?;
        Ok(())
    });
    parser.parse2(arguments)?;

    // Zerocopy takes a path as absolute unless it starts with one of these words; both expansions
    // must mean the same.
    let first = &library.segments[0].ident;
    if !["crate", "self", "super"].iter().any(|word| first == word) {
        library.leading_colon.get_or_insert_default();
    }
    Ok(library)
}

/// The fields of the struct, after checking that it is of a kind that can live in the heap.
fn heap_fields(input: &DeriveInput) -> Result<&Fields> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "only structs can be `plain`: any bytes must be a valid value, which enums and unions \
             cannot promise; store an integer and convert it",
        ));
    };
    if !input.generics.params.is_empty() {
        return Err(Error::new(
            input.generics.span(),
            "a `plain` struct cannot be generic: its layout must be one and its bytes free of \
             padding and references; write a struct for each type stored",
        ));
    }
    if data.fields.is_empty() {
        return Err(Error::new(
            input.ident.span(),
            "a `plain` struct needs a field: a value without bytes has no place in the heap",
        ));
    }
    for attribute in data.fields.iter().flat_map(|field| &field.attrs) {
        if attribute.path().is_ident("cfg") {
            return Err(Error::new(
                attribute.span(),
                "a field of a `plain` struct cannot be conditional: all programs on one heap must \
                 agree on its layout",
            ));
        }
    }
    Ok(&data.fields)
}

/// What the struct's own `#[repr]` attributes say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Representation {
    Unstated,
    C,
    Transparent,
}

impl Representation {
    fn of(attributes: &[Attribute]) -> Result<Self> {
        let mut stated = Self::Unstated;
        for attribute in named(attributes, "repr") {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("C") {
                    stated = Self::C;
                } else if meta.path.is_ident("transparent") {
                    stated = Self::Transparent;
                } else if meta.path.is_ident("align") {
                    let bytes;
                    syn::parenthesized!(bytes in meta.input);
                    bytes.parse::<LitInt>()?;
                } else {
                    return Err(meta.error(
                        "a `plain` struct is `repr(C)` or `repr(transparent)`, optionally with \
                         `align(N)`",
                    ));
                }
                Ok(())
            })?;
        }
        Ok(stated)
    }
}

/// The traits to derive: all that are needed and that the struct does not derive itself.
fn missing_traits(attributes: &[Attribute], plurix: &Path) -> Result<Vec<Path>> {
    let mut needed: Vec<Path> = vec![
        parse_quote!(::core::clone::Clone),
        parse_quote!(::core::marker::Copy),
        parse_quote!(#plurix::zerocopy::FromBytes),
        parse_quote!(#plurix::zerocopy::IntoBytes),
        parse_quote!(#plurix::zerocopy::Immutable),
        parse_quote!(#plurix::zerocopy::KnownLayout),
    ];
    for attribute in named(attributes, "derive") {
        attribute.parse_nested_meta(|derived| {
            needed.retain(|path| last_name(path) != last_name(&derived.path));
            Ok(())
        })?;
    }
    Ok(needed)
}

fn last_name(path: &Path) -> Option<&Ident> {
    path.segments.last().map(|segment| &segment.ident)
}

fn named<'a>(attributes: &'a [Attribute], name: &str) -> impl Iterator<Item = &'a Attribute> {
    attributes
        .iter()
        .filter(move |attribute| attribute.path().is_ident(name))
}

fn implementation(input: &DeriveInput, fields: &Fields, plurix: &Path) -> TokenStream {
    let name = &input.ident;
    let name_text = name.unraw().to_string();
    let where_clause = &input.generics.where_clause;
    let layouts = fields.members().zip(fields).map(|(member, field)| {
        let text = member_text(&member);
        let ty = &field.ty;
        // Located at the type, so that a type that is not `Plain` is pointed at, but marked as
        // generated, so that lints leave the path alone.
        let span = Span::mixed_site().located_at(ty.span());
        let layout = quote_spanned!(span=> <#ty as #plurix::Plain>::LAYOUT);
        quote!(.field(#text, ::core::mem::offset_of!(Self, #member), #layout))
    });
    quote! {
        #[automatically_derived]
        impl #plurix::Plain for #name #where_clause {
            const LAYOUT: #plurix::Layout = #plurix::Layout::of_struct(
                #name_text,
                ::core::mem::size_of::<Self>(),
                ::core::mem::align_of::<Self>(),
            )
            #(#layouts)*;
        }
    }
}

/// A constant that refuses a struct without bytes or with padding. Zerocopy refuses padding as
/// well; this one says where it is and what to do.
fn size_check(input: &DeriveInput, fields: &Fields, representation: Representation) -> TokenStream {
    let name = &input.ident;
    let where_clause = &input.generics.where_clause;
    // A transparent struct has the layout of its one field with bytes; the place of the others is
    // the compiler's choice.
    let padding =
        (representation != Representation::Transparent).then(|| padding_assertions(name, fields));
    // The local trait gives field types that say `Self` their meaning without adding a name to the
    // struct; unlike `Plain`, it can be evaluated when the derives above have failed.
    quote! {
        const _: () = {
            trait __PlainChecked {
                const CHECKED: ();
            }
            impl __PlainChecked for #name #where_clause {
                const CHECKED: () = {
                    ::core::assert!(
                        ::core::mem::size_of::<Self>() > 0,
                        "a `plain` struct needs a field with bytes",
                    );
                    #padding
                };
            }
            <#name as __PlainChecked>::CHECKED
        };
    }
}

/// Assertions that each field begins where the one before ends, and the struct ends with the last.
fn padding_assertions(name: &Ident, fields: &Fields) -> TokenStream {
    let mut assertions = TokenStream::new();
    let mut end = quote!(0);
    for (member, field) in fields.members().zip(fields) {
        let message = format!(
            "`{}` has padding before field `{}`: add a field that fills it, or order the fields \
             by falling alignment",
            name.unraw(),
            member_text(&member)
        );
        let start = quote!(::core::mem::offset_of!(Self, #member));
        assertions.extend(quote_spanned! {field_span(field)=>
            ::core::assert!(#start == #end, #message);
        });
        let ty = &field.ty;
        end = quote!(#start + ::core::mem::size_of::<#ty>());
    }
    let message = format!(
        "`{}` has padding at its end: add a field that fills it",
        name.unraw()
    );
    assertions.extend(quote_spanned! {name.span()=>
        ::core::assert!(::core::mem::size_of::<Self>() == #end, #message);
    });
    assertions
}

fn field_span(field: &Field) -> Span {
    field
        .ident
        .as_ref()
        .map_or_else(|| field.ty.span(), |name| name.span())
}

/// The field's name without `r#`, or its index.
fn member_text(member: &Member) -> String {
    match member {
        Member::Named(name) => name.unraw().to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expands(arguments: &str, item: &str) -> bool {
        expand(arguments.parse().unwrap(), item.parse().unwrap()).is_ok()
    }

    #[test]
    fn only_structs_of_one_layout_are_accepted() {
        for (accepted, item) in [
            (true, "struct A { a: u32 }"),
            (true, "pub struct A(u32, pub u32);"),
            (true, "#[repr(C)] struct A { a: u32 }"),
            (true, "#[repr(C, align(64))] struct A { a: [u8; 64] }"),
            (
                true,
                "#[repr(align(64))] #[repr(C)] struct A { a: [u8; 64] }",
            ),
            (true, "#[repr(transparent)] struct A(u32);"),
            (false, "#[repr(packed)] struct A { a: u32 }"),
            (false, "#[repr(C, packed(2))] struct A { a: u32 }"),
            (false, "#[repr(Rust)] struct A { a: u32 }"),
            (false, "#[repr(u8)] enum A { B }"),
            (false, "union A { a: u32, b: f32 }"),
            (false, "struct A;"),
            (false, "struct A {}"),
            (false, "struct A();"),
            (false, "struct A<T> { a: T }"),
            (false, "struct A<'a> { a: &'a u32 }"),
            (false, "struct A<const N: usize> { a: [u8; N] }"),
            (false, "struct A { #[cfg(unix)] a: u32 }"),
            (false, "fn a() {}"),
        ] {
            assert_eq!(expands("", item), accepted, "{item}");
        }
    }

    #[test]
    fn the_only_argument_is_the_path_of_the_library() {
        for (accepted, arguments) in [
            (true, ""),
            (true, "crate = \"crate\""),
            (true, "crate = \"::some::path\","),
            (false, "crate"),
            (false, "crate = 1"),
            (false, "crate = \"\""),
            (false, "crate = \"a b\""),
            (false, "packed"),
        ] {
            assert_eq!(
                expands(arguments, "struct A(u32);"),
                accepted,
                "{arguments}"
            );
        }
    }

    #[test]
    fn a_path_is_absolute_unless_it_begins_at_the_crate_or_module() {
        for (argument, absolute) in [
            ("\"crate\"", false),
            ("\"self::a\"", false),
            ("\"super::a\"", false),
            ("\"a::b\"", true),
            ("\"::a\"", true),
        ] {
            let path = library_path(format!("crate = {argument}").parse().unwrap()).unwrap();
            assert_eq!(path.leading_colon.is_some(), absolute, "{argument}");
        }
    }

    #[test]
    fn traits_that_the_struct_derives_itself_are_left_out() {
        for (item, missing) in [
            ("struct A(u32);", 6),
            ("#[derive(Debug)] struct A(u32);", 6),
            ("#[derive(Clone)] struct A(u32);", 5),
            ("#[derive(Copy, Clone)] struct A(u32);", 4),
            (
                "#[derive(::core::clone::Clone)] #[derive(zerocopy::FromBytes,)] struct A(u32);",
                4,
            ),
        ] {
            let input: DeriveInput = syn::parse_str(item).unwrap();
            let found = missing_traits(&input.attrs, &parse_quote!(::plurix)).unwrap();
            assert_eq!(found.len(), missing, "{item}");
        }
    }
}
