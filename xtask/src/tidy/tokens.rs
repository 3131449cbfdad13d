//! Reading Rust as tokens: enough to see what code names, blind to comments and strings, and
//! indifferent to whether macros expand or the file compiles.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Calls `visit` for each token, with the tokens from it to the end of its group.
pub(super) fn walk(tokens: TokenStream, visit: &mut impl FnMut(&[TokenTree])) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        visit(&tokens[index..]);
        if let TokenTree::Group(group) = token {
            walk(group.stream(), visit);
        }
    }
}

/// What follows `::` at the start of `tokens`: the next segment of the path, or the first segment
/// of each path in a `use` group; nothing if no path goes on there.
pub(super) fn next_segments(tokens: &[TokenTree]) -> Vec<String> {
    if !starts_with(tokens, "::") {
        return Vec::new();
    }
    match tokens.get(2) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let inner: Vec<_> = group.stream().into_iter().collect();
            inner
                .split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ','))
                .filter_map(|path| path.first())
                .map(ToString::to_string)
                .collect()
        }
        next => next.map(ToString::to_string).into_iter().collect(),
    }
}

/// Whether `tokens` begin with these punctuation characters.
pub(super) fn starts_with(tokens: &[TokenTree], punctuation: &str) -> bool {
    let mut tokens = tokens.iter();
    punctuation.chars().all(
        |expected| matches!(tokens.next(), Some(TokenTree::Punct(p)) if p.as_char() == expected),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_segments_of_a_path_are_found() {
        for (source, expected) in [
            ("::a::b", &["a"][..]),
            ("::{a::b, c as d, e::{f, g},}", &["a", "c", "e"]),
            ("::*", &["*"]),
            ("as a", &[]),
            ("", &[]),
        ] {
            let tokens: Vec<_> = source.parse::<TokenStream>().unwrap().into_iter().collect();
            assert_eq!(next_segments(&tokens), expected, "{source}");
        }
    }
}
