//! Model 1: joins, leaves, deaths and restarts while commits are under way and answers get lost.
//!
//! Two stations do what their scripts say, most of all increment one register. An increment reads
//! what it overwrites, so one that happens twice, or is lost, shows in the register.

use plurix_protocol::leader::Durability;

use crate::check::{Reach, check, refute};
use crate::cluster::{Bounds, Setup, Wrong};
use crate::log::Log;
use crate::memory::{Cell, Missing, Tx};
use crate::process::{How, Program, Wish};

const REGISTER: Cell = Cell::new(0, 0);
const OTHER: Cell = Cell::new(0, 1);

/// One entry of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Task {
    Increment,
    /// Reads both registers.
    Look,
    Leave,
}

/// A program that does its tasks in order.
#[derive(Debug, Clone, Hash)]
struct Worker {
    tasks: &'static [Task],
    committed: u64,
    /// Increments of which nobody learnt whether they happened.
    unknown: u64,
}

impl Worker {
    fn new(tasks: &'static [Task]) -> Self {
        Self {
            tasks,
            committed: 0,
            unknown: 0,
        }
    }

    fn finish_task(&mut self) {
        self.tasks = &self.tasks[1..];
    }
}

impl Program for Worker {
    type Told = ();

    fn wish(&self) -> Wish {
        match self.tasks.first() {
            None => Wish::Nothing,
            Some(Task::Leave) => Wish::Leave,
            Some(Task::Increment | Task::Look) => Wish::Transaction,
        }
    }

    fn body(&self, tx: &mut Tx<'_>) -> Result<(), Missing> {
        let value = tx.read(REGISTER)?;
        if self.tasks.first() == Some(&Task::Increment) {
            tx.write(REGISTER, value + 1)
        } else {
            tx.read(OTHER).map(drop)
        }
    }

    fn ended(&mut self, how: How, _: Option<()>) {
        match how {
            How::Again | How::Lost => return,
            How::OnlyRead => {}
            How::Committed => self.committed += 1,
            How::Unknown => self.unknown += 1,
        }
        self.finish_task();
    }

    fn successor(&self) -> Self {
        let mut next = self.clone();
        if next.tasks.first() == Some(&Task::Increment) {
            next.unknown += 1;
            next.finish_task();
        }
        next
    }
}

/// Every increment that was answered is in the register once, and none twice.
fn each_once(log: &Log, workers: &[Worker]) -> bool {
    let value = log.value(REGISTER, log.number());
    let committed: u64 = workers.iter().map(|worker| worker.committed).sum();
    let unknown: u64 = workers.iter().map(|worker| worker.unknown).sum();
    (committed..=committed + unknown).contains(&value)
}

/// Both stations are members, and the programs act at once.
fn setup(durability: Durability, scripts: &[&'static [Task]], bounds: Bounds) -> Setup<Worker> {
    let workers = scripts.iter().map(|tasks| Worker::new(tasks)).collect();
    Setup {
        goal: each_once,
        hasty: true,
        joined: true,
        bounds,
        ..Setup::new(durability, workers)
    }
}

const ONE: &[Task] = &[Task::Increment];
const LOOK: &[Task] = &[Task::Look];
const ONE_AND_LOOK: &[Task] = &[Task::Increment, Task::Look];
const ONE_AND_LEAVE: &[Task] = &[Task::Increment, Task::Leave];

const NONE: Bounds = Bounds::NONE;
const RESTART: Bounds = Bounds {
    leader_crashes: 1,
    ..NONE
};
const LOSS: Bounds = Bounds { losses: 1, ..NONE };
const DEATH: Bounds = Bounds {
    station_crashes: 1,
    ..NONE
};
const SILENCE: Bounds = Bounds {
    silences: 1,
    ..NONE
};

#[test]
fn joining() {
    let setup = Setup {
        joined: false,
        ..setup(Durability::Memory, &[ONE, LOOK], NONE)
    };
    check("membership, join", setup, &[]);
}

#[test]
fn restart_of_the_page_server() {
    let setup = setup(Durability::Memory, &[ONE, ONE], RESTART);
    check("membership, restart", setup, &[Reach::Refused]);
}

#[test]
fn lost_connection() {
    let setup = setup(Durability::Memory, &[ONE, ONE], LOSS);
    check("membership, loss", setup, &[Reach::Refused]);
}

#[test]
#[ignore = "minutes; cargo xtask model runs it"]
fn power_cut() {
    let setup = setup(Durability::Durable, &[ONE, ONE], RESTART);
    check("membership, power cut", setup, &[Reach::Refused]);
}

#[test]
fn death_of_a_station() {
    for (name, numbered, local) in [
        ("membership, death", false, false),
        ("membership, death, successor", true, false),
        ("membership, death on one host, successor", true, true),
    ] {
        let setup = Setup {
            numbered,
            local,
            ..setup(Durability::Memory, &[ONE, ONE], DEATH)
        };
        check(name, setup, &[Reach::Refused]);
    }
}

#[test]
fn silent_station() {
    let setup = setup(Durability::Memory, &[ONE, ONE], SILENCE);
    let reached = [Reach::Refused, Reach::Unknown];
    check("membership, silence", setup, &reached);
}

#[test]
fn leaving_in_order() {
    let setup = setup(Durability::Memory, &[ONE_AND_LEAVE, LOOK], LOSS);
    check("membership, leave", setup, &[]);
}

#[test]
#[ignore = "minutes; cargo xtask model runs it"]
fn hesitating_programs() {
    let setup = Setup {
        hasty: false,
        ..setup(Durability::Memory, &[ONE_AND_LOOK, ONE], SILENCE)
    };
    let reached = [Reach::Refused, Reach::Unknown];
    check("membership, hesitating, silence", setup, &reached);
}

#[test]
fn a_driver_that_answers_before_the_log_is_found() {
    let setup = Setup {
        wrong: Some(Wrong::AnswersEarly),
        ..setup(Durability::Durable, &[ONE], RESTART)
    };
    let rule = "nothing is revealed before it is logged as promised";
    refute("membership, early answer", &setup, rule);
}

#[test]
fn a_leader_that_forgets_outcomes_is_found() {
    let setup = Setup {
        wrong: Some(Wrong::ForgetsOutcomes),
        ..setup(Durability::Memory, &[ONE], RESTART)
    };
    let rule = "an answer says what the log says, now and ever after";
    refute("membership, forgotten outcomes", &setup, rule);
}
