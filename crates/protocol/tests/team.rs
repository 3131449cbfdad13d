//! Teams of members on a network that delays what it carries, judged by what their programs load.

#[path = "team/network.rs"]
mod network;
#[path = "team/sketch.rs"]
mod sketch;

use std::collections::{BTreeMap, VecDeque};

use network::{PAGES, Team, UNDER_WAY};
use plurix_protocol::team::{Access, Placement, Ticket};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::ToPeer;
use plurix_wire::{PageNumber, Rank, SyncId};
use proptest::prelude::*;

const LOCK: SyncId = SyncId(7);
const COUNTER: SyncId = SyncId(9);
/// The page and byte that the lock guards.
const GUARDED: (PageNumber, usize) = (PageNumber(3), 100);

const P: PageNumber = PageNumber(0);

#[test]
fn after_a_barrier_everybody_reads_what_anybody_wrote() {
    let mut team = Team::new(3, Placement::FirstTouch, 1);
    team.store(1, P, 5, 1);
    team.barrier();
    assert_eq!(team.load(0, P, 5), 1);
    assert_eq!(team.load(2, P, 5), 1);
    team.store(2, P, 6, 2);
    team.store(0, P, 7, 3);
    team.store(1, P, 8, 4);
    team.barrier();
    for station in 0..3 {
        let bytes = [5, 6, 7, 8].map(|at| team.load(station, P, at));
        assert_eq!(bytes, [1, 2, 3, 4], "station {station}");
    }
}

#[test]
fn what_nobody_else_has_costs_nothing() {
    let mut team = Team::new(2, Placement::Block, 1);
    team.store(0, P, 0, 1);
    let calls = team.stations[0].1.calls;
    for round in 0..10 {
        team.barrier();
        assert_eq!(team.stations[0].1.access(P), Access::Write);
        team.store(0, P, 0, round);
    }
    assert_eq!(team.stations[0].1.calls, calls);
}

#[test]
fn a_copy_that_nobody_wrote_to_is_kept() {
    let mut team = Team::new(2, Placement::Block, 1);
    team.store(0, P, 0, 1);
    team.barrier();
    assert_eq!(team.load(1, P, 0), 1);
    team.barrier();
    assert_eq!(team.stations[1].1.load(P, 0), Some(1));
    team.store(0, P, 0, 2);
    team.barrier();
    assert_eq!(team.stations[1].1.load(P, 0), None);
}

#[test]
fn pages_that_came_and_pages_that_others_wrote_are_counted() {
    let mut team = Team::new(2, Placement::Block, 1);
    let counts = |team: &Team, station: usize| {
        let member = &team.stations[station].0;
        (member.fetched(), member.notices())
    };
    team.store(0, P, 0, 1);
    team.barrier();
    // Nobody needs to be told of what nobody has a copy of.
    assert_eq!(counts(&team, 1), (0, 0));
    assert_eq!(team.load(1, P, 0), 1);
    let (fetched, _) = counts(&team, 1);
    assert!(fetched >= 1, "{fetched}");
    team.store(0, P, 0, 2);
    team.barrier();
    assert_eq!(counts(&team, 1), (fetched, 1));
    assert_eq!(team.load(1, P, 0), 2);
    assert!(team.acquire(0, LOCK));
    team.store(0, P, 0, 3);
    let (member, view) = &mut team.stations[0];
    member.unlock(LOCK, view).expect("the team goes on");
    assert!(!team.acquire(1, LOCK));
    while team.deliver(0) {}
    assert!(team.acquire(1, LOCK));
    assert_eq!(team.load(1, P, 0), 3);
    assert_eq!(counts(&team, 1), (fetched + 2, 2));
    assert_eq!(counts(&team, 0), (0, 0));
}

#[test]
fn a_page_moves_to_its_sole_writer() {
    let mut team = Team::new(2, Placement::Block, 1);
    team.store(0, P, 0, 1);
    team.barrier();
    for round in 2..5 {
        team.store(1, P, 1, round);
        team.barrier();
    }
    // It is at home there by now, and nothing is sent for it.
    team.store(1, P, 1, 9);
    assert!(!team.deliver(0));
    team.barrier();
    assert_eq!(team.load(0, P, 1), 9);
    assert_eq!(team.load(0, P, 0), 1);
}

/// Pages that a station has asked for on the wire to `home`.
fn fetched(team: &Team, from: usize, home: Rank) -> u32 {
    let wire = team.wires.get(&(Rank(from as u16), home));
    let messages = wire.into_iter().flatten();
    let fetches = messages.filter_map(|message| match message {
        ToPeer::Fetch { run, .. } => Some(run.count),
        _ => None,
    });
    fetches.sum()
}

