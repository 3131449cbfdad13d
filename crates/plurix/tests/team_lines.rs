//! Teams that lose a station go on from a recovery line: with the memory, flags and counters that it holds.
//! The stations are threads of this process, on real memory, page faults and connections.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plurix::net::Address;
use plurix::team::{
    LineOptions, Mechanism, Placement, Program, Region, RegionOptions, Report, Setup, TeamOptions,
    Turn, Worker,
};
use plurix::{CheckpointStrategy, Cluster, ErrorKind, Interrupt, Options, Result, Station};

const LEN: usize = 6000;
const PHASES: u64 = 24;
/// The phase in which a station is lost, the first time.
const FATAL: u64 = 15;
const COUNTER: u32 = 1;
const FLAG: u32 = 2;

/// What all stations of all lives share.
#[derive(Default)]
struct Witness {
    is_lost: AtomicBool,
    /// The phases in which a life began.
    begun: Mutex<Vec<u64>>,
}

/// Computes numbers from their neighbours, from one half of a region to the other, and counts.
struct Ladder<'a> {
    witness: Option<&'a Witness>,
    /// Of this station.
    death: Option<Interrupt>,
    placement: Placement,
    seen: AtomicBool,
}

impl Ladder<'_> {
    fn note(&self, worker: &mut Worker<'_>, phase: u64) -> Result<()> {
        let Some(witness) = self.witness else {
            return Ok(());
        };
        if worker.index() == 0 && !self.seen.swap(true, Ordering::Relaxed) {
            witness.begun.lock().expect("nobody panics").push(phase);
        }
        let was_lost = witness.is_lost.load(Ordering::Relaxed);
        if phase == FATAL && worker.reduce(u64::from(was_lost), u64::max)? == 0 {
            if worker.index() == 0 {
                witness.is_lost.store(true, Ordering::Relaxed);
                self.death.as_ref().expect("it can die").interrupt();
            }
            loop {
                worker.barrier()?;
            }
        }
        Ok(())
    }
}

impl Program for Ladder<'_> {
    type Data = Region<u64>;
    type Output = [u64; 2];

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Region<u64>> {
        let mut options = RegionOptions::default();
        options.placement = self.placement;
        setup.region_with(2 * LEN, &options)
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        data: &Region<u64>,
        phase: u64,
    ) -> Result<Turn<[u64; 2]>> {
        self.note(worker, phase)?;
        let part = worker.part(LEN);
        let half = |phase: u64| (phase % 2) as usize * LEN;
        let (old, new) = (half(phase), half(phase + 1));
        {
            let from = worker.read(*data, old..old + LEN)?;
            let mut to = worker.write(*data, new + part.start..new + part.end)?;
            for (place, at) in to.iter_mut().zip(part) {
                let (left, right) = (from[(at + LEN - 1) % LEN], from[(at + 1) % LEN]);
                *place = (left.wrapping_mul(3) ^ right).wrapping_add(at as u64 + phase);
            }
        }
        worker.fetch_add(COUNTER, phase + 1)?;
        if worker.index() == 0 {
            worker.raise(FLAG, phase + 1)?;
        }
        // All have heard of the phases before, in whichever life.
        worker.wait_raised(FLAG, phase)?;
        if phase + 1 < PHASES {
            return Ok(Turn::Next);
        }
        worker.barrier()?;
        let all = worker.read(*data, new..new + LEN)?;
        let sum = all.iter().fold(7_u64, |sum, n| sum.rotate_left(5) ^ n);
        drop(all);
        Ok(Turn::Done([sum, worker.fetch_add(COUNTER, 0)?]))
    }
}

fn run_all(
    address: &Address,
    options: &TeamOptions,
    placement: Placement,
    witness: Option<&Witness>,
) -> Vec<Report<[u64; 2]>> {
    let live = || {
        let mut station = Station::join(address, Options::default())?;
        let program = Ladder {
            witness,
            death: Some(station.interrupt_handle()),
            placement,
            seen: AtomicBool::new(false),
        };
        station.run_team(options, &program)
    };
    std::thread::scope(|scope| {
        let stations: Vec<_> = (0..options.stations)
            .map(|_| {
                scope.spawn(|| match live() {
                    Err(error) if matches!(error.kind(), ErrorKind::Interrupted) => live(),
                    ran => ran,
                })
            })
            .collect();
        let joined = stations.into_iter().map(|station| station.join());
        joined
            .map(|ran| ran.expect("no station panics").expect("the team ends"))
            .collect()
    })
}

#[test]
fn a_team_that_loses_a_station_goes_on_from_its_last_line() {
    use CheckpointStrategy::{Blocking, NonBlocking};
    for (stations, workers, strategy, mechanism, placement) in [
        (1, 1, Blocking, Mechanism::Userfault, Placement::FirstTouch),
        (2, 2, Blocking, Mechanism::Userfault, Placement::Block),
        (
            3,
            1,
            NonBlocking,
            Mechanism::Userfault,
            Placement::FirstTouch,
        ),
        (
            2,
            1,
            NonBlocking,
            Mechanism::Userfault,
            Placement::Cyclic(1),
        ),
        (2, 2, Blocking, Mechanism::Protection, Placement::FirstTouch),
        (
            3,
            2,
            NonBlocking,
            Mechanism::Protection,
            Placement::Cyclic(2),
        ),
    ] {
        let what = format!("{stations} {workers} {strategy:?} {mechanism} {placement:?}");
        let mut cluster = Cluster::local(1).expect("a page server starts");
        let progress = cluster.stations()[0].transaction(|tx| tx.alloc(0_u64));
        let mut options = TeamOptions::new("ladder")
            .stations(stations)
            .workers(workers);
        options.mechanism = Some(mechanism);
        options.progress = Some(progress.expect("there is room"));
        options.lines = Some(LineOptions::every(Duration::ZERO).strategy(strategy));
        let witness = Witness::default();
        let disturbed = run_all(cluster.address(), &options, placement, Some(&witness));

        options.name = "undisturbed".to_owned();
        options.lines = None;
        let quiet = run_all(cluster.address(), &options, placement, None);
        let crew = usize::from(stations * workers);
        let expected = quiet[0].outputs[0];
        assert_eq!(
            expected[1],
            crew as u64 * PHASES * (PHASES + 1) / 2,
            "{what}: each worker has counted each phase"
        );
        for report in disturbed.iter().chain(&quiet) {
            assert!(report.outputs.iter().all(|o| *o == expected), "{what}");
        }
        assert!(disturbed.iter().any(|report| report.lines > 0), "{what}");

        let begun = witness.begun.into_inner().expect("nobody panics");
        assert_eq!((begun[0], begun.len()), (0, 2), "{what}: {begun:?}");
        match strategy {
            Blocking => assert_eq!(begun[1], FATAL, "{what}: each phase ends with a line"),
            _ => assert!(begun[1] <= FATAL, "{what}"),
        }
    }
}
