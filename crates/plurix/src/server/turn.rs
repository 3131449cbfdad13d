//! One turn of the page server's loop.

use std::io;
use std::time::{Duration, Instant};

use plurix_protocol::leader::{Command, Event};
use plurix_protocol::{ConnectionId, Time};
use plurix_store::AppendError;
use plurix_wire::Incarnation;
use plurix_wire::message::{Status, ToLeader, ToStation};
use plurix_wire::record::Body;
use tracing::{info, trace_span};

use super::peers::{Heard, What};
use super::{PageServer, ServerError};

/// A connection without a member behind it, for what the server tells itself.
const NOBODY: ConnectionId = ConnectionId(0);

/// Whether the loop goes on.
pub(super) enum Turn {
    On,
    /// Somebody asked for the end.
    End(ConnectionId),
}

impl PageServer {
    /// Serves until it is stopped.
    ///
    /// # Errors
    /// [`ServerError`] if the log cannot be written any more; commits that were not answered are
    /// then unknown, and stations wait for a server that takes over.
    pub fn run(mut self) -> Result<(), ServerError> {
        let mut heard = Vec::new();
        loop {
            self.listen(&mut heard)?;
            let now = self.now();
            if self.peers.stopped {
                let message = ToLeader::Shutdown;
                self.leader.handle(
                    now,
                    Event::Message {
                        connection: NOBODY,
                        message,
                    },
                );
            }
            for one in heard.drain(..) {
                if let Turn::End(connection) = self.hear(now, one)? {
                    return self.end(connection);
                }
            }
            if let Turn::End(connection) = self.turn(now)? {
                return self.end(connection);
            }
        }
    }

    /// Waits for something to do: asks the sockets for a while, then sleeps.
    fn listen(&mut self, heard: &mut Vec<Heard>) -> Result<(), ServerError> {
        if self.collects_more || self.preloads.is_some() {
            return self.peers.look(heard);
        }
        let mut now = Instant::now();
        let begin = now;
        let mut end = self.spinner.until(begin);
        while now < end {
            for _ in 0..self.spinner.looks() * self.peers.glances() {
                self.peers.look(heard)?;
                if !heard.is_empty() {
                    self.spinner.found();
                    return Ok(());
                }
            }
            let woken = self.peers.stopped || self.peers.synced || self.peers.asked;
            if woken || self.leader.next_timeout() <= self.now() {
                return Ok(());
            }
            if !self.spinner.offer() {
                end = begin;
            }
            now = Instant::now();
        }
        if now > begin {
            // The last offer may have taken long.
            self.peers.look(heard)?;
            if !heard.is_empty() {
                self.spinner.found();
                return Ok(());
            }
        }
        if end > begin {
            self.spinner.asked_in_vain(now);
        }
        let due = Duration::from_nanos(self.leader.next_timeout().since(self.now()).0);
        self.peers.wait(due, heard)
    }

    /// Takes what one connection said.
    fn hear(&mut self, now: Time, heard: Heard) -> Result<Turn, ServerError> {
        let Heard { connection, what } = heard;
        match what {
            What::Message(message) => {
                let event = Event::Message {
                    connection,
                    message,
                };
                self.leader.handle(now, event);
                return self.carry_out(now);
            }
            What::Closed { died } => self.leader.handle(now, Event::Closed { connection, died }),
            What::Writable => self.leader.writable(connection),
        }
        Ok(Turn::On)
    }

    /// Does what is due: timers, the log, and what can be sent.
    fn turn(&mut self, now: Time) -> Result<Turn, ServerError> {
        if self.leader.next_timeout() <= now {
            self.leader.handle(now, Event::Tick);
            self.peers.expire();
        }
        if std::mem::take(&mut self.peers.synced)
            && let Some(synced) = self.store.poll_sync()
        {
            self.leader.handle(now, Event::Durable(synced?));
        }
        if let Turn::End(connection) = self.carry_out(now)? {
            return Ok(Turn::End(connection));
        }
        if self.leader.awaits_log() {
            let _traced = trace_span!(target: "plurix::server", "sync").entered();
            let through = self.store.sync()?;
            self.leader.handle(now, Event::Logged(through));
        }
        self.flush(now)?;
        // After the answers have left; nobody waits for this.
        let space = self.store.maintain(Duration::from_nanos(now.0));
        self.notices.space(space, &self.log);
        self.go_on_with_checkpoint(now)?;
        self.go_on_preloading()?;
        if std::mem::take(&mut self.peers.asked) {
            self.monitor.answer(self.status(now));
        }
        self.notices.lost(&self.leader);
        self.notices.lines(&mut self.leader);
        self.tell_room(now);
        Ok(Turn::On)
    }