#[test]
fn what_is_wished_for_is_asked_for_as_earlier_pages_come() {
    let home = Rank(0);
    let mut team = Team::new(2, Placement::Cyclic(PAGES), 1);
    let all = PageRun::new(PageNumber(0), PAGES);
    team.stations[1].0.prefetch(all);
    let mut most = 0;
    while team.deliver(0) {
        team.post();
        most = most.max(fetched(&team, 1, home));
    }
    assert_eq!(most, UNDER_WAY);
    for page in all.pages() {
        assert!(team.access(1, page, Access::Read), "{page}");
    }
    // Nobody waits at a barrier for what is only wished for.
    team.barrier();
    for page in all.pages() {
        team.store(0, page, 0, 1);
    }
    team.barrier();
    team.stations[1].0.prefetch(all);
    team.arrive(1, None);
    team.post();
    assert_eq!(fetched(&team, 1, home), UNDER_WAY);
    team.arrive(0, None);
    while team.deliver(0) {}
    assert!(!team.access(1, PageNumber(PAGES - 1), Access::Read));
}

#[test]
fn a_run_that_is_waited_for_is_asked_for_in_parts() {
    let mut team = Team::new(2, Placement::Cyclic(PAGES), 1);
    let all = PageRun::new(PageNumber(0), PAGES);
    loop {
        let (member, view) = &mut team.stations[1];
        let ready = member.access_run(all, Access::Write, view);
        if ready.expect("the team goes on") {
            break;
        }
        team.post();
        assert!(fetched(&team, 1, Rank(0)) <= UNDER_WAY);
        assert!(team.deliver(0), "nothing can bring the rest");
    }
    let (_, view) = &team.stations[1];
    assert!(all.pages().all(|page| view.access(page) == Access::Write));
}

/// Found by the simulator: `team --seed 15964`.
#[test]
fn a_page_behind_one_of_another_home_in_its_unit_is_asked_for() {
    let mut team = Team::new(2, Placement::FirstTouch, 4);
    let one = PageRun::new(PageNumber(1), 1);
    team.stations[1].0.prefetch(one);
    while team.deliver(0) {}
    // Station 0 manages all of them, so that no message will have it ask again.
    team.store(0, PageNumber(2), 0, 7);
    assert_eq!(team.load(0, PageNumber(2), 0), 7);
}

/// Found by the simulator: `team --seed 19282`.
#[test]
fn a_lock_names_what_its_last_holder_wrote_before_it_came_to_the_barrier() {
    let [reader, home, writer] = [0, 1, 2].map(Rank);
    let page = PageNumber(PAGES / 3);
    let mut team = Team::new(3, Placement::Block, 1);
    while !team.acquire(2, LOCK) {
        assert!(team.deliver(0));
    }
    team.store(2, page, 0, 7);
    let (member, view) = &mut team.stations[2];
    member.unlock(LOCK, view).expect("the team goes on");
    // What it wrote is still under way when it has come to the barrier; another lock is taken, and the
    // page is fetched as it was.
    team.arrive(2, None);
    while team.deliver_on(writer, reader) {}
    assert!(team.acquire(0, SyncId(8)));
    assert!(!team.access(0, page, Access::Read));
    while team.deliver_on(reader, home) || team.deliver_on(home, reader) {}
    assert_eq!(team.load(0, page, 0), 0);
    while !team.acquire(0, LOCK) {
        assert!(team.deliver(0));
    }
    assert_eq!(team.load(0, page, 0), 7);
}

#[test]
fn a_flag_names_what_was_still_under_way_when_its_station_came_to_the_barrier() {
    let [reader, _, writer] = [0, 1, 2].map(Rank);
    let (page, flag) = (PageNumber(PAGES / 3), SyncId(4));
    let mut team = Team::new(3, Placement::Block, 1);
    assert_eq!(team.load(0, page, 0), 0);
    team.store(2, page, 0, 7);
    let (member, view) = &mut team.stations[2];
    member.raise(flag, 1, view).expect("the team goes on");
    team.arrive(2, None);
    while team.deliver_on(writer, reader) {}
    let is_raised = |team: &mut Team| {
        let (member, view) = &mut team.stations[0];
        member.is_raised(flag, 1, view).expect("the team goes on")
    };
    while !is_raised(&mut team) {
        assert!(team.deliver(0));
    }
    assert_eq!(team.load(0, page, 0), 7);
}

#[test]
fn what_is_brought_reaches_everybody() {
    let mut team = Team::new(3, Placement::Block, 1);
    team.arrive(0, None);
    team.arrive(1, Some(vec![1]));
    team.arrive(2, Some(vec![2, 2]));
    while team.deliver(1) {}
    for (member, _) in &team.stations {
        assert_eq!(*member.brought(), [None, Some(vec![1]), Some(vec![2, 2])]);
    }
}

