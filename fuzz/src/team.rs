//! A member of a team among peers of which none keeps to the rules: whatever they send, it answers or says
//! which of them is at fault, and its memory is never asked for what makes no sense.

use bytes::Bytes;
use plurix_memory::{Mechanism, View};
use plurix_protocol::team::{Access, Boundary, Command, Member, Placement, Region, Settings};
use plurix_wire::diff::DiffsBuilder;
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Arrive, Changes, Cut, Home, Pages, Release, ToPeer, Written};
use plurix_wire::message::recovery_line::{Basis, Marks};
use plurix_wire::{CommitNumber, Interval, LINE_BYTES, PAGE_BYTES, PageNumber, Rank, SyncId};

use crate::input::Input;

/// Members of the team.
const SIZE: u16 = 3;
/// Pages of its two regions, which stand side by side, from this one on.
const FIRST: u32 = 4;
const PAGES: [u32; 2] = [6, 5];
/// What lines add to.
const BASIS: Basis = Basis::Changed(CommitNumber(0));
/// The longest history.
const STEPS_MAX: usize = 200;

/// What is fed, and what it has asked for since.
struct Scene<'a> {
    input: Input<'a>,
    member: Member,
    view: View,
    /// Locks that its program has.
    locked: Vec<SyncId>,
    is_at_barrier: bool,
    /// Asked of a recovery line.
    loads: Vec<PageRun>,
    /// The cut that is to be handed over.
    cut: Option<Cut>,
}

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let rank = Rank(input.below(usize::from(SIZE)) as u16);
    let settings = Settings {
        read_ahead: 4,
        change_bytes: 100,
        under_way: 3,
    };
    let mut member = Member::new(rank, SIZE, settings);
    if input.rarely(3) {
        member.go_on_from(Marks::default());
    }
    let mut first = PageNumber(FIRST);
    for count in PAGES {
        let placement = [
            Placement::FirstTouch,
            Placement::Block,
            Placement::Cyclic(2),
        ];
        let region = Region {
            run: PageRun { first, count },
            unit: 1 << input.below(3),
            placement: placement[input.below(3)],
        };
        assert!(member.add_region(region), "they do not overlap");
        first.0 += count;
    }
    let bytes = u64::from(first.0 + 2) * PAGE_BYTES as u64;
    let view = View::reserve(bytes, Some(Mechanism::Emulated)).expect("there is memory");
    let mut scene = Scene {
        input,
        member,
        view,
        locked: Vec::new(),
        is_at_barrier: false,
        loads: Vec::new(),
        cut: None,
    };
    for _ in 0..STEPS_MAX {
        if scene.input.is_over() || !scene.step() {
            break;
        }
        while let Some(command) = scene.member.poll() {
            match command {
                Command::Open => {
                    let before = scene.member.interval();
                    if scene.member.open_barrier(&mut scene.view).is_err() {
                        return;
                    }
                    scene.is_at_barrier &= scene.member.interval() == before;
                }
                Command::Tell(to, _) => {
                    assert!(to != rank && to.0 < SIZE, "it speaks with its peers");
                }
                Command::Load(run) => scene.loads.push(run),
                Command::Cut { cut, .. } => scene.cut = Some(cut),
            }
        }
    }
}

