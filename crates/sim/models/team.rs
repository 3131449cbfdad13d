//! Model 4: a team on one weak page, which moves once, under every order of messages and steps, and with
//! the end of the team at any moment.
//!
//! ```text
//!   run a step ──► store, load, lock, barrier ──► messages ──► deliver one, of any connection
//!   crash ──► all members and what is under way are gone; the next team begins
//! ```
//!
//! What is abstracted: times, which the protocol does not know; connections between other than these
//! few members; more pages than one. Two states are the same if all members print the same.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plurix_protocol::team::{Access, Boundary, Command, Member, Placement, Region, Settings, View};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::ToPeer;
use plurix_wire::{
    DiffsBuilder, LINE_BYTES, PAGE_BYTES, PageBytes, PageDiff, PageNumber, Rank, SyncId,
};
use stateright::{Checker, HasDiscoveries, Model, Property};

const PAGE: PageNumber = PageNumber(0);
const LOCK: SyncId = SyncId(0);
/// Bytes of the page that are used.
const BYTES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Task {
    Store(usize, u8),
    /// All bytes must be as the model has them.
    Look,
    Acquire,
    /// Adds one; under the lock.
    Add(usize),
    Release,
}
use Task::{Acquire, Add, Look, Release, Store};

/// By interval.
type Script = &'static [&'static [Task]];

/// A station's memory.
#[derive(Debug, Clone, Hash, Default)]
struct Memory(BTreeMap<PageNumber, Page>);

#[derive(Debug, Clone, Hash)]
struct Page {
    access: Access,
    bytes: Box<PageBytes>,
    twin: Option<Box<PageBytes>>,
}

impl Memory {
    fn page(&mut self, page: PageNumber) -> &mut Page {
        self.0.get_mut(&page).expect("it was filled")
    }

    fn access(&self) -> Access {
        self.0.get(&PAGE).map_or(Access::None, |page| page.access)
    }
}

impl View for Memory {
    fn set_access(&mut self, run: PageRun, access: Access) {
        for page in run.pages() {
            self.page(page).access = access;
        }
    }

    fn fill(&mut self, page: PageNumber, bytes: Option<&PageBytes>) {
        let bytes = Box::new(bytes.copied().unwrap_or([0; PAGE_BYTES]));
        let page = self.0.entry(page).or_insert_with(|| Page {
            access: Access::None,
            bytes: Box::new([0; PAGE_BYTES]),
            twin: None,
        });
        assert_eq!((page.access, &page.twin), (Access::None, &None));
        page.bytes = bytes;
    }

    fn copy_out(&self, page: PageNumber, into: &mut PageBytes) {
        *into = *self.0[&page].bytes;
    }

    fn keep_twin(&mut self, page: PageNumber) {
        let page = self.page(page);
        assert_ne!(page.access, Access::Write);
        page.twin = Some(page.bytes.clone());
    }

    fn take_diff(&mut self, number: PageNumber, into: &mut DiffsBuilder) -> bool {
        let page = self.page(number);
        assert_ne!(page.access, Access::Write);
        let twin = page.twin.take().expect("it has a twin");
        let (old, new) = (&twin[..LINE_BYTES], &page.bytes[..LINE_BYTES]);
        let mask = (0..LINE_BYTES).fold(0, |mask, at| mask | u64::from(old[at] != new[at]) << at);
        let line = page.bytes.first_chunk().expect("a page has a line");
        into.push_line(number, 0, mask, line);
        mask != 0
    }

    fn apply(&mut self, diff: &PageDiff<'_>) {
        let page = self.page(diff.page());
        diff.apply(&mut page.bytes);
        page.twin.iter_mut().for_each(|twin| diff.apply(twin));
    }
}

#[derive(Debug, Clone)]
struct Station {
    member: Member,
    memory: Memory,
    interval: usize,
    at: usize,
    waits: bool,
    has_lock: bool,
}

/// A state.
#[derive(Debug, Clone)]
struct Team {
    stations: Vec<Station>,
    wires: BTreeMap<(u16, u16), VecDeque<ToPeer>>,
    /// What was stored last.
    bytes: [u8; BYTES],
    crashes: u8,
    broken: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Run(usize),
    Deliver(u16, u16),
    Crash,
}

