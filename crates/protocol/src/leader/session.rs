//! Sessions: how a connection becomes a member's, what a member says outside of commits, and how
//! members end.

use std::collections::BTreeMap;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::{
    Item, Join, Member, PageRun, Request, Resume, SessionRefusal, ToLeader, ToStation, Violation,
    Welcome,
};
use plurix_wire::record::Body;
use plurix_wire::{CommitNumber, Generation, Incarnation, LineMask, PageNumber, StationId};

use super::members::{Link, MemberState, Turn};
use super::pages::Slot;
use super::stream::Stream;
use super::{Command, Leader};
use crate::{ConnectionId, Span, Time};

impl Leader {
    pub(super) fn message(&mut self, now: Time, connection: ConnectionId, message: ToLeader) {
        match message {
            ToLeader::Status => self.commands.push_back(Command::SendStatus { connection }),
            ToLeader::Shutdown => self.shutdown(connection),
            _ if self.stopping => self.refuse(connection, SessionRefusal::ShuttingDown),
            ToLeader::Ask(question) => self.ask(now, connection, &question),
            ToLeader::Checkpoint => self.ask_checkpoint(now, connection),
            ToLeader::Join(join) => self.join(now, connection, &join),
            ToLeader::Resume(resume) => self.resume(now, connection, &resume),
            ToLeader::Request {
                incarnation,
                generation,
                request,
            } => {
                self.request(now, connection, (incarnation, generation), request);
            }
            ToLeader::RecoveryLine {
                incarnation,
                generation,
                request,
            } => {
                self.recovery_line(now, connection, (incarnation, generation), request);
                self.schedule(now);
            }
        }
    }

    fn request(
        &mut self,
        now: Time,
        connection: ConnectionId,
        (incarnation, generation): (Incarnation, Generation),
        request: Request,
    ) {
        let Some(slot) = self.members.of_connection(connection) else {
            let refusal = SessionRefusal::Violation(Violation::OutOfOrder);
            return self.refuse(connection, refusal);
        };
        let member = self.members.get(slot).member;
        if member.incarnation != incarnation || generation != self.generation {
            return; // A message from an earlier life changes nothing.
        }
        self.members.heard(slot, now);
        let checked = match request {
            Request::Heartbeat => Ok(()),
            Request::Numbers(numbers) => {
                self.members.get_mut(slot).numbers = Some(numbers);
                Ok(())
            }
            Request::Latest => self.has_room(slot).map(|()| {
                let stream = &mut self.members.get_mut(slot).stream;
                stream.push(self.number, Item::Latest);
                self.make_urgent(slot);
            }),
            Request::Durable { through } => self.ask_durable(slot, through),
            // Who asks again for what it holds is granted it again: each is an answer that waits.
            Request::Token { attempt_us } => self
                .has_room(slot)
                .map(|()| self.ask_token(slot, Span::from_micros(attempt_us.into()))),
            Request::ReturnToken => {
                self.token.return_from(slot);
                Ok(())
            }
            Request::Watch => {
                self.watch(slot);
                Ok(())
            }
            Request::Commit(commit) => self.has_room(slot).and_then(|()| self.commit(slot, commit)),
            Request::Fetch { run, snapshot } => self.fetch(slot, run, snapshot),
            Request::Drop { pages } => self.forget(slot, &pages),
            Request::Leave => {
                self.drop_member(slot);
                self.commands.push_back(Command::Close { connection });
                Ok(())
            }
        };
        if let Err(violation) = checked {
            self.violation(slot, violation);
        }
        self.schedule(now);
    }

    /// Whether one more answer may wait for the member: who asks without reading is not served for
    /// ever.
    fn has_room(&self, slot: Slot) -> Result<(), Violation> {
        let waiting = self.members.get(slot).stream.answer_bytes();
        if waiting > self.settings.answer_bytes_max {
            return Err(Violation::TooManyInFlight);
        }
        Ok(())
    }