impl Scene<'_> {
    /// Does one thing; answers whether the team goes on.
    fn step(&mut self) -> bool {
        if self.input.byte().is_multiple_of(3) {
            return self.compute();
        }
        let from = (self.member.rank().0 + 1 + self.input.below(2) as u16) % SIZE;
        let before = self.member.interval();
        let message = self.message();
        let taken = self.member.handle(Rank(from), message, &mut self.view);
        if self.member.interval() > before {
            self.is_at_barrier = false;
        }
        taken.is_ok()
    }

    /// What the station's own program does, which keeps to the rules.
    fn compute(&mut self) -> bool {
        let (member, view) = (&mut self.member, &mut self.view);
        let page = PageNumber(FIRST + self.input.below(11) as u32);
        let id = SyncId(self.input.below(2) as u32);
        let (what, before) = (self.input.below(10), member.interval());
        let done = match what {
            8 => return self.load(),
            9 => return self.collect(),
            // Whoever waits at a barrier does nothing else.
            _ if self.is_at_barrier => return true,
            0 => member.access(page, Access::Read, view).map(drop),
            1 => member.access(page, Access::Write, view).map(drop),
            2 if self.locked.is_empty() => {
                self.is_at_barrier = true;
                let boundary = match self.input.below(3) {
                    0 => Boundary::Within,
                    1 => Boundary::Phase,
                    _ => Boundary::Cut(BASIS),
                };
                member.arrive(self.input.rarely(3).then(|| vec![1]), boundary, view)
            }
            3 if !self.locked.contains(&id) => member.acquire(id, view).map(|has| {
                if has {
                    self.locked.push(id);
                }
            }),
            4 => match self.locked.pop() {
                Some(id) => member.unlock(id, view),
                None => Ok(()),
            },
            5 => member.raise(id, 1, view),
            6 => member.is_raised(id, 1, view).map(drop),
            _ => {
                member.prefetch(PageRun::new(page, 3));
                member.add(id, 1, view).map(drop)
            }
        };
        if member.interval() > before {
            self.is_at_barrier = false;
        }
        done.is_ok()
    }

    /// Pages of a recovery line come, those that were asked for or others.
    fn load(&mut self) -> bool {
        let run = match self.loads.pop() {
            Some(run) if !self.input.rarely(4) => run,
            _ => PageRun::new(PageNumber(FIRST + self.input.below(11) as u32), 1),
        };
        let bytes = match self.input.rarely(3) {
            true => Bytes::new(),
            false => vec![self.input.byte(); run.count as usize * PAGE_BYTES].into(),
        };
        let before = self.member.interval();
        let loaded = self.member.loaded(&Pages { run, bytes }, &mut self.view);
        if self.member.interval() > before {
            self.is_at_barrier = false;
        }
        loaded.is_ok()
    }

    /// Hands over some pages of the last cut, each of which is weak.
    fn collect(&mut self) -> bool {
        if let Some(cut) = self.cut {
            let most = 1 + self.input.below(4);
            let (pages, _) = self
                .member
                .collect(cut, most, &self.view)
                .expect("there was no later one");
            let is_weak = |page: PageNumber| (FIRST..FIRST + 11).contains(&page.0);
            for pages in pages {
                assert!(pages.run.pages().all(is_weak));
                assert_eq!(pages.bytes.len(), pages.run.count as usize * PAGE_BYTES);
            }
        }
        true
    }

    fn run(&mut self) -> PageRun {
        let first = u64::from(FIRST) + self.input.below(12) as u64;
        let first = self.input.near(first) as u32;
        let count = 1 + self.input.below(4) as u64;
        PageRun::new(PageNumber(first), self.input.near(count) as u32)
    }

    fn runs(&mut self) -> Vec<PageRun> {
        (0..self.input.below(3)).map(|_| self.run()).collect()
    }

    fn rank(&mut self) -> Rank {
        let rank = self.input.below(usize::from(SIZE)) as u64;
        Rank(self.input.near(rank) as u16)
    }

    fn homes(&mut self) -> Vec<Home> {
        let home = |scene: &mut Self| Home {
            run: scene.run(),
            rank: scene.rank(),
        };
        (0..self.input.below(3)).map(|_| home(self)).collect()
    }

    fn interval(&mut self) -> Interval {
        let now = self.member.interval().0;
        Interval(self.input.near(now))
    }

    fn counts(&mut self) -> Vec<u64> {
        let len = self.input.near(u64::from(SIZE)).min(5);
        (0..len).map(|_| self.input.below(3) as u64).collect()
    }

    fn message(&mut self) -> ToPeer {
        let (lock, value) = (
            SyncId(self.input.below(2) as u32),
            self.input.below(3) as u64,
        );
        match self.input.below(19) {
            0 => ToPeer::Claim { run: self.run() },
            1 => ToPeer::Claimed(self.homes()),
            2 => ToPeer::Fetch {
                interval: self.interval(),
                run: self.run(),
            },
            3 => self.pages(),
            4 => self.changes(),
            5 => ToPeer::Applied(value),
            6 => ToPeer::Arrive(Arrive {
                interval: self.interval(),
                written: self.runs(),
                wanted: self.runs(),
                sent: self.counts(),
                brings: self.input.rarely(3).then(|| vec![1, 2]),
                may_cut: true,
                cut: self.input.rarely(3).then_some(BASIS),
            }),
            7 => self.release(),
            8 => ToPeer::Acquire(lock),
            9 => ToPeer::Revoke(lock),
            10 => ToPeer::HandBack {
                lock,
                written: self.runs(),
            },
            11 => ToPeer::Grant {
                lock,
                written: self.runs(),
            },
            12 => ToPeer::Raise {
                flag: lock,
                value,
                written: self.runs(),
            },
            13 => ToPeer::Await {
                flag: lock,
                least: value,
            },
            14 => ToPeer::Raised {
                flag: lock,
                value,
                written: self.runs(),
            },
            15 => ToPeer::Add {
                counter: lock,
                value,
            },
            16 => ToPeer::Added {
                counter: lock,
                before: value,
            },
            17 => ToPeer::Leave,
            _ => ToPeer::GiveUp,
        }
    }

    /// As many bytes as there are pages, or none, which decoding has checked.
    fn pages(&mut self) -> ToPeer {
        let mut run = self.run();
        run.count = run.count.min(4);
        let bytes = match self.input.rarely(4) {
            true => Bytes::new(),
            false => vec![self.input.byte(); run.count as usize * PAGE_BYTES].into(),
        };
        ToPeer::Pages(Pages { run, bytes })
    }

    fn changes(&mut self) -> ToPeer {
        let mut builder = DiffsBuilder::new();
        let mut page = FIRST + self.input.below(11) as u32;
        for _ in 0..self.input.below(3) {
            let mask = self.input.word() | 1;
            builder.push_line(
                PageNumber(page),
                self.input.below(64),
                mask,
                &[9; LINE_BYTES],
            );
            page += 1 + self.input.below(3) as u32;
        }
        ToPeer::Changes(Changes {
            interval: self.interval(),
            diffs: builder.finish(),
        })
    }

    fn release(&mut self) -> ToPeer {
        let written = self
            .runs()
            .into_iter()
            .map(|run| (run, self.input.rarely(2)));
        let written: Vec<_> = written.collect();
        let written = written.into_iter().map(|(run, has_sole)| Written {
            run,
            sole: has_sole.then(|| self.rank()),
        });
        let written = written.collect();
        ToPeer::Release(Release {
            interval: self.interval(),
            written,
            moved: self.homes(),
            expected: self.counts(),
            brought: vec![Some(vec![1])],
            cut: self.input.rarely(3).then_some(Cut {
                ordinal: 1,
                basis: BASIS,
            }),
        })
    }
}

pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let ascending: Vec<u8> = (0..=255).collect();
    vec![
        ("computes", vec![0; 64]),
        ("mixed", ascending.repeat(2)),
        ("hostile", [1, 2, 0, 7, 4, 6].repeat(40)),
    ]
}
