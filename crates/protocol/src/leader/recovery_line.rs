//! Recovery lines of teams, as the leader sees them: what members hand over is put aside until the parts
//! of all have come, and replaces their pages in the heap then, as one commit.
//!
//! ```text
//!   Offer, Pages … Complete ──► put aside ──all parts complete──► one commit ──► Taken
//!                                  │ a member is lost or withdraws, a connection ends
//!                                  └──────► dropped ──► Refused
//! ```
//!
//! The log says that there was such a commit, and not what it wrote: that is in the next checkpoint. A
//! leader that starts without it has the line before.
//!
//! **Invariants**
//! 1. A line is taken only while all who handed over parts of it are members: so a team that was formed
//!    because one of them was lost finds the line it asks for unchanged.
//! 2. Pages that changed since a line are added to that line alone.
//! 3. Once a team has asked for the newest line, no line of an earlier formation is taken, although its
//!    lives may be the same.
//! 4. No line waits for a part that its member has withdrawn, whoever comes first.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use plurix_wire::canary::{self, Canary};
use plurix_wire::message::peer::{Pages, SERVED_PAGES_MAX, TEAM_MAX};
use plurix_wire::message::recovery_line::{
    Basis, LINE_STATE_BYTES_MAX, LineAnswer, LineRefusal, LineRequest, Offer, RecoveryLine,
};
use plurix_wire::message::{Delta, PageRun, ToStation};
use plurix_wire::record::{Body, HEADER_BYTES};
use plurix_wire::{
    CommitNumber, Generation, Incarnation, PAGE_BYTES, PageBytes, PageNumber, TeamId, WriteSet,
    WriteSetBuilder,
};

use super::{Durability, Leader, LostLine};
use crate::{ConnectionId, Time};

/// What the record of a line takes in the log, in bytes.
const RECORD_BYTES: u64 = HEADER_BYTES as u64 + 8;

/// Of so many teams it is known how they go on from their newest lines, and which formation is the newest.
/// Most of them have ended; nobody asks for their lines any more, but the leader does not know which.
pub(super) const TEAMS_MAX: usize = 1024;

/// The lines of all teams.
#[derive(Debug, Clone, Default, Hash)]
pub(super) struct RecoveryLines {
    newest: BTreeMap<TeamId, CommitNumber>,
    /// What their coordinators said of them, of the last ones.
    states: BTreeMap<CommitNumber, Vec<u8>>,
    /// What is being handed over.
    forming: BTreeMap<TeamId, Forming>,
    /// How often a team has begun in this term,
    asked: u32,
    /// and which formation of each is the newest.
    formations: BTreeMap<TeamId, u64>,
    /// The newest line of each that will not be complete: who offers a part of it later hears that at once.
    given_up: BTreeMap<TeamId, (u64, u32)>,
}

/// A line of which not all parts have come.
#[derive(Debug, Clone, Hash)]
struct Forming {
    formation: u64,
    cut: u32,
    /// Of the first part that was offered.
    basis: Basis,
    /// By rank.
    parts: Vec<Option<Part>>,
}

/// What one member hands over.
#[derive(Debug, Clone, Hash)]
struct Part {
    connection: ConnectionId,
    incarnation: Incarnation,
    /// In the order in which they came.
    pages: Vec<(PageNumber, Arc<PageBytes>)>,
    /// Once it is complete.
    state: Option<Vec<u8>>,
}

impl RecoveryLines {
    /// The newest line of each team. Of one that was forgotten the number alone is left.
    pub(super) fn newest(&self) -> impl ExactSizeIterator<Item = (TeamId, CommitNumber, &[u8])> {
        self.newest.iter().map(|(team, number)| {
            let state = self.states.get(number);
            (*team, *number, state.map_or(&[][..], Vec::as_slice))
        })
    }

    /// Takes the newest line of a team. The oldest of very many are forgotten: their teams can be told that
    /// they cannot go back to them, and not that there was none, as their pages are no longer zeros.
    pub(super) fn insert(&mut self, team: TeamId, line: RecoveryLine) {
        if let Some(before) = self.newest.insert(team, line.number) {
            self.states.remove(&before);
        }
        if !line.state.is_empty() {
            self.states.insert(line.number, line.state);
        }
        if self.states.len() > TEAMS_MAX {
            self.states.pop_first();
        }
    }