/// A model.
#[derive(Clone)]
struct Setup {
    scripts: &'static [Script],
    crashes: u8,
    /// A defect: who has served the page goes on storing unseen.
    serves_unseen: bool,
    moves: Arc<AtomicU64>,
}

impl Team {
    fn new(setup: &Setup, crashes: u8) -> Self {
        let size = setup.scripts.len() as u16;
        let station = |rank| {
            let mut member = Member::new(Rank(rank), size, Settings::default());
            let region = Region {
                run: PAGE.into(),
                unit: 1,
                placement: Placement::Block,
            };
            assert!(member.add_region(region));
            Station {
                member,
                memory: Memory::default(),
                interval: 0,
                at: 0,
                waits: false,
                has_lock: false,
            }
        };
        Self {
            stations: (0..size).map(station).collect(),
            wires: BTreeMap::new(),
            bytes: [0; BYTES],
            crashes,
            broken: None,
        }
    }

    fn demand(&mut self, holds: bool, rule: &'static str) {
        if !holds {
            self.broken.get_or_insert(rule);
        }
    }

    fn is_done(&self, setup: &Setup) -> bool {
        let done = |(station, script): (&Station, &Script)| station.interval == script.len();
        self.stations.iter().zip(setup.scripts).all(done)
    }

    fn steps(&self, setup: &Setup) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.broken.is_some() || self.is_done(setup) {
            return steps;
        }
        for (index, station) in self.stations.iter().enumerate() {
            let script = setup.scripts[index].get(station.interval);
            let may_run = script.is_some_and(|script| station.at <= script.len());
            steps.extend((may_run && !station.waits).then_some(Step::Run(index)));
        }
        let busy = self.wires.iter().filter(|(_, wire)| !wire.is_empty());
        steps.extend(busy.map(|((from, to), _)| Step::Deliver(*from, *to)));
        steps.extend((self.crashes > 0).then_some(Step::Crash));
        steps
    }

    fn take(&mut self, setup: &Setup, step: Step) {
        match step {
            Step::Run(index) => self.run(setup, index),
            Step::Deliver(from, to) => self.deliver(setup, from, to),
            Step::Crash => *self = Self::new(setup, self.crashes - 1),
        }
        self.post(setup);
        self.look(setup);
    }

    /// A worker does its next task, or comes to the barrier behind the last one.
    fn run(&mut self, setup: &Setup, index: usize) {
        let station = &mut self.stations[index];
        let Some(task) = setup.scripts[index][station.interval].get(station.at) else {
            station.at += 1;
            let answer = station
                .member
                .arrive(None, Boundary::Within, &mut station.memory);
            return self.demand(answer.is_ok(), NO_ERROR);
        };
        let access = |station: &mut Station, wants| {
            if station.memory.access() >= wants {
                return true;
            }
            let answer = station.member.access(PAGE, wants, &mut station.memory);
            answer.expect("a weak page")
        };
        let done = match *task {
            Store(at, value) => {
                access(station, Access::Write).then(|| self.store(index, at, value))
            }
            Add(at) => access(station, Access::Write).then(|| {
                let found = self.stations[index].memory.page(PAGE).bytes[at];
                self.demand(found == self.bytes[at], VALUES);
                self.store(index, at, found + 1);
            }),
            Look => access(station, Access::Read).then(|| {
                let found = &self.stations[index].memory.page(PAGE).bytes[..BYTES];
                let is_right = *found == self.bytes;
                self.demand(is_right, VALUES);
            }),
            Acquire => {
                let answer = station.member.acquire(LOCK, &mut station.memory);
                station.has_lock = answer.expect("the team goes on");
                station.has_lock.then_some(())
            }
            Release => {
                station.has_lock = false;
                let answer = station.member.unlock(LOCK, &mut station.memory);
                answer.expect("the team goes on");
                Some(())
            }
        };
        let station = &mut self.stations[index];
        station.waits = done.is_none();
        station.at += usize::from(done.is_some());
    }

    fn store(&mut self, index: usize, at: usize, value: u8) {
        let page = self.stations[index].memory.page(PAGE);
        assert_eq!(page.access, Access::Write);
        page.bytes[at] = value;
        self.bytes[at] = value;
    }

    fn deliver(&mut self, setup: &Setup, from: u16, to: u16) {
        let message = self
            .wires
            .get_mut(&(from, to))
            .and_then(VecDeque::pop_front);
        let Some(message) = message else {
            return;
        };
        let is_fetch = matches!(message, ToPeer::Fetch { .. });
        let station = &mut self.stations[usize::from(to)];
        let answer = station
            .member
            .handle(Rank(from), message, &mut station.memory);
        station.waits = false;
        if setup.serves_unseen && is_fetch {
            station.memory.page(PAGE).access = Access::Write;
        }
        self.demand(answer.is_ok(), NO_ERROR);
    }

    /// Sends what members want to say, and sees who is released.
    fn post(&mut self, setup: &Setup) {
        for index in 0..self.stations.len() {
            let station = &mut self.stations[index];
            let from = station.member.rank().0;
            while let Some(Command::Tell(to, message)) = station.member.poll() {
                if let ToPeer::Release(release) = &message {
                    let moved = release.moved.len() as u64;
                    setup.moves.fetch_add(moved, Ordering::Relaxed);
                }
                self.wires
                    .entry((from, to.0))
                    .or_default()
                    .push_back(message);
            }
            let interval = station.member.interval().0 as usize;
            if station.interval < interval {
                station.interval = interval;
                station.at = 0;
                let is_here = |(other, script): (&Station, &Script)| {
                    let came = script.get(interval - 1).map_or(0, |tasks| tasks.len() + 1);
                    other.interval >= interval || other.at == came
                };
                let all = self.stations.iter().zip(setup.scripts).all(is_here);
                self.demand(all, BARRIERS);
            }
        }
        self.wires.retain(|_, wire| !wire.is_empty());
    }

    fn look(&mut self, setup: &Setup) {
        let holders = self.stations.iter().filter(|station| station.has_lock);
        let is_alone = holders.count() <= 1;
        self.demand(is_alone, LOCKS);
        let first = self.stations[0].member.interval();
        let together = self.stations.iter().all(|s| s.member.interval() == first);
        if together {
            self.look_at_copies();
        }
        let is_stuck = self.steps(setup).is_empty() && self.broken.is_none();
        let is_done = self.is_done(setup);
        self.demand(!is_stuck || is_done, ENDS);
    }

    fn look_at_copies(&mut self) {
        let keeping = |station: &Station| station.member.keeping(PAGE);
        let homes: Vec<_> = self.stations.iter().filter_map(keeping).collect();
        let has_copy = |s: &&Station| s.memory.access() > Access::None && keeping(s).is_none();
        let copies: Vec<u16> = self
            .stations
            .iter()
            .filter(has_copy)
            .map(|station| station.member.rank().0)
            .collect();
        let known = |home: &plurix_protocol::team::Keeping| {
            let is_known = |rank: &u16| home.copies >> rank & 1 == 1;
            copies.iter().all(is_known) && (copies.is_empty() || !home.is_unseen)
        };
        let is_right = homes.len() == 1 && homes.iter().all(known);
        self.demand(is_right, COPIES);
    }
}

