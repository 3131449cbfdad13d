//! Random programs on one to three stations, against a model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{MIB, cluster, is_out_of_memory};
use crate::heap::classes::Shape;
use crate::station::Station;
use crate::{Error, ErrorKind, Ptr};

/// What happens in one transaction.
#[derive(Debug, Clone)]
enum Step {
    Alloc {
        bytes: usize,
        zeroed: bool,
    },
    /// The index of a block, modulo how many there are.
    Free(usize),
    Write(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![
        4 => 0usize..200,
        2 => 200usize..2100,
        2 => 2000usize..20_000,
        1 => 20_000usize..300_000,
    ];
    prop_oneof![
        4 => (bytes, any::<bool>()).prop_map(|(bytes, zeroed)| Step::Alloc { bytes, zeroed }),
        3 => any::<usize>().prop_map(Step::Free),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(index, fill)| Step::Write(index, fill)),
    ]
}

#[derive(Debug, Clone)]
struct Transaction {
    station: usize,
    steps: Vec<Step>,
    commits: bool,
}

fn transaction() -> impl Strategy<Value = Transaction> {
    let steps = prop::collection::vec(step(), 1..20);
    (any::<usize>(), steps, prop::bool::weighted(0.8)).prop_map(|(station, steps, commits)| {
        Transaction {
            station,
            steps,
            commits,
        }
    })
}

/// What the heap should hold: blocks by offset, each filled with one byte.
#[derive(Debug, Clone, Default)]
struct Model(BTreeMap<u64, (Ptr<[u8]>, u8)>);

impl Model {
    fn nth(&self, index: usize) -> Option<(Ptr<[u8]>, u8)> {
        self.0
            .values()
            .nth(index.checked_rem(self.0.len())?)
            .copied()
    }

    fn insert(&mut self, block: Ptr<[u8]>, fill: u8) {
        let (start, end) = (block.offset(), block.offset() + block.len() as u64);
        let before = self.0.range(..end).next_back();
        if let Some((&offset, (other, _))) = before {
            assert!(offset + other.len() as u64 <= start, "blocks overlap");
        }
        self.0.insert(start, (block, fill));
    }

    /// Bytes of all blocks, rounded up as the allocator does.
    fn bytes(&self) -> u64 {
        let rounded = self.0.values().map(|(block, _)| {
            let bytes = block.len() as u64;
            let shape = Shape { bytes, align: 1 };
            match shape.class() {
                Some(class) => u64::from(crate::heap::classes::CLASS_BYTES[class]),
                None => shape.pages() * 4096,
            }
        });
        rounded.sum()
    }
}

fn run(station: &mut Station, model: &Model, program: &Transaction) -> Result<Model, Error> {
    // The model knows what the other stations did, so this one must.
    station.latest()?;
    station.transaction(|tx| {
        let mut model = model.clone();
        for step in &program.steps {
            match *step {
                Step::Alloc { bytes, zeroed } => {
                    let fill = if zeroed { 0 } else { bytes as u8 };
                    let block = if zeroed {
                        tx.alloc_slice(bytes)
                    } else {
                        tx.alloc_slice_from(&vec![fill; bytes])
                    };
                    if is_out_of_memory(&block) {
                        continue;
                    }
                    let block = block?;
                    if bytes > 0 {
                        model.insert(block, fill);
                    }
                }
                Step::Free(index) => {
                    if let Some((block, fill)) = model.nth(index) {
                        assert!(tx.get(block)?.iter().all(|&byte| byte == fill));
                        tx.free(block)?;
                        model.0.remove(&block.offset());
                    }
                }
                Step::Write(index, fill) => {
                    if let Some((block, _)) = model.nth(index) {
                        tx.get_mut(block)?.fill(fill);
                        model.0.insert(block.offset(), (block, fill));
                    }
                }
            }
        }
        if program.commits {
            Ok(model)
        } else {
            Err(tx.abort("as told"))
        }
    })
}

fn check(station: &mut Station, model: &Model) {
    station.latest().unwrap();
    let usage = station.check_heap().unwrap().usage;
    assert_eq!(usage.blocks, model.0.len() as u64);
    assert_eq!(usage.allocated_bytes, model.bytes());
    let contents = station.transaction(|tx| {
        for &(block, fill) in model.0.values() {
            assert!(tx.get(block)?.iter().all(|&byte| byte == fill));
        }
        Ok(())
    });
    contents.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_heap_does_what_the_model_does(
        stations in 1usize..=3,
        programs in prop::collection::vec(transaction(), 1..40),
    ) {
        let mut cluster = cluster(stations, 2 * MIB);
        let mut model = Model::default();
        for (round, program) in programs.iter().enumerate() {
            let station = &mut cluster.stations()[program.station % stations];
            match run(station, &model, program) {
                Ok(after) => model = after,
                Err(error) => prop_assert!(matches!(error.kind(), ErrorKind::Aborted(_)), "{error}"),
            }
            if round % 8 == 0 {
                check(&mut cluster.stations()[round / 8 % stations], &model);
            }
        }
        let station = &mut cluster.stations()[0];
        check(station, &model);
        station.transaction(|tx| {
            model.0.values().try_for_each(|&(block, _)| tx.free(block))
        }).unwrap();
        let report = station.check_heap().unwrap();
        prop_assert_eq!((report.usage.blocks, report.usage.allocated_bytes), (0, 0));
        prop_assert_eq!(report.usage.free_pages, report.usage.program_pages);
        prop_assert_eq!(report.runs, 0);
    }
}