    /// The newest line of a team, if there is one.
    fn find(&self, team: TeamId) -> Result<Option<RecoveryLine>, LineRefusal> {
        let Some(number) = self.newest.get(&team).copied() else {
            return Ok(None);
        };
        let state = self.states.get(&number).cloned();
        let line = state.map(|state| RecoveryLine { number, state });
        line.map(Some).ok_or(LineRefusal::OtherLine(number))
    }

    /// The commit that took the newest line of any team.
    pub(super) fn last(&self) -> CommitNumber {
        self.newest.values().copied().max().unwrap_or_default()
    }

    fn number(&self, team: TeamId) -> CommitNumber {
        self.newest.get(&team).copied().unwrap_or_default()
    }

    /// Whether an offer is not of a formation that has ended, as far as is known.
    fn is_current(&self, offer: &Offer) -> bool {
        let formation = self.formations.get(&offer.team);
        let formation = formation.filter(|_| !canary::strikes(Canary::OldFormation));
        formation.is_none_or(|formation| *formation == offer.formation)
    }

    fn is_given_up(&self, offer: &Offer) -> bool {
        let given_up = self.given_up.get(&offer.team);
        let covers =
            |given_up: &(u64, u32)| given_up.0 == offer.formation && offer.cut <= given_up.1;
        given_up.is_some_and(covers) && !canary::strikes(Canary::ForgetGivenUp)
    }

    fn give_up(&mut self, team: TeamId, (formation, cut): (u64, u32)) {
        let known = self.given_up.get(&team);
        let later = known.filter(|known| known.0 == formation && known.1 > cut);
        let newest = later.copied().unwrap_or((formation, cut));
        keep(&mut self.given_up, team, newest);
    }

    fn remove_part(&mut self, connection: ConnectionId) {
        let parts = self.forming.values_mut();
        for part in parts.flat_map(|forming| forming.parts.iter_mut()) {
            part.take_if(|part| part.connection == connection);
        }
    }

    fn part(&mut self, connection: ConnectionId) -> Option<&mut Part> {
        let mut forming = self.forming.values_mut();
        forming.find_map(|forming| {
            let mut parts = forming.parts.iter_mut().flatten();
            parts.find(|part| part.connection == connection)
        })
    }

    fn team_of(&self, connection: ConnectionId) -> Option<TeamId> {
        let has = |forming: &Forming| forming.part(connection).is_some();
        let mut teams = self.forming.iter();
        teams
            .find(|(_, forming)| has(forming))
            .map(|(team, _)| *team)
    }
}

impl Forming {
    fn part(&self, connection: ConnectionId) -> Option<&Part> {
        let mut parts = self.parts.iter().flatten();
        parts.find(|part| part.connection == connection)
    }

    fn is_of(&self, offer: &Offer) -> bool {
        // Of several parts that hold all, each says on its own what it needs to be there.
        let fit_together = match (self.basis, offer.basis) {
            (Basis::All(_), Basis::All(_)) => true,
            (one, other) => one == other,
        };
        let cut = (self.formation, self.cut, self.parts.len());
        fit_together && cut == (offer.formation, offer.cut, usize::from(offer.size))
    }

    fn is_complete(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.all(|part| part.as_ref().is_some_and(|part| part.state.is_some()))
    }
}

type Checked = Result<(), LineRefusal>;

impl Leader {
    /// Takes what a member of a team says of recovery lines.
    pub(super) fn recovery_line(
        &mut self,
        now: Time,
        connection: ConnectionId,
        (incarnation, generation): (Incarnation, Generation),
        request: LineRequest,
    ) {
        let is_member = self.members.of_incarnation(incarnation).is_some();
        if generation != self.generation || !is_member {
            return self.answer(connection, LineAnswer::Lost(LineRefusal::NotAMember));
        }
        let handed = match request {
            LineRequest::Ask(team) => {
                return self.begin_formation(connection, team);
            }
            LineRequest::Load { team, line, run } => {
                return match self.load(connection, team, line, run) {
                    Ok(()) => {}
                    Err(refusal) => self.answer(connection, LineAnswer::Lost(refusal)),
                };
            }
            LineRequest::Withdraw(offer) => {
                return self.give_up_line(&offer);
            }
            LineRequest::Offer(offer) => {
                let offered = self.offer(connection, incarnation, &offer);
                if offered.is_err() {
                    self.give_up_line(&offer);
                }
                offered
            }
            LineRequest::Pages(pages) => self.put_aside(connection, &pages),
            LineRequest::Complete { state } => self.complete(now, connection, state),
        };
        if let Err(refusal) = handed {
            // The others hear that it is abandoned, and this one why.
            if let Some(team) = self.recovery_lines.team_of(connection) {
                self.recovery_lines.remove_part(connection);
                self.abandon(team);
            }
            self.answer(connection, LineAnswer::Refused(refusal));
        }
    }

