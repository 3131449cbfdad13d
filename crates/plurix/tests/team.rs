//! Teams whose stations are threads of this process, on real memory, page faults and connections.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use plurix::net::Address;
use plurix::team::{
    Mechanism, Placement, Program, Region, RegionOptions, Report, Setup, TeamError, TeamOptions,
    Turn, Worker,
};
use plurix::{Cluster, ErrorKind, Interrupt, Options, Ptr, Result, Station};

/// Runs all stations of a team in threads.
fn run_all<P: Program>(
    address: &Address,
    options: &TeamOptions,
    program: &P,
) -> Vec<Result<Report<P::Output>>> {
    std::thread::scope(|scope| {
        let stations: Vec<_> = (0..options.stations)
            .map(|_| {
                scope.spawn(|| plurix::team::run(address, Options::default(), options, program))
            })
            .collect();
        let joined = stations.into_iter().map(|station| station.join());
        joined.map(|ran| ran.expect("no station panics")).collect()
    })
}

fn join(address: &Address) -> Station {
    Station::join(address, Options::default()).expect("it can be joined")
}

fn outputs<T>(reports: Vec<Result<Report<T>>>) -> Vec<T> {
    let mut reports: Vec<_> = reports
        .into_iter()
        .map(|report| report.expect("the team comes to its end"))
        .collect();
    reports.sort_by_key(|report| report.rank);
    reports
        .into_iter()
        .flat_map(|report| report.outputs)
        .collect()
}

/// Every way in which stations can be connected and faults be noticed.
fn variants() -> Vec<(u16, u16, bool, Mechanism)> {
    let mut variants = Vec::new();
    for (stations, workers) in [(1, 1), (1, 3), (2, 1), (3, 2)] {
        for shares_memory in [false, true] {
            for mechanism in [Mechanism::Userfault, Mechanism::Protection] {
                variants.push((stations, workers, shares_memory, mechanism));
            }
        }
    }
    variants
}

fn team(name: &str, variant: (u16, u16, bool, Mechanism)) -> TeamOptions {
    let (stations, workers, shares_memory, mechanism) = variant;
    let name = format!("{name}-{stations}-{workers}-{shares_memory}-{mechanism}");
    let mut options = TeamOptions::new(&name).stations(stations).workers(workers);
    options.shared_memory = shares_memory;
    options.mechanism = Some(mechanism);
    options
}

/// Numbers that each phase makes from their neighbours.
struct Smooth {
    len: usize,
    phases: u64,
    placement: Placement,
}

impl Smooth {
    fn expected(&self) -> u64 {
        let mut now: Vec<u64> = (0..self.len as u64).map(|at| at * at).collect();
        for _ in 1..self.phases {
            let at = |index: usize| now[index % self.len];
            let next = (0..self.len).map(|i| {
                at(i + self.len - 1)
                    .wrapping_mul(3)
                    .wrapping_add(at(i + 1))
                    .wrapping_add(at(i))
            });
            now = next.collect();
        }
        now.iter().fold(0, |sum, value| sum.rotate_left(1) ^ value)
    }
}

impl Program for Smooth {
    type Data = [Region<u64>; 2];
    type Output = u64;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<[Region<u64>; 2]> {
        let mut options = RegionOptions::default();
        options.placement = self.placement;
        let first = setup.region_with(self.len, &options)?;
        options.unit_bytes = 16 << 10;
        Ok([first, setup.region_with(self.len, &options)?])
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        grids: &[Region<u64>; 2],
        phase: u64,
    ) -> Result<Turn<u64>> {
        let part = worker.part(self.len);
        let (from, to) = (grids[(phase as usize + 1) % 2], grids[phase as usize % 2]);
        if phase == 0 {
            let mut mine = worker.write(to, part.clone())?;
            for (value, at) in mine.iter_mut().zip(part) {
                *value = (at * at) as u64;
            }
            return Ok(Turn::Next);
        }
        if phase == self.phases {
            let all = worker.read(from, 0..self.len)?;
            let sum = all
                .iter()
                .fold(0, |sum: u64, value| sum.rotate_left(1) ^ value);
            return Ok(Turn::Done(sum));
        }
        let old = worker.read(from, 0..self.len)?;
        let mut mine = worker.write(to, part.clone())?;
        for (value, i) in mine.iter_mut().zip(part) {
            *value = old[(i + self.len - 1) % self.len]
                .wrapping_mul(3)
                .wrapping_add(old[(i + 1) % self.len])
                .wrapping_add(old[i]);
        }
        Ok(Turn::Next)
    }
}

