//! Pages that come and go: misses, what is asked for ahead of them, and what is given up for them.
//!
//! ```text
//!   missed one after the other:   | here | here | missed ...... | asked ahead ............ |
//!                                                `-- run under way, asked when the run before it
//!                                                    was reached; each is twice as long as the last
//! ```
//!
//! Between transactions the station has as many pages as its settings allow: what was used the longest
//! ago is given up, a share more than must be, so that the leader and the system are told of many pages
//! at once. A running transaction keeps everything that it has touched, and may exceed that.
//!
//! **Invariant**: pages held, arrived and under way are at most `cache_pages_max`, those brought for the
//! running transaction, and twice `read_ahead`.

use plurix_wire::message::{FETCH_PAGES_MAX, PageRun, Request};
use plurix_wire::{PAGE_BYTES, PageNumber};

use super::cache::Arrival;
use super::{Install, Miss, Pages, State, Station, Transaction};

/// A run of so many pages has shown that more will be missed: the next one is asked for before it is
/// missed. After fewer, objects of a few pages would bring their neighbours.
const READ_ON_PAGES_MIN: u64 = 8;
/// What is given up at once, as a share of the pages that the station may have.
const TRIM_SHARE: usize = 16;
/// The most that is given up at once beyond what must be.
const TRIM_PAGES_MAX: usize = 4096;

/// What was asked for last because of a miss, as far as it tells what will be missed next.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct Ahead {
    first: u64,
    end: u64,
    /// Nobody has made memory for it.
    is_new: bool,
}

impl Ahead {
    fn contains(&self, page: PageNumber) -> bool {
        (self.first..self.end).contains(&page.0.into())
    }

    fn next_pages(&self) -> u64 {
        2 * (self.end - self.first)
    }
}

impl Station {
    /// The running transaction needs a page that is not in memory. Its neighbours are put into memory
    /// with it, as far as they have arrived. Once is enough: if the connection is lost, or there is none
    /// yet, the page is asked for when the session goes on.
    pub fn miss(&mut self, page: PageNumber, memory: &impl Install) -> Miss {
        let miss = self.find(page, memory);
        self.missed = (miss == Miss::Pending).then_some(page);
        miss
    }

    fn find(&mut self, page: PageNumber, memory: &impl Install) -> Miss {
        if matches!(self.transaction, Transaction::Doomed) {
            return Miss::Lost;
        }
        debug_assert!(matches!(self.transaction, Transaction::Running));
        let arrival = self.cache.install_run(page, memory, &mut self.brought);
        match arrival {
            Arrival::TooOld => return Miss::SnapshotTooOld,
            // To run it again before the group is finished would meet the same snapshot.
            Arrival::TooEarly => return Miss::Pending,
            Arrival::Installed | Arrival::NotYet => {}
        }
        let is_installed = arrival == Arrival::Installed;
        if !is_installed && !self.awaited.contains(page) {
            self.read_from(page);
        }
        if self.ahead.contains(page) {
            self.read_on();
        }
        match is_installed {
            true => Miss::Installed,
            false => Miss::Pending,
        }
    }

    /// The session goes on: asks for what the running transaction waits for, unless the page is here.
    pub(super) fn fetch_missed(&mut self) {
        if let (Transaction::Running, Some(page)) = (&self.transaction, self.missed)
            && self.is_absent(page)
        {
            self.read_from(page);
        }
    }

    /// Asks for a page that is missed, and for as many behind it as misses have shown to be worth it.
    fn read_from(&mut self, page: PageNumber) {
        let first = u64::from(page.0);
        let is_next = self.ahead.end == first && first > 0;
        let wished = if is_next { self.ahead.next_pages() } else { 1 };
        let wished = wished.min(self.settings.read_ahead.into());
        let most = wished.min(self.room_ahead().saturating_add(1)).max(1) as u32;
        self.fetch_ahead(page, most);
    }

    /// The run that was asked for last has been reached: asks for the one behind it.
    fn read_on(&mut self) {
        let Ahead { first, end, .. } = self.ahead;
        if end - first < READ_ON_PAGES_MIN || end >= self.heap_pages() {
            return;
        }
        let wished = self.ahead.next_pages();
        let wished = wished.min(self.settings.read_ahead.into());
        let most = wished.min(self.room_ahead()) as u32;
        let next = PageNumber(end as u32);
        if most > 0 && self.is_absent(next) {
            self.fetch_ahead(next, most);
        }
    }

