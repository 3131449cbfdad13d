//! Model 2: a miss is served as of the snapshot of the transaction that has it.
//!
//! A writer changes two pages in each commit, to the same value. A reader reads one page and then
//! the other, and has neither when it begins: between its two misses the writer goes on, deltas and
//! pages cross on the way, and the history keeps a single commit, so that the reader's snapshot may
//! be gone. Whatever it reads must be of its one snapshot, in attempts too that are given up.

use plurix_protocol::leader::Durability;

use crate::check::{Reach, check, refute};
use crate::cluster::{Bounds, Setup, Wrong};
use crate::memory::{Cell, Missing, Tx};
use crate::process::{How, Program, Wish};

const ONE: Cell = Cell::new(0, 0);
const OTHER: Cell = Cell::new(1, 0);

/// Either of the two programs.
#[derive(Debug, Clone, Hash)]
enum Role {
    /// Has so many commits to make.
    Writer(u64),
    /// Has so many looks to take.
    Reader(u64),
}

impl Program for Role {
    type Told = ();

    fn wish(&self) -> Wish {
        match self {
            Self::Writer(0) | Self::Reader(0) => Wish::Nothing,
            _ => Wish::Transaction,
        }
    }

    fn evicts(&self) -> bool {
        matches!(self, Self::Reader(_))
    }

    fn body(&self, tx: &mut Tx<'_>) -> Result<(), Missing> {
        match self {
            Self::Writer(left) => {
                tx.blind(ONE, *left)?;
                tx.blind(OTHER, *left)
            }
            Self::Reader(_) => {
                tx.read(ONE)?;
                tx.read(OTHER).map(drop)
            }
        }
    }

    fn ended(&mut self, how: How, _: Option<()>) {
        let (Self::Writer(left) | Self::Reader(left)) = self;
        if !matches!(how, How::Again | How::Lost) {
            *left -= 1;
        }
    }

    fn successor(&self) -> Self {
        self.clone()
    }
}

/// Both are members, and no program hurries.
fn setup(durability: Durability, commits: u64, looks: u64, bounds: Bounds) -> Setup<Role> {
    let programs = vec![Role::Writer(commits), Role::Reader(looks)];
    let mut setup = Setup {
        joined: true,
        bounds,
        ..Setup::new(durability, programs)
    };
    // The newest commit is kept whatever its size.
    setup.leader.history_bytes_max = 1;
    setup
}

/// Every delta collapses at once, and a batch holds one item.
fn slow(mut setup: Setup<Role>) -> Setup<Role> {
    setup.leader.backlog_bytes_max = 0;
    setup.leader.batch_bytes = 1;
    setup
}

const NONE: Bounds = Bounds::NONE;
const LOSS: Bounds = Bounds { losses: 1, ..NONE };

#[test]
fn pages_are_evicted_and_fetched_again() {
    let setup = setup(Durability::Memory, 3, 2, NONE);
    check("snapshot, refetch", setup, &[Reach::TooOld]);
}

#[test]
fn backlog_collapses() {
    let setup = slow(setup(Durability::Memory, 3, 2, NONE));
    let reached = [Reach::Lines, Reach::Parts, Reach::TooOld];
    check("snapshot, collapse", setup, &reached);
}

#[test]
fn backlog_collapses_while_commits_wait_for_the_disk() {
    let bounds = Bounds { stalls: 1, ..NONE };
    let setup = slow(setup(Durability::Durable, 3, 1, bounds));
    check("snapshot, collapse, durable", setup, &[Reach::Parts]);
}

/// Commits happen between the batches of a group, which ends all the same.
#[test]
fn backlog_collapses_behind_a_narrow_link() {
    let setup = Setup {
        narrow: true,
        ..slow(setup(Durability::Memory, 3, 2, NONE))
    };
    let reached = [Reach::Lines, Reach::Parts, Reach::Frozen, Reach::TooOld];
    check("snapshot, collapse, narrow link", setup, &reached);
}

#[test]
#[ignore = "minutes; cargo xtask model runs it"]
fn connection_is_lost() {
    let setup = Setup {
        hasty: true,
        ..setup(Durability::Memory, 2, 1, LOSS)
    };
    check("snapshot, loss", setup, &[Reach::Lines, Reach::TooOld]);
}

#[test]
#[ignore = "minutes; cargo xtask model runs it"]
fn connection_is_lost_under_a_collapsed_backlog() {
    let setup = Setup {
        hasty: true,
        ..slow(setup(Durability::Memory, 2, 2, LOSS))
    };
    let reached = [Reach::Lines, Reach::Parts, Reach::TooOld];
    check("snapshot, collapse, loss", setup, &reached);
}

#[test]
#[ignore = "minutes; cargo xtask model runs it"]
fn connection_is_lost_behind_a_narrow_link() {
    let setup = Setup {
        hasty: true,
        narrow: true,
        ..slow(setup(Durability::Memory, 3, 1, LOSS))
    };
    let reached = [Reach::Lines, Reach::Parts, Reach::Frozen, Reach::TooOld];
    check("snapshot, collapse, narrow link, loss", setup, &reached);
}

#[test]
#[ignore = "minutes; cargo xtask model runs it"]
fn power_is_cut_under_a_collapsed_backlog() {
    let bounds = Bounds {
        leader_crashes: 1,
        ..NONE
    };
    let setup = Setup {
        hasty: true,
        ..slow(setup(Durability::Durable, 2, 1, bounds))
    };
    let reached = [Reach::Lines, Reach::Parts];
    check("snapshot, collapse, power cut", setup, &reached);
}

#[test]
fn a_page_newer_than_it_says_is_found() {
    let setup = Setup {
        wrong: Some(Wrong::ServesNewer),
        ..setup(Durability::Memory, 2, 1, NONE)
    };
    let rule = "every read of an attempt is of its one snapshot";
    refute("snapshot, newer page", &setup, rule);
}
