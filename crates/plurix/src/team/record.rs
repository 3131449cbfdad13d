//! A team as the heap has it: who belongs to it and where they listen, and its regions.

use plurix_wire::message::peer::TEAM_MAX;
use std::ops::Range;

use plurix_wire::{Incarnation, TeamId};
use zerocopy::FromZeros;

use super::region::RegionRecord;
use super::{TeamError, TeamOptions};
use crate::error::{ErrorKind, Result};
use crate::net::Address;
use crate::ptr::Ptr;
use crate::station::Station;
use crate::transaction::Transaction;

/// The longest address that a member can have, in bytes: a Unix socket's path has no more.
const ADDRESS_BYTES_MAX: usize = 112;
/// Most regions of a team.
pub(super) const REGIONS_MAX: usize = 64;
/// The names of teams begin so among the roots of a heap.
pub(super) const PREFIX: &str = "team/";

/// One member.
#[plurix::plain]
struct Slot {
    /// Which life; zero for none.
    incarnation: u64,
    address_bytes: u64,
    address: [u8; ADDRESS_BYTES_MAX],
}

/// A team.
#[plurix::plain]
struct Record {
    size: u64,
    /// How many regions it has; none before setup.
    regions: u64,
    /// Setup has been done.
    is_set_up: u64,
    /// Some station has come to the end, and written down what it shall leave in the heap.
    is_over: u64,
    slots: [Slot; TEAM_MAX as usize],
    region: [RegionRecord; REGIONS_MAX],
}

/// A team all of whose members live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Formation {
    /// This station's place among those that make it up: fewer than the team had at first, if the others
    /// have taken over the workers of those that were lost.
    pub(super) rank: u16,
    /// Names this formation: it follows from the lives of its members.
    pub(super) key: u64,
    pub(super) addresses: Vec<Address>,
    /// Names the team.
    pub(super) team: TeamId,
}

impl Formation {
    /// How many stations make it up.
    pub(super) fn size(&self) -> u16 {
        self.addresses.len() as u16
    }

    /// The workers that run on this station, of so many in all.
    pub(super) fn workers(&self, count: usize) -> Range<usize> {
        let begin = |rank: u16| count * usize::from(rank) / self.addresses.len();
        begin(self.rank)..begin(self.rank + 1)
    }
}

/// Enters this station into the team, in the place of one that is dead or missing, and answers who is
/// in it once it is complete.
pub(super) fn enlist(
    station: &mut Station,
    team: &TeamOptions,
    address: &Address,
) -> Result<Option<Formation>> {
    let (name, size) = (&team.name, team.stations);
    let text = address.to_string();
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(TeamError::LongAddress(text).into());
    }
    station.transaction(|tx| {
        let record = find(tx, name, size)?;
        let slots = usize::from(size);
        let own = tx.incarnation.0;
        let found = tx.get(record)?;
        if found.size != u64::from(size) {
            let (found, wanted) = (found.size as u16, size);
            return Err(TeamError::OtherSize { found, wanted }.into());
        }
        if found.is_over != 0 {
            return Err(TeamError::Over.into());
        }
        let lives: Vec<u64> = found.slots[..slots]
            .iter()
            .map(|slot| slot.incarnation)
            .collect();
        let is_alive = |life: u64| life != 0 && tx.is_alive(Incarnation(life));
        let place = lives.iter().position(|life| *life == own);
        let free = || lives.iter().position(|life| !is_alive(*life));
        let Some(rank) = place.or_else(free) else {
            return Err(TeamError::Full(size).into());
        };
        if place.is_none() {
            let mut slot = Slot::new_zeroed();
            slot.incarnation = own;
            slot.address_bytes = text.len() as u64;
            slot.address[..text.len()].copy_from_slice(text.as_bytes());
            tx.get_mut(record)?.slots[rank] = slot;
            // Others may see it when this has happened.
            return Ok(None);
        }
        // Before setup all must have come; after that, whoever is left can go on.
        let may_lack = team.spread && tx.get(record)?.is_set_up == 1;
        let living: Vec<usize> = (0..slots).filter(|at| is_alive(lives[*at])).collect();
        if living.len() < slots && !may_lack {
            return Ok(None);
        }
        let record_now = tx.get(record)?;
        let addresses = living.iter().map(|at| address_of(&record_now.slots[*at]));
        let addresses = addresses.collect::<Result<_>>()?;
        let before = living.iter().filter(|at| **at < rank);
        let lives = living.iter().map(|at| lives[*at]);
        let key = lives.fold(0xcbf2_9ce4_8422_2325, |hash: u64, life| {
            (hash ^ life).wrapping_mul(0x0100_0000_01b3)
        });
        let rank = before.count() as u16;
        Ok(Some(Formation {
            rank,
            key,
            addresses,
            team: TeamId(record.offset()),
        }))
    })
}

