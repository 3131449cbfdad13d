//! Counts the words of a text, so that large texts can be counted in chunks by many stations and
//! the result still be compared, byte for byte, with what a shell says:
//!
//! ```sh
//! LC_ALL=C; tr -s '[:space:]' '\n' < FILE | sed '/^$/d' | sort | uniq -c
//! ```
//!
//! A word is a maximal run of bytes that are not white space of the C locale (space, tab, line
//! feed, vertical tab, form feed, carriage return). Nothing else is assumed about the text: it may
//! hold invalid UTF-8 and NUL bytes, and case is kept.
//!
//! The counting is here; [`Wordcount`] does it on the shared heap, where a hash table holds the
//! counts.

mod app;
mod reader;
mod table;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

use rustc_hash::FxHashMap;

pub use app::{Options, Wordcount, register};

/// How often each word occurs, in the order of `sort` in the C locale.
pub type Counts<'a> = BTreeMap<&'a [u8], u64>;

/// Counts the words of `text`.
#[must_use]
pub fn count(text: &[u8]) -> Counts<'_> {
    // Words repeat a lot, so hashing each occurrence and ordering each distinct word once beats an
    // ordered map throughout.
    tally(text).into_iter().collect()
}

/// Counts the words of `text`, in no order.
fn tally(text: &[u8]) -> FxHashMap<&[u8], u64> {
    let mut counts = FxHashMap::default();
    for word in words(text) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

/// The words of `text`, in the order in which they stand there.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| is_space(byte))
        .filter(|word| !word.is_empty())
}

/// Adds the counts of one chunk to those of others.
pub fn merge<'a>(into: &mut Counts<'a>, chunk: Counts<'a>) {
    for (word, count) in chunk {
        *into.entry(word).or_default() += count;
    }
}

/// Cuts `text` into ranges of at least `target` bytes each (the last may be shorter) that cover it
/// without gap or overlap and never split a word, so that the counts of the chunks add up to the
/// counts of the text. A word longer than `target` makes a longer chunk.
#[must_use]
pub fn chunks(text: &[u8], target: usize) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let earliest = start.saturating_add(target.max(1)).min(text.len());
        let rest = text[earliest..].iter().position(|&byte| is_space(byte));
        let end = rest.map_or(text.len(), |length| earliest + length);
        chunks.push(start..end);
        start = end;
    }
    chunks
}

/// Writes `counts` as `uniq -c` does: one word a line, its count right-aligned to seven columns.
///
/// # Errors
/// What `out` answers.
pub fn write(out: &mut (impl Write + ?Sized), counts: &Counts<'_>) -> io::Result<()> {
    for (word, count) in counts {
        write!(out, "{count:7} ")?;
        out.write_all(word)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Whether `byte` is white space in the C locale. Unlike [`u8::is_ascii_whitespace`], that includes
/// the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    fn output(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, &count(text)).unwrap();
        out
    }

    /// What the pipeline of the module's documentation says, or `None` where a tool is missing.
    fn pipeline(text: &[u8]) -> Option<Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("text");
        std::fs::write(&path, text).unwrap();
        let script = r"set -o pipefail
            tr -s '[:space:]' '\n' | sed '/^$/d' | sort | uniq -c";
        let answer = Command::new("bash")
            .args(["-c", script])
            .env("LC_ALL", "C")
            .stdin(File::open(path).unwrap())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        answer.status.success().then_some(answer.stdout)
    }

    /// Bytes rich in white space and in repeated words, with some of every kind.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => prop::sample::select(b"aAb\xff\x00\xc3".to_vec()),
            3 => prop::sample::select(b" \t\n\x0b\x0c\r".to_vec()),
            1 => any::<u8>(),
        ];
        prop::collection::vec(byte, 0..400)
    }

    #[test]
    fn words_are_what_white_space_separates() {
        for (text, expected) in [
            (&b""[..], ""),
            (b" \n\t", ""),
            (b"b a b", "      1 a\n      2 b\n"),
            (b"\x0bA\x0ca\r", "      1 A\n      1 a\n"),
            (b"don't, don't", "      1 don't\n      1 don't,\n"),
        ] {
            assert_eq!(String::from_utf8_lossy(&output(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn wide_counts_push_the_word_to_the_right() {
        let mut out = Vec::new();
        write(&mut out, &Counts::from([(&b"w"[..], 123_456_789)])).unwrap();
        assert_eq!(out, b"123456789 w\n");
    }

    #[test]
    fn a_chunk_ends_before_white_space() {
        let texts = |text: &'static [u8], target| -> Vec<&[u8]> {
            chunks(text, target)
                .into_iter()
                .map(|range| &text[range])
                .collect()
        };
        assert_eq!(texts(b"ab cd ef", 3), [&b"ab cd"[..], b" ef"]);
        assert_eq!(texts(b"abcdef", 1), [b"abcdef"]);
        assert_eq!(texts(b"a b", 0), [&b"a"[..], b" b"]);
        assert_eq!(texts(b"a b", usize::MAX), [b"a b"]);
        assert!(chunks(b"", 1).is_empty());
    }

    proptest! {
        #[test]
        fn chunks_cover_the_text_and_their_counts_add_up(text in text(), target in 0usize..50) {
            let (mut sum, mut end) = (Counts::new(), 0);
            for chunk in chunks(&text, target) {
                prop_assert_eq!(chunk.start, end);
                prop_assert!(!chunk.is_empty());
                end = chunk.end;
                merge(&mut sum, count(&text[chunk]));
            }
            prop_assert_eq!(end, text.len());
            prop_assert_eq!(sum, count(&text));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_output_is_that_of_the_shell(text in text()) {
            if let Some(expected) = pipeline(&text) {
                prop_assert_eq!(output(&text), expected);
            }
        }
    }
}
