//! What a commit costs beside the sockets: everything that station and page server do for it, in
//! one thread, each part timed. It explains the commit figures; the sum is what they cannot go
//! below the raw round trip.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plurix_memory::HeapMemory;
use plurix_protocol::leader::{Command, Event, Leader, Settings};
use plurix_protocol::station::{Miss, Outcome, Station};
use plurix_protocol::{ConnectionId, Time};
use plurix_store::{Options, RealDisk, Store, boot_id};
use plurix_wire::message::{CommitRefusal, ToLeader, ToStation};
use plurix_wire::record::Body;
use plurix_wire::{ClusterId, PAGE_BYTES, PageNumber, WriteSetBuilder, frame};

use super::cells::{cell, page_of};
use crate::figure::{Figure, Spread, Target, number};
use crate::machine::Pinned;
use crate::rounds::{Plan, Random, monotonic_ns};

const CELL_PAGES: u64 = 64;
const LINE: u64 = 32;
/// The pages that are missed lie behind here.
const FETCHED: u64 = 1000;
const HEAP_BYTES: u64 = 1 << 36;
const CONNECTION: ConnectionId = ConnectionId(1);
/// Times taken in one commit or miss: one before each part and one at the end.
type Times = [u64; 8];
const COMMIT: [&str; 7] = [
    "transaction",
    "encode request",
    "decode request",
    "order",
    "log",
    "batch, encode answer",
    "decode answer, settle",
];
const MISS: [&str; 7] = [
    "begin, miss",
    "encode request",
    "decode request",
    "serve",
    "batch, encode answer",
    "decode answer",
    "install, finish",
];

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let _pinned = Pinned::to(0)?;
    let directory = tempfile::tempdir()?;
    let mut pair = Pair::new(directory.path())?;
    let mut random = Random(1);
    for _ in 0..plan.round_trips * 10 {
        pair.commit(&mut random)?;
    }
    let commit = figure(
        "commit-parts",
        "1 read + 1 write, all that both sides do beside the sockets",
        COMMIT,
        plan,
        || pair.commit(&mut random),
    )?;
    pair.write((plan.rounds * plan.round_trips) as u64)?;
    let mut page = 0;
    let miss = figure(
        "miss-parts",
        "a miss, all that both sides do beside the sockets",
        MISS,
        plan,
        || {
            page += 1;
            pair.miss(page_of(cell(FETCHED + page - 1, 0)))
        },
    )?;
    Ok(vec![commit, miss])
}

fn figure(
    name: &str,
    what: &str,
    names: [&str; 7],
    plan: &Plan,
    mut operation: impl FnMut() -> Result<Times>,
) -> Result<Figure> {
    let mut sums = Vec::new();
    let mut parts: [Vec<f64>; 7] = Default::default();
    for _ in 0..plan.rounds {
        let mut samples: [Vec<f64>; 7] = Default::default();
        let clock = clock_ns();
        for _ in 0..plan.round_trips {
            let times = operation()?;
            for (samples, pair) in samples.iter_mut().zip(times.windows(2)) {
                samples.push((pair[1] - pair[0]) as f64 - clock);
            }
        }
        let medians = samples.map(|samples| Spread::of(samples).median);
        sums.push(medians.iter().sum());
        for (part, median) in parts.iter_mut().zip(medians) {
            part.push(median);
        }
    }
    let mut figure = Figure::new(name, what, "ns", sums, Target::None);
    for (name, part) in names.iter().zip(parts) {
        figure = figure.note(format!("{:>6} ns  {name}", number(Spread::of(part).median)));
    }
    Ok(figure)
}

/// What asking for the time costs, in nanoseconds.
fn clock_ns() -> f64 {
    const TIMES: u32 = 1000;
    let begun = monotonic_ns();
    for _ in 0..TIMES {
        black_box(monotonic_ns());
    }
    (monotonic_ns() - begun) as f64 / f64::from(TIMES)
}

/// A station and a page server, without what lies between them.
struct Pair {
    station: Station,
    pages: HeapMemory,
    leader: Leader,
    store: Store<RealDisk>,
    now: Time,
    /// Frames on their way.
    up: Vec<u8>,
    down: Vec<u8>,
}

impl Pair {
    fn new(directory: &std::path::Path) -> Result<Self> {
        let options = Options::new(HEAP_BYTES, ClusterId([1; 16]), boot_id()?);
        let mut store = Store::create_or_open(RealDisk::new(directory.join("heap")), options)?;
        let durability = plurix_protocol::leader::Durability::Memory;
        let mut leader = Leader::new(Settings::new(HEAP_BYTES, durability));
        store.replay(|record| leader.replay(record))?;
        let term = store.begin_term()?;
        leader.start(Time(0), term, None);
        leader.handle(Time(0), Event::Room(store.room()));
        let mut station = Station::new(plurix_protocol::station::Settings {
            read_ahead: 1,
            ..Default::default()
        });
        station.connected(Time(0));
        let mut pair = Self {
            station,
            pages: HeapMemory::reserve(HEAP_BYTES)?,
            leader,
            store,
            now: Time(1),
            up: Vec::new(),
            down: Vec::new(),
        };
        pair.exchange()?;
        for page in 0..2 * CELL_PAGES {
            pair.install(page_of(cell(page, 0)))?;
        }
        Ok(pair)
    }

    /// Lets `count` pages be written that the station does not hold.
    fn write(&mut self, count: u64) -> Result<()> {
        for page in 0..count {
            while !self.write_page(page)? {
                // The next segment of the log is still being prepared.
                std::thread::sleep(Duration::from_millis(1));
                self.log()?;
            }
        }
        Ok(())
    }