    fn join(&mut self, now: Time, connection: ConnectionId, join: &Join) {
        if self.members.of_connection(connection).is_some() {
            return self.refuse(connection, SessionRefusal::Violation(Violation::OutOfOrder));
        }
        if let Some(refusal) = self.taken_back(join.generation, join.seen) {
            return self.refuse(connection, refusal);
        }
        let station = match join.station {
            None => self.members.free_station(if join.observer {
                self.settings.stations_max + 1
            } else {
                1
            }),
            Some(station) => match self.predecessor(station) {
                Ok(()) => station,
                Err(refusal) => return self.refuse(connection, refusal),
            },
        };
        if self.members.len() >= self.settings.stations_max as usize {
            return self.refuse(connection, SessionRefusal::Full(self.settings.stations_max));
        }
        self.incarnations = self
            .incarnations
            .checked_add(1)
            .expect("2^32 joins in one term");
        let incarnation = Incarnation::of(self.term, self.incarnations);
        let member = Member {
            station,
            incarnation,
            observer: join.observer,
        };
        self.append(Body::Joined(member));
        self.announce(&Item::Joined(member));
        let link = Link::Connected {
            connection,
            heard: now,
        };
        let slot = self
            .members
            .insert(MemberState::new(member, link, now, self.logged));
        self.welcome(slot, connection, self.logged);
        self.schedule(now);
    }

    /// Drops the member whose number a newcomer takes over, unless it is alive.
    fn predecessor(&mut self, station: StationId) -> Result<(), SessionRefusal> {
        let Some(slot) = self.members.of_station(station) else {
            return Ok(());
        };
        if self.members.get(slot).connection().is_some() {
            return Err(SessionRefusal::StationTaken(station));
        }
        self.drop_member(slot);
        Ok(())
    }

    fn resume(&mut self, now: Time, connection: ConnectionId, resume: &Resume) {
        let slot = self.members.of_incarnation(resume.incarnation);
        // Also if its joining was lost with the commits that it has seen: to begin a new life would
        // hide that they are gone.
        if let Some(refusal) = self.taken_back(resume.generation, resume.through) {
            if let Some(slot) = slot {
                self.give_up(slot, connection);
            }
            return self.refuse(connection, refusal);
        }
        let Some(slot) = slot else {
            return self.refuse(connection, SessionRefusal::UnknownIncarnation);
        };
        let other = self.members.of_connection(connection);
        if other.is_some_and(|other| other != slot) {
            return self.refuse(connection, SessionRefusal::Violation(Violation::OutOfOrder));
        }
        let stale = match self.hold_again(slot, resume) {
            Ok(stale) => stale,
            Err(violation) => {
                self.give_up(slot, connection);
                return self.refuse(connection, SessionRefusal::Violation(violation));
            }
        };
        let old = self.members.relink(
            slot,
            Link::Connected {
                connection,
                heard: now,
            },
        );
        if let Some(old) = old.filter(|old| *old != connection) {
            self.commands.push_back(Command::Close { connection: old });
        }
        self.token.forget(slot);
        let state = self.members.get_mut(slot);
        state.stream = Stream::new(resume.through, stale);
        state.said = now;
        state.awaits_durable = None;
        state.watches = false;
        // The connection that was named before may be the lost one.
        state.turn = Turn::None;
        self.welcome(slot, connection, resume.through);
        self.make_urgent(slot);
    }

    /// Drops the member that may not resume on `connection`, with the connection that it had.
    fn give_up(&mut self, slot: Slot, connection: ConnectionId) {
        let old = self.members.get(slot).connection();
        self.drop_member(slot);
        if let Some(old) = old.filter(|old| *old != connection) {
            self.commands.push_back(Command::Close { connection: old });
        }
    }