    /// A team begins. Nothing that was handed over before is taken any more.
    fn begin_formation(&mut self, connection: ConnectionId, team: TeamId) {
        if !canary::strikes(Canary::OldFormation) {
            self.abandon(team);
        }
        let lines = &mut self.recovery_lines;
        lines.asked = lines.asked.wrapping_add(1);
        let formation = self.term.0 << 32 | u64::from(lines.asked);
        keep(&mut lines.formations, team, formation);
        lines.given_up.remove(&team);
        let answer = match lines.find(team) {
            Ok(line) => LineAnswer::Newest { formation, line },
            Err(refusal) => LineAnswer::Lost(refusal),
        };
        self.answer(connection, answer);
    }

    /// A line that a part is missing of, and will be.
    fn give_up_line(&mut self, offer: &Offer) {
        if !self.recovery_lines.is_current(offer) {
            return;
        }
        let forming = self.recovery_lines.forming.get(&offer.team);
        if forming.is_some_and(|forming| forming.is_of(offer)) {
            self.abandon(offer.team);
        }
        self.recovery_lines
            .give_up(offer.team, (offer.formation, offer.cut));
    }

    fn answer(&mut self, connection: ConnectionId, answer: LineAnswer) {
        self.send(connection, ToStation::RecoveryLine(answer));
    }

    /// Answers with pages of a line. Later lines of the same team have not changed what it has not
    /// loaded.
    fn load(
        &mut self,
        connection: ConnectionId,
        team: TeamId,
        line: CommitNumber,
        run: PageRun,
    ) -> Checked {
        let newest = self.recovery_lines.number(team);
        if newest < line {
            return Err(LineRefusal::OtherLine(newest));
        }
        self.check_run(run)?;
        let images: Vec<_> = run.pages().map(|page| self.pages.image(page)).collect();
        let mut first = run.first;
        for part in images.chunk_by(|one, other| one.is_some() == other.is_some()) {
            let mut bytes = BytesMut::with_capacity(part.len() * PAGE_BYTES);
            let known = part.iter().flatten();
            known.for_each(|image| bytes.extend_from_slice(&image[..]));
            let pages = Pages {
                run: PageRun::new(first, part.len() as u32),
                bytes: bytes.freeze(),
            };
            first = PageNumber(first.0.wrapping_add(part.len() as u32));
            self.answer(connection, LineAnswer::Pages(pages));
        }
        Ok(())
    }

    fn check_run(&self, run: PageRun) -> Checked {
        let last = u64::from(run.first.0) + u64::from(run.count) - u64::from(run.count.min(1));
        let is_sound = (1..=SERVED_PAGES_MAX).contains(&run.count)
            && u32::try_from(last).is_ok_and(|last| self.pages.contains(PageNumber(last)));
        is_sound.then_some(()).ok_or(LineRefusal::Malformed)
    }

