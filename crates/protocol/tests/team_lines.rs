//! Recovery lines as members cut them: whatever happens behind a barrier, and however slowly pages are
//! collected, what comes together is the memory at the barrier.

#[path = "team/sketch.rs"]
mod sketch;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use plurix_protocol::team::{Access, Boundary, Command, Member, Placement, Region, Settings};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Cut, Pages, ToPeer};
use plurix_wire::message::recovery_line::{Basis, Marks};
use plurix_wire::{CommitNumber, PAGE_BYTES, PageBytes, PageNumber, Rank, SyncId};
use proptest::prelude::*;
use sketch::Sketch;

const PAGES: u32 = 8;
const SIZE: usize = 3;
const FLAG: SyncId = SyncId(3);
const COUNTER: SyncId = SyncId(4);

type Memory = BTreeMap<PageNumber, Box<PageBytes>>;

/// A team whose members each run one worker. Each stores to bytes of its own.
struct Team {
    stations: Vec<Station>,
    wires: BTreeMap<(Rank, Rank), VecDeque<ToPeer>>,
    /// What was stored last.
    memory: Memory,
    /// The same, when all had come to the last barrier.
    barrier: Memory,
    /// What was collected of the line under way, and of those before.
    line: Memory,
    lines: Memory,
    basis: Basis,
    /// The line that the team went on from, which the page server may have lost.
    start: CommitNumber,
    /// Lines that came together, and the cut of the last one.
    taken: u64,
    taken_cut: Option<u32>,
    /// What the coordinator said of the last one.
    marks: Option<Marks>,
}

struct Station {
    member: Member,
    view: Sketch,
    is_at_barrier: bool,
    cut: Option<Cut>,
    is_collected: bool,
    /// Asked of the line that the team goes on from.
    loads: VecDeque<PageRun>,
}

impl Team {
    fn new(placement: Placement, unit: u32, start: Option<(Memory, Marks)>) -> Self {
        let station = |rank| {
            let settings = Settings {
                read_ahead: 2,
                under_way: 3,
                change_bytes: 100,
            };
            let mut member = Member::new(Rank(rank), SIZE as u16, settings);
            if let Some((_, marks)) = &start {
                member.go_on_from(marks.clone());
            }
            let region = Region {
                run: PageRun::new(PageNumber(0), PAGES),
                unit,
                placement,
            };
            assert!(member.add_region(region));
            Station {
                member,
                view: Sketch::default(),
                is_at_barrier: false,
                cut: None,
                is_collected: true,
                loads: VecDeque::new(),
            }
        };
        let stations = (0..SIZE as u16).map(station).collect();
        let number = CommitNumber(start.as_ref().map_or(0, |_| 1));
        let memory = start.map(|(memory, _)| memory).unwrap_or_default();
        Self {
            stations,
            wires: BTreeMap::new(),
            barrier: memory.clone(),
            line: Memory::new(),
            lines: memory.clone(),
            memory,
            basis: Basis::Changed(number),
            start: number,
            taken: 0,
            taken_cut: None,
            marks: None,
        }
    }

    fn post(&mut self) {
        for station in &mut self.stations {
            let from = station.member.rank();
            while let Some(command) = station.member.poll() {
                match command {
                    Command::Tell(to, message) => {
                        self.wires.entry((from, to)).or_default().push_back(message);
                    }
                    Command::Open => {
                        let before = station.member.interval();
                        let opened = station.member.open_barrier(&mut station.view);
                        opened.expect("the team goes on");
                        station.is_at_barrier &= station.member.interval() == before;
                    }
                    Command::Load(run) => station.loads.push_back(run),
                    Command::Cut { cut, marks, .. } => {
                        station.cut = Some(cut);
                        station.is_collected = false;
                        self.marks = marks.or(self.marks.take());
                    }
                }
            }
        }
    }