    /// Commits a page full of bytes; answers whether the log had room.
    fn write_page(&mut self, page: u64) -> Result<bool> {
        let mut builder = WriteSetBuilder::new();
        let bytes = [page as u8 | 1; PAGE_BYTES];
        builder.push(page_of(cell(FETCHED + page, 0)), 0, &bytes);
        self.station.begin(&mut self.pages).context("a member")?;
        self.station.commit(Vec::new(), builder.finish());
        self.exchange()?;
        match self.station.settle(&mut self.pages) {
            Outcome::Committed(_) => Ok(true),
            Outcome::Refused(CommitRefusal::LogFull) => Ok(false),
            outcome => bail!("{outcome:?}"),
        }
    }

    /// Fetches a page.
    fn install(&mut self, page: PageNumber) -> Result<()> {
        self.station.begin(&mut self.pages).context("a member")?;
        while !self.pages.is_present(page) {
            if self.station.miss(page, &self.pages) == Miss::Pending {
                self.exchange()?;
            }
        }
        self.station.abort(&mut self.pages);
        Ok(())
    }

    fn exchange(&mut self) -> Result<()> {
        self.encode_requests()?;
        if !self.up.is_empty() {
            let message = self.decode_request()?;
            self.order(message);
        }
        self.log()?;
        self.answer()?;
        self.take_answer()
    }

    /// One transaction from begin to answer; the times between its parts.
    fn commit(&mut self, random: &mut Random) -> Result<Times> {
        self.now.0 += 10_000;
        let mut times = [monotonic_ns(); 8];
        self.transact(random)?;
        self.ask(&mut times)?;
        self.log()?;
        times[5] = monotonic_ns();
        self.answer()?;
        times[6] = monotonic_ns();
        self.take_answer()?;
        ensure!(self.station.is_answered(), "a commit is answered");
        let outcome = self.station.settle(&mut self.pages);
        times[7] = monotonic_ns();
        ensure!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        Ok(times)
    }

    /// One transaction that reads a page which is not here; the times between its parts.
    fn miss(&mut self, page: PageNumber) -> Result<Times> {
        self.now.0 += 10_000;
        let mut times = [monotonic_ns(); 8];
        self.station.begin(&mut self.pages).context("a member")?;
        let asked = self.station.miss(page, &self.pages);
        ensure!(asked == Miss::Pending, "page {page} is missed: {asked:?}");
        self.ask(&mut times)?;
        self.answer()?;
        times[5] = monotonic_ns();
        self.take_answer()?;
        times[6] = monotonic_ns();
        let found = self.station.miss(page, &self.pages);
        ensure!(found == Miss::Installed, "page {page} arrives: {found:?}");
        black_box(self.pages.read::<u64>(page.offset())?);
        self.station.abort(&mut self.pages);
        times[7] = monotonic_ns();
        Ok(times)
    }

    /// Carries the station's request to the leader, the parts that a commit and a miss share.
    fn ask(&mut self, times: &mut Times) -> Result<()> {
        times[1] = monotonic_ns();
        self.encode_requests()?;
        times[2] = monotonic_ns();
        let message = self.decode_request()?;
        times[3] = monotonic_ns();
        self.order(message);
        times[4] = monotonic_ns();
        Ok(())
    }

    fn transact(&mut self, random: &mut Random) -> Result<()> {
        let (read, written) = (random.below(CELL_PAGES), random.below(CELL_PAGES));
        let value = random.next();
        self.station.begin(&mut self.pages).context("a member")?;
        let heap = &mut self.pages;
        let seen = *heap.read::<u64>(cell(read, LINE).offset())?;
        *heap.open::<u64>(cell(CELL_PAGES + written, LINE).offset())? = value ^ (seen & 1);
        let writes = heap.write_set();
        self.station.commit(heap.read_set(), writes);
        Ok(())
    }

    fn encode_requests(&mut self) -> Result<()> {
        while let Some(message) = self.station.poll() {
            frame::encode(message, &mut self.up)?;
        }
        Ok(())
    }

    fn decode_request(&mut self) -> Result<ToLeader> {
        let message = frame::decode(&self.up)?;
        self.up.clear();
        Ok(message)
    }

    fn order(&mut self, message: ToLeader) {
        let event = Event::Message {
            connection: CONNECTION,
            message,
        };
        self.leader.handle(self.now, event);
    }

    fn log(&mut self) -> Result<()> {
        while let Some(command) = self.leader.poll() {
            match command {
                Command::Append(record) if record.body != Body::Term => {
                    self.store.append(&record)?;
                }
                Command::Send { message, .. } => frame::encode(&message, &mut self.down)?,
                _ => {}
            }
        }
        self.store.maintain(Duration::from_nanos(self.now.0));
        let room = self.store.room();
        self.leader.handle(self.now, Event::Room(room));
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        while let Some(connection) = self.leader.flushable(self.now) {
            if let Some(batch) = self.leader.batch(self.now, connection) {
                frame::encode(&batch, &mut self.down)?;
            }
        }
        Ok(())
    }

    fn take_answer(&mut self) -> Result<()> {
        let mut rest = &self.down[..];
        while let Some(length) = frame::length(rest, frame::FRAME_BYTES_MAX)? {
            let (frame, after) = rest.split_at(length);
            let message: ToStation = frame::decode(frame)?;
            self.station.handle(self.now, message)?;
            rest = after;
        }
        self.down.clear();
        Ok(())
    }
}
