//! Stations that run the real library, from its driver to the allocator and the activities, where the
//! other stations of the simulation run scripts on the bare protocol.
//!
//! ```text
//!   World -- resume --> coroutine: program -> Station -> driver -> Machine (a simulated host)
//!     ^                                                              |
//!     +---- doings: frames, connects, reports <---- pauses ----------+
//! ```
//!
//! A program runs in no virtual time until it waits. It tells what it saw in [`report`]s, which are
//! judged here, by the oracles that judge the scripts.

mod activities;
mod bank;
mod churn;
mod collections;
mod fair;
mod machine;
mod outbox;
mod pipeline;
mod post;
mod program;
mod report;

use generator::{Generator, Gn};
use plurix::host::{SERVICE_PERIOD, Service};
use plurix_protocol::{ConnectionId, Span};
use plurix_wire::message::{Request, ToLeader};
use plurix_wire::{CommitId, Incarnation, PAGE_BYTES, PageNumber};

use crate::network::{Peer, Side};
use crate::oracle::session::Sight;
use crate::oracle::{Attempt, Moment, Violation, demand, opacity};
use crate::queue::Event;
use crate::server::CLUSTER;
use crate::trace::{self, Ending, Lane};
use crate::world::{Phase, World};
use machine::{Doing, Machine, Pause};
pub(crate) use program::Kind;
use report::{Report, range};

const ORACLE: &str = "library";
/// Words of a coroutine's stack.
const STACK_WORDS: usize = 32 << 10;

/// The process of one station on the real library.
pub(crate) struct Library {
    machine: Machine,
    coroutine: Generator<'static, (), Pause>,
    service: Option<Service>,
    /// Its open connection, by its own count and by the network's.
    connection: Option<(u64, ConnectionId)>,
    /// Whether it waits for input, too.
    hears: bool,
    /// Names the wake-up that counts.
    token: u64,
    attempt: Attempt,
    /// What had been answered to anybody when the transaction asked for the newest snapshot first.
    asked: Option<Moment>,
    /// The attempt has asked to commit.
    has_asked: bool,
    sight: Sight,
    /// It has seen all that it was to see at the end.
    pub(crate) is_done: bool,
}

impl Library {
    /// A process that runs a program of this kind, not yet begun.
    fn new(start: program::Start) -> Self {
        let machine = Machine::new(CLUSTER);
        let host = machine.clone();
        let coroutine = Gn::new_opt(STACK_WORDS, move || {
            program::run(host, start);
            Pause::Sleep(Span(0))
        });
        Self {
            machine,
            coroutine,
            service: None,
            connection: None,
            hears: false,
            token: 0,
            attempt: Attempt::default(),
            asked: None,
            has_asked: false,
            sight: Sight::default(),
            is_done: false,
        }
    }

    /// Lets it run until it waits again; `None` if it has come to its end.
    fn resume(&mut self) -> Option<Pause> {
        self.coroutine.resume()
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // What it holds is on its stack, and only it can give that back.
        self.machine.kill();
        while !self.coroutine.is_done() && !std::thread::panicking() {
            self.resume();
        }
    }
}

impl World {
    /// Starts a process that runs the library.
    pub(crate) fn start_library(&mut self, index: usize, kind: Kind) -> Result<(), Violation> {
        let options = self.library_options(index);
        let everybody = 0..self.members.len();
        let member = &mut self.members[index];
        member.life += 1;
        let start = program::Start {
            kind,
            index,
            everybody: everybody.filter(|it| self.mask.has_station(*it)).collect(),
            life: member.life,
            options,
            seed: member.random.below(u64::MAX),
            think_us: self.plan.workload.think_us.clone(),
            pause_us: self.plan.workload.pause_us.clone(),
            activity_ms_max: self.plan.activity_ms_max,
        };
        member.library = Some(Library::new(start));
        let life = member.life;
        let starts = trace::Kind::Started(Lane::Station(index));
        self.tell(starts, format_args!(": {kind:?}"));
        self.queue.push(
            self.now + service_period(),
            Event::Service {
                member: index,
                life,
            },
        );
        self.library_runs(index)
    }

    fn library_options(&mut self, index: usize) -> plurix::Options {
        let chance = &mut self.chance;
        let mut options = plurix::Options::default();
        options.station = self.members[index].number().map(|number| number.0);
        options.spin = std::time::Duration::ZERO;
        options.freshness = std::time::Duration::from_micros(chance.pick(&[0, 100, 20_000]));
        options.patience = std::time::Duration::from_millis(chance.pick(&[500, 60_000]));
        options.log_full_patience = std::time::Duration::from_millis(chance.pick(&[50, 30_000]));
        options.fair_after = chance.pick(&[0, 1, 3, 8]);
        options.read_ahead = self.plan.station.read_ahead;
        let pages = self.plan.station.cache_pages_max as u64;
        options.cache_bytes = pages.saturating_mul(PAGE_BYTES as u64);
        options.emulated_memory = true;
        options
    }

