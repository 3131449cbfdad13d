//! What the workers of a team do: scripts that are free of races by construction, so that what each
//! load must find does not depend on who is fast.
//!
//! In an interval each byte of a page has a [`Role`]: it belongs to one worker, neighbours to different
//! ones (false sharing is the rule), or nobody stores to it, or a lock guards it for good. Some pages
//! have one writer alone for several intervals, and so move to him. Bytes behind these are for
//! announcements: stored without a lock, and read by others who learn of it under one, or by a flag.

use std::collections::{BTreeMap, BTreeSet};

use plurix_protocol::Span;
use plurix_wire::message::PageRun;
use plurix_wire::{PageNumber, SyncId};

use super::plan::Plan;
use crate::random::{Purpose, Random};

/// A byte of the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Spot {
    pub(super) page: PageNumber,
    pub(super) at: u16,
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}", self.page, self.at)
    }
}

/// What a worker does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Store(Spot, u8),
    Load(Spot),
    /// Loads and adds; under the lock that guards the byte.
    Add(Spot, u8),
    Acquire(SyncId),
    Release(SyncId),
    /// Loads what says whether something was announced; under its lock.
    Ask(Spot),
    /// Loads what was announced, if it was.
    Heed(Spot),
    /// Raises a flag, for others to go on.
    Raise(SyncId),
    /// Waits for a flag that this worker raises.
    Await(SyncId, usize),
    Count(SyncId, u64),
    Prefetch(PageRun),
    /// Does nothing that others could see.
    Compute(Span),
}

impl Step {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Store(..) => "store",
            Self::Load(_) => "load",
            Self::Add(..) => "add",
            Self::Acquire(_) => "acquire",
            Self::Release(_) => "release",
            Self::Ask(_) => "ask",
            Self::Heed(_) => "heed",
            Self::Raise(_) => "raise",
            Self::Await(..) => "await",
            Self::Count(..) => "count",
            Self::Prefetch(_) => "prefetch",
            Self::Compute(_) => "compute",
        }
    }
}

/// Two workers that touch a byte in one interval, with nothing that orders them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planted {
    pub(super) interval: usize,
    pub(super) spot: Spot,
    /// Stores.
    pub(super) one: usize,
    /// Stores, too, or loads.
    pub(super) other: usize,
}

/// What all workers do, in all intervals, and what comes of it.
#[derive(Debug)]
pub(super) struct Scripts {
    /// By worker and interval. In the last one everything is read.
    pub(super) steps: Vec<Vec<Vec<Step>>>,
    /// What each station brings to the barrier at the end of an interval.
    pub(super) brings: Vec<Vec<Option<Vec<u8>>>>,
    pub(super) race: Option<Planted>,
}

/// Who may do what with a byte in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Guarded(SyncId),
    Owned(usize),
    Constant,
}

/// How a page is shared out in an interval.
#[derive(Debug, Clone, Copy)]
enum Share {
    /// Neighbouring bytes are different workers'.
    Mixed(usize),
    /// One worker stores, others load what it does not store.
    Sole(usize),
    Constant,
}

/// Offsets that are used: some lines from the beginning, and the end.
fn offset(index: u64) -> u16 {
    (match index {
        0..24 => index,
        24..40 => index - 24 + 56,
        _ => index - 40 + 4088,
    }) as u16
}
const OFFSETS: u64 = 48;
/// Announcements are here, each with what says so behind it.
const ANNOUNCED_AT: u16 = 2048;
const RACED_AT: u16 = 3000;
const COUNTERS: u64 = 2;
/// The first flag.
const FLAGS: u32 = 1000;

impl Scripts {
    pub(super) fn of(seed: u64, plan: &Plan) -> Self {
        Writer::new(seed, plan).write()
    }

