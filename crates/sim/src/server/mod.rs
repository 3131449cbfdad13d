//! The leader's machine: its disk, and the process that drives leader and store as the real page
//! server does.
//!
//! ```text
//!   none --start--> replay --> begin_term --> leading --+--> killed, power cut, stopped in order
//!    ^                |             | no room           |
//!    +---- later -----+-------------+-------------------+
//! ```

mod checkpoint;
mod decay;
mod go_back;
mod log;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use plurix::recovery::CheckpointedPages;
use plurix_protocol::leader::{self, Command, Durability, Leader};
use plurix_protocol::{ConnectionId, Span, Time};
use plurix_store::simulated::{Granularity, Machine, SimulatedDisk};
use plurix_store::{BootId, OpenError, Options, Store};
use plurix_wire::message::{Item, Status, ToLeader, ToStation};
use plurix_wire::{CheckpointId, ClusterId, CommitNumber, PageNumber, frame};

use crate::clock::Clock;
use crate::nemesis::Pace;
use crate::network::Side;
use crate::oracle::durability::Loss;
use crate::oracle::{Violation, bounds, demand};
use crate::plan::Plan;
use crate::queue::Event;
use crate::tally::Mark;
use crate::trace::{Kind, Lane};
use crate::world::World;

const ORACLE: &str = "page server";
/// The only cluster there is.
pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);
/// More batches than this at one moment mean that the leader never comes to rest.
const FLUSHES_MAX: u32 = 50_000;

/// How the leader's process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Kill,
    PowerCut,
    /// It ended by itself: in order, or because its disk failed.
    Exit,
}

/// The leader's machine.
pub(crate) struct Server {
    pub(crate) machine: Machine,
    options: Options,
    pub(crate) process: Option<Process>,
    /// Counts processes, to tell a dead one's events.
    pub(crate) life: u64,
    pub(crate) frozen_until: Time,
    pub(crate) pace: Pace,
    pub(crate) clock: Clock,
    /// The next sync takes so long.
    pub(crate) slow_sync: Option<Span>,
    /// The next process takes the heap back to a checkpoint, which this number chooses.
    pub(crate) goes_back: Option<u64>,
    /// The newest checkpoint that repeats an earlier one, as far as is known.
    restored: CheckpointId,
    /// Bits have flipped when the next process starts.
    pub(crate) decays: bool,
    /// What has flipped in an image or manifest.
    pub(crate) flipped: Option<decay::Flipped>,
    loss: Loss,
    /// How often the disk had been used when it will let go of its process.
    doom: Option<u64>,
}

/// The running page server.
pub(crate) struct Process {
    store: Store<SimulatedDisk>,
    pub(crate) leader: Leader,
    /// Connections whose window was full when there was something to send.
    blocked: BTreeSet<ConnectionId>,
    pub(crate) tick_at: Option<Time>,
    /// A sync is under way; it may have reached the disk already, through this commit.
    syncing: Option<Option<CommitNumber>>,
    images: Arc<CheckpointedPages>,
    /// Everybody waits for the running checkpoint.
    blocks: bool,
    /// Pages from here on are loaded before they are asked for.
    preloads: Option<PageNumber>,
    /// The disk will have done a piece of work.
    job_is_due: bool,
}

impl Server {
    pub(crate) fn new(plan: &Plan, clock: Clock) -> Self {
        let mut options = Options::new(plan.leader.heap_bytes, CLUSTER, boot_id(1));
        options.segment_bytes = plan.disk.segment_bytes;
        options.commit_bytes_max = plan.disk.commit_bytes_max;
        options.durability = match plan.leader.durability {
            Durability::Memory => plurix_store::Durability::Memory,
            Durability::Durable => plurix_store::Durability::Durable,
        };
        options.checkpoints_kept = plan.disk.checkpoints_kept;
        options.compression = plan.disk.compression;
        Self {
            machine: Machine::new(),
            options,
            process: None,
            life: 0,
            frozen_until: Time(0),
            pace: Pace::default(),
            clock,
            slow_sync: None,
            goes_back: None,
            restored: CheckpointId(0),
            decays: false,
            flipped: None,
            loss: Loss::Killed { writing: false },
            doom: None,
        }
    }

    /// Ends the process after so many more uses of the disk, be it in the middle of a record.
    pub(crate) fn die_after(&mut self, steps: u64) {
        if self.process.is_some() && self.doom.is_none() {
            self.machine.kill_after(steps);
            self.doom = Some(self.machine.steps() + steps);
        }
    }