const NO_ERROR: &str = "honest members understand each other";
const VALUES: &str = "what was stored before is found";
const BARRIERS: &str = "nobody leaves a barrier before all have come";
const LOCKS: &str = "a lock has one holder";
const COPIES: &str = "one home, which knows of all copies";
const ENDS: &str = "everybody comes to the end";
const PANICS: &str = "nothing panics";

impl Model for Setup {
    type State = Team;
    type Action = Step;

    fn init_states(&self) -> Vec<Team> {
        vec![Team::new(self, self.crashes)]
    }

    fn actions(&self, state: &Team, steps: &mut Vec<Step>) {
        steps.extend(state.steps(self));
    }

    fn next_state(&self, state: &Team, step: Step) -> Option<Team> {
        let mut next = state.clone();
        let taken = catch_unwind(AssertUnwindSafe(|| next.take(self, step)));
        if taken.is_err() {
            next = state.clone();
            next.broken = Some(PANICS);
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_ERROR, |_, team: &Team| team.broken != Some(NO_ERROR)),
            Property::always(VALUES, |_, team: &Team| team.broken != Some(VALUES)),
            Property::always(BARRIERS, |_, team: &Team| team.broken != Some(BARRIERS)),
            Property::always(LOCKS, |_, team: &Team| team.broken != Some(LOCKS)),
            Property::always(COPIES, |_, team: &Team| team.broken != Some(COPIES)),
            Property::always(ENDS, |_, team: &Team| team.broken != Some(ENDS)),
            Property::always(PANICS, |_, team: &Team| team.broken != Some(PANICS)),
        ]
    }
}