    /// What a station of `generation` that has seen the heap up to `through` must hear, if that is
    /// more than the heap has. A generation that this heap never had is of a line that was abandoned
    /// when a checkpoint was restored: where that line left this one is not known here.
    fn taken_back(
        &mut self,
        generation: Generation,
        through: CommitNumber,
    ) -> Option<SessionRefusal> {
        if generation == self.generation && through > self.number {
            self.raise_generation();
        }
        let is_behind = self
            .cuts
            .iter()
            .any(|(later, cut)| *later > generation && through > *cut);
        let is_abandoned = through > CommitNumber(0)
            && generation > Generation(0)
            && generation < self.generation
            && self.cuts.iter().all(|(known, _)| *known != generation);
        let knows_better = is_behind || is_abandoned;
        let is_let_in = !knows_better || canary::strikes(Canary::StaleGeneration);
        if is_let_in && generation <= self.generation && through <= self.logged {
            return None;
        }
        // What it lives on from is the oldest of the states that the heap went back to since.
        let later = self.cuts.iter().filter(|(later, _)| *later > generation);
        let cut = later.map(|(_, cut)| *cut).min().unwrap_or(self.logged);
        self.counters.lost = self.counters.lost.max(through.0.saturating_sub(cut.0));
        let generation = self.generation;
        Some(SessionRefusal::RolledBack { generation, cut })
    }

    /// Answered commits are missing: what follows must not be mistaken for them. Everybody resumes
    /// in the new generation or learns that the heap was rolled back.
    fn raise_generation(&mut self) {
        self.generation = Generation(self.generation.0 + 1);
        self.cuts.push((self.generation, self.number));
        self.append(Body::Generation);
        self.token.clear();
        for slot in self.members.slots() {
            if let Some(connection) = self.members.get(slot).connection() {
                self.commands.push_back(Command::Close { connection });
            }
        }
    }

    /// Makes the member a holder of exactly the pages it lists; answers what it missed of them.
    fn hold_again(
        &mut self,
        slot: Slot,
        resume: &Resume,
    ) -> Result<BTreeMap<PageNumber, LineMask>, Violation> {
        self.release_all(slot);
        let mut stale = BTreeMap::new();
        for page in self.checked_runs(&resume.pages)? {
            self.hold(slot, page);
            let missed = self.pages.written_since(page, resume.through);
            if missed != LineMask(0) {
                stale.insert(page, missed);
            }
        }
        Ok(stale)
    }

    fn welcome(&mut self, slot: Slot, connection: ConnectionId, through: CommitNumber) {
        let member = self.members.get(slot).member;
        let living = self.members.iter().map(|(_, state)| state.member);
        // Who was dropped after `through` may have commits up to there that are not known to this
        // member yet; it learns of their end with the commits.
        let leaving = self.leaving.iter().map(|(_, member)| *member);
        let welcome = Welcome {
            station: member.station,
            incarnation: member.incarnation,
            term: self.term,
            generation: self.generation,
            through,
            heap_bytes: self.settings.heap_bytes,
            silence_ms_max: self.settings.silence_max.as_millis() as u32,
            in_flight_max: self.settings.outcomes_max as u32,
            members: living.chain(leaving).collect(),
        };
        self.send(connection, ToStation::Welcome(welcome));
        for (number, member) in self.leaving.clone() {
            let stream = &mut self.members.get_mut(slot).stream;
            stream.push(number, Item::Left(member.incarnation));
            self.make_urgent(slot);
        }
    }

    fn fetch(&mut self, slot: Slot, run: PageRun, snapshot: CommitNumber) -> Result<(), Violation> {
        if run.count == 0 || run.count > plurix_wire::message::FETCH_PAGES_MAX {
            return Err(Violation::MalformedList);
        }
        if snapshot > self.logged && !canary::strikes(Canary::TrustSnapshot) {
            return Err(Violation::SnapshotFromTheFuture);
        }
        for page in self.checked_runs(&[run])? {
            self.has_room(slot)?;
            self.members.get_mut(slot).stream.forget(page);
            self.hold(slot, page);
            self.pages.touch(page);
            let served = self
                .history
                .page_as_of(&self.pages, page, snapshot, self.number);
            self.counters.fetches += 1;
            let state = self.members.get_mut(slot);
            state.fetches += 1;
            state.stream.push(self.number, Item::Page(Box::new(served)));
        }
        self.make_urgent(slot);
        Ok(())
    }