    /// Takes back what [`die_after`](Self::die_after) ordered, if it has not come to pass.
    pub(crate) fn live_on(&mut self) {
        if self.doom.is_some() && !self.is_dead() {
            self.machine.live_on();
            self.doom = None;
        }
    }

    /// Whether the process has used up what [`die_after`](Self::die_after) left it.
    fn is_dead(&self) -> bool {
        self.doom.is_some_and(|doom| self.machine.steps() >= doom)
    }

    fn reboot(&mut self) {
        let count = u64::from_le_bytes(self.options.boot.0[..8].try_into().expect("eight bytes"));
        self.options.boot = boot_id(count + 1);
    }
}

fn boot_id(count: u64) -> BootId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&count.to_le_bytes());
    BootId(id)
}

fn broken(what: impl std::fmt::Display) -> Violation {
    Violation {
        oracle: ORACLE,
        what: what.to_string(),
    }
}

impl World {
    /// Starts a page server on what is on the disk; tries again later if the disk is full.
    pub(crate) fn start_leader(&mut self) -> Result<(), Violation> {
        if self.server.process.is_some() {
            return Ok(());
        }
        if std::mem::take(&mut self.server.decays) && self.decay()? {
            return self.start_leader_later();
        }
        let opened = Store::create_or_open(self.server.machine.disk(), self.server.options.clone());
        let mut store = match opened {
            Ok(store) => store,
            Err(OpenError::NoSpace { .. }) => return self.start_leader_later(),
            Err(_) if self.disk_fails => return self.start_leader_later(),
            Err(error) => return Err(broken(error)),
        };
        if let Some(choice) = self.server.goes_back.take()
            && !self.take_back(&mut store, choice)?
        {
            return self.start_leader_later();
        }
        let (mut leader, mut records, images) = self.start_from_checkpoint(&mut store)?;
        let recovered = store.replay(|record| {
            records.push(record.clone());
            leader.replay(record)
        });
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(_) if self.disk_fails => return self.start_leader_later(),
            Err(_) if self.restore_file() => return self.start_leader_later(),
            Err(error) => return Err(broken(error)),
        };
        let mode = self.plan.leader.durability;
        let generation = recovered.new_generation;
        self.note_way_back(store.base().checkpoint.as_ref(), generation)?;
        self.oracles
            .recovered(mode, self.server.loss, &records, generation)?;
        // From here on the log is what it is; it ends in order until a term is begun.
        if self.server.loss != Loss::None {
            self.server.loss = Loss::Killed { writing: false };
        }
        let Ok(term) = store.begin_term() else {
            return self.start_leader_later();
        };
        self.server.loss = Loss::Killed { writing: false };
        self.oracles.numbering.began(term)?;
        if mode == Durability::Durable {
            self.oracles.durability.synced(leader.number());
        }
        leader.start(self.server.clock.at(self.now), term, generation);
        self.oracles.durability.synced(store.synced());
        leader.handle(
            self.server.clock.at(self.now),
            leader::Event::Durable(store.synced()),
        );
        if recovered.torn.is_some() {
            self.tally.mark(Mark::TornLog);
        }
        if generation.is_some() {
            self.tally.mark(Mark::GenerationRaised);
        }
        let (number, torn) = (leader.number(), recovered.torn.map(|torn| torn.at));
        self.tell(
            Kind::Started(Lane::Leader),
            format_args!(
                ": {term} at {number} of {generation:?}, {} records, torn {torn:?}",
                recovered.records
            ),
        );
        self.server.life += 1;
        self.server.process = Some(Process {
            store,
            leader,
            blocked: BTreeSet::new(),
            tick_at: None,
            syncing: None,
            images,
            blocks: false,
            preloads: self.plan.disk.preloads.then_some(PageNumber(0)),
            job_is_due: false,
        });
        self.pump_leader()
    }

    fn start_leader_later(&mut self) -> Result<(), Violation> {
        let cannot = Kind::Remark(Lane::Leader);
        self.tell(cannot, format_args!("cannot start"));
        self.tally.mark(Mark::LeaderCannotStart);
        let span = self.chance.around(Span::from_millis(20));
        self.queue.push(self.now + span, Event::StartLeader);
        Ok(())
    }

    /// Ends the leader's process; another one is started later.
    pub(crate) fn end_leader(&mut self, end: End) {
        if self.server.process.is_none() && end != End::PowerCut {
            return;
        }
        self.tell(Kind::Ended(Lane::Leader), format_args!(": {end:?}"));
        self.tally.leader_ends += 1;
        let writing = self.server.doom.is_some();
        if end == End::PowerCut {
            let granularity =
                self.disk
                    .pick(&[Granularity::Block, Granularity::Word, Granularity::Word]);
            let percent = self.disk.pick(&[0, 50, 90, 97, 100]);
            let disk = &mut self.disk;
            self.server
                .machine
                .power_cut(granularity, |_, _| disk.chance(percent));
            if self.server.loss != Loss::None || self.server.process.is_some() {
                self.server.loss = Loss::PowerCut;
            }
            self.server.reboot();
        } else {
            self.server.machine.kill();
            self.server.loss = Loss::Killed { writing };
        }
        self.server.doom = None;
        self.server.life += 1;
        self.server.frozen_until = Time(0);
        self.server.pace = Pace::default();
        if self.server.process.take().is_none() {
            return;
        }
        let lossy = end == End::PowerCut || (end == End::Kill && self.chance.chance(50));
        for connection in self.network.open(Side::Leader) {
            self.close(connection, Side::Leader, lossy);
        }
        let span = self.chance.around(Span::from_millis(40));
        self.queue.push(self.now + span, Event::StartLeader);
    }

    /// Asks the leader to end in order.
    pub(crate) fn stop_leader(&mut self) -> Result<(), Violation> {
        let connection = ConnectionId(u64::MAX);
        let message = ToLeader::Shutdown;
        self.tell_leader(leader::Event::Message {
            connection,
            message,
        })
    }

    /// Hands an event to the leader and carries out what it wants.
    pub(crate) fn tell_leader(&mut self, event: leader::Event) -> Result<(), Violation> {
        let now = self.server.clock.at(self.now);
        if let Some(process) = &mut self.server.process {
            process.leader.handle(now, event);
            self.pump_leader()?;
        }
        Ok(())
    }

    /// A frame has arrived at the leader's end.
    pub(crate) fn leader_receives(
        &mut self,
        connection: ConnectionId,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let message: ToLeader = frame::decode(bytes).map_err(broken)?;
        self.tell_leader(leader::Event::Message {
            connection,
            message,
        })
    }

    /// The leader's end of a connection can take more.
    pub(crate) fn leader_writable(&mut self, connection: ConnectionId) -> Result<(), Violation> {
        let room = self.network.has_room(connection);
        if let Some(process) = &mut self.server.process
            && room
            && process.blocked.remove(&connection)
        {
            process.leader.writable(connection);
            self.pump_leader()?;
        }
        Ok(())
    }

    pub(crate) fn leader_tick(&mut self) -> Result<(), Violation> {
        let now = self.server.clock.at(self.now);
        let Some(process) = &mut self.server.process else {
            return Ok(());
        };
        if process.tick_at.is_some_and(|tick| tick > self.now) {
            return Ok(()); // Another one was scheduled since.
        }
        process.tick_at = None;
        process.leader.handle(now, leader::Event::Tick);
        bounds::leader(&process.leader, &self.plan)?;
        self.pump_leader()
    }

    /// Carries out the leader's commands, then sends what its streams hold.
    pub(crate) fn pump_leader(&mut self) -> Result<(), Violation> {
        self.maintain();
        while let Some(process) = &mut self.server.process {
            let Some(command) = process.leader.poll() else {
                break;
            };
            self.check_images()?;
            self.carry_out(command)?;
            if self.server.is_dead() {
                self.end_leader(End::Kill);
                return Ok(());
            }
        }
        self.check_images()?;
        self.flush()?;
        self.go_on_with_checkpoint()?;
        self.go_on_preloading()?;
        self.sync_later()?;
        if let Some(process) = &mut self.server.process {
            let due = self
                .server
                .clock
                .when(process.leader.next_timeout())
                .max(self.now);
            if process.tick_at.is_none_or(|tick| due < tick) {
                process.tick_at = Some(due);
                let life = self.server.life;
                self.queue.push(due, Event::LeaderTick { life });
            }
        }
        Ok(())
    }

    /// What the leader says of itself, if there is one.
    pub(crate) fn status(&self) -> Option<Status> {
        let now = self.server.clock.at(self.now);
        let process = self.server.process.as_ref();
        process.map(|process| process.leader.status(now))
    }

    fn maintain(&mut self) {
        let now = self.server.clock.at(self.now);
        if let Some(process) = &mut self.server.process {
            process.store.maintain(Duration::from_nanos(now.0));
            let room = process.store.room();
            process.leader.handle(now, leader::Event::Room(room));
        }
        if self.server.is_dead() {
            self.end_leader(End::Kill);
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<(), Violation> {
        match command {
            Command::Append(record) => return self.append(&record),
            Command::Sync => return self.sync_aside(),
            Command::BeginCheckpoint {
                cut,
                state,
                strategy,
            } => return self.begin_checkpoint(cut, state, strategy),
            Command::Send {
                connection,
                message,
            } => {
                if let ToStation::Welcome(welcome) = &message {
                    let mode = self.plan.leader.durability;
                    let model = &self.oracles.model;
                    let through = welcome.through;
                    self.oracles.durability.revealed(model, mode, through)?;
                }
                self.strangers.told(connection, &message);
                self.send(connection, Side::Station, &message);
            }
            Command::SendStatus { connection } => {
                if let Some(status) = self.status() {
                    let message = ToStation::Status(Box::new(status));
                    self.strangers.told(connection, &message);
                    self.send(connection, Side::Station, &message);
                }
            }
            Command::SendCheckpoint { connection } => self.send_checkpoint(connection)?,
            Command::Close { connection } => self.close(connection, Side::Leader, false),
            Command::Shutdown { .. } => {
                self.checkpoint_at_end()?;
                if let Some(process) = self.server.process.take() {
                    let closed = process.store.close_clean();
                    let clean = if closed.is_ok() { "" } else { ", not" };
                    let text = format_args!("{clean} in order");
                    self.tell(Kind::Ended(Lane::Leader), text);
                    for connection in self.network.open(Side::Leader) {
                        self.close(connection, Side::Leader, false);
                    }
                    self.server.life += 1;
                    self.server.machine.kill();
                    self.server.loss = match closed {
                        Ok(()) if self.server.doom.is_none() => Loss::None,
                        _ => Loss::Killed { writing: true },
                    };
                    self.server.doom = None;
                    let span = self.chance.around(Span::from_millis(20));
                    self.queue.push(self.now + span, Event::StartLeader);
                }
            }
        }
        Ok(())
    }

    /// Sends batches as far as the windows of the connections reach.
    fn flush(&mut self) -> Result<(), Violation> {
        let now = self.server.clock.at(self.now);
        for _ in 0..FLUSHES_MAX {
            let Some(process) = &mut self.server.process else {
                return Ok(());
            };
            let Some(connection) = process.leader.flushable(now) else {
                return Ok(());
            };
            if !self.network.has_room(connection) {
                process.blocked.insert(connection);
                self.tally.mark(Mark::WindowFull);
                continue;
            }
            let Some(message) = process.leader.batch(now, connection) else {
                continue;
            };
            self.check_images()?;
            if self.server.process.is_none() {
                return Ok(());
            }
            self.reveal(&message)?;
            if self.loses_answer(connection, &message) {
                continue;
            }
            self.send(connection, Side::Station, &message);
        }
        Err(broken("the leader has ever more to send at one moment"))
    }

    /// Checks that nothing of a batch tells of a commit that is not logged as promised.
    fn reveal(&mut self, message: &ToStation) -> Result<(), Violation> {
        let ToStation::Batch(batch) = message else {
            return Ok(());
        };
        if !batch.last {
            self.tally.mark(Mark::BatchSplit);
        }
        for item in &batch.items {
            match item {
                Item::Lines(_) => self.tally.mark(Mark::BacklogCollapsed),
                Item::Page(page) if !page.since.is_empty() => {
                    self.tally.mark(Mark::OldPageServed);
                }
                _ => {}
            }
        }
        let mode = self.plan.leader.durability;
        let (durability, model) = (&self.oracles.durability, &self.oracles.model);
        durability.revealed(model, mode, batch.through)?;
        durability.told_durable(batch.durable)?;
        for item in &batch.items {
            let told = match item {
                Item::Committed { number, .. } => *number,
                Item::Delta(delta) => delta.number,
                Item::Page(page) => page.base.max(page.held_from),
                Item::Lines(lines) => lines.number,
                Item::Refused { .. }
                | Item::Joined(_)
                | Item::Left(_)
                | Item::Latest
                | Item::Token => continue,
            };
            demand!(
                told <= batch.through,
                ORACLE,
                "an item tells of {told} in a batch through {}",
                batch.through
            );
        }
        Ok(())
    }
}