    fn offer(
        &mut self,
        connection: ConnectionId,
        incarnation: Incarnation,
        offer: &Offer,
    ) -> Checked {
        let is_sound = (1..=TEAM_MAX).contains(&offer.size) && offer.rank.0 < offer.size;
        if !is_sound {
            return Err(LineRefusal::Malformed);
        }
        // Who offers a part of a later line knows that the one before has come to nothing.
        if let Some(team) = self.recovery_lines.team_of(connection) {
            self.abandon(team);
        }
        if !self.recovery_lines.is_current(offer) || self.recovery_lines.is_given_up(offer) {
            return Err(LineRefusal::Abandoned);
        }
        let newest = self.recovery_lines.number(offer.team);
        let fits = match offer.basis {
            Basis::Changed(line) => line == newest,
            Basis::All(line) => line <= newest,
        };
        if !fits && !canary::strikes(Canary::OtherBasis) {
            if let Basis::All(line) = offer.basis {
                let team = offer.team;
                let lost = LostLine { team, line, newest };
                self.lost_lines.note(offer.formation, lost);
            }
            return Err(LineRefusal::OtherLine(newest));
        }
        let forming = self.recovery_lines.forming.get(&offer.team);
        if forming.is_none_or(|forming| !forming.is_of(offer)) {
            if forming
                .is_some_and(|other| other.formation == offer.formation && other.cut > offer.cut)
            {
                return Err(LineRefusal::Abandoned);
            }
            self.abandon(offer.team);
            let forming = Forming {
                formation: offer.formation,
                cut: offer.cut,
                basis: offer.basis,
                parts: vec![None; usize::from(offer.size)],
            };
            self.recovery_lines.forming.insert(offer.team, forming);
        }
        let forming = self.recovery_lines.forming.get_mut(&offer.team);
        let part = forming.and_then(|forming| forming.parts.get_mut(usize::from(offer.rank.0)));
        match part {
            Some(part) if part.is_none() => {
                *part = Some(Part {
                    connection,
                    incarnation,
                    pages: Vec::new(),
                    state: None,
                });
                Ok(())
            }
            _ => Err(LineRefusal::Malformed),
        }
    }

    fn put_aside(&mut self, connection: ConnectionId, pages: &Pages) -> Checked {
        self.check_run(pages.run)?;
        let most = self.settings.heap_bytes / PAGE_BYTES as u64;
        let Some(part) = self.recovery_lines.part(connection) else {
            // Of a line that was given up.
            return Ok(());
        };
        let count = part.pages.len() as u64 + u64::from(pages.run.count);
        if part.state.is_some() || count > most {
            return Err(LineRefusal::Malformed);
        }
        for (page, bytes) in pages.each() {
            part.pages.push((page, self.spare_images.image(bytes)));
        }
        Ok(())
    }

    fn complete(&mut self, now: Time, connection: ConnectionId, state: Vec<u8>) -> Checked {
        if state.len() > LINE_STATE_BYTES_MAX {
            return Err(LineRefusal::Malformed);
        }
        let Some(part) = self.recovery_lines.part(connection) else {
            return Ok(());
        };
        part.state = Some(state);
        let team = self.recovery_lines.team_of(connection);
        let forming = &mut self.recovery_lines.forming;
        let complete = team.filter(|team| forming.get(team).is_some_and(Forming::is_complete));
        let Some(team) = complete else {
            return Ok(());
        };
        if RECORD_BYTES > self.room {
            self.counters.log_full += 1;
            return Err(LineRefusal::LogFull);
        }
        if let Some(forming) = self.recovery_lines.forming.remove(&team) {
            self.take_line(team, forming);
            // It is lost with this process before that.
            if self.settings.checkpoint.is_some() {
                self.want_checkpoint(now);
            }
        }
        Ok(())
    }

    /// All parts are there: they become a commit.
    fn take_line(&mut self, team: TeamId, forming: Forming) {
        self.room -= RECORD_BYTES;
        let number = self.number.next();
        self.number = number;
        if self.settings.durability == Durability::Memory {
            self.logged = number;
        }
        // Whoever hears of the line finds it in the log.
        self.append(Body::RecoveryLine(team));
        let mut state = None;
        for part in forming.parts.into_iter().flatten() {
            for (page, image) in part.pages {
                self.tell_holders(number, page, &image);
                if let Some(replaced) = self.pages.replace(number, page, image) {
                    self.spare_images.keep(replaced);
                }
            }
            // The coordinator is the first.
            state = state.or(part.state);
            self.answer(part.connection, LineAnswer::Taken(number));
        }
        self.history.push(number, &WriteSet::default(), &[]);
        self.counters.commits += 1;
        let state = state.unwrap_or_default();
        self.recovery_lines
            .insert(team, RecoveryLine { number, state });
    }

    /// Transactions do not read weak pages, but may have fetched them with their neighbours.
    fn tell_holders(&mut self, number: CommitNumber, page: PageNumber, image: &PageBytes) {
        let holders = self.pages.get(page).map(|entry| entry.holders.clone());
        let holders = holders.unwrap_or_default();
        if holders.is_empty() {
            return;
        }
        let mut writes = WriteSetBuilder::new();
        writes.push(page, 0, image);
        let writes = writes.finish();
        for slot in holders {
            let delta = Delta {
                number,
                writes: writes.clone(),
            };
            let backlog_max = self.settings.backlog_bytes_max;
            let state = self.members.get_mut(slot);
            state.stream.push_delta(delta, backlog_max);
            self.make_lazy(slot);
        }
    }

