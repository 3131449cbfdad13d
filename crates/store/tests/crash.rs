//! Kills and power cuts, at every step of a run and in every mixture: what was promised is there
//! afterwards, in order, and nothing else is.

mod common;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use common::{Error, Led, commit, fill, lead, led, left, mix, options};
use plurix_store::Durability::{self, Durable, Memory};
use plurix_store::simulated::{Granularity, Machine, SimulatedDisk};
use plurix_store::{AppendError, Store};
use plurix_wire::record::{Body, Record};
use plurix_wire::{Generation, WriteSet};
use proptest::prelude::*;

/// What a run did before it died.
#[derive(Default)]
struct Done {
    /// Every record given to the store, the last one perhaps in vain.
    records: Vec<Record>,
    /// How many of them were appended for certain.
    appended: usize,
    /// How many of them were on disk for certain.
    promised: usize,
}

/// Opens, writes over three segments with a sync now and then, and closes in order.
fn run(machine: &Machine, durability: Durability) -> Done {
    let mut done = Done::default();
    let Ok(Led { mut store, .. }) = lead(machine.disk(), options(durability, 1)) else {
        return done;
    };
    machine.set_sync_polls(2);
    let mut begun = None;
    done.records.push(Record {
        stamp: store.last(),
        body: Body::Term,
    });
    done.appended = usize::from(!machine.is_dead());
    for round in 0..40_u8 {
        store.maintain(Duration::ZERO);
        let record = match round % 5 {
            0 => left(store.last()),
            _ => commit(store.last(), 100 + usize::from(round) * 16, round + 1),
        };
        done.records.push(record.clone());
        if store.control_room() < record.encoded_bytes() as u64 {
            assert!(machine.is_dead(), "only a dead process finds no room");
            return done;
        }
        store.append(&record).expect("a store cannot fail");
        if machine.is_dead() {
            return done;
        }
        done.appended = done.records.len();
        if round % 5 == 3 {
            begun = match store.start_sync() {
                Ok(()) => begun.or(Some(done.appended)),
                Err(_) => return done,
            };
        }
        match store.poll_sync() {
            Some(Ok(_)) => done.promised = done.promised.max(begun.take().expect("one was begun")),
            Some(Err(_)) => return done,
            None => {}
        }
        if round % 13 == 12 {
            match store.sync() {
                Ok(_) => done.promised = done.records.len(),
                Err(_) => return done,
            }
        }
    }
    done.records.push(Record {
        stamp: store.last(),
        body: Body::Clean,
    });
    if store.close_clean().is_ok() {
        (done.appended, done.promised) = (done.records.len(), done.records.len());
    }
    done
}

fn steps_of_a_whole_run(durability: Durability) -> u64 {
    let machine = Machine::new();
    let done = run(&machine, durability);
    assert_eq!(done.promised, 42);
    assert!(
        machine.names().len() > 3,
        "the run spans segments: {:?}",
        machine.names()
    );
    machine.steps()
}

#[test]
fn a_kill_at_any_step_loses_and_tears_nothing() {
    for durability in [Memory, Durable] {
        for step in 0..steps_of_a_whole_run(durability) {
            let machine = Machine::new();
            machine.kill_after(step);
            let done = run(&machine, durability);
            machine.kill();
            let Led {
                recovered, records, ..
            } = led(&machine, durability, 1);
            let count = records.len();
            assert!(
                (done.appended..=done.appended + 1).contains(&count),
                "step {step}: {count}"
            );
            // Before the first record, the term may be in doubt.
            if !done.records.is_empty() {
                assert_eq!(records, done.records[..count], "step {step}");
            }
            assert!(recovered.torn.is_none() && recovered.new_generation.is_none());
        }
    }
}

#[test]
fn a_power_cut_at_any_step_keeps_what_was_synced() {
    for (durability, granularity) in [
        (Memory, Granularity::Word),
        (Durable, Granularity::Word),
        (Durable, Granularity::Block),
    ] {
        let mut torn = 0;
        for step in 0..steps_of_a_whole_run(durability) {
            let machine = Machine::new();
            machine.kill_after(step);
            let done = run(&machine, durability);
            machine.power_cut(granularity, |_, at| mix(step, at).is_multiple_of(2));
            let Led {
                recovered, records, ..
            } = led(&machine, durability, 2);
            assert!(records.len() >= done.promised, "step {step}: {recovered:?}");
            if !done.records.is_empty() {
                assert!(
                    records.len() <= done.records.len(),
                    "step {step}: {recovered:?}"
                );
                assert_eq!(records, done.records[..records.len()], "step {step}");
            }
            let lost = records.len() < done.appended;
            match durability {
                Memory if lost => assert!(recovered.new_generation.is_some(), "step {step}"),
                Memory => {}
                Durable => assert_eq!(recovered.new_generation, None, "step {step}"),
            }
            torn += usize::from(recovered.torn.is_some());
        }
        assert!(torn > 10, "the cuts tear something: {torn}");
    }
}