#[test]
fn every_worker_sees_what_all_have_written() {
    let cluster = Cluster::local(0).expect("a page server starts");
    for (at, variant) in variants().into_iter().enumerate() {
        let placement = [
            Placement::FirstTouch,
            Placement::Block,
            Placement::Cyclic(1),
        ][at % 3];
        let program = Smooth {
            len: 5000,
            phases: 7,
            placement,
        };
        let options = team("smooth", variant);
        let sums = outputs(run_all(cluster.address(), &options, &program));
        assert_eq!(sums.len(), usize::from(variant.0 * variant.1));
        assert!(
            sums.iter().all(|sum| *sum == program.expected()),
            "{variant:?}"
        );
    }
}

/// Workers that add to the same numbers under a lock, and to a counter without one.
struct Counting {
    rounds: u64,
}

impl Program for Counting {
    type Data = Region<u64>;
    type Output = (u64, Vec<u64>);

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Region<u64>> {
        setup.region(600)
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        numbers: &Region<u64>,
        _: u64,
    ) -> Result<Turn<(u64, Vec<u64>)>> {
        let mut drawn = Vec::new();
        for round in 0..self.rounds {
            let locked = worker.lock((round % 3) as u32)?;
            // One page for all three locks.
            let at = round as usize % 3;
            locked.write(*numbers, at..at + 1)?[0] += 1;
            drop(locked);
            drawn.push(worker.fetch_add(1, 1)?);
        }
        worker.barrier()?;
        let sum = worker.read(*numbers, 0..3)?.iter().sum();
        Ok(Turn::Done((sum, drawn)))
    }
}

#[test]
fn locks_exclude_and_counters_count() {
    let cluster = Cluster::local(0).expect("a page server starts");
    for variant in variants() {
        let program = Counting { rounds: 30 };
        let options = team("counting", variant);
        let ran = outputs(run_all(cluster.address(), &options, &program));
        let total = ran.len() as u64 * program.rounds;
        assert!(ran.iter().all(|(sum, _)| *sum == total), "{variant:?}");
        let mut drawn: Vec<u64> = ran.into_iter().flat_map(|(_, drawn)| drawn).collect();
        drawn.sort_unstable();
        assert!(drawn.into_iter().eq(0..total), "{variant:?}");
    }
}

/// Workers that hand a page on by flags, and look at another one without any order.
struct Relay {
    rounds: u64,
    /// Not among workers of one station, who must not look while one of them writes.
    has_board: bool,
}

impl Program for Relay {
    type Data = [Region<u64>; 2];
    type Output = u64;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<[Region<u64>; 2]> {
        Ok([setup.region(512)?, setup.region(3000)?])
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        [baton, board]: &[Region<u64>; 2],
        phase: u64,
    ) -> Result<Turn<u64>> {
        let (own, count) = (worker.index() as u64, worker.count() as u64);
        if phase == 1 {
            let mut found = vec![0; 3000];
            worker.read_into(*board, 0, &mut found)?;
            let expected = if self.has_board { self.rounds } else { 0 };
            assert!(found.iter().all(|value| *value == expected));
            assert_eq!(worker.broadcast(0, 7 + own)?, 7);
            return Ok(Turn::Done(worker.read(*baton, 0..1)?[0]));
        }
        for round in 0..self.rounds {
            let turn = round * count + own;
            worker.wait_raised(5, turn)?;
            {
                let mut word = worker.write(*baton, 0..1)?;
                assert_eq!(word[0], turn, "what was written before the flag was raised");
                word[0] += 1;
            }
            worker.raise(5, turn + 1)?;
        }
        // The last one writes the board, and all look until they see that.
        if self.has_board && own == count - 1 {
            let news = vec![self.rounds; 3000];
            worker.write_from(*board, 0, &news)?;
            worker.publish(*board, 0..3000)?;
        }
        while self.has_board && worker.read(*board, 2999..3000)?[0] != self.rounds {
            worker.refresh(*board, 0..3000)?;
        }
        Ok(Turn::Next)
    }
}

#[test]
fn flags_order_what_was_written_before_them() {
    let cluster = Cluster::local(0).expect("a page server starts");
    for variant in variants() {
        let program = Relay {
            rounds: 10,
            has_board: variant.1 == 1,
        };
        let options = team("relay", variant);
        let ran = outputs(run_all(cluster.address(), &options, &program));
        let turns = ran.len() as u64 * program.rounds;
        assert!(ran.iter().all(|turn| *turn == turns), "{variant:?}");
    }
}

