//! Write sets: the rules are checked once more, written independently of the parser, and what the
//! parser accepts must mean the same in every form in which the protocol uses it.

use std::collections::BTreeMap;

use bytes::Bytes;
use plurix_wire::{
    LINE_BYTES, LineMask, PAGE_BYTES, PageNumber, Sections, WriteSet, WriteSetBuilder,
};

/// Pages and, of each, offset and value of every byte changed.
type Changes = BTreeMap<PageNumber, BTreeMap<usize, u8>>;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(set) = WriteSet::parse(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let changes = changes(&set);
    let joined: Vec<u8> = set
        .sections()
        .flat_map(|section| section.encoded().to_vec())
        .collect();
    assert_eq!(joined, bytes, "the sections are all of the bytes");
    assert_eq!(Sections::of(bytes).count(), changes.len());
    assert_eq!(set.is_empty(), changes.is_empty());

    let mut builder = WriteSetBuilder::new();
    for section in set.sections() {
        for run in section.runs() {
            builder.push(section.page(), usize::from(run.offset), run.bytes);
        }
    }
    let built = builder.finish();
    assert!(built.as_bytes().len() <= bytes.len());
    let parsed = WriteSet::parse(built.as_bytes().clone());
    assert_eq!(parsed, Ok(built.clone()), "what is built can be parsed");
    assert_eq!(self::changes(&built), changes);

    for odd in [0, 1] {
        let part = set.restrict(|page| page.0 % 2 == odd);
        assert_eq!(WriteSet::parse(part.as_bytes().clone()), Ok(part.clone()));
        let mut expected = changes.clone();
        expected.retain(|page, _| page.0 % 2 == odd);
        assert_eq!(self::changes(&part), expected);
    }
    if let Some(shorter) = bytes.len().checked_sub(1) {
        let torn = WriteSet::parse(Bytes::copy_from_slice(&bytes[..shorter]));
        assert!(torn.is_err(), "the last byte belongs to a section");
    }
}

/// What `set` changes, by the rules that the format states.
fn changes(set: &WriteSet) -> Changes {
    let mut changes = Changes::new();
    for section in set.sections() {
        let newest = changes.last_key_value().map(|(page, _)| *page);
        assert!(
            newest.is_none_or(|newest| newest < section.page()),
            "pages ascend"
        );
        let page = changes.entry(section.page()).or_default();
        let (mut end, mut lines, mut payload) = (0, 0, Vec::new());
        for run in section.runs() {
            let at = usize::from(run.offset);
            assert!(at >= end && !run.bytes.is_empty(), "runs ascend");
            end = at + run.bytes.len();
            assert!(end <= PAGE_BYTES, "a run stays in its page");
            for (offset, byte) in (at..).zip(run.bytes) {
                page.insert(offset, *byte);
                lines |= 1 << (offset / LINE_BYTES);
            }
            payload.extend_from_slice(run.bytes);
        }
        assert!(!page.is_empty(), "a section changes something");
        assert_eq!(section.lines(), LineMask(lines));
        assert_eq!(section.payload(), payload);
    }
    changes
}

/// A write set with neighbouring and distant runs in several pages.
pub(crate) fn sample() -> WriteSet {
    let mut builder = WriteSetBuilder::new();
    builder.push(PageNumber(3), 0, b"abcd");
    builder.push(PageNumber(3), 100, b"x");
    builder.push(PageNumber(4), 64, &[7; 200]);
    builder.push(PageNumber(9), PAGE_BYTES - 1, b"z");
    builder.finish()
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut builder = WriteSetBuilder::new();
    (0..PAGE_BYTES)
        .step_by(128)
        .for_each(|at| builder.push(PageNumber(1), at, &[1]));
    let many = builder.finish();
    vec![
        ("sample", sample().as_bytes().to_vec()),
        ("many-runs", many.as_bytes().to_vec()),
        ("empty", Vec::new()),
    ]
}
