//! Differences of weak pages: what the parser accepts keeps to the rules, and means the same when it is
//! built anew.

use bytes::Bytes;
use plurix_wire::diff::{Diffs, DiffsBuilder};
use plurix_wire::{LINE_BYTES, PAGE_BYTES, PageNumber};

pub(crate) fn check(bytes: &[u8]) {
    let Ok(diffs) = Diffs::parse(Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let mut builder = DiffsBuilder::new();
    let (mut newest, mut joined) = (None, Vec::new());
    for page in diffs.pages() {
        assert!(
            newest.is_none_or(|newest| newest < page.page()),
            "pages ascend"
        );
        newest = Some(page.page());
        joined.extend_from_slice(page.encoded());
        let (mut lines, mut changed) = (0, 0);
        let (mut zeros, mut ones) = ([0; PAGE_BYTES], [0xff; PAGE_BYTES]);
        page.apply(&mut zeros);
        page.apply(&mut ones);
        for line in page.line_diffs() {
            assert_ne!(line.changed, 0, "a line has changed");
            lines |= 1 << line.line;
            changed += line.changed.count_ones() as usize;
            builder.push_line(page.page(), line.line, line.changed, line.bytes);
            for at in 0..LINE_BYTES {
                let (offset, is_changed) = (line.line * LINE_BYTES + at, line.changed >> at & 1);
                let expected = if is_changed == 1 {
                    [line.bytes[at]; 2]
                } else {
                    [0, 0xff]
                };
                assert_eq!([zeros[offset], ones[offset]], expected);
            }
        }
        assert_eq!((page.lines().0, page.changed_bytes()), (lines, changed));
    }
    assert_eq!(joined, bytes, "the pages are all of the bytes");
    assert_eq!(diffs.is_empty(), newest.is_none());
    assert_eq!(builder.finish(), diffs);
    if let Some(shorter) = bytes.len().checked_sub(1) {
        let torn = Diffs::parse(Bytes::copy_from_slice(&bytes[..shorter]));
        assert!(torn.is_err(), "the last byte belongs to a line");
    }
}

/// Differences in several pages.
pub(crate) fn sample() -> Diffs {
    let mut builder = DiffsBuilder::new();
    builder.push_line(PageNumber(3), 0, 1, &[7; LINE_BYTES]);
    builder.push_line(PageNumber(3), 63, u64::MAX, &[8; LINE_BYTES]);
    builder.push_line(PageNumber(5), 9, 0x5555_5555_5555_5555, &[9; LINE_BYTES]);
    builder.finish()
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("sample", sample().as_bytes().to_vec()),
        ("empty", Vec::new()),
    ]
}
