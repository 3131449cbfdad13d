//! Model 3: an activity is claimed, run and completed, and its effect is in the heap exactly once,
//! however many stations die or are taken for dead.
//!
//! ```text
//!   look --pending--> claim --> complete (only if the claim still holds) --> look
//!    |  \\--claimed by the dead--> free --> look
//!    |  \\--claimed by the living--> wait for news, look
//!    done
//! ```
//!
//! The library's queue (`crates/plurix/src/activity`) is lists in the heap, which would be far too
//! large to enumerate. What stands here is its rule, transaction by transaction, for one activity:
//! a claim names the incarnation; the transaction that completes the activity checks the claim; a
//! claim by somebody who is dead as of the snapshot is freed by whoever finds it.

use plurix_protocol::Span;
use plurix_protocol::leader::Durability;
use plurix_wire::Incarnation;

use crate::check::{Reach, check, refute};
use crate::cluster::{Bounds, Setup};
use crate::log::Log;
use crate::memory::{Cell, Missing, Tx};
use crate::process::{How, Program, Wish};

/// Zero while the activity is pending, the incarnation that claimed it, or [`COMPLETED`].
const CLAIM: Cell = Cell::new(0, 0);
/// How often its effect is in the heap.
const EFFECT: Cell = Cell::new(0, 1);
const PENDING: u64 = 0;
const COMPLETED: u64 = u64::MAX;

/// What a station runs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Next {
    Look,
    Wait,
    Claim,
    Complete(Incarnation),
    Free,
    Done,
}

/// A station that serves activities.
#[derive(Debug, Clone, Hash)]
struct Server {
    next: Next,
    /// It checks its claim when it completes the activity, as it should.
    checks: bool,
}

impl Program for Server {
    /// What follows if the transaction holds.
    type Told = Next;

    fn wish(&self) -> Wish {
        match self.next {
            Next::Wait => Wish::News,
            Next::Done => Wish::Nothing,
            _ => Wish::Transaction,
        }
    }

    fn body(&self, tx: &mut Tx<'_>) -> Result<Next, Missing> {
        let claim = tx.read(CLAIM)?;
        Ok(match self.next {
            Next::Look | Next::Wait | Next::Done => match claim {
                PENDING => Next::Claim,
                COMPLETED => Next::Done,
                life if tx.is_alive(Incarnation(life)) => Next::Wait,
                _ => Next::Free,
            },
            Next::Claim if claim == PENDING => {
                tx.write(CLAIM, tx.own().0)?;
                Next::Complete(tx.own())
            }
            Next::Free if !matches!(claim, PENDING | COMPLETED) => {
                if !tx.is_alive(Incarnation(claim)) {
                    tx.write(CLAIM, PENDING)?;
                }
                Next::Look
            }
            Next::Claim | Next::Free => Next::Look,
            Next::Complete(life) => {
                if !self.checks || (claim == life.0 && tx.own() == life) {
                    let effect = tx.read(EFFECT)?;
                    tx.write(EFFECT, effect + 1)?;
                    tx.write(CLAIM, COMPLETED)?;
                }
                Next::Look
            }
        })
    }

    fn ended(&mut self, how: How, told: Option<Next>) {
        self.next = match (how, told) {
            (How::OnlyRead | How::Committed, Some(next)) => next,
            // The library runs a transaction again that the end of a life has stopped.
            (How::Again | How::Lost, _) => self.next,
            // It goes back to look; a claim that it may have made is that of a dead one.
            (How::Unknown, _) | (_, None) => Next::Look,
        };
    }

    fn successor(&self) -> Self {
        Self {
            next: Next::Look,
            ..*self
        }
    }
}

fn once(log: &Log, _: &[Server]) -> bool {
    let end = log.number();
    (log.value(CLAIM, end), log.value(EFFECT, end)) == (COMPLETED, 1)
}

/// Two servers that are members, act at once, and are told of changes without delay.
fn setup(durability: Durability, bounds: Bounds) -> Setup<Server> {
    let server = Server {
        next: Next::Look,
        checks: true,
    };
    let mut setup = Setup {
        bounds,
        goal: once,
        joined: true,
        hasty: true,
        ..Setup::new(durability, vec![server.clone(), server])
    };
    setup.leader.stream_delay = Span(0);
    setup
}

const NONE: Bounds = Bounds::NONE;
const SILENCE: Bounds = Bounds {
    silences: 1,
    ..NONE
};

const DEATH: Bounds = Bounds {
    station_crashes: 1,
    ..NONE
};

#[test]
#[ignore = "minutes; cargo xtask model runs it"]
fn one_death() {
    let setup = setup(Durability::Memory, DEATH);
    check("claims, death", setup, &[Reach::Refused]);
}

#[test]
fn taken_for_dead() {
    let setup = setup(Durability::Memory, SILENCE);
    check("claims, silence", setup, &[Reach::Refused, Reach::Unknown]);
}

#[test]
#[ignore = "minutes; cargo xtask model runs it"]
fn power_cut() {
    let bounds = Bounds {
        leader_crashes: 1,
        ..NONE
    };
    let setup = setup(Durability::Durable, bounds);
    check("claims, power cut", setup, &[Reach::Refused]);
}

#[test]
fn completing_without_the_claim_is_found() {
    let mut setup = setup(Durability::Memory, SILENCE);
    setup
        .programs
        .iter_mut()
        .for_each(|server| server.checks = false);
    let rule = "the heap holds in the end what the programs did";
    refute("claims, unchecked", &setup, rule);
}