    /// Carries out the leader's commands, in order.
    pub(super) fn carry_out(&mut self, now: Time) -> Result<Turn, ServerError> {
        self.check_images()?;
        while let Some(command) = self.leader.poll() {
            match command {
                Command::Append(record) => {
                    match record.body {
                        // The store writes these itself, with what else they need on disk.
                        Body::Term | Body::Clean => {}
                        Body::Generation => {
                            let begun = self.store.begin_generation(record.stamp.number)?;
                            info!(target: "plurix::server", generation = begun.0, "a generation begins");
                            assert_eq!(begun, record.stamp.generation, "one line of generations");
                            let synced = self.store.synced();
                            self.leader.handle(now, Event::Durable(synced));
                        }
                        Body::Commit { .. } | Body::RecoveryLine(_) => {
                            self.store.append(&record)?
                        }
                        Body::Joined(_) | Body::Left(_) => {
                            // Commits leave a reserve for these; it can be used up all the same.
                            let (bytes, room) =
                                (record.encoded_bytes() as u64, self.store.control_room());
                            if bytes > room {
                                return Err(AppendError::NoRoom { bytes, room }.into());
                            }
                            self.store.append(&record)?;
                            info!(target: "plurix::server", change = ?record.body, "membership");
                        }
                    }
                }
                Command::Sync => self.store.start_sync()?,
                Command::BeginCheckpoint {
                    cut,
                    state,
                    strategy,
                } => self.begin_checkpoint(cut, state, strategy),
                Command::Send {
                    connection,
                    message,
                } => {
                    // A failed connection shows itself when it is read.
                    let _ = self.peers.send(connection, &message);
                }
                Command::SendStatus { connection } => self.send_status(now, connection),
                Command::SendCheckpoint { connection } => self.send_checkpoint(connection),
                Command::Close { connection } => self.peers.close(connection),
                Command::Shutdown { connection } => return Ok(Turn::End(connection)),
            }
        }
        self.tell_room(now);
        Ok(Turn::On)
    }

    /// The next commit is refused if it does not fit.
    fn tell_room(&mut self, now: Time) {
        self.leader.handle(now, Event::Room(self.store.room()));
    }

    /// Sends batches to all who can take them.
    fn flush(&mut self, now: Time) -> Result<(), ServerError> {
        while let Some(connection) = self.leader.flushable(now) {
            // A connection that is not ready is named again once it is writable.
            if self.peers.is_ready(connection)
                && let Some(batch) = self.leader.batch(now, connection)
            {
                self.check_images()?;
                let _ = self.peers.send(connection, &batch);
            }
        }
        Ok(())
    }

    fn send_status(&mut self, now: Time, connection: ConnectionId) {
        let status = self.status(now);
        let _ = self
            .peers
            .send(connection, &ToStation::Status(Box::new(status)));
    }

    /// What the leader knows, and what only its driver does.
    pub(super) fn status(&self, now: Time) -> Status {
        let mut status = self.leader.status(now);
        status.cluster = self.started.cluster.to_string();
        status.log_bytes = bytes_in(&self.log).unwrap_or(0);
        let newest = self.store.checkpoints().last();
        status.checkpoint = newest.map(plurix_store::Checkpoint::status);
        for station in &mut status.stations {
            let connection = self.leader.connection_of(Incarnation(station.incarnation));
            if let Some((kind, traffic)) = connection.and_then(|id| self.peers.traffic(id)) {
                station.transport = kind.to_owned();
                station.bytes_in = traffic.received;
                station.bytes_out = traffic.sent;
            }
        }
        status
    }

    /// Ends in order: the log is marked clean, and whoever asked is told.
    fn end(mut self, connection: ConnectionId) -> Result<(), ServerError> {
        self.checkpoint_at_end(self.now())?;
        self.store.close_clean()?;
        let _ = self.peers.send(connection, &ToStation::Stopping);
        self.peers.end();
        Ok(())
    }

    pub(super) fn now(&self) -> Time {
        Time(self.origin.elapsed().as_nanos() as u64)
    }
}

/// Bytes of all files in a directory.
fn bytes_in(directory: &std::path::Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}
