//! A run of pages, which one system call takes from one access to another.

use std::fmt;

use plurix_wire::PageNumber;

/// Pages one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageRun {
    /// The first of them.
    pub first: PageNumber,
    /// How many.
    pub count: u32,
}

impl PageRun {
    /// `count` pages from `first`.
    #[must_use]
    pub fn new(first: PageNumber, count: u32) -> Self {
        Self { first, count }
    }

    /// The pages, ascending.
    pub fn pages(self) -> impl Iterator<Item = PageNumber> {
        let first = u64::from(self.first.0);
        (first..first + u64::from(self.count)).map(|page| PageNumber(page as u32))
    }
}

impl From<PageNumber> for PageRun {
    fn from(page: PageNumber) -> Self {
        Self::new(page, 1)
    }
}

impl fmt::Display for PageRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages from {}", self.count, self.first)
    }
}
