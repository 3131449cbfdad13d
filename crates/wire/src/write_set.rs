//! The bytes that one commit changes, in one flat buffer.
//!
//! A write set is built once, by the station that commits. The same bytes are validated by the
//! leader, appended to the log, and cut by page (without copying) for the stations that hold those
//! pages. All integers are little-endian; sections ascend by page, runs ascend and never overlap.
//!
//! ```text
//! write set = section*
//!  0        4        6           8                     8+4·runs            8+4·runs+payload
//! +--------+--------+-----------+---------------------+-------------------+
//! | page   | runs   | payload   | (offset u16,        | the new bytes of  |
//! | u32    | u16    | u16       |  length u16) × runs | the runs, in turn |
//! +--------+--------+-----------+---------------------+-------------------+
//! ```

use bytes::Bytes;

use crate::Error;
use crate::ids::{LineMask, PAGE_BYTES, PageBytes, PageNumber};

const SECTION_HEADER: usize = 8;
const RUN_HEADER: usize = 4;
/// A write set up to here is copied out of its builder: one allocation, where a new buffer would
/// grow in several.
const COPY_BYTES_MAX: usize = 16 << 10;

/// A validated write set. Cloning shares the buffer.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct WriteSet(Bytes);

impl WriteSet {
    /// Checks `bytes` and takes them as a write set.
    ///
    /// # Errors
    /// [`Error::WriteSet`] naming the first rule broken.
    pub fn parse(bytes: Bytes) -> Result<Self, Error> {
        let mut at = 0;
        let mut previous = None;
        while at < bytes.len() {
            let length = check_section(&bytes[at..], previous)
                .map_err(|what| Error::WriteSet { at, what })?;
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

    /// Whether no byte is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sections, ascending by page.
    pub fn sections(&self) -> Sections<'_> {
        Sections { rest: &self.0 }
    }

    /// The part that changes pages for which `keep` holds. The buffer is shared if those sections
    /// are neighbours, which is so for almost every commit.
    #[must_use]
    pub fn restrict(&self, mut keep: impl FnMut(PageNumber) -> bool) -> Self {
        let (mut at, mut kept, mut joined) = (0, 0..0, Vec::new());
        for section in self.sections() {
            let range = at..at + section.encoded.len();
            at = range.end;
            if !keep(section.page()) {
                continue;
            }
            if !joined.is_empty() {
                joined.extend_from_slice(section.encoded);
            } else if kept.is_empty() {
                kept = range;
            } else if kept.end == range.start {
                kept.end = range.end;
            } else {
                joined = [&self.0[kept.clone()], section.encoded].concat();
            }
        }
        if joined.is_empty() {
            Self(self.0.slice(kept))
        } else {
            Self(joined.into())
        }
    }
}

impl std::fmt::Debug for WriteSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.sections()).finish()
    }
}

/// Iterates over the sections of a [`WriteSet`].
#[derive(Clone)]
pub struct Sections<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Sections<'a> {
    type Item = Section<'a>;

    fn next(&mut self) -> Option<Section<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        // Validated when the set was made, so every index below is in bounds.
        let (encoded, rest) = self.rest.split_at(section_length(self.rest));
        self.rest = rest;
        Some(Section { encoded })
    }
}

impl<'a> Sections<'a> {
    /// The sections of bytes that were those of a [`WriteSet`]. They are not checked again: other
    /// bytes may make the iterator panic.
    #[must_use]
    pub fn of(encoded: &'a [u8]) -> Self {
        Self { rest: encoded }
    }
}

/// The bytes that one commit changes in one page.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    encoded: &'a [u8],
}

impl<'a> Section<'a> {
    /// The page changed.
    #[must_use]
    pub fn page(&self) -> PageNumber {
        page_of(self.encoded)
    }

