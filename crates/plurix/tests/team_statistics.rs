//! What the stations of a team tell of themselves, as an observer reads it.

use std::sync::Mutex;
use std::time::Duration;

use plurix::team::{
    self, Program, Region, Report, Setup, TeamOptions, TeamStatistics, Turn, Worker,
};
use plurix::{Cluster, Options, Result, Station};

/// Where all have waited for the observer, and in which phase they end.
const WATCHED_PHASE: u64 = 5;
const LAST_PHASE: u64 = 7;
const LEN: usize = 40_000;

/// Each worker writes its part and reads its neighbour's, and the first waits in one phase until the
/// heap says that all stations have come there.
struct Watched {
    observer: Mutex<Station>,
}

fn look(observer: &mut Station, name: &str) -> Result<Option<TeamStatistics>> {
    observer.latest()?;
    observer.transaction(|tx| team::statistics(tx, name))
}

impl Program for Watched {
    type Data = Region<u64>;
    type Output = ();

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Region<u64>> {
        setup.region(LEN)
    }

    fn phase(
        &self,
        worker: &mut Worker<'_>,
        numbers: &Region<u64>,
        phase: u64,
    ) -> Result<Turn<()>> {
        if phase.is_multiple_of(2) {
            worker.write(*numbers, worker.part(LEN))?.fill(phase);
        } else {
            let all = worker.read(*numbers, 0..LEN)?;
            assert!(all.iter().all(|number| *number == phase - 1));
        }
        if phase == WATCHED_PHASE && worker.index() == 0 {
            let mut observer = self.observer.lock().expect("nobody panics");
            let are_there = |team: &TeamStatistics| {
                let mut told = team.stations.iter().map(|station| station.told);
                told.all(|told| told.is_some_and(|told| told.phases == phase))
            };
            while !look(&mut observer, "watched")?.is_some_and(|team| are_there(&team)) {}
        }
        Ok(match phase {
            LAST_PHASE => Turn::Done(()),
            _ => Turn::Next,
        })
    }
}

#[test]
fn stations_tell_what_they_do_while_they_do_it_and_at_the_end() {
    let cluster = Cluster::local(0).expect("a page server starts");
    let mut observer = cluster.join().expect("it can be joined");
    let none = observer.transaction(|tx| Ok((team::names(tx)?, team::statistics(tx, "watched")?)));
    assert_eq!(none.expect("a heap can be read"), (Vec::new(), None));

    let program = Watched {
        observer: Mutex::new(observer),
    };
    let options = TeamOptions::new("watched").stations(2).workers(2);
    let address = cluster.address();
    let mut reports: Vec<Report<()>> = std::thread::scope(|scope| {
        let station = || team::run(address, Options::default(), &options, &program);
        let stations = [scope.spawn(station), scope.spawn(station)];
        let ran = stations.map(|station| station.join().expect("no station panics"));
        ran.map(|report| report.expect("the team comes to its end"))
            .into()
    });
    reports.sort_by_key(|report| report.rank);

    let mut observer = program.observer.into_inner().expect("nobody panics");
    let team = look(&mut observer, "watched").expect("a heap can be read");
    let team = team.expect("there is such a team");
    let names = observer.transaction(|tx| team::names(tx));
    assert_eq!(names.expect("a heap can be read"), ["watched"]);
    assert!(team.is_over);
    assert_eq!(team.stations.len(), 2);
    for (station, report) in team.stations.iter().zip(&reports) {
        let told = station.told.expect("it has told at the end");
        assert_eq!(station.rank, report.rank);
        assert_eq!((told.phases, told.workers), (LAST_PHASE + 1, 2));
        let (counts, reported) = (told.counts, report.counts);
        assert_eq!(counts.faults, reported.faults);
        assert_eq!(counts.fetches, reported.fetches);
        assert_eq!(
            (counts.pages, counts.notices),
            (reported.pages, reported.notices)
        );
        assert!(
            counts.pages >= counts.fetches && counts.fetches > 0,
            "{counts:?}"
        );
        assert!(counts.notices > 0, "{counts:?}");
        assert_eq!(told.waited, report.waited.iter().sum::<Duration>());
        assert_eq!(Some(told.waited_least), report.waited.iter().min().copied());
        assert_eq!(Some(told.waited_most), report.waited.iter().max().copied());
        // In each part of the time somebody has computed at least as long as whoever has most in all.
        assert!(told.busiest + told.waited_least >= told.elapsed, "{told:?}");
        assert!(told.busiest <= told.elapsed, "{told:?}");
    }
}
