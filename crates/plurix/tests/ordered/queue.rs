//! `HeapQueue` against `VecDeque`.

use std::collections::VecDeque;

use plurix::collections::HeapQueue;
use plurix::{Plain, Result, Transaction};
use proptest::prelude::*;

use super::{Program, blocks, cluster, programs, run};

#[derive(Debug, Clone)]
enum Step {
    Push(u32),
    Pop,
    Peek,
    Extend(u32),
    Drain(usize),
    Clear,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<u32>().prop_map(Step::Push),
        5 => Just(Step::Pop),
        1 => Just(Step::Peek),
        2 => (0u32..300).prop_map(Step::Extend),
        2 => (0usize..300).prop_map(Step::Drain),
        1 => Just(Step::Clear),
        1 => Just(Step::Read),
    ]
}

/// A value of some size, made of a number.
trait Value: Plain + PartialEq + std::fmt::Debug {
    fn of(number: u32) -> Self;
}

impl Value for u32 {
    fn of(number: u32) -> Self {
        number
    }
}

impl Value for [u32; 100] {
    fn of(number: u32) -> Self {
        [number; 100]
    }
}

impl Value for u128 {
    fn of(number: u32) -> Self {
        number.into()
    }
}

fn take<V: Value>(
    tx: &mut Transaction<'_>,
    queue: HeapQueue<V>,
    model: &mut VecDeque<V>,
    step: &Step,
) -> Result<()> {
    match *step {
        Step::Push(number) => {
            queue.push(tx, V::of(number))?;
            model.push_back(V::of(number));
        }
        Step::Pop => assert_eq!(queue.pop(tx)?, model.pop_front()),
        Step::Peek => assert_eq!(queue.peek(tx)?, model.front()),
        Step::Extend(count) => {
            queue.extend(tx, (0..count).map(V::of))?;
            model.extend((0..count).map(V::of));
        }
        Step::Drain(limit) => {
            let count = limit.min(model.len());
            let expected: Vec<V> = model.drain(..count).collect();
            assert_eq!(queue.drain(tx, limit)?, expected);
        }
        Step::Clear => {
            queue.clear(tx)?;
            model.clear();
        }
        Step::Read => {
            let values = queue.iter(tx)?.map(|value| value.copied());
            assert_eq!(values.collect::<Result<VecDeque<_>>>()?, *model);
        }
    }
    assert_eq!(queue.len(tx)?, model.len() as u64);
    assert_eq!(queue.is_empty(tx)?, model.is_empty());
    Ok(())
}

fn check<V: Value>(programs: &[Program<Step>]) {
    let mut cluster = cluster(3);
    let before = blocks(&mut cluster.stations()[0]);
    let queue = cluster.stations()[0]
        .transaction(HeapQueue::<V>::create)
        .expect("nothing goes wrong here");
    let model = run(
        &mut cluster,
        programs,
        VecDeque::new(),
        |tx, model, step| take(tx, queue, model, step),
    );
    let station = &mut cluster.stations()[1];
    station.latest().expect("nothing goes wrong here");
    station
        .transaction(|tx| {
            let values = queue.iter(tx)?.map(|value| value.copied());
            assert_eq!(values.collect::<Result<VecDeque<_>>>()?, model);
            queue.destroy(tx)
        })
        .expect("nothing goes wrong here");
    assert_eq!(blocks(station), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_queue_is_what_std_says(programs in programs(step())) {
        check::<u32>(&programs);
    }

    #[test]
    fn so_is_one_of_large_values(programs in programs(step())) {
        check::<[u32; 100]>(&programs);
    }

    #[test]
    fn so_is_one_of_aligned_values(programs in programs(step())) {
        check::<u128>(&programs);
    }
}

#[test]
fn a_consumer_sleeps_until_there_is_an_element() {
    const JOBS: u64 = 1000;
    let mut cluster = plurix::Cluster::local(2).expect("nothing goes wrong here");
    let [producer, consumer] = cluster.stations() else {
        unreachable!()
    };
    let made = producer.transaction(|tx| {
        let jobs = tx.named::<HeapQueue<u64>>("jobs")?;
        Ok((jobs, tx.named::<HeapQueue<u64>>("answers")?))
    });
    let (jobs, answers) = made.expect("nothing goes wrong here");
    consumer.latest().expect("nothing goes wrong here");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..JOBS {
                let answered = consumer.transaction(|tx| {
                    let job = jobs.pop_wait(tx)?;
                    answers.push(tx, job * 2)
                });
                answered.expect("nothing goes wrong here");
            }
        });
        // One at a time, so that both queues are empty again and again.
        for job in 0..JOBS {
            producer
                .transaction(|tx| jobs.push(tx, job))
                .expect("nothing goes wrong here");
            let answer = producer.transaction(|tx| answers.pop_wait(tx));
            assert_eq!(answer.expect("nothing goes wrong here"), job * 2);
        }
    });
}

#[test]
fn a_wait_with_a_limit_ends_without_an_element_or_with_the_first() {
    use std::time::Duration;
    let mut cluster = plurix::Cluster::local(2).expect("nothing goes wrong here");
    let [producer, consumer] = cluster.stations() else {
        unreachable!()
    };
    let jobs = producer.transaction(|tx| tx.named::<HeapQueue<u64>>("jobs"));
    let jobs = jobs.expect("nothing goes wrong here");
    consumer.latest().expect("nothing goes wrong here");
    let none = consumer.transaction(|tx| jobs.pop_wait_for(tx, Duration::from_millis(1)));
    assert_eq!(none.expect("nothing goes wrong here"), None);
    let long = Duration::from_secs(600);
    std::thread::scope(|scope| {
        let job = scope.spawn(|| consumer.transaction(|tx| jobs.pop_wait_for(tx, long)));
        producer
            .transaction(|tx| jobs.push(tx, 7))
            .expect("nothing goes wrong here");
        assert_eq!(
            job.join().expect("nothing goes wrong here").unwrap(),
            Some(7)
        );
    });
}