    /// The section as it stands in the write set.
    #[must_use]
    pub fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// The new bytes of all runs, one run after the other.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.encoded[SECTION_HEADER + RUN_HEADER * run_count(self.encoded)..]
    }

    /// The runs, ascending by offset.
    pub fn runs(&self) -> impl Iterator<Item = Run<'a>> + use<'a> {
        let count = run_count(self.encoded);
        let (headers, mut payload) = self.encoded[SECTION_HEADER..].split_at(RUN_HEADER * count);
        headers.chunks_exact(RUN_HEADER).map(move |header| {
            let (bytes, rest) = payload.split_at(usize::from(u16_at(header, 2)));
            payload = rest;
            Run {
                offset: u16_at(header, 0),
                bytes,
            }
        })
    }

    /// Writes the new bytes into a copy of the page changed.
    pub fn apply(&self, page: &mut PageBytes) {
        for run in self.runs() {
            page[usize::from(run.offset)..][..run.bytes.len()].copy_from_slice(run.bytes);
        }
    }

    /// The lines that the runs touch.
    #[must_use]
    pub fn lines(&self) -> LineMask {
        LineMask(self.runs().fold(0, |mask, run| {
            mask | LineMask::covering(usize::from(run.offset), run.bytes.len()).0
        }))
    }
}

impl std::fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.page())?;
        f.debug_list()
            .entries(self.runs().map(|run| (run.offset, run.bytes.len())))
            .finish()
    }
}

/// Consecutive changed bytes of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// Offset of the first byte in its page.
    pub offset: u16,
    /// The new bytes; never empty.
    pub bytes: &'a [u8],
}

/// Builds a [`WriteSet`] page by page, run by run.
#[derive(Debug, Default)]
pub struct WriteSetBuilder {
    encoded: Vec<u8>,
    page: Option<PageNumber>,
    /// Runs and payload of the page being built.
    runs: Vec<u8>,
    payload: Vec<u8>,
    run_end: usize,
}

impl WriteSetBuilder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a run of new bytes at `offset` of `page`.
    ///
    /// # Panics
    /// If pages or runs do not ascend, if runs overlap, if `bytes` is empty or leaves the page: a
    /// write set built wrongly would corrupt every copy of the page.
    pub fn push(&mut self, page: PageNumber, offset: usize, bytes: &[u8]) {
        if self.page != Some(page) {
            assert!(
                self.page.is_none_or(|previous| previous < page),
                "pages must ascend"
            );
            self.close_page();
            self.page = Some(page);
            self.run_end = 0;
        }
        assert!(
            !bytes.is_empty() && offset >= self.run_end,
            "runs must ascend and not overlap"
        );
        assert!(
            offset + bytes.len() <= PAGE_BYTES,
            "a run must not leave its page"
        );
        self.run_end = offset + bytes.len();
        if let Some(last) = self.adjacent_run(offset) {
            let length = u16_at(&self.runs, last + 2) + bytes.len() as u16;
            self.runs[last + 2..].copy_from_slice(&length.to_le_bytes());
        } else {
            self.runs.extend_from_slice(&(offset as u16).to_le_bytes());
            self.runs
                .extend_from_slice(&(bytes.len() as u16).to_le_bytes());
        }
        self.payload.extend_from_slice(bytes);
    }

    /// The write set of everything pushed; the builder is empty again, its buffers kept.
    pub fn finish(&mut self) -> WriteSet {
        self.close_page();
        if self.encoded.len() > COPY_BYTES_MAX {
            return WriteSet(Bytes::from(std::mem::take(&mut self.encoded)));
        }
        let exact = Bytes::copy_from_slice(&self.encoded);
        self.encoded.clear();
        WriteSet(exact)
    }

    /// Position in `runs` of the last run, if it ends exactly at `offset`.
    fn adjacent_run(&self, offset: usize) -> Option<usize> {
        let last = self.runs.len().checked_sub(RUN_HEADER)?;
        let end = usize::from(u16_at(&self.runs, last)) + usize::from(u16_at(&self.runs, last + 2));
        (end == offset).then_some(last)
    }

    fn close_page(&mut self) {
        let Some(page) = self.page.take() else { return };
        let runs = (self.runs.len() / RUN_HEADER) as u16;
        self.encoded.extend_from_slice(&page.0.to_le_bytes());
        self.encoded.extend_from_slice(&runs.to_le_bytes());
        self.encoded
            .extend_from_slice(&(self.payload.len() as u16).to_le_bytes());
        self.encoded.append(&mut self.runs);
        self.encoded.append(&mut self.payload);
    }
}

