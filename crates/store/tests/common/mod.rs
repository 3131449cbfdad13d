//! A small store on a simulated machine, and the records the tests put into it.

#![allow(dead_code, reason = "each test file uses its share")]

pub(crate) mod player;

use std::convert::Infallible;
use std::time::Duration;

use plurix_store::simulated::{Machine, SimulatedDisk};
use plurix_store::{
    AppendError, BootId, Disk, Durability, OpenError, Options, Recovered, ReplayError, Store,
    UnreadablePage,
};
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{ClusterId, CommitId, CommitSequence, Incarnation, PageNumber, WriteSetBuilder};

/// The first segment.
pub(crate) const FIRST: &str = "log/0000000000000001.log";

/// Options for segments of two blocks.
pub(crate) fn options(durability: Durability, boot: u8) -> Options {
    Options {
        durability,
        segment_bytes: 8192,
        commit_bytes_max: 2048,
        ..Options::new(1 << 20, ClusterId([1; 16]), BootId([boot; 16]))
    }
}

/// The commit that follows `last`: `length` bytes of `fill`.
pub(crate) fn commit(last: Stamp, length: usize, fill: u8) -> Record {
    let mut builder = WriteSetBuilder::new();
    builder.push(PageNumber(3), 8, &vec![fill; length]);
    let body = Body::Commit {
        id: CommitId {
            incarnation: Incarnation(7),
            sequence: CommitSequence(last.number.0),
        },
        acknowledged: CommitSequence(0),
        writes: builder.finish(),
    };
    Record {
        stamp: Stamp {
            number: last.number.next(),
            ..last
        },
        body,
    }
}

/// A control record that follows `last`.
pub(crate) fn left(last: Stamp) -> Record {
    Record {
        stamp: last,
        body: Body::Left(Incarnation(9)),
    }
}

/// Replays everything into a list.
pub(crate) fn replay<D: Disk>(
    store: &mut Store<D>,
) -> Result<(Recovered, Vec<Record>), ReplayError> {
    let mut records = Vec::new();
    let recovered = store.replay(|record| {
        records.push(record.clone());
        Ok::<_, Infallible>(())
    })?;
    Ok((recovered, records))
}

/// Why a store could not be led.
#[derive(Debug)]
pub(crate) enum Error {
    Open(OpenError),
    Replay(ReplayError),
    Page(UnreadablePage),
    Append(AppendError),
}

/// A store that is led, and what it replayed first.
pub(crate) struct Led<D: Disk> {
    pub(crate) store: Store<D>,
    pub(crate) recovered: Recovered,
    pub(crate) records: Vec<Record>,
}

/// Opens, replays, and begins the term, and the generation if one is due.
pub(crate) fn lead<D: Disk>(disk: D, options: Options) -> Result<Led<D>, Error> {
    let mut store = Store::create_or_open(disk, options).map_err(Error::Open)?;
    let (recovered, records) = replay(&mut store).map_err(Error::Replay)?;
    store.begin_term().map_err(Error::Append)?;
    if recovered.new_generation.is_some() {
        store
            .begin_generation(recovered.last.number)
            .map_err(Error::Append)?;
    }
    Ok(Led {
        store,
        recovered,
        records,
    })
}

/// [`lead`] on a simulated machine, which must succeed.
pub(crate) fn led(machine: &Machine, durability: Durability, boot: u8) -> Led<SimulatedDisk> {
    lead(machine.disk(), options(durability, boot)).expect("the store can be led")
}

/// Appends commits of `length` bytes, maintaining in between; answers them.
pub(crate) fn fill<D: Disk>(store: &mut Store<D>, count: usize, length: usize) -> Vec<Record> {
    let mut records = Vec::new();
    for _ in 0..count {
        store.maintain(Duration::ZERO);
        store.maintain(Duration::ZERO);
        let record = commit(store.last(), length, store.last().number.0 as u8 + 1);
        assert!(
            record.encoded_bytes() as u64 <= store.room(),
            "there is room"
        );
        store.append(&record).expect("the log is open");
        records.push(record);
    }
    records
}

/// A pseudo-random number from any two.
pub(crate) fn mix(seed: u64, value: u64) -> u64 {
    let mut x = seed ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
