//! `HeapVec` against `Vec`.

use plurix::collections::HeapVec;
use plurix::{Result, Transaction};
use proptest::prelude::*;

use super::{blocks, cluster, programs, run};

#[derive(Debug, Clone)]
enum Step {
    Push(u32),
    Pop,
    Set(usize, u32),
    Add(usize, u32),
    Get(usize),
    SwapRemove(usize),
    Truncate(usize),
    Extend(usize),
    Shrink,
    Clear,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<u32>().prop_map(Step::Push),
        3 => Just(Step::Pop),
        2 => any::<(usize, u32)>().prop_map(|(at, value)| Step::Set(at, value)),
        2 => any::<(usize, u32)>().prop_map(|(at, value)| Step::Add(at, value)),
        2 => any::<usize>().prop_map(Step::Get),
        2 => any::<usize>().prop_map(Step::SwapRemove),
        1 => any::<usize>().prop_map(Step::Truncate),
        2 => (0usize..3000).prop_map(Step::Extend),
        1 => Just(Step::Shrink),
        1 => Just(Step::Clear),
        1 => Just(Step::Read),
    ]
}

fn take(
    tx: &mut Transaction<'_>,
    vec: HeapVec<u32>,
    model: &mut Vec<u32>,
    step: &Step,
) -> Result<()> {
    // One beyond the end now and then.
    let at = |index: usize, model: &[u32]| index % (model.len() + 1);
    match *step {
        Step::Push(value) => {
            assert_eq!(vec.push(tx, value)?, model.len() as u64);
            model.push(value);
        }
        Step::Pop => assert_eq!(vec.pop(tx)?, model.pop()),
        Step::Set(index, value) => {
            let index = at(index, model);
            let place = model.get_mut(index);
            assert_eq!(vec.set(tx, index as u64, value)?, place.is_some());
            place.into_iter().for_each(|place| *place = value);
        }
        Step::Add(index, value) => {
            let index = at(index, model);
            let found = vec.get_mut(tx, index as u64)?;
            assert_eq!(found.is_some(), index < model.len());
            if let Some(found) = found {
                *found = found.wrapping_add(value);
                model[index] = model[index].wrapping_add(value);
            }
        }
        Step::Get(index) => {
            let index = at(index, model);
            assert_eq!(vec.get(tx, index as u64)?, model.get(index));
        }
        Step::SwapRemove(index) => {
            let index = at(index, model);
            let expected = (index < model.len()).then(|| model.swap_remove(index));
            assert_eq!(vec.swap_remove(tx, index as u64)?, expected);
        }
        Step::Truncate(length) => {
            let length = at(length, model);
            vec.truncate(tx, length as u64)?;
            model.truncate(length);
        }
        Step::Extend(count) => {
            let values: Vec<u32> = (0..count as u32).collect();
            vec.extend_from_slice(tx, &values)?;
            model.extend(values);
        }
        Step::Shrink => vec.shrink_to_fit(tx)?,
        Step::Clear => {
            vec.clear(tx)?;
            model.clear();
        }
        Step::Read => assert_eq!(vec.to_vec(tx)?, *model),
    }
    assert_eq!(vec.len(tx)?, model.len() as u64);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_vector_is_what_std_says(programs in programs(step())) {
        let mut cluster = cluster(3);
        let (vec, before) = {
            let station = &mut cluster.stations()[0];
            let before = blocks(station);
            (station.transaction(HeapVec::<u32>::create).unwrap(), before)
        };
        let model = run(&mut cluster, &programs, Vec::new(), |tx, model, step| {
            take(tx, vec, model, step)
        });
        let station = &mut cluster.stations()[1];
        station.latest().unwrap();
        let found = station.transaction(|tx| {
            vec.iter(tx)?.map(|value| value.copied()).collect::<Result<Vec<_>>>()
        });
        prop_assert_eq!(found.unwrap(), model);
        station.transaction(|tx| vec.destroy(tx)).unwrap();
        prop_assert_eq!(blocks(station), before);
    }
}

#[test]
fn elements_never_move() {
    let mut cluster = cluster(1);
    let station = &mut cluster.stations()[0];
    station
        .transaction(|tx| {
            let vec = HeapVec::<[u64; 3]>::create(tx)?;
            let mut places = Vec::new();
            for index in 0..2000 {
                vec.push(tx, [index; 3])?;
                places.push(vec.ptr(tx, index)?.expect("it was pushed"));
            }
            for (place, index) in places.into_iter().zip(0..) {
                assert_eq!(tx.get(place)?, &[index; 3]);
                assert_eq!(vec.slot(tx, index)?, Some(place));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_vector_may_hold_vectors() {
    let mut cluster = cluster(1);
    let station = &mut cluster.stations()[0];
    let sum = station.transaction(|tx| {
        let rows = tx.named::<HeapVec<HeapVec<u64>>>("rows")?;
        for row in 0..10 {
            let columns = HeapVec::create(tx)?;
            columns.extend(tx, 0..row)?;
            rows.push(tx, columns)?;
        }
        let mut sum = 0;
        for row in rows.iter(tx)? {
            sum += row?.to_vec(tx)?.iter().sum::<u64>();
        }
        Ok(sum)
    });
    assert_eq!(
        sum.unwrap(),
        (0..10u64).map(|row| (0..row).sum::<u64>()).sum()
    );
}
