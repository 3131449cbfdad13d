//! Which weak pages there are, and what this station knows of each.

use plurix_wire::message::PageRun;
use plurix_wire::message::peer::Home;
use plurix_wire::{PageNumber, Rank};

/// Pages of a first-touch region are managed by one rank in runs of this many, so that the claim of a
/// run mostly goes to one manager.
const MANAGED_PAGES: u32 = 256;

/// A run of weak pages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Region {
    /// Its pages.
    pub run: PageRun,
    /// What one fault fetches or opens: this many pages, a power of two, counted from the region's
    /// first.
    pub unit: u32,
    /// Where its pages have their homes.
    pub placement: Placement,
}

/// Where pages have their homes at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// At the station that touches them first.
    FirstTouch,
    /// In blocks of equal size, the first at the first station.
    Block,
    /// So many pages at each station in turn.
    Cyclic(u32),
}

/// Where a page is, as this station sees it.
///
/// ```text
///  elsewhere    Void ──ask──► Asked ──pages──► Clean ──store──► Dirty ──publish──► Clean
///                 ▲             │ lock         │
///                 ├──pages── Doubted           │ others wrote it
///                 └────────────────────────────┘
///  here         Blank ──touch──► Open ──served, cut──► Shared ──store──► Written
///                 │                ▲                     ▲ │ store, no copies │ barrier
///                 │                └─────────────────────┼─┴──────────────────┘
///                 └──touch──► Loading ──of a line────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum State {
    /// Nothing is here, and perhaps nobody knows where it is.
    #[default]
    Void,
    /// Its home, or its bytes, have been asked for.
    Asked,
    /// As `Asked`; what arrives may be out of date already.
    Doubted,
    /// A copy; the program may load.
    Clean,
    /// A copy with a twin; the program may store.
    Dirty,
    /// This is its home, and memory has nothing of it yet.
    Blank,
    /// As `Blank`, and its bytes have been asked of the recovery line.
    Loading,
    /// This is its home, nobody has a copy, and the program may store unseen.
    Open,
    /// This is its home, others may have copies, and the program may load.
    Shared,
    /// As `Shared`, and the program has stored since others were told.
    Written,
}

impl State {
    pub(super) fn is_home(self) -> bool {
        matches!(
            self,
            Self::Blank | Self::Loading | Self::Open | Self::Shared | Self::Written
        )
    }

    /// Whether memory holds the page.
    pub(super) fn has_bytes(self) -> bool {
        !matches!(
            self,
            Self::Void | Self::Asked | Self::Doubted | Self::Blank | Self::Loading
        )
    }
}

/// What is known of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Entry {
    pub(super) state: State,
    /// The rank of its home plus one; zero if that is not known here.
    home: u16,
}

impl Entry {
    pub(super) fn home(self) -> Option<Rank> {
        self.home.checked_sub(1).map(Rank)
    }

    pub(super) fn set_home(&mut self, rank: Rank) {
        self.home = rank.0 + 1;
    }
}

/// All regions of a team, and a table of the pages of each.
#[derive(Debug, Clone, Hash)]
pub(super) struct Regions {
    rank: Rank,
    size: u16,
    /// Ascending by page.
    regions: Vec<(Region, Vec<Entry>)>,
}

impl Regions {
    pub(super) fn new(rank: Rank, size: u16) -> Self {
        Self {
            rank,
            size,
            regions: Vec::new(),
        }
    }

    /// Adds a region; answers whether it is apart from the others and has pages.
    pub(super) fn add(&mut self, region: Region) -> bool {
        let PageRun { first, count } = region.run;
        let end = u64::from(first.0) + u64::from(count);
        let overlaps = |other: &Region| {
            let other_end = u64::from(other.run.first.0) + u64::from(other.run.count);
            u64::from(other.run.first.0) < end && u64::from(first.0) < other_end
        };
        if count == 0
            || end > 1 << 32
            || !region.unit.is_power_of_two()
            || self.regions.iter().any(|(other, _)| overlaps(other))
        {
            return false;
        }
        let entries = (0..count)
            .map(|at| self.fresh(&region, at))
            .collect::<Vec<_>>();
        let place = self
            .regions
            .partition_point(|(other, _)| other.run.first < first);
        self.regions.insert(place, (region, entries));
        true
    }

    /// What is known of page `at` of a new region.
    fn fresh(&self, region: &Region, at: u32) -> Entry {
        let mut entry = Entry::default();
        let size = u64::from(self.size);
        let home = match region.placement {
            Placement::FirstTouch => return entry,
            Placement::Block => u64::from(at) * size / u64::from(region.run.count),
            Placement::Cyclic(pages) => u64::from(at / pages.max(1)) % size,
        };
        entry.set_home(Rank(home as u16));
        if home == u64::from(self.rank.0) {
            entry.state = State::Blank;
        }
        entry
    }

    /// Whether all pages of a run are weak, of one region or of several side by side.
    pub(super) fn hold(&self, run: PageRun) -> bool {
        let (mut page, end) = (
            u64::from(run.first.0),
            u64::from(run.first.0) + u64::from(run.count),
        );
        while page < end {
            let region = u32::try_from(page).ok().map(PageNumber);
            let Some(region) = region.and_then(|page| self.region(page)) else {
                return false;
            };
            page = u64::from(region.run.first.0) + u64::from(region.run.count);
        }
        run.count > 0
    }

    /// The region that a page belongs to.
    pub(super) fn region(&self, page: PageNumber) -> Option<&Region> {
        self.index(page).map(|(region, _)| &self.regions[region].0)
    }

