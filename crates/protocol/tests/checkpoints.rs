//! A leader's checkpoints against a plain map of pages: whatever happens while one is collected, it
//! holds the heap at its cut, and a leader that starts from it is the one that was.

mod collected;

use std::collections::BTreeSet;

use plurix_protocol::leader::{CheckpointSettings, Event, Strategy};
use plurix_protocol::{Span, Time};
use plurix_wire::message::{PageRun, Request};
use plurix_wire::{PAGE_BYTES, PageNumber};
use proptest::prelude::*;
use proptest::strategy::Strategy as Draw;

use collected::*;

#[derive(Debug, Clone)]
enum Step {
    Commit {
        who: usize,
        page: u32,
        at: usize,
        length: usize,
        value: u8,
    },
    Fetch {
        page: u32,
    },
    Collect {
        room: usize,
    },
    Finish {
        succeeds: bool,
    },
    Want,
    Pass {
        us: u64,
    },
    Join,
    Leave {
        who: usize,
    },
    Restart {
        rolls_back: bool,
    },
}

fn step() -> impl Draw<Value = Step> {
    // Few pages are changed often, and all of them sometimes.
    let page = prop_oneof![3 => 0..30u32, 1 => 0..PAGES];
    let commit = (0..4usize, page, 0..PAGE_BYTES - 64, 1..64usize, any::<u8>());
    prop_oneof![
        40 => commit.prop_map(|(who, page, at, length, value)| Step::Commit { who, page, at, length, value }),
        8 => (0..PAGES).prop_map(|page| Step::Fetch { page }),
        25 => (1..12usize).prop_map(|room| Step::Collect { room }),
        8 => any::<bool>().prop_map(|succeeds| Step::Finish { succeeds }),
        4 => Just(Step::Finish { succeeds: true }),
        3 => Just(Step::Want),
        10 => (1..30_000u64).prop_map(|us| Step::Pass { us }),
        1 => Just(Step::Join),
        1 => (0..4usize).prop_map(|who| Step::Leave { who }),
        2 => (0..6u8).prop_map(|draw| Step::Restart { rolls_back: draw == 0 }),
    ]
}

fn take(cluster: &mut Cluster, step: &Step) {
    let count = cluster.sessions.len();
    match *step {
        Step::Commit {
            who,
            page,
            at,
            length,
            value,
        } => {
            cluster.commit(who % count, page, at, &vec![value; length]);
            cluster.check_page(page);
        }
        Step::Fetch { page } => {
            let snapshot = cluster.leader.number();
            let run = PageRun {
                first: PageNumber(page),
                count: 1,
            };
            cluster.request(0, Request::Fetch { run, snapshot });
            cluster.check_page(page);
        }
        Step::Collect { room } => cluster.collect(room),
        Step::Finish { succeeds } => drop(cluster.finish(succeeds)),
        Step::Want => cluster.handle(wanted()),
        Step::Pass { us } => {
            cluster.now = cluster.now + Span::from_micros(us);
            cluster.handle(Event::Tick);
            for session in 0..count {
                cluster.request(session, Request::Heartbeat);
            }
        }
        Step::Join if count < 4 => cluster.join(),
        Step::Leave { who } if count > 1 => {
            cluster.request(who % count, Request::Leave);
            cluster.sessions.remove(who % count);
        }
        Step::Restart { rolls_back } => cluster.restart(rolls_back),
        Step::Join | Step::Leave { .. } => {}
    }
    cluster.batches();
}

/// Ends the running checkpoint, and takes one more.
fn settle(cluster: &mut Cluster) {
    for _ in 0..2 {
        while cluster.leader.is_checkpointing() {
            cluster.leader.hurry_checkpoint();
            cluster.collect(64);
            cluster.finish(true);
        }
        cluster.handle(wanted());
    }
    cluster.leader.hurry_checkpoint();
    while cluster.leader.is_checkpointing() {
        cluster.collect(64);
        cluster.finish(true);
    }
}

