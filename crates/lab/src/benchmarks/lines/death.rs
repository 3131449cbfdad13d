//! One of two stations of a team is killed, and another process started in its place; the team goes on
//! from its recovery line, whose pages are fetched as they are touched.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use plurix::team::{Turn, Worker};
use plurix_wire::PAGE_BYTES;

use super::{Kind, Own, heard, ms, say, server, start, start_one};
use crate::echo::Floor;
use crate::figure::{Figure, Spread, Target, number};
use crate::frames::Sizes;
use crate::process::{Place, Process, Transport, Waiting};
use crate::rounds::{Plan, monotonic_ns};

/// Rounds are long, so a few will do.
const ROUNDS_MAX: usize = 21;
/// The barrier behind the first phase is a cut; the second phase does not end.
const EVERY: Duration = Duration::from_millis(1);
/// What each worker reads of the line, at most.
const READ_BYTES: usize = 64 << 20;
/// How often workers meet while they wait for a death.
const MEETING: Duration = Duration::from_millis(1);
/// The team computes for so long before a station dies.
const SETTLED: Duration = Duration::from_millis(200);

/// Has one line taken; whenever it goes on from there, it says so, reads some pages, and computes until a
/// station dies.
pub(super) fn phase(worker: &mut Worker<'_>, own: &Own, phase: u64) -> plurix::Result<Turn<()>> {
    if phase == 0 {
        own.fill(worker)?;
        return Ok(Turn::Next);
    }
    say("phase", monotonic_ns());
    let bytes = worker.read(own.region, own.bytes())?;
    let (first, rest) = bytes.split_at(read_bytes(own.pages.len()));
    load(first);
    say("read", monotonic_ns());
    // A station that dies shall have all of its memory.
    load(rest);
    drop(bytes);
    say("whole", monotonic_ns());
    loop {
        // Not behind a phase, so that there is no other line.
        if let Err(error) = worker.barrier() {
            say("noticed", monotonic_ns());
            return Err(error);
        }
        std::thread::sleep(MEETING);
    }
}

/// Loads a byte of each page, one after the other: a compiler that is free to may load several at once, in
/// an order in which nothing is asked for ahead.
fn load(bytes: &[u8]) {
    for page in bytes.chunks(PAGE_BYTES) {
        black_box(page[0]);
    }
}

/// What is read first of so many pages.
fn read_bytes(pages: usize) -> usize {
    (pages * PAGE_BYTES).min(READ_BYTES)
}

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let mut server = server(directory.path())?;
    let (kind, pages) = (Kind::Victims, plan.heap_pages);
    let mut stations = start(&server, kind, pages, EVERY, 1)?;
    server.checkpoint()?;
    for station in &mut stations {
        heard(station, "whole")?;
    }
    let read = read_bytes(pages as usize / 2);
    let sizes = Sizes {
        request: 1,
        reply: read,
    };
    let (transport, waiting) = (Transport::Unix, Waiting::Blocking);
    let mut floor = Floor::start(directory.path(), transport, waiting, sizes, Place::Anywhere)?;
    let mut deaths = Vec::new();
    for _ in 0..plan.pairs.min(ROUNDS_MAX) {
        std::thread::sleep(SETTLED);
        // The older one, so that each rank dies as often.
        let [victim, survivor] = stations;
        let start = || start_one(&server, kind, pages, EVERY, 1);
        let (mut death, successor) = Death::of(victim, start, survivor)?;
        let begun = Instant::now();
        floor.client.round_trip()?;
        floor.client.round_trip()?;
        death.transfer_ms = begun.elapsed().as_secs_f64() * 1e3;
        deaths.push(death);
        stations = successor;
    }
    Ok(figures(plan, read, &deaths))
}

/// When what happened, in milliseconds since the kill.
#[derive(Debug, Default)]
struct Death {
    /// The victim was gone.
    gone: f64,
    /// The survivor's worker knew.
    noticed: f64,
    /// The successor's main function,
    began: f64,
    /// and when it was a member of the cluster.
    joined: f64,
    /// All workers were in a phase,
    computing: f64,
    /// and had read their part.
    read: f64,
    /// What as many bytes took through a raw socket.
    transfer_ms: f64,
}

impl Death {
    /// Kills one station of a team and starts another one; answers those that live then, the older first.
    fn of(
        victim: Process,
        start: impl FnOnce() -> Result<Process>,
        mut survivor: Process,
    ) -> Result<(Self, [Process; 2])> {
        let killed = monotonic_ns();
        victim.kill()?;
        let gone = monotonic_ns();
        let mut successor = start()?;
        let began = heard(&mut successor, "began")?;
        let joined = heard(&mut successor, "joined")?;
        let noticed = heard(&mut survivor, "noticed")?;
        let mut all = |name| -> Result<u64> {
            Ok(heard(&mut survivor, name)?.max(heard(&mut successor, name)?))
        };
        let since = |time| ms(killed, time);
        let death = Self {
            gone: since(gone),
            noticed: since(noticed),
            began: since(began),
            joined: since(joined),
            computing: since(all("phase")?),
            read: since(all("read")?),
            transfer_ms: 0.0,
        };
        all("whole")?;
        Ok((death, [survivor, successor]))
    }
}

fn figures(plan: &Plan, read: usize, deaths: &[Death]) -> Vec<Figure> {
    let heap = plan.heap();
    let all = |value: fn(&Death) -> f64| deaths.iter().map(value).collect::<Vec<_>>();
    let median = |value| number(Spread::of(all(value)).median);
    let rate = |ms: f64| 2.0 * read as f64 / 1e3 / ms;
    let reading = deaths
        .iter()
        .map(|death| (rate(death.read - death.computing), rate(death.transfer_ms)));
    vec![
        Figure::new(
            "lines-death",
            format!(
                "from the kill of a station until all workers compute again, {heap}, two stations"
            ),
            "ms",
            all(|death| death.computing),
            Target::ValueAtMost(100.0),
        )
        .note(format!(
            "{} deaths; after the kill the station was gone at {} ms, the other one knew at {}, the new \
             process began at {}, had joined at {}; each had read {} MiB at {}",
            deaths.len(),
            median(|death| death.gone),
            median(|death| death.noticed),
            median(|death| death.began),
            median(|death| death.joined),
            read >> 20,
            median(|death| death.read),
        )),
        Figure::against(
            "lines-death-read",
            format!(
                "both workers read {} MiB each, page by page, of which nothing is there yet",
                read >> 20
            ),
            "MB/s",
            "as many bytes through one raw Unix socket",
            &reading.collect::<Vec<_>>(),
            Target::None,
        ),
    ]
}
