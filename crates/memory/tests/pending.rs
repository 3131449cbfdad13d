//! Requests in flight, compared step by step with a model that knows only bytes: what is seen is the
//! base, with the bytes of each request in flight over it, in order.

use std::collections::VecDeque;

use plurix_memory::HeapMemory;
use plurix_wire::{CommitSequence, PAGE_BYTES, PageNumber, Sections, WriteSet, WriteSetBuilder};
use proptest::prelude::*;

const PAGES: u32 = 2;
const HEAP_BYTES: usize = PAGES as usize * PAGE_BYTES;

#[derive(Debug, Clone)]
enum Step {
    /// A transaction that changes some bytes is submitted, or comes to nothing.
    Run {
        changes: Vec<(usize, u8)>,
        blind: Vec<(usize, u8)>,
        submit: bool,
    },
    Foreign {
        at: usize,
        value: u8,
        length: usize,
    },
    /// The oldest request is settled, with its bytes or without.
    Settle {
        put: bool,
    },
    TakeBack,
    Evict {
        page: u32,
    },
}

/// Near each other, so that requests meet.
fn at() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 50..140usize, 1 => PAGE_BYTES..PAGE_BYTES + 70]
}

fn step() -> impl Strategy<Value = Step> {
    let changes = || prop::collection::vec((at(), 0..4u8), 0..5);
    prop_oneof![
        6 => (changes(), changes(), prop::bool::weighted(0.8))
            .prop_map(|(changes, blind, submit)| Step::Run { changes, blind, submit }),
        4 => (at(), 0..4u8, 1..40usize)
            .prop_map(|(at, value, length)| Step::Foreign { at, value, length }),
        5 => prop::bool::weighted(0.8).prop_map(|put| Step::Settle { put }),
        1 => Just(Step::TakeBack),
        1 => (0..PAGES).prop_map(|page| Step::Evict { page }),
    ]
}

/// A request, and its bytes as offsets and values.
type InFlight = (CommitSequence, WriteSet, Vec<(usize, u8)>);

/// The base, and what is in flight, the oldest first. A request loses its bytes in a page that leaves
/// memory.
#[derive(Default)]
struct Model {
    base: Vec<u8>,
    in_flight: VecDeque<InFlight>,
    newest: u64,
}

impl Model {
    fn seen(&self) -> Vec<u8> {
        let mut seen = self.base.clone();
        for (at, value) in self.in_flight.iter().flat_map(|(_, _, bytes)| bytes) {
            seen[*at] = *value;
        }
        seen
    }
}

fn bytes_of(writes: &WriteSet) -> Vec<(usize, u8)> {
    let sections = writes.sections().flat_map(|section| {
        let start = section.page().0 as usize * PAGE_BYTES;
        section.runs().map(move |run| (start, run))
    });
    let bytes = sections.flat_map(|(start, run)| {
        let first = start + usize::from(run.offset);
        run.bytes
            .iter()
            .enumerate()
            .map(move |(i, byte)| (first + i, *byte))
    });
    bytes.collect()
}

fn run(heap: &mut HeapMemory, model: &mut Model, step: &Step) {
    match step {
        Step::Run {
            changes,
            blind,
            submit,
        } => {
            for (at, value) in changes {
                *heap.open::<u8>(*at as u64).expect("in the heap") = *value;
            }
            for (at, value) in blind {
                heap.overwrite(*at as u64, &[*value]).expect("in the heap");
            }
            let writes = heap.write_set();
            if !submit {
                return heap.rollback();
            }
            model.newest += 1;
            let sequence = CommitSequence(model.newest);
            heap.pend(sequence, &writes);
            let bytes = bytes_of(&writes);
            model.in_flight.push_back((sequence, writes, bytes));
        }
        Step::Foreign { at, value, length } => {
            let (page, offset) = (PageNumber::of(*at as u64), at % PAGE_BYTES);
            let mut builder = WriteSetBuilder::new();
            builder.push(page, offset, &vec![*value; *length]);
            let writes = builder.finish();
            writes.sections().for_each(|section| heap.apply(&section));
            for (at, value) in bytes_of(&writes) {
                model.base[at] = value;
            }
        }
        Step::Settle { put } => {
            if let Some((sequence, writes, _)) = model.in_flight.pop_front() {
                let sections: Sections<'_> = writes.sections();
                sections.for_each(|section| heap.keep(sequence, &section, *put));
                if *put {
                    for (at, value) in bytes_of(&writes) {
                        model.base[at] = value;
                    }
                }
            }
        }
        Step::TakeBack => {
            heap.take_back();
            model.in_flight.clear();
        }
        Step::Evict { page } => {
            let number = PageNumber(*page);
            heap.evict(number);
            heap.install_zero(number);
            let start = *page as usize * PAGE_BYTES;
            model.base[start..start + PAGE_BYTES].fill(0);
            for (_, _, bytes) in &mut model.in_flight {
                bytes.retain(|(at, _)| at / PAGE_BYTES != *page as usize);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 512 }))]
    #[test]
    fn what_is_seen_is_the_base_beneath_what_is_in_flight(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut heap = HeapMemory::emulated(HEAP_BYTES as u64).unwrap();
        (0..PAGES).for_each(|page| heap.install_zero(PageNumber(page)));
        let mut model = Model { base: vec![0; HEAP_BYTES], ..Model::default() };
        for step in &steps {
            run(&mut heap, &mut model, step);
            let seen = model.seen();
            for page in 0..PAGES {
                let start = page as usize * PAGE_BYTES;
                let bytes = heap.page_bytes(PageNumber(page)).unwrap();
                prop_assert_eq!(&bytes[..], &seen[start..start + PAGE_BYTES], "after {:?}", step);
            }
        }
    }
}