fn run(strategy: Strategy, steps: &[Step]) {
    let mut cluster = Cluster::new(strategy);
    for step in steps {
        take(&mut cluster, step);
    }
    settle(&mut cluster);
    (0..PAGES).for_each(|page| cluster.check_page(page));
    // Nothing has changed since the checkpoint: each tick may drop pages until few are left.
    (0..8).for_each(|_| cluster.handle(Event::Tick));
    let resident = cluster.leader.status(cluster.now).cached_pages;
    assert!(
        resident <= RESIDENT_MAX as u64,
        "{resident} pages in memory"
    );
    (0..PAGES).for_each(|page| cluster.check_page(page));
    cluster.restart(false);
    (0..PAGES).for_each(|page| cluster.check_page(page));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_checkpoint_is_the_heap_at_its_cut_whatever_happens_meanwhile(
        strategy in prop_oneof![
            3 => Just(Strategy::NonBlocking),
            1 => Just(Strategy::Blocking),
            1 => Just(Strategy::Log),
        ],
        steps in prop::collection::vec(step(), 1..400),
    ) {
        run(strategy, &steps);
    }
}

/// A leader with `pages` changed pages, and a checkpoint of them that was begun.
fn begun(pages: u32) -> Cluster {
    let mut cluster = Cluster::new(Strategy::NonBlocking);
    for page in 0..pages {
        cluster.commit(0, page, 0, &[1]);
    }
    cluster.handle(wanted());
    assert!(cluster.running.is_some());
    cluster
}

#[test]
fn pages_that_were_not_written_are_in_the_next_checkpoint() {
    for collected in [1, 3, 10] {
        let mut cluster = begun(10);
        cluster.leader.hurry_checkpoint();
        cluster.collect(collected);
        cluster.commit(0, 4, 9, &[2]);
        assert!(cluster.finish(false));
        cluster.handle(wanted());
        cluster.leader.hurry_checkpoint();
        cluster.collect(64);
        let running = cluster.running.as_ref().unwrap();
        let pages: BTreeSet<u32> = running.collected.keys().copied().collect();
        assert_eq!(pages, (0..10).collect());
    }
}

#[test]
fn only_what_changed_since_the_last_cut_is_collected() {
    let mut cluster = begun(10);
    cluster.leader.hurry_checkpoint();
    cluster.commit(0, 7, 9, &[2]);
    cluster.collect(64);
    assert!(cluster.finish(true));
    cluster.commit(0, 20, 0, &[3]);
    cluster.handle(wanted());
    cluster.collect(64);
    let running = cluster.running.as_ref().unwrap();
    let pages: Vec<u32> = running.collected.keys().copied().collect();
    assert_eq!(pages, [7, 20]);
}

#[test]
fn a_change_that_is_undone_is_still_the_cut_that_is_collected() {
    let mut cluster = begun(3);
    cluster.leader.hurry_checkpoint();
    cluster.commit(0, 1, 0, &[5]);
    cluster.commit(0, 1, 0, &[1]);
    cluster.commit(0, 1, 0, &[6]);
    // The check is in `collect`: page 1 as of the cut, once.
    cluster.collect(64);
    assert!(cluster.finish(true));
}

#[test]
fn what_is_due_by_size_is_collected_before_as_much_changes_again() {
    let mut settings = settings(Strategy::NonBlocking);
    settings.resident_pages_max = usize::MAX;
    settings.checkpoint = Some(CheckpointSettings {
        strategy: Strategy::NonBlocking,
        every: Span::from_millis(3_600_000),
        changed_bytes: 100 * PAGE_BYTES as u64,
    });
    let mut cluster = Cluster::with(settings);
    for page in 0..100 {
        cluster.now = Time(1 + u64::from(page) * 1_000_000);
        cluster.commit(0, page, 0, &[1]);
    }
    cluster.handle(Event::Tick);
    let begun = cluster.now;
    let left = |cluster: &mut Cluster| {
        cluster.collect(1000);
        100 - cluster.running.as_ref().unwrap().collected.len()
    };
    assert_eq!(left(&mut cluster), 100, "the cut has just been made");
    cluster.now = begun + Span::from_millis(25);
    let half = left(&mut cluster);
    assert!((40..=60).contains(&half), "{half} pages are left");
    cluster.now = begun + Span::from_millis(50);
    assert_eq!(left(&mut cluster), 0);
}
