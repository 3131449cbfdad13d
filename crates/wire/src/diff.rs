//! The bytes that one station changed in pages of a weak region, in one flat buffer.
//!
//! A difference is built from a page and its twin, byte by byte, and applied to other copies of the
//! page by stores of exactly the bytes that changed: writers of different bytes merge. Each line
//! that changed travels whole beside the mask of its changed bytes, which is what a masked vector
//! store takes. All integers are little-endian; pages ascend.
//!
//! ```text
//! differences = page*
//!  0        4          12                   12+72·lines
//! +--------+----------+--------------------+
//! | page   | lines    | line × lines       |      bit i of `lines`: line i of the page changed
//! | u32    | u64 mask |                    |      `line` × the bits set, ascending
//! +--------+----------+--------------------+
//!
//! line
//!  0          8                    72
//! +----------+--------------------+
//! | changed  | the line's 64 new  |                bit i of `changed`: byte i of the line changed;
//! | u64 mask | bytes              |                the other bytes are not to be stored
//! +----------+--------------------+
//! ```

use bytes::Bytes;

use crate::Error;
use crate::ids::{LINE_BYTES, LINES_PER_PAGE, LineMask, PAGE_BYTES, PageBytes, PageNumber};

const PAGE_HEADER: usize = 12;
const LINE_HEADER: usize = 8;
const LINE_RECORD: usize = LINE_HEADER + LINE_BYTES;

/// Validated differences of pages. Cloning shares the buffer.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Diffs(Bytes);

impl Diffs {
    /// Checks `bytes` and takes them as differences.
    ///
    /// # Errors
    /// [`Error::Diffs`] naming the first rule broken.
    pub fn parse(bytes: Bytes) -> Result<Self, Error> {
        let mut at = 0;
        let mut previous = None;
        while at < bytes.len() {
            let length =
                check_page(&bytes[at..], previous).map_err(|what| Error::Diffs { at, what })?;
            previous = Some(page_of(&bytes[at..]));
            at += length;
        }
        Ok(Self(bytes))
    }

    /// The encoded form.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether no byte changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pages that changed, ascending.
    pub fn pages(&self) -> PageDiffs<'_> {
        PageDiffs { rest: &self.0 }
    }
}

impl std::fmt::Debug for Diffs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pages()).finish()
    }
}

/// Iterates over the pages of [`Diffs`].
#[derive(Clone)]
pub struct PageDiffs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for PageDiffs<'a> {
    type Item = PageDiff<'a>;

    fn next(&mut self) -> Option<PageDiff<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        // Validated when the differences were made, so every index below is in bounds.
        let (encoded, rest) = self.rest.split_at(page_length(self.rest));
        self.rest = rest;
        Some(PageDiff { encoded })
    }
}

/// The bytes that changed in one page.
#[derive(Clone, Copy)]
pub struct PageDiff<'a> {
    encoded: &'a [u8],
}

impl<'a> PageDiff<'a> {
    /// The page.
    #[must_use]
    pub fn page(&self) -> PageNumber {
        page_of(self.encoded)
    }

    /// Its lines that changed; never empty.
    #[must_use]
    pub fn lines(&self) -> LineMask {
        lines_of(self.encoded)
    }

    /// The page's part as it stands in the buffer.
    #[must_use]
    pub fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// What changed in each of these lines, ascending.
    pub fn line_diffs(&self) -> impl Iterator<Item = LineDiff<'a>> + use<'a> {
        let records = self.encoded[PAGE_HEADER..].as_chunks::<LINE_RECORD>().0;
        self.lines().lines().zip(records).map(|(line, record)| {
            let (_, bytes) = record.split_last_chunk().expect("a record holds a line");
            LineDiff {
                line,
                changed: u64_at(record, 0),
                bytes,
            }
        })
    }

    /// How many bytes changed.
    #[must_use]
    pub fn changed_bytes(&self) -> usize {
        let changed = self.line_diffs().map(|line| line.changed.count_ones());
        changed.sum::<u32>() as usize
    }

    /// Writes the changed bytes into a copy of the page.
    pub fn apply(&self, page: &mut PageBytes) {
        for diff in self.line_diffs() {
            let (line, _) = page[diff.line * LINE_BYTES..]
                .split_first_chunk_mut()
                .expect("a page has 64 lines");
            diff.apply(line);
        }
    }
}

impl std::fmt::Debug for PageDiff<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.page())?;
        let lines = self.line_diffs();
        f.debug_list()
            .entries(lines.map(|diff| (diff.line, diff.changed.count_ones())))
            .finish()
    }
}