    /// What is in memory in the end, whoever was fast: the workers of an interval one after the other.
    pub(super) fn outcome(&self, takes_part: impl Fn(usize) -> bool) -> BTreeMap<Spot, u8> {
        let mut bytes = BTreeMap::new();
        let intervals = self.steps.first().map_or(0, Vec::len);
        for interval in 0..intervals {
            let workers = (0..self.steps.len()).filter(|worker| takes_part(*worker));
            for step in workers.flat_map(|worker| &self.steps[worker][interval]) {
                match *step {
                    Step::Store(spot, value) => {
                        bytes.insert(spot, value);
                    }
                    Step::Add(spot, value) => {
                        let byte: &mut u8 = bytes.entry(spot).or_default();
                        *byte = byte.wrapping_add(value);
                    }
                    _ => {}
                }
            }
        }
        bytes
    }
}

struct Writer<'a> {
    plan: &'a Plan,
    random: Random,
    pages: Vec<PageNumber>,
    shares: Vec<Share>,
    announced: u16,
    scripts: Scripts,
    /// Told in this interval: where, by what byte, under which lock.
    announcements: Vec<(Spot, Spot, SyncId)>,
    /// Told in this interval: where, by which flag, by whom.
    flags: Vec<(Spot, SyncId, usize)>,
    /// The same, of the intervals before.
    raised: Vec<(Spot, SyncId, usize)>,
}

impl<'a> Writer<'a> {
    fn new(seed: u64, plan: &'a Plan) -> Self {
        let pages: Vec<PageNumber> = plan.pages().collect();
        Self {
            plan,
            random: Random::new(seed, Purpose::Team(1)),
            shares: vec![Share::Constant; pages.len()],
            pages,
            announced: 0,
            scripts: Scripts {
                steps: vec![Vec::new(); plan.worker_at.len()],
                brings: Vec::new(),
                race: None,
            },
            announcements: Vec::new(),
            flags: Vec::new(),
            raised: Vec::new(),
        }
    }

    fn write(mut self) -> Scripts {
        if self.plan.has_race {
            self.plant();
        }
        for interval in 0..self.plan.intervals {
            self.share_out();
            self.announcements.clear();
            self.raised.append(&mut self.flags);
            for worker in 0..self.plan.worker_at.len() {
                let steps = self.interval(interval, worker);
                self.scripts.steps[worker].push(steps);
            }
            let brings = (0..self.plan.stations).map(|_| {
                let some = self.random.chance(self.plan.brings_percent);
                some.then(|| vec![self.random.below(256) as u8; self.random.below(9) as usize])
            });
            let brings = brings.collect();
            self.scripts.brings.push(brings);
        }
        self.read_all();
        self.scripts
    }

    fn plant(&mut self) {
        let workers = self.plan.worker_at.len() as u64;
        if workers < 2 {
            return;
        }
        let one = self.random.below(workers);
        let other = (one + self.random.within(1..workers)) % workers;
        self.scripts.race = Some(Planted {
            interval: self.random.below(self.plan.intervals as u64) as usize,
            spot: Spot {
                page: self.random.pick(&self.pages),
                at: RACED_AT,
            },
            one: one as usize,
            other: other as usize,
        });
    }

    fn share_out(&mut self) {
        let workers = self.plan.worker_at.len() as u64;
        for share in &mut self.shares {
            let stays = matches!(share, Share::Sole(_)) && self.random.chance(75);
            if stays {
                continue;
            }
            *share = match self.random.chance(self.plan.sole_percent) {
                true => Share::Sole(self.random.below(workers) as usize),
                false if self.random.chance(15) => Share::Constant,
                false => Share::Mixed(self.random.below(64) as usize),
            };
        }
    }

    /// Whether a page has bytes that locks guard, and announcements; such a page has seldom one writer
    /// alone.
    fn is_guarded(page: PageNumber) -> bool {
        page.0.is_multiple_of(3)
    }

    fn role(&self, page: usize, at: u16) -> Role {
        let number = self.pages[page];
        if at % 8 == 7 && Self::is_guarded(number) {
            let lock = (u64::from(number.0) + u64::from(at) / 8) % self.plan.locks;
            return Role::Guarded(SyncId(lock as u32));
        }
        let workers = self.plan.worker_at.len();
        match self.shares[page] {
            Share::Mixed(shift) => match (usize::from(at) + shift) % (workers + 1) {
                owner if owner < workers => Role::Owned(owner),
                _ => Role::Constant,
            },
            Share::Sole(worker) if at.is_multiple_of(2) => Role::Owned(worker),
            _ => Role::Constant,
        }
    }

