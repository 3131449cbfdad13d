//! A team of members on a network that delays what it carries.

use std::collections::{BTreeMap, VecDeque};

use plurix_protocol::team::{Access, Boundary, Command, Member, Placement, Region, Settings};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::ToPeer;
use plurix_wire::{Interval, PageNumber, Rank, SyncId};

use crate::sketch::Sketch;

/// Of the team's region.
pub(crate) const PAGES: u32 = 12;
/// Pages that are under way at most when they were asked for ahead of need.
pub(crate) const UNDER_WAY: u32 = 6;

/// A team whose members each run one worker, step by step.
pub(crate) struct Team {
    pub(crate) stations: Vec<(Member, Sketch)>,
    /// On their way, from and to.
    pub(crate) wires: BTreeMap<(Rank, Rank), VecDeque<ToPeer>>,
}

impl Team {
    pub(crate) fn new(size: u16, placement: Placement, unit: u32) -> Self {
        let station = |rank| {
            let settings = Settings {
                read_ahead: 4,
                under_way: UNDER_WAY,
                change_bytes: 200,
            };
            let mut member = Member::new(Rank(rank), size, settings);
            let run = PageRun {
                first: PageNumber(0),
                count: PAGES,
            };
            let region = Region {
                run,
                unit,
                placement,
            };
            assert!(member.add_region(region));
            (member, Sketch::default())
        };
        Self {
            stations: (0..size).map(station).collect(),
            wires: BTreeMap::new(),
        }
    }

    pub(crate) fn post(&mut self) {
        for (member, _) in &mut self.stations {
            let from = member.rank();
            while let Some(Command::Tell(to, message)) = member.poll() {
                self.wires.entry((from, to)).or_default().push_back(message);
            }
        }
    }

    /// Delivers the oldest message of one of the connections that carry any.
    pub(crate) fn deliver(&mut self, choice: usize) -> bool {
        self.post();
        let busy: Vec<_> = self
            .wires
            .iter()
            .filter(|(_, wire)| !wire.is_empty())
            .collect();
        let Some(&(&(from, to), _)) = busy.get(choice % busy.len().max(1)) else {
            return false;
        };
        self.deliver_on(from, to)
    }

    /// Delivers the oldest message of one connection, if it carries any.
    pub(crate) fn deliver_on(&mut self, from: Rank, to: Rank) -> bool {
        self.post();
        let wire = self.wires.entry((from, to)).or_default();
        let Some(message) = wire.pop_front() else {
            return false;
        };
        let (member, view) = &mut self.stations[usize::from(to.0)];
        member
            .handle(from, message, view)
            .expect("the team goes on");
        true
    }

    pub(crate) fn acquire(&mut self, station: usize, lock: SyncId) -> bool {
        let (member, view) = &mut self.stations[station];
        member.acquire(lock, view).expect("the team goes on")
    }

    pub(crate) fn interval(&self, station: usize) -> Interval {
        self.stations[station].0.interval()
    }

    pub(crate) fn arrive(&mut self, station: usize, brings: Option<Vec<u8>>) {
        let (member, view) = &mut self.stations[station];
        member
            .arrive(brings, Boundary::Within, view)
            .expect("the team goes on");
    }

    pub(crate) fn access(&mut self, station: usize, page: PageNumber, wants: Access) -> bool {
        let (member, view) = &mut self.stations[station];
        let ready = member.access(page, wants, view).expect("the team goes on");
        assert!(!ready || view.access(page) >= wants);
        ready
    }

    pub(crate) fn load(&mut self, station: usize, page: PageNumber, at: usize) -> u8 {
        for _ in 0..1000 {
            if self.access(station, page, Access::Read) {
                return self.stations[station]
                    .1
                    .load(page, at)
                    .expect("the team goes on");
            }
            assert!(self.deliver(0), "nothing can bring {page}");
        }
        panic!("{page} never comes");
    }

    pub(crate) fn store(&mut self, station: usize, page: PageNumber, at: usize, value: u8) {
        for _ in 0..1000 {
            if self.access(station, page, Access::Write) {
                assert!(self.stations[station].1.store(page, at, value));
                return;
            }
            assert!(self.deliver(0), "nothing can bring {page}");
        }
        panic!("{page} never comes");
    }

    pub(crate) fn barrier(&mut self) {
        for station in 0..self.stations.len() {
            self.arrive(station, None);
        }
        while self.deliver(0) {}
    }
}