    fn fetch_ahead(&mut self, first: PageNumber, most: u32) {
        let run = self.absent_run(first, most);
        let first = u64::from(first.0);
        let end = first + u64::from(run.count);
        self.ahead = Ahead {
            first,
            end,
            is_new: true,
        };
        self.fetch(run);
    }

    /// The run that was asked for last because of a miss, once: while its pages travel there is time to
    /// have memory for them.
    pub fn take_asked(&mut self) -> Option<PageRun> {
        let Ahead { first, end, .. } = self.ahead;
        let is_new = std::mem::take(&mut self.ahead.is_new);
        is_new.then(|| PageRun::new(PageNumber(first as u32), (end - first) as u32))
    }

    /// Asks for pages that will be needed; those that are here, under way, or beyond the heap are
    /// left out.
    pub fn prefetch(&mut self, first: PageNumber, count: u32) {
        if matches!(self.state, State::Active) {
            let mut page = u64::from(first.0);
            let end = (page + u64::from(count)).min(self.heap_pages());
            // What is left out is fetched when it is missed: the leader bounds what may be under way.
            while page < end && self.awaited.len() < FETCH_PAGES_MAX.into() {
                let number = PageNumber(page as u32);
                let most = (end - page).min(FETCH_PAGES_MAX.into());
                let most = most.min(self.room_ahead()) as u32;
                if most == 0 {
                    return;
                }
                if self.is_absent(number) {
                    let run = self.absent_run(number, most);
                    page += u64::from(run.count);
                    self.fetch(run);
                } else {
                    page += 1;
                }
            }
        }
    }

    /// How many pages may be asked for that nobody has missed yet.
    fn room_ahead(&self) -> u64 {
        let ahead = 2 * self.settings.read_ahead as usize;
        let most = self.settings.cache_pages_max.saturating_add(self.brought);
        most.saturating_add(ahead).saturating_sub(self.pages()) as u64
    }

    /// Pages that are here or under way.
    fn pages(&self) -> usize {
        self.cache.held() + self.cache.pages_arrived() + self.awaited.len() as usize
    }

    /// Whether a page that was missed has arrived, so that [`miss`](Self::miss) is not `Pending`.
    #[must_use]
    pub fn has_arrived(&self, page: PageNumber) -> bool {
        self.cache.can_install(page) || matches!(self.transaction, Transaction::Doomed)
    }

    /// Gives up pages, between transactions; not those that something in flight has touched.
    pub fn evict(&mut self, pages: impl IntoIterator<Item = PageNumber>, memory: &mut impl Pages) {
        assert!(
            matches!(self.transaction, Transaction::None),
            "evict between transactions"
        );
        let mut dropped: Vec<PageNumber> = pages
            .into_iter()
            .filter(|page| !self.pipeline.touches(*page) && self.cache.release(*page))
            .collect();
        if dropped.is_empty() {
            return;
        }
        dropped.sort_unstable();
        let runs = PageRun::compact(dropped);
        runs.iter().for_each(|run| memory.evict_run(*run));
        if matches!(self.state, State::Active) {
            self.request(Request::Drop { pages: runs });
        }
    }

    /// Gives up what was used the longest ago, if there is more than there should be.
    pub(super) fn trim(&mut self, memory: &mut impl Pages) {
        let most = self.settings.cache_pages_max;
        let pages = self.pages();
        if pages > most {
            let more = (most / TRIM_SHARE).clamp(1, TRIM_PAGES_MAX);
            let surplus = (pages - most + more).min(self.cache.held());
            let unused = memory.unused(surplus);
            self.evict(unused, memory);
        }
    }

    fn heap_pages(&self) -> u64 {
        self.heap_bytes.unwrap_or(0) / PAGE_BYTES as u64
    }

    fn is_absent(&self, page: PageNumber) -> bool {
        !self.cache.holds(page) && !self.cache.has_arrived(page) && !self.awaited.contains(page)
    }

    /// Up to `most` pages from `first` on that are not here, as far as they are neighbours.
    fn absent_run(&self, first: PageNumber, most: u32) -> PageRun {
        let fits = self
            .heap_pages()
            .saturating_sub(u64::from(first.0))
            .min(u64::from(most)) as u32;
        let absent = (1..fits).take_while(|ahead| self.is_absent(PageNumber(first.0 + ahead)));
        PageRun {
            first,
            count: 1 + absent.count() as u32,
        }
    }

    fn fetch(&mut self, run: PageRun) {
        if matches!(self.state, State::Active) {
            for page in run.pages() {
                self.awaited.insert(page);
            }
            self.request(Request::Fetch {
                run,
                snapshot: self.cache.snapshot(),
            });
        }
    }
}