/// The team's record, which the first member makes.
fn find(tx: &mut Transaction<'_>, name: &str, size: u16) -> Result<Ptr<Record>> {
    let root = format!("{PREFIX}{name}");
    match tx.root(&root) {
        Err(error) if matches!(error.kind(), ErrorKind::NoSuchRoot(_)) => {
            let mut record = Record::new_zeroed();
            record.size = u64::from(size);
            let record = tx.alloc(record)?;
            tx.set_root(&root, record)?;
            Ok(record)
        }
        found => found,
    }
}

fn address_of(slot: &Slot) -> Result<Address> {
    let bytes = slot.address.get(..slot.address_bytes as usize);
    let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let address = text.and_then(|text| text.parse().ok());
    address.ok_or_else(|| ErrorKind::Corrupt { what: "team" }.into())
}

/// The regions of a team, if it is set up.
pub(super) fn regions(tx: &Transaction<'_>, name: &str) -> Result<Option<Vec<RegionRecord>>> {
    let record = tx.root::<Record>(&format!("{PREFIX}{name}"))?;
    let record = tx.get(record)?;
    let regions = record.region.get(..record.regions as usize);
    let regions = regions.ok_or(ErrorKind::Corrupt { what: "team" })?;
    Ok((record.is_set_up == 1).then(|| regions.to_vec()))
}

/// Writes down the regions of a team, which is set up by that.
pub(super) fn set_up(tx: &mut Transaction<'_>, name: &str, regions: &[RegionRecord]) -> Result<()> {
    let record = tx.root::<Record>(&format!("{PREFIX}{name}"))?;
    let record = tx.get_mut(record)?;
    record.region[..regions.len()].copy_from_slice(regions);
    record.regions = regions.len() as u64;
    record.is_set_up = 1;
    Ok(())
}

/// Writes down that the team has come to its end: nobody can enter it any more.
pub(super) fn end(tx: &mut Transaction<'_>, name: &str) -> Result<()> {
    let record = tx.root::<Record>(&format!("{PREFIX}{name}"))?;
    if tx.get(record)?.is_over == 0 {
        tx.get_mut(record)?.is_over = 1;
    }
    Ok(())
}

/// Who is in a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) is_over: bool,
    /// The life that has each place, if any has.
    pub(super) lives: Vec<Option<Incarnation>>,
}

/// Who is in a team, if there is one of this name.
pub(super) fn members(tx: &Transaction<'_>, name: &str) -> Result<Option<Members>> {
    let Some(record) = tx.find_root::<Record>(&format!("{PREFIX}{name}"))? else {
        return Ok(None);
    };
    let record = tx.get(record)?;
    let slots = record.slots.get(..record.size as usize);
    let slots = slots.ok_or(ErrorKind::Corrupt { what: "team" })?;
    let life = |slot: &Slot| (slot.incarnation != 0).then_some(Incarnation(slot.incarnation));
    Ok(Some(Members {
        is_over: record.is_over != 0,
        lives: slots.iter().map(life).collect(),
    }))
}
