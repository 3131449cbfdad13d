//! What a member says that has gone mad, or is of another version. Each of these must be refused by
//! whoever hears it, whatever it was about to do.

use plurix_wire::diff::{Diffs, DiffsBuilder};
use plurix_wire::message::PageRun;
use plurix_wire::message::peer::{Arrive, Changes, Home, Pages, Release, ToPeer};
use plurix_wire::{Interval, LINE_BYTES, PageNumber, Rank, SyncId};

use crate::random::Random;

/// Nobody is ever so far.
const NEVER: Interval = Interval(1 << 40);
const NOBODYS_LOCK: SyncId = SyncId(999);
/// Belong to no region, and are too many to be looked at one by one.
const NOWHERE: PageRun = PageRun {
    first: PageNumber(1 << 20),
    count: u32::MAX,
};

/// A message that nobody may send in `interval` to a team of `size`, and what is wrong with it.
pub(super) fn forge(random: &mut Random, interval: Interval, size: u16) -> (ToPeer, &'static str) {
    match random.below(12) {
        0 => (release(), "a release of another interval"),
        1 => (arrive(interval, 0), "an arrival that counts no changes"),
        2 => (arrive(NEVER, size), "an arrival in another interval"),
        3 => (fetch(NEVER, NOWHERE), "a fetch of another interval"),
        4 => (fetch(interval, NOWHERE), "a fetch of no weak page"),
        5 => (ToPeer::Applied(1 << 60), "an acknowledgement of nothing"),
        6 => (grant(), "a lock that nobody asked for"),
        7 => (hand_back(), "a lock that it does not have"),
        8 => (ToPeer::Revoke(NOBODYS_LOCK), "a revocation of what is away"),
        9 => (claimed(), "homes that nobody asked for"),
        10 => (pages(), "pages of no region"),
        _ => (changes(interval), "changes of no weak page"),
    }
}

fn release() -> ToPeer {
    ToPeer::Release(Release {
        interval: NEVER,
        ..Release::default()
    })
}

fn arrive(interval: Interval, size: u16) -> ToPeer {
    ToPeer::Arrive(Arrive {
        interval,
        sent: vec![0; usize::from(size)],
        ..Arrive::default()
    })
}

fn fetch(interval: Interval, run: PageRun) -> ToPeer {
    ToPeer::Fetch { interval, run }
}

fn grant() -> ToPeer {
    ToPeer::Grant {
        lock: NOBODYS_LOCK,
        written: Vec::new(),
    }
}

fn hand_back() -> ToPeer {
    ToPeer::HandBack {
        lock: NOBODYS_LOCK,
        written: Vec::new(),
    }
}

fn claimed() -> ToPeer {
    ToPeer::Claimed(vec![Home {
        run: NOWHERE,
        rank: Rank(0),
    }])
}

fn pages() -> ToPeer {
    ToPeer::Pages(Pages {
        run: NOWHERE,
        bytes: Default::default(),
    })
}

fn changes(interval: Interval) -> ToPeer {
    ToPeer::Changes(Changes {
        interval,
        diffs: diffs(),
    })
}

fn diffs() -> Diffs {
    let mut builder = DiffsBuilder::new();
    builder.push_line(NOWHERE.first, 0, 1, &[7; LINE_BYTES]);
    builder.finish()
}