/// Folds a float in the workers' order.
struct Folding;

impl Program for Folding {
    type Data = u64;
    type Output = f64;

    fn setup(&self, _: &mut Setup<'_, '_>) -> Result<u64> {
        Ok(0)
    }

    fn phase(&self, worker: &mut Worker<'_>, _: &u64, _: u64) -> Result<Turn<f64>> {
        let mine = 0.1_f64.powi(worker.index() as i32);
        Ok(Turn::Done(worker.reduce(mine, |a, b| a * 0.3 + b)?))
    }
}

#[test]
fn a_reduction_has_the_same_bits_everywhere() {
    let cluster = Cluster::local(0).expect("a page server starts");
    let folded = |stations, workers| {
        let name = format!("folding-{stations}");
        let options = TeamOptions::new(&name).stations(stations).workers(workers);
        outputs(run_all(cluster.address(), &options, &Folding))
    };
    let (one, three) = (folded(1, 6), folded(3, 2));
    assert!(
        one.iter()
            .chain(&three)
            .all(|result| result.to_bits() == one[0].to_bits())
    );
}

/// Touches what another worker of the station has, or fails.
struct Mistaken {
    fails: bool,
    seen: Mutex<Vec<String>>,
}

impl Program for Mistaken {
    type Data = Region<u32>;
    type Output = ();

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Region<u32>> {
        setup.region(100)
    }

    fn phase(&self, worker: &mut Worker<'_>, data: &Region<u32>, _: u64) -> Result<Turn<()>> {
        if worker.index() == 0 {
            let one = worker.write(*data, 10..20)?;
            let other = worker.read(*data, 19..30);
            if self.fails {
                other?;
            } else if let Err(error) = other {
                self.seen
                    .lock()
                    .expect("nobody panics")
                    .push(error.to_string());
            }
            drop(one);
        }
        worker.barrier()?;
        Ok(Turn::Done(()))
    }
}

#[test]
fn slices_that_overlap_are_refused_and_a_failure_ends_the_team() {
    let cluster = Cluster::local(0).expect("a page server starts");
    let program = Mistaken {
        fails: false,
        seen: Mutex::default(),
    };
    let options = TeamOptions::new("mistaken").stations(2);
    outputs(run_all(cluster.address(), &options, &program));
    assert_eq!(program.seen.lock().expect("nobody panics").len(), 1);

    let program = Mistaken {
        fails: true,
        seen: Mutex::default(),
    };
    let options = TeamOptions::new("failing").stations(2).workers(2);
    let ran = run_all(cluster.address(), &options, &program);
    let errors: Vec<_> = ran
        .into_iter()
        .map(|ran| ran.expect_err("it failed"))
        .collect();
    let is_cause = |error: &&plurix::Error| matches!(error.kind(), ErrorKind::Lent(_));
    assert_eq!(errors.iter().filter(is_cause).count(), 1, "{errors:?}");
}

#[test]
fn what_cannot_be_a_team_is_refused() {
    let cluster = Cluster::local(0).expect("a page server starts");
    let run = |options: &TeamOptions| {
        let ran = plurix::team::run(cluster.address(), Options::default(), options, &Folding);
        match ran.expect_err("it is refused").into_kind() {
            ErrorKind::Team(error) => *error,
            other => panic!("{other}"),
        }
    };
    let none = TeamOptions::new("none").stations(0);
    assert!(matches!(run(&none), TeamError::Size));
    let mut alone = TeamOptions::new("alone").stations(2);
    alone.patience = std::time::Duration::from_millis(50);
    assert!(matches!(run(&alone), TeamError::Absent(_)));
    let other = TeamOptions::new("alone").stations(3);
    assert!(matches!(
        run(&other),
        TeamError::OtherSize {
            found: 2,
            wanted: 3
        }
    ));
}

/// Counts up to a phase in which the first worker waits until the heap says how far all are.
struct Watched {
    observer: Mutex<Station>,
    progress: Ptr<u64>,
}

impl Program for Watched {
    type Data = u64;
    type Output = u64;

    fn setup(&self, _: &mut Setup<'_, '_>) -> Result<u64> {
        Ok(0)
    }