/// Checks the section at the start of `bytes`; answers its length.
fn check_section(bytes: &[u8], previous: Option<PageNumber>) -> Result<usize, &'static str> {
    if bytes.len() < SECTION_HEADER {
        return Err("truncated section header");
    }
    if previous.is_some_and(|previous| previous >= page_of(bytes)) {
        return Err("pages do not ascend");
    }
    let count = run_count(bytes);
    if count == 0 {
        return Err("section without runs");
    }
    let length = section_length(bytes);
    if bytes.len() < length {
        return Err("truncated section");
    }
    let (mut end, mut payload) = (0, 0);
    for header in
        bytes[SECTION_HEADER..SECTION_HEADER + RUN_HEADER * count].chunks_exact(RUN_HEADER)
    {
        let (offset, run) = (
            usize::from(u16_at(header, 0)),
            usize::from(u16_at(header, 2)),
        );
        if run == 0 {
            return Err("empty run");
        }
        if offset < end {
            return Err("runs overlap or do not ascend");
        }
        end = offset + run;
        payload += run;
    }
    if end > PAGE_BYTES {
        return Err("run leaves its page");
    }
    if payload != payload_length(bytes) {
        return Err("payload length differs from the sum of the runs");
    }
    Ok(length)
}

fn page_of(section: &[u8]) -> PageNumber {
    PageNumber(u32::from_le_bytes([
        section[0], section[1], section[2], section[3],
    ]))
}

fn run_count(section: &[u8]) -> usize {
    usize::from(u16_at(section, 4))
}

fn payload_length(section: &[u8]) -> usize {
    usize::from(u16_at(section, 6))
}

fn section_length(section: &[u8]) -> usize {
    SECTION_HEADER + RUN_HEADER * run_count(section) + payload_length(section)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> WriteSet {
        let mut builder = WriteSetBuilder::new();
        builder.push(PageNumber(3), 0, b"ab");
        builder.push(PageNumber(3), 2, b"cd");
        builder.push(PageNumber(3), 100, b"x");
        builder.push(PageNumber(9), 4095, b"z");
        builder.finish()
    }

    #[test]
    fn what_was_pushed_is_read_back_with_adjacent_runs_joined() {
        let set = WriteSet::parse(sample().as_bytes().clone()).unwrap();
        let runs: Vec<_> = set
            .sections()
            .flat_map(|s| {
                s.runs()
                    .map(move |r| (s.page().0, r.offset, r.bytes.to_vec()))
            })
            .collect();
        assert_eq!(
            runs,
            [
                (3, 0, b"abcd".to_vec()),
                (3, 100, b"x".to_vec()),
                (9, 4095, b"z".to_vec())
            ]
        );
        assert_eq!(set.sections().next().unwrap().lines(), LineMask(0b11));
    }

    #[test]
    fn every_truncation_is_refused_or_ends_at_a_section() {
        let whole = sample().as_bytes().clone();
        let first = set_length(&whole);
        for length in 1..whole.len() {
            let parsed = WriteSet::parse(whole.slice(..length));
            assert_eq!(parsed.is_ok(), length == first, "{length}");
        }
    }

    #[test]
    fn a_restriction_keeps_just_the_pages_asked_for() {
        let mut builder = WriteSetBuilder::new();
        (0..6).for_each(|page| builder.push(PageNumber(page), 8, &[page as u8; 3]));
        let whole = builder.finish();
        for mask in 0u32..64 {
            let part = whole.restrict(|page| mask >> page.0 & 1 == 1);
            let pages: Vec<u32> = part.sections().map(|section| section.page().0).collect();
            let expected: Vec<u32> = (0..6).filter(|page| mask >> page & 1 == 1).collect();
            assert_eq!(pages, expected);
            assert!(WriteSet::parse(part.as_bytes().clone()).is_ok());
        }
    }

    fn set_length(bytes: &[u8]) -> usize {
        section_length(bytes)
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_what_it_accepts_iterates(bytes: Vec<u8>) {
            if let Ok(set) = WriteSet::parse(Bytes::from(bytes)) {
                let touched: usize = set.sections().map(|s| s.lines().count()).sum();
                prop_assert!(set.is_empty() || touched > 0);
            }
        }

        #[test]
        fn one_flipped_byte_never_panics(at in 0usize..40, value: u8) {
            let mut bytes = sample().as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(set) = WriteSet::parse(Bytes::from(bytes)) {
                set.sections().for_each(|s| s.runs().for_each(drop));
            }
        }
    }
}
