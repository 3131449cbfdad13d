//! The session of a station: opening, resuming, hearing the leader, and starting a new life when
//! the leader has given up the old one.

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::insight::StationNumbers;
use plurix_wire::message::{
    Batch, Content, Delta, Item, Join, PageRun, Request, Resume, SessionRefusal, ToLeader,
    ToStation, Welcome,
};
use plurix_wire::{Generation, Incarnation, PAGE_BYTES, PageNumber, StreamSequence};

use super::cache::Cache;
use super::{Outcome, Session, State, Station, Transaction};
use crate::page_set::PageSet;
use crate::{Span, Time};

/// A station speaks so often in the silence that the leader bears: one word may be late, and lost
/// with the connection another.
const WORDS_IN_SILENCE: u64 = 4;
/// More words than that would cost more than they say.
const HEARTBEAT_MIN: Span = Span::from_millis(1);

/// A station tells of itself no more often.
const NUMBERS_EVERY: Span = Span::from_millis(1_000);

/// Why a connection to the leader is of no use any more. The caller closes it and connects again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// A batch is missing.
    #[error("batch {found} follows {newest}; reconnecting")]
    Gap {
        /// The newest batch received.
        newest: StreamSequence,
        /// The batch that came.
        found: StreamSequence,
    },
    /// The leader said something that makes no sense here.
    #[error("the leader broke the protocol: {0}")]
    Violation(&'static str),
}

impl Station {
    /// A connection to a page server has been made: asks to begin or resume the session.
    pub fn connected(&mut self, now: Time) {
        assert!(
            !matches!(self.state, State::Active),
            "one connection at a time"
        );
        self.state = State::Opening;
        (self.heard, self.said) = (now, now);
        self.out.clear();
        let message = match &mut self.session {
            None => ToLeader::Join(Join {
                station: self.number,
                observer: self.settings.observer,
                generation: self.seen.0,
                seen: self.seen.1,
            }),
            Some(session) => {
                session.stream = StreamSequence(0);
                let (through, held) = self.cache.cut();
                session.through = through;
                ToLeader::Resume(Resume {
                    incarnation: session.incarnation,
                    generation: session.generation,
                    through,
                    pages: PageRun::compact(held),
                })
            }
        };
        self.out.push(message);
    }