/// The bytes that changed in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineDiff<'a> {
    /// Index of the line in its page, 0 to 63.
    pub line: usize,
    /// The bytes that changed, bit `i` for byte `i`; never zero.
    pub changed: u64,
    /// The line as it is now; only the bytes that changed count.
    pub bytes: &'a [u8; LINE_BYTES],
}

impl LineDiff<'_> {
    /// Writes the changed bytes into a copy of the line.
    pub fn apply(&self, line: &mut [u8; LINE_BYTES]) {
        let mut rest = self.changed;
        while rest != 0 {
            let at = rest.trailing_zeros() as usize;
            line[at] = self.bytes[at];
            rest &= rest - 1;
        }
    }
}

/// Builds [`Diffs`] page by page, line by line.
#[derive(Debug, Default)]
pub struct DiffsBuilder {
    encoded: Vec<u8>,
    /// The page being built, where it begins, and its lines so far.
    page: Option<(PageNumber, usize, LineMask)>,
}

impl DiffsBuilder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds line `line` of `page`, of which the bytes in `changed` differ; adds nothing if none do.
    ///
    /// # Panics
    /// If pages or lines do not ascend, or `line` is no line of a page: differences built wrongly
    /// would corrupt every copy of the page.
    pub fn push_line(
        &mut self,
        page: PageNumber,
        line: usize,
        changed: u64,
        bytes: &[u8; LINE_BYTES],
    ) {
        assert!(line < LINES_PER_PAGE, "a page has no line {line}");
        if changed == 0 {
            return;
        }
        if self.page.is_none_or(|(open, ..)| open != page) {
            self.open_page(page);
        }
        let (_, start, lines) = self.page.as_mut().expect("just opened");
        assert!(lines.0 >> line == 0, "lines must ascend");
        lines.0 |= 1 << line;
        self.encoded[*start + 4..*start + PAGE_HEADER].copy_from_slice(&lines.0.to_le_bytes());
        self.encoded.extend_from_slice(&changed.to_le_bytes());
        self.encoded.extend_from_slice(bytes);
    }

    /// Bytes encoded so far, for whoever sends pieces of a bounded size.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        self.encoded.len()
    }

    /// The differences pushed; the builder is empty again.
    pub fn finish(&mut self) -> Diffs {
        self.page = None;
        Diffs(Bytes::from(std::mem::take(&mut self.encoded)))
    }

    fn open_page(&mut self, page: PageNumber) {
        assert!(
            self.page.is_none_or(|(previous, ..)| previous < page),
            "pages must ascend"
        );
        self.page = Some((page, self.encoded.len(), LineMask(0)));
        self.encoded.extend_from_slice(&page.0.to_le_bytes());
        self.encoded.extend_from_slice(&[0; PAGE_HEADER - 4]);
    }
}

/// Checks the page at the start of `bytes`; answers its length.
fn check_page(bytes: &[u8], previous: Option<PageNumber>) -> Result<usize, &'static str> {
    const { assert!(LINES_PER_PAGE == 64 && LINE_BYTES == 64 && PAGE_BYTES == 4096) };
    if bytes.len() < PAGE_HEADER {
        return Err("truncated page header");
    }
    if previous.is_some_and(|previous| previous >= page_of(bytes)) {
        return Err("pages do not ascend");
    }
    if lines_of(bytes).0 == 0 {
        return Err("page without lines");
    }
    let length = page_length(bytes);
    if bytes.len() < length {
        return Err("truncated lines");
    }
    let (records, _) = bytes[PAGE_HEADER..length].as_chunks::<LINE_RECORD>();
    if records.iter().any(|record| u64_at(record, 0) == 0) {
        return Err("line without changed bytes");
    }
    Ok(length)
}

fn page_of(page: &[u8]) -> PageNumber {
    PageNumber(u32::from_le_bytes([page[0], page[1], page[2], page[3]]))
}

fn lines_of(page: &[u8]) -> LineMask {
    LineMask(u64_at(page, 4))
}