    fn forget(&mut self, slot: Slot, pages: &[PageRun]) -> Result<(), Violation> {
        for page in self.checked_runs(pages)? {
            if self.members.get_mut(slot).held.remove(&page) {
                self.members.get_mut(slot).stream.forget(page);
                let holders = &mut self.pages.entry(page).holders;
                holders.retain(|holder| *holder != slot);
                if holders.is_empty() {
                    // Stations with little memory give up every page of a large heap in turn.
                    *holders = Vec::new();
                }
            }
        }
        Ok(())
    }

    /// The pages of ascending runs, all of them within the heap.
    fn checked_runs<'r>(
        &self,
        runs: &'r [PageRun],
    ) -> Result<impl Iterator<Item = PageNumber> + use<'r>, Violation> {
        let mut end = 0u64;
        for run in runs {
            let first = u64::from(run.first.0);
            if run.count == 0 || first < end {
                return Err(Violation::MalformedList);
            }
            end = first + u64::from(run.count);
            if !u32::try_from(end - 1).is_ok_and(|last| self.pages.contains(PageNumber(last))) {
                return Err(Violation::PageBeyondHeap);
            }
        }
        Ok(runs.iter().copied().flat_map(PageRun::pages))
    }

    fn hold(&mut self, slot: Slot, page: PageNumber) {
        let is_new = self.members.get_mut(slot).held.insert(page);
        if is_new && !canary::strikes(Canary::ForgetHolder) {
            self.pages.entry(page).holders.push(slot);
        }
    }

    fn release_all(&mut self, slot: Slot) {
        for page in std::mem::take(&mut self.members.get_mut(slot).held) {
            self.pages
                .entry(page)
                .holders
                .retain(|holder| *holder != slot);
        }
    }

    /// Ends an incarnation; everybody else is told, in order.
    pub(super) fn drop_member(&mut self, slot: Slot) {
        self.token.forget(slot);
        self.release_all(slot);
        let member = self.members.get(slot).member;
        if !canary::strikes(Canary::KeepDeadLife) {
            self.members.remove(slot);
        }
        if self.number > self.logged {
            self.leaving.push((self.number, member));
        }
        self.forget_parts(member.incarnation);
        self.append(Body::Left(member.incarnation));
        self.announce(&Item::Left(member.incarnation));
    }

    fn announce(&mut self, item: &Item) {
        for slot in self.members.slots() {
            self.members
                .get_mut(slot)
                .stream
                .push(self.number, item.clone());
            self.make_lazy(slot);
        }
    }

    pub(super) fn closed(&mut self, now: Time, connection: ConnectionId, died: bool) {
        self.forget_asker(connection);
        self.forget_part(connection);
        let Some(slot) = self.members.of_connection(connection) else {
            return;
        };
        if died {
            self.drop_member(slot);
        } else {
            self.token.forget(slot);
            self.members.relink(slot, Link::Lost { since: now });
        }
        self.schedule(now);
    }

    /// Drops who was silent or away for too long.
    pub(super) fn expire(&mut self, now: Time) {
        for slot in self.members.slots() {
            let state = self.members.get(slot);
            match state.link {
                Link::Connected { connection, heard } => {
                    if now.since(heard) > self.settings.silence_max {
                        self.drop_member(slot);
                        self.refuse(connection, SessionRefusal::UnknownIncarnation);
                    }
                }
                Link::Lost { since } => {
                    if now.since(since) > self.settings.resume_max {
                        self.drop_member(slot);
                    }
                }
            }
        }
        self.schedule(now);
    }

    fn shutdown(&mut self, connection: ConnectionId) {
        self.stopping = true;
        self.token.clear();
        for slot in self.members.slots() {
            if let Some(member) = self.members.get(slot).connection() {
                self.refuse(member, SessionRefusal::ShuttingDown);
            }
        }
        for asker in self.forget_askers() {
            self.refuse(asker, SessionRefusal::ShuttingDown);
        }
        self.append(Body::Clean);
        self.commands.push_back(Command::Shutdown { connection });
    }

    /// Sees to it that what nobody waits for is sent soon.
    pub(super) fn schedule(&mut self, now: Time) {
        if !self.lazy.is_empty() && self.lazy_due.is_none() {
            self.lazy_due = Some(now + self.settings.stream_delay);
        }
    }
}