    /// The connection is lost.
    pub fn disconnected(&mut self) {
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Waiting;
        }
        self.out.clear();
        self.awaited = PageSet::default();
        self.token = Default::default();
    }

    /// The refusal that ended the session has passed: it may be opened once more.
    pub fn retry(&mut self) {
        if matches!(self.state, State::Ended(_)) {
            self.state = State::Waiting;
        }
    }

    /// Takes a message of the leader.
    ///
    /// # Errors
    /// [`StreamError`] if the connection must be given up; nothing of the message was used.
    pub fn handle(&mut self, now: Time, message: ToStation) -> Result<(), StreamError> {
        self.heard = now;
        match message {
            ToStation::Welcome(welcome) => self.welcome(welcome),
            ToStation::Batch(batch) => self.batch(batch),
            ToStation::Refused(refusal) => {
                self.refused(refusal);
                Ok(())
            }
            ToStation::Status(_)
            | ToStation::Stopping
            | ToStation::Checkpointed(_)
            | ToStation::RecoveryLine(_)
            | ToStation::Insight(_) => Err(StreamError::Violation(
                "an answer to a question that was not asked",
            )),
        }
    }

    /// Says that the station is alive, if it has been silent; answers whether the leader has been
    /// silent for too long and the connection must be given up.
    pub fn tick(&mut self, now: Time) -> bool {
        if matches!(self.state, State::Active) && now.since(self.said) >= self.heartbeat {
            self.said = now;
            self.request(Request::Heartbeat);
        }
        let listening = matches!(self.state, State::Active | State::Opening);
        listening && now.since(self.heard) > self.settings.silence_max
    }

    /// Whether the leader should hear what only the station knows of itself: it is told beside a
    /// heartbeat now and then, by [`tell_numbers`](Self::tell_numbers).
    #[must_use]
    pub fn wants_numbers(&self, now: Time) -> bool {
        matches!(self.state, State::Active) && now.since(self.told) >= NUMBERS_EVERY
    }

    /// Tells the leader what only the station knows of itself.
    pub fn tell_numbers(&mut self, now: Time, numbers: StationNumbers) {
        self.told = now;
        self.request(Request::Numbers(Box::new(numbers)));
    }

    /// How long the leader has been silent.
    #[must_use]
    pub fn silence(&self, now: Time) -> Span {
        now.since(self.heard)
    }

    /// When [`tick`](Self::tick) is due. Always later than the last call of it, so that who waits
    /// for it does not spin: without a session there is no heartbeat to wait for.
    #[must_use]
    pub fn next_timeout(&self) -> Time {
        let given_up = self.heard + self.settings.silence_max + Span(1);
        match self.state {
            State::Active => given_up.min(self.said + self.heartbeat),
            State::Opening => given_up,
            State::Waiting | State::Ended(_) => Time(u64::MAX),
        }
    }

    /// Ends the session in order.
    pub fn leave(&mut self) {
        self.request(Request::Leave);
    }

    fn welcome(&mut self, welcome: Welcome) -> Result<(), StreamError> {
        if !matches!(self.state, State::Opening) {
            return Err(StreamError::Violation("a second welcome"));
        }
        // Memory was made for the size that was told first.
        if self
            .heap_bytes
            .is_some_and(|told| told != welcome.heap_bytes)
        {
            return Err(StreamError::Violation("a heap of another size than before"));
        }
        if let Some(session) = &self.session
            && (session.incarnation != welcome.incarnation || welcome.term < session.term)
        {
            return Err(StreamError::Violation("welcome for another life"));
        }
        let borne = Span::from_millis(welcome.silence_ms_max.into());
        let often = Span(borne.0 / WORDS_IN_SILENCE).max(HEARTBEAT_MIN);
        self.heartbeat = self.settings.heartbeat.min(often);
        self.heap_bytes = Some(welcome.heap_bytes);
        self.state = State::Active;
        self.number = Some(welcome.station);
        let queue_bytes_max = self.settings.queue_bytes_max;
        let resumed = self.session.as_ref().map(|session| session.through);
        self.doubt_durable(welcome.generation, resumed.unwrap_or(self.seen.1));
        match &mut self.session {
            Some(session) => {
                session.term = welcome.term;
                session.generation = welcome.generation;
                session.in_flight_max = welcome.in_flight_max.max(1);
                self.cache.resume_members(welcome.members);
                self.submit_again(welcome.generation);
            }
            None => {
                self.session = Some(Session::new(&welcome));
                let orphans = self.cache.abandon();
                self.cache =
                    Cache::new(welcome.through, &welcome.members, orphans, queue_bytes_max);
                // Nothing was seen in an earlier life: there was none, or it was rolled back.
                let was_rolled_back = self.seen == Default::default();
                if was_rolled_back && canary::strikes(Canary::RollbackForgetsCache) {
                    self.cache.keep_orphans();
                }
            }
        }
        self.fetch_missed();
        self.ask_durable_again();
        self.ask_to_watch();
        Ok(())
    }

    /// Sends again what the leader has not answered yet.
    fn submit_again(&mut self, generation: Generation) {
        let alone = match &mut self.transaction {
            Transaction::Committing(submitted) => Some(submitted),
            _ => None,
        };
        let mut unanswered = Vec::new();
        for submitted in alone.into_iter().chain(self.pipeline.submitted_mut()) {
            submitted.set_generation(generation);
            match self.cache.answer(submitted.commit().sequence) {
                None => unanswered.push(submitted.commit().sequence),
                Some(Ok(_)) => {}
                // What follows it is refused with it.
                Some(Err(_)) => break,
            }
        }
        for sequence in unanswered {
            self.send(sequence);
        }
    }

    /// The leader ends the session, or begins none. If it does not know this life any more, the
    /// station begins a new one, and if its number was only ever assigned to it and has been taken,
    /// with another number.
    fn refused(&mut self, refusal: SessionRefusal) {
        match refusal {
            SessionRefusal::UnknownIncarnation | SessionRefusal::RolledBack { .. } => {
                self.state = State::Waiting;
                if let Some(session) = self.session.take() {
                    self.seen = (session.generation, self.cache.cut().0);
                }
                if matches!(refusal, SessionRefusal::RolledBack { .. }) {
                    self.seen = Default::default();
                    self.awaits_durable = None;
                }
                self.awaited = PageSet::default();
                self.pipeline.end(|sequence| self.cache.answer(sequence));
                self.transaction = match std::mem::replace(&mut self.transaction, Transaction::None)
                {
                    Transaction::Running if !canary::strikes(Canary::AcceptOldLife) => {
                        Transaction::Doomed
                    }
                    Transaction::Committing(submitted) => {
                        let answer = self.cache.answer(submitted.commit().sequence);
                        Transaction::Decided(answer.map_or(Outcome::Unknown, Outcome::from))
                    }
                    other => other,
                };
            }
            SessionRefusal::StationTaken(_)
                if self.settings.station.is_none() && self.number.take().is_some() =>
            {
                self.state = State::Waiting;
            }
            other => self.state = State::Ended(other),
        }
    }

    fn batch(&mut self, batch: Batch) -> Result<(), StreamError> {
        let (State::Active, Some(session)) = (self.state, &mut self.session) else {
            return Err(StreamError::Violation("a batch outside of a session"));
        };
        if batch.term != session.term || batch.generation != session.generation {
            return Ok(()); // From an earlier leadership or heap: changes nothing.
        }
        if batch.sequence != session.stream.next() {
            return Err(StreamError::Gap {
                newest: session.stream,
                found: batch.sequence,
            });
        }
        if batch.through < session.through {
            return Err(StreamError::Violation("a stream that goes back"));
        }
        if !is_sound(&batch, |page| self.awaited.contains(page)) {
            return Err(StreamError::Violation(
                "a page that is none, comes twice, or was not asked for",
            ));
        }
        (session.stream, session.through) = (batch.sequence, batch.through);
        self.hear_durable(&batch);
        self.token.hear(&batch);
        for item in &batch.items {
            if let Item::Page(page) = item {
                self.awaited.remove(page.page);
            }
        }
        let has_told = !batch.items.is_empty();
        self.cache.arrive(batch);
        if has_told {
            self.ask_to_watch();
        }
        Ok(())
    }

    /// Whether the leader counts this life among the living, as of the snapshot.
    #[must_use]
    pub fn is_alive(&self, incarnation: Incarnation) -> bool {
        self.cache.members().contains_key(&incarnation)
    }
}

/// What decoding cannot tell of a batch: its pages were asked for, are whole, come once, and with
/// changes of their own.
fn is_sound(batch: &Batch, is_awaited: impl Fn(PageNumber) -> bool) -> bool {
    let pages = batch.items.iter().filter_map(|item| match item {
        Item::Page(page) => Some(page.page),
        _ => None,
    });
    let mut pages: Vec<PageNumber> = pages.collect();
    pages.sort_unstable();
    if pages.windows(2).any(|pair| pair[0] == pair[1]) {
        return false;
    }
    batch.items.iter().all(|item| match item {
        Item::Page(page) => {
            let whole = match &page.content {
                Content::Zero => true,
                Content::Bytes(bytes) => bytes.len() == PAGE_BYTES,
            };
            let own = |delta: &Delta| delta.writes.sections().all(|s| s.page() == page.page);
            let ordered = page.base <= page.held_from;
            is_awaited(page.page) && whole && ordered && page.since.iter().all(own)
        }
        _ => true,
    })
}