    /// A byte that is fit for something, near a random one, if there is one in its page.
    fn spot(&mut self, is_fit: impl Fn(Role) -> bool) -> Option<Spot> {
        let page = self.random.below(self.pages.len() as u64) as usize;
        let start = self.random.below(OFFSETS);
        let mut offsets = (0..OFFSETS).map(|index| offset((start + index) % OFFSETS));
        let at = offsets.find(|at| is_fit(self.role(page, *at)))?;
        Some(Spot {
            page: self.pages[page],
            at,
        })
    }

    fn value(&mut self) -> u8 {
        self.random.within(1..256) as u8
    }

    fn interval(&mut self, interval: usize, worker: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let race = self.scripts.race.filter(|race| {
            race.interval == interval && (race.one == worker || race.other == worker)
        });
        for _ in 0..self.random.below(self.plan.phrases + 1) {
            self.phrase(worker, race.is_none(), &mut steps);
        }
        // Whoever has a page alone mostly stores to it, so that it moves.
        for page in 0..self.pages.len() {
            let is_sole = matches!(self.shares[page], Share::Sole(sole) if sole == worker);
            if is_sole && self.random.chance(80) {
                let spot = Spot {
                    page: self.pages[page],
                    at: 2 * self.random.below(12) as u16,
                };
                if self.role(page, spot.at) == Role::Owned(worker) {
                    let value = self.value();
                    steps.push(Step::Store(spot, value));
                }
            }
        }
        if let Some(race) = race {
            let stores = race.one == worker || self.random.chance(50);
            let value = self.value();
            let step = match stores {
                true => Step::Store(race.spot, value),
                false => Step::Load(race.spot),
            };
            steps.insert(self.random.below(steps.len() as u64 + 1) as usize, step);
        }
        steps
    }

    /// Some steps that belong together; without locks unless the worker `synchronises`.
    fn phrase(&mut self, worker: usize, synchronises: bool, steps: &mut Vec<Step>) {
        match self.random.below(100) {
            0..30 => {
                let spot = self.spot(|role| role == Role::Owned(worker));
                let value = self.value();
                steps.extend(spot.map(|spot| Step::Store(spot, value)));
            }
            30..60 => {
                let is_fit = |role| role == Role::Owned(worker) || role == Role::Constant;
                steps.extend(self.spot(is_fit).map(Step::Load));
            }
            60..75 if synchronises => self.critical(steps),
            75..78 if synchronises => self.announce(steps),
            78..81 if synchronises => self.heed(steps),
            81..84 if synchronises => self.raise(worker, steps),
            84..87 if synchronises => self.wait(steps),
            87..90 if synchronises => {
                let counter = SyncId(100 + self.random.below(COUNTERS) as u32);
                steps.push(Step::Count(counter, self.random.within(1..4)));
            }
            90..94 => {
                let region = &self.plan.regions;
                let run = region[self.random.below(region.len() as u64) as usize].run;
                let first = self.random.below(u64::from(run.count)) as u32;
                let count = self.random.within(1..u64::from(run.count - first) + 1) as u32;
                let first = PageNumber(run.first.0 + first);
                steps.push(Step::Prefetch(PageRun::new(first, count)));
            }
            94..97 => {
                let span = self.random.log_within(10..20_000);
                steps.push(Step::Compute(Span::from_micros(span)));
            }
            _ => self.walk(worker, steps),
        }
    }