#[test]
fn a_lock_stays_until_somebody_wants_it() {
    let mut team = Team::new(2, Placement::Block, 1);
    let acquire = |team: &mut Team, station: usize| {
        let (member, view) = &mut team.stations[station];
        member.acquire(LOCK, view).expect("the team goes on")
    };
    let unlock = |team: &mut Team, station: usize| {
        let (member, view) = &mut team.stations[station];
        member.unlock(LOCK, view).expect("the team goes on");
    };
    while !acquire(&mut team, 1) {
        assert!(team.deliver(0));
    }
    for _ in 0..10 {
        unlock(&mut team, 1);
        assert!(acquire(&mut team, 1));
        assert!(!team.deliver(0), "no message for a lock that is here");
    }
    assert!(!acquire(&mut team, 0));
    while team.deliver(0) {}
    assert!(!acquire(&mut team, 0));
    unlock(&mut team, 1);
    while team.deliver(0) {}
    assert!(acquire(&mut team, 0));
}

#[test]
fn who_waits_for_a_flag_sees_what_was_written_before_it() {
    let flag = SyncId(4);
    let mut team = Team::new(3, Placement::Block, 1);
    // A copy that is out of date in time.
    assert_eq!(team.load(2, P, 5), 0);
    let is_raised = |team: &mut Team| {
        let (member, view) = &mut team.stations[2];
        member.is_raised(flag, 2, view).expect("the team goes on")
    };
    for value in 1..3 {
        assert!(!is_raised(&mut team));
        team.store(1, P, 5, value);
        let (member, view) = &mut team.stations[1];
        let raised = member.raise(flag, u64::from(value), view);
        raised.expect("the team goes on");
        while team.deliver(0) {}
    }
    assert!(is_raised(&mut team));
    assert_eq!(team.load(2, P, 5), 2);
}

#[test]
fn what_was_published_is_seen_after_a_refresh() {
    let mut team = Team::new(2, Placement::Block, 1);
    let run = PageRun::new(P, 1);
    assert_eq!(team.load(1, P, 5), 0);
    team.store(0, P, 5, 3);
    assert_eq!(team.load(1, P, 5), 0);
    team.store(1, P, 6, 4);
    let (member, view) = &mut team.stations[1];
    member.refresh_run(run, view).expect("the team goes on");
    assert_eq!(team.load(1, P, 5), 3);
    assert_eq!(team.load(1, P, 6), 4, "what was stored here is not lost");
    assert_eq!(team.load(0, P, 6), 4);
}

/// What a worker does in one interval.
#[derive(Debug, Clone)]
enum Step {
    /// Stores to a byte of a page that is this station's in this interval.
    Store(u32, u8),
    /// Loads a byte that nobody stores to in this interval.
    Load(u32, u8),
    /// Adds one to what the lock guards.
    Locked,
    Count,
    Prefetch(u32, u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..PAGES, any::<u8>()).prop_map(|(page, at)| Step::Store(page, at)),
        4 => (0..PAGES, any::<u8>()).prop_map(|(page, at)| Step::Load(page, at)),
        2 => Just(Step::Locked),
        1 => Just(Step::Count),
        1 => (0..PAGES, 1..PAGES).prop_map(|(first, count)| Step::Prefetch(first, count)),
    ]
}

/// Where a worker stands.
#[derive(Default)]
struct Worker {
    steps: VecDeque<Step>,
    has_lock: bool,
    ticket: Option<Ticket>,
    has_arrived: bool,
}

/// What a race-free program must find: bytes are shared out anew in each interval.
struct Game {
    team: Team,
    workers: Vec<Worker>,
    /// As of the last barrier, and stored since.
    stored: BTreeMap<(u32, usize), u8>,
    fresh: BTreeMap<(u32, usize), u8>,
    locked: u8,
    counted: u64,
    befores: Vec<u64>,
    value: u8,
}

impl Game {
    fn byte_of(&self, station: usize, at: u8) -> usize {
        let size = self.team.stations.len();
        // Neighbouring bytes are different stations', and other ones' in the next interval.
        let interval = self.team.interval(station).0 as usize;
        200 + usize::from(at) * size + (station + interval) % size
    }