    fn phase(&self, worker: &mut Worker<'_>, _: &u64, phase: u64) -> Result<Turn<u64>> {
        if phase == 5 && worker.index() == 0 {
            let mut observer = self.observer.lock().expect("nobody panics");
            while observer.transaction(|tx| Ok(*tx.get(self.progress)?))? < phase {
                observer.latest()?;
            }
        }
        Ok(if phase == 7 {
            Turn::Done(phase)
        } else {
            Turn::Next
        })
    }
}

#[test]
fn a_team_tells_how_far_it_is_and_leaves_its_results_with_its_end() {
    let cluster = Cluster::local(0).expect("a page server starts");
    let mut observer = cluster.join().expect("it can be joined");
    let [progress, results] = observer
        .transaction(|tx| Ok([tx.alloc(0_u64)?, tx.alloc(0_u64)?]))
        .expect("there is room");
    let program = Watched {
        observer: Mutex::new(observer),
        progress,
    };
    let address = cluster.address();
    let mut options = TeamOptions::new("watched").stations(2).workers(2);
    options.progress = Some(progress);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut station = join(address);
                let finish = |tx: &mut plurix::Transaction<'_>, report: &Report<u64>| {
                    *tx.get_mut(results)? += report.outputs.iter().sum::<u64>();
                    Ok(())
                };
                let ran = station.run_team_to(&options, &program, finish);
                assert_eq!(ran.expect("the team comes to its end").phases, 8);
            });
        }
    });
    let mut observer = program.observer.into_inner().expect("nobody panics");
    observer.latest().expect("the page server is there");
    let sum = observer.transaction(|tx| Ok(*tx.get(results)?));
    assert_eq!(sum.expect("it is there"), 4 * 7);

    // Who comes too late learns that.
    let late = plurix::team::run(cluster.address(), Options::default(), &options, &Folding);
    let error = late.expect_err("the team is over");
    assert!(
        matches!(error.kind(), ErrorKind::Team(why) if matches!(**why, TeamError::Over)),
        "{error}"
    );
}

/// One station of a team whose first formation meets again and again, until a station is lost.
struct Losing<'a> {
    is_lost: &'a AtomicBool,
    /// Of this station.
    death: Interrupt,
}

impl Program for Losing<'_> {
    type Data = Region<u64>;
    type Output = u64;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Region<u64>> {
        setup.region(5000)
    }

    fn phase(&self, worker: &mut Worker<'_>, data: &Region<u64>, phase: u64) -> Result<Turn<u64>> {
        let part = worker.part(5000);
        if phase == 0 {
            let found = worker.read(*data, part.clone())?.iter().sum::<u64>();
            assert_eq!(found, 0, "a team that begins again begins with nothing");
            worker.write(*data, part)?.fill(1);
            let was_lost = worker.reduce(self.is_lost.load(Ordering::Relaxed).into(), u64::max)?;
            if was_lost == 0 {
                if worker.index() == 0 {
                    self.is_lost.store(true, Ordering::Relaxed);
                    self.death.interrupt();
                }
                loop {
                    worker.barrier()?;
                }
            }
            return Ok(Turn::Next);
        }
        Ok(Turn::Done(worker.read(*data, 0..5000)?.iter().sum()))
    }
}

#[test]
fn a_station_that_ends_is_lost_for_the_others_who_begin_again_with_its_successor() {
    let cluster = Cluster::local(0).expect("a page server starts");
    let mut observer = cluster.join().expect("it can be joined");
    let progress = observer.transaction(|tx| tx.alloc(0_u64));
    let mut options = TeamOptions::new("losing").stations(3);
    options.progress = Some(progress.expect("there is room"));
    let is_lost = AtomicBool::new(false);
    let address = cluster.address();
    let live = || {
        let mut station = join(address);
        let program = Losing {
            is_lost: &is_lost,
            death: station.interrupt_handle(),
        };
        station.run_team(&options, &program)
    };
    let (reports, deaths): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let stations: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| match live() {
                    Err(error) if matches!(error.kind(), ErrorKind::Interrupted) => (live(), 1),
                    ran => (ran, 0),
                })
            })
            .collect();
        let joined = stations.into_iter().map(|station| station.join());
        joined.map(|ran| ran.expect("no station panics")).unzip()
    });
    assert_eq!(deaths.into_iter().sum::<u64>(), 1);
    let mut restarts: Vec<_> = reports
        .iter()
        .map(|ran| ran.as_ref().expect("the team comes to its end").restarts)
        .collect();
    restarts.sort_unstable();
    assert_eq!(restarts, [0, 1, 1]);
    assert!(outputs(reports).iter().all(|sum| *sum == 5000));
}