    /// Additions under a lock, or under two of which the lower one is taken first.
    fn critical(&mut self, steps: &mut Vec<Step>) {
        let mut locks = vec![self.random.below(self.plan.locks) as u32];
        if self.random.chance(30) {
            locks.push(self.random.below(self.plan.locks) as u32);
        }
        locks.sort_unstable();
        locks.dedup();
        for lock in &locks {
            steps.push(Step::Acquire(SyncId(*lock)));
            for _ in 0..self.random.below(3) {
                let spot = self.spot(|role| role == Role::Guarded(SyncId(*lock)));
                let value = self.value();
                steps.extend(spot.map(|spot| Step::Add(spot, value)));
            }
        }
        let releases = locks.iter().rev();
        steps.extend(releases.map(|lock| Step::Release(SyncId(*lock))));
    }

    /// Stores, and says so under a lock.
    fn announce(&mut self, steps: &mut Vec<Step>) {
        let pages = self.pages.iter().copied();
        let pages: Vec<_> = pages.filter(|page| Self::is_guarded(*page)).collect();
        if pages.is_empty() || self.announced >= 200 {
            return;
        }
        let at = ANNOUNCED_AT + 2 * self.announced;
        self.announced += 1;
        let [page, says_so] = [(); 2].map(|()| self.random.pick(&pages));
        let spot = Spot { page, at };
        let says_so = Spot {
            page: says_so,
            at: at + 1,
        };
        let lock = SyncId(self.random.below(self.plan.locks) as u32);
        self.announcements.push((spot, says_so, lock));
        let value = self.value();
        steps.extend([
            Step::Store(spot, value),
            Step::Acquire(lock),
            Step::Store(says_so, 1),
            Step::Release(lock),
        ]);
    }

    /// Stores, and raises a flag.
    fn raise(&mut self, worker: usize, steps: &mut Vec<Step>) {
        if self.announced >= 200 {
            return;
        }
        let at = ANNOUNCED_AT + 2 * self.announced;
        let flag = SyncId(FLAGS + u32::from(self.announced));
        self.announced += 1;
        let page = self.random.pick(&self.pages);
        let spot = Spot { page, at };
        self.flags.push((spot, flag, worker));
        let value = self.value();
        steps.extend([Step::Store(spot, value), Step::Raise(flag)]);
    }

    /// Waits for a flag. Its worker comes before this one or is this one, so that none wait for each
    /// other.
    fn wait(&mut self, steps: &mut Vec<Step>) {
        let is_old = self.flags.is_empty() || self.random.chance(20);
        let flags = if is_old { &self.raised } else { &self.flags };
        if flags.is_empty() {
            return;
        }
        let (spot, flag, worker) = self.random.pick(flags);
        steps.extend([Step::Await(flag, worker), Step::Load(spot)]);
    }

    fn heed(&mut self, steps: &mut Vec<Step>) {
        if self.announcements.is_empty() {
            return;
        }
        let (spot, says_so, lock) = self.random.pick(&self.announcements);
        steps.extend([
            Step::Acquire(lock),
            Step::Ask(says_so),
            Step::Release(lock),
            Step::Heed(spot),
        ]);
    }

    /// Loads from one page after the other.
    fn walk(&mut self, worker: usize, steps: &mut Vec<Step>) {
        for page in 0..self.pages.len() {
            let mut offsets = (0..OFFSETS).map(offset);
            let is_fit = |role| role == Role::Owned(worker) || role == Role::Constant;
            let at = offsets.find(|at| is_fit(self.role(page, *at)));
            steps.extend(at.map(|at| {
                Step::Load(Spot {
                    page: self.pages[page],
                    at,
                })
            }));
        }
    }

    /// In the end the first worker of each station loads whatever anybody stored to.
    fn read_all(&mut self) {
        let spots: BTreeSet<Spot> = self.scripts.outcome(|_| true).into_keys().collect();
        let raced = self.scripts.race.map(|race| race.spot);
        let spots = spots.into_iter().filter(|spot| Some(*spot) != raced);
        let loads: Vec<Step> = spots.map(Step::Load).collect();
        let mut last = None;
        for (worker, station) in self.plan.worker_at.iter().enumerate() {
            let is_first = last != Some(*station);
            last = Some(*station);
            let steps = if is_first { loads.clone() } else { Vec::new() };
            self.scripts.steps[worker].push(steps);
        }
        self.scripts.brings.push(vec![None; self.plan.stations]);
    }
}