    /// One step of a worker; answers whether it could do anything.
    fn step(&mut self, station: usize) -> bool {
        let Some(step) = self.workers[station].steps.front().cloned() else {
            return false;
        };
        let done = match step {
            Step::Store(page, at) => {
                let at = self.byte_of(station, at);
                let ready = self.team.access(station, PageNumber(page), Access::Write);
                if ready {
                    self.value = self.value.wrapping_add(1);
                    let view = &mut self.team.stations[station].1;
                    assert!(view.store(PageNumber(page), at, self.value));
                    self.fresh.insert((page, at), self.value);
                }
                ready
            }
            Step::Load(page, at) => {
                let at = self.byte_of(station, at);
                let ready = self.team.access(station, PageNumber(page), Access::Read);
                if ready {
                    let found = self.team.stations[station].1.load(PageNumber(page), at);
                    let key = (page, at);
                    let expected = self.fresh.get(&key).or(self.stored.get(&key));
                    assert_eq!(found, Some(expected.copied().unwrap_or(0)), "p{page}+{at}");
                }
                ready
            }
            Step::Locked => self.locked(station),
            Step::Count => self.count(station),
            Step::Prefetch(first, count) => {
                let count = count.min(PAGES - first);
                let first = PageNumber(first);
                self.team.stations[station]
                    .0
                    .prefetch(PageRun { first, count });
                true
            }
        };
        if done {
            self.workers[station].steps.pop_front();
        }
        done
    }

    fn locked(&mut self, station: usize) -> bool {
        let (page, at) = GUARDED;
        if !self.workers[station].has_lock {
            let (member, view) = &mut self.team.stations[station];
            self.workers[station].has_lock = member.acquire(LOCK, view).expect("the team goes on");
            let holders = self.workers.iter().filter(|worker| worker.has_lock);
            assert!(holders.count() <= 1, "a lock is granted twice");
            return false;
        }
        if !self.team.access(station, page, Access::Write) {
            return false;
        }
        let (member, view) = &mut self.team.stations[station];
        let found = view.load(page, at).expect("the team goes on");
        assert_eq!(found, self.locked, "under the lock");
        self.locked = self.locked.wrapping_add(1);
        assert!(view.store(page, at, self.locked));
        member.unlock(LOCK, view).expect("the team goes on");
        self.workers[station].has_lock = false;
        true
    }

    fn count(&mut self, station: usize) -> bool {
        let (member, view) = &mut self.team.stations[station];
        let worker = &mut self.workers[station];
        match worker.ticket {
            None => {
                worker.ticket = Some(member.add(COUNTER, 1, view).expect("the team goes on"));
                self.counted += 1;
                false
            }
            Some(ticket) => match member.before(ticket) {
                Some(before) => {
                    self.befores.push(before);
                    worker.ticket = None;
                    true
                }
                None => false,
            },
        }
    }

    /// All run to the barrier and through it.
    fn interval(&mut self, plans: Vec<Vec<Step>>, choices: &mut dyn FnMut() -> usize) {
        let before = self.team.interval(0);
        for (worker, plan) in self.workers.iter_mut().zip(plans) {
            worker.steps = plan.into();
            worker.has_arrived = false;
        }
        for turn in 0.. {
            assert!(turn < 100_000, "the team is stuck");
            let station = choices() % self.workers.len();
            if !choices().is_multiple_of(3) {
                self.team.deliver(choices());
            } else if !self.step(station)
                && self.workers[station].steps.is_empty()
                && !std::mem::replace(&mut self.workers[station].has_arrived, true)
            {
                self.team.arrive(station, None);
            }
            let stations = 0..self.workers.len();
            if stations.clone().all(|s| self.team.interval(s) > before) {
                break;
            }
            for station in stations {
                let released = self.team.interval(station) > before;
                let all = self.workers.iter().all(|worker| worker.has_arrived);
                assert!(!released || all, "a barrier opens before all have come");
            }
        }
        self.stored.append(&mut self.fresh);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn race_free_programs_find_what_was_written_before(
        size in 1..5_u16,
        placement in prop_oneof![
            Just(Placement::FirstTouch),
            Just(Placement::Block),
            Just(Placement::Cyclic(2)),
        ],
        unit in prop_oneof![Just(1_u32), Just(4)],
        plans in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(step(), 0..8), 4),
            1..6,
        ),
        seed in any::<u64>(),
    ) {
        let team = Team::new(size, placement, unit);
        let mut game = Game {
            workers: (0..size).map(|_| Worker::default()).collect(),
            team,
            stored: BTreeMap::new(),
            fresh: BTreeMap::new(),
            locked: 0,
            counted: 0,
            befores: Vec::new(),
            value: 0,
        };
        let mut state = seed | 1;
        let mut choices = || {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as usize
        };
        for plan in plans {
            game.interval(plan, &mut choices);
        }
        let mut befores = game.befores;
        befores.sort_unstable();
        prop_assert!(befores.iter().copied().eq(0..game.counted), "{befores:?}");
    }
}
