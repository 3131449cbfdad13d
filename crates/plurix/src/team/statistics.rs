//! What the stations of a team tell of themselves while they run, so that others can watch: a slot for
//! each station in the heap, each in lines of its own, so that none conflicts with another's.

use std::time::Duration;

use super::Counts;
use super::record::{self, PREFIX};
use crate::error::Result;
use crate::heap;
use crate::plain;
use crate::ptr::Ptr;
use crate::transaction::Transaction;

/// What one station has told last.
#[plain]
#[repr(C, align(64))]
pub(super) struct Slot {
    /// Whose it is; zero if nothing was told.
    pub(super) incarnation: u64,
    /// The newest commit that the station knew of when its workers began.
    pub(super) began: u64,
    pub(super) elapsed_ns: u64,
    pub(super) phases: u64,
    pub(super) workers: u64,
    pub(super) faults: u64,
    pub(super) fetches: u64,
    pub(super) pages: u64,
    pub(super) changes: u64,
    pub(super) notices: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) waited_ns: u64,
    pub(super) waited_least_ns: u64,
    pub(super) waited_most_ns: u64,
    pub(super) busiest_ns: u64,
    /// The one that its workers began with.
    pub(super) first_phase: u64,
    pub(super) lines: u64,
    pub(super) line_pages: u64,
    /// The size is a multiple of a line.
    pub(super) reserved: [u64; 5],
}

/// A team, and what its stations have told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TeamStatistics {
    /// Its name.
    pub name: String,
    /// Some station has come to the end of the program.
    pub is_over: bool,
    /// By rank.
    pub stations: Vec<StationStatistics>,
}

/// A station of a team.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StationStatistics {
    /// Its place in the team.
    pub rank: u16,
    /// Which life it is, if any has taken the place.
    pub incarnation: Option<u64>,
    /// Whether that one lives.
    pub is_alive: bool,
    /// What it has told, if it has told anything yet.
    pub told: Option<Told>,
}

/// What a station tells four times a second, and when its workers have come to the end. All of it, but
/// for the phases, counts from when they began, and they begin again when a member of the team was lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// A number that is another one when the team has begun again.
    pub began: u64,
    /// Since its workers began.
    pub elapsed: Duration,
    /// Phases run, those before the recovery line that it went on from among them.
    pub phases: u64,
    /// The phase that its workers began with.
    pub first_phase: u64,
    /// How many workers it has.
    pub workers: u16,
    /// What it did.
    pub counts: Counts,
    /// What its workers waited at barriers, for locks and for flags, all together,
    pub waited: Duration,
    /// the one that waited least,
    pub waited_least: Duration,
    /// and the one that waited most.
    pub waited_most: Duration,
    /// How long the worker has computed that has computed most in each quarter of a second: the same
    /// one or now this, now that.
    pub busiest: Duration,
    /// Recovery lines that were taken.
    pub lines: u64,
    /// Pages of this station in them.
    pub line_pages: u64,
}

/// What the stations of the team `name` have told, if there is such a team.
///
/// # Errors
/// As [`Transaction::root`], but for a team that there is not; as [`Transaction::get`].
pub fn statistics(tx: &Transaction<'_>, name: &str) -> Result<Option<TeamStatistics>> {
    let Some(members) = record::members(tx, name)? else {
        return Ok(None);
    };
    let slots = match tx.find_root::<[Slot]>(&root_name(name))? {
        Some(slots) => tx.get(slots)?,
        None => &[],
    };
    let station = |(at, life): (usize, &Option<plurix_wire::Incarnation>)| {
        let slot = slots.get(at);
        let slot = slot.filter(|slot| life.is_some_and(|life| life.0 == slot.incarnation));
        StationStatistics {
            rank: at as u16,
            incarnation: life.map(|life| life.0),
            is_alive: life.is_some_and(|life| tx.is_alive(life)),
            told: slot.map(Told::from),
        }
    };
    Ok(Some(TeamStatistics {
        name: name.to_owned(),
        is_over: members.is_over,
        stations: members.lives.iter().enumerate().map(station).collect(),
    }))
}

/// The names of all teams of a heap.
///
/// # Errors
/// As [`Station::roots`](crate::Station::roots).
pub fn names(tx: &Transaction<'_>) -> Result<Vec<String>> {
    let roots = heap::roots(tx)?;
    let names = roots
        .iter()
        .filter_map(|root| root.name.strip_prefix(PREFIX));
    Ok(names.map(str::to_owned).collect())
}

/// Makes room for what the stations of a team will tell.
pub(super) fn set_up(tx: &mut Transaction<'_>, name: &str, size: u16) -> Result<()> {
    let slots = tx.alloc_slice::<Slot>(size.into())?;
    tx.set_root(&root_name(name), slots)
}

/// Where a station tells, if there is room for that.
pub(super) fn slot(tx: &Transaction<'_>, name: &str, rank: u16) -> Result<Option<Ptr<Slot>>> {
    let slots = tx.find_root::<[Slot]>(&root_name(name))?;
    Ok(slots.and_then(|slots| slots.get(rank.into())))
}

/// As long as that of the team's data, so that no name is too long for this alone.
fn root_name(name: &str) -> String {
    format!("stat/{name}")
}

impl From<&Slot> for Told {
    fn from(slot: &Slot) -> Self {
        Self {
            began: slot.began,
            elapsed: Duration::from_nanos(slot.elapsed_ns),
            phases: slot.phases,
            first_phase: slot.first_phase,
            workers: u16::try_from(slot.workers).unwrap_or(u16::MAX),
            counts: Counts {
                faults: slot.faults,
                messages: slot.messages,
                bytes: slot.bytes,
                fetches: slot.fetches,
                changes: slot.changes,
                pages: slot.pages,
                notices: slot.notices,
            },
            waited: Duration::from_nanos(slot.waited_ns),
            waited_least: Duration::from_nanos(slot.waited_least_ns),
            waited_most: Duration::from_nanos(slot.waited_most_ns),
            busiest: Duration::from_nanos(slot.busiest_ns),
            lines: slot.lines,
            line_pages: slot.line_pages,
        }
    }
}