    /// Delivers one message, or the pages that one station has asked for.
    fn deliver(&mut self, choice: usize) -> bool {
        self.post();
        let busy: Vec<_> = self
            .wires
            .iter()
            .filter(|(_, wire)| !wire.is_empty())
            .collect();
        let asking = self
            .stations
            .iter()
            .filter(|it| !it.loads.is_empty())
            .count();
        if busy.len() + asking == 0 {
            return false;
        }
        let choice = choice % (busy.len() + asking);
        if let Some(&(&(from, to), _)) = busy.get(choice) {
            let wire = self.wires.get_mut(&(from, to)).expect("it is busy");
            let message = wire.pop_front().expect("it is busy");
            let station = &mut self.stations[usize::from(to.0)];
            let before = station.member.interval();
            let heard = station.member.handle(from, message, &mut station.view);
            heard.expect("the team goes on");
            station.is_at_barrier &= station.member.interval() == before;
        } else {
            let at = choice - busy.len();
            let mut asking = self.stations.iter_mut().filter(|it| !it.loads.is_empty());
            let station = asking.nth(at).expect("there are as many");
            let run = station.loads.pop_front().expect("it asks");
            let mut bytes = Vec::new();
            for page in run.pages() {
                let zero = Box::new([0; PAGE_BYTES]);
                bytes.extend_from_slice(&self.lines.get(&page).unwrap_or(&zero)[..]);
            }
            let bytes = Bytes::from(bytes);
            let loaded = station
                .member
                .loaded(&Pages { run, bytes }, &mut station.view);
            loaded.expect("the team goes on");
        }
        self.post();
        true
    }

    fn open(&mut self, at: usize, page: PageNumber, wants: Access) {
        for _ in 0..10_000 {
            let station = &mut self.stations[at];
            let ready = station.member.access(page, wants, &mut station.view);
            if ready.expect("the team goes on") {
                assert!(station.view.access(page) >= wants);
                return self.post();
            }
            assert!(self.deliver(0), "nothing can bring {page}");
        }
        panic!("{page} never comes");
    }

    fn store(&mut self, at: usize, page: PageNumber, value: u8) {
        if self.stations[at].is_at_barrier {
            return;
        }
        self.open(at, page, Access::Write);
        assert!(self.stations[at].view.store(page, at, value));
        let zero = || Box::new([0; PAGE_BYTES]);
        self.memory.entry(page).or_insert_with(zero)[at] = value;
    }

    fn arrive(&mut self, at: usize) {
        if self.stations[at].is_at_barrier {
            return;
        }
        let others = self.stations.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != at);
        if others.all(|(_, station)| station.is_at_barrier) {
            self.barrier = self.memory.clone();
        }
        let is_handed_over = self.stations[0].cut.map(|cut| cut.ordinal) == self.taken_cut;
        if at == 0 && !is_handed_over {
            // Some of the last line's pages are lost.
            self.basis = Basis::All(self.start);
        }
        if at == 0 {
            self.line.clear();
        }
        let station = &mut self.stations[at];
        station.is_at_barrier = true;
        let before = station.member.interval();
        let boundary = if at == 0 {
            Boundary::Cut(self.basis)
        } else {
            Boundary::Phase
        };
        let arrived = station.member.arrive(None, boundary, &mut station.view);
        arrived.expect("the team goes on");
        station.is_at_barrier = station.member.interval() == before;
        self.post();
    }

    /// Collects a page or two; looks at the line when all have come.
    fn collect(&mut self, at: usize, most: usize) {
        let station = &mut self.stations[at];
        let Some(cut) = station.cut.filter(|_| !station.is_collected) else {
            return;
        };
        // Whoever has not left the barrier hands over the line before.
        let newest = self
            .stations
            .iter()
            .filter_map(|it| it.cut)
            .map(|it| it.ordinal)
            .max();
        let station = &mut self.stations[at];
        let collected = station.member.collect(cut, most, &station.view);
        let (pages, is_last) = collected.expect("there was no later cut");
        station.is_collected = is_last;
        if Some(cut.ordinal) != newest || self.stations[0].is_at_barrier {
            return;
        }
        for pages in &pages {
            for (page, bytes) in pages.each() {
                let bytes = Box::new(*bytes.expect("they are sent"));
                assert!(self.line.insert(page, bytes).is_none(), "{page} comes once");
            }
        }
        let is_whole = |it: &Station| {
            it.is_collected && it.cut.is_some_and(|other| other.ordinal == cut.ordinal)
        };
        if self.stations.iter().all(is_whole) {
            if !self.needs_line() {
                self.lines.clear();
            }
            self.lines.append(&mut self.line);
            self.taken += 1;
            self.taken_cut = Some(cut.ordinal);
            self.basis = Basis::Changed(CommitNumber(self.taken));
            let zero = Box::new([0; PAGE_BYTES]);
            for page in (0..PAGES).map(PageNumber) {
                let found = self.lines.get(&page).unwrap_or(&zero);
                let expected = self.barrier.get(&page).unwrap_or(&zero);
                assert!(found == expected, "{page} is not as it was at the barrier");
            }
        }
    }

    /// Whether somebody hands over less than all that he keeps.
    fn needs_line(&self) -> bool {
        let is_all = |cut: Cut| cut.basis == Basis::All(CommitNumber(0));
        !self.stations.iter().all(|it| it.cut.is_some_and(is_all))
    }

    fn play(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::Store(at, page, value) => self.store(at, PageNumber(page), value),
                Op::Deliver(choice) => drop(self.deliver(choice)),
                Op::Arrive(at) => self.arrive(at),
                Op::Collect(at, most) => self.collect(at, most),
            }
        }
        while self.deliver(0) {}
        // Whoever has not come comes now.
        (0..SIZE).for_each(|at| self.arrive(at));
        while self.deliver(0) {}
    }

    /// All come to a barrier, and hand over what has changed.
    fn line(&mut self) {
        (0..SIZE).for_each(|at| self.arrive(at));
        while self.deliver(1) {}
        (0..SIZE).for_each(|at| self.collect(at, 100));
    }
}