    /// Kills the process; what it still does, nobody sees.
    pub(crate) fn kill_library(&mut self, index: usize) -> Option<ConnectionId> {
        let library = self.members[index].library.take()?;
        library.connection.map(|(_, connection)| connection)
    }

    /// The process goes on until it waits again, and what it did meanwhile is carried out.
    pub(crate) fn library_runs(&mut self, index: usize) -> Result<(), Violation> {
        self.tell_library(index);
        let Some(library) = &mut self.members[index].library else {
            return Ok(());
        };
        let pause = library.resume();
        let ended = library.coroutine.is_done();
        self.library_did(index)?;
        demand!(!ended, ORACLE, "the program of station {index} has ended");
        let (span, hears) = match pause {
            Some(Pause::Input(span)) => (span, true),
            Some(Pause::Sleep(span)) => (span, false),
            None => return Ok(()),
        };
        let due = self.now + Span(span.0.max(1));
        let member = &mut self.members[index];
        let Some(library) = &mut member.library else {
            return Ok(());
        };
        library.hears = hears;
        library.token += 1;
        let (life, token) = (member.life, library.token);
        self.queue.push(
            due,
            Event::Wake {
                member: index,
                life,
                token,
            },
        );
        Ok(())
    }

    /// The time that the process waited for has come.
    pub(crate) fn wake_library(&mut self, index: usize, token: u64) -> Result<(), Violation> {
        match &self.members[index].library {
            Some(library) if library.token == token => self.library_runs(index),
            _ => Ok(()),
        }
    }

    /// A frame has arrived, or the end of the connection: whoever waits for that goes on.
    pub(crate) fn library_hears(
        &mut self,
        index: usize,
        connection: ConnectionId,
        frame: Option<Vec<u8>>,
    ) -> Result<(), Violation> {
        let Some(library) = &mut self.members[index].library else {
            return Ok(());
        };
        let Some((own, _)) = library.connection.filter(|(_, its)| *its == connection) else {
            return Ok(());
        };
        match frame {
            Some(frame) => library.machine.receive(own, frame),
            None => {
                library.machine.closed(own);
                library.connection = None;
            }
        }
        if library.hears {
            self.library_runs(index)?;
        }
        Ok(())
    }

    /// What the library's service thread does: looks after the session while the program computes.
    pub(crate) fn attend_library(&mut self, index: usize) -> Result<(), Violation> {
        self.tell_library(index);
        let member = &mut self.members[index];
        let Some(library) = &mut member.library else {
            return Ok(());
        };
        if let Some(service) = library.machine.take_service() {
            library.service = Some(service);
        }
        if library.service.as_ref().is_some_and(|it| !it.attend()) {
            library.service = None;
        }
        let life = member.life;
        self.library_did(index)?;
        self.queue.push(
            self.now + service_period(),
            Event::Service {
                member: index,
                life,
            },
        );
        Ok(())
    }

    fn tell_library(&mut self, index: usize) {
        let is_walled = self.network.walled_until(self.now, index).is_some();
        let is_up = self.server.process.is_some() && !is_walled;
        if let Some(library) = &self.members[index].library {
            library.machine.tell(self.now, is_up, self.phase);
        }
    }

    /// Carries out what the process did.
    fn library_did(&mut self, index: usize) -> Result<(), Violation> {
        while let Some(library) = &mut self.members[index].library {
            let Some(doing) = library.machine.next_doing() else {
                break;
            };
            let its = |own: u64| {
                library
                    .connection
                    .filter(|(open, _)| *open == own)
                    .map(|(_, connection)| connection)
            };
            match doing {
                Doing::Connect(own) => {
                    let connection = self.network.connect(Peer::Member(index));
                    library.connection = Some((own, connection));
                    let connects = trace::Kind::Remark(Lane::Station(index));
                    self.tell(connects, format_args!("connects"));
                }
                Doing::Send(own, message) => {
                    if let Some(connection) = its(own) {
                        self.library_says(index, connection, &message)?;
                    }
                }
                Doing::Close(own) => {
                    if let Some(connection) = its(own) {
                        library.connection = None;
                        let lossy = self.members[index].chance.chance(50);
                        self.close(connection, Side::Station, lossy);
                    }
                }
                Doing::Report(report) => self.judge(index, report)?,
            }
        }
        Ok(())
    }

    fn library_says(
        &mut self,
        index: usize,
        connection: ConnectionId,
        message: &ToLeader,
    ) -> Result<(), Violation> {
        if let ToLeader::Request {
            incarnation,
            request: Request::Commit(commit),
            ..
        } = message
        {
            let id = CommitId {
                incarnation: *incarnation,
                sequence: commit.sequence,
            };
            self.oracles.numbering.asked(id, &commit.writes)?;
            if let Some(library) = &mut self.members[index].library {
                library.has_asked |= library.attempt.id == Some(id);
            }
        }
        self.send(connection, Side::Leader, message);
        Ok(())
    }