impl Hash for Team {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for station in &self.stations {
            format!("{:?}", station.member).hash(state);
            station.memory.hash(state);
            (
                station.interval,
                station.at,
                station.waits,
                station.has_lock,
            )
                .hash(state);
        }
        (&self.wires, self.bytes, self.crashes, self.broken).hash(state);
    }
}

impl PartialEq for Team {
    fn eq(&self, other: &Self) -> bool {
        let hash = |team: &Self| {
            let mut hasher = DefaultHasher::new();
            team.hash(&mut hasher);
            hasher.finish()
        };
        hash(self) == hash(other)
    }
}

/// Visits every state; answers the rules that are broken and how, and how often a page moved.
fn visit(
    name: &str,
    scripts: &'static [Script],
    crashes: u8,
    serves_unseen: bool,
) -> (BTreeMap<&'static str, Vec<Step>>, u64) {
    let setup = Setup {
        scripts,
        crashes,
        serves_unseen,
        moves: Arc::default(),
    };
    let moves = Arc::clone(&setup.moves);
    let checker = setup.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_dfs().join();
    let (unique, all, depth) = (
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
    );
    println!("team, {name}: {unique} states, {all} steps, depth {depth}");
    let found = checker.discoveries().into_iter();
    let found = found.map(|(rule, path)| (rule, path.into_actions()));
    (found.collect(), moves.load(Ordering::Relaxed))
}

fn check(name: &str, scripts: &'static [Script], crashes: u8) -> u64 {
    let (found, moves) = visit(name, scripts, crashes, false);
    assert!(found.is_empty(), "{name}: {found:#?}");
    moves
}

/// The second one writes alone twice, so that the page moves to it; then both write.
const MOVING: &[Script] = &[
    &[&[Store(0, 1)], &[], &[], &[Store(1, 2)], &[Look]],
    &[&[], &[Store(2, 3)], &[Store(2, 4)], &[Store(3, 5)], &[Look]],
];

/// Both add under a lock, what they have stored without it is seen behind it.
const LOCKING: &[Script] = &[
    &[&[Store(1, 1), Acquire, Add(0), Release], &[Look]],
    &[&[Store(2, 2), Acquire, Add(0), Release], &[Look]],
];

/// The home and the coordinator are one; two others meet there.
const THREE: &[Script] = &[
    &[&[], &[Store(0, 1)], &[Look]],
    &[&[Store(1, 2)], &[Store(1, 3)], &[Look]],
    &[&[], &[Store(2, 4)], &[Look]],
];

const THREE_LOCKING: &[Script] = &[
    &[&[Store(1, 1), Acquire, Add(0), Release], &[Look]],
    &[&[Store(2, 2), Acquire, Add(0), Release], &[Look]],
    &[&[Store(3, 3), Acquire, Add(0), Release], &[Look]],
];

#[test]
fn a_page_moves_to_its_sole_writer_and_is_written_by_two() {
    assert!(check("moving", MOVING, 1) > 0, "it never moves");
}

#[test]
fn a_lock_orders_two() {
    check("locking", LOCKING, 1);
}

#[test]
fn three_share_a_page() {
    check("three", THREE, 1);
}

#[test]
fn a_lock_orders_three() {
    check("three, locking", THREE_LOCKING, 1);
}

#[test]
fn a_home_that_stores_unseen_is_found() {
    let (found, _) = visit("serves unseen", MOVING, 0, true);
    assert!(found.contains_key(VALUES), "{found:?}");
}