/// One thing that happens to a page server.
#[derive(Debug, Clone)]
enum Event {
    Commit(usize),
    Left,
    Sync,
    StartSync,
    PollSync,
    Maintain,
    Kill,
    CloseClean,
    /// Half-way through the recovery there may be another one, after so many steps.
    PowerCut {
        granularity: Granularity,
        seed: u64,
        again_after: Option<u64>,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let granularity = prop_oneof![Just(Granularity::Block), Just(Granularity::Word)];
    let again_after = proptest::option::of(0..12_u64);
    let power_cut =
        (granularity, any::<u64>(), again_after).prop_map(|(granularity, seed, again_after)| {
            Event::PowerCut {
                granularity,
                seed,
                again_after,
            }
        });
    prop_oneof![
        12 => (1..1500_usize).prop_map(Event::Commit),
        2 => Just(Event::Left),
        4 => Just(Event::Sync),
        4 => Just(Event::StartSync),
        8 => Just(Event::PollSync),
        6 => Just(Event::Maintain),
        1 => Just(Event::Kill),
        1 => Just(Event::CloseClean),
        2 => power_cut,
    ]
}

/// What must be true of a store, kept in plain lists.
struct Model {
    machine: Machine,
    durability: Durability,
    boot: u8,
    store: Option<Store<SimulatedDisk>>,
    records: Vec<Record>,
    promised: usize,
    /// How much the sync in the background covers, and the one that is to follow it.
    syncing: VecDeque<usize>,
    /// What was ever answered under a generation and a number.
    answered: BTreeMap<(Generation, u64), WriteSet>,
}

impl Model {
    fn new(durability: Durability) -> Self {
        let mut model = Self {
            machine: Machine::new(),
            durability,
            boot: 1,
            store: None,
            records: Vec::new(),
            promised: 0,
            syncing: VecDeque::new(),
            answered: BTreeMap::new(),
        };
        model.reopen(true);
        model
    }

    fn step(&mut self, event: &Event) {
        let store = self.store.as_mut().expect("reopened after each crash");
        match *event {
            Event::Commit(length) => {
                let record = commit(store.last(), length, self.records.len() as u8);
                if record.encoded_bytes() as u64 <= store.room() {
                    self.append(record);
                }
            }
            Event::Left => {
                let record = left(store.last());
                self.append(record);
            }
            Event::Sync => {
                assert_eq!(
                    store.sync().expect("the disk is sound"),
                    store.last().number
                );
                self.promised = self.records.len();
                self.answer();
            }
            Event::StartSync => {
                store.start_sync().expect("the disk is sound");
                self.syncing.truncate(1);
                self.syncing.push_back(self.records.len());
            }
            Event::PollSync => {
                if let Some(synced) = store.poll_sync() {
                    let synced = synced.expect("the disk is sound");
                    assert_eq!(synced, store.synced());
                    let covered = self.syncing.pop_front().expect("one was begun");
                    self.promised = self.promised.max(covered);
                    // The next one begins only now, and covers what was appended meanwhile.
                    self.syncing
                        .iter_mut()
                        .for_each(|next| *next = self.records.len());
                    self.answer_through(self.promised);
                }
            }
            Event::Maintain => drop(store.maintain(Duration::ZERO).clone()),
            Event::Kill => {
                self.store = None;
                self.machine.kill();
                self.reopen(true);
            }
            Event::CloseClean => {
                let stamp = store.last();
                let store = self.store.take().expect("it was there");
                store.close_clean().expect("the disk is sound");
                self.records.push(Record {
                    stamp,
                    body: Body::Clean,
                });
                self.promised = self.records.len();
                self.answer();
                self.boot += 1;
                self.reopen(true);
            }
            Event::PowerCut {
                granularity,
                seed,
                again_after,
            } => {
                self.power_cut(granularity, seed);
                if let Some(steps) = again_after {
                    self.machine.kill_after(steps);
                    drop(lead(
                        self.machine.disk(),
                        options(self.durability, self.boot),
                    ));
                    self.power_cut(granularity, !seed);
                }
                self.reopen(false);
            }
        }
    }

    fn append(&mut self, record: Record) {
        let store = self.store.as_mut().expect("it is open");
        store.append(&record).expect("there is room");
        self.records.push(record);
        if self.durability == Memory {
            self.answer();
        }
    }