    /// Judges what a program says that it saw.
    fn judge(&mut self, index: usize, report: Report) -> Result<(), Violation> {
        let phase = self.phase;
        let answered_before = self.oracles.answered;
        let member = &mut self.members[index];
        let Some(library) = &mut member.library else {
            return Ok(());
        };
        if matches!(report, Report::Done(_) | Report::GivenUp | Report::Unknown) {
            library.asked = None;
        }
        match report {
            Report::Joined => {
                library.asked = None;
                library.sight = Sight::default();
                let joins = trace::Kind::Remark(Lane::Station(index));
                self.tell(joins, format_args!("has joined"));
            }
            Report::Began(at, id) => {
                library.sight.began(Incarnation(0), at)?;
                library.attempt = Attempt {
                    at,
                    answered_before,
                    id: Some(id),
                    ..Attempt::default()
                };
                library.has_asked = false;
                self.tally.attempts += 1;
                let begins = trace::Kind::Began {
                    station: index,
                    generation: at.generation,
                    snapshot: at.number,
                };
                self.tell(begins, format_args!("a transaction"));
            }
            Report::AsksLatest => {
                library.asked.get_or_insert(answered_before);
            }
            Report::HasLatest(at, id) => {
                // A generation that lost nothing of what this station knows goes on with its numbers.
                let is_same = at.number == library.attempt.at.number;
                let is_same = is_same || library.attempt.reads.is_empty();
                demand!(is_same, ORACLE, "the snapshot moved to {at} beneath a read");
                library.sight.began(Incarnation(0), at)?;
                let asked = library.asked.unwrap_or(at);
                library.sight.strict(at, asked)?;
                (library.attempt.at, library.attempt.id) = (at, Some(id));
            }
            Report::Read(offset, bytes) => {
                let range = range(offset, &bytes);
                opacity::read(&self.oracles.model, &library.attempt, range.clone(), &bytes)?;
                library.attempt.reads.push(range);
            }
            Report::Wrote(offset, bytes) => {
                let range = range(offset, &bytes);
                library.attempt.own.extend(range.zip(bytes));
            }
            Report::Done(at) if library.has_asked => {
                let attempt = std::mem::take(&mut library.attempt);
                library.sight.committed(at);
                self.oracles.committed_among_others(&attempt, at)?;
                self.tally.answered += 1;
                member.duties_done += u32::from(phase == Phase::Duties);
                self.finished(index, Ending::Committed(at.number));
            }
            Report::Done(_) => {
                if let Some(id) = library.attempt.id {
                    self.oracles.collections.seen(id, library.attempt.at);
                }
                self.tally.read_only += 1;
                self.finished(index, Ending::ReadOnly);
            }
            Report::GivenUp => {
                self.tally.aborts += 1;
                self.finished(index, Ending::Aborted);
            }
            Report::Unknown => {
                self.tally.unknown += 1;
                let id = library.attempt.id;
                let number = id.and_then(|id| self.oracles.model.number_of(id));
                self.finished(index, Ending::Unknown(number));
            }
            Report::Heap(at, offset, bytes) => self.same_heap(index, at, offset, &bytes)?,
            Report::Delivered(number, value) => {
                self.oracles.outbox.delivered(number, value)?;
                self.tally.delivered += 1;
                let delivers = trace::Kind::Remark(Lane::Station(index));
                self.tell(
                    delivers,
                    format_args!("delivers entry {number}: {value:#x}"),
                );
            }
            Report::Pushed(entries) => self.oracles.outbox.complete(&entries)?,
            Report::Answered(answers) => {
                if let Some(id) = library.attempt.id {
                    self.oracles.collections.asked(id, answers);
                }
            }
            Report::Replay => {
                let operations = self.oracles.collections.replay(&self.oracles.model)?;
                self.tally.operations = self.tally.operations.max(operations as u64);
            }
            Report::Inspected => library.is_done = true,
            Report::Broken(violation) => return Err(violation),
            Report::Note(what) => {
                // What a program says is all that tells of it.
                self.trace.bytes(what.as_bytes());
                let says = trace::Kind::Remark(Lane::Station(index));
                self.tell(says, format_args!("{what}"));
            }
        }
        Ok(())
    }

    fn finished(&mut self, station: usize, ending: Ending) {
        let kind = trace::Kind::Finished { station, ending };
        self.tell(kind, format_args!(""));
    }

    /// What a station reads at the end is the heap of the log.
    fn same_heap(
        &self,
        index: usize,
        at: Moment,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let page = PageNumber::of(offset);
        let expected = self.oracles.model.page(page, at);
        let start = (offset - page.offset()) as usize;
        demand!(
            expected[start..start + bytes.len()] == *bytes,
            "convergence",
            "station {index} reads another page {page} at {at} than the log has"
        );
        Ok(())
    }
}

fn service_period() -> Span {
    Span::from_millis(SERVICE_PERIOD.as_millis() as u64)
}