fn page_length(page: &[u8]) -> usize {
    PAGE_HEADER + LINE_RECORD * lines_of(page).count()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let (word, _) = bytes[at..].split_first_chunk().expect("checked by parse");
    u64::from_le_bytes(*word)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<(u32, usize), (u64, [u8; LINE_BYTES])>;

    fn build(model: &Model) -> Diffs {
        let mut builder = DiffsBuilder::new();
        for (&(page, line), (changed, bytes)) in model {
            builder.push_line(PageNumber(page), line, *changed, bytes);
        }
        builder.finish()
    }

    fn read(diffs: &Diffs) -> Model {
        let lines = diffs.pages().flat_map(|page| {
            let lines = page.line_diffs();
            lines.map(move |line| ((page.page().0, line.line), (line.changed, *line.bytes)))
        });
        lines.collect()
    }

    fn sample() -> Diffs {
        build(&BTreeMap::from([
            ((3, 0), (1, [1; LINE_BYTES])),
            ((3, 63), (1 << 63 | 2, [2; LINE_BYTES])),
            ((9, 5), (u64::MAX, [3; LINE_BYTES])),
        ]))
    }

    fn models() -> impl Strategy<Value = Model> {
        let bytes = prop::collection::vec(any::<u8>(), LINE_BYTES);
        let line = (
            1..=u64::MAX,
            bytes.prop_map(|bytes| bytes.try_into().unwrap()),
        );
        prop::collection::btree_map((0..4_u32, 0..LINES_PER_PAGE), line, 0..12)
    }

    #[test]
    fn exactly_the_changed_bytes_are_applied() {
        let mut page = [7; PAGE_BYTES];
        let diffs = sample();
        let first = diffs.pages().next().unwrap();
        first.apply(&mut page);
        let mut expected = [7; PAGE_BYTES];
        expected[0] = 1;
        (expected[63 * 64 + 1], expected[4095]) = (2, 2);
        assert!(page == expected);
        assert_eq!((first.changed_bytes(), first.lines().0), (3, 1 << 63 | 1));
    }

    #[test]
    fn a_line_without_change_is_left_out() {
        let mut builder = DiffsBuilder::new();
        builder.push_line(PageNumber(1), 2, 0, &[1; LINE_BYTES]);
        assert!(builder.finish().is_empty());
    }

    #[test]
    fn every_truncation_is_refused_or_ends_at_a_page() {
        let whole = sample().as_bytes().clone();
        let first = page_length(&whole);
        for length in 1..whole.len() {
            let parsed = Diffs::parse(whole.slice(..length));
            assert_eq!(parsed.is_ok(), length == first, "{length}");
        }
    }

    #[test]
    fn each_rule_names_itself() {
        let good = sample().as_bytes().to_vec();
        let second = page_length(&good);
        let spoilt = |at: usize, bytes: &[u8]| {
            let mut spoilt = good.clone();
            spoilt[at..at + bytes.len()].copy_from_slice(bytes);
            Diffs::parse(spoilt.into()).unwrap_err()
        };
        let refused = |at, what| Error::Diffs { at, what };
        assert_eq!(
            spoilt(second, &[3, 0, 0, 0]),
            refused(second, "pages do not ascend")
        );
        assert_eq!(spoilt(4, &[0; 8]), refused(0, "page without lines"));
        assert_eq!(
            spoilt(12, &[0; 8]),
            refused(0, "line without changed bytes")
        );
        assert_eq!(spoilt(4, &[0xff; 8]), refused(0, "truncated lines"));
    }

    #[test]
    #[should_panic(expected = "lines must ascend")]
    fn lines_out_of_order_are_a_bug() {
        let mut builder = DiffsBuilder::new();
        builder.push_line(PageNumber(1), 2, 1, &[1; LINE_BYTES]);
        builder.push_line(PageNumber(1), 1, 1, &[1; LINE_BYTES]);
    }

    proptest! {
        #[test]
        fn what_was_pushed_is_read_back(model in models()) {
            let diffs = build(&model);
            let parsed = Diffs::parse(diffs.as_bytes().clone()).unwrap();
            prop_assert_eq!(&parsed, &diffs);
            prop_assert_eq!(read(&parsed), model);
        }

        #[test]
        fn parse_never_panics_and_what_it_accepts_is_built_again(bytes: Vec<u8>) {
            if let Ok(diffs) = Diffs::parse(Bytes::from(bytes)) {
                prop_assert_eq!(build(&read(&diffs)), diffs);
            }
        }

        #[test]
        fn flipped_and_lost_bytes_never_panic(
            model in models(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            keep: prop::sample::Index,
        ) {
            let mut bytes = build(&model).as_bytes().to_vec();
            for (at, value) in flips {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
            }
            bytes.truncate(keep.index(bytes.len() + 1));
            if let Ok(diffs) = Diffs::parse(Bytes::from(bytes)) {
                prop_assert_eq!(build(&read(&diffs)), diffs);
            }
        }
    }
}
