//! A number that many stations change at once: each adds to a line of its own, and whoever wants the
//! number adds the lines up.
//!
//! ```text
//!  groups, one line       [0] [1] [2] … [7]       written when a group is made, then only read
//!                          │
//!                          ▼
//!  group, eight lines     stripe 0 │ stripe 1 │ … │ stripe 7       one for each arena
//! ```
//!
//! Stations have arenas in ascending order, so a heap with up to eight stations needs one group.

use super::or_corrupt;
use crate::error::Result;
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// Arenas with stripes of their own; stations beyond share them.
const STRIPES: usize = 64;
const GROUP: usize = 8;

/// Where the stripes are.
#[plain]
pub(super) struct Stripes {
    groups: [Ptr<Group>; STRIPES / GROUP],
}

#[plain]
pub(super) struct Group {
    stripes: [Stripe; GROUP],
}

/// What the stations of one arena have added.
#[plain]
pub(super) struct Stripe {
    sum: i64,
    _unused: [u64; 7],
}

/// The name for what is damaged.
const WHAT: &str = "counter";

impl Stripes {
    pub(super) const NONE: Self = Self {
        groups: [Ptr::at(0); STRIPES / GROUP],
    };

    /// With the stripe of this station, so that the first one to add conflicts with nobody.
    pub(super) fn create(tx: &mut Transaction<'_>) -> Result<Self> {
        let mut stripes = Self::NONE;
        stripes.groups[tx.arena % STRIPES / GROUP] = Group::create(tx)?;
        Ok(stripes)
    }
}

impl Group {
    fn create(tx: &mut Transaction<'_>) -> Result<Ptr<Self>> {
        let stripe = Stripe {
            sum: 0,
            _unused: [0; 7],
        };
        tx.alloc(Self {
            stripes: [stripe; GROUP],
        })
    }
}

/// Adds to this station's stripe, modulo 2^64.
pub(super) fn add(tx: &mut Transaction<'_>, stripes: Ptr<Stripes>, change: i64) -> Result<()> {
    let stripe = tx.arena % STRIPES;
    let at = stripe / GROUP;
    let mut group = tx.get(stripes)?.groups[at];
    if group.is_null() {
        group = Group::create(tx)?;
        tx.get_mut(stripes)?.groups[at] = group;
    }
    let sum = tx.get_mut(stripe_at(group, stripe % GROUP));
    let sum = &mut sum.map_err(|error| or_corrupt(error, WHAT))?.sum;
    *sum = sum.wrapping_add(change);
    Ok(())
}

/// What all have added, modulo 2^64.
pub(super) fn sum(tx: &Transaction<'_>, stripes: Ptr<Stripes>) -> Result<i64> {
    let mut sum = 0i64;
    for group in tx.get(stripes)?.groups {
        if group.is_null() {
            continue;
        }
        let group = tx.get(group).map_err(|error| or_corrupt(error, WHAT))?;
        let stripes = group.stripes.iter();
        sum = stripes.fold(sum, |sum, stripe| sum.wrapping_add(stripe.sum));
    }
    Ok(sum)
}

/// Makes it zero.
pub(super) fn reset(tx: &mut Transaction<'_>, stripes: Ptr<Stripes>) -> Result<()> {
    for group in tx.get(stripes)?.groups {
        for stripe in 0..if group.is_null() { 0 } else { GROUP } {
            let stripe = tx.get_mut(stripe_at(group, stripe));
            stripe.map_err(|error| or_corrupt(error, WHAT))?.sum = 0;
        }
    }
    Ok(())
}

/// Frees the stripes, but not what says where they are.
pub(super) fn destroy(tx: &mut Transaction<'_>, stripes: Ptr<Stripes>) -> Result<()> {
    for group in tx.get(stripes)?.groups {
        if !group.is_null() {
            tx.free(group).map_err(|error| or_corrupt(error, WHAT))?;
        }
    }
    Ok(())
}

fn stripe_at(group: Ptr<Group>, index: usize) -> Ptr<Stripe> {
    let at = index * size_of::<Stripe>();
    Ptr::at(group.offset().wrapping_add(at as u64))
}