    /// A member's life has ended: no line is taken that it has a part in.
    pub(super) fn forget_parts(&mut self, incarnation: Incarnation) {
        let has = |forming: &Forming| {
            let mut parts = forming.parts.iter().flatten();
            parts.any(|part| part.incarnation == incarnation)
        };
        let forming = self.recovery_lines.forming.iter();
        let teams: Vec<TeamId> = forming
            .filter(|(_, forming)| has(forming))
            .map(|(team, _)| *team)
            .collect();
        teams.into_iter().for_each(|team| self.abandon(team));
    }

    /// A connection has ended: whoever handed over a part on it does so no more.
    pub(super) fn forget_part(&mut self, connection: ConnectionId) {
        if let Some(team) = self.recovery_lines.team_of(connection) {
            self.abandon(team);
        }
    }

    /// Drops all parts of the line that a team hands over, if there is one.
    fn abandon(&mut self, team: TeamId) {
        let forming = self.recovery_lines.forming.remove(&team);
        if let Some(forming) = &forming {
            let cut = (forming.formation, forming.cut);
            self.recovery_lines.give_up(team, cut);
        }
        for part in forming
            .into_iter()
            .flat_map(|forming| forming.parts)
            .flatten()
        {
            self.answer(part.connection, LineAnswer::Refused(LineRefusal::Abandoned));
        }
    }
}

/// Notes something of a team; of very many, the one with the least is forgotten, which is the oldest, as
/// formations ascend.
pub(super) fn keep<V: Copy + Ord>(notes: &mut BTreeMap<TeamId, V>, team: TeamId, note: V) {
    notes.insert(team, note);
    if notes.len() > TEAMS_MAX {
        let oldest = notes.iter().min_by_key(|(_, note)| **note);
        let oldest = oldest.map(|(team, _)| *team);
        oldest.and_then(|team| notes.remove(&team));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_line_of_very_many_is_forgotten_and_not_taken_for_none() {
        let mut lines = RecoveryLines::default();
        let line = |number: u64| RecoveryLine {
            number: CommitNumber(number),
            state: vec![7],
        };
        let teams = TEAMS_MAX as u64;
        // The first team has the newest line, and the second one the oldest.
        (0..teams).for_each(|team| lines.insert(TeamId(team), line(team + 1)));
        lines.insert(TeamId(0), line(teams + 1));
        assert_eq!(lines.find(TeamId(1)), Ok(Some(line(2))));
        lines.insert(TeamId(teams), line(teams + 2));
        let forgotten = Err(LineRefusal::OtherLine(CommitNumber(2)));
        assert_eq!(lines.find(TeamId(1)), forgotten);
        assert_eq!(lines.find(TeamId(0)), Ok(Some(line(teams + 1))));
        assert_eq!(lines.find(TeamId(2)), Ok(Some(line(3))));
        assert_eq!(lines.find(TeamId(teams + 1)), Ok(None));

        // What the next leader has of it is the same.
        let mut next = RecoveryLines::default();
        for (team, number, state) in lines.newest() {
            let state = state.to_vec();
            next.insert(team, RecoveryLine { number, state });
        }
        assert_eq!(next.find(TeamId(1)), forgotten);
        assert_eq!(next.find(TeamId(2)), Ok(Some(line(3))));

        // Who has gone on from it still has its number, and adds the next line to it.
        assert_eq!(next.number(TeamId(1)), CommitNumber(2));
        next.insert(TeamId(1), line(teams + 3));
        assert_eq!(next.find(TeamId(1)), Ok(Some(line(teams + 3))));
    }

    #[test]
    fn the_oldest_note_of_very_many_is_forgotten() {
        let mut notes = BTreeMap::new();
        let teams = TEAMS_MAX as u64;
        (0..=teams).for_each(|team| keep(&mut notes, TeamId(teams - team), team));
        assert_eq!(notes.len(), TEAMS_MAX);
        assert!(!notes.contains_key(&TeamId(teams)));
    }
}
