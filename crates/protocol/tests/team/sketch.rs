//! A view of weak pages in plain memory, for tests: it lets a program do what it may, and no more.

use std::collections::BTreeMap;

use plurix_protocol::team::{Access, View};
use plurix_wire::diff::{DiffsBuilder, PageDiff};
use plurix_wire::message::PageRun;
use plurix_wire::{LINE_BYTES, PAGE_BYTES, PageBytes, PageNumber};

/// See the module's text.
#[derive(Default)]
pub(crate) struct Sketch {
    pages: BTreeMap<PageNumber, Page>,
    /// Changes of access.
    pub calls: usize,
}

struct Page {
    access: Access,
    bytes: Box<PageBytes>,
    twin: Option<Box<PageBytes>>,
}

impl Sketch {
    pub(crate) fn access(&self, page: PageNumber) -> Access {
        self.pages
            .get(&page)
            .map_or(Access::None, |page| page.access)
    }

    /// What the program loads.
    pub(crate) fn load(&self, page: PageNumber, at: usize) -> Option<u8> {
        let page = self.pages.get(&page)?;
        (page.access >= Access::Read).then(|| page.bytes[at])
    }

    /// The program stores; answers whether it may.
    pub(crate) fn store(&mut self, page: PageNumber, at: usize, value: u8) -> bool {
        match self.pages.get_mut(&page) {
            Some(page) if page.access == Access::Write => {
                page.bytes[at] = value;
                true
            }
            _ => false,
        }
    }

    fn page(&mut self, page: PageNumber) -> &mut Page {
        self.pages.get_mut(&page).expect("it was filled")
    }
}

impl View for Sketch {
    fn set_access(&mut self, run: PageRun, access: Access) {
        self.calls += 1;
        for page in run.pages() {
            self.page(page).access = access;
        }
    }

    fn fill(&mut self, page: PageNumber, bytes: Option<&PageBytes>) {
        let old = self.pages.insert(
            page,
            Page {
                access: Access::None,
                bytes: Box::new(bytes.copied().unwrap_or([0; PAGE_BYTES])),
                twin: None,
            },
        );
        assert!(old.is_none_or(|old| old.access == Access::None));
    }

    fn copy_out(&self, page: PageNumber, into: &mut PageBytes) {
        *into = *self.pages[&page].bytes;
    }

    fn keep_twin(&mut self, page: PageNumber) {
        let page = self.page(page);
        assert_ne!(page.access, Access::Write, "a twin is taken too late");
        page.twin = Some(page.bytes.clone());
    }

    fn take_diff(&mut self, number: PageNumber, into: &mut DiffsBuilder) -> bool {
        let page = self.page(number);
        assert_ne!(
            page.access,
            Access::Write,
            "a page changes beneath its diff"
        );
        let twin = page.twin.take().expect("it has a twin");
        let (old, new) = (twin.as_chunks::<LINE_BYTES>().0, page.bytes.as_chunks().0);
        let mut changed = false;
        for (line, (old, new)) in old.iter().zip(new).enumerate() {
            let mask =
                (0..LINE_BYTES).fold(0, |mask, at| mask | u64::from(old[at] != new[at]) << at);
            if mask != 0 {
                into.push_line(number, line, mask, new);
                changed = true;
            }
        }
        changed
    }

    fn apply(&mut self, diff: &PageDiff<'_>) {
        let page = self.page(diff.page());
        diff.apply(&mut page.bytes);
        if let Some(twin) = &mut page.twin {
            diff.apply(twin);
        }
    }
}