    pub(super) fn get(&self, page: PageNumber) -> Option<Entry> {
        let (region, at) = self.index(page)?;
        Some(self.regions[region].1[at])
    }

    pub(super) fn get_mut(&mut self, page: PageNumber) -> Option<&mut Entry> {
        let (region, at) = self.index(page)?;
        Some(&mut self.regions[region].1[at])
    }

    /// All pages of all regions, ascending.
    pub(super) fn pages(&self) -> impl Iterator<Item = PageNumber> {
        self.regions
            .iter()
            .flat_map(|(region, _)| region.run.pages())
    }

    /// Who gives a page of a first-touch region its home.
    pub(super) fn manager(&self, page: PageNumber) -> Option<Rank> {
        let region = self.region(page)?;
        let at = page.0 - region.run.first.0;
        Some(Rank((at / MANAGED_PAGES % u32::from(self.size)) as u16))
    }

    /// Pages `first..` of its region, at most `most` of them, as far as `holds` is true of each and
    /// they have the same manager. The first one is taken for granted.
    pub(super) fn run(
        &self,
        first: PageNumber,
        most: u32,
        mut holds: impl FnMut(Entry) -> bool,
    ) -> PageRun {
        let mut count = 1;
        if let Some((region, at)) = self.index(first) {
            let entries = &self.regions[region].1;
            let managed = MANAGED_PAGES as usize - at % MANAGED_PAGES as usize;
            let end = entries.len().min(at + managed).min(at + most as usize);
            let more = entries.get(at + 1..end).unwrap_or(&[]);
            count += more.iter().take_while(|entry| holds(**entry)).count() as u32;
        }
        PageRun { first, count }
    }

    /// The unit that a page belongs to.
    pub(super) fn unit(&self, page: PageNumber) -> PageRun {
        let Some(region) = self.region(page) else {
            return PageRun {
                first: page,
                count: 1,
            };
        };
        let at = page.0 - region.run.first.0;
        let begin = at / region.unit * region.unit;
        PageRun {
            first: PageNumber(region.run.first.0 + begin),
            count: region.unit.min(region.run.count - begin),
        }
    }

    fn index(&self, page: PageNumber) -> Option<(usize, usize)> {
        let after = self
            .regions
            .partition_point(|(region, _)| region.run.first <= page);
        let index = after.checked_sub(1)?;
        let (region, entries) = &self.regions[index];
        let at = (page.0 - region.run.first.0) as usize;
        (at < entries.len()).then_some((index, at))
    }
}

/// The homes of pages, which ascend, in the fewest runs.
pub(super) fn homes(pages: impl IntoIterator<Item = (PageNumber, Rank)>) -> Vec<Home> {
    let mut homes: Vec<Home> = Vec::new();
    for (page, rank) in pages {
        match homes.last_mut() {
            Some(home) if home.rank == rank && home.run.first.0 + home.run.count == page.0 => {
                home.run.count += 1;
            }
            _ => homes.push(Home {
                run: page.into(),
                rank,
            }),
        }
    }
    homes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(first: u32, count: u32, placement: Placement) -> Region {
        Region {
            run: PageRun {
                first: PageNumber(first),
                count,
            },
            unit: 4,
            placement,
        }
    }

    fn homes(placement: Placement, count: u32) -> Vec<Option<u16>> {
        let mut regions = Regions::new(Rank(1), 3);
        assert!(regions.add(region(10, count, placement)));
        (10..10 + count)
            .map(|page| regions.get(PageNumber(page)).unwrap().home().map(|r| r.0))
            .collect()
    }

    #[test]
    fn placement_says_where_pages_are() {
        let some = |homes: &[u16]| homes.iter().map(|home| Some(*home)).collect::<Vec<_>>();
        assert_eq!(homes(Placement::Block, 6), some(&[0, 0, 1, 1, 2, 2]));
        assert_eq!(homes(Placement::Cyclic(2), 7), some(&[0, 0, 1, 1, 2, 2, 0]));
        assert_eq!(homes(Placement::FirstTouch, 2), [None, None]);
    }

    #[test]
    fn regions_do_not_overlap() {
        let mut regions = Regions::new(Rank(0), 1);
        assert!(regions.add(region(10, 10, Placement::FirstTouch)));
        assert!(!regions.add(region(19, 1, Placement::FirstTouch)));
        assert!(!regions.add(region(5, 6, Placement::FirstTouch)));
        assert!(regions.add(region(20, 1, Placement::FirstTouch)));
        assert!(regions.add(region(5, 5, Placement::FirstTouch)));
        assert!(regions.get(PageNumber(4)).is_none());
        assert!(regions.get(PageNumber(21)).is_none());
        assert_eq!(regions.region(PageNumber(20)).unwrap().run.count, 1);
    }

    #[test]
    fn a_run_ends_with_its_region_its_manager_and_its_kind() {
        let mut regions = Regions::new(Rank(0), 2);
        assert!(regions.add(region(0, 600, Placement::FirstTouch)));
        let run = |regions: &Regions, first, most| {
            regions
                .run(PageNumber(first), most, |entry| entry.state == State::Void)
                .count
        };
        assert_eq!(run(&regions, 0, 10), 10);
        assert_eq!(run(&regions, 250, 100), 6);
        assert_eq!(run(&regions, 590, 100), 10);
        regions.get_mut(PageNumber(3)).unwrap().state = State::Clean;
        assert_eq!(run(&regions, 0, 10), 3);
        assert_eq!(regions.unit(PageNumber(7)).first, PageNumber(4));
        assert_eq!(regions.unit(PageNumber(599)).count, 4);
    }
}