    fn power_cut(&mut self, granularity: Granularity, seed: u64) {
        self.store = None;
        self.machine
            .power_cut(granularity, |_, at| mix(seed, at).is_multiple_of(3));
        self.boot += 1;
    }

    fn answer(&mut self) {
        self.answer_through(self.records.len());
    }

    /// Notes every commit among the first `count` records as answered, once and for all.
    fn answer_through(&mut self, count: usize) {
        for record in &self.records[..count] {
            if let Body::Commit { writes, .. } = &record.body {
                let key = (record.stamp.generation, record.stamp.number.0);
                let before = self.answered.insert(key, writes.clone());
                assert!(
                    before.is_none_or(|before| before == *writes),
                    "{key:?} means one thing"
                );
            }
        }
    }

    /// Opens again; `all` says that nothing may be missing.
    fn reopen(&mut self, all: bool) {
        self.syncing.clear();
        let led = lead(self.machine.disk(), options(self.durability, self.boot))
            .unwrap_or_else(|error| panic!("{error:?}"));
        let promised = if all {
            self.records.len()
        } else {
            self.promised
        };
        // A recovery that was itself interrupted may have left records of its own at the end.
        let ours = led
            .records
            .iter()
            .zip(&self.records)
            .take_while(|(a, b)| a == b)
            .count();
        assert!(
            ours >= promised,
            "{ours} of {promised}: {:?}",
            led.recovered
        );
        assert!(
            led.records[ours..]
                .iter()
                .all(|r| matches!(r.body, Body::Term | Body::Generation)),
            "nothing is invented"
        );
        assert!(self.durability == Memory || led.recovered.new_generation.is_none());
        assert!(!all || led.recovered.torn.is_none());
        self.records = led.records;
        self.records.push(Record {
            stamp: plurix_wire::record::Stamp {
                generation: led.recovered.last.generation,
                ..led.store.last()
            },
            body: Body::Term,
        });
        if led.recovered.new_generation.is_some() {
            self.records.push(Record {
                stamp: led.store.last(),
                body: Body::Generation,
            });
        }
        self.promised = match (self.durability, led.recovered.new_generation) {
            (Durable, _) => self.records.len() - 1,
            (Memory, Some(_)) => self.records.len(),
            (Memory, None) => self.promised,
        };
        self.store = Some(led.store);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_happens_no_promise_is_broken(
        durable: bool,
        sync_polls in 0..3_u32,
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mut model = Model::new(if durable { Durable } else { Memory });
        model.machine.set_sync_polls(sync_polls);
        for event in &events {
            model.step(event);
        }
    }
}

#[test]
fn a_lost_generation_is_not_given_out_again() {
    let machine = Machine::new();
    fill(&mut led(&machine, Memory, 1).store, 3, 10);
    machine.power_cut(Granularity::Word, |_, _| false);
    // The second leadership dies between its term and its generation.
    let mut store = Store::create_or_open(machine.disk(), options(Memory, 2)).expect("opens");
    let (recovered, _) = common::replay(&mut store).expect("replays");
    assert_eq!(recovered.new_generation, Some(Generation(1)));
    store.begin_term().expect("begins");
    drop(store);
    machine.kill();
    let third = led(&machine, Memory, 2);
    assert_eq!(
        third.recovered.new_generation,
        Some(Generation(1)),
        "still due on this boot"
    );
    drop(third);
    machine.power_cut(Granularity::Word, |_, _| false);
    let fourth = led(&machine, Memory, 3);
    assert_eq!(
        fourth.recovered.new_generation,
        Some(Generation(2)),
        "1 was begun"
    );
}

#[test]
fn a_clean_end_promises_nothing_about_a_later_term() {
    let machine = Machine::new();
    let mut first = led(&machine, Memory, 1);
    fill(&mut first.store, 3, 10);
    first.store.close_clean().expect("closes");
    machine.power_cut(Granularity::Word, |_, _| false);
    let second = led(&machine, Memory, 2);
    assert!(second.recovered.ended_clean && second.recovered.new_generation.is_none());
    assert_eq!(second.records.len(), 5);
    drop(second);
    // Everything of the second leadership is lost, and the log ends with the mark of the first.
    machine.power_cut(Granularity::Word, |_, _| false);
    let third = led(&machine, Memory, 3);
    assert!(!third.recovered.ended_clean);
    assert_eq!(third.recovered.new_generation, Some(Generation(1)));
}

#[test]
fn a_failed_sync_ends_the_store_and_says_why() {
    let machine = Machine::new();
    let Led { mut store, .. } = led(&machine, Durable, 1);
    let records = fill(&mut store, 2, 10);
    machine.fail_syncs(true);
    assert!(matches!(store.sync(), Err(AppendError::Failed(_))));
    machine.fail_syncs(false);
    assert!(
        matches!(store.sync(), Err(AppendError::Failed(_))),
        "it stays failed"
    );
    let record = commit(store.last(), 1, 1);
    assert!(matches!(store.append(&record), Err(AppendError::Failed(_))));
    assert_eq!(store.last(), records[1].stamp);
    drop(store);
    assert_eq!(
        led(&machine, Durable, 1).records.len(),
        3,
        "a restart goes on"
    );
}

#[test]
fn a_sync_in_the_background_covers_what_was_there_when_it_began() {
    let machine = Machine::new();
    machine.set_sync_polls(2);
    let Led { mut store, .. } = led(&machine, Memory, 1);
    let before = fill(&mut store, 20, 500).len();
    store.start_sync().expect("the disk is sound");
    fill(&mut store, 3, 500);
    assert!(store.poll_sync().is_none() && store.poll_sync().is_none());
    assert_eq!(store.synced().0, 0);
    let synced = store.poll_sync().expect("it has ended");
    assert_eq!(synced.expect("the disk is sound").0, before as u64);
    assert!(store.poll_sync().is_none(), "it is told once");
    drop(store);
    machine.power_cut(Granularity::Word, |_, _| false);
    let records = led(&machine, Memory, 2).records;
    assert_eq!(records.len(), before + 1, "and the term");
}

#[test]
fn a_sync_that_is_asked_for_during_another_one_follows_it() {
    let machine = Machine::new();
    machine.set_sync_polls(1);
    let Led { mut store, .. } = led(&machine, Memory, 1);
    for _ in 0..3 {
        fill(&mut store, 1, 10);
        store.start_sync().expect("the disk is sound");
    }
    let outcomes: Vec<u64> = (0..10)
        .filter_map(|_| store.poll_sync())
        .map(|synced| synced.expect("the disk is sound").0)
        .collect();
    assert_eq!(outcomes, [1, 3]);
}

#[test]
fn a_failed_sync_in_the_background_ends_the_store() {
    let machine = Machine::new();
    machine.set_sync_polls(1);
    let Led { mut store, .. } = led(&machine, Memory, 1);
    fill(&mut store, 2, 10);
    machine.fail_syncs(true);
    store.start_sync().expect("it only begins");
    assert!(store.poll_sync().is_none());
    assert!(matches!(
        store.poll_sync(),
        Some(Err(AppendError::Failed(_)))
    ));
    machine.fail_syncs(false);
    assert!(matches!(store.sync(), Err(AppendError::Failed(_))));
    assert!(matches!(store.start_sync(), Err(AppendError::Failed(_))));
    assert_eq!(store.synced().0, 0);
}

#[test]
fn a_sync_waits_for_the_one_in_the_background_and_shares_its_fate() {
    let machine = Machine::new();
    machine.set_sync_polls(1000);
    let Led { mut store, .. } = led(&machine, Memory, 1);
    fill(&mut store, 2, 10);
    store.start_sync().expect("it only begins");
    fill(&mut store, 2, 10);
    assert_eq!(store.sync().expect("the disk is sound").0, 4);
    let ended = store.poll_sync().expect("it was waited for");
    assert_eq!(ended.expect("the disk is sound").0, 4, "never goes back");
    store.start_sync().expect("it only begins");
    machine.fail_syncs(true);
    assert!(matches!(store.sync(), Err(AppendError::Failed(_))));
    assert!(matches!(
        store.poll_sync(),
        Some(Err(AppendError::Failed(_)))
    ));
}

#[test]
fn durable_mode_takes_over_what_memory_mode_left_in_the_cache() {
    let machine = Machine::new();
    let before = fill(&mut led(&machine, Memory, 1).store, 30, 500);
    machine.kill();
    let mut second = led(&machine, Durable, 1);
    assert_eq!(second.records.len(), before.len() + 1);
    drop(second.store.sync());
    machine.power_cut(Granularity::Word, |_, _| false);
    assert_eq!(led(&machine, Durable, 2).records.len(), before.len() + 2);
}

#[test]
fn a_killed_process_gets_errors() {
    let machine = Machine::new();
    let Led { mut store, .. } = led(&machine, Durable, 1);
    machine.kill();
    assert!(matches!(store.sync(), Err(AppendError::Failed(_))));
    machine.kill_after(0);
    let error = lead(machine.disk(), options(Durable, 1)).err();
    assert!(matches!(error, Some(Error::Open(_))));
}