#[derive(Debug, Clone)]
enum Op {
    Store(usize, u32, u8),
    Deliver(usize),
    Arrive(usize),
    Collect(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..SIZE, 0..PAGES, 1..u8::MAX).prop_map(|(at, page, value)| Op::Store(at, page, value)),
        6 => (0..8_usize).prop_map(Op::Deliver),
        2 => (0..SIZE).prop_map(Op::Arrive),
        4 => (0..SIZE, 1..3_usize).prop_map(|(at, most)| Op::Collect(at, most)),
    ]
}

fn placement() -> impl Strategy<Value = Placement> {
    prop_oneof![
        Just(Placement::FirstTouch),
        Just(Placement::Block),
        Just(Placement::Cyclic(2)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_collected_is_the_memory_at_the_barrier(
        placement in placement(),
        unit in prop_oneof![Just(1_u32), Just(2), Just(4)],
        ops in proptest::collection::vec(op(), 1..200),
    ) {
        let mut team = Team::new(placement, unit, None);
        team.play(ops);
        // All come together once more, and nothing is left out.
        (0..SIZE).for_each(|at| team.collect(at, 100));
        team.line();
        prop_assert!(team.taken > 0);

        // Another team goes on from there.
        let lines = team.lines.clone();
        let mut next = Team::new(placement, unit, Some((lines, Marks::default())));
        for page in (0..PAGES).map(PageNumber) {
            let at = page.0 as usize % SIZE;
            next.open(at, page, Access::Read);
            let bytes = team.barrier.get(&page).map_or(0, |bytes| bytes[at]);
            prop_assert_eq!(next.stations[at].view.load(page, at), Some(bytes));
        }
        next.store(1, PageNumber(3), 77);
        next.line();
        next.store(2, PageNumber(3), 78);
        next.line();
        prop_assert_eq!(next.taken, 2);
    }

    #[test]
    fn a_line_of_those_who_lack_nothing_needs_no_other(
        placement in placement(),
        unit in prop_oneof![Just(1_u32), Just(2), Just(4)],
        filled in 0..PAGES,
        ops in proptest::collection::vec(op(), 1..200),
    ) {
        let page = |page| (PageNumber(page), Box::new([page as u8 + 1; PAGE_BYTES]));
        let lines: Memory = (filled..PAGES).map(page).collect();
        let mut team = Team::new(placement, unit, Some((lines, Marks::default())));
        team.play(ops);
        (0..SIZE).for_each(|at| team.collect(at, 100));
        // What has never been loaded is asked for once more.
        for page in (0..PAGES).map(PageNumber) {
            team.open(2, page, Access::Read);
        }
        team.line();
        team.basis = Basis::All(team.start);
        team.line();
        prop_assert!(!team.needs_line());
    }
}

#[test]
fn who_lacks_a_page_of_the_line_needs_it() {
    let lacking = |team: &mut Team| -> Vec<usize> {
        team.basis = Basis::All(team.start);
        team.line();
        let needs = |at: &usize| {
            let cut = team.stations[*at].cut.expect("it was one");
            cut.basis == Basis::All(team.start)
        };
        (0..SIZE).filter(needs).collect()
    };
    let go_on = |placement| Team::new(placement, 1, Some((Memory::new(), Marks::default())));
    let mut team = go_on(Placement::Block);
    assert_eq!(lacking(&mut team), [0, 1, 2]);
    // Whoever reads a page has its home load it.
    (0..6).for_each(|page| team.open(2, PageNumber(page), Access::Read));
    assert_eq!(lacking(&mut team), [2]);
    (6..PAGES).for_each(|page| team.open(0, PageNumber(page), Access::Read));
    assert_eq!(lacking(&mut team), [0; 0]);

    // What nobody keeps is lacking at the one who gives homes.
    let mut team = go_on(Placement::FirstTouch);
    (0..6).for_each(|page| team.open(1, PageNumber(page), Access::Read));
    assert_eq!(lacking(&mut team), [0]);
    (6..PAGES).for_each(|page| team.open(2, PageNumber(page), Access::Write));
    assert_eq!(lacking(&mut team), [0; 0]);
}

#[test]
fn a_page_that_changes_behind_the_cut_is_handed_over_as_it_was() {
    let mut team = Team::new(Placement::Block, 1, None);
    team.store(0, PageNumber(0), 1);
    (0..SIZE).for_each(|at| team.arrive(at));
    while team.deliver(0) {}
    team.store(0, PageNumber(0), 2);
    team.store(1, PageNumber(0), 3);
    (0..SIZE).for_each(|at| team.collect(at, 1));
    assert_eq!(team.taken, 1);
    assert_eq!(team.lines[&PageNumber(0)][..2], [1, 0]);
    team.line();
    assert_eq!(team.lines[&PageNumber(0)][..2], [2, 3]);
}

#[test]
fn a_cut_that_another_one_has_followed_is_gone() {
    let mut team = Team::new(Placement::Block, 1, None);
    team.store(0, PageNumber(0), 1);
    (0..SIZE).for_each(|at| team.arrive(at));
    while team.deliver(0) {}
    let first = team.stations[0].cut.expect("it was one");
    (0..SIZE).for_each(|at| team.arrive(at));
    while team.deliver(0) {}
    let station = &mut team.stations[0];
    assert!(station.member.collect(first, 9, &station.view).is_none());
    let second = station.cut.expect("another one");
    assert_eq!(
        second.basis,
        Basis::All(CommitNumber(0)),
        "some pages were lost"
    );
    let (pages, is_last) = station
        .member
        .collect(second, 9, &station.view)
        .expect("it is the last");
    assert!(is_last);
    assert_eq!(
        pages.len(),
        1,
        "one page has bytes, and did not change since"
    );
}

#[test]
fn what_did_not_change_is_not_handed_over_again() {
    let mut team = Team::new(Placement::Block, 1, None);
    team.store(0, PageNumber(0), 1);
    team.store(0, PageNumber(1), 1);
    team.line();
    team.store(0, PageNumber(1), 2);
    (0..SIZE).for_each(|at| team.arrive(at));
    while team.deliver(0) {}
    let station = &mut team.stations[0];
    let cut = station.cut.expect("it was one");
    let (pages, _) = station
        .member
        .collect(cut, 9, &station.view)
        .expect("it is the last");
    let runs: Vec<PageRun> = pages.iter().map(|pages| pages.run).collect();
    assert_eq!(runs, [PageRun::from(PageNumber(1))]);
}

/// The flag's changes are applied only after everybody has come to the barrier.
#[test]
fn a_flag_that_was_raised_before_the_barrier_belongs_to_the_line() {
    let mut team = Team::new(Placement::Block, 1, None);
    // The last station changes what the second one keeps, and raises a flag.
    let page = PageNumber(PAGES / 2);
    team.store(2, page, 9);
    while team.deliver(0) {}
    let station = &mut team.stations[2];
    let raised = station.member.raise(FLAG, 4, &mut station.view);
    raised.expect("the team goes on");
    let ticket = station.member.add(COUNTER, 5, &mut station.view);
    let ticket = ticket.expect("the team goes on");
    team.post();
    (0..SIZE).for_each(|at| team.arrive(at));
    // What has to do with the coordinator first, the second station's pages last.
    let late = (Rank(2), Rank(1));
    let changes = team.wires.remove(&late).expect("changes are under way");
    while team.deliver(0) {}
    team.wires.insert(late, changes);
    while team.deliver(0) {}
    assert_eq!(team.stations[2].member.before(ticket), Some(0));
    let marks = team.marks.clone().expect("it was a cut");
    assert_eq!(marks.flags, BTreeMap::from([(FLAG, 4)]));
    assert_eq!(marks.counters, BTreeMap::from([(COUNTER, 5)]));

    // Whoever goes on from there need not wait for it.
    let mut next = Team::new(Placement::Block, 1, Some((Memory::new(), marks)));
    let station = &mut next.stations[1];
    let first = station.member.is_raised(FLAG, 4, &mut station.view);
    assert_eq!(first, Ok(false), "it has to be asked");
    while next.deliver(0) {}
    let station = &mut next.stations[1];
    assert_eq!(
        station.member.is_raised(FLAG, 4, &mut station.view),
        Ok(true)
    );
}
